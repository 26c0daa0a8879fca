//! What travels from one object to another, and what comes back.

use std::fmt;

use dormouse_store::Key;

use crate::error::{Error, ErrorCode};

/// A message's place among all that its sender has sent in one epoch, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub(crate) i64);

/// Messages of one sender for one receiver, oldest first. Never empty.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Who sent them.
    pub sender: Key,
    /// The history that the sender's sequences belong to.
    pub(crate) epoch: String,
    /// Who is to get them.
    pub receiver: Key,
    pub(crate) messages: Vec<Message>,
}

/// One message of a [`Parcel`].
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) sequence: Sequence,
    pub(crate) json: String,
}

/// What became of a parcel: the sender is told by [`Instance::settle`](crate::Instance::settle).
#[derive(Debug, Default)]
pub struct Receipt {
    /// Everything up to here has had its effect, durably.
    pub(crate) accepted: Option<Sequence>,
    /// The message after that has not, and why. Those behind it were not tried.
    pub(crate) refused: Option<Refused>,
}

/// A message that was tried and had no effect.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) sequence: Sequence,
    pub(crate) error: Error,
}

impl Parcel {
    /// Bytes of all its messages.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.json.len()).sum()
    }

    /// The JSON texts of its messages, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &str> {
        self.messages.iter().map(|message| message.json.as_str())
    }

    /// The receipt of a parcel whose first message had no effect.
    pub fn refused(&self, error: Error) -> Receipt {
        let refused =
            self.messages.first().map(|first| Refused { sequence: first.sequence, error });
        Receipt { accepted: None, refused }
    }

    /// The receipt of a parcel of which every message had its effect.
    pub fn accepted(&self) -> Receipt {
        Receipt { accepted: self.messages.last().map(|last| last.sequence), refused: None }
    }
}

impl Receipt {
    /// Why the receiver failed, if a person must look at the server's log because of it.
    pub fn fault(&self) -> Option<&Error> {
        self.refused.as_ref().map(|refused| &refused.error).filter(|error| error.is_fault())
    }
}

impl Refused {
    /// Whether the receiver could not try at all. That does not count as a try.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.error.code() == ErrorCode::ServiceUnavailable
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

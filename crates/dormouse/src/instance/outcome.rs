//! What comes out of a handler.

use dormouse_store::{Epoch, Position, Timestamp};

use crate::encoded_event::EncodedEvent;
use crate::error::Error;
use crate::event_log::Offset;
use crate::job::Job;
use crate::parcel::Parcel;
use crate::session::SessionId;

/// What a socket that attaches or catches up gets.
#[derive(Clone, Debug)]
pub struct Attached {
    /// `initial` or `resumed`, to be sent before the events.
    pub direct: Option<String>,
    /// The events after it.
    pub page: Page,
    /// Which [version](crate::Online::version) of who is present `direct` shows, if it does.
    pub presence_version: Option<u64>,
}

/// A run of events from the log.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events, oldest first.
    pub events: Vec<EncodedEvent>,
    /// The offset they reach.
    pub reached: Offset,
    /// Whether that is the tail: what is broadcast next is the next event.
    pub tail: bool,
}

/// What a handler gave, to be released once `position` is durable.
#[derive(Debug)]
pub struct Outcome<T> {
    /// The answer to whoever asked.
    pub result: Result<T, Error>,
    /// What the world should see, in order, before the answer.
    pub effects: Vec<Effect>,
    /// The newest transaction that `result` and `effects` may depend on.
    pub position: Position,
    /// The history that the offsets of `effects` and of `result` belong to.
    pub epoch: Epoch,
    /// The newest event of the log after this handler.
    pub tail: Offset,
    /// When somebody must look at the object again: its earliest alarm, or its outbox.
    pub next_due: Option<Timestamp>,
    /// Whether `result` is the recorded answer to an earlier call with the same idempotency key.
    pub is_replay: bool,
}

/// What became of looking for a due alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired {
    /// Whether an alarm's handler ran and succeeded.
    pub is_done: bool,
    /// Whether another alarm is due.
    pub has_more: bool,
}

impl<T> Outcome<T> {
    /// The same outcome with another result, if it has one.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        let Outcome { result, effects, position, epoch, tail, next_due, is_replay } = self;
        Outcome { result: result.map(change), effects, position, epoch, tail, next_due, is_replay }
    }
}

/// Something that leaves the object.
#[derive(Debug)]
pub enum Effect {
    /// An event for the object's sockets.
    Broadcast {
        /// The event.
        event: EncodedEvent,
        /// Who gets it.
        audience: Audience,
    },
    /// A frame for one session, after the events of the log up to `after`.
    Direct {
        /// Whose.
        session: SessionId,
        /// The JSON text.
        json: String,
        /// What the session must have seen before.
        after: Offset,
        /// Which [version](crate::Online::version) of who is present it shows, if it does.
        presence_version: Option<u64>,
    },
    /// The end of a session's socket, once it has got what came before.
    Close {
        /// Whose.
        session: SessionId,
        /// The code of the close frame.
        code: u16,
        /// The reason in it.
        reason: String,
    },
    /// New sockets go to the members of the object's group.
    Split,
    /// Messages for another object. Whoever carries them calls
    /// [`Instance::settle`](crate::Instance::settle) in the end.
    Send(Parcel),
    /// Work to start. Whoever runs it calls [`Instance::finish_job`](crate::Instance::finish_job) in
    /// the end.
    Job(Job),
}

impl Effect {
    /// Whether it is for the socket of one session.
    pub fn is_direct(&self) -> bool {
        match self {
            Effect::Direct { .. } | Effect::Close { .. } => true,
            Effect::Broadcast { .. } | Effect::Split | Effect::Send(_) | Effect::Job(_) => false,
        }
    }
}

/// Who gets a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every socket of the object.
    Everyone,
    /// All but the sockets of one session.
    Except(SessionId),
}

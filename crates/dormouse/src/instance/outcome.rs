//! What comes out of a handler.

use std::sync::Arc;

use dormouse_store::{Epoch, Position, Timestamp};

use crate::catch_up::splice;
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
    /// Messages for another object. Whoever carries them calls
    /// [`Instance::settle`](crate::Instance::settle) in the end.
    Send(Parcel),
    /// Work to start. Whoever runs it calls [`Instance::finish_job`](crate::Instance::finish_job) in
    /// the end.
    Job(Job),
}

/// Who gets a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every socket of the object.
    Everyone,
    /// All but the sockets of one session.
    Except(SessionId),
}

/// An event as sockets see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEvent {
    /// What becomes of it when a reader is behind.
    pub class: EventClass,
    /// The JSON text; an event of the log has its `offset` in it.
    pub json: String,
}

/// What becomes of an event when a reader is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventClass {
    /// It is read from the log later.
    Log {
        /// Its place there.
        offset: Offset,
        /// Its type's place in the kind's [`EventTypes`](crate::EventTypes); `None` for a type that
        /// an older version of the kind wrote. No filter hides that.
        type_index: Option<u8>,
    },
    /// It waits until a later one of the same key takes its place.
    Latest {
        /// What it is the latest of.
        key: Arc<str>,
    },
    /// It is dropped.
    Lossy,
}

impl EncodedEvent {
    pub(crate) fn logged(offset: Offset, type_index: Option<u8>, body: &str) -> EncodedEvent {
        let json = splice(body, &format!(r#""offset":{}"#, offset.get()));
        EncodedEvent { class: EventClass::Log { offset, type_index }, json }
    }
}

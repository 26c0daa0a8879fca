//! What an object is asked to do.

use serde_json::Value;

use crate::event_log::Offset;
use crate::idempotency::Fingerprint;
use crate::session::{Caller, Session};

/// A call of a query or mutation.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method's place in its kind, from [`Kind::resolve`](crate::Kind::resolve).
    pub(crate) method: usize,
    /// A JSON object without the id field.
    pub(crate) params: Value,
    /// On whose behalf.
    pub caller: Caller,
    /// For a mutation that may be repeated; see [`IdempotencyKey`](crate::IdempotencyKey).
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// A message of a client that is no call, from [`Kind::hear`](crate::Kind::hear).
#[derive(Clone, Debug)]
pub struct ClientMessage {
    /// The message's place in its kind.
    pub(crate) message: usize,
    /// A JSON object without `type`.
    pub(crate) fields: Value,
    /// Who sent it.
    pub session: Session,
}

/// A socket that connects.
#[derive(Clone, Debug)]
pub struct Attach {
    /// Its session.
    pub session: Session,
    /// Whether it says that it was here before and the session table does not know it.
    pub is_stranger: bool,
    /// What it already knows, if it comes back.
    pub since: Option<Since>,
    /// Which event types it wants, a bit each; see [`EventTypes::mask`](crate::EventTypes::mask).
    pub mask: u128,
    /// Whether it is told `resumed` when it can go on where it stopped. If not, it gets nothing but what
    /// it missed.
    pub says_resumed: bool,
}

/// Where a socket that comes back stopped reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The epoch it knew.
    pub epoch: String,
    /// The last event it has.
    pub offset: Offset,
}

/// A socket that fell behind and asks for more.
#[derive(Clone, Debug)]
pub struct Refill {
    /// Its session.
    pub session: Session,
    /// The last event it has.
    pub after: Offset,
}

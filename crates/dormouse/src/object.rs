//! The trait that a kind implements.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cx::Cx;
use crate::error::Error;
use crate::event_log::LogLimits;
use crate::methods::Methods;
use crate::session::Session;

/// A kind of object: its state in memory, which is a cache of its SQLite file, and what it can do.
///
/// Implement it once per kind and register the kind with [`Kinds::register`](crate::Kinds::register).
/// Handlers are synchronous and get everything that changes from outside through [`Cx`]: time,
/// random numbers, storage, sockets.
pub trait Object: Sized + Send + 'static {
    /// Name in addresses: `/ws/<kind>/<id>`, `/rpc/<kind>.<method>`. Lower-case letters, digits
    /// and `-`, at most 32 characters.
    const KIND: &'static str;

    /// Everything that sockets of this kind can receive from it: an enum with
    /// `#[serde(tag = "type")]`.
    type Event: Event;

    /// SQL that brings a database from version n to n + 1, oldest first. Append only: a step that
    /// was released never changes.
    const MIGRATIONS: &'static [&'static str];

    /// How much history the event log keeps.
    const LOG: LogLimits = LogLimits::DEFAULT;

    /// Whether every call and every socket must come with a valid token, also on a server that has
    /// no keys to check one with: for kinds that make no sense without users.
    const NEEDS_USER: bool = false;

    /// Most sockets of one object, unless the server's settings say otherwise.
    const SOCKETS_MAX: NonZeroU32 = NonZeroU32::new(32_768).expect("it is not zero");

    /// What a client is told, as plain text with status 503, when an object has all the sockets that it
    /// may have. `None`: the error that says so for every kind.
    const FULL: Option<&'static str> = None;

    /// The methods that clients may call, registered by function.
    fn methods() -> Methods<Self>;

    /// Loads the object from its storage.
    ///
    /// Runs when an object becomes resident and again after a handler failed. It reads only: `cx`
    /// refuses writes here, so that waking never changes anything.
    ///
    /// # Errors
    ///
    /// An object that cannot be loaded answers INTERNAL_SERVER_ERROR; after three failures in a
    /// row the node backs off before it tries again.
    fn wake(cx: &Cx<Self>) -> Result<Self, Error>;

    /// What a socket that has just connected, or fell behind the log, must know: the whole state.
    ///
    /// The runtime adds `epoch`, `offset` and `session` to the event. `None` sends nothing, for
    /// an object that does not exist yet.
    ///
    /// # Errors
    ///
    /// The socket is closed with 1011 and comes back.
    fn initial(&self, cx: &Cx<Self>, session: &Session) -> Result<Option<Self::Event>, Error>;
}

/// An event of a kind: serialised as a JSON object with a `type` field, and read back from the log.
///
/// Implemented for every type that has the three traits; derive them.
pub trait Event: Serialize + DeserializeOwned + JsonSchema + 'static {}

impl<T: Serialize + DeserializeOwned + JsonSchema + 'static> Event for T {}

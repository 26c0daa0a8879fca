//! What passes between the sessions of an object without waking it: typing, who came, who went.

use std::fmt;
use std::time::Duration;

use schemars::SchemaGenerator;
use serde_json::Value;

use crate::contained::contained;
use crate::description::MakeSchema;
use crate::encoded_event::{EncodedEvent, encode};
use crate::error::Error;
use crate::instance::Audience;
use crate::methods::{Input, decode};
use crate::object::Event;
use crate::session::Session;
use crate::session_table::{Online, OnlineUser};

/// What becomes of a message that is relayed: an event that is in no log.
///
/// Only the newest of each type and key counts for a reader that is behind.
#[derive(Clone, Debug)]
pub struct Relayed<E> {
    /// The event.
    pub event: E,
    /// What it is the latest of, such as the user who types; at most 1,024 bytes.
    pub key: String,
    /// Who gets it.
    pub audience: Audience,
    /// What they get if nothing else is relayed under the same type and key for so long.
    pub expires: Option<(Duration, E)>,
}

/// [`Relayed`] behind JSON.
#[derive(Clone, Debug)]
pub struct EncodedRelay {
    /// The event.
    pub event: EncodedEvent,
    /// Who gets it.
    pub audience: Audience,
    /// What they get after so long without another.
    pub expires: Option<(Duration, EncodedEvent)>,
}

/// The events that tell the sockets of a kind who is present.
#[derive(Clone, Copy, Debug)]
pub struct PresenceEvents<E> {
    /// Somebody came.
    pub arrived: fn(&OnlineUser) -> E,
    /// Somebody left.
    pub departed: fn(&OnlineUser) -> E,
    /// Who is there: for a socket that was away, and for everybody where too many are present to
    /// be announced one by one.
    pub online: fn(&Online) -> E,
}

/// A kind's relays without its types.
#[derive(Default)]
pub(crate) struct Relays {
    messages: Vec<Relay>,
    presence: Option<Box<dyn AnnouncePresence>>,
}

/// A type of message that is relayed.
struct Relay {
    name: &'static str,
    input: MakeSchema,
    run: RunRelay,
}

type RunRelay = Box<dyn Fn(&Session, Value) -> Result<EncodedRelay, Error> + Send + Sync>;

/// [`PresenceEvents`] as JSON.
pub trait AnnouncePresence: Send + Sync {
    /// Somebody came.
    ///
    /// # Errors
    ///
    /// The event cannot be written as JSON.
    fn arrived(&self, user: &OnlineUser) -> Result<String, Error>;
    /// Somebody left.
    ///
    /// # Errors
    ///
    /// As [`arrived`](Self::arrived).
    fn departed(&self, user: &OnlineUser) -> Result<String, Error>;
    /// Who is there.
    ///
    /// # Errors
    ///
    /// As [`arrived`](Self::arrived).
    fn online(&self, online: &Online) -> Result<String, Error>;
}

impl<E: Event> AnnouncePresence for PresenceEvents<E> {
    fn arrived(&self, user: &OnlineUser) -> Result<String, Error> {
        contained("an event of presence", || encode(&(self.arrived)(user)))
    }

    fn departed(&self, user: &OnlineUser) -> Result<String, Error> {
        contained("an event of presence", || encode(&(self.departed)(user)))
    }

    fn online(&self, online: &Online) -> Result<String, Error> {
        contained("an event of presence", || encode(&(self.online)(online)))
    }
}

impl Relays {
    pub(crate) fn message<E: Event, I: Input>(
        &mut self,
        name: &'static str,
        run: fn(&Session, I) -> Result<Relayed<E>, Error>,
    ) {
        let run: RunRelay = Box::new(move |session, input| run(session, decode(input)?)?.encode());
        self.messages.push(Relay { name, input: SchemaGenerator::subschema_for::<I>, run });
    }

    pub(crate) fn announce<E: Event>(&mut self, events: PresenceEvents<E>) {
        self.presence = Some(Box::new(events));
    }

    /// The types of messages that are relayed, and their fields.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (&'static str, MakeSchema)> + '_ {
        self.messages.iter().map(|relay| (relay.name, relay.input))
    }

    /// Relays a message; `None` if messages of that type are not relayed.
    pub(crate) fn run(
        &self,
        name: &str,
        session: &Session,
        fields: Value,
    ) -> Option<Result<EncodedRelay, Error>> {
        let relay = self.messages.iter().find(|relay| relay.name == name)?;
        Some(contained("a relay", || (relay.run)(session, fields)))
    }

    /// What sockets are told of who is present, if they are.
    pub(crate) fn presence(&self) -> Option<&dyn AnnouncePresence> {
        self.presence.as_deref()
    }
}

impl<E: Event> Relayed<E> {
    fn encode(self) -> Result<EncodedRelay, Error> {
        let Relayed { event, key, audience, expires } = self;
        let expires = expires
            .map(|(after, event)| Ok::<_, Error>((after, EncodedEvent::latest(&key, &event)?)))
            .transpose()?;
        Ok(EncodedRelay { event: EncodedEvent::latest(&key, &event)?, audience, expires })
    }
}

impl fmt::Debug for Relays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.messages.iter().map(|relay| relay.name)).finish()
    }
}

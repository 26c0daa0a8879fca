//! The methods of a kind, registered by function.

use std::fmt;

use dormouse_store::Key;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alarm::Alarm;
use crate::cx::Cx;
use crate::delivery::Delivery;
use crate::description::MakeSchema;
use crate::error::Error;
use crate::kind_settings::{KindSettings, NoSettings};
use crate::listing::Listing;
use crate::object::Object;
use crate::relay::{PresenceEvents, Relayed, Relays};
use crate::session::{Session, User};
use crate::shards::Sharding;

/// What clients may call on a kind.
///
/// ```ignore
/// Methods::new().id("name")
///     .mutation("increment", Self::increment)
///     .query("getValue", Self::get_value)
/// ```
///
/// An input is one struct with `#[serde(deny_unknown_fields)]`. It does not hold the id field:
/// the runtime takes that out of the parameters to find the object.
pub struct Methods<O> {
    pub(crate) id_field: &'static str,
    pub(crate) methods: Vec<Method<O>>,
    /// What runs when an alarm comes due.
    pub(crate) alarm: Option<AlarmHandler<O>>,
    /// What runs when a message of another object arrives.
    pub(crate) delivery: Option<RunDelivery<O>>,
    /// What clients may send over a socket beside calls.
    pub(crate) messages: Vec<MessageType<O>>,
    /// What of that does not need the object, and who is told of whom.
    pub(crate) relays: Relays,
    /// What runs when a socket connects.
    pub(crate) connected: Option<SessionHandler<O>>,
    /// Whether objects are split.
    pub(crate) sharding: Sharding,
    /// What whoever runs the server may set.
    pub(crate) settings: KindSettings,
    /// What runs when a session has lost its socket.
    pub(crate) closed: Option<SessionHandler<O>>,
}

/// Whether a method writes, and how its object is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// Reads one object. Over HTTP: GET, or POST.
    Query,
    /// Writes one object. Over HTTP: POST.
    Mutation,
    /// A mutation whose id may be left out; it is then a new UUIDv7, or, if the call has an
    /// idempotency key, a UUIDv8 that is the same whenever the call is repeated.
    Creation,
    /// Asks the catalog about all objects of the kind. Over HTTP like a query.
    Listing,
}

pub(crate) struct Method<O> {
    pub(crate) name: &'static str,
    pub(crate) kind: MethodKind,
    pub(crate) handler: Handler<O>,
    pub(crate) input: MakeSchema,
    pub(crate) output: MakeSchema,
}

/// A type of message that the object handles.
pub(crate) struct MessageType<O> {
    /// Its `type`.
    pub(crate) name: &'static str,
    pub(crate) run: RunMessage<O>,
    pub(crate) input: MakeSchema,
    pub(crate) sender: Sender,
}

/// Who may send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Whoever may change the object, as with a mutation.
    Writer,
    /// Whoever may see it. The handler decides what else they may.
    Reader,
}

/// A method's function behind JSON.
pub(crate) enum Handler<O> {
    Query(QueryHandler<O>),
    Mutation(MutationHandler<O>),
    Listing(ListingHandler),
}

/// What a kind does when an alarm comes due.
pub type AlarmHandler<O> = fn(&mut O, &mut Cx<O>, &Alarm) -> Result<(), Error>;

/// What a kind does when a session connects or ends.
pub type SessionHandler<O> = fn(&mut O, &mut Cx<O>, &Session) -> Result<(), Error>;

/// What a kind does with a message of a client.
pub type MessageHandler<O, I> = fn(&mut O, &mut Cx<O>, &Session, I) -> Result<(), Error>;

/// What a kind makes of a message without the object.
pub type RelayHandler<E, I> = fn(&Session, I) -> Result<Relayed<E>, Error>;

/// What a kind does with a message of another object.
pub type DeliveryHandler<O, M> = fn(&mut O, &mut Cx<O>, Delivery<M>) -> Result<(), Error>;

/// The same behind JSON.
pub(crate) type RunDelivery<O> =
    Box<dyn Fn(&mut O, &mut Cx<O>, &Key, &str) -> Result<(), Error> + Send + Sync>;

type RunMessage<O> =
    Box<dyn Fn(&mut O, &mut Cx<O>, &Session, Value) -> Result<(), Error> + Send + Sync>;
type QueryHandler<O> = Box<dyn Fn(&O, &Cx<O>, Value) -> Result<String, Error> + Send + Sync>;
type MutationHandler<O> =
    Box<dyn Fn(&mut O, &mut Cx<O>, Value) -> Result<String, Error> + Send + Sync>;
pub(crate) type ListingHandler =
    Box<dyn Fn(&Listing<'_>, Value) -> Result<String, Error> + Send + Sync>;

impl<O: Object> Methods<O> {
    /// No methods yet; the id field is `id`.
    #[expect(clippy::new_without_default, reason = "a kind without methods is never wanted")]
    pub fn new() -> Methods<O> {
        Methods {
            id_field: "id",
            methods: Vec::new(),
            alarm: None,
            delivery: None,
            messages: Vec::new(),
            relays: Relays::default(),
            sharding: Sharding::default(),
            settings: KindSettings::of::<NoSettings>(O::SOCKETS_MAX),
            connected: None,
            closed: None,
        }
    }

    /// Names the field of every input that holds the object's id.
    #[must_use]
    pub fn id(mut self, field: &'static str) -> Methods<O> {
        self.id_field = field;
        self
    }

    /// A method that reads.
    #[must_use]
    pub fn query<I: Input, T: Output>(
        self,
        name: &'static str,
        run: fn(&O, &Cx<O>, I) -> Result<T, Error>,
    ) -> Methods<O> {
        let handler: QueryHandler<O> =
            Box::new(move |object, cx, input| encode(&run(object, cx, decode(input)?)?));
        self.with::<I, T>(name, MethodKind::Query, Handler::Query(handler))
    }

    /// A method that writes.
    #[must_use]
    pub fn mutation<I: Input, T: Output>(
        self,
        name: &'static str,
        run: fn(&mut O, &mut Cx<O>, I) -> Result<T, Error>,
    ) -> Methods<O> {
        self.with::<I, T>(name, MethodKind::Mutation, mutation_handler(run))
    }

    /// A method that writes and may be called without an id: the object is then a new one.
    #[must_use]
    pub fn creation<I: Input, T: Output>(
        self,
        name: &'static str,
        run: fn(&mut O, &mut Cx<O>, I) -> Result<T, Error>,
    ) -> Methods<O> {
        self.with::<I, T>(name, MethodKind::Creation, mutation_handler(run))
    }

    /// A question about all objects of the kind that have set a summary.
    #[must_use]
    pub fn listing<I: Input, T: Output>(
        self,
        name: &'static str,
        run: fn(&Listing<'_>, I) -> Result<T, Error>,
    ) -> Methods<O> {
        let handler: ListingHandler =
            Box::new(move |listing, input| encode(&run(listing, decode(input)?)?));
        self.with::<I, T>(name, MethodKind::Listing, Handler::Listing(handler))
    }

    /// What runs when an alarm of [`Cx::set_alarm`] comes due, in a transaction of its own.
    ///
    /// It runs at least once for each alarm. If it fails, it is tried again after 2 s, then after
    /// twice as long each time, 6 times; then the alarm is given up and the log says so.
    #[must_use]
    pub fn alarm(mut self, run: AlarmHandler<O>) -> Methods<O> {
        self.alarm = Some(run);
        self
    }

    /// What runs when a message of [`Cx::send_to`] arrives, in a transaction of its own.
    ///
    /// It succeeds exactly once for each message, in the order in which one sender sent them. If it
    /// fails, the sender tries again after 2 s, then after twice as long each time, 6 times; then
    /// the message is given up. SERVICE_UNAVAILABLE does not count as a try. A message that is not
    /// an `M` is refused with BAD_REQUEST.
    #[must_use]
    pub fn delivery<M: DeserializeOwned + 'static>(
        mut self,
        run: DeliveryHandler<O, M>,
    ) -> Methods<O> {
        self.delivery = Some(Box::new(move |object, cx, sender, json| {
            let message = serde_json::from_str(json).map_err(|err| {
                Error::bad_request(format!("the message is not understood: {err}"))
            })?;
            run(object, cx, Delivery { sender: sender.clone(), message })
        }));
        self
    }

    /// What whoever runs the server may set about this kind, in a table of the settings file that has
    /// the kind's name. Handlers find it with [`Cx::settings`].
    ///
    /// Refuse what is not known with `#[serde(deny_unknown_fields, default)]`.
    #[must_use]
    pub fn settings<T>(mut self) -> Methods<O>
    where
        T: DeserializeOwned + Default + Send + Sync + 'static,
    {
        self.settings = KindSettings::of::<T>(O::SOCKETS_MAX);
        self
    }

    /// Splits objects: `shard_of` says, by the kind's [settings](Self::settings) `T`, which object of
    /// another kind has the sockets of a user; `None`: this one.
    ///
    /// Sockets go there once a handler has called [`Cx::split`]. Calls keep coming here.
    #[must_use]
    pub fn sharded_by<T: 'static>(
        mut self,
        shard_of: fn(&T, &Key, Option<&User>) -> Option<Key>,
    ) -> Methods<O> {
        self.sharding = Sharding::root(shard_of);
        self
    }

    /// Makes this the kind of shards of another one: clients cannot reach it by name. `root_of` says
    /// which object one is a shard of.
    #[must_use]
    pub fn shard_of(mut self, root_of: fn(&Key) -> Option<Key>) -> Methods<O> {
        self.sharding = Sharding::Shard(root_of);
        self
    }

    /// A message that clients send over a socket: `{"type":<name>, …}` with the fields of `I`.
    ///
    /// It runs in a transaction of its own. Nothing is answered but what the handler
    /// [sends](Cx::send); an error goes back as an `error` frame. A message sent again after a lost
    /// connection is handled again: give it a name of the client's own to recognise it by.
    #[must_use]
    pub fn message<I: Input>(
        mut self,
        name: &'static str,
        sender: Sender,
        run: MessageHandler<O, I>,
    ) -> Methods<O> {
        let input = SchemaGenerator::subschema_for::<I>;
        let run: RunMessage<O> =
            Box::new(move |object, cx, session, fields| run(object, cx, session, decode(fields)?));
        self.messages.push(MessageType { name, run, input, sender });
        self
    }

    /// A message of clients that is passed on without the object, such as that somebody types: it
    /// wakes nothing and is stored nowhere.
    ///
    /// `run` is a pure function. It runs on the thread of the sender's socket: it must be quick.
    #[must_use]
    pub fn relay<I: Input>(
        mut self,
        name: &'static str,
        run: RelayHandler<O::Event, I>,
    ) -> Methods<O> {
        self.relays.message(name, run);
        self
    }

    /// Has all sockets of an object told who is present, by events of the kind's own. Wakes nothing.
    ///
    /// [`Object::initial`] shows who is there to a socket that connects: see [`Cx::online`].
    #[must_use]
    pub fn presence(mut self, events: PresenceEvents<O::Event>) -> Methods<O> {
        self.relays.announce(events);
        self
    }

    /// What runs when a socket connects, before [`Object::initial`], each time anew also for a session
    /// that comes back. In an object that does not exist yet it can write nothing, nor on a full disk.
    ///
    /// If it fails, the socket is closed with 1011, or with 1013 for SERVICE_UNAVAILABLE.
    #[must_use]
    pub fn connected(mut self, run: SessionHandler<O>) -> Methods<O> {
        self.connected = Some(run);
        self
    }

    /// What runs when a session has lost its socket, in a transaction of its own. With this, a socket
    /// that ends wakes its object. In an object that does not exist yet it can write nothing, nor on a
    /// full disk.
    ///
    /// It is not called for sockets that a crash of the server ended.
    #[must_use]
    pub fn closed(mut self, run: SessionHandler<O>) -> Methods<O> {
        self.closed = Some(run);
        self
    }

    fn with<I: Input, T: Output>(
        mut self,
        name: &'static str,
        kind: MethodKind,
        handler: Handler<O>,
    ) -> Methods<O> {
        let (input, output) =
            (SchemaGenerator::subschema_for::<I>, SchemaGenerator::subschema_for::<T>);
        self.methods.push(Method { name, kind, handler, input, output });
        self
    }
}

/// The parameters of a method: derive `Deserialize` and `JsonSchema`, which its documents come from.
pub trait Input: DeserializeOwned + JsonSchema + 'static {}
impl<T: DeserializeOwned + JsonSchema + 'static> Input for T {}

/// The result of a method: derive `Serialize` and `JsonSchema`, which its documents come from.
pub trait Output: Serialize + JsonSchema + 'static {}
impl<T: Serialize + JsonSchema + 'static> Output for T {}

/// The input of a method that takes nothing but the object's id.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

fn mutation_handler<O: Object, I: Input, T: Output>(
    run: fn(&mut O, &mut Cx<O>, I) -> Result<T, Error>,
) -> Handler<O> {
    Handler::Mutation(Box::new(move |object, cx, input| encode(&run(object, cx, decode(input)?)?)))
}

pub(crate) fn decode<I: DeserializeOwned>(input: Value) -> Result<I, Error> {
    serde_path_to_error::deserialize(input).map_err(|err| {
        let path = err.path().to_string();
        let reason = err.into_inner();
        // The path is "." when the input as a whole is wrong.
        Error::bad_request(if path == "." {
            format!("{reason}")
        } else {
            format!("`{path}`: {reason}")
        })
    })
}

fn encode(output: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(output).map_err(Error::internal)
}

impl<O> fmt::Debug for Methods<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Methods").field("methods", &self.methods).finish_non_exhaustive()
    }
}

impl<O> fmt::Debug for Method<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only decoding is tested")]
    struct Move {
        to: u32,
    }

    fn message(input: Value) -> String {
        decode::<Move>(input).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_input_names_the_field() {
        assert!(message(json!({"to": "x"})).starts_with("`to`: invalid type: string"));
        assert!(
            message(json!({"to": 1, "form": 2})).contains("unknown field `form`, expected `to`")
        );
        assert_eq!(message(json!({})), "missing field `to`");
        assert!(message(json!([1, 2])).contains("invalid"));
    }
}

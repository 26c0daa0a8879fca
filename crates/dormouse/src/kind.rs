//! A kind as the node knows it: without its types.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use dormouse_store::{Catalog, Clock, Key, MigrationSet, Store, Template, Timestamp};
use parking_lot::Mutex;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use crate::cx::{Cx, STATEMENTS_OF_A_WAKE, SUMMARY_MIGRATIONS, uuid_v7};
use crate::description::{
    Description, Descriptions, MakeSchema, MessageDescription, MethodDescription,
};
use crate::error::Error;
use crate::event_log::EVENT_LOG_MIGRATIONS;
use crate::event_types::EventTypes;
use crate::idempotency::{Fingerprint, IdempotencyKey, derived_id};
use crate::instance::{Call, ClientMessage, Instance};
use crate::kind_settings::KindSettings;
use crate::kinds::KindError;
use crate::kv::KV_MIGRATIONS;
use crate::listing::Listing;
use crate::methods::{Handler, MessageType, Method, MethodKind, Methods, Sender};
use crate::object::Object;
use crate::random::Random;
use crate::relay::{AnnouncePresence, EncodedRelay, Relays};
use crate::session::{Caller, Session, User};
use crate::session_table::{SessionLimits, SessionTable};
use crate::session_view::SessionView;
use crate::shards::Sharding;

/// The subscription that every kind offers beside its methods: its events. No method can have this
/// name.
pub const SUBSCRIPTION: &str = "events";

/// What no kind can be called: the settings file has these settings, beside a table for each kind.
pub const NAMES_OF_SETTINGS: [&str; 9] =
    ["auth", "compression", "data", "durability", "echo", "lanes", "listen", "log", "workers"];

/// The types of messages that sockets of every kind can send.
const MESSAGES_OF_ALL: [&str; 4] = ["auth", "call", "filter", "ping"];

/// Makes ids for creations that name none and have no idempotency key.
pub trait NewId {
    /// A new UUIDv7.
    fn new_id(&mut self) -> String;
}

impl NewId for (Timestamp, Random) {
    fn new_id(&mut self) -> String {
        uuid_v7(self.0, &mut self.1).to_string()
    }
}

/// One kind, ready to open objects.
pub struct Kind {
    name: &'static str,
    needs_user: bool,
    full: Option<&'static str>,
    id_field: &'static str,
    methods: Vec<MethodInfo>,
    event: MakeSchema,
    event_types: Arc<EventTypes>,
    template: Arc<Template>,
    /// The messages that its objects handle, by place.
    messages: Vec<MessageInfo>,
    relays: Relays,
    wants_closed: bool,
    settings: KindSettings,
    sharding: Sharding,
    open: OpenInstance,
    list: RunListing,
}

type OpenInstance =
    Box<dyn Fn(&Store, &Key, &KindSettings, Surroundings) -> Result<Instance, Error> + Send + Sync>;
type RunListing = Box<dyn Fn(&Catalog, Call) -> Result<String, Error> + Send + Sync>;

/// What an object has beside its file.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Who is connected, whether the object is awake or not.
    pub sessions: Arc<dyn SessionView>,
}

impl Surroundings {
    /// Those of an object that is opened to be looked at, while no server runs.
    pub fn without_sessions(clock: &Arc<dyn Clock>) -> Surroundings {
        let limits = SessionLimits {
            grace: Duration::ZERO,
            users_max: 0,
            strangers_until: Timestamp::EPOCH,
        };
        let sessions = Arc::new(Mutex::new(SessionTable::<()>::new(limits)));
        Surroundings { clock: Arc::clone(clock), sessions }
    }
}

/// What becomes of a message that is no call.
#[derive(Debug)]
pub enum Heard {
    /// The object handles it.
    Object {
        /// What to handle.
        message: ClientMessage,
        /// Who may send it.
        sender: Sender,
    },
    /// Others get it, without the object.
    Relay(EncodedRelay),
}

struct MethodInfo {
    name: &'static str,
    kind: MethodKind,
    input: MakeSchema,
    output: MakeSchema,
}

/// A call as a client sent it.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The name of the method.
    pub method: &'a str,
    /// The input; nothing counts as an empty object.
    pub params: Option<Value>,
    /// The socket's object, when the call came over a socket: `params` need not name it then, and
    /// may not name another one.
    pub bound: Option<&'a Key>,
    /// On whose behalf.
    pub caller: Caller,
    /// With a key a mutation runs once, however often it is repeated. Queries ignore it.
    pub key: Option<IdempotencyKey>,
}

/// A call whose object was found.
#[derive(Debug)]
pub enum Resolved {
    /// For one object.
    Object {
        /// Which one.
        key: Key,
        /// What to run on it.
        call: Call,
    },
    /// For the catalog: run it with [`Kind::list`] on a thread that may block.
    Listing(Call),
}

struct MessageInfo {
    name: &'static str,
    input: MakeSchema,
    sender: Sender,
}

impl MessageInfo {
    fn of<O>(message: &MessageType<O>) -> MessageInfo {
        let MessageType { name, input, sender, .. } = *message;
        MessageInfo { name, input, sender }
    }
}

impl MethodInfo {
    fn of<O>(method: &Method<O>) -> MethodInfo {
        let Method { name, kind, input, output, .. } = *method;
        MethodInfo { name, kind, input, output }
    }
}

impl Kind {
    pub(crate) fn of<O: Object>() -> Result<Kind, KindError> {
        let name = O::KIND;
        Key::new(name, "any").map_err(|source| KindError::Name { name, source })?;
        if NAMES_OF_SETTINGS.contains(&name) {
            return Err(KindError::NameOfSetting(name));
        }
        let event_types = Arc::new(EventTypes::of::<O::Event>().ok_or(KindError::Events(name))?);
        let template = Template::build(
            name,
            vec![
                MigrationSet { name: "dormouse-summary", steps: SUMMARY_MIGRATIONS },
                MigrationSet { name: "dormouse-event-log", steps: EVENT_LOG_MIGRATIONS },
                MigrationSet { name: "dormouse-kv", steps: KV_MIGRATIONS },
                MigrationSet { name, steps: O::MIGRATIONS },
            ],
            &STATEMENTS_OF_A_WAKE,
        )
        .map_err(|source| KindError::Migrations { kind: name, source: Box::new(source) })?;
        let template = Arc::new(template);
        let mut methods = O::methods();
        let relays = std::mem::take(&mut methods.relays);
        let messages: Vec<MessageInfo> = methods.messages.iter().map(MessageInfo::of).collect();
        let handled = messages.iter().map(|message| message.name);
        let known = handled.chain(relays.messages().map(|(name, _)| name));
        let names = known.chain(MESSAGES_OF_ALL);
        if let Some(message) = duplicate(names) {
            return Err(KindError::Message { kind: name, message });
        }
        let (wants_closed, settings) = (methods.closed.is_some(), methods.settings.clone());
        let sharding = std::mem::take(&mut methods.sharding);
        let methods = Arc::new(methods);
        let infos: Vec<MethodInfo> = methods.methods.iter().map(MethodInfo::of).collect();
        if let Some(method) = duplicate(infos.iter().map(|method| method.name)) {
            return Err(KindError::MethodTwice { kind: name, method });
        }
        if infos.iter().any(|method| method.name == SUBSCRIPTION) {
            return Err(KindError::Reserved(name));
        }

        Ok(Kind {
            name,
            needs_user: O::NEEDS_USER,
            full: O::FULL,
            id_field: methods.id_field,
            methods: infos,
            event: SchemaGenerator::subschema_for::<O::Event>,
            open: open_instance::<O>(&methods, &event_types, &template),
            list: Box::new(move |catalog, call| run_listing::<O>(&methods, catalog, call)),
            event_types,
            template,
            messages,
            relays,
            wants_closed,
            settings,
            sharding,
        })
    }

    /// Takes what was set about it.
    pub(crate) fn configure(&mut self, settings: Value) -> Result<(), String> {
        self.settings.set(settings)
    }

    /// Its name in addresses.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it is only for those who have a valid token; see [`Object::NEEDS_USER`].
    pub fn needs_user(&self) -> bool {
        self.needs_user
    }

    /// The event types of its sockets.
    pub fn event_types(&self) -> &EventTypes {
        &self.event_types
    }

    /// Its template database.
    pub fn template(&self) -> &Arc<Template> {
        &self.template
    }

    /// What its clients say and hear. The settings' contract is ignored: each schema has its own.
    pub fn describe(&self, settings: SchemaSettings) -> Description {
        let mut made = Descriptions::new(settings);
        let event = made.sent(self.event);
        let methods = self
            .methods
            .iter()
            .map(|method| MethodDescription {
                name: method.name,
                kind: method.kind,
                input: made.received(method.input),
                output: made.sent(method.output),
            })
            .collect();
        let handled = self.messages.iter().map(|message| (message.name, message.input));
        let messages = handled
            .chain(self.relays.messages())
            .map(|(name, fields)| MessageDescription { name, fields: made.received(fields) })
            .collect();
        let (received, sent) = made.definitions();
        let (kind, id_field) = (self.name, self.id_field);
        Description { kind, id_field, event, methods, messages, received, sent }
    }

    /// What kind of method `name` is; `None` if there is none of that name.
    pub fn method(&self, name: &str) -> Option<MethodKind> {
        self.methods.iter().find(|method| method.name == name).map(|method| method.kind)
    }

    /// Finds out what becomes of a message of a client that is no call; `None` if the kind knows no
    /// messages of that type. `fields` is a JSON object without `type`.
    ///
    /// # Errors
    ///
    /// Why it is not relayed.
    pub fn hear(
        &self,
        name: &str,
        session: &Session,
        fields: Value,
    ) -> Option<Result<Heard, Error>> {
        let found = self.messages.iter().enumerate().find(|(_, known)| known.name == name);
        if let Some((message, info)) = found {
            let message = ClientMessage { message, fields, session: session.clone() };
            return Some(Ok(Heard::Object { message, sender: info.sender }));
        }
        self.relays.run(name, session, fields).map(|relayed| relayed.map(Heard::Relay))
    }

    /// What the sockets of its objects are told of who is present, if they are.
    pub fn presence(&self) -> Option<&dyn AnnouncePresence> {
        self.relays.presence()
    }

    /// What a client is told when an object has all the sockets that it may have; see [`Object::FULL`].
    pub fn full(&self) -> Option<&'static str> {
        self.full
    }

    /// Most sockets of one object.
    pub fn sockets_max(&self) -> NonZeroU32 {
        self.settings.sockets_max
    }

    /// The object that has the sockets of a user, if that is another one; see
    /// [`Methods::sharded_by`].
    pub fn shard_of(&self, key: &Key, user: Option<&User>) -> Option<Key> {
        self.sharding.shard_of(&self.settings, key, user)
    }

    /// The object that one of this kind is a shard of.
    pub fn root_of(&self, key: &Key) -> Option<Key> {
        self.sharding.root_of(key)
    }

    /// Whether its objects are shards, which clients cannot reach by name.
    pub fn is_shard(&self) -> bool {
        self.sharding.is_shard()
    }

    /// Whether an object is to be told that a session has lost its socket.
    pub fn wants_closed(&self) -> bool {
        self.wants_closed
    }

    /// Finds the object that a call is for.
    ///
    /// # Errors
    ///
    /// NOT_FOUND for an unknown method; BAD_REQUEST if the input is not an object or names no
    /// object, another object, or one whose id is not allowed. Nothing happened.
    pub fn resolve(
        &self,
        request: Request<'_>,
        new_id: &mut impl NewId,
    ) -> Result<Resolved, Error> {
        let Request { method, params, bound, caller, key } = request;
        let (index, info) =
            self.methods.iter().enumerate().find(|(_, info)| info.name == method).ok_or_else(
                || Error::not_found(format!("kind {:?} has no method {method:?}", self.name)),
            )?;
        let mut params = match params {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(params)) => params,
            Some(other) => {
                let found = json_type(&other);
                return Err(Error::bad_request(format!(
                    "the input must be a JSON object, not {found}"
                )));
            }
        };
        if info.kind == MethodKind::Listing {
            let params = Value::Object(params);
            return Ok(Resolved::Listing(Call {
                method: index,
                params,
                caller,
                fingerprint: None,
            }));
        }
        let named = params.remove(self.id_field);
        let make_id = || match &key {
            Some(key) => derived_id(&caller, self.name, method, key).to_string(),
            None => new_id.new_id(),
        };
        let target = self.target(info.kind, named, bound, make_id)?;
        // Hashed here, on the thread of the connection, and not on the object's lane.
        let fingerprint = key
            .filter(|_| matches!(info.kind, MethodKind::Mutation | MethodKind::Creation))
            .map(|key| Fingerprint::of(&caller, method, &key, &params));
        let params = Value::Object(params);
        let call = Call { method: index, params, caller, fingerprint };
        Ok(Resolved::Object { key: target, call })
    }

    fn target(
        &self,
        kind: MethodKind,
        named: Option<Value>,
        bound: Option<&Key>,
        make_id: impl FnOnce() -> String,
    ) -> Result<Key, Error> {
        let field = self.id_field;
        let named = match named {
            Some(Value::String(id)) => Some(id),
            Some(other) => {
                let found = json_type(&other);
                return Err(Error::bad_request(format!("`{field}` must be a string, not {found}")));
            }
            None => None,
        };
        match (named, bound) {
            (Some(id), Some(bound)) if id != bound.id() => Err(Error::bad_request(format!(
                "`{field}` names another object than this socket's; leave it out"
            ))),
            (_, Some(bound)) => Ok(bound.clone()),
            (Some(id), None) => self.key(&id),
            (None, None) if kind == MethodKind::Creation => self.key(&make_id()),
            (None, None) => Err(Error::bad_request(format!(
                "missing field `{field}`: it names the {} to use",
                self.name
            ))),
        }
    }

    /// Takes the field that names an object out of an input, and gives the object's key.
    ///
    /// # Errors
    ///
    /// BAD_REQUEST if the field is missing or does not name an object.
    pub fn take_key(&self, params: &mut Map<String, Value>) -> Result<Key, Error> {
        let named = params.remove(self.id_field);
        self.target(MethodKind::Query, named, None, String::new)
    }

    /// The key of an object of this kind.
    ///
    /// # Errors
    ///
    /// BAD_REQUEST that says what an id may be.
    pub fn key(&self, id: &str) -> Result<Key, Error> {
        Key::new(self.name, id).map_err(|err| {
            Error::bad_request(format!("`{}` is not a usable id: {err}", self.id_field))
        })
    }

    /// Makes an object resident. Blocks on the disk; nothing of the kind runs yet.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or is not what its catalog says.
    pub fn open(
        &self,
        store: &Store,
        key: &Key,
        surroundings: Surroundings,
    ) -> Result<Instance, Error> {
        (self.open)(store, key, &self.settings, surroundings)
    }

    /// Answers a listing. Blocks on the catalog.
    ///
    /// # Errors
    ///
    /// The listing's own, or SERVICE_UNAVAILABLE when the catalog is too far behind.
    pub fn list(&self, catalog: &Catalog, call: Call) -> Result<String, Error> {
        (self.list)(catalog, call)
    }
}

fn open_instance<O: Object>(
    methods: &Arc<Methods<O>>,
    types: &Arc<EventTypes>,
    template: &Arc<Template>,
) -> OpenInstance {
    let (methods, types, template) = (Arc::clone(methods), Arc::clone(types), Arc::clone(template));
    Box::new(move |store, key, settings, Surroundings { clock, sessions }| {
        let file = store.open_object(key, &template)?;
        let (types, settings) = (Arc::clone(&types), settings.clone());
        let cx = Cx::open(file, types, settings, Random::system(), clock.now(), sessions)?;
        Ok(Instance::new(cx, Arc::clone(&methods), clock, O::LOG))
    })
}

fn run_listing<O: Object>(
    methods: &Methods<O>,
    catalog: &Catalog,
    call: Call,
) -> Result<String, Error> {
    match methods.methods.get(call.method).map(|method| &method.handler) {
        Some(Handler::Listing(run)) => run(&Listing::new(catalog, O::KIND), call.params),
        Some(Handler::Query(_) | Handler::Mutation(_)) | None => {
            Err(Error::internal("a method of one object is not a listing"))
        }
    }
}

fn duplicate(names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let mut names: Vec<&'static str> = names.collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kind").field("name", &self.name).finish_non_exhaustive()
    }
}

//! Which object a socket's address names, and what else it says.

use std::sync::Arc;

use actix_http::{StatusCode, Uri};
use actix_web::http::header::{self, HeaderValue};
use dormouse::{EventTypes, Key, Kind, Offset, SessionId, Since};
use dormouse_socket::{Accept, Convention, EventMask, TopicId};
use percent_encoding::percent_decode_str;

use crate::auth::{Access, Denial, Scope, Visitor};
use crate::http::{FrontDoor, Problem};
use crate::socket::owner::{SocketSession, Start};

/// Where a socket's address leads.
#[derive(Debug)]
pub(crate) enum Destination {
    /// To an object.
    Object(Box<ObjectRoute>),
    /// To the echo of `--echo`.
    Echo,
}

/// A socket of an object, and with what it starts.
#[derive(Debug)]
pub(crate) struct ObjectRoute {
    pub(crate) kind: Arc<Kind>,
    pub(crate) key: Key,
    /// What the client already knows.
    pub(crate) since: Option<Since>,
    /// `?events=`.
    pub(crate) filter: Option<Filter>,
    /// `?session=`: as which session the client was here before.
    pub(crate) comes_back: Option<SessionId>,
    /// `?presence=1`: whether it is told who is present.
    pub(crate) watches: bool,
    /// By whose convention it is told of anything but events, if it is an event stream.
    pub(crate) convention: Convention,
}

/// The kind that has addresses of its own.
const CHANNEL_KIND: &str = "channel";

/// Sockets of `/echo` belong to no object.
const ECHO_TOPIC: TopicId = TopicId(0);

/// The event types that a socket wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) names: Vec<String>,
    pub(crate) mask: EventMask,
}

/// Finds out where an address leads.
///
/// # Errors
///
/// What to answer if it leads nowhere.
pub(crate) fn find(door: &FrontDoor, uri: &Uri) -> Result<Destination, Problem> {
    if uri.path() == "/echo" && door.echo {
        return Ok(Destination::Echo);
    }
    let route = match channel(uri.path()) {
        Some(id) => object(door, CHANNEL_KIND, id, uri),
        None => named(door, uri, "/ws/"),
    };
    route.map(|route| Destination::Object(Box::new(route)))
}

/// Finds out whose events an address of server-sent events gives.
///
/// # Errors
///
/// As [`find`].
pub(crate) fn find_stream(door: &FrontDoor, uri: &Uri) -> Result<ObjectRoute, Problem> {
    named(door, uri, "/sse/")
}

/// The id in `/channel/<id>/websocket`, which is the same as `/ws/channel/<id>`.
fn channel(path: &str) -> Option<&str> {
    path.strip_prefix("/channel/")?.strip_suffix("/websocket")
}

/// Reads `<prefix><kind>/<id>` and its query.
fn named(door: &FrontDoor, uri: &Uri, prefix: &str) -> Result<ObjectRoute, Problem> {
    let path = uri.path();
    let (kind_name, id) =
        path.strip_prefix(prefix).and_then(|rest| rest.split_once('/')).ok_or_else(|| {
            Problem::not_found(format!(
                "there is no socket at {path}; they are at /ws/<kind>/<id>, \
                 event streams at /sse/<kind>/<id>"
            ))
        })?;
    object(door, kind_name, id, uri)
}

fn object(door: &FrontDoor, kind_name: &str, id: &str, uri: &Uri) -> Result<ObjectRoute, Problem> {
    let kinds = door.node.kinds();
    let kind = kinds.public(kind_name).ok_or_else(|| {
        let known: Vec<&str> = kinds.all_public().map(|kind| kind.name()).collect();
        let message = format!("no kind {kind_name:?}; there are: {}", known.join(", "));
        Problem::not_found(message).detail("kinds", known.into())
    })?;
    if id.contains('/') {
        return Err(bad_request("an id is one segment of the path; write a `/` in it as %2F"));
    }
    let id = percent_decode_str(id)
        .decode_utf8()
        .map_err(|_| bad_request("the id is not UTF-8 once its percent signs are decoded"))?;
    let key = kind.key(&id).map_err(|err| bad_request(err.message()))?;
    let route = ObjectRoute::to(Arc::clone(kind), key);
    route.with_parameters(uri.query().unwrap_or_default())
}

/// The answer to a request that is not a handshake.
pub(crate) fn upgrade_required() -> Problem {
    Problem::new(
        StatusCode::UPGRADE_REQUIRED,
        "UPGRADE_REQUIRED",
        "this address speaks WebSocket; open it with `new WebSocket(…)`",
    )
    .header(header::UPGRADE, HeaderValue::from_static("websocket"))
    .header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

impl Destination {
    /// With what its socket starts.
    ///
    /// # Errors
    ///
    /// The visitor may not have it.
    pub(crate) fn accept(
        self,
        door: &FrontDoor,
        visitor: Visitor,
    ) -> Result<Accept<SocketSession>, Problem> {
        match self {
            Destination::Object(route) => {
                route.accept(door, visitor).map_err(|denial| denial.problem())
            }
            Destination::Echo => Ok(Accept {
                topic: ECHO_TOPIC,
                filter: EventMask::ALL,
                from: 0,
                binary: true,
                watches: false,
                greeted: false,
                session: SocketSession::echo(),
            }),
        }
    }
}

impl ObjectRoute {
    /// A socket that starts with nothing in particular.
    pub(crate) fn to(kind: Arc<Kind>, key: Key) -> ObjectRoute {
        let (since, filter, comes_back, watches) = (None, None, None, false);
        ObjectRoute { kind, key, since, filter, comes_back, watches, convention: Convention::Own }
    }

    /// Reads `since`, `epoch`, `events`, `session` and `presence`. Other names are ignored: proxies and
    /// tools add them.
    fn with_parameters(mut self, query: &str) -> Result<ObjectRoute, Problem> {
        let (mut offset, mut epoch) = (None, String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "since" => {
                    let parsed = value.parse().map_err(|_| {
                        bad_request(
                            "`since` is the offset of the last event you have: a whole number",
                        )
                    })?;
                    offset = Some(Offset::new(parsed));
                }
                "epoch" => epoch = value.into_owned(),
                "events" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    let names = names.map(str::to_owned).collect();
                    self.filter = Some(Filter::new(names, self.kind.event_types())?);
                }
                "session" => {
                    let id = SessionId::parse(&value).ok_or_else(|| {
                        bad_request("`session` is what `initial` or `resumed` said: 32 hex digits")
                    })?;
                    self.comes_back = Some(id);
                }
                "presence" => self.watches = is_on(&value)?,
                _ => {}
            }
        }
        self.since = offset.map(|offset| Since { epoch, offset });
        Ok(self)
    }

    /// With what its socket starts.
    ///
    /// # Errors
    ///
    /// The visitor may not have it. Nothing was allocated for the object.
    pub(crate) fn accept(
        self,
        door: &FrontDoor,
        visitor: Visitor,
    ) -> Result<Accept<SocketSession>, Denial> {
        let scope = Scope::One(self.key.id());
        door.auth.permit(&visitor, &self.kind, Access::Read, scope)?;
        let node = &door.node;
        let filter = self.filter.as_ref().map_or(EventMask::ALL, |filter| filter.mask);
        let from = self.since.as_ref().map_or(0, |since| since.offset.get());
        let user = visitor.user().ok().flatten().map(Arc::as_ref);
        let object = node.object_of_sockets(&self.kind, &self.key, user);
        // The session keeps the object's entry, and with it the topic.
        let topic = object.topic();
        // A subscription of tRPC has the events of the object, and nothing else.
        let says_resumed = self.convention == Convention::Own;
        let ObjectRoute { since, filter: named, comes_back, watches, .. } = self;
        let identity = visitor.into_identity();
        let start = Start { since, filter: named, comes_back, watches, identity, says_resumed };
        let session = SocketSession::new(object, node.clock().now(), start);
        Ok(Accept { topic, filter, from, binary: false, watches, greeted: true, session })
    }
}

impl Filter {
    /// The filter for these event types.
    ///
    /// # Errors
    ///
    /// BAD_REQUEST that names the first unknown type and lists the known ones.
    pub(crate) fn new(names: Vec<String>, types: &EventTypes) -> Result<Filter, dormouse::Error> {
        let mask = EventMask(types.mask(names.iter().map(String::as_str))?);
        Ok(Filter { names, mask })
    }
}

impl From<dormouse::Error> for Problem {
    fn from(err: dormouse::Error) -> Problem {
        let status = crate::rpc::http_status(err.code());
        Problem::new(status, err.code().as_str(), err.message())
    }
}

fn is_on(value: &str) -> Result<bool, Problem> {
    match value {
        "1" | "true" => Ok(true),
        "" | "0" | "false" => Ok(false),
        _ => Err(bad_request("`presence` is 1 or 0")),
    }
}

fn bad_request(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
}

//! Which object a socket's address names, and what else it says.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_http::{StatusCode, Uri};
use actix_web::http::header::{self, HeaderValue};
use dormouse::{EventTypes, Key, Kind, Offset, Since};
use dormouse_socket::EventMask;
use percent_encoding::percent_decode_str;

use crate::http::{FrontDoor, Problem};

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
}

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
/// What to answer if it leads nowhere, or the server takes no more sockets.
pub(crate) fn find(door: &FrontDoor, uri: &Uri) -> Result<Destination, Problem> {
    let destination = destination(door, uri)?;
    check_capacity(door)?;
    Ok(destination)
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

fn destination(door: &FrontDoor, uri: &Uri) -> Result<Destination, Problem> {
    let path = uri.path();
    if path == "/echo" && door.echo {
        return Ok(Destination::Echo);
    }
    let (kind_name, id) =
        path.strip_prefix("/ws/").and_then(|rest| rest.split_once('/')).ok_or_else(|| {
            Problem::not_found(format!("there is no socket at {path}; they are at /ws/<kind>/<id>"))
        })?;
    let kinds = door.node.kinds();
    let kind = kinds.get(kind_name).ok_or_else(|| {
        let known: Vec<&str> = kinds.names().collect();
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
    let (since, filter) = parameters(uri.query().unwrap_or_default(), kind.event_types())?;
    Ok(Destination::Object(Box::new(ObjectRoute { kind: Arc::clone(kind), key, since, filter })))
}

/// Reads `since`, `epoch` and `events`. Other names are ignored: proxies and tools add them.
fn parameters(query: &str, types: &EventTypes) -> Result<(Option<Since>, Option<Filter>), Problem> {
    let (mut offset, mut epoch, mut filter) = (None, String::new(), None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "since" => {
                let parsed = value.parse().map_err(|_| {
                    bad_request("`since` is the offset of the last event you have: a whole number")
                })?;
                offset = Some(Offset::new(parsed));
            }
            "epoch" => epoch = value.into_owned(),
            "events" => {
                let names = value.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
                filter = Some(Filter::new(names.collect(), types)?);
            }
            _ => {}
        }
    }
    Ok((offset.map(|offset| Since { epoch, offset }), filter))
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

fn check_capacity(door: &FrontDoor) -> Result<(), Problem> {
    if door.is_draining.load(Ordering::Acquire) {
        return Err(Problem::unavailable("the server is stopping; come back soon"));
    }
    let open: u64 = door.node.hubs().iter().map(|hub| hub.stats().read().sockets_open).sum();
    if open >= u64::try_from(door.sockets_max).unwrap_or(u64::MAX) {
        return Err(Problem::unavailable("the server has all the sockets that it may have"));
    }
    Ok(())
}

fn bad_request(message: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
}

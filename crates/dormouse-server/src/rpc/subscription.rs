//! The subscription `<kind>.events`: an object's events as tRPC's `httpSubscriptionLink` reads them.
//!
//! It is the event stream of `/sse` by another convention. What is refused is said within a stream, as
//! tRPC's own servers do: an `EventSource` does not show its page the body of any other answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::{HttpRequest, HttpResponse};
use dormouse::{Error, Kind, Since};
use dormouse_socket::{Accept, Convention};
use serde_json::{Map, Value};

use crate::admission::Refusal;
use crate::auth::Visitor;
use crate::http::FrontDoor;
use crate::rpc::envelope::error_shape;
use crate::rpc::request::RpcCall;
use crate::socket::event_stream::{self, HubOfWorker};
use crate::socket::route::ObjectRoute;
use crate::socket::{SocketSession, admit};

/// The field of the input that says where a client stopped that comes back with a new `EventSource`.
const LAST_EVENT_ID: &str = "lastEventId";

/// How long a browser waits before it asks again after an error that may pass, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// Opens the stream, or says in one why there is none.
pub(super) fn open(
    request: &HttpRequest,
    kind: &Arc<Kind>,
    call: &RpcCall,
    visitor: Visitor,
    door: &FrontDoor,
    hub: &HubOfWorker,
) -> HttpResponse {
    match accept(request, kind, call, visitor, door) {
        Ok(accept) => event_stream::begin(request, hub, accept, Convention::Trpc),
        Err(err) => {
            let error = error_shape(&err, Some(&call.path));
            event_stream::head().body(format!(
                "retry: {RETRY_MS}\n\n\
                 event: connected\ndata: {{}}\n\n\
                 event: serialized-error\ndata: {error}\n\n"
            ))
        }
    }
}

fn accept(
    request: &HttpRequest,
    kind: &Arc<Kind>,
    call: &RpcCall,
    visitor: Visitor,
    door: &FrontDoor,
) -> Result<Accept<SocketSession>, Error> {
    if door.is_draining.load(Ordering::Acquire) {
        return Err(Error::unavailable(Refusal::Draining.message()));
    }
    let input = match &call.input {
        Ok(input) => input.clone(),
        Err(err) => return Err(Error::new(err.code(), err.message().to_owned())),
    };
    let mut fields = match input {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(Error::bad_request("the input must be a JSON object")),
    };
    let key = kind.take_key(&mut fields)?;
    let named = take_place(&mut fields)?;
    if let Some(unknown) = fields.keys().next() {
        return Err(Error::bad_request(format!("unknown field `{unknown}`")));
    }

    // A browser that comes back by itself asks at the same address, and knows a later place.
    let since = event_stream::last_event_id(request.headers())
        .or_else(|| place_in_query(request.query_string()))
        .or(named);
    let (kind, convention) = (Arc::clone(kind), Convention::Trpc);
    let route = ObjectRoute { since, convention, ..ObjectRoute::to(kind, key) };
    let mut accept = route.accept(door, visitor).map_err(|denial| denial.error())?;
    admit(door, &mut accept.session, request.peer_addr())
        .map_err(|refused| Error::unavailable(refused.message()))?;
    Ok(accept)
}

fn take_place(fields: &mut Map<String, Value>) -> Result<Option<Since>, Error> {
    match fields.remove(LAST_EVENT_ID) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => Ok(Some(event_stream::place(&id))),
        Some(_) => Err(Error::bad_request(format!("`{LAST_EVENT_ID}` must be a string"))),
    }
}

/// Some polyfills of `EventSource` cannot send headers and say it in the address.
fn place_in_query(query: &str) -> Option<Since> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == LAST_EVENT_ID || name == "Last-Event-Id")
        .map(|(_, id)| event_stream::place(&id))
}

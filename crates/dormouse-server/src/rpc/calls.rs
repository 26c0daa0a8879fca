//! Starts the calls of a request and joins their answers.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use dormouse::{
    Call, Caller, Error, ErrorCode, IdempotencyKey, Kind, Offset, Random, Request, Resolved,
};
use dormouse_node::{Answered, Node, Reply};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::auth::{Access, Denial, Scope, Visitor, challenge};
use crate::http::FrontDoor;
use crate::rpc::envelope::{IDEMPOTENT_REPLAY, error_body, http_status, respond, result_body};
use crate::rpc::names::{Names, Procedure};
use crate::rpc::request::{RpcCall, RpcRequest, Verb};

/// The calls of a request, which all run at the same time.
pub(super) struct Calls {
    is_batch: bool,
    /// What a 401 says about the token.
    challenge: HeaderValue,
    /// Each beside its path.
    pub(super) started: Vec<(String, Started)>,
}

/// A call that was started.
pub(super) enum Started {
    Waiting(oneshot::Receiver<Answered>),
    Done(Result<String, Error>),
}

/// A call that the catalog answers.
struct Listing {
    kind: Arc<Kind>,
    call: Call,
    sender: oneshot::Sender<Answered>,
}

/// The answer to one call.
pub(super) struct Answer {
    pub(super) result: Result<String, Error>,
    is_replay: bool,
}

/// Starts all calls of a request. One that cannot be started is answered at once.
pub(super) fn start_all(
    door: &FrontDoor,
    names: Names,
    visitor: &Visitor,
    request: RpcRequest,
) -> Calls {
    let RpcRequest { verb, is_batch, calls } = request;
    let mut listings = Vec::new();
    let started = calls
        .into_iter()
        .map(|RpcCall { path, input, key }| {
            let begun = find(&door.node, names, verb, &path)
                .and_then(|method| start(door, visitor, method, input, key, &mut listings));
            let started = begun.unwrap_or_else(|err| Started::Done(Err(err)));
            (path, started)
        })
        .collect();
    if !listings.is_empty() {
        let store = door.node.store().clone();
        // One thread for all listings of a request, so that a batch of them takes no more.
        actix_rt::task::spawn_blocking(move || {
            for Listing { kind, call, sender } in listings {
                let result = kind.list(store.catalog(), call);
                // A client that is gone does not need its answer.
                _ = sender.send(Answered { result, tail: Offset::ZERO, is_replay: false });
            }
        });
    }
    Calls { is_batch, challenge: challenge(visitor.is_refused()), started }
}

impl Calls {
    /// Waits for all answers, and gives them in the order of their calls.
    pub(super) async fn answer(self) -> HttpResponse {
        let mut status = None;
        let mut are_replays = true;
        let mut bodies = Vec::with_capacity(self.started.len());
        for (path, started) in self.started {
            let Answer { result, is_replay } = started.answer().await;
            are_replays &= is_replay;
            let (call_status, body) = match result {
                Ok(data) => (StatusCode::OK, result_body(&data)),
                Err(err) => (http_status(err.code()), error_body(&err, Some(&path))),
            };
            status = match status {
                None => Some(call_status),
                Some(common) if common == call_status => Some(common),
                Some(_) => Some(StatusCode::MULTI_STATUS),
            };
            bodies.push(body);
        }
        let body = if self.is_batch { format!("[{}]", bodies.join(",")) } else { bodies.concat() };
        let status = status.unwrap_or(StatusCode::OK);
        let mut response = respond(status, body);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, self.challenge);
        }
        if are_replays {
            response.headers_mut().insert(IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
        }
        response
    }
}

/// A method that the request may use.
struct Method<'a> {
    kind: &'a Arc<Kind>,
    name: &'a str,
    access: Access,
}

fn find<'a>(node: &'a Node, names: Names, verb: Verb, path: &'a str) -> Result<Method<'a>, Error> {
    let (kind, name, method) = match names.find(node, path)? {
        Procedure::Method { kind, name, method } => (kind, name, method),
        Procedure::Subscription { .. } => return Err(not_a_call(verb, path)),
    };
    let access = Access::of(method);
    if verb == Verb::Get && access == Access::Write {
        let message = format!("Unsupported GET-request to mutation procedure at path \"{path}\"");
        return Err(Error::new(ErrorCode::MethodNotSupported, message));
    }
    Ok(Method { kind, name, access })
}

fn start(
    door: &FrontDoor,
    visitor: &Visitor,
    method: Method<'_>,
    input: Result<Option<Value>, Error>,
    key: Option<IdempotencyKey>,
    listings: &mut Vec<Listing>,
) -> Result<Started, Error> {
    let Method { kind, name, access } = method;
    let denied = |denial: Denial| denial.error();
    let user = visitor.user().map_err(denied)?;
    door.auth.admit(user.map(Arc::as_ref), kind, access).map_err(denied)?;
    let caller = Caller { user: user.cloned(), session: None };
    let request = Request { method: name, params: input?, bound: None, caller, key };
    let mut new_id = (door.node.clock().now(), Random::system());
    let resolved = kind.resolve(request, &mut new_id)?;
    door.auth.cover(visitor, kind, scope_of(&resolved)).map_err(denied)?;
    let (sender, receiver) = oneshot::channel();
    match resolved {
        Resolved::Object { key, call } => {
            let object = door.node.object(kind, &key);
            // A client that is gone does not need its answer.
            door.node.call(&object, call, Reply::new(|answered| _ = sender.send(answered)));
        }
        Resolved::Listing(call) => listings.push(Listing { kind: Arc::clone(kind), call, sender }),
    }
    Ok(Started::Waiting(receiver))
}

/// Which objects a call is about.
fn scope_of(resolved: &Resolved) -> Scope<'_> {
    match resolved {
        Resolved::Object { key, .. } => Scope::One(key.id()),
        Resolved::Listing(_) => Scope::All,
    }
}

/// A subscription in a batch, or by POST.
fn not_a_call(verb: Verb, path: &str) -> Error {
    match verb {
        Verb::Get => Error::bad_request("Cannot batch subscription calls"),
        Verb::Post => {
            let message =
                format!("Unsupported POST-request to subscription procedure at path \"{path}\"");
            Error::new(ErrorCode::MethodNotSupported, message)
        }
    }
}

impl Started {
    /// Waits for the answer.
    pub(super) async fn answer(self) -> Answer {
        match self {
            Started::Waiting(receiver) => match receiver.await {
                Ok(Answered { result, is_replay, .. }) => Answer { result, is_replay },
                Err(_) => Answer { result: Err(stopped()), is_replay: false },
            },
            Started::Done(result) => Answer { result, is_replay: false },
        }
    }
}

fn stopped() -> Error {
    Error::unavailable(
        "the server stopped before it answered; it is not known whether the call was applied",
    )
}

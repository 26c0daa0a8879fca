//! Starts the calls of a request and joins their answers.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use dormouse::{
    Call, Caller, Error, ErrorCode, IdempotencyKey, Kind, MethodKind, Offset, Random, Request,
    Resolved,
};
use dormouse_node::{Answered, Node, Reply};
use tokio::sync::oneshot;

use crate::rpc::envelope::{IDEMPOTENT_REPLAY, error_body, http_status, respond, result_body};
use crate::rpc::names::{Names, Procedure};
use crate::rpc::request::{RpcCall, RpcRequest, Verb};

/// The calls of a request, which all run at the same time.
pub(super) struct Calls {
    is_batch: bool,
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
pub(super) fn start_all(node: &Node, names: Names, request: RpcRequest) -> Calls {
    let RpcRequest { verb, is_batch, calls } = request;
    let mut listings = Vec::new();
    let started = calls
        .into_iter()
        .map(|RpcCall { path, input, key }| {
            let begun =
                input.and_then(|input| start(node, names, verb, &path, input, key, &mut listings));
            let started = begun.unwrap_or_else(|err| Started::Done(Err(err)));
            (path, started)
        })
        .collect();
    if !listings.is_empty() {
        let store = node.store().clone();
        // One thread for all listings of a request, so that a batch of them takes no more.
        actix_rt::task::spawn_blocking(move || {
            for Listing { kind, call, sender } in listings {
                let result = kind.list(store.catalog(), call);
                // A client that is gone does not need its answer.
                _ = sender.send(Answered { result, tail: Offset::ZERO, is_replay: false });
            }
        });
    }
    Calls { is_batch, started }
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
        let mut response = respond(status.unwrap_or(StatusCode::OK), body);
        if are_replays {
            response.headers_mut().insert(IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
        }
        response
    }
}

fn start(
    node: &Node,
    names: Names,
    verb: Verb,
    path: &str,
    input: Option<serde_json::Value>,
    key: Option<IdempotencyKey>,
    listings: &mut Vec<Listing>,
) -> Result<Started, Error> {
    let (kind, name, method) = match names.find(node, path)? {
        Procedure::Method { kind, name, method } => (kind, name, method),
        Procedure::Subscription { .. } => return Err(not_a_call(verb, path)),
    };
    if verb == Verb::Get && matches!(method, MethodKind::Mutation | MethodKind::Creation) {
        let message = format!("Unsupported GET-request to mutation procedure at path \"{path}\"");
        return Err(Error::new(ErrorCode::MethodNotSupported, message));
    }
    let caller = Caller::default();
    let request = Request { method: name, params: input, bound: None, caller, key };
    let mut new_id = (node.clock().now(), Random::system());
    match kind.resolve(request, &mut new_id)? {
        Resolved::Object { key, call } => {
            let (sender, receiver) = oneshot::channel();
            let object = node.object(kind, &key);
            // A client that is gone does not need its answer.
            node.call(&object, call, Reply::new(|answered| _ = sender.send(answered)));
            Ok(Started::Waiting(receiver))
        }
        Resolved::Listing(call) => {
            let (sender, receiver) = oneshot::channel();
            listings.push(Listing { kind: Arc::clone(kind), call, sender });
            Ok(Started::Waiting(receiver))
        }
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

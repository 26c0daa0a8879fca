//! Runs the calls of a request and joins their answers.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use dormouse::{Caller, Error, ErrorCode, IdempotencyKey, MethodKind, Random, Request, Resolved};
use dormouse_node::{Answered, Node, Reply};
use tokio::sync::oneshot;

use crate::rpc::envelope::{IDEMPOTENT_REPLAY, error_body, http_status, respond, result_body};
use crate::rpc::names::Names;
use crate::rpc::request::{RpcCall, RpcRequest, Verb};

/// A call that was started: all calls of a batch run at the same time.
enum Started {
    Waiting(oneshot::Receiver<Answered>),
    Done(Result<String, Error>),
}

/// The answer to one call.
struct Answer {
    result: Result<String, Error>,
    is_replay: bool,
}

/// Runs all calls and answers in their order.
pub(crate) async fn run(node: &Node, names: Names, request: RpcRequest) -> HttpResponse {
    let RpcRequest { verb, is_batch, calls } = request;
    let mut paths = Vec::with_capacity(calls.len());
    let mut started = Vec::with_capacity(calls.len());
    for RpcCall { path, input, key } in calls {
        let begun = match input {
            Ok(input) => start(node, names, verb, &path, input, key).await,
            Err(err) => Err(err),
        };
        started.push(begun.unwrap_or_else(|err| Started::Done(Err(err))));
        paths.push(path);
    }

    let mut status = None;
    let mut are_replays = true;
    let mut bodies = Vec::with_capacity(started.len());
    for (started, path) in started.into_iter().zip(&paths) {
        let Answer { result, is_replay } = started.answer().await;
        are_replays &= is_replay;
        let (call_status, body) = match result {
            Ok(data) => (StatusCode::OK, result_body(&data)),
            Err(err) => (http_status(err.code()), error_body(&err, Some(path))),
        };
        status = match status {
            None => Some(call_status),
            Some(common) if common == call_status => Some(common),
            Some(_) => Some(StatusCode::MULTI_STATUS),
        };
        bodies.push(body);
    }
    let body = if is_batch { format!("[{}]", bodies.join(",")) } else { bodies.concat() };
    let mut response = respond(status.unwrap_or(StatusCode::OK), body);
    if are_replays {
        response.headers_mut().insert(IDEMPOTENT_REPLAY, HeaderValue::from_static("true"));
    }
    response
}

async fn start(
    node: &Node,
    names: Names,
    verb: Verb,
    path: &str,
    input: Option<serde_json::Value>,
    key: Option<IdempotencyKey>,
) -> Result<Started, Error> {
    let procedure = names.find(node, path)?;
    let method = procedure.kind.method(procedure.method);
    if verb == Verb::Get && matches!(method, Some(MethodKind::Mutation | MethodKind::Creation)) {
        let message = format!("Unsupported GET-request to mutation procedure at path \"{path}\"");
        return Err(Error::new(ErrorCode::MethodNotSupported, message));
    }
    let request = Request {
        method: procedure.method,
        params: input,
        bound: None,
        caller: Caller::default(),
        key,
    };
    let mut new_id = (node.clock().now(), Random::system());
    match procedure.kind.resolve(request, &mut new_id)? {
        Resolved::Object { key, call } => {
            let (sender, receiver) = oneshot::channel();
            let object = node.object(procedure.kind, &key);
            // A client that is gone does not need its answer.
            node.call(&object, call, Reply::new(|answered| _ = sender.send(answered)));
            Ok(Started::Waiting(receiver))
        }
        Resolved::Listing(call) => {
            let (kind, store) = (procedure.kind.clone(), node.store().clone());
            let listed =
                actix_rt::task::spawn_blocking(move || kind.list(store.catalog(), call)).await;
            Ok(Started::Done(listed.unwrap_or_else(|_| Err(stopped()))))
        }
    }
}

impl Started {
    async fn answer(self) -> Answer {
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

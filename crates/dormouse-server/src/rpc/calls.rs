//! Runs the calls of a request and joins their answers.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use dormouse::{Caller, Error, ErrorCode, MethodKind, Random, Resolved};
use dormouse_node::{Answered, Node, Reply};
use tokio::sync::oneshot;

use crate::rpc::envelope::{error_body, http_status, respond, result_body};
use crate::rpc::names::Names;
use crate::rpc::request::{RpcCall, RpcRequest, Verb};

/// A call that was started: all calls of a batch run at the same time.
enum Started {
    Waiting(oneshot::Receiver<Answered>),
    Done(Result<String, Error>),
}

/// Runs all calls and answers in their order.
pub(crate) async fn run(node: &Node, names: Names, request: RpcRequest) -> HttpResponse {
    let RpcRequest { verb, is_batch, calls } = request;
    let mut paths = Vec::with_capacity(calls.len());
    let mut started = Vec::with_capacity(calls.len());
    for RpcCall { path, input } in calls {
        let begun = match input {
            Ok(input) => start(node, names, verb, &path, input).await,
            Err(err) => Err(err),
        };
        started.push(begun.unwrap_or_else(|err| Started::Done(Err(err))));
        paths.push(path);
    }

    let mut status = None;
    let mut bodies = Vec::with_capacity(started.len());
    for (started, path) in started.into_iter().zip(&paths) {
        let (call_status, body) = match started.answer().await {
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
    respond(status.unwrap_or(StatusCode::OK), body)
}

async fn start(
    node: &Node,
    names: Names,
    verb: Verb,
    path: &str,
    input: Option<serde_json::Value>,
) -> Result<Started, Error> {
    let procedure = names.find(node, path)?;
    let method = procedure.kind.method(procedure.method);
    if verb == Verb::Get && matches!(method, Some(MethodKind::Mutation | MethodKind::Creation)) {
        let message = format!("Unsupported GET-request to mutation procedure at path \"{path}\"");
        return Err(Error::new(ErrorCode::MethodNotSupported, message));
    }
    let mut new_id = (node.clock().now(), Random::system());
    let resolved =
        procedure.kind.resolve(procedure.method, input, None, Caller::default(), &mut new_id)?;
    match resolved {
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
    async fn answer(self) -> Result<String, Error> {
        match self {
            Started::Waiting(receiver) => receiver.await.map_err(|_| stopped())?.result,
            Started::Done(result) => result,
        }
    }
}

fn stopped() -> Error {
    Error::unavailable(
        "the server stopped before it answered; it is not known whether the call was applied",
    )
}

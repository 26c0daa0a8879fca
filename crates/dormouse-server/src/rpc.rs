//! RPC on the tRPC wire: `/rpc/<kind>.<method>` and the flat names of `/api/v1`.
//!
//! The facts of the wire are those of `@trpc/client` 11: see `docs/protocol.md`.

mod calls;
mod envelope;
mod lines;
mod names;
mod request;
mod subscription;

use actix_web::{HttpRequest, HttpResponse, web};
use dormouse::Error;

use crate::http::FrontDoor;
use crate::http::body::read_body;

pub(crate) use crate::rpc::envelope::{http_status, respond_error};
pub(crate) use crate::rpc::names::Names;
use crate::rpc::names::Procedure;
use crate::rpc::request::{RpcRequest, Verb};
use crate::socket::event_stream::HubOfWorker;

/// Answers a request under `/rpc` or `/api/v1`.
pub(crate) async fn handle(
    names: Names,
    request: HttpRequest,
    payload: web::Payload,
    door: web::Data<FrontDoor>,
    hub: web::Data<HubOfWorker>,
) -> HttpResponse {
    let path = request.match_info().get("path").unwrap_or_default().to_owned();
    // Before the body is read: it can be large.
    let visitor = door.auth.visitor(request.headers(), request.query_string()).await;
    let body = match read_body(request.headers(), payload).await {
        Ok(body) => body,
        Err(err) => return respond_error(&err, Some(&path)),
    };
    let parsed = RpcRequest::parse(
        request.method(),
        &path,
        request.query_string(),
        request.headers(),
        &body,
    );
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(err) => return respond_error(&err, Some(&path)),
    };
    if let RpcRequest { verb: Verb::Get, is_batch: false, calls } = &parsed
        && let [call] = calls.as_slice()
        && let Ok(Procedure::Subscription { kind }) = names.find(&door.node, &call.path)
    {
        return subscription::open(&request, kind, call, visitor, &door, &hub);
    }
    let wants_lines = lines::are_wanted(request.headers());
    if wants_lines && !parsed.is_batch {
        let err =
            Error::bad_request("Streaming requests must be batched (you can do a batch of 1)");
        return respond_error(&err, Some(&path));
    }
    let calls = calls::start_all(&door, names, &visitor, parsed);
    if wants_lines { lines::respond(calls.started) } else { calls.answer().await }
}

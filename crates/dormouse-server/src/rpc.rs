//! RPC on the tRPC wire: `/rpc/<kind>.<method>` and the flat names of `/api/v1`.
//!
//! The facts of the wire are those of `@trpc/client` 11: see `docs/protocol.md`.

mod calls;
mod envelope;
mod names;
mod request;

use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::FrontDoor;
use crate::http::body::read_body;

pub(crate) use crate::rpc::envelope::{http_status, respond_error};
pub(crate) use crate::rpc::names::Names;
use crate::rpc::request::RpcRequest;

/// Answers a request under `/rpc` or `/api/v1`.
pub(crate) async fn handle(
    names: Names,
    request: HttpRequest,
    payload: web::Payload,
    door: web::Data<FrontDoor>,
) -> HttpResponse {
    let path = request.match_info().get("path").unwrap_or_default().to_owned();
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
    calls::run(&door.node, names, parsed).await
}

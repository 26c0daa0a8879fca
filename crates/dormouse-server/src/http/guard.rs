//! Who may call from a browser: the Origin rules, and CORS for those who may.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};
use dormouse::{Error, ErrorCode};

use crate::http::{Arrival, FrontDoor, Problem};
use crate::rpc;

/// How long a browser may remember that it may call, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";

/// Refuses requests from pages that may not call, answers preflights, and adds the CORS headers.
/// Applies to every address that reads or changes objects, and to the documents, which tools read from
/// pages of their own.
pub(crate) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if let Some(arrival) = request.conn_data::<Arrival>() {
        arrival.complete();
    }
    if !is_guarded(request.path()) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let door = request
        .app_data::<web::Data<FrontDoor>>()
        .expect("the application is built with its front door")
        .clone();
    let origin = request.headers().get(header::ORIGIN).cloned();
    if let Err(err) = door.origins.check(request.head()) {
        let mut refused = refuse(request.path(), &err.to_string());
        // A page whose handshake failed asks here for the reason, and may read this and nothing else.
        if let Some(origin) = origin.filter(|_| is_socket(request.path())) {
            allow(refused.headers_mut(), origin);
        }
        return Ok(request.into_response(refused));
    }
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight {
        request.into_response(preflight())
    } else {
        next.call(request).await?.map_into_boxed_body()
    };
    if let Some(origin) = origin {
        allow(response.headers_mut(), origin);
    }
    Ok(response)
}

fn is_guarded(path: &str) -> bool {
    ["/rpc", "/api", "/ws", "/echo", "/channel", "/sse", "/openapi.json", "/asyncapi.json"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

fn is_socket(path: &str) -> bool {
    ["/ws", "/channel"].iter().any(|prefix| path.starts_with(prefix))
}

fn is_rpc(path: &str) -> bool {
    path.starts_with("/rpc") || path.starts_with("/api/v1")
}

fn refuse(path: &str, message: &str) -> HttpResponse {
    if is_rpc(path) {
        let err = Error::new(ErrorCode::Forbidden, message.to_owned());
        return rpc::respond_error(&err, None);
    }
    Problem::new(StatusCode::FORBIDDEN, "FORBIDDEN", message).respond()
}

fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"))
        .insert_header((
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, idempotency-key, last-event-id, trpc-accept, x-trpc-source",
        ))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE))
        .finish()
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("idempotent-replay, retry-after, www-authenticate"),
    );
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

//! `/healthz`, `/readyz`, `/metrics`, and the documents.

use std::sync::atomic::Ordering;

use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::http::{FrontDoor, Problem};
use crate::metrics;

/// The process runs.
pub(super) async fn healthz(door: web::Data<FrontDoor>) -> HttpResponse {
    let body = json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "durability": door.durability.as_str(),
    });
    HttpResponse::Ok().insert_header(ContentType::json()).body(body.to_string())
}

/// It takes calls. Fails as soon as the server begins to stop.
pub(super) async fn readyz(door: web::Data<FrontDoor>) -> HttpResponse {
    if door.is_draining.load(Ordering::Acquire) {
        return Problem::unavailable("the server is stopping").respond();
    }
    let body = json!({ "status": "ready" });
    HttpResponse::build(StatusCode::OK).insert_header(ContentType::json()).body(body.to_string())
}

/// What is asked and answered over plain HTTP.
pub(super) async fn openapi(door: web::Data<FrontDoor>) -> HttpResponse {
    HttpResponse::Ok().insert_header(ContentType::json()).body(door.documents.openapi.clone())
}

/// What sockets and event streams send and receive.
pub(super) async fn asyncapi(door: web::Data<FrontDoor>) -> HttpResponse {
    HttpResponse::Ok().insert_header(ContentType::json()).body(door.documents.asyncapi.clone())
}

/// Counters and gauges in the text format of Prometheus.
pub(super) async fn metrics(door: web::Data<FrontDoor>) -> HttpResponse {
    match metrics::render(&door) {
        Ok(text) => {
            HttpResponse::Ok().insert_header(("content-type", prometheus::TEXT_FORMAT)).body(text)
        }
        Err(err) => {
            tracing::error!(error = &err as &dyn std::error::Error, "metrics cannot be rendered");
            Problem::unavailable("metrics cannot be rendered").respond()
        }
    }
}

//! The page at `/`, inside the binary.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

use crate::http::Problem;

const INDEX_HTML: &str = include_str!("../../assets/index.html");
const PAGE_CSS: &str = include_str!("../../assets/page.css");

/// The page's scripts, by the path they are served at.
const SCRIPTS: [(&str, &str); 11] = [
    ("page.js", include_str!("../../assets/page.js")),
    ("page/call_error.js", include_str!("../../assets/page/call_error.js")),
    ("page/connection.js", include_str!("../../assets/page/connection.js")),
    ("page/counter.js", include_str!("../../assets/page/counter.js")),
    ("page/draft.js", include_str!("../../assets/page/draft.js")),
    ("page/history.js", include_str!("../../assets/page/history.js")),
    ("page/note.js", include_str!("../../assets/page/note.js")),
    ("page/note_list.js", include_str!("../../assets/page/note_list.js")),
    ("page/rpc.js", include_str!("../../assets/page/rpc.js")),
    ("page/screen.js", include_str!("../../assets/page/screen.js")),
    ("page/token.js", include_str!("../../assets/page/token.js")),
];

/// The page loads nothing from elsewhere and runs nothing that is not in its own files.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

pub(super) async fn index() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(INDEX_HTML)
}

pub(super) async fn style() -> HttpResponse {
    asset("text/css; charset=utf-8", PAGE_CSS)
}

pub(super) async fn script(request: HttpRequest) -> HttpResponse {
    let path = request.path().trim_start_matches('/');
    match SCRIPTS.iter().find(|(name, _)| *name == path) {
        Some((_, source)) => asset("text/javascript; charset=utf-8", source),
        None => Problem::not_found(format!("there is nothing at /{path}")).respond(),
    }
}

fn asset(content_type: &'static str, body: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(body)
}

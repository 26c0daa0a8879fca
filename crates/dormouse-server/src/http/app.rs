//! The routes.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::http::{FrontDoor, Problem, operations, page};
use crate::rpc::{self, Names};
use crate::socket::{event_stream, route, would_admit};

/// All addresses of the server but the handshakes of sockets, which never reach the application.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(page::index))
        .route("/page.css", web::get().to(page::style))
        .route("/page.js", web::get().to(page::script))
        .route("/page/{script}", web::get().to(page::script))
        .route("/healthz", web::get().to(operations::healthz))
        .route("/readyz", web::get().to(operations::readyz))
        .route("/metrics", web::get().to(operations::metrics))
        .route("/openapi.json", web::get().to(operations::openapi))
        .route("/asyncapi.json", web::get().to(operations::asyncapi))
        .route(
            "/rpc/{path:.*}",
            web::to(|request, payload, door, hub| {
                rpc::handle(Names::Rpc, request, payload, door, hub)
            }),
        )
        .route(
            "/api/v1/{path:.*}",
            web::to(|request, payload, door, hub| {
                rpc::handle(Names::Flat, request, payload, door, hub)
            }),
        )
        .route("/ws/{rest:.*}", web::get().to(plain_get_of_a_socket))
        .route("/channel/{rest:.*}", web::get().to(plain_get_of_a_socket))
        .route("/sse/{rest:.*}", web::to(event_stream::open))
        .route("/echo", web::get().to(plain_get_of_a_socket))
        .default_service(web::to(not_found));
}

/// A plain GET on a socket's address: says why a handshake there fails, or that one is needed.
async fn plain_get_of_a_socket(request: HttpRequest, door: web::Data<FrontDoor>) -> HttpResponse {
    let admitted = route::find(&door, request.uri());
    let admitted = match admitted {
        Ok(destination) => {
            let visitor = door.auth.visitor(request.headers(), request.query_string()).await;
            destination.accept(&door, visitor).and_then(|accept| {
                would_admit(&door, &accept.session, request.peer_addr()).map_err(Problem::from)
            })
        }
        Err(problem) => Err(problem),
    };
    match admitted {
        Ok(()) => route::upgrade_required().respond(),
        Err(problem) => problem.respond(),
    }
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    Problem::not_found(format!("there is nothing at {}", request.path())).respond()
}

//! `GET /sse/<kind>/<id>`: an object's events for clients that cannot have a WebSocket.
//!
//! The request is answered by the application like any other. Then the stream leaves HTTP and is a
//! socket of the hub, whose frames are written as server-sent events.
//!
//! The body has neither a length nor chunks but ends with the connection. That is what proxies that
//! speak HTTP/1.0 to servers understand as well, and it needs nothing between the events, so that
//! the same bytes go to every stream.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use actix_web::body::{self, BoxBody};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use dormouse::{Offset, Since};
use dormouse_socket::{Accept, Convention, Handover, Hub, Upgraded};

use crate::http::{FrontDoor, Problem};
use crate::socket::admit::{admit, would_admit};
use crate::socket::owner::{SocketOwner, SocketSession};
use crate::socket::route;

/// What a browser sends when it comes back: the `id` of the last event it has.
const LAST_EVENT_ID: &str = "last-event-id";

/// Asks proxies to change nothing and keep nothing.
const CACHE_CONTROL: &str = "no-store, no-transform";

/// Tells nginx, and what learned from it, to pass on each event at once.
const ACCEL_BUFFERING: (&str, &str) = ("x-accel-buffering", "no");

/// The whole stream of a server that stops.
const COME_BACK: &str = "retry: 1000\n\nevent: close\ndata: 1012 the server is stopping\n\n";

/// Opens an event stream. HEAD is answered with what GET would begin with.
pub(crate) async fn open(
    request: HttpRequest,
    door: web::Data<FrontDoor>,
    hub: web::Data<HubOfWorker>,
) -> HttpResponse {
    let is_head = request.method() == Method::HEAD;
    if !is_head && request.method() != Method::GET {
        return method_not_allowed().respond();
    }
    let mut route = match route::find_stream(&door, request.uri()) {
        Ok(route) => route,
        Err(problem) => return problem.respond(),
    };
    if let Some(since) = last_event_id(request.headers()) {
        route.since = Some(since);
    }
    if door.is_draining.load(Ordering::Acquire) {
        // A browser does not come back after any other status, and it may ask over a connection that
        // it still has.
        return head().body(COME_BACK);
    }
    let convention = route.convention;
    let visitor = door.auth.visitor(request.headers(), request.query_string()).await;
    let mut accept = match route.accept(&door, visitor) {
        Ok(accept) => accept,
        Err(denial) => return denial.problem().respond(),
    };
    let admitted = if is_head {
        would_admit(&door, &accept.session, request.peer_addr())
    } else {
        admit(&door, &mut accept.session, request.peer_addr())
    };
    if let Err(refusal) = admitted {
        return Problem::from(refusal).respond();
    }
    if is_head { without_end() } else { begin(&request, &hub, accept, convention) }
}

/// Answers with a stream of an object's events, by the convention that its client knows.
pub(crate) fn begin(
    request: &HttpRequest,
    hub: &HubOfWorker,
    accept: Accept<SocketSession>,
    convention: Convention,
) -> HttpResponse {
    let handover = request
        .conn_data::<Handover>()
        .expect("the HTTP service gives every connection its handover")
        .clone();
    let hub = Rc::clone(&hub.0);
    handover.after_answer(move |stream| {
        // A client that is gone by then needs nothing.
        if let Ok(upgraded) = Upgraded::event_stream(stream, convention) {
            hub.accept(upgraded, accept);
        }
    });
    without_end()
}

fn without_end() -> HttpResponse {
    // No body, not even an empty one, whose length would be announced.
    head()
        .message_body(BoxBody::new(body::None::new()))
        .expect("the builder was given valid headers")
}

/// The head of an event stream.
pub(crate) fn head() -> HttpResponseBuilder {
    let mut head = HttpResponse::Ok();
    head.force_close()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, CACHE_CONTROL))
        .insert_header(ACCEL_BUFFERING);
    head
}

/// The hub of the thread that serves the request.
pub(crate) struct HubOfWorker(pub(crate) Rc<Hub<SocketOwner>>);

/// Where a client that comes back stopped, if it says so.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<Since> {
    headers.get(LAST_EVENT_ID).map(|id| place(id.to_str().unwrap_or_default()))
}

/// Reads `<epoch>:<offset>`. An `id` that was never given out is a place that nobody knows, as one of
/// another epoch is: the stream starts over.
pub(crate) fn place(id: &str) -> Since {
    let known = id.split_once(':').and_then(|(epoch, offset)| {
        let offset = Offset::new(offset.parse().ok()?);
        Some(Since { epoch: epoch.to_owned(), offset })
    });
    known.unwrap_or_else(|| Since { epoch: String::new(), offset: Offset::ZERO })
}

fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_SUPPORTED",
        "this address gives server-sent events; open it with `new EventSource(…)`",
    )
    .header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;

    use super::*;

    fn read(id: &str) -> Option<(String, u64)> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(id).unwrap();
        headers.insert(HeaderName::from_static(LAST_EVENT_ID), value);
        last_event_id(&headers).map(|since| (since.epoch, since.offset.get()))
    }

    #[test]
    fn an_id_is_a_place_and_what_is_none_is_a_place_that_nobody_knows() {
        assert_eq!(last_event_id(&HeaderMap::new()), None);
        assert_eq!(read("00000000000000ab:7"), Some(("00000000000000ab".to_owned(), 7)));
        for id in ["", "7", ":", "ab:", "ab:-1", "ab:99999999999999999999", "ab:7:8"] {
            assert_eq!(read(id), Some((String::new(), 0)), "{id:?}");
        }
    }
}

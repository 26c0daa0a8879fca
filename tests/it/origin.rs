//! Which pages of a browser may call: Origin, Host and CORS, contract section 1.

use e2e::{Request, Response, Server};
use serde_json::json;

const FOREIGN: &str = "https://evil.example";

/// Every way to write a page's origin that must not pass for one of this machine.
const REFUSED: [&str; 8] = [
    FOREIGN,
    "null",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://evil.example:8094",
    "http://localhost@evil.example",
    "file://",
    "",
];

fn increment() -> Request {
    Request::post_json("/rpc/counter.increment", r#"{"name":"a"}"#)
}

async fn value(server: &Server) -> i64 {
    let answer = server.query("counter.getValue", json!({"name": "a"})).await;
    answer.data()["value"].as_i64().expect("it is a number")
}

fn allowed_origin(response: &Response) -> Option<&str> {
    response.header("access-control-allow-origin")
}

#[tokio::test]
async fn a_foreign_page_cannot_open_a_socket_and_can_learn_why() {
    let server = Server::start().await;

    for origin in REFUSED {
        let shaken =
            server.send(&Request::handshake("/ws/counter/a").header("Origin", origin)).await;
        let fetched = server.send(&Request::get("/ws/counter/a").header("Origin", origin)).await;

        assert_eq!((shaken.status, fetched.status), (403, 403), "{origin}");
        assert!(shaken.json()["error"]["message"].is_string(), "{shaken:?}");
        assert_eq!(fetched.json()["error"]["code"], "FORBIDDEN");
        assert_eq!(allowed_origin(&fetched), Some(origin), "or the page could not read it");
    }
}

#[tokio::test]
async fn a_foreign_page_cannot_call_and_changes_nothing() {
    let server = Server::start().await;

    for origin in REFUSED {
        let answer = server.answer(&increment().header("Origin", origin)).await;

        assert_eq!(answer.code(), "FORBIDDEN", "{origin}");
        assert_eq!(allowed_origin(&answer.response), None, "{origin}");
    }
    // What a page can send without asking the browser first.
    let simple = increment().with("Content-Type", "text/plain").header("Origin", FOREIGN);
    assert_eq!(server.answer(&simple).await.code(), "FORBIDDEN");
    assert_eq!(value(&server).await, 0);
}

#[tokio::test]
async fn pages_of_this_machine_may_call_and_connect_from_any_port() {
    let server = Server::start().await;

    for origin in
        ["http://localhost:3014", "http://127.0.0.1:5173", "http://[::1]:80", "https://localhost"]
    {
        let answer = server.answer(&increment().header("Origin", origin)).await;
        let socket =
            server.send(&Request::handshake("/ws/counter/a").header("Origin", origin)).await;

        assert!(answer.is_data(), "{origin}");
        assert_eq!(allowed_origin(&answer.response), Some(origin));
        let vary = answer.response.header("vary").unwrap_or_default().to_ascii_lowercase();
        assert!(vary.contains("origin"), "a cache must not mix up origins: {vary:?}");
        assert_eq!(socket.status, 101, "{origin}");
    }
}

#[tokio::test]
async fn a_client_that_is_no_page_has_no_origin_and_is_let_in() {
    let server = Server::start().await;

    let answer = server.answer(&increment()).await;

    assert!(answer.is_data());
    assert_eq!(allowed_origin(&answer.response), None);
}

#[tokio::test]
async fn a_preflight_of_a_page_that_may_call_is_answered() {
    let server = Server::start().await;

    for path in ["/rpc/counter.increment", "/api/v1/createNote", "/rpc/a.b,c.d?batch=1"] {
        let preflight = Request::new("OPTIONS", path)
            .header("Origin", "http://localhost:3014")
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type");
        let response = server.send(&preflight).await;

        assert!(matches!(response.status, 200 | 204), "{path}: {response:?}");
        assert_eq!(allowed_origin(&response), Some("http://localhost:3014"));
        let header = |name: &str| response.header(name).unwrap_or_default().to_ascii_lowercase();
        assert!(header("access-control-allow-methods").contains("post"), "{response:?}");
        assert!(header("access-control-allow-headers").contains("content-type"), "{response:?}");
    }
}

#[tokio::test]
async fn a_preflight_of_a_foreign_page_allows_nothing() {
    let server = Server::start().await;

    let preflight = Request::new("OPTIONS", "/rpc/counter.increment")
        .header("Origin", FOREIGN)
        .header("Access-Control-Request-Method", "POST");
    let response = server.send(&preflight).await;

    assert_eq!((response.status, allowed_origin(&response)), (403, None));
}

#[tokio::test]
async fn a_page_can_read_the_errors_of_its_calls_too() {
    let server = Server::start().await;
    let origin = "http://localhost:3014";

    for request in [
        Request::get("/rpc/bird.fly"),
        Request::get("/rpc/counter.increment"),
        Request::post_json("/rpc/counter.increment", "{"),
        Request::post_json("/rpc/counter.increment", vec![b' '; (8 << 20) + 1]),
    ] {
        let answer = server.answer(&request.header("Origin", origin)).await;

        assert_eq!(allowed_origin(&answer.response), Some(origin), "{}", answer.code());
    }
}

#[tokio::test]
async fn a_request_under_a_foreign_name_is_refused_even_without_an_origin() {
    let server = Server::start().await;

    for host in
        ["evil.example", "evil.example:8094", "localhost.evil.example", "127.0.0.1.evil.example"]
    {
        let called = server.answer(&increment().header("Host", host)).await;
        let shaken = server.send(&Request::handshake("/ws/counter/a").header("Host", host)).await;
        let fetched = server.send(&Request::get("/ws/counter/a").header("Host", host)).await;

        assert_eq!(called.code(), "FORBIDDEN", "{host}");
        assert_eq!((shaken.status, fetched.status), (403, 403), "{host}");
    }
    assert_eq!(value(&server).await, 0);
}

#[tokio::test]
async fn a_request_under_any_name_of_this_machine_is_served() {
    let server = Server::start().await;
    let port = server.address().port();

    for host in ["localhost", "127.0.0.1", "[::1]", "LocalHost"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            assert!(server.answer(&increment().header("Host", &host)).await.is_data(), "{host}");
        }
    }
}

#[tokio::test]
async fn an_origin_that_comes_twice_is_refused() {
    let server = Server::start().await;

    let request = increment().header("Origin", "http://localhost").header("Origin", FOREIGN);
    let answer = server.answer(&request).await;

    assert_eq!(answer.code(), "FORBIDDEN");
    assert_eq!(value(&server).await, 0);
}

#[tokio::test]
async fn only_listed_origins_are_allowed_once_there_is_a_list() {
    let server = Server::builder().flag("--allow-origin", "https://app.example").start().await;
    let origin = |origin: &str| increment().header("Origin", origin);

    let listed = server.answer(&origin("https://app.example")).await;
    let shaken = Request::handshake("/ws/counter/a").header("Origin", "https://app.example");

    assert!(listed.is_data());
    assert_eq!(allowed_origin(&listed.response), Some("https://app.example"));
    assert_eq!(server.send(&shaken).await.status, 101);
    for other in
        [FOREIGN, "http://app.example", "https://app.example:8443", "https://sub.app.example"]
    {
        assert_eq!(server.answer(&origin(other)).await.code(), "FORBIDDEN", "{other}");
    }
}

//! Opening a socket, and being refused: contract section 1.

use e2e::{Request, Response, Server};
use serde_json::json;

async fn shake(server: &Server, request: Request) -> Response {
    server.send(&request).await
}

fn assert_upgrade_required(response: &Response) {
    assert_eq!(response.status, 426, "{response:?}");
    let upgrade = response.header("upgrade").unwrap_or_default();
    assert!(upgrade.eq_ignore_ascii_case("websocket"), "{response:?}");
    assert_eq!(response.header("sec-websocket-version"), Some("13"));
    let error = &response.json()["error"];
    assert!(error["code"].is_string() && error["message"].is_string(), "{error}");
}

#[tokio::test]
async fn a_handshake_is_answered_as_the_standard_says() {
    let server = Server::start().await;

    let response = shake(&server, Request::handshake("/ws/counter/a")).await;

    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(response.header("upgrade").unwrap().eq_ignore_ascii_case("websocket"));
    assert!(response.header("connection").unwrap().eq_ignore_ascii_case("upgrade"));
    assert_eq!(response.header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn header_values_are_compared_as_browsers_write_them() {
    let server = Server::start().await;

    let request = Request::handshake("/ws/counter/a")
        .with("Connection", "keep-alive, Upgrade")
        .with("Upgrade", "WebSocket")
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
    let response = shake(&server, request).await;

    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-extensions"), None, "none is spoken");
}

#[tokio::test]
async fn compression_is_agreed_on_only_if_both_sides_want_it() {
    let server = Server::builder().switch("--compression").start().await;
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let limited = format!("{agreed}; server_max_window_bits=12");

    for (offer, answer) in [
        ("permessage-deflate; client_max_window_bits", Some(agreed)),
        (
            "permessage-deflate; mystery, permessage-deflate; server_max_window_bits=13",
            Some(&*limited),
        ),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("x-webkit-deflate-frame", None),
    ] {
        let request = Request::handshake("/ws/counter/a").with("Sec-WebSocket-Extensions", offer);
        let response = shake(&server, request).await;
        assert_eq!(response.status, 101, "{offer}");
        assert_eq!(response.header("sec-websocket-extensions"), answer, "{offer}");
    }
    let response = shake(&server, Request::handshake("/ws/counter/a")).await;
    assert_eq!(response.header("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn malformed_extensions_and_bodies_are_bad_requests() {
    let server = Server::start().await;

    for (name, value) in [
        ("Sec-WebSocket-Extensions", "permessage-deflate; ="),
        ("Sec-WebSocket-Extensions", "a b"),
        ("Content-Length", "4"),
    ] {
        let request = Request::handshake("/ws/counter/a").with(name, value);
        assert_eq!(shake(&server, request).await.status, 400, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_plain_get_of_a_socket_is_426() {
    let server = Server::builder().switch("--echo").start().await;

    for address in ["/ws/counter/a", "/ws/note/a", "/ws/counter/a?since=1&epoch=x", "/echo"] {
        assert_upgrade_required(&server.get(address).await);
    }
}

#[tokio::test]
async fn another_version_of_the_protocol_is_426() {
    let server = Server::start().await;

    for version in ["8", "7", "0", "14", "x"] {
        let request = Request::handshake("/ws/counter/a").with("Sec-WebSocket-Version", version);
        assert_upgrade_required(&shake(&server, request).await);
    }
    let without = Request::handshake("/ws/counter/a").without("Sec-WebSocket-Version");
    assert_upgrade_required(&shake(&server, without).await);
}

#[tokio::test]
async fn a_handshake_without_a_proper_key_is_a_bad_request() {
    let server = Server::start().await;
    let handshake = || Request::handshake("/ws/counter/a");

    for request in [
        handshake().without("Sec-WebSocket-Key"),
        handshake().with("Sec-WebSocket-Key", ""),
        handshake().with("Sec-WebSocket-Key", "c2hvcnQ="),
        handshake().with("Sec-WebSocket-Key", "not base64, but 24 chars"),
        handshake().header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        let response = shake(&server, request).await;
        assert_eq!(response.status, 400, "{response:?}");
        assert!(response.json()["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn only_get_opens_a_socket() {
    let server = Server::start().await;

    for method in ["POST", "PUT", "DELETE"] {
        let request = Request::new(method, "/ws/counter/a")
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Version", "13");
        let response = shake(&server, request).await;

        assert!(matches!(response.status, 404 | 405), "{method}: {response:?}");
        assert!(response.json()["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn an_unknown_kind_is_404_with_the_list_of_kinds() {
    let server = Server::start().await;

    for response in [
        shake(&server, Request::handshake("/ws/bird/a")).await,
        server.get("/ws/bird/a").await,
        server.get("/ws/Counter/a").await,
    ] {
        assert_eq!(response.status, 404, "{response:?}");
        let error = response.json()["error"].clone();
        assert_eq!(error["code"], "NOT_FOUND");
        assert_eq!(error["kinds"], json!(["channel", "counter", "note"]), "{error}");
    }
}

#[tokio::test]
async fn a_handshake_on_an_address_without_a_socket_is_404() {
    let server = Server::start().await;

    for address in
        ["/", "/rpc/counter.getValue", "/healthz", "/nowhere", "/ws", "/ws/counter", "/echo"]
    {
        let response = shake(&server, Request::handshake(address)).await;
        assert_ne!(response.status, 101, "{address}");
        assert!(
            (400..500).contains(&response.status) || response.status == 200,
            "{address}: {response:?}"
        );
    }
}

#[tokio::test]
async fn a_refused_handshake_leaves_the_connection_usable() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    let refused = Request::handshake("/ws/counter/a").with("Sec-WebSocket-Version", "8");

    let first = connection.send(&refused).await.unwrap();
    let second = connection.send(&Request::handshake("/ws/counter/a")).await;

    assert_eq!(first.status, 426);
    // A server may close after it refused; it must not answer nonsense.
    if let Ok(second) = second {
        assert_eq!(second.status, 101);
    }
}

#[tokio::test]
async fn a_socket_may_open_on_a_connection_that_has_served_calls() {
    let server = Server::start().await;
    let mut connection = server.connection().await;

    let call = Request::post_json("/rpc/counter.increment", r#"{"name":"a"}"#);
    let called = connection.send(&call).await.unwrap();
    let shaken = connection.send(&Request::handshake("/ws/counter/a")).await.unwrap();

    assert_eq!((called.status, shaken.status), (200, 101));
}

#[tokio::test]
async fn a_place_that_cannot_be_read_is_answered_without_harm() {
    let server = Server::start().await;
    server.mutate("counter.increment", json!({"name": "a"})).await;

    for query in [
        "since=abc",
        "since=-1&epoch=x",
        "since=99999999999999999999999&epoch=x",
        "since=1",
        "epoch=x",
        "since=&epoch=",
        "%ff=%ff",
    ] {
        let response = shake(&server, Request::handshake(format!("/ws/counter/a?{query}"))).await;
        if response.status == 101 {
            let mut socket = server.connect(&format!("/ws/counter/a?{query}")).await;
            assert_eq!(socket.next_of("initial").await["offset"], 1, "{query}");
        } else {
            assert_eq!(response.status, 400, "{query}: {response:?}");
            assert!(response.json()["error"]["message"].is_string());
        }
    }
}

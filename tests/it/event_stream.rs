//! Server-sent events: the events of an object for clients without WebSockets.

use e2e::{Client, EventStream, Request, Server};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

async fn increment(server: &Server, times: usize) {
    let mut client = server.client().await;
    for _ in 0..times {
        let answer = client.mutate("counter.increment", &json!({"name": "a"})).await;
        answer.expect("a call is answered").data();
    }
}

/// The stream of the counter `a`, with what it began with.
async fn listen(server: &Server) -> (EventStream, Value) {
    let mut stream = server.listen("/sse/counter/a").await;
    let initial = stream.next_of("initial").await;
    (stream, initial)
}

fn id(epoch: &Value, offset: u64) -> String {
    format!("{}:{offset}", epoch.as_str().expect("an epoch is text"))
}

/// Reads messages until one has this offset, each being the next event of the log.
async fn read_log(stream: &mut EventStream, seen: &mut Vec<u64>, upto: u64) {
    while seen.last().is_none_or(|last| *last < upto) {
        let message = stream.next().await;
        if message["type"] != "resumed" {
            let offset = message["offset"].as_u64().expect("an event of the log has an offset");
            assert_eq!(offset, seen.last().map_or(1, |last| last + 1), "{message}");
            seen.push(offset);
        }
    }
}

#[tokio::test]
async fn a_stream_gets_what_a_socket_gets_and_the_place_of_each_event() {
    let server = Server::start().await;
    increment(&server, 2).await;
    let mut socket = server.connect("/ws/counter/a").await;
    let mut of_socket = socket.next_of("initial").await;
    let (mut stream, mut of_stream) = listen(&server).await;

    assert_ne!(of_socket["session"].take(), of_stream["session"].take());
    // Of the moment of asking, like the session.
    of_stream["timestamp"] = of_socket["timestamp"].clone();
    assert_eq!(of_socket, of_stream);
    let epoch = of_stream["epoch"].clone();
    assert_eq!(stream.last_event_id(), id(&epoch, 2));
    for method in ["increment", "decrement", "reset"] {
        server.mutate(&format!("counter.{method}"), json!({"name": "a"})).await.data();
    }
    for offset in 3..=5 {
        assert_eq!(stream.next().await, socket.next().await);
        assert_eq!(stream.last_event_id(), id(&epoch, offset));
    }
}

#[tokio::test]
async fn the_head_of_a_stream_keeps_proxies_from_holding_it_back() {
    let server = Server::start().await;

    let (stream, _) = listen(&server).await;
    let head = stream.head();

    assert_eq!(head.header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    assert_eq!(head.header("connection"), Some("close"), "the body ends with the connection");
    assert_eq!((head.header("content-length"), head.header("transfer-encoding")), (None, None));
    assert!(stream.retry_ms().is_some_and(|retry| (500..1_500).contains(&retry)));
}

#[tokio::test]
async fn a_proxy_that_speaks_http_1_0_can_pass_a_stream_on() {
    let server = Server::start().await;
    let mut connection = server.connection().await;

    let head = format!("GET /sse/counter/a HTTP/1.0\r\nHost: {}\r\n\r\n", server.address());
    connection.write(head.as_bytes()).await.unwrap();
    let bytes = connection.read_to("\"session\"").await;

    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 OK\r\n"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    assert!(body.starts_with("retry: "), "{body}");
}

#[tokio::test]
async fn a_stream_may_open_on_a_connection_that_has_served_calls() {
    let server = Server::start().await;
    let mut connection = server.connection().await;

    let call = Request::post_json("/rpc/counter.increment", r#"{"name":"a"}"#);
    assert_eq!(connection.send(&call).await.unwrap().status, 200);
    let mut stream = EventStream::open(connection, &Request::get("/sse/counter/a")).await;

    assert_eq!(stream.next_of("initial").await["value"], 1);
    increment(&server, 1).await;
    assert_eq!(stream.next_of("increment").await["value"], 2);
}

#[tokio::test]
async fn an_object_that_does_not_exist_yet_is_waited_for_in_silence() {
    let server = Server::start().await;
    let mut stream = server.listen("/sse/note/n").await;
    server
        .eventually("the stream to be attached", async |server: &Server| {
            server.metric("dormouse_sessions").await == 1.0
        })
        .await;

    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();

    let create = stream.next_of("create").await;
    assert_eq!(stream.last_event_id(), id(&create["epoch"], 1));
}

#[tokio::test]
async fn text_with_line_ends_arrives_as_it_is() {
    let server = Server::start().await;
    let mut stream = server.listen("/sse/note/n").await;
    let blob = "a\nb\r\nc\rdata: d\n\nid: 9\n\n🦔";

    server.mutate("note.create", json!({"id": "n", "title": "T", "blob": blob})).await.data();

    assert_eq!(stream.next().await["data"]["blob"], blob);
}

#[tokio::test]
async fn a_stream_that_comes_back_gets_exactly_what_it_missed() {
    let server = Server::start().await;
    let (mut stream, initial) = listen(&server).await;
    let mut seen = Vec::new();

    for round in 1..=5 {
        let place = stream.last_event_id().to_owned();
        drop(stream);
        increment(&server, 20).await;
        stream = server.listen_after("/sse/counter/a", &place).await;
        let resumed = stream.next_block().await.filter(|block| block.retry.is_some());
        assert!(resumed.is_some(), "a stream begins with `retry`");
        let resumed = stream.next_event().await.unwrap();
        assert_eq!(resumed.id, None, "what was missed has not come yet");
        let resumed: Value = serde_json::from_str(&resumed.data.unwrap()).unwrap();
        assert_eq!((&resumed["type"], &resumed["replayed"]), (&json!("resumed"), &json!(20)));
        read_log(&mut stream, &mut seen, round * 20).await;
    }
    increment(&server, 1).await;
    read_log(&mut stream, &mut seen, 101).await;

    assert_eq!(stream.last_event_id(), id(&initial["epoch"], 101));
}

#[tokio::test]
async fn coming_back_in_the_middle_of_changes_loses_and_doubles_nothing() {
    const EVENTS: u64 = 300;
    let server = Server::start().await;
    let (mut stream, _) = listen(&server).await;
    let mut writer = server.client().await;
    let writing = tokio::spawn(async move {
        for _ in 0..EVENTS {
            writer.mutate("counter.increment", &json!({"name": "a"})).await.unwrap().data();
        }
    });

    let mut seen = Vec::new();
    while seen.len() < usize::try_from(EVENTS).unwrap() {
        let upto = (seen.last().copied().unwrap_or(0) + 7).min(EVENTS);
        read_log(&mut stream, &mut seen, upto).await;
        let place = stream.last_event_id().to_owned();
        drop(stream);
        stream = server.listen_after("/sse/counter/a", &place).await;
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn a_stream_goes_on_after_the_server_was_killed() {
    let mut server = Server::start().await;
    let (mut stream, _) = listen(&server).await;
    let mut seen = Vec::new();

    for round in 0..3 {
        let mut writer = server.client().await;
        let writing = tokio::spawn(async move {
            let input = json!({"name": "a"});
            while writer.mutate("counter.increment", &input).await.is_ok() {}
        });
        read_log(&mut stream, &mut seen, round * 50 + 50).await;
        server.kill().await;
        writing.await.unwrap();
        // What came before the end counts as well.
        while let Some(event) = stream.next_event().await {
            let message: Value = serde_json::from_str(&event.data.unwrap()).unwrap();
            seen.push(message["offset"].as_u64().unwrap());
        }
        server.restart().await;
        stream = server.listen_after("/sse/counter/a", stream.last_event_id()).await;
        let resumed = stream.next_of("resumed").await;
        read_log(&mut stream, &mut seen, resumed["offset"].as_u64().unwrap()).await;
    }

    let all: Vec<u64> = (1..=seen.len() as u64).collect();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_place_that_the_server_does_not_know_starts_over_with_initial() {
    let server = Server::start().await;
    increment(&server, 3).await;
    let epoch = listen(&server).await.1["epoch"].clone();

    for place in [
        "other:1",
        ":",
        "",
        "1",
        "x:y:z",
        &id(&epoch, 4),
        &format!("{}:-1", epoch.as_str().unwrap()),
    ] {
        let mut stream = server.listen_after("/sse/counter/a", place).await;
        assert_eq!(stream.next_of("initial").await["offset"], 3, "{place:?}");
        assert_eq!(stream.last_event_id(), id(&epoch, 3), "{place:?}");
    }
}

#[tokio::test]
async fn a_place_in_the_address_counts_until_the_browser_knows_a_later_one() {
    let server = Server::start().await;
    increment(&server, 3).await;
    let epoch = listen(&server).await.1["epoch"].as_str().unwrap().to_owned();
    let target = format!("/sse/counter/a?since=1&epoch={epoch}");

    let first = server.listen(&target).await.next_of("resumed").await;
    let second = server.listen_after(&target, &format!("{epoch}:3")).await.next_of("resumed").await;

    assert_eq!((&first["replayed"], &second["replayed"]), (&json!(2), &json!(0)));
}

#[tokio::test]
async fn a_filter_hides_other_events_also_after_coming_back() {
    let server = Server::start().await;
    let target = "/sse/counter/a?events=reset";
    let mut stream = server.listen(target).await;
    let mut beginning = [stream.next().await, stream.next().await];
    beginning.sort_by_key(|message| message["type"].to_string());
    assert_eq!(
        (&beginning[0]["type"], &beginning[1]["type"]),
        (&json!("filtered"), &json!("initial"))
    );
    let epoch = beginning[1]["epoch"].clone();

    increment(&server, 2).await;
    server.mutate("counter.reset", json!({"name": "a"})).await.data();
    assert_eq!(stream.next_of("reset").await["offset"], 3);
    increment(&server, 1).await;
    server.mutate("counter.reset", json!({"name": "a"})).await.data();
    drop(stream);
    let mut stream = server.listen_after(target, &id(&epoch, 3)).await;

    let mut message = stream.next().await;
    while message["type"] != "reset" {
        assert!(message["type"] == "filtered" || message["replayed"] == 1, "{message}");
        message = stream.next().await;
    }
    assert_eq!(message["offset"], 5);
    assert_eq!(stream.last_event_id(), id(&epoch, 5));
}

#[tokio::test]
async fn what_a_socket_would_be_refused_for_is_refused_before_a_stream_begins() {
    let server = Server::start().await;

    for (target, status, code) in [
        ("/sse/bird/a", 404, "NOT_FOUND"),
        ("/sse/counter", 404, "NOT_FOUND"),
        ("/sse/counter/a/b", 400, "BAD_REQUEST"),
        ("/sse/counter/%ff", 400, "BAD_REQUEST"),
        ("/sse/counter/a%00", 400, "BAD_REQUEST"),
        ("/sse/counter/a?events=melted", 400, "BAD_REQUEST"),
        ("/sse/counter/a?since=x", 400, "BAD_REQUEST"),
    ] {
        let response = server.get(target).await;
        assert_eq!(response.status, status, "{target}: {response:?}");
        assert_eq!(response.json()["error"]["code"], code, "{target}");
    }
    let unknown = server.get("/sse/bird/a").await.json();
    assert_eq!(unknown["error"]["kinds"], json!(["channel", "counter", "note"]));
    assert_eq!(server.metric("dormouse_sockets_open").await, 0.0);
}

#[tokio::test]
async fn a_foreign_page_cannot_listen_and_one_of_this_machine_can() {
    let server = Server::start().await;
    let request = |origin: &str| Request::get("/sse/counter/a").header("Origin", origin);

    for origin in ["https://evil.example", "null", ""] {
        let response = server.send(&request(origin)).await;
        assert_eq!(response.status, 403, "{origin:?}");
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
    let connection = server.connection().await;
    let mut stream = EventStream::open(connection, &request("http://localhost:3014")).await;

    stream.next_of("initial").await;
    let allowed = stream.head().header("access-control-allow-origin");
    assert_eq!(allowed, Some("http://localhost:3014"));
}

#[tokio::test]
async fn only_get_listens_and_head_shows_what_get_begins_with() {
    let server = Server::start().await;

    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let response = server.send(&Request::new(method, "/sse/counter/a")).await;
        assert_eq!(response.status, 405, "{method}");
        assert_eq!(response.header("allow"), Some("GET, HEAD"), "{method}");
        assert!(response.json()["error"]["message"].is_string());
    }
    let head = server.send(&Request::new("HEAD", "/sse/counter/a")).await;

    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert!(head.body.is_empty(), "{head:?}");
    assert_eq!(server.metric("dormouse_sockets_open").await, 0.0);
}

#[tokio::test]
async fn streams_count_as_sockets_and_leave_when_their_client_does() {
    let server = Server::builder().flag("--sockets-max", "2").start().await;
    let (stream, _) = listen(&server).await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;

    let refused = server.get("/sse/counter/a").await;
    drop(stream);

    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()));
    server
        .eventually("the place to be free", async |server: &Server| {
            server.metric("dormouse_sockets_open").await == 1.0
                && server.metric("dormouse_sessions").await == 1.0
        })
        .await;
    listen(&server).await;
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive_by_comments_and_asked_nothing() {
    let server = Server::builder().flag("--heartbeat-interval", "100ms").start().await;
    let (mut stream, _) = listen(&server).await;

    for _ in 0..10 {
        let block = stream.next_block().await.expect("the stream stays open");
        assert_eq!((block.comments, block.data), (1, None));
    }
    increment(&server, 1).await;

    stream.next_of("increment").await;
}

#[tokio::test]
async fn what_a_client_sends_into_its_stream_is_ignored() {
    let server = Server::start().await;
    let (mut stream, _) = listen(&server).await;

    stream.writer().write_all(b"GET / HTTP/1.1\r\n\r\n\x81\x05hello\xff\xff").await.unwrap();
    increment(&server, 1).await;

    assert_eq!(stream.next_of("increment").await["value"], 1);
    assert_eq!(server.metric("dormouse_socket_messages_received_total").await, 0.0);
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_bounded_and_loses_nothing() {
    const UPDATES: u64 = 120;
    let server = Server::start().await;
    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();
    let mut slow = server.listen("/sse/note/n").await;
    slow.next_of("initial").await;
    let blob = "x".repeat(200_000);

    let mut client = Client::open(server.address()).await.unwrap();
    for _ in 0..UPDATES {
        client.mutate("note.update", &json!({"id": "n", "blob": blob})).await.unwrap().data();
    }

    // All of it is 24 MB; a queue holds 1 MiB and what one more event takes.
    assert!(server.metric("dormouse_socket_queue_bytes").await < 2e6);
    assert!(server.metric("dormouse_socket_queue_bytes").await > 0.0, "it was read");
    for offset in 2..=UPDATES + 1 {
        assert_eq!(slow.next_of("update").await["offset"], offset);
    }
    assert!(server.metric("dormouse_socket_refills_total").await >= 1.0);
}

#[tokio::test]
async fn streams_end_with_a_reason_when_the_server_stops_and_go_on_after_it() {
    let mut server = Server::start().await;
    let (mut stream, _) = listen(&server).await;
    increment(&server, 1).await;
    stream.next_of("increment").await;

    server.ask_to_end();
    let reason = stream.closed().await;
    let place = stream.last_event_id().to_owned();
    drop(stream);
    let code = server.ended().await;
    server.restart().await;
    increment(&server, 1).await;
    let mut stream = server.listen_after("/sse/counter/a", &place).await;

    assert_eq!(reason.as_deref(), Some(r#"1012 {"withinMs":5000}"#));
    assert_eq!(code, Some(0));
    assert_eq!(stream.next_of("resumed").await["replayed"], 1);
    assert_eq!(stream.next_of("increment").await["value"], 2);
}

//! The conversation over an object's socket: contract section 8 without resume.

use e2e::{ClientFrame, Opcode, Server, Socket};
use serde_json::{Value, json};

/// A socket of the counter `a` that has had its `initial`.
async fn open(server: &Server) -> Socket {
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;
    socket
}

#[tokio::test]
async fn a_ping_is_answered_with_the_time_and_the_offset() {
    let server = Server::start().await;
    let mut socket = open(&server).await;
    server.mutate("counter.increment", json!({"name": "a"})).await.data();
    socket.next_of("increment").await;

    socket.send(&json!({"type": "ping", "anything": [1, 2]})).await;
    let pong = socket.next_of("pong").await;

    assert_eq!(pong, json!({"type": "pong", "timestamp": pong["timestamp"], "offset": 1}));
    let timestamp = pong["timestamp"].as_str().unwrap();
    assert!(timestamp.ends_with('Z') && timestamp.len() == "2025-01-15T12:00:00.000Z".len());
}

#[tokio::test]
async fn a_ping_may_be_written_in_any_way_that_json_allows() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    for text in [
        r#"  { "type" : "ping" } "#,
        r#"{"x":{"type":"call"},"type":"ping"}"#,
        r#"{"type":"\u0070ing"}"#,
    ] {
        socket.send_text(text).await;
        socket.next_of("pong").await;
    }
}

#[tokio::test]
async fn a_protocol_ping_is_answered_with_its_payload() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    socket.protocol_ping(b"").await;
    socket.protocol_ping(&[7; 125]).await;
}

#[tokio::test]
async fn an_idle_socket_stays_open_over_many_heartbeats() {
    let server = Server::builder()
        .flag("--heartbeat-interval", "100ms")
        .flag("--idle-timeout", "50ms")
        .start()
        .await;
    let mut raw = server.connect_raw("/ws/counter/a").await;
    raw.next().await.unwrap();

    for _ in 0..10 {
        let ping = raw.next().await.unwrap();
        assert_eq!(ping.opcode, Opcode::PING);
        raw.send(&ClientFrame::new(Opcode::PONG, ping.payload)).await;
    }

    server.mutate("counter.increment", json!({"name": "a"})).await.data();
    loop {
        let frame = raw.next().await.unwrap();
        if frame.opcode == Opcode::TEXT {
            let event: Value = serde_json::from_slice(&frame.payload).unwrap();
            assert_eq!(event["value"], 1);
            break;
        }
    }
}

#[tokio::test]
async fn a_socket_that_answers_no_heartbeat_is_closed() {
    // Long enough for the lively one to answer on a busy machine, and while nobody reads it below.
    let server = Server::builder().flag("--heartbeat-interval", "1s").start().await;
    let mut silent = server.connect_raw("/ws/counter/a").await;
    let mut lively = server.connect("/ws/counter/a").await;
    lively.next_of("initial").await;

    // Reading is what answers pings in this client, so it is kept reading until the other is gone.
    let gone = async { while silent.next().await.is_ok() {} };
    tokio::select! {
        () = gone => {}
        message = lively.next() => panic!("nothing is sent to a quiet socket: {message}"),
    }

    server
        .eventually("one socket to be left", async |server: &Server| {
            server.metric("dormouse_sockets_open").await == 1.0
        })
        .await;
    lively.ping().await;
}

#[tokio::test]
async fn a_call_over_the_socket_is_answered_after_the_event_it_caused() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    for (id, value) in [(json!(1), 1), (json!("two"), 2), (json!(-3.5), 3), (json!(""), 4)] {
        socket.call(id.clone(), "increment", json!({})).await;
        let event = socket.next_of("increment").await;
        let result = socket.next_of("result").await;

        assert_eq!(event["value"], value);
        let mut data = event;
        data.as_object_mut().unwrap().remove("offset");
        assert_eq!(result, json!({"type": "result", "id": id, "data": data}));
    }
}

#[tokio::test]
async fn many_calls_in_flight_are_answered_in_order_each_after_its_event() {
    const CALLS: i64 = 300;
    let server = Server::start().await;
    let mut socket = open(&server).await;

    for id in 1..=CALLS {
        socket.call(id, "increment", json!({})).await;
    }

    let (mut events, mut results) = (0, 0);
    while results < CALLS {
        let message = socket.next().await;
        match message["type"].as_str() {
            Some("increment") => {
                events += 1;
                assert_eq!(
                    (&message["offset"], &message["value"]),
                    (&json!(events), &json!(events))
                );
            }
            Some("result") => {
                results += 1;
                assert_eq!(
                    (&message["id"], &message["data"]["value"]),
                    (&json!(results), &json!(results))
                );
                assert!(events >= results, "a result overtook its event");
            }
            _ => panic!("{message}"),
        }
    }
}

#[tokio::test]
async fn queries_and_listings_work_over_the_socket() {
    let server = Server::start().await;
    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();
    let mut counter = open(&server).await;
    let mut note = server.connect("/ws/note/n").await;
    note.next_of("initial").await;

    counter.call(1, "getValue", json!({})).await;
    note.call(2, "get", json!({})).await;
    let value = counter.next_of("result").await;
    let got = note.next_of("result").await;
    note.call(3, "list", json!({})).await;
    let listed = note.next_of("result").await;

    assert_eq!(value["data"], json!({"value": 0}));
    assert_eq!(got["data"]["title"], "T");
    assert_eq!(listed["data"]["notes"][0]["id"], "n");
}

#[tokio::test]
async fn params_may_be_left_out_and_may_name_this_object_but_no_other() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    socket.send(&json!({"type": "call", "id": 1, "method": "increment"})).await;
    assert_eq!(socket.next_of("increment").await["value"], 1);
    socket.next_of("result").await;
    socket.call(2, "increment", json!({"name": "a"})).await;
    assert_eq!(socket.next_of("increment").await["value"], 2);
    socket.next_of("result").await;
    socket.call(3, "increment", json!({"name": "b"})).await;
    let refused = socket.next_of("error").await;

    assert_eq!((&refused["id"], &refused["code"]), (&json!(3), &json!("BAD_REQUEST")));
    for name in ["a", "b"] {
        let value =
            server.query("counter.getValue", json!({"name": name})).await.data()["value"].clone();
        assert_eq!(value, if name == "a" { 2 } else { 0 });
    }
}

#[tokio::test]
async fn a_call_that_fails_says_why_and_the_socket_stays() {
    let server = Server::start().await;
    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();
    let mut socket = server.connect("/ws/note/n").await;
    let initial = socket.next_of("initial").await;
    let refused = [
        ("paint", json!({}), "NOT_FOUND"),
        ("create", json!({"title": "again"}), "CONFLICT"),
        ("update", json!({"title": 7}), "BAD_REQUEST"),
        ("update", json!({"colour": "red"}), "BAD_REQUEST"),
        ("update", json!([]), "BAD_REQUEST"),
        ("update", json!("x"), "BAD_REQUEST"),
        ("revert", json!({"version": 9}), "NOT_FOUND"),
        ("update", json!({"title": "x", "expectedVersion": 9}), "CONFLICT"),
    ];

    for ((method, params, code), id) in refused.into_iter().zip(1..) {
        socket.call(id, method, params).await;
        let error = socket.next_of("error").await;

        assert_eq!((&error["id"], &error["code"]), (&json!(id), &json!(code)), "{error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    }
    assert_eq!(socket.ping().await["offset"], initial["offset"]);
}

#[tokio::test]
async fn what_is_no_message_is_answered_by_an_error_and_changes_nothing() {
    let mut server = Server::start().await;
    let mut socket = open(&server).await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let wrong = [
        "",
        "hello",
        "{",
        "null",
        "7",
        "[]",
        "{}",
        "\"ping\"",
        r#"[{"type":"ping"}]"#,
        r#"{"type":"dance"}"#,
        r#"{"type":7}"#,
        r#"{"type":"PING"}"#,
        r#"{"type":"increment"}"#,
        r#"{"type":"initial","value":9}"#,
        r#"{"type":"call"}"#,
        r#"{"type":"call","method":"increment"}"#,
        r#"{"type":"call","id":1}"#,
        r#"{"type":"call","id":null,"method":"increment"}"#,
        r#"{"type":"call","id":{},"method":"increment"}"#,
        r#"{"type":"call","id":true,"method":"increment"}"#,
        r#"{"type":"call","id":1,"method":7}"#,
        r#"{"type":"call","id":1,"method":"increment","params":{},"extra":1}"#,
        r#"{"type":"filter"}"#,
        r#"{"type":"filter","events":"increment"}"#,
        r#"{"type":"filter","events":[7]}"#,
        r#"{"type":"filter","events":["melted"]}"#,
        &deep,
    ];

    for text in wrong {
        socket.send_text(text).await;
        let error = socket.next_of("error").await;
        assert!(
            error["message"].as_str().is_some_and(|message| !message.is_empty()),
            "{text}: {error}"
        );
    }
    assert_eq!(socket.ping().await["offset"], 0);
    assert_eq!(server.files_once_stopped().await, Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_wrong_call_keeps_its_id_in_the_error() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    socket.send(&json!({"type": "call", "id": "x", "method": "increment", "param": {}})).await;
    let error = socket.next_of("error").await;

    assert_eq!((&error["id"], &error["code"]), (&json!("x"), &json!("BAD_REQUEST")));
    assert!(error["message"].as_str().unwrap().contains("param"), "{error}");
}

#[tokio::test]
async fn a_message_up_to_the_limit_is_read_and_a_longer_one_closes_with_1009() {
    let server = Server::builder().flag("--message-bytes-max", "1000").start().await;
    let padded = |bytes: usize| format!("{}{}", r#"{"type":"ping"}"#, " ".repeat(bytes - 15));

    let mut socket = open(&server).await;
    socket.send_text(&padded(1000)).await;
    socket.next_of("pong").await;
    socket.send_text(&padded(1001)).await;

    assert_eq!(socket.closed().await.code, 1009);
}

#[tokio::test]
async fn a_binary_message_closes_with_1003() {
    let server = Server::start().await;
    let mut socket = open(&server).await;

    socket.send_binary(br#"{"type":"ping"}"#).await;

    assert_eq!(socket.closed().await.code, 1003);
}

#[tokio::test]
async fn a_client_that_closes_gets_its_code_back() {
    let server = Server::start().await;
    let socket = open(&server).await;

    socket.close().await;

    server
        .eventually("the socket to be gone", async |server: &Server| {
            server.metric("dormouse_sockets_open").await == 0.0
        })
        .await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    let server = Server::start().await;
    let mut staying = open(&server).await;
    for _ in 0..20 {
        drop(open(&server).await);
    }

    server
        .eventually("only one socket to be left", async |server: &Server| {
            server.metric("dormouse_sockets_open").await == 1.0
        })
        .await;

    server.mutate("counter.increment", json!({"name": "a"})).await.data();
    assert_eq!(staying.next_of("increment").await["value"], 1);
}

//! Kinds that panic, fail, hang and cheat: nothing of it is stored, and nobody else notices.

use e2e::{Server, ServerBuilder, Socket};
use serde_json::{Value, json};

fn misbehaving() -> ServerBuilder {
    Server::builder().program(env!("CARGO_BIN_EXE_misbehaving-server"))
}

/// A faulty object whose value is 1, and a socket that has seen that.
async fn open(server: &Server) -> Socket {
    server.mutate("faulty.set", json!({"id": "f", "value": 1})).await.data();
    let mut socket = server.connect("/ws/faulty/f").await;
    assert_eq!(socket.next_of("initial").await["offset"], 1);
    socket
}

async fn call(server: &Server, method: &str, fields: Value) -> e2e::Answer {
    let mut input = json!({"id": "f"});
    let fields = fields.as_object().expect("fields are an object").clone();
    input.as_object_mut().expect("it is one").extend(fields);
    server.mutate(&format!("faulty.{method}"), input).await
}

/// The object is as [`open`] left it: in memory, on disk, and to its socket.
async fn assert_untouched(server: &Server, socket: &mut Socket) {
    assert_eq!(call(server, "get", json!({})).await.data(), &json!({"value": 1}));
    assert_eq!(socket.ping().await["offset"], 1, "nothing was sent");
    let mut back = server.connect("/ws/faulty/f").await;
    let initial = back.next_of("initial").await;
    assert_eq!((&initial["value"], &initial["offset"]), (&json!(1), &json!(1)));
}

/// The object works: the next change is stored and seen.
async fn assert_alive(server: &Server, socket: &mut Socket) {
    assert_eq!(call(server, "set", json!({"value": 2})).await.data(), &json!({"value": 2}));
    let event = socket.next_of("set").await;
    assert_eq!((&event["value"], &event["offset"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn a_panic_fails_its_call_stores_nothing_and_closes_no_socket() {
    let server = misbehaving().start().await;
    let mut socket = open(&server).await;

    for (method, fields) in [
        ("panicAtOnce", json!({})),
        ("panicAfterWrite", json!({"value": 9})),
        ("panicWhileReading", json!({})),
        ("leakIntoMemory", json!({"value": 9})),
    ] {
        let error = call(&server, method, fields).await.error();

        assert_eq!(error.code, "INTERNAL_SERVER_ERROR", "{method}");
        assert!(!error.message.contains("write"), "the panic's words stay inside: {error:?}");
        assert_untouched(&server, &mut socket).await;
    }
    assert!(server.metric("dormouse_handler_faults_total").await >= 4.0);
    assert!(server.log().contains("after a write and a broadcast"), "the log has the cause");
    assert_alive(&server, &mut socket).await;
}

#[tokio::test]
async fn an_error_after_a_write_undoes_the_write_and_the_broadcast() {
    let server = misbehaving().start().await;
    let mut socket = open(&server).await;

    let error = call(&server, "failAfterWrite", json!({"value": 9})).await.error();

    assert_eq!((&*error.code, &*error.message), ("CONFLICT", "after a write and a broadcast"));
    assert_untouched(&server, &mut socket).await;
    assert_alive(&server, &mut socket).await;
}

#[tokio::test]
async fn a_refusal_without_a_write_changes_nothing_and_carries_its_data() {
    let server = misbehaving().start().await;
    let mut socket = open(&server).await;

    let error = call(&server, "failWithoutWrite", json!({})).await.error();

    assert_eq!((&*error.code, &error.data["value"]), ("CONFLICT", &json!(1)));
    assert_untouched(&server, &mut socket).await;
}

#[tokio::test]
async fn a_failing_first_mutation_creates_no_object() {
    let mut server = misbehaving().start().await;
    let mut socket = server.connect("/ws/faulty/f").await;
    socket.next_of("initial").await;

    for method in ["panicAfterWrite", "failAfterWrite", "writeForEver"] {
        assert!(!call(&server, method, json!({"value": 9})).await.is_data(), "{method}");
    }

    assert_eq!(call(&server, "get", json!({})).await.data(), &json!({"value": 0}));
    assert_eq!(socket.ping().await["offset"], 0);
    assert_eq!(server.files_once_stopped().await, Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_call_over_a_socket_that_panics_is_answered_over_the_socket() {
    let server = misbehaving().start().await;
    let mut socket = open(&server).await;

    socket.call("x", "panicAfterWrite", json!({"value": 9})).await;
    let error = socket.next_of("error").await;

    assert_eq!((&error["id"], &error["code"]), (&json!("x"), &json!("INTERNAL_SERVER_ERROR")));
    assert_untouched(&server, &mut socket).await;
    assert_alive(&server, &mut socket).await;
}

#[tokio::test]
async fn calls_that_wait_behind_a_panic_are_carried_out() {
    let server = misbehaving().start().await;
    let mut socket = open(&server).await;

    for round in 0..10 {
        socket.call(2 * round, "panicAfterWrite", json!({"value": 99})).await;
        socket.call(2 * round + 1, "set", json!({"value": round})).await;
    }

    let (mut answers, mut events) = (0, 0);
    while answers < 20 {
        let message = socket.next().await;
        if message["type"] == "set" {
            assert_eq!(
                (&message["value"], &message["offset"]),
                (&json!(events), &json!(events + 2))
            );
            events += 1;
        } else {
            let expected = if answers % 2 == 0 { "error" } else { "result" };
            assert_eq!((&message["id"], &message["type"]), (&json!(answers), &json!(expected)));
            answers += 1;
            assert!(events >= answers / 2, "a result overtook its event");
        }
    }
    assert_eq!(events, 10);
}

#[tokio::test]
async fn sql_without_an_end_is_a_timeout_and_undone() {
    let server = misbehaving().start().await;
    let mut socket = open(&server).await;

    for (method, fields) in [
        ("readForEver", json!({})),
        ("queryForEver", json!({})),
        ("writeForEver", json!({"value": 9})),
    ] {
        assert_eq!(call(&server, method, fields).await.code(), "TIMEOUT", "{method}");
        assert_untouched(&server, &mut socket).await;
    }
    assert_alive(&server, &mut socket).await;
}

#[tokio::test]
async fn statements_that_are_the_runtimes_own_are_refused() {
    let server = misbehaving().start().await;
    let mut socket = open(&server).await;

    for sql in [
        "BEGIN",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT s",
        "RELEASE s",
        "ATTACH ':memory:' AS other",
        "ATTACH '/tmp/stolen.db' AS other",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO '/tmp/stolen.db'",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA synchronous",
        "PRAGMA user_version = 7",
        "SELECT load_extension('evil')",
        "not sql at all",
    ] {
        let error = call(&server, "run", json!({"sql": sql})).await.error();
        assert_eq!(error.code, "INTERNAL_SERVER_ERROR", "{sql}: {error:?}");
        assert!(!error.message.to_lowercase().contains("sql"), "{error:?}");
    }
    assert_untouched(&server, &mut socket).await;
    assert_alive(&server, &mut socket).await;
}

#[tokio::test]
async fn a_method_that_ignores_such_a_refusal_is_still_one_transaction() {
    let server = misbehaving().start().await;
    let mut value = 0;

    for sql in [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "SAVEPOINT s",
        "PRAGMA synchronous = FULL",
        "ATTACH ':memory:' AS x",
    ] {
        let tried = call(&server, "tryAndGoOn", json!({"sql": sql})).await;

        assert_eq!(tried.data(), &json!({"isRefused": true}), "{sql}");
        value += 2;
        assert_eq!(call(&server, "get", json!({})).await.data(), &json!({"value": value}), "{sql}");
    }
}

#[tokio::test]
async fn an_event_without_a_change_is_logged_and_sent() {
    let server = misbehaving().start().await;
    let mut socket = open(&server).await;

    call(&server, "announce", json!({})).await.data();

    assert_eq!(socket.next_of("announcement").await["offset"], 2);
}

#[tokio::test]
async fn an_event_of_megabytes_arrives_and_one_over_the_limit_is_refused() {
    let server = misbehaving().start().await;
    let mut socket = open(&server).await;

    let large = call(&server, "announceHuge", json!({"bytes": 4 << 20})).await;
    let event = socket.next_of("announcement").await;
    let huge = call(&server, "announceHuge", json!({"bytes": 9 << 20})).await;

    assert!(large.is_data());
    assert_eq!(event["text"].as_str().unwrap().len(), 4 << 20);
    assert_eq!(huge.code(), "PAYLOAD_TOO_LARGE");
    assert_eq!(socket.ping().await["offset"], 2);
}

#[tokio::test]
async fn a_transaction_over_the_limit_is_refused_whole() {
    let server = misbehaving().start().await;
    let mut socket = open(&server).await;

    let fits = call(&server, "fill", json!({"values": 1, "bytes": 8 << 20})).await;
    let value_too_large = call(&server, "fill", json!({"values": 1, "bytes": 24 << 20})).await;
    let sum_too_large = call(&server, "fill", json!({"values": 3, "bytes": 8 << 20})).await;

    assert!(fits.is_data(), "{fits:?}");
    assert_eq!(value_too_large.code(), "PAYLOAD_TOO_LARGE");
    assert_eq!(sum_too_large.code(), "PAYLOAD_TOO_LARGE");
    assert_untouched(&server, &mut socket).await;
    assert_alive(&server, &mut socket).await;
}

#[tokio::test]
async fn an_object_that_cannot_be_loaded_backs_off_and_keeps_its_sockets() {
    for panics in [false, true] {
        let server = misbehaving().start().await;
        let mut socket = open(&server).await;
        call(&server, "sabotageWake", json!({"panics": panics, "forMs": 2_500})).await.data();
        // The failure drops the object's memory, so that it has to be loaded again.
        call(&server, "failAfterWrite", json!({"value": 9})).await;

        let mut codes = Vec::new();
        for _ in 0..5 {
            codes.push(call(&server, "get", json!({})).await.code());
        }

        assert_eq!(codes[..3], ["INTERNAL_SERVER_ERROR"; 3], "panics: {panics}");
        assert_eq!(codes[3..], ["SERVICE_UNAVAILABLE"; 2], "panics: {panics}");
        socket.ping().await;
        server
            .eventually("the object to be tried again", async |server: &Server| {
                call(server, "get", json!({})).await.is_data()
            })
            .await;
        assert_untouched(&server, &mut socket).await;
        assert_alive(&server, &mut socket).await;
    }
}

#[tokio::test]
async fn a_broken_object_is_nobody_elses_problem() {
    let server = misbehaving().flag("--lanes", "1").start().await;
    let mut counter = server.connect("/ws/counter/a").await;
    counter.next_of("initial").await;
    let mut socket = open(&server).await;

    for _ in 0..20 {
        socket.call(1, "panicAfterWrite", json!({"value": 9})).await;
        server.mutate("counter.increment", json!({"name": "a"})).await.data();
    }

    for value in 1..=20 {
        assert_eq!(counter.next_of("increment").await["value"], value);
    }
}

#[tokio::test]
async fn nothing_of_a_failed_call_comes_back_after_a_kill() {
    let mut server = misbehaving().start().await;
    let mut socket = open(&server).await;
    for method in ["panicAfterWrite", "failAfterWrite"] {
        call(&server, method, json!({"value": 9})).await.error();
    }

    server.kill().await;
    server.restart().await;

    socket.closed().await;
    let mut socket = server.connect("/ws/faulty/f").await;
    assert_eq!(socket.next_of("initial").await["offset"], 1);
    assert_untouched(&server, &mut socket).await;
    assert_alive(&server, &mut socket).await;
}

#[tokio::test]
async fn a_kind_that_was_added_is_listed_like_those_that_came_with_it() {
    let server = misbehaving().start().await;

    let handshake = e2e::Request::handshake("/ws/bird/a");
    let error = server.send(&handshake).await.json()["error"].clone();

    let kinds = ["account", "board", "counter", "diary", "faulty", "lobby", "note"];
    assert_eq!(error["kinds"], json!(kinds));
}

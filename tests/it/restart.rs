//! Stopping on purpose, and starting again on the same data.

use e2e::{ClientFrame, Opcode, Request, Server, Watcher};
use serde_json::{Value, json};

#[tokio::test]
async fn sockets_are_told_to_come_back_and_the_process_ends_with_zero() {
    let mut server = Server::start().await;
    let mut counter = server.connect("/ws/counter/a").await;
    let mut note = server.connect("/ws/note/absent").await;
    counter.next_of("initial").await;
    note.ping().await;

    server.ask_to_end();
    let (counter, note) = (counter.closed().await, note.closed().await);
    let code = server.ended().await;

    for closed in [counter, note] {
        assert_eq!(closed.code, 1012);
        let reason: Value = serde_json::from_str(&closed.reason).unwrap();
        assert_eq!(reason, json!({"withinMs": 5000}));
    }
    assert_eq!(code, Some(0), "{}", server.log());
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let mut server = Server::start().await;
    for amount in 1..=5 {
        server.mutate("counter.increment", json!({"name": "a", "amount": amount})).await.data();
    }
    server.mutate("note.create", json!({"id": "n", "title": "T", "blob": "🦔"})).await.data();
    server.mutate("note.update", json!({"id": "n", "title": "U"})).await.data();
    let state = async |server: &Server| {
        let mut answers = Vec::new();
        for (method, input) in [
            ("counter.getMetadata", json!({"name": "a"})),
            ("counter.getHistory", json!({"name": "a"})),
            ("note.get", json!({"id": "n"})),
            ("note.history", json!({"id": "n"})),
            ("note.list", json!({})),
        ] {
            answers.push(server.query(method, input).await.data().clone());
        }
        answers
    };
    let before = state(&server).await;

    assert_eq!(server.terminate().await, Some(0));
    server.restart().await;

    assert_eq!(state(&server).await, before);
}

#[tokio::test]
async fn clients_resume_exactly_where_they_were_after_a_restart() {
    let mut server = Server::start().await;
    let mut watcher = Watcher::connect(&server, "/ws/counter/a").await;
    for _ in 0..3 {
        server.mutate("counter.increment", json!({"name": "a"})).await.data();
    }
    watcher.read_to(2).await;
    let mut other = server.connect("/ws/counter/a").await;
    assert_eq!(other.next_of("initial").await["offset"], 3);

    server.ask_to_end();
    assert_eq!(watcher.read_to_end().await.code, 1012);
    server.ended().await;
    server.restart().await;
    server.mutate("counter.increment", json!({"name": "a"})).await.data();
    watcher.resume(&server).await;
    server.mutate("counter.increment", json!({"name": "a"})).await.data();
    watcher.read_to(5).await;

    let values: Vec<&Value> = watcher.seen().iter().map(|seen| &seen.event["value"]).collect();
    assert_eq!(json!(values), json!([1, 2, 3, 4, 5]));
}

#[tokio::test]
async fn a_server_that_stops_is_not_ready_and_takes_nobody_new() {
    let mut server = Server::start().await;
    let mut checking = server.connection().await;
    let mut calling = server.connection().await;
    let ready = Request::get("/readyz");
    assert_eq!(checking.send(&ready).await.unwrap().status, 200);
    assert_eq!(calling.send(&ready).await.unwrap().status, 200);
    // A socket that does not answer the close frame keeps the server stopping for a while.
    let mut slow = server.connect_raw("/ws/counter/a").await;
    slow.next().await.unwrap();

    server.ask_to_end();
    loop {
        if slow.next().await.unwrap().opcode == Opcode::CLOSE {
            break;
        }
    }
    let readiness = checking.send(&ready).await;
    let socket = calling.send(&Request::handshake("/ws/counter/a")).await;

    // Either it says so, or the connection is closed already; both take the traffic elsewhere.
    assert!(readiness.is_err() || readiness.is_ok_and(|response| response.status == 503));
    assert!(socket.is_err() || socket.is_ok_and(|response| response.status == 503));
    slow.send(&ClientFrame::close(1012, "")).await;
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn a_socket_that_never_answers_does_not_keep_the_server_from_stopping() {
    let mut server = Server::start().await;
    let mut deaf = server.connect_raw("/ws/counter/a").await;
    deaf.next().await.unwrap();

    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn calls_in_flight_at_the_end_are_answered_and_what_was_acknowledged_is_kept() {
    const CLIENTS: u32 = 8;
    let mut server = Server::start().await;
    let address = server.address();
    let (started, mut all_started) = tokio::sync::mpsc::channel(8);
    let callers: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let started = started.clone();
            tokio::spawn(async move {
                let mut client = e2e::Client::open(address).await.unwrap();
                let mut acknowledged = 0_i64;
                while let Ok(answer) =
                    client.mutate("counter.increment", &json!({"name": "a"})).await
                {
                    if !answer.is_data() {
                        assert_eq!(answer.code(), "SERVICE_UNAVAILABLE");
                        break;
                    }
                    acknowledged += 1;
                    if acknowledged == 20 {
                        started.send(()).await.unwrap();
                    }
                }
                acknowledged
            })
        })
        .collect();
    for _ in 0..CLIENTS {
        all_started.recv().await.unwrap();
    }

    assert_eq!(server.terminate().await, Some(0));
    let mut acknowledged = 0;
    for caller in callers {
        acknowledged += caller.await.unwrap();
    }
    server.restart().await;

    let metadata = server.query("counter.getMetadata", json!({"name": "a"})).await.data().clone();
    let stored = metadata["value"].as_i64().unwrap();
    // A graceful stop loses no answer, except on a connection that it closed under a new call.
    assert!(
        (acknowledged..=acknowledged + i64::from(CLIENTS)).contains(&stored),
        "{acknowledged}, {stored}"
    );
    assert_eq!(metadata["operationCount"], stored);
}

#[tokio::test]
async fn a_clean_restart_leaves_nothing_to_repair() {
    let mut server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.mutate("counter.increment", json!({"name": name})).await.data();
    }

    for _ in 0..3 {
        assert_eq!(server.terminate().await, Some(0));
        let files = server.data().object_files();
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(
            files.iter().all(|path| path.extension().is_some_and(|end| end == "db")),
            "{files:?}"
        );
        server.restart().await;
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_the_moment_it_is_ready_stops_cleanly() {
    let mut server = Server::start().await;

    for _ in 0..20 {
        assert_eq!(server.terminate().await, Some(0));
        server.restart().await;
    }
}

#[tokio::test]
async fn a_second_signal_does_not_hurt() {
    let mut server = Server::start().await;
    server.mutate("counter.increment", json!({"name": "a"})).await.data();

    server.ask_to_end();
    server.ask_to_end();
    server.ended().await;
    server.restart().await;

    assert_eq!(server.query("counter.getValue", json!({"name": "a"})).await.data()["value"], 1);
}

//! An event log keeps only so much: whoever comes back too late starts over, and is never given a gap.

use e2e::Server;
use serde_json::{Value, json};

/// Events that the log of the kind `faulty` keeps.
const EVENTS_MAX: u64 = 50;

/// Events that are made: many times what is kept.
const EVENTS: u64 = 400;

/// A server with an object whose log has been trimmed, and the log's epoch.
async fn trimmed() -> (Server, String) {
    let program = env!("CARGO_BIN_EXE_misbehaving-server");
    let server = Server::builder().program(program).start().await;
    let mut client = server.client().await;
    for value in 1..=EVENTS {
        let input = json!({"id": "f", "value": value});
        client.mutate("faulty.set", &input).await.expect("a call is answered").data();
    }
    let initial = server.connect("/ws/faulty/f").await.next_of("initial").await;
    let epoch = initial["epoch"].as_str().expect("an epoch is text").to_owned();
    (server, epoch)
}

/// The first message of a socket that comes back.
async fn first(server: &Server, since: u64, epoch: &str) -> Value {
    server.connect(&format!("/ws/faulty/f?since={since}&epoch={epoch}")).await.next().await
}

#[tokio::test]
async fn whoever_comes_back_after_the_log_was_trimmed_starts_over_at_the_tail() {
    let (server, epoch) = trimmed().await;

    server
        .eventually("the log to be trimmed", async |server: &Server| {
            first(server, EVENTS - 2 * EVENTS_MAX, &epoch).await["type"] == "initial"
        })
        .await;

    let initial = first(&server, 1, &epoch).await;
    assert_eq!((&initial["type"], &initial["offset"]), (&json!("initial"), &json!(EVENTS)));
    assert_eq!(initial["value"], EVENTS);
}

#[tokio::test]
async fn whoever_comes_back_in_time_gets_all_that_was_missed() {
    let (server, epoch) = trimmed().await;
    let since = EVENTS - EVENTS_MAX;

    let mut socket = server.connect(&format!("/ws/faulty/f?since={since}&epoch={epoch}")).await;

    assert_eq!(socket.next_of("resumed").await["replayed"], EVENTS_MAX);
    for offset in since + 1..=EVENTS {
        let event = socket.next_of("set").await;
        assert_eq!((&event["offset"], &event["value"]), (&json!(offset), &json!(offset)));
    }
}

#[tokio::test]
async fn offsets_go_on_after_trimming_and_a_restart() {
    let (mut server, epoch) = trimmed().await;

    server.terminate().await;
    server.restart().await;
    let mut socket = server.connect(&format!("/ws/faulty/f?since={EVENTS}&epoch={epoch}")).await;
    assert_eq!(socket.next_of("resumed").await["replayed"], 0);
    server.mutate("faulty.set", json!({"id": "f", "value": 0})).await.data();

    assert_eq!(socket.next_of("set").await["offset"], EVENTS + 1);
}

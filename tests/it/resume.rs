//! Coming back where one stopped, and filters: contract section 8.

use std::collections::BTreeSet;

use e2e::{Server, Socket, Watcher};
use serde_json::{Value, json};

async fn increment(server: &Server, times: usize) {
    let mut client = server.client().await;
    for _ in 0..times {
        let answer = client.mutate("counter.increment", &json!({"name": "a"})).await;
        answer.expect("a call is answered").data();
    }
}

/// The epoch of the counter `a`.
async fn epoch(server: &Server) -> String {
    let initial = server.connect("/ws/counter/a").await.next_of("initial").await;
    initial["epoch"].as_str().expect("an epoch is text").to_owned()
}

/// The next message that is not the answer to a filter.
async fn next_unfiltered(socket: &mut Socket) -> Value {
    loop {
        let message = socket.next().await;
        if message["type"] != "filtered" {
            return message;
        }
    }
}

#[tokio::test]
async fn a_client_that_comes_back_gets_exactly_what_it_missed() {
    let server = Server::start().await;
    let mut watcher = Watcher::connect(&server, "/ws/counter/a").await;
    increment(&server, 3).await;
    watcher.read_to(3).await;

    watcher.cut();
    increment(&server, 4).await;
    watcher.resume(&server).await;
    increment(&server, 1).await;
    watcher.read_to(8).await;

    let values: Vec<&Value> = watcher.seen().iter().map(|seen| &seen.event["value"]).collect();
    assert_eq!(json!(values), json!([1, 2, 3, 4, 5, 6, 7, 8]));
}

#[tokio::test]
async fn a_connection_that_breaks_without_a_word_is_resumed_without_a_gap() {
    let server = Server::start().await;
    let mut watcher = Watcher::connect(&server, "/ws/counter/a").await;

    for round in 1..=5 {
        watcher.cut();
        increment(&server, 20).await;
        watcher.resume(&server).await;
        assert_eq!(watcher.offset(), round * 20);
    }
}

#[tokio::test]
async fn resumed_says_how_much_follows() {
    let server = Server::start().await;
    increment(&server, 5).await;
    let epoch = epoch(&server).await;

    let mut socket = server.connect(&format!("/ws/counter/a?since=2&epoch={epoch}")).await;
    let resumed = socket.next_of("resumed").await;

    assert_eq!(
        resumed,
        json!({"type": "resumed", "epoch": epoch, "offset": 5, "replayed": 3, "session": resumed["session"]})
    );
    assert!(resumed["session"].is_string());
    for offset in 3..=5 {
        assert_eq!(socket.next_of("increment").await["offset"], offset);
    }
    assert_eq!(socket.ping().await["offset"], 5);
}

#[tokio::test]
async fn every_socket_has_a_session_of_its_own() {
    let server = Server::start().await;
    let mut sessions = BTreeSet::new();

    for _ in 0..10 {
        let initial = server.connect("/ws/counter/a").await.next_of("initial").await;
        sessions.insert(initial["session"].as_str().unwrap().to_owned());
    }

    assert_eq!(sessions.len(), 10);
    assert!(sessions.iter().all(|session| session.len() >= 16), "it can be guessed: {sessions:?}");
}

#[tokio::test]
async fn whoever_missed_nothing_is_resumed_with_nothing() {
    let server = Server::start().await;
    increment(&server, 2).await;
    let epoch = epoch(&server).await;

    let mut socket = server.connect(&format!("/ws/counter/a?since=2&epoch={epoch}")).await;

    assert_eq!(socket.next_of("resumed").await["replayed"], 0);
    assert_eq!(socket.ping().await["offset"], 2);
}

#[tokio::test]
async fn a_replayed_event_is_the_event_that_was_sent() {
    let server = Server::start().await;
    let mut live = Watcher::connect(&server, "/ws/counter/a").await;
    increment(&server, 5).await;
    server.mutate("counter.reset", json!({"name": "a"})).await.data();
    live.read_to(6).await;

    let target = format!("/ws/counter/a?since=0&epoch={}", live.epoch());
    let mut late = server.connect(&target).await;
    late.next_of("resumed").await;

    for seen in live.seen() {
        assert_eq!(late.next().await, seen.event);
    }
}

#[tokio::test]
async fn an_object_that_does_not_exist_yet_has_a_place_to_resume_from() {
    let server = Server::start().await;
    let epoch = epoch(&server).await;

    let mut early = server.connect(&format!("/ws/counter/a?since=0&epoch={epoch}")).await;
    assert_eq!(early.next_of("resumed").await["replayed"], 0);
    increment(&server, 1).await;
    let mut late = server.connect(&format!("/ws/counter/a?since=0&epoch={epoch}")).await;

    assert_eq!(early.next_of("increment").await["offset"], 1);
    assert_eq!(late.next_of("resumed").await["replayed"], 1);
    assert_eq!(late.next_of("increment").await["offset"], 1);
}

#[tokio::test]
async fn a_place_that_the_server_does_not_know_starts_over_with_initial() {
    let server = Server::start().await;
    increment(&server, 3).await;
    let epoch = epoch(&server).await;

    for query in [
        "since=1&epoch=other".to_owned(),
        "since=1&epoch=".to_owned(),
        "since=1".to_owned(),
        format!("since=4&epoch={epoch}"),
        format!("since=18446744073709551615&epoch={epoch}"),
        format!("epoch={epoch}"),
    ] {
        let mut socket = server.connect(&format!("/ws/counter/a?{query}")).await;
        let initial = socket.next_of("initial").await;
        assert_eq!((&initial["value"], &initial["offset"]), (&json!(3), &json!(3)), "{query}");
        assert_eq!(socket.ping().await["offset"], 3, "nothing follows: {query}");
    }
}

#[tokio::test]
async fn a_long_absence_is_replayed_over_many_pages() {
    let server = Server::start().await;
    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();
    let mut socket = server.connect("/ws/note/n").await;
    let epoch = socket.next_of("initial").await["epoch"].as_str().unwrap().to_owned();
    drop(socket);
    let blob = "x".repeat(100_000);
    for _ in 0..60 {
        server.mutate("note.update", json!({"id": "n", "blob": blob})).await.data();
    }

    let mut back = server.connect(&format!("/ws/note/n?since=1&epoch={epoch}")).await;
    server.mutate("note.update", json!({"id": "n", "blob": "end"})).await.data();

    let resumed = back.next_of("resumed").await;
    let replayed = resumed["replayed"].as_u64().unwrap();
    assert!((60..=61).contains(&replayed), "{resumed}");
    for offset in 2..=62 {
        assert_eq!(back.next_of("update").await["offset"], offset);
    }
    assert_eq!(back.ping().await["offset"], 62);
}

#[tokio::test]
async fn coming_back_in_the_middle_of_changes_loses_and_doubles_nothing() {
    const EVENTS: u64 = 400;
    let server = Server::start().await;
    let mut watcher = Watcher::connect(&server, "/ws/counter/a").await;
    let mut writer = server.client().await;
    let writing = tokio::spawn(async move {
        for _ in 0..EVENTS {
            writer.mutate("counter.increment", &json!({"name": "a"})).await.unwrap().data();
        }
    });

    while watcher.offset() < EVENTS {
        let next = (watcher.offset() + 7).min(EVENTS);
        watcher.read_to(next).await;
        watcher.resume(&server).await;
    }
    writing.await.unwrap();

    assert_eq!(watcher.seen().len() as u64, EVENTS);
}

#[tokio::test]
async fn a_filter_in_the_address_hides_other_events_while_offsets_rise() {
    let server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a?events=reset,setValue").await;
    assert_eq!(next_unfiltered(&mut socket).await["type"], "initial");

    increment(&server, 2).await;
    server.mutate("counter.setValue", json!({"name": "a", "value": 5})).await.data();
    increment(&server, 1).await;
    server.mutate("counter.reset", json!({"name": "a"})).await.data();

    let set = next_unfiltered(&mut socket).await;
    assert_eq!((&set["type"], &set["offset"]), (&json!("setValue"), &json!(3)));
    let reset = next_unfiltered(&mut socket).await;
    assert_eq!((&reset["type"], &reset["offset"]), (&json!("reset"), &json!(5)));
}

#[tokio::test]
async fn a_filter_can_be_changed_and_holds_for_what_comes_after_it() {
    let server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;
    increment(&server, 1).await;
    socket.next_of("increment").await;

    socket.send(&json!({"type": "filter", "events": ["reset"]})).await;
    let filtered = socket.next_of("filtered").await;
    increment(&server, 1).await;
    server.mutate("counter.reset", json!({"name": "a"})).await.data();
    let reset = socket.next_of("reset").await;
    socket.send(&json!({"type": "filter", "events": ["increment", "reset"]})).await;
    socket.next_of("filtered").await;
    increment(&server, 1).await;

    assert_eq!(filtered, json!({"type": "filtered", "events": ["reset"], "offset": 1}));
    assert_eq!(reset["offset"], 3);
    assert_eq!(socket.next_of("increment").await["offset"], 4);
}

#[tokio::test]
async fn a_pong_counts_events_that_the_filter_hid() {
    let server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;
    socket.send(&json!({"type": "filter", "events": []})).await;
    socket.next_of("filtered").await;

    increment(&server, 3).await;
    // The result follows the hidden event of its own call, so all four are handled by then.
    socket.call(1, "increment", json!({})).await;
    socket.next_of("result").await;

    assert_eq!(socket.ping().await["offset"], 4);
}

#[tokio::test]
async fn a_filter_never_hides_answers() {
    let server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;
    socket.send(&json!({"type": "filter", "events": []})).await;
    socket.next_of("filtered").await;

    socket.call(1, "increment", json!({})).await;
    let result = socket.next_of("result").await;
    socket.call(2, "paint", json!({})).await;
    let error = socket.next_of("error").await;

    assert_eq!((&result["id"], &error["id"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn a_filter_with_an_unknown_event_is_refused_and_the_old_one_holds() {
    let server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;
    socket.send(&json!({"type": "filter", "events": ["reset"]})).await;
    socket.next_of("filtered").await;

    socket.send(&json!({"type": "filter", "events": ["increment", "melted"]})).await;
    let error = socket.next_of("error").await;
    increment(&server, 1).await;
    server.mutate("counter.reset", json!({"name": "a"})).await.data();

    assert!(error["message"].as_str().unwrap().contains("melted"), "{error}");
    assert_eq!(socket.next_of("reset").await["offset"], 2);
    let handshake = e2e::Request::handshake("/ws/counter/a?events=melted");
    assert_eq!(server.send(&handshake).await.status, 400);
}

#[tokio::test]
async fn a_resume_with_a_filter_replays_and_counts_only_what_passes() {
    let server = Server::start().await;
    let epoch = epoch(&server).await;
    increment(&server, 3).await;
    server.mutate("counter.reset", json!({"name": "a"})).await.data();
    increment(&server, 2).await;

    let target = format!("/ws/counter/a?since=1&epoch={epoch}&events=reset");
    let mut socket = server.connect(&target).await;
    let resumed = next_unfiltered(&mut socket).await;
    let reset = next_unfiltered(&mut socket).await;

    assert_eq!(
        (&resumed["type"], &resumed["replayed"]),
        (&json!("resumed"), &json!(1)),
        "{resumed}"
    );
    assert_eq!(resumed["offset"], 6);
    assert_eq!((&reset["type"], &reset["offset"]), (&json!("reset"), &json!(4)));
    assert_eq!(socket.ping().await["offset"], 6);
}

//! Objects sleep when nobody calls; their sockets stay.

use e2e::{Server, Socket};
use serde_json::json;

/// A server whose objects fall asleep soon.
async fn drowsy() -> Server {
    Server::builder().flag("--idle-timeout", "300ms").start().await
}

async fn open(server: &Server, target: &str) -> Socket {
    let mut socket = server.connect(target).await;
    socket.next_of("initial").await;
    socket
}

async fn wakes(server: &Server) -> f64 {
    server.metric("dormouse_object_wakes_total").await
}

#[tokio::test]
async fn an_idle_object_leaves_memory_while_its_sockets_stay_open() {
    let server = drowsy().await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(open(&server, "/ws/counter/a").await);
    }
    server.mutate("counter.increment", json!({"name": "a"})).await.data();

    server.all_asleep().await;

    assert_eq!(server.metric("dormouse_sockets_open").await, 3.0);
    assert!(server.metric("dormouse_hibernations_total").await >= 1.0);
    for socket in &mut sockets {
        assert_eq!(socket.next_of("increment").await["value"], 1);
        assert_eq!(socket.ping().await["offset"], 1);
    }
}

#[tokio::test]
async fn a_ping_does_not_wake_an_object() {
    let server = drowsy().await;
    let mut socket = open(&server, "/ws/counter/a").await;
    server.all_asleep().await;
    let before = wakes(&server).await;

    for _ in 0..20 {
        socket.ping().await;
        socket.protocol_ping(b"x").await;
    }

    assert_eq!(wakes(&server).await, before);
    assert_eq!(server.metric("dormouse_objects_resident").await, 0.0);
}

#[tokio::test]
async fn a_filter_does_not_wake_an_object() {
    let server = drowsy().await;
    let mut socket = open(&server, "/ws/counter/a").await;
    server.all_asleep().await;
    let before = wakes(&server).await;

    socket.send(&json!({"type": "filter", "events": ["reset"]})).await;
    socket.next_of("filtered").await;

    assert_eq!(wakes(&server).await, before);
}

#[tokio::test]
async fn a_call_wakes_the_object_and_its_old_sockets_get_the_event() {
    let server = drowsy().await;
    let mut socket = open(&server, "/ws/counter/a").await;
    for value in 1..=3 {
        server.all_asleep().await;
        let before = wakes(&server).await;

        let answer = server.mutate("counter.increment", json!({"name": "a"})).await;

        assert_eq!(answer.data()["value"], value);
        assert_eq!(answer.data()["metadata"]["operationCount"], value);
        let event = socket.next_of("increment").await;
        assert_eq!((&event["value"], &event["offset"]), (&json!(value), &json!(value)));
        assert_eq!(wakes(&server).await, before + 1.0);
    }
}

#[tokio::test]
async fn a_message_over_a_socket_wakes_the_object() {
    let server = drowsy().await;
    let mut socket = open(&server, "/ws/counter/a").await;
    server.all_asleep().await;

    socket.call(1, "increment", json!({})).await;

    assert_eq!(socket.next_of("increment").await["value"], 1);
    assert_eq!(socket.next_of("result").await["id"], 1);
}

#[tokio::test]
async fn a_connect_wakes_the_object_and_is_told_its_state() {
    let server = drowsy().await;
    server.mutate("counter.setValue", json!({"name": "a", "value": 9})).await.data();
    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();
    server.all_asleep().await;
    let before = wakes(&server).await;

    let counter = server.connect("/ws/counter/a").await.next_of("initial").await;
    let note = server.connect("/ws/note/n").await.next_of("initial").await;

    assert_eq!((&counter["value"], &counter["offset"]), (&json!(9), &json!(1)));
    assert_eq!(note["data"]["title"], "T");
    assert_eq!(wakes(&server).await, before + 2.0);
}

#[tokio::test]
async fn sleep_changes_nothing_that_a_client_can_see() {
    let server = drowsy().await;
    let mut socket = server.connect("/ws/counter/a").await;
    let epoch = socket.next_of("initial").await["epoch"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        server.mutate("counter.increment", json!({"name": "a"})).await.data();
    }
    let state = async || {
        let metadata = server.query("counter.getMetadata", json!({"name": "a"})).await;
        let history = server.query("counter.getHistory", json!({"name": "a"})).await;
        (metadata.data().clone(), history.data().clone())
    };
    let before = state().await;

    server.all_asleep().await;

    assert_eq!(state().await, before);
    server.all_asleep().await;
    let mut back = server.connect(&format!("/ws/counter/a?since=1&epoch={epoch}")).await;
    assert_eq!(back.next_of("resumed").await["replayed"], 2);
}

#[tokio::test]
async fn a_list_is_answered_without_waking_a_single_object() {
    let server = drowsy().await;
    for id in ["a", "b", "c"] {
        server.mutate("note.create", json!({"id": id, "title": id})).await.data();
    }
    server.all_asleep().await;
    let before = wakes(&server).await;

    let listed = server.query("note.list", json!({})).await;

    assert_eq!(listed.data()["notes"].as_array().unwrap().len(), 3);
    assert_eq!(wakes(&server).await, before);
}

#[tokio::test]
async fn reading_and_connecting_create_no_file() {
    let server = drowsy().await;
    let mut counter = open(&server, "/ws/counter/never").await;
    let mut note = server.connect("/ws/note/never").await;
    note.ping().await;

    for method in ["counter.getValue", "counter.getMetadata", "counter.getHistory"] {
        server.query(method, json!({"name": "never"})).await.data();
    }
    assert_eq!(server.query("note.get", json!({"id": "never"})).await.code(), "NOT_FOUND");
    // Refused mutations are no better than reads.
    assert_eq!(
        server.mutate("note.update", json!({"id": "never", "title": "x"})).await.code(),
        "NOT_FOUND"
    );
    counter.call(1, "getValue", json!({})).await;
    counter.next_of("result").await;
    server.all_asleep().await;

    assert_eq!(server.data().object_files(), Vec::<std::path::PathBuf>::new());
    assert_eq!(server.query("note.list", json!({})).await.data(), &json!({"notes": []}));
}

#[tokio::test]
async fn the_first_mutation_creates_one_file() {
    let server = drowsy().await;
    open(&server, "/ws/counter/a").await;

    server.mutate("counter.increment", json!({"name": "a"})).await.data();
    server.all_asleep().await;

    let files = server.data().object_files();
    assert_eq!(files.len(), 1, "asleep, an object is its database alone: {files:?}");
    assert!(files[0].starts_with("objects/counter"), "{files:?}");
}

#[tokio::test]
async fn an_object_that_is_busy_stays_awake() {
    let server = drowsy().await;
    let mut client = server.client().await;
    let before = wakes(&server).await;

    // Two hundred calls, each answered before the next: longer than the idle timeout on any disk
    // would be chance, so what is asserted is only that no call finds its object gone.
    for value in 1..=200 {
        let answer = client.mutate("counter.increment", &json!({"name": "a"})).await.unwrap();
        assert_eq!(answer.data()["value"], value);
    }

    assert!(wakes(&server).await <= before + 2.0);
}

#[tokio::test]
async fn an_object_that_is_called_just_as_it_leaves_loses_no_call() {
    let server = Server::builder().flag("--idle-timeout", "50ms").start().await;
    let mut watcher = e2e::Watcher::connect(&server, "/ws/counter/a").await;
    let mut client = server.client().await;

    for value in 1..=40 {
        let answer = client.mutate("counter.increment", &json!({"name": "a"})).await.unwrap();
        assert_eq!(answer.data()["value"], value);
        if value % 4 == 0 {
            server
                .eventually("the object to be about to leave", async |server: &Server| {
                    server.metric("dormouse_hibernations_total").await >= f64::from(value / 4)
                })
                .await;
        }
    }

    watcher.read_to(40).await;
}

//! Readers that stop, among many that do not.

use e2e::{Server, Socket};
use serde_json::json;

/// Sockets of the one object.
const SOCKETS: usize = 1_000;

/// How many of them stop reading.
const STALLED: usize = 100;

/// Bytes of one event.
const BLOB_BYTES: usize = 100_000;

/// Events: together several times what a stalled socket's queue and the kernel's buffers hold.
const UPDATES: u64 = 60;

/// What may wait for one socket: its queue of 1 MiB, and an event that is partly written.
const QUEUE_BYTES_MAX: usize = (1 << 20) + 2 * BLOB_BYTES;

async fn connect(server: &Server) -> Socket {
    let mut socket = server.connect("/ws/note/n").await;
    socket.next_of("initial").await;
    socket
}

async fn update(server: &Server, version: u64) {
    let blob = "x".repeat(BLOB_BYTES);
    let answer = server.mutate("note.update", json!({"id": "n", "blob": blob})).await;
    assert_eq!(answer.data()["version"], version);
}

/// Whether a socket was closed because its reader was too slow.
async fn is_given_up(server: &Server) -> bool {
    server.metrics().await.samples().any(|sample| {
        sample.name == "dormouse_sockets_closed_total"
            && sample.labels.contains("too_slow")
            && sample.value > 0.0
    })
}

/// Reads one event with each socket.
async fn all_get(sockets: &mut [Socket], offset: u64) {
    for socket in sockets {
        assert_eq!(socket.next_of("update").await["offset"], offset);
    }
}

#[tokio::test]
async fn a_hundred_readers_that_stop_cost_nine_hundred_nothing_and_lose_nothing() {
    let server = Server::start().await;
    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();
    let mut quick = Vec::new();
    let mut stalled = Vec::new();
    for index in 0..SOCKETS {
        let socket = connect(&server).await;
        if index % (SOCKETS / STALLED) == 0 {
            stalled.push(socket);
        } else {
            quick.push(socket);
        }
    }

    for version in 2..=UPDATES {
        update(&server, version).await;
        all_get(&mut quick, version).await;
        let queued = server.metric("dormouse_socket_queue_bytes").await;
        assert!(queued <= (STALLED * QUEUE_BYTES_MAX) as f64, "{queued} bytes wait");
    }

    for socket in &mut stalled {
        for offset in 2..=UPDATES {
            assert_eq!(socket.next_of("update").await["offset"], offset);
        }
    }
    update(&server, UPDATES + 1).await;
    all_get(&mut quick, UPDATES + 1).await;
    all_get(&mut stalled, UPDATES + 1).await;
}

#[tokio::test]
async fn a_reader_that_stays_behind_for_too_long_is_closed_with_1013() {
    let server = Server::builder().flag("--slow-reader-timeout", "1s").start().await;
    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();
    let mut stalled = connect(&server).await;
    for version in 2..=UPDATES {
        update(&server, version).await;
    }

    server
        .eventually("the reader to be given up", async |server: &Server| is_given_up(server).await)
        .await;

    let mut last = 1;
    let closed = loop {
        match stalled.try_next().await {
            Ok(event) => {
                last += 1;
                assert_eq!(event["offset"], last, "what it got has no gap");
            }
            Err(closed) => break closed,
        }
    };
    assert_eq!(closed.code, 1013, "{closed:?}");
    assert!(last < UPDATES, "it was not slow");
}

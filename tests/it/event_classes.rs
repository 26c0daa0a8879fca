//! Events that are in no log: the newest of each key, and those that may be missed.

use e2e::{Server, Socket};
use serde_json::{Value, json};

/// Bytes of one written text.
const TEXT_BYTES: usize = 500_000;

/// Together more of these than a socket's queue and the kernel's buffers hold.
const TEXTS: u64 = 40;

async fn start() -> Server {
    Server::builder().program(env!("CARGO_BIN_EXE_misbehaving-server")).start().await
}

async fn connect(server: &Server) -> Socket {
    let mut socket = server.connect("/ws/board/b").await;
    socket.next_of("initial").await;
    socket
}

#[tokio::test]
async fn a_reader_that_is_behind_gets_the_newest_of_each_key_and_every_event_of_the_log() {
    let server = start().await;
    let mut slow = connect(&server).await;
    let mut quick = connect(&server).await;
    let text = "x".repeat(TEXT_BYTES);
    for offset in 1..=TEXTS {
        server.mutate("board.write", json!({"id": "b", "text": text})).await.data();
        assert_eq!(quick.next_of("written").await["offset"], offset);
    }

    let mut client = server.client().await;
    for x in 1..=50 {
        for (method, input) in [
            ("board.point", json!({"id": "b", "who": "ada", "x": x})),
            ("board.point", json!({"id": "b", "who": "bob", "x": x})),
            ("board.tick", json!({"id": "b", "n": x})),
        ] {
            client.mutate(method, &input).await.expect("a call is answered").data();
        }
        assert_eq!(quick.next().await, json!({"type": "pointer", "who": "ada", "x": x}));
        assert_eq!(quick.next().await, json!({"type": "pointer", "who": "bob", "x": x}));
        assert_eq!(quick.next().await, json!({"type": "tick", "n": x}));
    }

    slow.send(&json!({"type": "call", "id": "end", "method": "write", "params": {"text": "end"}}))
        .await;
    let mut offsets = Vec::new();
    let mut pointers = Vec::new();
    loop {
        let message = slow.next().await;
        match (message["type"].as_str(), message["offset"].as_u64()) {
            (Some("written"), Some(offset)) => offsets.push(offset),
            (Some("pointer"), None) => pointers.push(message),
            (Some("result"), None) => break,
            _ => panic!("{message} has no place here"),
        }
    }
    assert_eq!(offsets, (1..=TEXTS + 1).collect::<Vec<u64>>());
    let newest = |who: &str| json!({"type": "pointer", "who": who, "x": 50});
    assert_eq!(pointers[pointers.len() - 2..], [newest("ada"), newest("bob")]);
}

#[tokio::test]
async fn who_moves_a_pointer_is_not_told_and_nothing_is_stored() {
    let server = start().await;
    let mut mover = connect(&server).await;
    let mut other = connect(&server).await;

    mover.call(1, "point", json!({"who": "ada", "x": 7})).await;

    assert_eq!(mover.next().await, json!({"type": "result", "id": 1, "data": Value::Null}));
    assert_eq!(other.next().await, json!({"type": "pointer", "who": "ada", "x": 7}));
    assert_eq!(other.ping().await["offset"], 0, "it has no place in the log");
    server.all_asleep().await;
    assert!(server.data().object_files().is_empty(), "no object was made");
}

//! Many clients at once.

use std::collections::BTreeSet;

use e2e::{Client, Server, Watcher};
use serde_json::{Value, json};
use tokio::task::JoinSet;

#[tokio::test]
async fn two_thousand_increments_reach_fifty_sockets_in_order_exactly_once() {
    const CONNECTIONS: u64 = 20;
    const INCREMENTS: u64 = 2_000;
    const SOCKETS: usize = 50;
    let server = Server::start().await;
    let mut watchers = JoinSet::new();
    for _ in 0..SOCKETS {
        let mut watcher = Watcher::connect(&server, "/ws/counter/a").await;
        watchers.spawn(async move {
            watcher.read_to(INCREMENTS).await;
            watcher.socket().ping().await;
            watcher
        });
    }

    let mut callers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let address = server.address();
        callers.spawn(async move {
            let mut client = Client::open(address).await.unwrap();
            let mut results = Vec::new();
            for _ in 0..INCREMENTS / CONNECTIONS {
                let answer =
                    client.mutate("counter.increment", &json!({"name": "a"})).await.unwrap();
                results.push(answer.data().clone());
            }
            results
        });
    }
    let results = callers.join_all().await;
    let watchers = watchers.join_all().await;

    for results in &results {
        let rises = results.is_sorted_by_key(|result| result["value"].as_u64());
        assert!(rises, "a caller saw the counter go back");
    }
    let values: BTreeSet<u64> =
        results.iter().flatten().map(|result| result["value"].as_u64().unwrap()).collect();
    assert_eq!(values, (1..=INCREMENTS).collect());
    let first = &watchers[0];
    for (seen, value) in first.seen().iter().zip(1..) {
        assert_eq!(
            (&seen.event["value"], &seen.event["previousValue"]),
            (&json!(value), &json!(value - 1))
        );
        assert_eq!(seen.event["metadata"]["operationCount"], value);
    }
    for watcher in &watchers {
        assert_eq!(watcher.seen(), first.seen());
    }
}

#[tokio::test]
async fn sockets_that_join_in_the_middle_miss_and_double_nothing() {
    const INCREMENTS: u64 = 600;
    let server = Server::start().await;
    let address = server.address();
    let writer = tokio::spawn(async move {
        let mut client = Client::open(address).await.unwrap();
        for _ in 0..INCREMENTS {
            client.mutate("counter.increment", &json!({"name": "a"})).await.unwrap().data();
        }
    });

    let mut joined = JoinSet::new();
    while !writer.is_finished() && joined.len() < 60 {
        let mut socket = server.connect("/ws/counter/a").await;
        joined.spawn(async move {
            let initial = socket.next_of("initial").await;
            // What `initial` says is the state at its offset, and what follows starts right there.
            assert_eq!(initial["value"], initial["offset"]);
            let mut offset = initial["offset"].as_u64().unwrap();
            while offset < INCREMENTS {
                let event = socket.next_of("increment").await;
                offset += 1;
                assert_eq!((&event["offset"], &event["value"]), (&json!(offset), &json!(offset)));
            }
        });
    }
    writer.await.unwrap();

    joined.join_all().await;
}

#[tokio::test]
async fn calls_over_fifty_sockets_at_once_are_each_answered_once() {
    const SOCKETS: u64 = 50;
    const CALLS: u64 = 20;
    let server = Server::start().await;
    let mut open = Vec::new();
    for _ in 0..SOCKETS {
        let mut socket = server.connect("/ws/counter/a").await;
        socket.next_of("initial").await;
        open.push(socket);
    }

    let mut sockets = JoinSet::new();
    for mut socket in open {
        sockets.spawn(async move {
            let mut results = Vec::new();
            for id in 0..CALLS {
                socket.call(id, "increment", json!({})).await;
            }
            let (mut results_seen, mut offset) = (0, 0);
            while offset < SOCKETS * CALLS || results_seen < CALLS {
                let message = socket.next().await;
                if message["type"] == "result" {
                    assert_eq!(message["id"], results_seen);
                    results_seen += 1;
                    results.push(message["data"]["value"].clone());
                } else {
                    offset += 1;
                    assert_eq!(message["offset"], offset);
                }
            }
            results
        });
    }
    let results = sockets.join_all().await;

    let values: BTreeSet<u64> = results.iter().flatten().filter_map(Value::as_u64).collect();
    assert_eq!(values, (1..=SOCKETS * CALLS).collect());
}

#[tokio::test]
async fn many_objects_at_once_keep_their_own_order() {
    const OBJECTS: usize = 200;
    const ROUNDS: u64 = 5;
    let server = Server::start().await;
    let address = server.address();
    let mut callers = JoinSet::new();
    for worker in 0..10 {
        callers.spawn(async move {
            let mut client = Client::open(address).await.unwrap();
            for round in 1..=ROUNDS {
                for object in (worker..OBJECTS).step_by(10) {
                    let input = json!({"name": format!("counter {object}")});
                    let answer = client.mutate("counter.increment", &input).await.unwrap();
                    assert_eq!(answer.data()["value"], round, "{object}");
                }
            }
        });
    }

    callers.join_all().await;

    assert_eq!(server.metric("dormouse_handlers_total").await, 1_000.0);
}

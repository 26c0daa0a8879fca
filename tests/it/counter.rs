//! The kind `counter`: contract section 3, and most of the reference's checklist.

use e2e::{Server, Watcher};
use serde_json::{Value, json};

/// The largest value: what a JavaScript number holds exactly.
const VALUE_MAX: i64 = (1 << 53) - 1;

fn named(name: &str) -> Value {
    json!({ "name": name })
}

/// The event without what only sockets see.
fn without_offset(event: &Value) -> Value {
    let mut event = event.clone();
    event.as_object_mut().expect("an event is an object").remove("offset");
    event
}

/// Asserts the form of a time: RFC 3339 in UTC with milliseconds.
fn assert_time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    let form: String =
        text.chars().map(|char| if char.is_ascii_digit() { '0' } else { char }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000Z", "{text}");
}

#[tokio::test]
async fn a_counter_that_was_never_changed_reads_as_zero() {
    let server = Server::start().await;

    let value = server.query("counter.getValue", named("new")).await;
    let metadata = server.query("counter.getMetadata", named("new")).await;
    let history = server.query("counter.getHistory", named("new")).await;

    assert_eq!(value.data(), &json!({"value": 0}));
    let metadata = metadata.data();
    assert_time(&metadata["createdAt"]);
    assert_eq!(metadata["createdAt"], metadata["updatedAt"]);
    let (created_at, updated_at) = (&metadata["createdAt"], &metadata["updatedAt"]);
    assert_eq!(
        metadata,
        &json!({"id": 1, "name": "new", "value": 0, "operationCount": 0,
                "createdAt": created_at, "updatedAt": updated_at})
    );
    assert_eq!(history.data(), &json!({"operations": []}));
}

#[tokio::test]
async fn each_mutation_answers_with_its_event() {
    let server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;
    let steps = [
        ("increment", json!({"name": "a"}), 1, 0),
        ("increment", json!({"name": "a", "amount": 41}), 42, 1),
        ("decrement", json!({"name": "a"}), 41, 42),
        ("decrement", json!({"name": "a", "amount": 50}), -9, 41),
        ("setValue", json!({"name": "a", "value": 1000}), 1000, -9),
        ("reset", json!({"name": "a"}), 0, 1000),
    ];

    for ((method, input, value, previous_value), count) in steps.into_iter().zip(1..) {
        let answer = server.mutate(&format!("counter.{method}"), input).await;
        let event = socket.next_of(method).await;

        let result = answer.data();
        let metadata = &result["metadata"];
        assert_time(&result["timestamp"]);
        assert_eq!(
            result,
            &json!({
                "type": method, "value": value, "previousValue": previous_value,
                "timestamp": metadata["updatedAt"],
                "metadata": {
                    "id": 1, "name": "a", "value": value, "operationCount": count,
                    "createdAt": metadata["createdAt"], "updatedAt": metadata["updatedAt"],
                },
            })
        );
        assert_eq!(event["offset"], count);
        assert_eq!(&without_offset(&event), result);
    }
}

#[tokio::test]
async fn the_time_of_creation_stays_while_the_time_of_the_update_moves() {
    let server = Server::start().await;
    let first = server.mutate("counter.increment", named("a")).await.data()["metadata"].clone();

    server
        .eventually("the clock to move", async |server: &Server| {
            let answer = server.mutate("counter.increment", named("a")).await;
            let metadata = &answer.data()["metadata"];
            assert_eq!(metadata["createdAt"], first["createdAt"]);
            metadata["updatedAt"].as_str() > first["updatedAt"].as_str()
        })
        .await;
}

#[tokio::test]
async fn a_socket_gets_the_state_on_connect_and_each_change_after_it() {
    let server = Server::start().await;
    server.mutate("counter.setValue", json!({"name": "a", "value": 7})).await;

    let mut socket = server.connect("/ws/counter/a").await;
    let initial = socket.next_of("initial").await;
    server.mutate("counter.increment", named("a")).await;
    let event = socket.next_of("increment").await;

    assert_eq!((&initial["value"], &initial["metadata"]["operationCount"]), (&json!(7), &json!(1)));
    assert_eq!(initial["metadata"]["name"], "a");
    assert_eq!(initial["offset"], 1);
    assert!(initial["epoch"].is_string() && initial["session"].is_string(), "{initial}");
    assert_time(&initial["timestamp"]);
    assert_eq!((&event["value"], &event["offset"]), (&json!(8), &json!(2)));
    assert_eq!(socket.ping().await["offset"], 2);
}

#[tokio::test]
async fn a_socket_on_a_counter_that_was_never_changed_is_told_zero() {
    let server = Server::start().await;

    let mut socket = server.connect("/ws/counter/new").await;
    let initial = socket.next_of("initial").await;

    assert_eq!((&initial["value"], &initial["offset"]), (&json!(0), &json!(0)));
    assert_eq!(initial["metadata"]["operationCount"], 0);
    assert_eq!(initial["metadata"]["createdAt"], initial["metadata"]["updatedAt"]);
    assert!(initial["epoch"].is_string(), "an object without a file has an epoch already");
}

#[tokio::test]
async fn every_socket_sees_every_change_whoever_made_it() {
    let server = Server::start().await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let mut socket = server.connect("/ws/counter/shared").await;
        socket.next_of("initial").await;
        sockets.push(socket);
    }

    sockets[0].call("mine", "increment", json!({})).await;
    server.mutate("counter.increment", named("shared")).await;

    let mut seen = Vec::new();
    for socket in &mut sockets {
        let mut events = Vec::new();
        while events.len() < 2 {
            let message = socket.next().await;
            if message["type"] == "increment" {
                events.push(message);
            }
        }
        seen.push(events);
    }
    assert!(seen.iter().all(|events| *events == seen[0]), "{seen:?}");
    assert_eq!((&seen[0][0]["value"], &seen[0][1]["value"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn an_event_says_what_a_query_says_after_it() {
    let server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;

    server.mutate("counter.increment", json!({"name": "a", "amount": 5})).await;
    let event = socket.next_of("increment").await;
    let value = server.query("counter.getValue", named("a")).await;
    let metadata = server.query("counter.getMetadata", named("a")).await;
    let history = server.query("counter.getHistory", named("a")).await;

    assert_eq!(value.data()["value"], event["value"]);
    assert_eq!(metadata.data(), &event["metadata"]);
    assert_eq!(
        history.data()["operations"],
        json!([{"offset": event["offset"], "type": "increment", "value": 5, "previousValue": 0,
                "timestamp": event["timestamp"]}])
    );
}

#[tokio::test]
async fn a_client_that_stops_listening_catches_up_when_it_starts_again() {
    let server = Server::start().await;
    let mut watcher = Watcher::connect(&server, "/ws/counter/a").await;
    server.mutate("counter.increment", named("a")).await;
    watcher.read_to(1).await;

    let on = server.connect("/ws/counter/a").await;
    on.close().await;
    server.mutate("counter.increment", named("a")).await;
    let mut again = server.connect("/ws/counter/a").await;

    let initial = again.next_of("initial").await;
    assert_eq!((&initial["value"], &initial["offset"]), (&json!(2), &json!(2)));
    watcher.read_to(2).await;
}

#[tokio::test]
async fn counters_are_isolated_from_each_other() {
    let server = Server::start().await;
    let mut a = server.connect("/ws/counter/a").await;
    let mut b = server.connect("/ws/counter/b").await;
    let epoch_of_a = a.next_of("initial").await["epoch"].clone();
    let epoch_of_b = b.next_of("initial").await["epoch"].clone();

    server.mutate("counter.setValue", json!({"name": "a", "value": 5})).await;
    server.mutate("counter.increment", named("b")).await;

    assert_ne!(epoch_of_a, epoch_of_b);
    assert_eq!(a.next_of("setValue").await["metadata"]["name"], "a");
    assert_eq!(b.next_of("increment").await["value"], 1);
    assert_eq!(
        (a.ping().await["offset"].clone(), b.ping().await["offset"].clone()),
        (json!(1), json!(1))
    );
    assert_eq!(server.query("counter.getValue", named("a")).await.data()["value"], 5);
}

#[tokio::test]
async fn values_end_where_javascript_numbers_stop_being_exact() {
    let server = Server::start().await;
    for (limit, past) in [(VALUE_MAX, "increment"), (-VALUE_MAX, "decrement")] {
        let at_limit = json!({"name": "a", "value": limit});
        assert_eq!(server.mutate("counter.setValue", at_limit).await.data()["value"], limit);
        let before = server.query("counter.getMetadata", named("a")).await.data().clone();

        let refused = server.mutate(&format!("counter.{past}"), named("a")).await;

        assert_eq!(refused.code(), "BAD_REQUEST");
        assert_eq!(server.query("counter.getMetadata", named("a")).await.data(), &before);
    }
}

#[tokio::test]
async fn wrong_input_is_refused_with_the_field_and_changes_nothing() {
    let mut server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;
    let refused = [
        ("increment", json!({"name": "a", "amount": "1"}), "amount"),
        ("increment", json!({"name": "a", "amount": 1.5}), "amount"),
        ("increment", json!({"name": "a", "amount": null}), "amount"),
        ("increment", json!({"name": "a", "amount": u64::MAX}), "amount"),
        ("increment", json!({"name": "a", "by": 2}), "by"),
        ("setValue", json!({"name": "a"}), "value"),
        ("setValue", json!({"name": "a", "value": VALUE_MAX + 1}), "9007199254740991"),
        ("setValue", json!({"name": "a", "value": i64::MIN}), "9007199254740991"),
        ("setValue", json!({"name": "a", "value": true}), "value"),
        ("reset", json!({"name": "a", "value": 0}), "value"),
        ("increment", json!({"name": 7}), "name"),
        ("increment", json!({"name": ""}), "name"),
        ("increment", json!({}), "name"),
        ("increment", json!([1]), "object"),
        ("increment", json!("a"), "object"),
        ("getHistory", json!({"name": "a", "limit": 0}), "limit"),
        ("getHistory", json!({"name": "a", "limit": 201}), "limit"),
        ("getHistory", json!({"name": "a", "before": -1}), "before"),
        ("getValue", json!({"name": "a", "x": 1}), "x"),
    ];

    for (method, input, names) in refused {
        let error = server.mutate(&format!("counter.{method}"), input.clone()).await.error();

        assert_eq!(error.code, "BAD_REQUEST", "{method} {input}: {error:?}");
        assert!(error.message.contains(names), "{method} {input}: {error:?}");
    }
    assert_eq!(socket.ping().await["offset"], 0);
    assert_eq!(server.files_once_stopped().await, Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn history_is_paged_from_the_newest_to_the_first() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for _ in 0..7 {
        client.mutate("counter.increment", &named("a")).await.unwrap();
    }

    let mut offsets = Vec::new();
    let mut before = Value::Null;
    let mut pages = 0;
    loop {
        let input = json!({"name": "a", "limit": 3, "before": before});
        let page = client.query("counter.getHistory", &input).await.unwrap().data().clone();
        for operation in page["operations"].as_array().unwrap() {
            assert_eq!(operation["value"], operation["offset"]);
            offsets.push(operation["offset"].as_u64().unwrap());
        }
        pages += 1;
        match page.get("next") {
            Some(next) => before = next.clone(),
            None => break,
        }
    }

    assert_eq!(offsets, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(pages, 3);
}

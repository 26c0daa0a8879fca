use std::time::Duration;

use dormouse::{ErrorCode, TestObject};
use serde_json::json;

use super::*;

fn counter() -> TestObject<Counter> {
    TestObject::new("my-counter")
}

#[test]
fn a_counter_counts_and_tells_everyone_in_one_shape() {
    let mut counter = counter();

    let result = counter.call("increment", json!({"amount": 41})).unwrap();
    let next = counter.call("increment", json!({})).unwrap();

    let events = counter.take_events();
    assert_eq!(result["value"], 41);
    assert_eq!(
        next,
        json!({
            "type": "increment", "value": 42, "previousValue": 41,
            "metadata": {
                "id": 1, "name": "my-counter", "value": 42, "operationCount": 2,
                "createdAt": "2025-01-15T12:00:00.000Z", "updatedAt": "2025-01-15T12:00:00.000Z",
            },
            "timestamp": "2025-01-15T12:00:00.000Z",
        })
    );
    let mut last_event = events[1].clone();
    assert_eq!(last_event.as_object_mut().unwrap().remove("offset"), Some(json!(2)));
    assert_eq!(last_event, next, "the result is the event");
}

#[test]
fn reading_a_counter_that_never_was_says_zero_and_creates_nothing() {
    let mut counter = counter();

    let metadata = counter.call("getMetadata", json!({})).unwrap();
    let frames = counter.connect();

    assert_eq!(metadata["operationCount"], 0);
    assert_eq!(metadata["createdAt"], "2025-01-15T12:00:00.000Z");
    assert_eq!(frames.len(), 1);
    assert_eq!(
        (&frames[0]["type"], &frames[0]["value"], &frames[0]["offset"]),
        (&json!("initial"), &json!(0), &json!(0))
    );
    assert!(!counter.has_file());
}

#[test]
fn every_mutation_changes_what_it_says() {
    let mut counter = counter();

    let values: Vec<i64> = [
        ("increment", json!({"amount": 5})),
        ("decrement", json!({"amount": 7})),
        ("decrement", json!({})),
        ("setValue", json!({"value": 100})),
        ("reset", json!({})),
    ]
    .into_iter()
    .map(|(method, params)| counter.call(method, params).unwrap()["value"].as_i64().unwrap())
    .collect();

    assert_eq!(values, [5, -2, -3, 100, 0]);
}

#[test]
fn state_survives_sleep_and_crash() {
    let mut counter = counter();
    counter.call("increment", json!({"amount": 3})).unwrap();

    counter.sleep();
    counter.advance(Duration::from_secs(60));
    counter.call("increment", json!({})).unwrap();
    counter.crash();

    let metadata = counter.call("getMetadata", json!({})).unwrap();
    assert_eq!(metadata["value"], 4);
    assert_eq!(metadata["createdAt"], "2025-01-15T12:00:00.000Z");
    assert_eq!(metadata["updatedAt"], "2025-01-15T12:01:00.000Z");
}

#[test]
fn a_value_past_the_safe_integers_is_refused_and_changes_nothing() {
    let mut counter = counter();
    counter.call("setValue", json!({"value": VALUE_MAX})).unwrap();
    counter.take_events();

    for (method, params) in [
        ("increment", json!({})),
        ("increment", json!({"amount": i64::MAX})),
        ("decrement", json!({"amount": i64::MIN})),
        ("setValue", json!({"value": -VALUE_MAX - 1})),
    ] {
        let err = counter.call(method, params).unwrap_err();
        assert_eq!(err.code(), ErrorCode::BadRequest, "{method}");
    }

    assert_eq!(counter.call("getValue", json!({})).unwrap(), json!({"value": VALUE_MAX}));
    assert_eq!(counter.take_events(), Vec::<serde_json::Value>::new());
    assert_eq!(
        counter.call("setValue", json!({"value": -VALUE_MAX})).unwrap()["value"],
        -VALUE_MAX
    );
}

#[test]
fn wrong_inputs_say_what_is_wrong() {
    let mut counter = counter();
    let mut message = |params| counter.call("increment", params).unwrap_err().to_string();

    assert!(message(json!({"amount": "1"})).starts_with("`amount`: invalid type: string"));
    assert!(message(json!({"amount": 1.5})).starts_with("`amount`: invalid type: floating point"));
    assert!(message(json!({"by": 1})).contains("unknown field `by`"));
    assert_eq!(message(json!([1])), "the input must be a JSON object, not an array");
    assert!(message(json!({"name": "other"})).contains("another object"));
    assert!(!counter.has_file());
}

#[test]
fn history_pages_backwards_without_gap_or_double() {
    let mut counter = counter();
    for _ in 0..7 {
        counter.call("increment", json!({})).unwrap();
    }

    let mut offsets = Vec::new();
    let mut before = None;
    loop {
        let page = counter.call("getHistory", json!({"before": before, "limit": 3})).unwrap();
        for operation in page["operations"].as_array().unwrap() {
            assert_eq!(operation["type"], "increment");
            assert_eq!(operation["value"], operation["offset"], "the nth increment made n");
            offsets.push(operation["offset"].as_u64().unwrap());
        }
        before = page.get("next").cloned();
        if before.is_none() {
            break;
        }
    }

    assert_eq!(offsets, [7, 6, 5, 4, 3, 2, 1]);
    assert!(counter.call("getHistory", json!({"limit": 0})).is_err());
    assert!(counter.call("getHistory", json!({"limit": 201})).is_err());
}

#[test]
fn a_socket_that_comes_back_gets_exactly_what_it_missed() {
    let mut counter = counter();
    counter.call("increment", json!({})).unwrap();
    let epoch = counter.connect()[0]["epoch"].as_str().unwrap().to_owned();
    counter.call("increment", json!({})).unwrap();
    counter.crash();
    counter.call("reset", json!({})).unwrap();

    let frames = counter.resume(&epoch, 1);

    assert_eq!(frames[0]["type"], "resumed");
    assert_eq!(frames[0]["replayed"], 2);
    let offsets: Vec<_> = frames[1..].iter().map(|frame| &frame["offset"]).collect();
    assert_eq!(offsets, [2, 3]);
    for (epoch, offset) in [("other", 1), (epoch.as_str(), 4), (epoch.as_str(), u64::MAX)] {
        let frames = counter.resume(epoch, offset);
        assert_eq!(frames.len(), 1);
        assert_eq!((&frames[0]["type"], &frames[0]["offset"]), (&json!("initial"), &json!(3)));
    }
}

use std::time::Duration;

use dormouse::{ErrorCode, TestObject};
use serde_json::{Value, json};

use super::*;

fn note() -> TestObject<Note> {
    TestObject::new("n1")
}

fn created() -> TestObject<Note> {
    let mut note = note();
    note.call("create", json!({"title": "Shopping", "blob": "milk"})).unwrap();
    note.take_events();
    note
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn a_note_lives_through_create_update_revert_delete() {
    let mut note = note();

    note.call("create", json!({"title": "One", "blob": "a"})).unwrap();
    note.advance(Duration::from_secs(1));
    note.call("update", json!({"blob": "b"})).unwrap();
    note.call("update", json!({"title": "Two"})).unwrap();
    let reverted = note.call("revert", json!({"version": 1})).unwrap();
    let deleted = note.call("delete", json!({})).unwrap();

    assert_eq!(
        reverted,
        json!({"id": "n1", "version": 4, "title": "One", "blob": "a",
               "createdAt": "2025-01-15T12:00:00.000Z", "updatedAt": "2025-01-15T12:00:01.000Z"})
    );
    assert_eq!(deleted, json!({"id": "n1"}));
    let events = note.take_events();
    assert_eq!(types(&events), ["create", "update", "update", "revert", "delete"]);
    assert_eq!(events[3]["data"], reverted);
    assert_eq!(note.call("get", json!({})).unwrap_err().code(), ErrorCode::NotFound);
}

#[test]
fn a_socket_that_waited_for_a_note_learns_the_epoch_from_create() {
    let mut note = note();

    let frames = note.connect();
    note.call("create", json!({"title": "x"})).unwrap();

    assert!(frames.is_empty());
    let create = &note.take_events()[0];
    assert_eq!(create["offset"], 1);
    let resumed = note.resume(create["epoch"].as_str().unwrap(), 1);
    assert_eq!((&resumed[0]["type"], &resumed[0]["replayed"]), (&json!("resumed"), &json!(0)));
}

#[test]
fn history_is_complete_newest_first_and_paged() {
    let mut note = created();
    for n in 2..=5 {
        note.call("update", json!({"blob": format!("v{n}")})).unwrap();
    }

    let first = note.call("history", json!({"limit": 3})).unwrap();
    let rest = note.call("history", json!({"limit": 3, "before": first["next"]})).unwrap();

    let versions = |page: &Value| -> Vec<u64> {
        page["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v["version"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(versions(&first), [5, 4, 3]);
    assert_eq!(versions(&rest), [2, 1]);
    assert_eq!(rest.get("next"), None);
    assert_eq!(rest["versions"][1]["blob"], "milk");
}

#[test]
fn a_page_of_large_versions_stops_at_four_mebibytes_and_goes_on() {
    let mut note = created();
    for _ in 0..6 {
        note.call("update", json!({"blob": "x".repeat(1 << 20)})).unwrap();
    }

    let mut seen = 0;
    let mut before = Value::Null;
    loop {
        let page = note.call("history", json!({"before": before})).unwrap();
        let versions = page["versions"].as_array().unwrap();
        assert!((1..=4).contains(&versions.len()));
        seen += versions.len();
        match page.get("next") {
            Some(next) => before = next.clone(),
            None => break,
        }
    }

    assert_eq!(seen, 7);
}

#[test]
fn a_stale_expected_version_is_a_conflict_that_carries_the_current_note() {
    let mut note = created();
    note.call("update", json!({"blob": "eggs", "expectedVersion": 1})).unwrap();

    let err = note.call("update", json!({"blob": "ham", "expectedVersion": 1})).unwrap_err();

    assert_eq!(err.code(), ErrorCode::Conflict);
    assert_eq!(err.data()["current"]["version"], 2);
    assert_eq!(note.call("get", json!({})).unwrap()["blob"], "eggs");
}

#[test]
fn what_cannot_be_done_changes_nothing_and_says_why() {
    let mut absent = note();
    for (method, params) in [
        ("update", json!({"blob": "x"})),
        ("revert", json!({"version": 1})),
        ("delete", json!({})),
        ("history", json!({})),
    ] {
        assert_eq!(
            absent.call(method, params).unwrap_err().code(),
            ErrorCode::NotFound,
            "{method}"
        );
    }
    assert!(!absent.has_file());

    let mut note = created();
    let mut refused = |method, params| note.call(method, params).unwrap_err();
    assert_eq!(refused("create", json!({"title": "again"})).code(), ErrorCode::Conflict);
    assert_eq!(refused("revert", json!({"version": 9})).code(), ErrorCode::NotFound);
    assert_eq!(refused("revert", json!({"version": u64::MAX})).code(), ErrorCode::NotFound);
    assert_eq!(refused("update", json!({})).message(), "give `title`, `blob` or both");
    assert!(refused("update", json!({"title": "x".repeat(201)})).message().contains("at most 200"));
    assert!(refused("update", json!({"title": "a\nb"})).message().contains("control"));
    assert!(
        refused("update", json!({"blob": "x".repeat((1 << 20) + 1)}))
            .message()
            .contains("at most 1048576")
    );
    assert_eq!(note.call("get", json!({})).unwrap()["version"], 1);
    assert!(note.take_events().is_empty());
}

#[test]
fn a_note_created_again_starts_at_version_one_while_offsets_go_on() {
    let mut note = created();
    note.call("update", json!({"blob": "b"})).unwrap();
    note.call("delete", json!({})).unwrap();
    note.crash();
    note.take_events();

    let again = note.call("create", json!({"title": "Back"})).unwrap();

    assert_eq!(again["version"], 1);
    assert_eq!(note.take_events()[0]["offset"], 4);
    assert_eq!(note.call("history", json!({})).unwrap()["versions"].as_array().unwrap().len(), 1);
}

#[test]
fn the_list_shows_notes_that_exist() {
    let mut note = created();
    let listed = note.call("list", json!({})).unwrap();
    note.call("delete", json!({})).unwrap();
    let after_delete = note.call("list", json!({})).unwrap();

    assert_eq!(
        listed["notes"],
        json!([{"id": "n1", "title": "Shopping", "version": 1, "updatedAt": "2025-01-15T12:00:00.000Z"}])
    );
    assert_eq!(after_delete, json!({"notes": []}));
}

#[test]
fn the_longest_title_fits_the_catalog() {
    for filler in ["\"", "\\", "🦔"] {
        note().call("create", json!({"title": filler.repeat(200)})).unwrap();
    }
}

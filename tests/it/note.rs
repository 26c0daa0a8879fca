//! The kind `note`: contract section 2.

use e2e::{Server, Socket};
use serde_json::{Value, json};

/// Most bytes of a blob.
const BLOB_BYTES_MAX: usize = 1 << 20;

/// A page of results stops before it holds more.
const PAGE_BYTES_MAX: usize = 4 << 20;

async fn create(server: &Server, id: &str, blob: &str) -> Value {
    let input = json!({"id": id, "title": "A title", "blob": blob});
    server.mutate("note.create", input).await.data().clone()
}

/// A socket of a note that does not exist. It is attached by the time that it has its answer: both
/// go through the note's one queue.
async fn wait_for(server: &Server, id: &str) -> Socket {
    let mut socket = server.connect(&format!("/ws/note/{id}")).await;
    socket.call("attached", "get", json!({})).await;
    assert_eq!(socket.next_of("error").await["code"], "NOT_FOUND");
    socket
}

#[tokio::test]
async fn a_note_goes_through_create_update_revert_and_delete_and_every_socket_sees_it() {
    let server = Server::start().await;
    let mut sockets = [wait_for(&server, "n").await, wait_for(&server, "n").await];
    let steps = [
        ("create", json!({"id": "n", "title": "One", "blob": "a"}), 1, "One", "a"),
        ("update", json!({"id": "n", "blob": "b"}), 2, "One", "b"),
        ("update", json!({"id": "n", "title": "Two"}), 3, "Two", "b"),
        ("update", json!({"id": "n", "title": "3", "blob": "", "expectedVersion": 3}), 4, "3", ""),
        ("revert", json!({"id": "n", "version": 1}), 5, "One", "a"),
    ];

    for (method, input, version, title, blob) in steps {
        let answer = server.mutate(&format!("note.{method}"), input).await;
        let note = answer.data();

        assert_eq!(
            note,
            &json!({"id": "n", "version": version, "title": title, "blob": blob,
                    "createdAt": note["createdAt"], "updatedAt": note["updatedAt"]})
        );
        for socket in &mut sockets {
            let event = socket.next_of(method).await;
            assert_eq!((&event["data"], &event["offset"]), (note, &json!(version)));
        }
        assert_eq!(server.query("note.get", json!({"id": "n"})).await.data(), note);
    }

    let deleted = server.mutate("note.delete", json!({"id": "n"})).await;
    assert_eq!(deleted.data(), &json!({"id": "n"}));
    for socket in &mut sockets {
        assert_eq!(socket.next_of("delete").await["data"], json!({"id": "n"}));
    }
    assert_eq!(server.query("note.get", json!({"id": "n"})).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn a_socket_gets_the_note_on_connect() {
    let server = Server::start().await;
    let note = create(&server, "n", "text").await;

    let initial = server.connect("/ws/note/n").await.next_of("initial").await;

    assert_eq!((&initial["data"], &initial["offset"]), (&note, &json!(1)));
    assert!(initial["epoch"].is_string() && initial["session"].is_string(), "{initial}");
}

#[tokio::test]
async fn a_socket_may_wait_for_a_note_and_can_resume_from_its_creation() {
    let server = Server::start().await;
    let mut waiting = wait_for(&server, "n").await;
    let pong = waiting.ping().await;

    let note = create(&server, "n", "").await;
    let created = waiting.next_of("create").await;
    drop(waiting);
    server.mutate("note.update", json!({"id": "n", "title": "B"})).await;
    let epoch = created["epoch"].as_str().unwrap();
    let mut again = server.connect(&format!("/ws/note/n?since=1&epoch={epoch}")).await;

    assert_eq!(pong["offset"], 0, "nothing was sent before the pong");
    assert_eq!((&created["data"], &created["offset"]), (&note, &json!(1)));
    let resumed = again.next_of("resumed").await;
    assert_eq!((&resumed["replayed"], &resumed["offset"]), (&json!(1), &json!(2)));
    assert_eq!(again.next_of("update").await["offset"], 2);
}

#[tokio::test]
async fn a_note_that_is_created_without_an_id_gets_a_uuid_of_version_7() {
    let server = Server::start().await;

    let first = server.mutate("note.create", json!({"title": "A"})).await.data().clone();
    let second = server.mutate("note.create", json!({"title": "B"})).await.data().clone();

    let id = first["id"].as_str().unwrap();
    let form: String = id
        .chars()
        .map(|char| if char.is_ascii_digit() || ('a'..='f').contains(&char) { 'x' } else { char })
        .collect();
    assert_eq!(form, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "{id}");
    assert_eq!(id.as_bytes()[14], b'7', "{id}");
    assert_ne!(first["id"], second["id"]);
    assert_eq!((&first["version"], &first["blob"]), (&json!(1), &json!("")));
    assert_eq!(server.query("note.get", json!({"id": id})).await.data(), &first);
}

#[tokio::test]
async fn a_stale_expected_version_is_a_conflict_with_the_current_note() {
    let server = Server::start().await;
    create(&server, "n", "a").await;
    let current =
        server.mutate("note.update", json!({"id": "n", "blob": "b"})).await.data().clone();

    let stale = json!({"id": "n", "blob": "c", "expectedVersion": 1});
    let error = server.mutate("note.update", stale).await.error();

    assert_eq!(error.code, "CONFLICT");
    assert_eq!(error.data["current"], current);
    assert_eq!(error.data["path"], "note.update");
    assert_eq!(server.query("note.get", json!({"id": "n"})).await.data(), &current);
}

#[tokio::test]
async fn of_two_updates_that_expect_the_same_version_exactly_one_wins() {
    let server = Server::start().await;
    create(&server, "n", "").await;
    let update = |blob: &str| json!({"id": "n", "blob": blob, "expectedVersion": 1});

    let (first, second) = tokio::join!(
        server.mutate("note.update", update("first")),
        server.mutate("note.update", update("second")),
    );

    let (winner, loser) = if first.is_data() { (first, second) } else { (second, first) };
    assert_eq!(loser.error().data["current"], *winner.data());
    assert_eq!(server.query("note.get", json!({"id": "n"})).await.data(), winner.data());
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let server = Server::start().await;
    let note = create(&server, "n", "a").await;
    let absent = |fields: Value| {
        let mut input = json!({"id": "absent"});
        input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        input
    };
    let refused = [
        ("create", json!({"id": "n", "title": "again"}), "CONFLICT"),
        ("update", absent(json!({"title": "x"})), "NOT_FOUND"),
        ("revert", absent(json!({"version": 1})), "NOT_FOUND"),
        ("delete", absent(json!({})), "NOT_FOUND"),
        ("get", absent(json!({})), "NOT_FOUND"),
        ("history", absent(json!({})), "NOT_FOUND"),
        ("revert", json!({"id": "n", "version": 2}), "NOT_FOUND"),
        ("revert", json!({"id": "n", "version": 0}), "NOT_FOUND"),
        ("revert", json!({"id": "n", "version": -1}), "BAD_REQUEST"),
        ("revert", json!({"id": "n"}), "BAD_REQUEST"),
        ("update", json!({"id": "n", "titel": "x"}), "BAD_REQUEST"),
        ("update", json!({"id": "n", "title": 7}), "BAD_REQUEST"),
        ("create", json!({"id": "new"}), "BAD_REQUEST"),
        ("create", json!({"id": 7, "title": "x"}), "BAD_REQUEST"),
        ("history", json!({"id": "n", "limit": 201}), "BAD_REQUEST"),
        ("list", json!({"limit": 0}), "BAD_REQUEST"),
        ("list", json!({"limit": 201}), "BAD_REQUEST"),
        ("list", json!({"id": "n"}), "BAD_REQUEST"),
    ];

    for (method, input, code) in refused {
        let error = server.mutate(&format!("note.{method}"), input.clone()).await.error();
        assert_eq!(error.code, code, "{method} {input}: {error:?}");
    }
    assert_eq!(server.query("note.get", json!({"id": "n"})).await.data(), &note);
    let listed = server.query("note.list", json!({})).await;
    assert_eq!(listed.data()["notes"].as_array().unwrap().len(), 1, "{:?}", listed.data());
}

#[tokio::test]
async fn a_blob_has_at_most_one_mebibyte_of_utf_8() {
    let server = Server::start().await;
    let most = "ü".repeat(BLOB_BYTES_MAX / 2);

    let note = create(&server, "n", &most).await;
    let too_much = json!({"id": "n", "blob": format!("{most}a")});
    let refused = server.mutate("note.update", too_much).await.error();

    assert_eq!(note["blob"].as_str(), Some(&*most));
    assert_eq!(refused.code, "BAD_REQUEST");
    assert!(refused.message.contains("blob") && refused.message.contains("1048576"), "{refused:?}");
    assert_eq!(server.query("note.get", json!({"id": "n"})).await.data()["version"], 1);
}

#[tokio::test]
async fn any_text_comes_back_as_it_was() {
    let server = Server::start().await;
    let text = "\u{0}\u{1}\t\r\n \" \\ \u{7f} \u{2028} \u{feff} 🦔 e\u{301} \u{10ffff} </script>";

    let note = create(&server, "n", text).await;
    let initial = server.connect("/ws/note/n").await.next_of("initial").await;

    assert_eq!(note["blob"].as_str(), Some(text));
    assert_eq!(initial["data"]["blob"].as_str(), Some(text));
    assert_eq!(
        server.query("note.get", json!({"id": "n"})).await.data()["blob"].as_str(),
        Some(text)
    );
}

#[tokio::test]
async fn history_keeps_every_version_and_reverting_adds_one() {
    let server = Server::start().await;
    let mut versions = vec![create(&server, "n", "v1").await];
    for version in 2..=5 {
        let input = json!({"id": "n", "blob": format!("v{version}")});
        versions.push(server.mutate("note.update", input).await.data().clone());
    }
    let revert = json!({"id": "n", "version": 2});
    versions.push(server.mutate("note.revert", revert).await.data().clone());
    versions.reverse();

    let all = server.query("note.history", json!({"id": "n"})).await;
    let first = server.query("note.history", json!({"id": "n", "limit": 4})).await;
    let rest = json!({"id": "n", "limit": 4, "before": first.data()["next"]});
    let rest = server.query("note.history", rest).await;

    assert_eq!(all.data(), &json!({"versions": versions}));
    assert_eq!(first.data()["versions"], json!(versions[..4]));
    assert_eq!(rest.data(), &json!({"versions": versions[4..]}));
    assert_eq!(versions[0]["blob"], "v2");
}

#[tokio::test]
async fn a_page_of_large_versions_stops_at_four_mebibytes_and_names_the_next() {
    let server = Server::start().await;
    let blob = "x".repeat(BLOB_BYTES_MAX);
    create(&server, "n", &blob).await;
    for _ in 2..=6 {
        server.mutate("note.update", json!({"id": "n", "blob": blob})).await.data();
    }

    let mut seen = Vec::new();
    let mut before = Value::Null;
    loop {
        let input = json!({"id": "n", "before": before});
        let answer = server.query("note.history", input).await;
        assert!(answer.response.body.len() <= PAGE_BYTES_MAX + 16 * 1024);
        let page = answer.data();
        seen.extend(
            page["versions"].as_array().unwrap().iter().map(|note| note["version"].clone()),
        );
        match page.get("next") {
            Some(next) => before = next.clone(),
            None => break,
        }
    }

    assert_eq!(json!(seen), json!([6, 5, 4, 3, 2, 1]));
}

#[tokio::test]
async fn a_list_shows_every_note_as_it_is_right_after_each_change() {
    let server = Server::start().await;
    let list = async || server.query("note.list", json!({})).await.data()["notes"].clone();
    let entry = |note: &Value| {
        json!({"id": note["id"], "title": note["title"], "version": note["version"],
               "updatedAt": note["updatedAt"]})
    };

    let b = create(&server, "b", "").await;
    let a = create(&server, "a", "").await;
    assert_eq!(list().await, json!([entry(&a), entry(&b)]));

    let update = json!({"id": "a", "title": "New title"});
    let a = server.mutate("note.update", update).await.data().clone();
    assert_eq!(list().await, json!([entry(&a), entry(&b)]));

    server.mutate("note.delete", json!({"id": "a"})).await.data();
    assert_eq!(list().await, json!([entry(&b)]));
}

#[tokio::test]
async fn a_list_is_paged_by_id() {
    let server = Server::start().await;
    for id in ["d", "a", "e", "c", "b"] {
        create(&server, id, "").await;
    }

    let mut pages = Vec::new();
    let mut after = Value::Null;
    loop {
        let page = server.query("note.list", json!({"limit": 2, "after": after})).await;
        let notes = page.data()["notes"].as_array().unwrap().clone();
        pages.push(notes.iter().map(|note| note["id"].clone()).collect::<Vec<_>>());
        match page.data().get("next") {
            Some(next) => after = next.clone(),
            None => break,
        }
    }

    assert_eq!(json!(pages), json!([["a", "b"], ["c", "d"], ["e"]]));
}

#[tokio::test]
async fn a_note_that_is_created_again_starts_over_while_its_offsets_go_on() {
    let server = Server::start().await;
    create(&server, "n", "old").await;
    server.mutate("note.update", json!({"id": "n", "blob": "older"})).await.data();
    server.mutate("note.delete", json!({"id": "n"})).await.data();
    let mut socket = wait_for(&server, "n").await;

    let again = create(&server, "n", "new").await;
    let event = socket.next_of("create").await;

    assert_eq!(again["version"], 1);
    assert_eq!(event["offset"], 4);
    let history = server.query("note.history", json!({"id": "n"})).await;
    assert_eq!(history.data(), &json!({"versions": [again]}));
}

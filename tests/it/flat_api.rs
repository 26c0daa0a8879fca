//! The notes' flat names under `/api/v1`: contract section 1.

use e2e::{Answer, Request, Server, percent_encode};
use serde_json::{Value, json};

async fn mutate(server: &Server, name: &str, input: &Value) -> Answer {
    server.answer(&Request::post_json(format!("/api/v1/{name}"), input.to_string())).await
}

async fn query(server: &Server, name: &str, input: &Value) -> Answer {
    let input = percent_encode(&input.to_string());
    server.answer(&Request::get(format!("/api/v1/{name}?input={input}"))).await
}

#[tokio::test]
async fn the_seven_flat_names_are_the_methods_of_notes() {
    let server = Server::start().await;

    let created =
        mutate(&server, "createNote", &json!({"id": "n", "title": "A", "blob": "a"})).await;
    let updated = mutate(&server, "updateNote", &json!({"id": "n", "blob": "b"})).await;
    let reverted = mutate(&server, "revertNote", &json!({"id": "n", "version": 1})).await;
    let got = query(&server, "getNote", &json!({"id": "n"})).await;
    let history = query(&server, "getNoteHistory", &json!({"id": "n"})).await;
    let listed = query(&server, "listNotes", &json!({})).await;
    let deleted = mutate(&server, "deleteNote", &json!({"id": "n"})).await;

    assert_eq!(created.data()["version"], 1);
    assert_eq!(updated.data()["version"], 2);
    assert_eq!(got.data(), reverted.data());
    let versions = json!([reverted.data(), updated.data(), created.data()]);
    assert_eq!(history.data(), &json!({"versions": versions}));
    assert_eq!(listed.data()["notes"][0]["id"], "n");
    assert_eq!(deleted.data(), &json!({"id": "n"}));
}

#[tokio::test]
async fn both_addresses_reach_the_same_note() {
    let server = Server::start().await;

    let created = mutate(&server, "createNote", &json!({"id": "n", "title": "A"})).await;

    assert_eq!(server.query("note.get", json!({"id": "n"})).await.data(), created.data());
}

#[tokio::test]
async fn flat_names_are_batched_like_any_other() {
    let server = Server::start().await;

    let inputs = json!({"0": {"id": "n", "title": "A"}, "1": {"id": "absent"}});
    let request = Request::post_json("/api/v1/createNote,getNote?batch=1", inputs.to_string());
    let (status, envelopes) = server.batch(&request).await;

    assert_eq!(status, 207);
    assert_eq!(envelopes[0].data()["id"], "n");
    assert_eq!(envelopes[1].error().data["path"], "getNote");
}

#[tokio::test]
async fn every_error_under_the_flat_names_is_an_envelope() {
    let server = Server::start().await;

    let unknown = mutate(&server, "paintNote", &json!({})).await.error();
    let over_get = server.answer(&Request::get("/api/v1/createNote")).await;
    let unparsable = server.answer(&Request::post_json("/api/v1/createNote", "{")).await;
    let absent = query(&server, "getNote", &json!({"id": "absent"})).await.error();

    assert_eq!(unknown.code, "NOT_FOUND");
    assert_eq!(unknown.message, "No procedure found on path \"paintNote\"");
    assert_eq!(over_get.code(), "METHOD_NOT_SUPPORTED");
    assert_eq!(unparsable.code(), "PARSE_ERROR");
    assert_eq!(absent.data["path"], "getNote");
}

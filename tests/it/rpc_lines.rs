//! Batches that are answered line by line, as tRPC's `httpBatchStreamLink` asks for.

use e2e::{Envelope, Request, Response, Server};
use serde_json::{Value, json};

fn lines_of(paths: &str, inputs: &Value) -> Request {
    Request::post_json(format!("{paths}?batch=1"), inputs.to_string())
        .header("trpc-accept", "application/jsonl")
}

/// The head, and each line with the call it answers.
fn read(response: &Response) -> (Value, Vec<(u64, Envelope)>) {
    let text = String::from_utf8(response.body.to_vec()).expect("lines are UTF-8");
    assert!(text.ends_with('\n'), "{text:?}");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let head = lines.next().expect("there is a head");
    let answers = lines.map(|line| {
        assert_eq!((&line[1], line.as_array().map(Vec::len)), (&json!(0), Some(3)), "{line}");
        (line[0].as_u64().expect("a number"), Envelope::new(line[2][0][0].clone()))
    });
    (head, answers.collect())
}

#[tokio::test]
async fn every_call_has_a_line_whatever_becomes_of_it() {
    let server = Server::start().await;

    for prefix in [
        "/rpc/note.create,/rpc/note.get".replace(",/rpc/", ","),
        "/api/v1/createNote,getNote".to_owned(),
    ] {
        let inputs = json!({"0": {"title": "T"}, "1": {"id": "absent"}});
        let response = server.send(&lines_of(&prefix, &inputs)).await;

        assert_eq!(
            (response.status, response.header("content-type")),
            (200, Some("application/json"))
        );
        assert_eq!(response.header("content-length"), None);
        let (head, mut answers) = read(&response);
        assert_eq!(head, json!({"0": [[0], [null, 0, 0]], "1": [[0], [null, 0, 1]]}));
        answers.sort_by_key(|(call, _)| *call);
        assert_eq!(answers.iter().map(|(call, _)| *call).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(answers[0].1.data()["title"], "T");
        assert_eq!(answers[1].1.error().code, "NOT_FOUND");
    }
}

#[tokio::test]
async fn a_slow_call_holds_back_no_other() {
    let server = Server::builder().program(env!("CARGO_BIN_EXE_misbehaving-server")).start().await;

    // The first runs until its time is over; the second needs no object.
    let inputs = json!({"0": {"id": "a"}, "1": {}});
    let response = server.send(&lines_of("/rpc/faulty.queryForEver,note.list", &inputs)).await;

    let (_, answers) = read(&response);
    let order: Vec<u64> = answers.iter().map(|(call, _)| *call).collect();
    assert_eq!(order, [1, 0]);
    assert_eq!(answers[1].1.error().code, "TIMEOUT");
}

#[tokio::test]
async fn what_is_wrong_with_the_whole_request_is_one_answer_in_one_piece() {
    let server = Server::start().await;
    let paths = vec!["counter.increment"; 101].join(",");

    let alone = Request::post_json("/rpc/counter.increment", r#"{"name":"a"}"#)
        .header("trpc-accept", "application/jsonl");
    let alone = server.answer(&alone).await;
    let too_many = server.send(&lines_of(&format!("/rpc/{paths}"), &json!({}))).await;

    assert_eq!(alone.code(), "BAD_REQUEST");
    assert_eq!(
        (too_many.status, too_many.json()["error"]["data"]["code"].as_str()),
        (400, Some("BAD_REQUEST"))
    );
}

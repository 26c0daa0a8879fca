//! Batches on the tRPC wire: contract section 7.

use e2e::{Answer, Request, Server, percent_encode};
use serde_json::{Value, json};

/// Most calls in one batch.
const CALLS_MAX: usize = 100;

fn post(paths: &str, inputs: &Value) -> Request {
    Request::post_json(format!("/rpc/{paths}?batch=1"), inputs.to_string())
}

#[tokio::test]
async fn a_batch_is_answered_in_call_order() {
    let server = Server::start().await;

    let inputs = json!({"0": {"name": "a", "amount": 5}, "1": {"name": "b"}, "2": {"name": "c", "value": 7}});
    let paths = "counter.increment,counter.decrement,counter.setValue";
    let (status, envelopes) = server.batch(&post(paths, &inputs)).await;

    assert_eq!(status, 200);
    let values: Vec<&Value> = envelopes.iter().map(|envelope| &envelope.data()["value"]).collect();
    assert_eq!(json!(values), json!([5, -1, 7]));
}

#[tokio::test]
async fn calls_of_a_batch_on_one_object_run_in_their_order() {
    let server = Server::start().await;
    let paths = ["counter.increment"; 10].join(",");
    let inputs: Value = (0..10).map(|n| (n.to_string(), json!({"name": "a"}))).collect();

    let (_, envelopes) = server.batch(&post(&paths, &inputs)).await;

    let values: Vec<&Value> = envelopes.iter().map(|envelope| &envelope.data()["value"]).collect();
    assert_eq!(json!(values), json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
}

#[tokio::test]
async fn a_batch_of_one_call_is_a_batch() {
    let server = Server::start().await;

    let (status, envelopes) =
        server.batch(&post("counter.increment", &json!({"0": {"name": "a"}}))).await;

    assert_eq!((status, envelopes.len()), (200, 1));
    assert_eq!(envelopes[0].data()["value"], 1);
}

#[tokio::test]
async fn queries_are_batched_in_the_address() {
    let server = Server::start().await;
    server.mutate("counter.increment", json!({"name": "b"})).await;
    let inputs = percent_encode(&json!({"0": {"name": "a"}, "1": {"name": "b"}}).to_string());

    for comma in [",", "%2C", "%2c"] {
        let target = format!("/rpc/counter.getValue{comma}counter.getValue?batch=1&input={inputs}");
        let (status, envelopes) = server.batch(&Request::get(target)).await;

        assert_eq!((status, envelopes.len()), (200, 2), "{comma}");
        assert_eq!(envelopes[1].data(), &json!({"value": 1}));
    }
}

#[tokio::test]
async fn inputs_that_are_left_out_are_none() {
    let server = Server::start().await;

    let by_get = Request::get("/rpc/note.list,note.list?batch=1");
    let by_post = post("note.list,counter.getValue", &json!({"1": {"name": "a"}}));
    let by_empty_post = Request::post_json("/rpc/note.list,note.list?batch=1", "");

    for request in [by_get, by_post, by_empty_post] {
        let (status, envelopes) = server.batch(&request).await;
        assert_eq!((status, envelopes.len()), (200, 2));
        assert_eq!(envelopes[0].data(), &json!({"notes": []}));
    }
}

#[tokio::test]
async fn a_batch_with_different_outcomes_is_207_and_each_call_has_its_own() {
    let server = Server::start().await;

    let inputs = json!({"0": {"name": "a"}, "1": {"id": "absent"}, "2": {"name": 7}, "3": {}});
    let paths = "counter.increment,note.get,counter.increment,bird.fly";
    let (status, envelopes) = server.batch(&post(paths, &inputs)).await;

    assert_eq!(status, 207);
    assert_eq!(envelopes[0].data()["value"], 1);
    let codes: Vec<String> = envelopes[1..].iter().map(|envelope| envelope.error().code).collect();
    assert_eq!(codes, ["NOT_FOUND", "BAD_REQUEST", "NOT_FOUND"]);
    assert_eq!(envelopes[3].error().data["path"], "bird.fly");
}

#[tokio::test]
async fn a_batch_whose_calls_all_fail_alike_has_their_status() {
    let server = Server::start().await;

    let inputs = json!({"0": {"id": "x"}, "1": {"id": "y"}});
    let (status, envelopes) = server.batch(&post("note.get,note.get", &inputs)).await;

    assert_eq!(status, 404);
    assert!(envelopes.iter().all(|envelope| envelope.error().code == "NOT_FOUND"));
}

#[tokio::test]
async fn a_mutation_in_a_batch_over_get_is_refused_alone() {
    let server = Server::start().await;
    let inputs = percent_encode(&json!({"0": {"name": "a"}, "1": {"name": "a"}}).to_string());

    let target = format!("/rpc/counter.getValue,counter.increment?batch=1&input={inputs}");
    let (status, envelopes) = server.batch(&Request::get(target)).await;

    assert_eq!(status, 207);
    assert_eq!(envelopes[0].data(), &json!({"value": 0}));
    assert_eq!(envelopes[1].error().code, "METHOD_NOT_SUPPORTED");
    assert_eq!(server.query("counter.getValue", json!({"name": "a"})).await.data()["value"], 0);
}

#[tokio::test]
async fn a_hundred_calls_are_taken_and_one_more_is_refused_as_a_whole() {
    let server = Server::start().await;
    let request = |calls: usize| {
        let inputs: Value = (0..calls).map(|n| (n.to_string(), json!({"name": "a"}))).collect();
        post(&vec!["counter.increment"; calls].join(","), &inputs)
    };

    let (status, envelopes) = server.batch(&request(CALLS_MAX)).await;
    let too_many = server.send(&request(CALLS_MAX + 1)).await;

    assert_eq!((status, envelopes.len()), (200, CALLS_MAX));
    assert_eq!(too_many.status, 400);
    assert!(
        too_many.text().contains("BAD_REQUEST") && too_many.text().contains("100"),
        "{too_many:?}"
    );
    let value =
        server.query("counter.getValue", json!({"name": "a"})).await.data()["value"].clone();
    assert_eq!(value, CALLS_MAX);
}

#[tokio::test]
async fn inputs_that_are_no_json_object_fail_every_call() {
    let mut server = Server::start().await;

    for (body, code) in
        [("{", "PARSE_ERROR"), ("[{\"name\":\"a\"}]", "BAD_REQUEST"), ("7", "BAD_REQUEST")]
    {
        let request = Request::post_json("/rpc/counter.increment,counter.increment?batch=1", body);
        let (status, envelopes) = server.batch(&request).await;

        assert_eq!((status, envelopes.len()), (400, 2), "{body}");
        assert!(envelopes.iter().all(|envelope| envelope.error().code == code), "{body}");
    }
    assert_eq!(server.files_once_stopped().await, Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_comma_without_batch_is_part_of_the_path() {
    let server = Server::start().await;

    let request = Request::post_json("/rpc/counter.increment,counter.increment", r#"{"name":"a"}"#);
    let answer = Answer::new(server.send(&request).await);

    assert_eq!(answer.code(), "NOT_FOUND");
}

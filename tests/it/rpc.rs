//! One call on the tRPC wire: contract section 7 without batches.

use e2e::{Answer, Request, Server, percent_encode};
use serde_json::json;

/// Most bytes of a body.
const BODY_BYTES_MAX: usize = 8 << 20;

#[tokio::test]
async fn a_query_is_a_get_with_its_input_in_the_address() {
    let server = Server::start().await;
    server.mutate("counter.setValue", json!({"name": "a b", "value": 3})).await;

    let input = percent_encode(r#"{"name":"a b"}"#);
    let answer = server.answer(&Request::get(format!("/rpc/counter.getValue?input={input}"))).await;

    assert_eq!(answer.response.json(), json!({"result": {"data": {"value": 3}}}));
    assert!(answer.response.header("content-type").unwrap().starts_with("application/json"));
}

#[tokio::test]
async fn a_query_may_come_by_post_too() {
    let server = Server::start().await;

    let request = Request::post_json("/rpc/counter.getValue", r#"{"name":"a"}"#);

    assert_eq!(server.answer(&request).await.data(), &json!({"value": 0}));
}

#[tokio::test]
async fn a_query_without_input_needs_none() {
    let server = Server::start().await;

    let by_get = server.answer(&Request::get("/rpc/note.list")).await;
    let by_post = server.answer(&Request::post_json("/rpc/note.list", "")).await;

    assert_eq!(by_get.data(), &json!({"notes": []}));
    assert_eq!(by_post.data(), &json!({"notes": []}));
}

#[tokio::test]
async fn a_mutation_is_a_post_with_its_input_as_the_body() {
    let server = Server::start().await;

    let request = Request::post_json("/rpc/counter.increment", r#"{"name":"a","amount":2}"#);

    assert_eq!(server.answer(&request).await.data()["value"], 2);
}

#[tokio::test]
async fn a_mutation_without_input_has_an_empty_body_that_counts_as_an_empty_object() {
    let server = Server::start().await;

    let error = server.answer(&Request::post_json("/rpc/counter.increment", "")).await.error();

    assert_eq!(error.code, "BAD_REQUEST");
    assert!(error.message.contains("name"), "it is the missing field that is wrong: {error:?}");
}

#[tokio::test]
async fn a_mutation_over_get_is_not_supported_and_changes_nothing() {
    let server = Server::start().await;

    let input = percent_encode(r#"{"name":"a"}"#);
    let get = Request::get(format!("/rpc/counter.increment?input={input}"));
    let answer = server.answer(&get).await;

    assert_eq!((answer.response.status, answer.code()), (405, "METHOD_NOT_SUPPORTED".to_owned()));
    assert_eq!(server.query("counter.getValue", json!({"name": "a"})).await.data()["value"], 0);
}

#[tokio::test]
async fn other_methods_than_get_and_post_are_not_supported() {
    let server = Server::start().await;

    for method in ["PUT", "DELETE", "PATCH"] {
        let answer = server.answer(&Request::new(method, "/rpc/counter.increment")).await;
        assert_eq!(answer.code(), "METHOD_NOT_SUPPORTED", "{method}");
    }
}

#[tokio::test]
async fn an_unknown_procedure_is_not_found_in_the_words_of_trpc() {
    let server = Server::start().await;

    for path in
        ["counter.fly", "bird.fly", "counter", "", "counter.increment.more", "Counter.increment"]
    {
        let error = server.answer(&Request::post_json(format!("/rpc/{path}"), "{}")).await.error();

        assert_eq!(error.code, "NOT_FOUND", "{path}");
        assert_eq!(error.message, format!("No procedure found on path \"{path}\""));
        assert_eq!(error.data["path"], path);
    }
}

#[tokio::test]
async fn an_error_names_its_path() {
    let server = Server::start().await;

    let error = server.query("note.get", json!({"id": "absent"})).await.error();

    assert_eq!(error.data, json!({"code": "NOT_FOUND", "httpStatus": 404, "path": "note.get"}));
}

#[tokio::test]
async fn input_that_is_not_json_is_a_parse_error() {
    let server = Server::start().await;

    for text in
        ["{", "{\"name\":\"a\"", "name=a", "{'name':'a'}", "{\"name\":\"a\"} x", "\u{feff}{}"]
    {
        let posted = server.answer(&Request::post_json("/rpc/counter.increment", text)).await;
        let encoded = percent_encode(text);
        let got =
            server.answer(&Request::get(format!("/rpc/counter.getValue?input={encoded}"))).await;

        assert_eq!(
            (posted.code(), got.code()),
            ("PARSE_ERROR".into(), "PARSE_ERROR".into()),
            "{text}"
        );
    }
}

#[tokio::test]
async fn input_that_is_not_utf_8_is_a_parse_error() {
    let server = Server::start().await;

    let body = b"{\"name\":\"\xff\xfe\"}".to_vec();
    let answer = server.answer(&Request::post_json("/rpc/counter.increment", body)).await;

    assert_eq!(answer.code(), "PARSE_ERROR");
}

#[tokio::test]
async fn input_that_is_nested_too_deeply_is_refused_and_the_server_lives() {
    let server = Server::start().await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));

    for depth in [65, 10_000, 2_000_000] {
        let answer =
            server.answer(&Request::post_json("/rpc/counter.increment", nested(depth))).await;
        assert!(matches!(&*answer.code(), "BAD_REQUEST" | "PARSE_ERROR"), "{depth}");
    }
    assert!(server.query("counter.getValue", json!({"name": "a"})).await.is_data());
}

#[tokio::test]
async fn a_body_that_does_not_say_that_it_is_json_is_an_unsupported_media_type() {
    let server = Server::start().await;
    let body = r#"{"name":"a"}"#;
    let post = || Request::new("POST", "/rpc/counter.increment").body(body);

    let missing = server.answer(&post()).await;
    let mut others = Vec::new();
    for content_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    {
        others.push(server.answer(&post().header("Content-Type", content_type)).await);
    }
    let with_charset = post().header("Content-Type", "application/json; charset=utf-8");

    assert_eq!(missing.code(), "UNSUPPORTED_MEDIA_TYPE");
    assert!(others.iter().all(|answer| answer.code() == "UNSUPPORTED_MEDIA_TYPE"));
    assert_eq!(server.answer(&with_charset).await.data()["value"], 1, "the others changed nothing");
}

#[tokio::test]
async fn a_body_of_eight_mebibytes_is_read_and_a_larger_one_is_too_large() {
    let server = Server::start().await;
    let body = |bytes: usize| {
        let filler = "x".repeat(bytes - r#"{"id":"n","title":""}"#.len());
        Request::post_json("/rpc/note.create", format!(r#"{{"id":"n","title":"{filler}"}}"#))
    };

    let most = server.answer(&body(BODY_BYTES_MAX)).await;
    let more = server.answer(&body(BODY_BYTES_MAX + 1)).await;

    assert_eq!(most.code(), "BAD_REQUEST", "it was read: the title is too long");
    assert_eq!((more.response.status, more.code()), (413, "PAYLOAD_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_still_learns_that_it_was_too_much() {
    let server = Server::start().await;
    let mut connection = server.connection().await;

    let request = Request::post_json("/rpc/note.create", vec![b' '; 4 * BODY_BYTES_MAX]);
    connection.write(&request.to_bytes(server.address())).await.unwrap();

    let answer = Answer::new(connection.read().await.unwrap());
    assert_eq!(answer.code(), "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_body_whose_announced_length_is_too_large_is_refused_at_once() {
    let server = Server::start().await;
    let mut connection = server.connection().await;

    let head = format!(
        "POST /rpc/note.create HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 99999999999\r\n\r\n{{",
        server.address()
    );
    connection.write(head.as_bytes()).await.unwrap();

    let answer = Answer::new(connection.read().await.unwrap());
    assert_eq!(answer.code(), "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_chunked_body_is_read_like_any_other() {
    let server = Server::start().await;

    let request = Request::new("POST", "/rpc/counter.increment")
        .header("Content-Type", "application/json")
        .header("Transfer-Encoding", "chunked")
        .body("5\r\n{\"nam\r\n7\r\ne\":\"a\"}\r\n0\r\n\r\n");

    assert_eq!(server.answer(&request).await.data()["value"], 1);
}

#[tokio::test]
async fn calls_over_one_connection_are_answered_one_after_the_other() {
    let server = Server::start().await;
    let mut connection = server.connection().await;
    let call = Request::post_json("/rpc/counter.increment", r#"{"name":"a"}"#);

    let mut pipelined = call.to_bytes(server.address());
    pipelined.extend(call.to_bytes(server.address()));
    connection.write(&pipelined).await.unwrap();
    let first = Answer::new(connection.read().await.unwrap());
    let second = Answer::new(connection.read().await.unwrap());

    assert_eq!((&first.data()["value"], &second.data()["value"]), (&json!(1), &json!(2)));
}

#[tokio::test]
async fn parameters_that_others_add_to_an_address_are_ignored() {
    let server = Server::start().await;

    let input = percent_encode(r#"{"name":"a"}"#);
    let target = format!("/rpc/counter.getValue?utm_source=x&input={input}&batch=0&%zz=%");

    assert_eq!(server.answer(&Request::get(target)).await.data(), &json!({"value": 0}));
}

#[tokio::test]
async fn no_answer_tells_how_the_server_is_made() {
    let server = Server::start().await;

    for request in [
        Request::post_json("/rpc/counter.increment", "{"),
        Request::post_json("/rpc/counter.increment", r#"{"name":"a","amount":{}}"#),
        Request::get("/rpc/none"),
        Request::get("/nowhere"),
        Request::get("/ws/counter/a"),
    ] {
        let response = server.send(&request).await;
        let text = response.text().to_lowercase();
        for word in ["sqlite", "panicked", ".rs:", "/src/", "actix", "struct ", "serde"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
        assert_eq!(response.header("server"), None);
    }
}

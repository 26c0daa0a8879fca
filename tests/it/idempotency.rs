//! Mutations with a key: contract section 7 (`Idempotency-Key`) and section 8 (`key`, `replayed`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use e2e::{Answer, Connection, Request, Server, Socket};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Longest key.
const KEY_CHARS_MAX: usize = 255;

fn keyed(path: &str, input: &Value, key: &str) -> Request {
    Request::post_json(format!("/rpc/{path}"), input.to_string()).header("Idempotency-Key", key)
}

fn increment(key: &str) -> Request {
    keyed("counter.increment", &json!({"name": "a"}), key)
}

fn is_replay(answer: &Answer) -> bool {
    match answer.response.header("idempotent-replay") {
        None => false,
        Some("true") => true,
        Some(other) => panic!("{other:?} is not in the contract"),
    }
}

async fn value(server: &Server, name: &str) -> Value {
    server.query("counter.getValue", json!({"name": name})).await.data()["value"].clone()
}

/// Calls over a socket with a key.
async fn call(socket: &mut Socket, id: u64, method: &str, key: &str) {
    socket.send(&json!({"type": "call", "id": id, "method": method, "key": key})).await;
}

#[tokio::test]
async fn a_repeated_mutation_is_answered_byte_for_byte_and_happens_once() {
    let server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;

    let first = server.answer(&increment("k")).await;
    let other = server.answer(&increment("l")).await;
    let appended = server.metric("dormouse_journal_appended_position").await;
    let again = server.answer(&increment("k")).await;

    assert!(!is_replay(&first) && !is_replay(&other) && is_replay(&again));
    assert_eq!(again.response.body, first.response.body);
    assert_eq!(server.metric("dormouse_journal_appended_position").await, appended);
    assert_eq!(value(&server, "a").await, 2);
    for expected in [1, 2] {
        assert_eq!(socket.next_of("increment").await["value"], expected);
    }
    assert_eq!(socket.ping().await["offset"], 2, "the replay told nobody");
}

#[tokio::test]
async fn a_mutation_without_a_key_happens_each_time() {
    let server = Server::start().await;

    for expected in 1..=3 {
        let answer = server.mutate("counter.increment", json!({"name": "a"})).await;
        assert_eq!(answer.data()["value"], expected);
        assert!(!is_replay(&answer));
    }
}

#[tokio::test]
async fn another_input_under_the_same_key_is_a_conflict_that_changes_nothing() {
    let server = Server::start().await;
    let request = |text: &str| {
        Request::post_json("/rpc/counter.increment", text).header("Idempotency-Key", "k")
    };
    server.answer(&request(r#"{"name":"a","amount":2}"#)).await.data();

    let other = server.answer(&request(r#"{"name":"a","amount":3}"#)).await;
    let same = server.answer(&request(r#" { "amount" : 2, "name" : "a" } "#)).await;

    assert_eq!((other.code(), is_replay(&other)), ("CONFLICT".to_owned(), false));
    assert!(is_replay(&same), "how the input is written does not matter");
    assert_eq!(value(&server, "a").await, 2);
}

#[tokio::test]
async fn the_same_key_on_another_object_or_method_is_another_key() {
    let server = Server::start().await;
    server.answer(&increment("k")).await.data();

    let object = server.answer(&keyed("counter.increment", &json!({"name": "b"}), "k")).await;
    let method = server.answer(&keyed("counter.decrement", &json!({"name": "a"}), "k")).await;

    assert!(!is_replay(&object) && !is_replay(&method));
    assert_eq!((value(&server, "a").await, value(&server, "b").await), (json!(0), json!(1)));
}

#[tokio::test]
async fn a_refusal_is_not_recorded() {
    let server = Server::start().await;
    let update = keyed("note.update", &json!({"id": "n", "title": "U"}), "k");

    for _ in 0..2 {
        let refused = server.answer(&update).await;
        assert_eq!((refused.code(), is_replay(&refused)), ("NOT_FOUND".to_owned(), false));
    }
    server.mutate("note.create", json!({"id": "n", "title": "T"})).await.data();
    let updated = server.answer(&update).await;

    assert_eq!((&updated.data()["version"], is_replay(&updated)), (&json!(2), false));
    assert!(is_replay(&server.answer(&update).await));
}

#[tokio::test]
async fn a_key_is_one_to_255_visible_ascii_characters() {
    let server = Server::start().await;
    let longest = "k".repeat(KEY_CHARS_MAX);

    for wrong in ["", "a b", "a\tb", "ö", &format!("{longest}k")] {
        let answer = server.answer(&increment(wrong)).await;
        assert_eq!(answer.code(), "BAD_REQUEST", "{wrong:?}");
        assert!(answer.error().message.contains("visible ASCII"), "{:?}", answer.error());
    }
    let twice = server.answer(&increment("a").header("Idempotency-Key", "b")).await;
    assert_eq!(twice.code(), "BAD_REQUEST");
    assert_eq!(value(&server, "a").await, 0);
    for right in ["!", "\"quoted\"", "a,b;c=~", &longest] {
        assert!(!is_replay(&server.answer(&increment(right)).await), "{right:?}");
        assert!(is_replay(&server.answer(&increment(right)).await), "{right:?}");
    }
}

#[tokio::test]
async fn queries_ignore_the_key() {
    let server = Server::start().await;
    let posted = || keyed("counter.getValue", &json!({"name": "a"}), "k");
    let got = || {
        Request::get("/rpc/counter.getValue?input=%7B%22name%22%3A%22a%22%7D")
            .header("Idempotency-Key", "k")
    };

    for expected in 0..3 {
        for request in [posted(), got()] {
            let answer = server.answer(&request).await;
            assert_eq!((&answer.data()["value"], is_replay(&answer)), (&json!(expected), false));
        }
        server.answer(&increment(&expected.to_string())).await.data();
    }
}

#[tokio::test]
async fn a_repeated_creation_without_an_id_finds_the_note_that_it_made() {
    let server = Server::start().await;
    let create = keyed("note.create", &json!({"title": "T"}), "k");
    let flat =
        Request::post_json("/api/v1/createNote", r#"{"title":"T"}"#).header("Idempotency-Key", "k");

    let first = server.answer(&create).await;
    let again = server.answer(&create).await;
    let by_flat_name = server.answer(&flat).await;
    let with_other_key = server.answer(&keyed("note.create", &json!({"title": "T"}), "l")).await;

    let id = first.data()["id"].as_str().unwrap();
    assert_eq!((id.len(), &id[14..15]), (36, "8"), "a UUIDv8");
    assert_eq!(again.response.body, first.response.body);
    assert_eq!(by_flat_name.response.body, first.response.body);
    assert!(is_replay(&again) && is_replay(&by_flat_name) && !is_replay(&with_other_key));
    assert_ne!(with_other_key.data()["id"], id);
    let listed = server.query("note.list", json!({})).await.data()["notes"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_replay_is_the_first_answer_also_when_the_object_has_moved_on() {
    let server = Server::start().await;
    let create = keyed("note.create", &json!({"title": "T"}), "k");
    let first = server.answer(&create).await;
    let id = first.data()["id"].clone();

    server.mutate("note.update", json!({"id": id, "title": "U"})).await.data();
    assert_eq!(server.answer(&create).await.response.body, first.response.body);
    server.mutate("note.delete", json!({"id": id})).await.data();
    assert_eq!(server.answer(&create).await.response.body, first.response.body);

    assert_eq!(server.query("note.get", json!({"id": id})).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn in_a_batch_each_call_has_its_own_key_and_the_header_needs_all_of_them() {
    let server = Server::start().await;
    let batch =
        |paths: &str, inputs: Value, key: &str| keyed(&format!("{paths}?batch=1"), &inputs, key);
    let notes =
        batch("note.create,note.create", json!({"0": {"title": "T"}, "1": {"title": "T"}}), "k");

    let first = server.send(&notes).await;
    let again = server.send(&notes).await;
    let single = server.answer(&keyed("note.create", &json!({"title": "T"}), "k/1")).await;
    let longer = server
        .send(&batch(
            "note.create,note.create,note.create",
            json!({"0": {"title": "T"}, "1": {"title": "T"}, "2": {"title": "T"}}),
            "k",
        ))
        .await;
    let with_query =
        server.send(&batch("note.create,note.list", json!({"0": {"title": "T"}}), "k")).await;

    let ids = |response: &e2e::Response| -> Vec<Value> {
        let answers = response.json();
        answers
            .as_array()
            .unwrap()
            .iter()
            .map(|answer| answer["result"]["data"]["id"].clone())
            .collect()
    };
    assert_ne!(ids(&first)[0], ids(&first)[1]);
    assert_eq!(first.header("idempotent-replay"), None);
    assert_eq!((again.header("idempotent-replay"), &again.body), (Some("true"), &first.body));
    assert!(is_replay(&single));
    assert_eq!(single.data()["id"], ids(&first)[1]);
    assert_eq!(longer.header("idempotent-replay"), None, "its third call is new");
    assert_eq!(ids(&longer)[..2], ids(&first));
    assert_eq!(with_query.header("idempotent-replay"), None, "a query is no replay");
    assert_eq!(
        server.query("note.list", json!({})).await.data()["notes"].as_array().unwrap().len(),
        3
    );
}

#[tokio::test]
async fn a_call_with_a_key_over_a_socket_is_replayed_there_and_over_http() {
    let server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;

    call(&mut socket, 1, "increment", "k").await;
    let event = socket.next_of("increment").await;
    let first = socket.next_of("result").await;
    call(&mut socket, 2, "increment", "k").await;
    let again = socket.next_of("result").await;
    let over_http = server.answer(&increment("k")).await;
    call(&mut socket, 3, "getValue", "k").await;
    let query = socket.next_of("result").await;

    assert_eq!(first, json!({"type": "result", "id": 1, "data": first["data"]}));
    assert_eq!(again, json!({"type": "result", "id": 2, "data": first["data"], "replayed": true}));
    assert!(is_replay(&over_http));
    assert_eq!(over_http.data(), &first["data"]);
    assert_eq!(query, json!({"type": "result", "id": 3, "data": {"value": 1}}));
    assert_eq!((&event["offset"], &socket.ping().await["offset"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_wrong_key_over_a_socket_is_an_error_of_the_call_and_the_socket_stays() {
    let server = Server::start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;

    for key in
        [json!(""), json!("a b"), json!("k".repeat(KEY_CHARS_MAX + 1)), json!(7), json!(["k"])]
    {
        socket.send(&json!({"type": "call", "id": 9, "method": "increment", "key": key})).await;
        let error = socket.next_of("error").await;
        assert_eq!((&error["id"], &error["code"]), (&json!(9), &json!("BAD_REQUEST")), "{key}");
    }
    socket
        .send(&json!({"type": "call", "id": 1, "method": "increment", "params": {"amount": 1}, "key": "k"}))
        .await;
    socket.next_of("increment").await;
    socket.next_of("result").await;
    call(&mut socket, 2, "increment", "k").await;

    assert_eq!(socket.next_of("error").await["code"], "CONFLICT", "the inputs differ");
    assert_eq!(value(&server, "a").await, 1);
}

#[tokio::test]
async fn of_many_equal_calls_at_the_same_time_one_happens() {
    const CALLS: usize = 20;
    let server = Arc::new(Server::start().await);

    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.answer(&increment("k")).await })
        })
        .collect();
    let mut replays = 0;
    for call in calls {
        let answer = call.await.unwrap();
        assert_eq!(answer.data()["value"], 1);
        replays += usize::from(is_replay(&answer));
    }

    assert_eq!(replays, CALLS - 1);
    assert_eq!(value(&server, "a").await, 1);
}

#[tokio::test]
async fn an_answer_survives_hibernation_kill_nine_and_a_stop() {
    let mut server = Server::builder().flag("--idle-timeout", "50ms").start().await;
    let create = keyed("note.create", &json!({"title": "T", "blob": "b".repeat(5_000)}), "k");
    let first = server.answer(&create).await;
    let count = server.answer(&increment("k")).await;

    server.all_asleep().await;
    let after_sleep = server.answer(&create).await;
    server.kill().await;
    server.restart().await;
    let after_kill = server.answer(&create).await;
    let count_after_kill = server.answer(&increment("k")).await;
    server.terminate().await;
    server.restart().await;
    let after_stop = server.answer(&create).await;

    for answer in [&after_sleep, &after_kill, &after_stop] {
        assert!(is_replay(answer));
        assert_eq!(answer.response.body, first.response.body);
    }
    assert_eq!(count_after_kill.response.body, count.response.body);
    assert_eq!(value(&server, "a").await, 1);
}

/// Increments with a key of its own for each until the connection breaks; gives the number of
/// answers. The call after them may have been applied or not.
async fn increment_until_broken(
    mut connection: Connection,
    name: String,
    from: u64,
    answered: Arc<AtomicU64>,
    is_enough: Arc<Notify>,
) -> u64 {
    let mut next = from;
    loop {
        let request = keyed("counter.increment", &json!({"name": name}), &format!("{name}-{next}"));
        let sent: io::Result<_> = connection.send(&request).await;
        let Ok(response) = sent else { return next };
        assert_eq!(Answer::new(response).data()["value"], next + 1, "{name}");
        next += 1;
        if answered.fetch_add(1, Ordering::Relaxed) == 200 {
            is_enough.notify_one();
        }
    }
}

#[tokio::test]
async fn a_client_that_repeats_what_a_kill_left_open_gets_everything_exactly_once() {
    const WRITERS: usize = 8;
    let mut server = Server::start().await;
    let mut done = [0; WRITERS];

    for _ in 0..5 {
        let (answered, is_enough) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let mut writers = Vec::new();
        for (index, from) in done.iter().enumerate() {
            writers.push(tokio::spawn(increment_until_broken(
                server.connection().await,
                format!("w{index}"),
                *from,
                Arc::clone(&answered),
                Arc::clone(&is_enough),
            )));
        }
        e2e::within("enough answers", is_enough.notified()).await;
        server.kill().await;
        for (done, writer) in done.iter_mut().zip(writers) {
            *done = writer.await.unwrap();
        }
        server.restart().await;
    }

    for (index, next) in done.into_iter().enumerate() {
        let name = format!("w{index}");
        let open = keyed("counter.increment", &json!({"name": name}), &format!("{name}-{next}"));
        assert_eq!(server.answer(&open).await.data()["value"], next + 1);
        assert_eq!(value(&server, &name).await, next + 1, "{name}: every key counted once");
    }
}

#[tokio::test]
async fn a_page_may_send_a_key_and_read_whether_the_answer_is_a_replay() {
    let server = Server::start().await;
    let origin = "http://localhost:3014";
    server.answer(&increment("k")).await.data();

    let preflight = Request::new("OPTIONS", "/rpc/counter.increment")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,idempotency-key");
    let preflight = server.send(&preflight).await;
    let answer = server.answer(&increment("k").header("Origin", origin)).await;

    let allowed = preflight.header("access-control-allow-headers").unwrap_or_default();
    assert!(allowed.to_ascii_lowercase().contains("idempotency-key"), "{preflight:?}");
    assert!(is_replay(&answer));
    let exposed = answer.response.header("access-control-expose-headers").unwrap_or_default();
    assert_eq!(exposed, "idempotent-replay, retry-after, www-authenticate");
}

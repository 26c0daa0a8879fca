//! Tokens: where they are sent, what they allow, and what each kind asks for. Contract section 9.

use e2e::{Folder, Request, Response, Server, ServerBuilder, Signer};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A program with a kind that needs users, beside the others.
const WITH_DIARY: &str = env!("CARGO_BIN_EXE_misbehaving-server");

fn signer() -> Signer {
    Signer::hs256(SECRET)
}

fn reader_and_writer() -> String {
    signer().token_of("alice", &["read", "write"])
}

/// A server that has a secret.
fn guarded() -> ServerBuilder {
    Server::builder().env("DORMOUSE_AUTH_SECRET", SECRET)
}

fn bearer(request: Request, token: &str) -> Request {
    request.header("Authorization", &format!("Bearer {token}"))
}

fn increment() -> Request {
    Request::post_json("/rpc/counter.increment", r#"{"name":"a"}"#)
}

fn get_value() -> Request {
    Request::get("/rpc/counter.getValue?input=%7B%22name%22%3A%22a%22%7D")
}

/// Code and message of an error outside of RPC, whose status is the given one.
fn problem(response: &Response, status: u16) -> (String, String) {
    assert_eq!(response.status, status, "{response:?}");
    let body = response.json();
    let text = |field: &str| body["error"][field].as_str().unwrap_or_default().to_owned();
    (text("code"), text("message"))
}

fn assert_challenged(response: &Response, challenge: &str) {
    assert_eq!(response.status, 401, "{response:?}");
    assert_eq!(response.header("www-authenticate"), Some(challenge), "{response:?}");
}

#[tokio::test]
async fn with_a_key_everything_needs_a_token() {
    let server = guarded().start().await;

    for request in [increment(), get_value(), Request::get("/api/v1/listNotes")] {
        let response = server.send(&request).await;
        assert_challenged(&response, "Bearer");
        assert_eq!(server.answer(&request).await.code(), "UNAUTHORIZED");
    }
    for request in [
        Request::handshake("/ws/counter/a"),
        Request::get("/ws/counter/a"),
        Request::get("/sse/counter/a"),
    ] {
        let response = server.send(&request).await;
        assert_challenged(&response, "Bearer");
        let (code, message) = problem(&response, 401);
        assert_eq!(code, "UNAUTHORIZED");
        assert!(message.contains("Authorization: Bearer"), "{message}");
    }
    for open in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/"] {
        assert_eq!(server.get(open).await.status, 200, "{open}");
    }
}

#[tokio::test]
async fn a_token_is_taken_from_each_of_its_places() {
    let server = guarded().start().await;
    let token = reader_and_writer();

    let by_header = server.send(&bearer(increment(), &token)).await;
    let by_query =
        Request::post_json(format!("/rpc/counter.increment?token={token}"), r#"{"name":"a"}"#);
    let by_query = server.send(&by_query).await;
    let protocol = format!("dormouse, bearer.{token}");
    let handshake = Request::handshake("/ws/counter/a").header("Sec-WebSocket-Protocol", &protocol);
    let shaken = server.send(&handshake).await;
    let stream = Request::get(format!("/sse/counter/a?token={token}"));
    let stream = server.connection().await.begin(&stream).await.unwrap();

    assert_eq!((by_header.status, by_query.status), (200, 200));
    assert_eq!(shaken.status, 101);
    assert_eq!(shaken.header("sec-websocket-protocol"), Some("dormouse"), "and no token");
    assert_eq!(stream.status, 200);
}

#[tokio::test]
async fn the_first_place_that_has_a_token_counts() {
    let server = guarded().start().await;
    let (good, bad) = (reader_and_writer(), "not-a-token");
    let get_value = |token: &str| {
        Request::get(format!(
            "/rpc/counter.getValue?input=%7B%22name%22%3A%22a%22%7D&token={token}"
        ))
    };

    assert_eq!(server.send(&bearer(get_value(bad), &good)).await.status, 200);
    assert_challenged(
        &server.send(&bearer(get_value(&good), bad)).await,
        "Bearer error=\"invalid_token\"",
    );
}

#[tokio::test]
async fn a_plain_get_says_what_is_wrong_in_the_order_of_the_checks() {
    let server = guarded().flag("--sockets-per-object-max", "1").start().await;
    let token = reader_and_writer();
    let get = || Request::get("/ws/counter/a");
    let strange = |request: Request| request.header("Origin", "https://elsewhere.example");
    let reader = signer().token_of("alice", &[]);

    assert_eq!(server.send(&strange(get())).await.status, 403);
    assert_eq!(server.send(&get()).await.status, 401);
    assert_eq!(server.send(&bearer(get(), "x")).await.status, 401);
    let (code, message) = problem(&server.send(&bearer(get(), &reader)).await, 403);
    assert_eq!(code, "FORBIDDEN");
    assert!(message.contains("`read`"), "{message}");
    assert_eq!(server.send(&bearer(get(), &token)).await.status, 426);
    let held = server.connect(&format!("/ws/counter/a?token={token}")).await;
    assert_eq!(server.send(&bearer(get(), &token)).await.status, 503);
    assert_eq!(server.send(&get()).await.status, 401);
    drop(held);
}

#[tokio::test]
async fn a_page_may_read_why_its_token_was_refused() {
    let server = guarded().start().await;
    let origin = format!("http://{}", server.address());

    let response = server.send(&Request::get("/ws/counter/a").header("Origin", &origin)).await;

    assert_challenged(&response, "Bearer");
    assert_eq!(response.header("access-control-allow-origin"), Some(&*origin));
    let exposed = response.header("access-control-expose-headers").unwrap_or_default();
    assert!(exposed.contains("www-authenticate"), "{exposed}");
}

#[tokio::test]
async fn reading_needs_read_and_changing_needs_write() {
    let server = guarded().start().await;
    let with = |permissions: &[&str]| signer().token_of("alice", permissions);

    for (permissions, reads, writes) in [
        (&["read", "write"][..], true, true),
        (&["read"], true, false),
        (&["write"], false, true),
        (&["admin"], false, false),
        (&[], false, false),
    ] {
        let token = with(permissions);
        let read = server.answer(&bearer(get_value(), &token)).await;
        let write = server.answer(&bearer(increment(), &token)).await;

        assert_eq!((read.is_data(), write.is_data()), (reads, writes), "{permissions:?}");
        for (answer, permission) in [(read, "`read`"), (write, "`write`")] {
            if !answer.is_data() {
                assert_eq!(answer.code(), "FORBIDDEN");
                assert!(answer.error().message.contains(permission), "{:?}", answer.error());
            }
        }
    }
}

#[tokio::test]
async fn a_token_for_some_objects_is_for_no_others() {
    let server = guarded().start().await;
    let token = signer().token(json!({
        "permissions": ["read", "write"],
        "objects": ["counter/room-*", "note/only"],
    }));
    let increment = |name: &str| {
        let input = json!({ "name": name }).to_string();
        bearer(Request::post_json("/rpc/counter.increment", input), &token)
    };
    let shake = |target: &str| bearer(Request::handshake(target), &token);

    assert!(server.answer(&increment("room-1")).await.is_data());
    for other in ["a", "room", "only"] {
        assert_eq!(server.answer(&increment(other)).await.code(), "FORBIDDEN", "{other}");
    }
    assert_eq!(server.send(&shake("/ws/counter/room-2")).await.status, 101);
    assert_eq!(server.send(&shake("/ws/counter/room%2D2")).await.status, 101, "once decoded");
    for other in ["/ws/counter/a", "/ws/note/room-1", "/ws/note/Only"] {
        let (code, _) = problem(&server.send(&shake(other)).await, 403);
        assert_eq!(code, "FORBIDDEN", "{other}");
    }
    let stream = bearer(Request::get("/sse/note/other"), &token);
    assert_eq!(server.send(&stream).await.status, 403);
    let listing = bearer(Request::get("/rpc/note.list"), &token);
    assert_eq!(server.answer(&listing).await.code(), "FORBIDDEN", "it would tell of the others");
    let anywhere = bearer(Request::post_json("/rpc/note.create", r#"{"title":"t"}"#), &token);
    assert_eq!(server.answer(&anywhere).await.code(), "FORBIDDEN", "its id would be a new one");
}

#[tokio::test]
async fn a_token_for_a_kind_may_list_it() {
    let server = guarded().start().await;
    let of = |objects: Value| signer().token(json!({"permissions": ["read"], "objects": objects}));
    let list = Request::get("/rpc/note.list");

    for objects in [json!(["note/*"]), json!(["*"]), json!(null)] {
        assert!(server.answer(&bearer(list.clone(), &of(objects))).await.is_data());
    }
    assert_eq!(server.answer(&bearer(list, &of(json!(["counter/*"])))).await.code(), "FORBIDDEN");
}

#[tokio::test]
async fn each_call_of_a_batch_is_decided_on_its_own() {
    let server = guarded().start().await;
    let reader = signer().token_of("alice", &["read"]);
    let batch = || {
        Request::post_json(
            "/rpc/counter.getValue,counter.increment,no.such?batch=1",
            r#"{"0":{"name":"a"},"1":{"name":"a"}}"#,
        )
    };

    let (status, envelopes) = server.batch(&bearer(batch(), &reader)).await;
    assert_eq!(status, 207);
    assert!(envelopes[0].is_data());
    assert_eq!(envelopes[1].error().code, "FORBIDDEN");
    assert_eq!(envelopes[2].error().code, "NOT_FOUND");

    let (_, envelopes) = server.batch(&batch()).await;
    assert_eq!(envelopes[0].error().code, "UNAUTHORIZED");
    assert_eq!(envelopes[1].error().code, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_subscription_says_within_its_stream_that_a_token_is_needed() {
    let server = guarded().start().await;
    let target = "/rpc/counter.events?input=%7B%22name%22%3A%22a%22%7D";
    let token = signer().token_of("alice", &["read"]);

    let mut refused = server.listen(target).await;
    let mut granted = server.listen(&format!("{target}&token={token}")).await;

    refused.next_event().await.expect("`connected`");
    let error = refused.next_event().await.expect("the reason");
    assert_eq!(error.event.as_deref(), Some("serialized-error"));
    assert!(error.data.unwrap().contains("UNAUTHORIZED"));
    assert_eq!(granted.next_event().await.unwrap().event.as_deref(), Some("connected"));
    granted.next_of("initial").await;
}

#[tokio::test]
async fn a_kind_needs_a_token_as_its_policy_says() {
    let folder = Folder::new();
    let file = folder.write("settings.toml", "[auth.kinds]\ncounter = \"read\"\nnote = \"open\"\n");
    let server = guarded().flag("--config", &file).start().await;
    let create = Request::post_json("/rpc/note.create", r#"{"id":"n","title":"t"}"#);

    assert!(server.answer(&get_value()).await.is_data());
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;
    assert_challenged(&server.send(&increment()).await, "Bearer");
    socket.call(1, "increment", json!({})).await;
    let refused = socket.next_of("error").await;
    assert_eq!((&refused["id"], &refused["code"]), (&json!(1), &json!("UNAUTHORIZED")));
    assert!(server.answer(&bearer(increment(), &reader_and_writer())).await.is_data());
    assert!(server.answer(&create).await.is_data());
}

#[tokio::test]
async fn where_no_token_is_needed_one_that_is_there_still_counts() {
    let server = guarded().flag("--auth", "open").start().await;
    let reader = signer().token_of("alice", &["read"]);

    assert!(server.answer(&increment()).await.is_data());
    assert_eq!(server.send(&bearer(increment(), "x")).await.status, 401);
    assert_eq!(server.answer(&bearer(increment(), &reader)).await.code(), "FORBIDDEN");
    let handshake = Request::handshake("/ws/counter/a");
    assert_eq!(server.send(&bearer(handshake.clone(), "x")).await.status, 401);
    assert_eq!(server.send(&handshake).await.status, 101);
}

#[tokio::test]
async fn a_server_without_keys_looks_at_no_token() {
    let server = Server::start().await;

    assert!(server.answer(&bearer(increment(), "whatever")).await.is_data());
}

#[tokio::test]
async fn a_kind_that_needs_users_says_how_to_get_them() {
    let server = Server::builder().program(WITH_DIARY).start().await;
    let reader = Request::get("/rpc/diary.reader?input=%7B%22id%22%3A%22d%22%7D");

    let error = server.answer(&reader).await.error();
    let (code, message) = problem(&server.send(&Request::handshake("/ws/diary/d")).await, 401);

    assert_eq!((&*error.code, &*code), ("UNAUTHORIZED", "UNAUTHORIZED"));
    for message in [error.message, message] {
        assert!(message.contains("DORMOUSE_AUTH_SECRET"), "{message}");
        assert!(message.contains("dormouse token"), "{message}");
    }
    assert!(server.answer(&increment()).await.is_data(), "other kinds stay open");
}

#[tokio::test]
async fn a_kind_that_needs_users_needs_them_whatever_the_settings_say() {
    let folder = Folder::new();
    let file =
        folder.write("settings.toml", "[auth]\nmode = \"open\"\n[auth.kinds]\ndiary = \"open\"\n");
    let server = guarded().program(WITH_DIARY).flag("--config", &file).start().await;

    assert_eq!(server.send(&Request::handshake("/ws/diary/d")).await.status, 401);
    assert!(server.answer(&increment()).await.is_data());
}

#[tokio::test]
async fn handlers_see_whose_token_it_is() {
    let server = guarded().program(WITH_DIARY).start().await;
    let token = signer().token(json!({
        "sub": "u-1",
        "username": "Ünal",
        "permissions": ["read", "write", "moderate"],
        "avatar": "https://pictures.example/u-1.png",
    }));
    let expected = json!({
        "id": "u-1",
        "username": "Ünal",
        "permissions": ["read", "write", "moderate"],
        "avatar": "https://pictures.example/u-1.png",
    });
    let reader = Request::get("/rpc/diary.reader?input=%7B%22id%22%3A%22d%22%7D");

    assert_eq!(*server.answer(&bearer(reader, &token)).await.data(), expected);
    let mut socket = server.connect(&format!("/ws/diary/d?token={token}")).await;
    assert_eq!(socket.next_of("initial").await["reader"], "u-1");
    socket.call(1, "reader", json!({})).await;
    assert_eq!(socket.next_of("result").await["data"], expected);
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_its_user() {
    let server = guarded().start().await;
    let of = |user: &str| {
        let token = signer().token_of(user, &["read", "write"]);
        bearer(increment(), &token).header("Idempotency-Key", "k")
    };

    let first = server.answer(&of("alice")).await.data()["value"].clone();
    let again = server.answer(&of("alice")).await.data()["value"].clone();
    let other = server.answer(&of("bob")).await.data()["value"].clone();

    assert_eq!((first, again, other), (json!(1), json!(1), json!(2)));
}

#[tokio::test]
async fn a_user_has_so_many_sockets_and_others_have_their_own() {
    let server = guarded().flag("--sockets-per-user-max", "2").start().await;
    let shake = |user: &str| {
        bearer(Request::handshake("/ws/counter/a"), &signer().token_of(user, &["read"]))
    };
    let mut held = Vec::new();

    for (user, status) in [("alice", 101), ("alice", 101), ("alice", 503), ("bob", 101)] {
        let mut connection = server.connection().await;
        assert_eq!(connection.send(&shake(user)).await.unwrap().status, status, "{user}");
        held.push(connection);
    }
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let server = guarded().start().await;

    server.send(&increment()).await;
    server.send(&bearer(increment(), "x")).await;
    server.send(&bearer(increment(), &signer().token_of("alice", &["read"]))).await;

    let metrics = server.metrics().await;
    for (reason, count) in
        [("missing", 1.0), ("malformed", 1.0), ("permission", 1.0), ("expired", 0.0)]
    {
        let label = format!("reason=\"{reason}\"");
        let found = metrics
            .samples()
            .find(|sample| sample.name == "dormouse_auth_refused_total" && sample.labels == label);
        assert_eq!(found.map(|sample| sample.value), Some(count), "{reason}");
    }
    assert!(metrics.is_described("dormouse_auth_refused_total"));
}

#[tokio::test]
async fn a_channel_has_an_address_of_its_own_and_needs_a_user() {
    let open = Server::start().await;
    let server = guarded().start().await;
    let address = "/channel/room%201/websocket";
    let token =
        |objects: &str| signer().token(json!({"permissions": ["read"], "objects": [objects]}));
    let shake = |token: &str| bearer(Request::handshake(address), token);

    for request in [Request::handshake(address), Request::get(address)] {
        let (_, message) = problem(&open.send(&request).await, 401);
        assert!(message.contains("DORMOUSE_AUTH_SECRET"), "{message}");
        assert_challenged(&server.send(&request).await, "Bearer");
    }
    assert_eq!(server.send(&shake(&token("channel/room 1"))).await.status, 101);
    assert_eq!(server.send(&shake(&token("channel/other"))).await.status, 403);
    assert_eq!(server.send(&shake(&token("note/*"))).await.status, 403);
    let get = bearer(Request::get(address), &token("channel/*"));
    assert_eq!(server.send(&get).await.status, 426);
    for elsewhere in ["/channel/a", "/channel/websocket", "/channel/a/b/websocket"] {
        let response = server.send(&bearer(Request::handshake(elsewhere), &token("*"))).await;
        assert!(matches!(response.status, 400 | 404), "{elsewhere}: {response:?}");
    }
}

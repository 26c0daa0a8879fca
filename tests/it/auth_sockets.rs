//! Sockets and event streams that were opened with a token: their calls, their end, their renewal.

use e2e::{Server, Signer, in_seconds};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// How much longer than it says a token counts, in seconds.
const LEEWAY: i64 = 5;

fn signer() -> Signer {
    Signer::hs256(SECRET)
}

async fn guarded() -> Server {
    Server::builder().env("DORMOUSE_AUTH_SECRET", SECRET).start().await
}

/// A token that ends in 2 to 3 seconds: the time in tokens is in whole ones.
fn ending() -> String {
    signer().token(json!({"permissions": ["read"], "exp": in_seconds(3 - LEEWAY)}))
}

async fn renew(socket: &mut e2e::Socket, token: &str) -> Value {
    socket.send(&json!({"type": "auth", "token": token})).await;
    socket.next().await
}

#[tokio::test]
async fn a_call_over_a_socket_needs_the_permission_of_its_token() {
    let server = guarded().await;
    let token = signer().token_of("alice", &["read"]);
    let mut socket = server.connect(&format!("/ws/counter/a?token={token}")).await;
    socket.next_of("initial").await;

    socket.call(1, "increment", json!({})).await;
    let refused = socket.next_of("error").await;
    socket.call(2, "getValue", json!({})).await;
    let read = socket.next_of("result").await;

    assert_eq!((&refused["id"], &refused["code"]), (&json!(1), &json!("FORBIDDEN")));
    assert!(refused["message"].as_str().unwrap().contains("`write`"), "{refused}");
    assert_eq!(read["data"]["value"], 0);
}

#[tokio::test]
async fn a_socket_of_one_object_cannot_list_the_others() {
    let server = guarded().await;
    let of = |objects: &str| signer().token(json!({"permissions": ["read"], "objects": [objects]}));

    for (objects, answer) in [("note/n", "error"), ("note/*", "result")] {
        let mut socket = server.connect(&format!("/ws/note/n?token={}", of(objects))).await;
        socket.call(1, "list", json!({})).await;
        let message = socket.next_of(answer).await;
        assert!(answer == "result" || message["code"] == "FORBIDDEN", "{message}");
    }
}

#[tokio::test]
async fn sockets_and_streams_end_with_their_token_and_others_go_on() {
    let server = guarded().await;
    let lasting = signer().token_of("alice", &["read"]);
    let mut other = server.connect(&format!("/ws/counter/a?token={lasting}")).await;
    other.next_of("initial").await;
    let ending = ending();

    let mut socket = server.connect(&format!("/ws/counter/a?token={ending}")).await;
    let mut stream = server.listen(&format!("/sse/counter/a?token={ending}")).await;

    let closed = socket.closed().await;
    assert_eq!((closed.code, &*closed.reason), (1008, "the token has expired"));
    assert!(stream.closed().await.is_some_and(|reason| reason.starts_with("1008 ")));
    other.ping().await;
    assert_eq!(server.get(&format!("/ws/counter/a?token={ending}")).await.status, 401);
}

#[tokio::test]
async fn a_subscription_ends_with_its_token_and_does_not_come_back() {
    let server = guarded().await;
    let target = "/rpc/counter.events?input=%7B%22name%22%3A%22a%22%7D";

    let mut events = server.listen(&format!("{target}&token={}", ending())).await;

    let mut last = None;
    while let Some(event) = events.next_event().await {
        last = Some(event);
    }
    let last = last.expect("it said something");
    assert_eq!(last.event.as_deref(), Some("serialized-error"));
    assert!(last.data.is_some_and(|data| data.contains("FORBIDDEN")));
}

#[tokio::test]
async fn the_end_of_a_token_wakes_nothing() {
    let server = Server::builder()
        .env("DORMOUSE_AUTH_SECRET", SECRET)
        .flag("--idle-timeout", "50ms")
        .start()
        .await;
    let mut socket = server.connect(&format!("/ws/counter/a?token={}", ending())).await;
    socket.next_of("initial").await;
    server.all_asleep().await;
    let wakes = server.metric("dormouse_object_wakes_total").await;

    assert_eq!(socket.closed().await.code, 1008);

    assert_eq!(server.metric("dormouse_object_wakes_total").await, wakes);
}

#[tokio::test]
async fn a_socket_whose_token_was_renewed_lives_on() {
    let server = guarded().await;
    let mut socket = server.connect(&format!("/ws/counter/a?token={}", ending())).await;
    let mut left = server.connect(&format!("/ws/counter/a?token={}", ending())).await;
    socket.next_of("initial").await;
    let expires = in_seconds(600);
    let token = signer().token(json!({"permissions": ["read", "write"], "exp": expires}));

    let answer = renew(&mut socket, &token).await;

    assert_eq!(answer["type"], "authorized", "{answer}");
    let said = answer["expiresAt"].as_str().unwrap();
    assert_eq!(dormouse::Timestamp::parse(said).unwrap().as_ms(), expires * 1000);
    assert!(said.ends_with(".000Z"), "{said}");
    assert_eq!(left.closed().await.code, 1008, "the time has come");
    socket.call(1, "increment", json!({})).await;
    socket.next_of("increment").await;
    socket.next_of("result").await;
}

#[tokio::test]
async fn permissions_of_the_newer_token_count_from_then_on() {
    let server = guarded().await;
    let token = |permissions: &[&str]| signer().token_of("alice", permissions);
    let mut socket =
        server.connect(&format!("/ws/counter/a?token={}", token(&["read", "write"]))).await;
    socket.next_of("initial").await;

    renew(&mut socket, &token(&["read"])).await;
    socket.call(1, "increment", json!({})).await;

    assert_eq!(socket.next_of("error").await["code"], "FORBIDDEN");
}

#[tokio::test]
async fn a_token_that_cannot_renew_changes_nothing() {
    let server = guarded().await;
    let token = signer().token_of("alice", &["read", "write"]);
    let mut socket = server.connect(&format!("/ws/counter/a?token={token}")).await;
    socket.next_of("initial").await;

    for (token, code) in [
        ("x".to_owned(), "UNAUTHORIZED"),
        (signer().token(json!({"exp": 1})), "UNAUTHORIZED"),
        (Signer::rs256().token_of("alice", &["read"]), "UNAUTHORIZED"),
        (signer().token_of("bob", &["read", "write"]), "FORBIDDEN"),
        (signer().token_of("alice", &["write"]), "FORBIDDEN"),
        (signer().token(json!({"permissions": ["read"], "objects": ["counter/b"]})), "FORBIDDEN"),
    ] {
        let answer = renew(&mut socket, &token).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{answer}");
    }
    for malformed in [json!({"type": "auth"}), json!({"type": "auth", "token": 7})] {
        socket.send(&malformed).await;
        assert_eq!(socket.next_of("error").await["code"], "BAD_REQUEST");
    }
    socket.call(1, "increment", json!({})).await;
    socket.next_of("increment").await;
}

#[tokio::test]
async fn a_socket_without_a_token_gets_no_user_later() {
    let server =
        Server::builder().env("DORMOUSE_AUTH_SECRET", SECRET).flag("--auth", "open").start().await;
    let mut socket = server.connect("/ws/counter/a").await;
    socket.next_of("initial").await;

    let answer = renew(&mut socket, &signer().token_of("alice", &["read"])).await;

    assert_eq!(answer["code"], "FORBIDDEN", "{answer}");
    socket.ping().await;
}

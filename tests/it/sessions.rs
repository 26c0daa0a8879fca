//! Sessions over real sockets: what is noted about them, who gets it back, and who does not.

use e2e::{Request, SECRET, Server, ServerBuilder, Signer, Socket};
use serde_json::{Value, json};

fn lobbies() -> ServerBuilder {
    Server::guarded().program(env!("CARGO_BIN_EXE_misbehaving-server"))
}

/// A socket of a lobby, and the name of its session.
async fn connect(server: &Server, target: &str, user: &str) -> (Socket, String) {
    let mut socket = server.socket_of(target, user).await;
    let initial = socket.next_of("initial").await;
    (socket, initial["session"].as_str().expect("it has a name").to_owned())
}

/// Gives the lobby something to note. Nothing is answered.
async fn enter(socket: &mut Socket, tags: &[&str], note: &str) {
    socket.send(&json!({"type": "enter", "tags": tags, "note": note})).await;
}

/// What the lobby knows of a session, and the names of those with the tag `t`.
async fn look(socket: &mut Socket) -> Value {
    socket.send(&json!({"type": "look", "tag": "t"})).await;
    socket.next_of("seen").await
}

async fn open(server: &Server, user: &str) {
    server.mutate_as(user, "lobby.open", &json!({"id": "l"})).await.data();
}

fn noted(seen: &Value) -> (&Value, &Value) {
    (&seen["tags"], &seen["note"])
}

#[tokio::test]
async fn what_was_noted_outlives_the_objects_sleep() {
    let server = lobbies().flag("--idle-timeout", "50ms").start().await;
    open(&server, "ann").await;
    let (mut ann, _) = connect(&server, "/ws/lobby/l", "ann").await;
    let (mut bob, _) = connect(&server, "/ws/lobby/l", "bob").await;
    enter(&mut ann, &["t", "a"], "coat").await;
    enter(&mut bob, &["b"], "hat").await;
    look(&mut bob).await;

    server.all_asleep().await;

    let seen = look(&mut ann).await;
    assert_eq!(noted(&seen), (&json!(["t", "a"]), &json!("coat")));
    assert_eq!(seen["tagged"][0]["username"], "ANN");
    assert_eq!(seen["tagged"].as_array().unwrap().len(), 1, "bob has another tag");
}

#[tokio::test]
async fn whoever_comes_back_takes_over_the_older_socket() {
    let server = lobbies().start().await;
    open(&server, "ann").await;
    let (mut ann, session) = connect(&server, "/ws/lobby/l", "ann").await;
    enter(&mut ann, &["t"], "coat").await;
    look(&mut ann).await;

    let target = format!("/ws/lobby/l?session={session}");
    let (mut again, same) = connect(&server, &target, "ann").await;
    let closed = ann.closed().await;
    let seen = look(&mut again).await;

    assert_eq!((same, closed.code), (session, 1000), "{closed:?}");
    assert_eq!(noted(&seen), (&json!(["t"]), &json!("coat")));
    assert_eq!(seen["tagged"].as_array().unwrap().len(), 1, "it is one session");
    // Nobody left: the lobby would have said so before.
    assert_eq!(again.ping().await["offset"], 1);
}

#[tokio::test]
async fn a_session_whose_connection_broke_comes_back_with_what_was_noted() {
    let server = lobbies().flag("--presence-grace", "50ms").start().await;
    open(&server, "ann").await;
    let (mut ann, session) = connect(&server, "/ws/lobby/l", "ann").await;
    let (mut bob, _) = connect(&server, "/ws/lobby/l?presence=1", "bob").await;
    bob.next_of("presence_state").await;
    enter(&mut ann, &["t"], "coat").await;
    look(&mut ann).await;

    drop(ann);
    // In either order: the object says that the socket is gone, and then the grace period ends.
    let mut said = [bob.next().await, bob.next().await];
    said.sort_by_key(|message| message["type"].to_string());
    let target = format!("/ws/lobby/l?session={session}");
    let (mut ann, same) = connect(&server, &target, "ann").await;

    assert_eq!(said[0], json!({"type": "left", "who": "ann", "note": "coat", "offset": 2}));
    assert_eq!(said[1]["type"], "presence_diff");
    assert_eq!(same, session);
    assert_eq!(noted(&look(&mut ann).await), (&json!(["t"]), &json!("coat")));
}

#[tokio::test]
async fn nobody_gets_a_session_by_its_name_alone() {
    let server = lobbies().start().await;
    open(&server, "ann").await;
    let (mut ann, session) = connect(&server, "/ws/lobby/l", "ann").await;
    enter(&mut ann, &["t"], "coat").await;
    look(&mut ann).await;

    let target = format!("/ws/lobby/l?session={session}");
    let (mut eve, other) = connect(&server, &target, "eve").await;
    let seen = look(&mut eve).await;
    enter(&mut eve, &[], "stolen").await;
    look(&mut eve).await;

    assert_ne!(other, session);
    assert_eq!(noted(&seen), (&json!([]), &Value::Null));
    assert_eq!(look(&mut ann).await["note"], "coat", "its socket stays, with all it had");
}

#[tokio::test]
async fn a_client_that_comes_back_after_kill_nine_has_what_was_noted() {
    let mut server = lobbies().start().await;
    open(&server, "ann").await;
    let (mut ann, session) = connect(&server, "/ws/lobby/l", "ann").await;
    enter(&mut ann, &["t"], "coat").await;
    look(&mut ann).await;

    server.kill().await;
    server.restart().await;
    let target = format!("/ws/lobby/l?session={session}");
    let (mut ann, same) = connect(&server, &target, "ann").await;
    let seen = look(&mut ann).await;
    server.kill().await;
    server.restart().await;
    let (mut eve, _) = connect(&server, &target, "eve").await;

    assert_eq!(same, session);
    assert_eq!(noted(&seen), (&json!(["t"]), &json!("coat")));
    assert_eq!(seen["tagged"][0]["username"], "ANN");
    assert_eq!(noted(&look(&mut eve).await), (&json!([]), &Value::Null), "who took its name");
}

#[tokio::test]
async fn a_session_that_is_no_name_is_refused_in_words() {
    let server = Server::start().await;

    for garbage in ["", "x", "7", "0x1", &"g".repeat(32), &"0".repeat(33), "%00", "%F0%9F%98%80"] {
        let targets =
            ["/ws/counter/a", "/sse/counter/a"].map(|it| format!("{it}?session={garbage}"));
        for request in [
            Request::handshake(targets[0].as_str()),
            Request::get(targets[0].as_str()),
            Request::get(targets[1].as_str()),
        ] {
            let refused = server.send(&request).await;
            assert_eq!(refused.status, 400, "{request:?}");
            let message = refused.json()["error"]["message"].to_string();
            assert!(
                message.contains("`session`") && message.contains("32 hex digits"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn the_end_of_a_socket_wakes_only_who_wants_to_hear_of_it() {
    let server = lobbies().flag("--idle-timeout", "50ms").start().await;
    open(&server, "ann").await;
    let (ann, _) = connect(&server, "/ws/lobby/l", "ann").await;
    let (mut bob, _) = connect(&server, "/ws/lobby/l", "bob").await;
    let (mut quiet, _) = connect(&server, "/ws/board/b", "ann").await;
    quiet.call(1, "write", json!({"text": "it exists"})).await;
    quiet.next_of("written").await;
    quiet.next_of("result").await;
    server.all_asleep().await;
    let before = server.metric("dormouse_object_wakes_total").await;

    quiet.close().await;
    ann.close().await;

    let left = bob.next_of("left").await;
    assert_eq!((&left["who"], &left["note"]), (&json!("ann"), &Value::Null));
    assert_eq!(server.metric("dormouse_object_wakes_total").await, before + 1.0);
}

#[tokio::test]
async fn sockets_that_come_and_go_create_no_object() {
    let mut server = lobbies().start().await;
    let (mut ann, _) = connect(&server, "/ws/lobby/l", "ann").await;
    enter(&mut ann, &["t"], "coat").await;
    look(&mut ann).await;

    ann.close().await;
    let (mut bob, _) = connect(&server, "/ws/lobby/l", "bob").await;

    // What bob asks comes after the end of ann's socket, in the object's queue.
    assert_eq!(look(&mut bob).await["tagged"], json!([]));
    assert!(server.files_once_stopped().await.is_empty());
}

#[tokio::test]
async fn an_object_sees_what_a_newer_token_says() {
    let server = lobbies().start().await;
    let (mut ann, _) = connect(&server, "/ws/lobby/l", "ann").await;
    enter(&mut ann, &["t"], "coat").await;
    let (mut bob, _) = connect(&server, "/ws/lobby/l", "bob").await;
    assert_eq!(look(&mut bob).await["tagged"][0]["username"], "ANN");

    let claims = json!({"sub": "ann", "username": "Anna", "permissions": ["read"]});
    let token = Signer::hs256(SECRET).token(claims);
    ann.send(&json!({"type": "auth", "token": token})).await;
    ann.next_of("authorized").await;

    let renewed = json!([{"username": "Anna", "permissions": ["read"]}]);
    assert_eq!(look(&mut bob).await["tagged"], renewed);
}

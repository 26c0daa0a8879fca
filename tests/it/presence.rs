//! `?presence=1`: who is present, for sockets and streams of every kind.

use e2e::{Picture, Server, ServerBuilder, Socket};
use serde_json::{Value, json};

/// Kinds with words of their own for nothing of this.
const TARGETS: [&str; 2] = ["counter/a", "note/n"];

/// A server whose objects sleep as soon as they can.
fn sleepy() -> ServerBuilder {
    Server::guarded().flag("--idle-timeout", "50ms")
}

/// A socket that is told who is present, and who that is.
async fn watch(server: &Server, target: &str, user: &str) -> (Socket, Picture) {
    let mut socket = server.socket_of(&format!("/ws/{target}?presence=1"), user).await;
    let mut first = socket.next().await;
    if first["type"] == "initial" {
        first = socket.next().await;
    }
    let picture = Picture::shown(&first);
    (socket, picture)
}

async fn enter(server: &Server, target: &str, user: &str) -> Socket {
    watch(server, target, user).await.0
}

/// The names of those who came and those who left.
fn names(diff: &Value) -> (Vec<&str>, Vec<&str>) {
    assert_eq!(diff["type"], "presence_diff", "{diff}");
    let ids = |list: &'static str| {
        let users = diff[list].as_array().expect("a list of users");
        users.iter().map(|user| user["userId"].as_str().expect("an id")).collect()
    };
    (ids("joins"), ids("leaves"))
}

async fn next_names(socket: &mut Socket) -> (Vec<String>, Vec<String>) {
    let diff = socket.next().await;
    let (joins, leaves) = names(&diff);
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    (owned(joins), owned(leaves))
}

fn came(user: &str) -> (Vec<String>, Vec<String>) {
    (vec![user.to_owned()], Vec::new())
}

fn left(user: &str) -> (Vec<String>, Vec<String>) {
    (Vec::new(), vec![user.to_owned()])
}

#[tokio::test]
async fn a_watcher_is_told_who_is_there_once_and_then_every_change() {
    let server = Server::guarded().start().await;

    for target in TARGETS {
        let (mut ann, picture) = watch(&server, target, "ann").await;
        assert_eq!(picture.ids(), ["ann"], "{target}");

        let (bob, picture) = watch(&server, target, "bob").await;
        let came = ann.next().await;
        bob.close().await;
        let left = ann.next().await;

        assert_eq!(picture.ids(), ["ann", "bob"], "{target}");
        assert_eq!(came["type"], "presence_diff");
        let bob = &came["joins"][0];
        assert_eq!((&bob["userId"], &bob["username"]), (&json!("bob"), &json!("BOB")));
        assert!(bob["joinedAt"].is_string() && bob.get("avatarUrl").is_none(), "{bob}");
        assert_eq!(left, json!({"type": "presence_diff", "joins": [], "leaves": [bob]}));
        ann.ping().await;
    }
}

#[tokio::test]
async fn whoever_does_not_ask_is_present_and_is_told_nothing() {
    let server = Server::guarded().start().await;
    let mut quiet = server.socket_of("/ws/counter/a", "ann").await;
    let mut off = server.socket_of("/ws/counter/a?presence=0", "ann").await;
    quiet.next_of("initial").await;
    off.next_of("initial").await;

    let (bob, picture) = watch(&server, "counter/a", "bob").await;
    bob.close().await;

    assert_eq!(picture.ids(), ["ann", "bob"]);
    quiet.ping().await;
    off.ping().await;
    assert_eq!(server.get("/ws/counter/a?presence=yes").await.status, 400);
}

#[tokio::test]
async fn without_tokens_each_socket_is_a_guest() {
    let server = Server::start().await;

    for target in TARGETS {
        let mut first = server.connect(&format!("/ws/{target}?presence=1")).await;
        let mut state = first.next().await;
        if state["type"] == "initial" {
            state = first.next().await;
        }
        let second = server.connect(&format!("/ws/{target}")).await;
        let came = first.next().await;
        second.close().await;
        let left = first.next().await;

        for guest in [&state["users"][0], &came["joins"][0]] {
            let id = guest["userId"].as_str().unwrap();
            let hex = id.strip_prefix("anonymous:").unwrap();
            assert!(hex.len() == 8 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
            assert_eq!(guest["username"], "Guest");
        }
        assert_ne!(state["users"][0]["userId"], came["joins"][0]["userId"]);
        assert_eq!(left["leaves"], came["joins"]);
    }
}

#[tokio::test]
async fn streams_are_told_as_sockets_are() {
    let server = Server::guarded().start().await;
    let token = e2e::token_of("ann");
    let mut ann = server.listen(&format!("/sse/counter/a?presence=1&token={token}")).await;
    ann.next_of("initial").await;
    let mut picture = Picture::shown(&ann.next().await);

    let bob = enter(&server, "counter/a", "bob").await;
    picture.apply(&ann.next().await);
    assert_eq!(picture.ids(), ["ann", "bob"]);
    bob.close().await;
    picture.apply(&ann.next().await);

    assert_eq!(picture.ids(), ["ann"]);
}

#[tokio::test]
async fn users_come_and_go_and_not_tabs() {
    let server = Server::guarded().start().await;
    let mut ann = enter(&server, "note/n", "ann").await;
    let tab = enter(&server, "note/n", "bob").await;
    let other_tab = enter(&server, "note/n", "bob").await;

    tab.close().await;
    other_tab.close().await;
    let cat = enter(&server, "note/n", "cat").await;

    assert_eq!(next_names(&mut ann).await, came("bob"));
    assert_eq!(next_names(&mut ann).await, left("bob"));
    assert_eq!(next_names(&mut ann).await, came("cat"));
    cat.close().await;
}

#[tokio::test]
async fn a_connection_that_breaks_counts_until_the_grace_period_is_over() {
    let server = Server::guarded().flag("--presence-grace", "100ms").start().await;
    let mut ann = enter(&server, "counter/a", "ann").await;
    let bob = enter(&server, "counter/a", "bob").await;
    assert_eq!(next_names(&mut ann).await, came("bob"));

    drop(bob);

    assert_eq!(next_names(&mut ann).await, left("bob"));
}

#[tokio::test]
async fn nobody_hears_of_a_page_that_is_reloaded() {
    let server = Server::guarded().flag("--presence-grace", "60s").start().await;
    let mut ann = enter(&server, "counter/a", "ann").await;
    let bob = enter(&server, "counter/a", "bob").await;
    assert_eq!(next_names(&mut ann).await, came("bob"));

    bob.close_with(1001).await;
    let (bob, picture) = watch(&server, "counter/a", "bob").await;
    let cat = enter(&server, "counter/a", "cat").await;

    assert_eq!(picture.ids(), ["ann", "bob"]);
    assert_eq!(next_names(&mut ann).await, came("cat"), "nothing was said of bob");
    drop((bob, cat));
}

#[tokio::test]
async fn a_guest_that_says_who_it_was_is_the_same_guest() {
    let server = Server::builder().flag("--presence-grace", "60s").start().await;
    let mut first = server.connect("/ws/counter/a?presence=1").await;
    first.next_of("initial").await;
    first.next_of("presence_state").await;
    let mut second = server.connect("/ws/counter/a").await;
    let session = second.next_of("initial").await["session"].clone();
    first.next_of("presence_diff").await;

    second.close_with(1001).await;
    let target = format!("/ws/counter/a?presence=1&session={}", session.as_str().unwrap());
    let mut second = server.connect(&target).await;
    assert_eq!(second.next_of("initial").await["session"], session);
    let state = second.next_of("presence_state").await;

    assert_eq!(state["users"].as_array().unwrap().len(), 2);
    first.ping().await;
}

#[tokio::test]
async fn a_client_that_says_goodbye_has_left_at_once() {
    let server = Server::guarded().flag("--presence-grace", "5m").start().await;
    let mut ann = enter(&server, "counter/a", "ann").await;
    let bob = enter(&server, "counter/a", "bob").await;

    bob.close().await;

    assert_eq!(next_names(&mut ann).await, came("bob"));
    assert_eq!(next_names(&mut ann).await, left("bob"));
}

#[tokio::test]
async fn presence_outlives_the_objects_sleep_and_wakes_nothing() {
    let server = sleepy().flag("--presence-grace", "100ms").start().await;
    let mut ann = enter(&server, "counter/a", "ann").await;
    ann.call(1, "increment", json!({})).await;
    ann.next_of("increment").await;
    ann.next_of("result").await;
    let bob = enter(&server, "counter/a", "bob").await;
    let cat = enter(&server, "counter/a", "cat").await;
    assert_eq!(next_names(&mut ann).await, came("bob"));
    assert_eq!(next_names(&mut ann).await, came("cat"));
    server.all_asleep().await;
    let before = server.metric("dormouse_object_wakes_total").await;

    bob.close().await;
    assert_eq!(next_names(&mut ann).await, left("bob"));
    drop(cat);
    assert_eq!(next_names(&mut ann).await, left("cat"));

    assert_eq!(server.metric("dormouse_object_wakes_total").await, before);
    let (_, picture) = watch(&server, "counter/a", "dan").await;
    assert_eq!(picture.ids(), ["ann", "dan"]);
}

#[tokio::test]
async fn others_see_the_name_and_the_picture_of_a_newer_token() {
    let server = Server::guarded().start().await;
    let (mut ann, mut picture) = watch(&server, "counter/a", "ann").await;
    let mut bob = enter(&server, "counter/a", "bob").await;
    picture.apply(&ann.next().await);

    let claims = json!({"sub": "bob", "username": "Robert", "avatar": "https://x.test/b.png",
                        "permissions": ["read"]});
    let token = e2e::Signer::hs256(e2e::SECRET).token(claims);
    bob.send(&json!({"type": "auth", "token": token})).await;
    bob.next_of("authorized").await;
    picture.apply(&ann.next_of("presence_state").await);

    let robert = picture.user("bob");
    assert_eq!(
        (&robert["username"], &robert["avatarUrl"]),
        (&json!("Robert"), &json!("https://x.test/b.png"))
    );
    assert_eq!(picture.ids(), ["ann", "bob"]);
}

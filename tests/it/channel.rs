//! WIRE section 4, row by row, over real sockets. What the kind decides alone is tested beside it.

use e2e::{Request, Server, token_of};
use serde_json::{Value, json};

#[tokio::test]
async fn without_a_valid_token_nobody_gets_in() {
    let guarded = Server::guarded().start().await;
    let open = Server::start().await;

    for server in [&guarded, &open] {
        for target in ["/ws/channel/a", "/channel/a/websocket", "/sse/channel/a"] {
            assert_eq!(server.get(target).await.status, 401, "{target}");
        }
        let posted = server.mutate("channel.post", json!({"id": "a", "content": "hi"})).await;
        assert_eq!(posted.code(), "UNAUTHORIZED");
    }
}

#[tokio::test]
async fn a_channel_has_two_addresses() {
    let server = Server::guarded().start().await;
    let mut ann = server.enter("room%201", "ann").await;

    let mut bob = server.socket_of("/channel/room%201/websocket", "bob").await;
    bob.next_of("initial_state").await;
    ann.socket.next_of("user_connected").await;
    bob.send(&json!({"type": "message", "content": "hi"})).await;

    let message = ann.socket.next_of("message").await;
    assert_eq!(message["message"]["channelId"], "room 1");
}

#[tokio::test]
async fn past_its_limit_a_channel_is_full() {
    let folder = e2e::Folder::new();
    let config = folder.write("dormouse.toml", "[channel]\nsockets_max = 2\n");
    let server = Server::guarded().flag("--config", config).start().await;
    let _ann = server.enter("a", "ann").await;
    let bob = server.enter("a", "bob").await;

    let target = format!("/ws/channel/a?token={}", token_of("cat"));
    for request in [Request::get(target.as_str()), Request::handshake(target.as_str())] {
        let full = server.send(&request).await;
        assert_eq!((full.status, full.text()), (503, "Channel full"));
        assert!(full.header("retry-after").is_some());
    }

    server.enter("b", "cat").await;
    drop(bob);
    loop {
        // Until the server has seen that bob is gone.
        if server.get(&target).await.status == 426 {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_message_is_acknowledged_and_reaches_everybody() {
    let server = Server::guarded().start().await;
    let mut ann = server.enter("a", "ann").await;
    let mut bob = server.enter("a", "bob").await;
    ann.socket.next_of("user_connected").await;

    let said =
        json!({"type": "message", "content": "<b>hi</b>", "clientId": "c1", "threadId": "t"});
    bob.socket.send(&said).await;

    let ack = bob.socket.next_of("ack").await;
    assert_eq!(ack["clientId"], "c1");
    let expected = json!({
        "id": ack["messageId"], "channelId": "a", "userId": "bob", "username": "BOB",
        "content": "<b>hi</b>", "timestamp": ack["timestamp"], "threadId": "t",
    });
    for socket in [&mut ann.socket, &mut bob.socket] {
        let message = socket.next_of("message").await;
        assert_eq!((&message["message"], &message["offset"]), (&expected, &json!(1)));
    }
}

#[tokio::test]
async fn others_see_who_types_until_six_seconds_after() {
    let server = Server::guarded().start().await;
    let mut ann = server.enter("a", "ann").await;
    let mut bob = server.enter("a", "bob").await;
    ann.socket.next_of("user_connected").await;

    bob.socket.send(&json!({"type": "typing", "isTyping": true})).await;
    let begun = ann.socket.next_of("typing").await;
    let ended = ann.socket.next_of("typing").await;
    bob.socket.send(&json!({"type": "typing", "isTyping": true})).await;
    let mut again = vec![ann.socket.next().await];
    bob.socket.send(&json!({"type": "typing", "isTyping": false})).await;
    again.push(ann.socket.next().await);

    let typing = |is| json!({"type": "typing", "userId": "bob", "username": "BOB", "isTyping": is});
    assert_eq!([begun, ended], [typing(true), typing(false)]);
    assert_eq!(again, [typing(true), typing(false)]);
    bob.socket.ping().await;
    ann.socket.ping().await;
}

#[tokio::test]
async fn everybody_sees_how_present_somebody_says_they_are() {
    let server = Server::guarded().start().await;
    let mut ann = server.enter("a", "ann").await;

    ann.socket.send(&json!({"type": "presence", "status": "away"})).await;

    let expected =
        json!({"type": "presence", "userId": "ann", "username": "ANN", "status": "away"});
    assert_eq!(ann.socket.next().await, expected);
}

#[tokio::test]
async fn users_come_and_go_and_not_tabs() {
    let server = Server::guarded().flag("--presence-grace", "100ms").start().await;
    let mut ann = server.enter("a", "ann").await;
    let users = ann.state["onlineUsers"].as_array().unwrap();
    assert_eq!((users.len(), &users[0]["userId"]), (1, &json!("ann")));
    assert!(users[0]["joinedAt"].is_i64());

    let tab = server.enter("a", "bob").await;
    let mut other_tab = server.enter("a", "bob").await;
    let came = ann.socket.next_of("user_connected").await;
    assert_eq!((&came["userId"], &came["username"]), (&json!("bob"), &json!("BOB")));
    drop(tab);
    other_tab.write("still here").await;
    ann.socket.next_of("message").await;
    drop(other_tab);

    let left = ann.socket.next().await;
    assert_eq!(left, json!({"type": "user_disconnected", "userId": "bob", "username": "BOB"}));
}

#[tokio::test]
async fn somebody_who_comes_back_in_time_was_never_gone() {
    let server = Server::guarded().flag("--presence-grace", "30s").start().await;
    let mut ann = server.enter("a", "ann").await;
    let bob = server.enter("a", "bob").await;
    ann.socket.next_of("user_connected").await;
    let session = bob.state["session"].as_str().unwrap().to_owned();

    drop(bob);
    let target = format!("/ws/channel/a?session={session}");
    let mut back = server.socket_of(&target, "bob").await;
    let state = back.next_of("initial_state").await;
    back.send(&json!({"type": "message", "content": "back"})).await;

    ann.socket.next_of("message").await;
    assert_eq!(state["session"], session);
    assert_eq!(state["onlineUsers"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn whoever_resumes_is_told_who_is_there() {
    let server = Server::guarded().start().await;
    let mut ann = server.enter("a", "ann").await;
    let mut bob = server.enter("a", "bob").await;
    ann.socket.next_of("user_connected").await;
    let id = bob.write("hi").await;
    let epoch = ann.state["epoch"].as_str().unwrap();

    let target = format!("/ws/channel/a?since=0&epoch={epoch}");
    let mut back = server.socket_of(&target, "ann").await;

    assert_eq!(back.next_of("resumed").await["replayed"], 1);
    assert_eq!(back.next_of("message").await["message"]["id"], id);
    let online = back.next_of("online").await;
    let users: Vec<&Value> =
        online["onlineUsers"].as_array().unwrap().iter().map(|user| &user["userId"]).collect();
    assert_eq!(users, ["ann", "bob"]);
}

#[tokio::test]
async fn sync_gives_what_was_missed_and_then_says_so() {
    let server = Server::guarded().start().await;
    let mut ann = server.enter("a", "ann").await;
    let first = ann.write("1").await;
    let second = ann.write("2").await;

    ann.socket.send(&json!({"type": "sync", "afterMessageId": first})).await;
    let missed = ann.socket.next_of("message").await;
    let synced = ann.socket.next_of("synced").await;
    ann.socket.send(&json!({"type": "sync", "afterMessageId": "nobody"})).await;
    let error = ann.socket.next_of("error").await;
    let state = ann.socket.next_of("initial_state").await;

    assert_eq!(missed["message"]["id"], second);
    assert_eq!(synced, json!({"type": "synced", "lastMessageId": second, "more": false}));
    assert_eq!(error["code"], "unknown_message");
    assert_eq!(state["messages"].as_array().unwrap().len(), 2);
    assert_eq!(state["session"], ann.state["session"]);
}

#[tokio::test]
async fn everybody_sees_what_somebody_has_read() {
    let server = Server::guarded().start().await;
    let mut ann = server.enter("a", "ann").await;
    let id = ann.write("1").await;

    ann.socket.send(&json!({"type": "read", "messageId": id})).await;

    let read = ann.socket.next_of("read").await;
    assert_eq!(read, json!({"type": "read", "userId": "ann", "messageId": id, "offset": 2}));
}

#[tokio::test]
async fn what_is_no_message_is_answered_in_the_words_of_the_reference() {
    let server = Server::guarded().start().await;
    let mut ann = server.enter("a", "ann").await;

    for (said, words) in [
        (r#"{"type":"dance"}"#, "Unknown message type"),
        (r#"{"type":7}"#, "Unknown message type"),
        ("{}", "Unknown message type"),
        ("hello", "Invalid message format"),
    ] {
        ann.socket.send_text(said).await;
        let error = ann.socket.next_of("error").await;
        assert_eq!(error["message"], words, "{said}");
    }
    ann.write("still open").await;
}

#[tokio::test]
async fn reading_is_not_writing() {
    let mut server = Server::guarded().start().await;
    let token = e2e::Signer::hs256(e2e::SECRET).token_of("eve", &["read"]);
    let mut eve = server.connect(&format!("/ws/channel/a?token={token}")).await;
    eve.next_of("initial_state").await;

    eve.send(&json!({"type": "message", "content": "hi"})).await;

    assert_eq!(eve.next_of("error").await["message"], "No write permission");
    assert!(server.files_once_stopped().await.is_empty());
}

#[tokio::test]
async fn a_message_of_somebody_else_or_of_a_megabyte_is_refused() {
    let server = Server::guarded().start().await;
    let mut ann = server.enter("a", "ann").await;

    let large = "x".repeat(1_000_000);
    for said in [
        json!({"type": "message", "content": "hi", "userId": "bob"}),
        json!({"type": "message", "content": large}),
        json!({"type": "message"}),
        json!({"type": "typing", "isTyping": "yes"}),
    ] {
        ann.socket.send(&said).await;
        let error = ann.socket.next_of("error").await;
        assert_eq!(error["code"], "BAD_REQUEST", "{error}");
    }
}

#[tokio::test]
async fn calls_and_messages_are_the_same_channel() {
    let server = Server::guarded().start().await;
    let mut ann = server.enter("a", "ann").await;
    let bearer = format!("Bearer {}", token_of("bob"));
    let post = json!({"id": "a", "content": "by HTTP", "clientId": "c"});

    let request =
        Request::post_json("/rpc/channel.post", post.to_string()).header("authorization", &bearer);
    let posted = server.answer(&request).await;
    let message = ann.socket.next_of("message").await;
    ann.socket.call(1, "history", json!({})).await;
    let history = ann.socket.next_of("result").await;

    assert_eq!(*posted.data(), message["message"]);
    assert_eq!(history["data"]["messages"], json!([message["message"]]));
}

#[tokio::test]
async fn pings_typing_and_people_who_come_and_go_wake_nothing() {
    let server = Server::guarded()
        .flag("--idle-timeout", "50ms")
        .flag("--presence-grace", "100ms")
        .start()
        .await;
    let mut ann = server.enter("a", "ann").await;
    ann.write("the channel exists").await;
    let mut bob = server.enter("a", "bob").await;
    ann.socket.next_of("user_connected").await;
    server.all_asleep().await;
    let before = server.metric("dormouse_object_wakes_total").await;

    bob.socket.ping().await;
    bob.socket.send(&json!({"type": "typing", "isTyping": true})).await;
    ann.socket.next_of("typing").await;
    drop(bob);
    // In either order: typing ends by itself, and so does bob.
    let mut said = [ann.socket.next().await, ann.socket.next().await].map(|it| it["type"].clone());
    said.sort_by_key(|name| name.to_string());

    assert_eq!(said, ["typing", "user_disconnected"]);
    assert_eq!(server.metric("dormouse_object_wakes_total").await, before);
}

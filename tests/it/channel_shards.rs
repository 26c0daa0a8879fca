//! A channel that is split into shards by a hash of the user: nobody in it notices.

use e2e::{Folder, Member, Server, token_of};
use serde_json::{Value, json};

/// Enough users for each of three shards to have some.
const USERS: [&str; 9] = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal", "ida"];

/// A settings file with so many shards.
fn settings(folder: &Folder, shards: u16) -> String {
    folder.write(&format!("{shards}.toml"), &format!("[channel]\nshards = {shards}\n"))
}

/// A channel of three shards that exists, and in which everybody is.
async fn crowd(server: &Server) -> Vec<Member> {
    let mut first = server.enter("a", "first").await;
    first.write("the channel exists").await;
    until_split(server, &first).await;
    let mut members: Vec<Member> = Vec::new();
    for user in USERS {
        members.push(server.enter("a", user).await);
    }
    for (index, member) in members.iter_mut().enumerate() {
        // A shard may be sent the first message after somebody has come to it.
        let shown = member.state["messages"].as_array();
        let mut messages = shown.expect("a state has messages").len();
        let mut came = Vec::new();
        while came.len() < USERS.len() - index - 1 || messages == 0 {
            let frame = member.socket.next().await;
            match frame["type"].as_str() {
                Some("user_connected") => came.push(frame["userId"].clone()),
                Some("message") => messages += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(came, USERS[index + 1..]);
    }
    first.leave().await;
    for member in &mut members {
        member.socket.next_of("user_disconnected").await;
    }
    members
}

/// Stops the server; gives how many shards exist.
async fn shards_stored(server: &mut Server) -> usize {
    let files = server.files_once_stopped().await;
    files.iter().filter(|path| path.starts_with("objects/channel-shard")).count()
}

/// Waits until sockets go to the shards, which have logs of their own: another tab of `first` looks.
async fn until_split(server: &Server, first: &Member) {
    e2e::within("sockets to go to the shards", async {
        while server.enter("a", "first").await.state["epoch"] == first.state["epoch"] {}
    })
    .await;
}

/// The newest messages, newest first.
async fn history(server: &Server) -> Vec<Value> {
    let request = e2e::Request::get("/rpc/channel.history?input=%7B%22id%22%3A%22a%22%7D")
        .header("authorization", &format!("Bearer {}", token_of("ann")));
    let answer = server.answer(&request).await;
    answer.data()["messages"].as_array().expect("there are messages").clone()
}

/// The next message that somebody sees, past acknowledgements.
async fn next_message(member: &mut Member) -> Value {
    loop {
        let frame = member.socket.next().await;
        if frame["type"] == "message" {
            return frame["message"].clone();
        }
        assert_eq!(frame["type"], "ack", "{frame}");
    }
}

#[tokio::test]
async fn everybody_sees_the_same_messages_in_the_same_order() {
    let folder = Folder::new();
    let mut server = Server::guarded().flag("--config", settings(&folder, 3)).start().await;
    let mut members = crowd(&server).await;

    for round in 0..5 {
        for (member, user) in members.iter_mut().zip(USERS) {
            let said = json!({"type": "message", "content": format!("{user} {round}"),
                              "clientId": format!("{round}")});
            member.socket.send(&said).await;
        }
    }

    let mut seen = Vec::new();
    for member in &mut members {
        let mut own = Vec::new();
        for _ in 0..5 * USERS.len() {
            own.push(next_message(member).await);
        }
        seen.push(own);
    }
    for own in &seen {
        assert_eq!(own, &seen[0]);
    }
    let stored = history(&server).await;
    let newest: Vec<&Value> = seen[0].iter().rev().collect();
    assert_eq!(stored.iter().take(newest.len()).collect::<Vec<_>>(), newest);
    assert_eq!(shards_stored(&mut server).await, 3);
}

#[tokio::test]
async fn a_message_is_acknowledged_and_a_repetition_is_the_same_message() {
    let folder = Folder::new();
    let server = Server::guarded().flag("--config", settings(&folder, 3)).start().await;
    let mut members = crowd(&server).await;
    let said = json!({"type": "message", "content": "hi", "clientId": "c"});

    for _ in 0..2 {
        members[0].socket.send(&said).await;
    }

    let first = members[0].socket.next_of("ack").await;
    let message = members[0].socket.next_of("message").await;
    assert_eq!(members[0].socket.next_of("ack").await, first);
    assert_eq!(message["message"]["id"], first["messageId"]);
    assert_eq!(message["message"]["channelId"], "a");
    members[1].socket.next_of("message").await;
    members[1].socket.ping().await;
}

#[tokio::test]
async fn typing_receipts_and_people_pass_from_shard_to_shard() {
    let folder = Folder::new();
    let server = Server::guarded().flag("--config", settings(&folder, 3)).start().await;
    let mut members = crowd(&server).await;
    let users = members[8].state["onlineUsers"].as_array().unwrap();
    assert_eq!(users.len(), USERS.len() + 1, "those of all shards, and the first");
    let id = history(&server).await[0]["id"].clone();

    members[0].socket.send(&json!({"type": "typing", "isTyping": true})).await;
    for member in &mut members[1..] {
        assert_eq!(member.socket.next_of("typing").await["userId"], "ann");
    }
    members[0].socket.send(&json!({"type": "read", "messageId": id})).await;
    for member in &mut members {
        let read = member.socket.next_of("read").await;
        assert_eq!((&read["userId"], &read["messageId"]), (&json!("ann"), &id));
    }
    members.remove(0).leave().await;
    for member in &mut members {
        assert_eq!(member.socket.next_of("user_disconnected").await["userId"], "ann");
    }
}

#[tokio::test]
async fn calls_over_a_socket_are_answered_by_the_channel() {
    let folder = Folder::new();
    let server = Server::guarded().flag("--config", settings(&folder, 3)).start().await;
    let mut members = crowd(&server).await;

    members[0].socket.call(1, "post", json!({"content": "called"})).await;
    let frames = [members[0].socket.next().await, members[0].socket.next().await];

    let mut types: Vec<&Value> = frames.iter().map(|frame| &frame["type"]).collect();
    types.sort_by_key(|name| name.to_string());
    assert_eq!(types, ["message", "result"]);
    assert_eq!(server.get("/ws/channel-shard/0%2Fa").await.status, 404);
    assert_eq!(server.mutate("channel-shard.post", json!({"id": "0/a"})).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn from_one_to_many_and_back_nothing_is_lost() {
    let folder = Folder::new();
    let mut server = Server::guarded().flag("--config", settings(&folder, 1)).start().await;
    let mut ann = server.enter("a", "ann").await;
    let mut ids = Vec::new();
    for n in 0..450 {
        ids.push(ann.write(&n.to_string()).await);
    }
    ann.socket.send(&json!({"type": "read", "messageId": ids[7]})).await;
    ann.socket.next_of("read").await;

    for shards in [3, 1, 2] {
        server.terminate().await;
        server.restart_with(&[("--config", &settings(&folder, shards))]).await;
        // The first who comes has the channel feed its shards.
        let mut first = server.enter("a", "first").await;
        ids.push(first.write(&format!("with {shards}")).await);
        if shards > 1 {
            until_split(&server, &first).await;
        }
        for user in USERS {
            let mut member = server.enter("a", user).await;
            let state = &member.state;
            let shown = state["messages"].as_array().unwrap();
            assert_eq!(shown.last().unwrap()["id"], *ids.last().unwrap(), "{user} of {shards}");
            if user == "ann" {
                assert_eq!(state["lastReadMessageId"], ids[7]);
            }
            member.socket.send(&json!({"type": "sync", "afterMessageId": ids[9]})).await;
            for id in &ids[10..] {
                assert_eq!(&next_message(&mut member).await["id"], id);
            }
            member.socket.next_of("synced").await;
            drop(member);
        }
    }
}

#[tokio::test]
async fn a_token_for_the_channel_renews_a_socket_of_its_shards() {
    let folder = Folder::new();
    let server = Server::guarded().flag("--config", settings(&folder, 3)).start().await;
    let mut members = crowd(&server).await;
    let of = |object: &str| {
        let claims = json!({"sub": "ann", "username": "ANN", "permissions": ["read", "write"],
                            "objects": [object]});
        e2e::Signer::hs256(e2e::SECRET).token(claims)
    };

    members[0].socket.send(&json!({"type": "auth", "token": of("channel/a")})).await;
    members[0].socket.next_of("authorized").await;
    members[0].socket.send(&json!({"type": "auth", "token": of("channel-shard/*")})).await;
    assert_eq!(members[0].socket.next_of("error").await["code"], "FORBIDDEN");
}

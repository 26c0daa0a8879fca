use dormouse::{ErrorCode, READ, SessionId, TestObject, WRITE};
use serde_json::{Value, json};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn user(name: &str) -> User {
    let username = name.to_uppercase();
    let permissions = vec![READ.to_owned(), WRITE.to_owned()];
    User { permissions, ..User::new(name, username) }
}

/// A channel in which ann is connected as session 1 and bob as session 2. Bob goes on.
fn room() -> TestObject<Channel> {
    let mut room = TestObject::<Channel>::new("room");
    for (n, name) in [(1, "ann"), (2, "bob")] {
        room.set_session(n);
        room.set_user(Some(user(name)));
        room.connect();
    }
    room.take_events();
    room
}

fn say(room: &mut TestObject<Channel>, content: &str) -> String {
    room.say(json!({"type": "message", "content": content})).unwrap();
    room.take_events();
    let (_, ack) = room.take_frames().pop().unwrap();
    ack["messageId"].as_str().unwrap().to_owned()
}

fn contents(messages: &Value) -> Vec<&str> {
    messages
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect()
}

fn session(n: u8) -> SessionId {
    SessionId::from_random([n; 16])
}

#[test]
fn a_message_is_acknowledged_to_its_writer_and_goes_to_everybody() {
    let mut room = room();

    let said = json!({"type": "message", "content": "hi", "clientId": "c1", "threadId": "t"});
    room.say(said).unwrap();

    let frames = room.take_frames();
    let [(to, ack)] = frames.as_slice() else { panic!("{frames:?}") };
    let id = &ack["messageId"];
    let timestamp = 1_736_942_400_000_i64;
    assert_eq!(*to, session(2));
    assert_eq!(
        *ack,
        json!({"type": "ack", "clientId": "c1", "messageId": id, "timestamp": timestamp})
    );
    assert_eq!(
        room.take_events(),
        [json!({"type": "message", "offset": 1, "message": {
            "id": id, "channelId": "room", "userId": "bob", "username": "BOB", "content": "hi",
            "timestamp": timestamp, "threadId": "t",
        }})]
    );
}

#[test]
fn a_message_that_is_sent_again_is_the_same_message() {
    let mut room = room();
    let said = json!({"type": "message", "content": "hi", "clientId": "c1"});
    room.say(said.clone()).unwrap();
    let (_, first) = room.take_frames().pop().unwrap();
    room.take_events();

    room.say(said).unwrap();
    let posted = room.call("post", json!({"content": "hi", "clientId": "c1"})).unwrap();

    assert_eq!(room.take_frames(), [(session(2), first.clone())]);
    assert_eq!(posted["id"], first["messageId"]);
    assert!(room.take_events().is_empty());
    room.set_user(Some(user("ann")));
    let of_another = room.call("post", json!({"content": "hi", "clientId": "c1"})).unwrap();
    assert_ne!(of_another["id"], first["messageId"], "names are each client's own");
}

#[test]
fn whoever_may_only_read_cannot_write() {
    let mut room = TestObject::<Channel>::new("room");
    room.set_user(Some(User { permissions: vec![READ.to_owned()], ..User::new("eve", "Eve") }));
    room.connect();
    room.take_events();

    let refused = room.say(json!({"type": "message", "content": "hi"})).unwrap_err();

    assert_eq!((refused.code(), refused.message()), (ErrorCode::Forbidden, "No write permission"));
    assert!(room.take_events().is_empty());
    assert!(!room.has_file());
}

#[test]
fn nobody_writes_as_somebody_else() {
    let mut room = room();

    let forged = json!({"type": "message", "content": "hi", "userId": "ann"});
    let refused = room.say(forged).unwrap_err();

    assert_eq!(refused.code(), ErrorCode::BadRequest);
    assert!(refused.message().contains("userId"), "{refused}");
}

#[test]
fn text_has_a_length_and_is_kept_as_it_is() {
    let mut room = room();
    let script = "<script>alert('x')</script>";

    say(&mut room, script);
    for wrong in [String::new(), "x".repeat(1 << 20)] {
        let refused = room.say(json!({"type": "message", "content": wrong})).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::BadRequest);
        assert!(refused.message().starts_with("`content`"), "{refused}");
    }

    let history = room.call("history", json!({})).unwrap();
    assert_eq!(contents(&history["messages"]), [script]);
}

#[test]
fn on_connect_the_newest_fifty_messages_and_who_is_there() {
    let mut room = room();
    for n in 0..60 {
        say(&mut room, &n.to_string());
    }

    let frames = room.connect();

    let [state] = frames.as_slice() else { panic!("{frames:?}") };
    let expected: Vec<String> = (10..60).map(|n| n.to_string()).collect();
    assert_eq!(state["type"], "initial_state");
    assert_eq!(contents(&state["messages"]), expected);
    let users: Vec<&str> = state["onlineUsers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["userId"].as_str().unwrap())
        .collect();
    assert_eq!(users, ["ann", "bob"]);
    assert_eq!(state["onlineUsers"][0]["joinedAt"], 1_736_942_400_000_i64);
    assert_eq!(state["offset"], 60);
    assert!(state["session"].is_string());
}

#[test]
fn connecting_and_reading_creates_nothing() {
    let mut room = room();

    room.call("history", json!({})).unwrap();
    room.call("members", json!({})).unwrap();
    room.say(json!({"type": "typing", "isTyping": true})).unwrap();

    assert!(!room.has_file());
}

#[test]
fn typing_and_presence_pass_by_the_object() {
    let mut room = room();

    room.say(json!({"type": "typing", "isTyping": true})).unwrap();
    room.say(json!({"type": "presence", "status": "away"})).unwrap();

    let who = |rest: Value| {
        let mut event = json!({"userId": "bob", "username": "BOB"});
        event.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        event
    };
    assert_eq!(
        room.take_events(),
        [
            who(json!({"type": "typing", "isTyping": true})),
            who(json!({"type": "presence", "status": "away"})),
        ]
    );
}

#[test]
fn sync_gives_what_was_missed_in_order() {
    let mut room = room();
    let ids: Vec<String> = (0..510).map(|n| say(&mut room, &n.to_string())).collect();

    room.say(json!({"type": "sync", "afterMessageId": ids[3]})).unwrap();
    let mut frames: Vec<Value> = room.take_frames().into_iter().map(|(_, frame)| frame).collect();
    let synced = frames.pop().unwrap();
    assert_eq!(frames.len(), 500);
    assert!(frames.iter().all(|frame| frame["type"] == "message" && frame["offset"].is_null()));
    assert_eq!(frames[0]["message"]["id"], ids[4].as_str());
    assert_eq!(synced, json!({"type": "synced", "lastMessageId": ids[503], "more": true}));

    room.say(json!({"type": "sync", "afterMessageId": ids[503]})).unwrap();
    let frames = room.take_frames();
    assert_eq!(frames.len(), 7);
    assert_eq!(frames[6].1, json!({"type": "synced", "lastMessageId": ids[509], "more": false}));
    room.say(json!({"type": "sync", "afterMessageId": ids[509]})).unwrap();
    let (_, nothing_new) = room.take_frames().pop().unwrap();
    assert_eq!(nothing_new["lastMessageId"], ids[509].as_str());
}

#[test]
fn sync_after_a_message_that_nobody_knows_starts_over() {
    let mut room = room();
    say(&mut room, "hi");

    room.say(json!({"type": "sync", "afterMessageId": "nobody"})).unwrap();

    let frames = room.take_frames();
    let [(_, error), (_, state)] = frames.as_slice() else { panic!("{frames:?}") };
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("unknown_message")));
    assert_eq!(state["type"], "initial_state");
    assert_eq!((&state["offset"], contents(&state["messages"])), (&json!(1), vec!["hi"]));
    assert_eq!(state["session"], session(2).to_string());
}

#[test]
fn receipts_only_move_forward() {
    let mut room = room();
    let (first, second) = (say(&mut room, "1"), say(&mut room, "2"));

    for id in [&second, &first, &second] {
        room.say(json!({"type": "read", "messageId": id})).unwrap();
    }

    assert_eq!(
        room.take_events(),
        [json!({"type": "read", "userId": "bob", "messageId": second, "offset": 3})]
    );
    assert_eq!(room.connect()[0]["lastReadMessageId"], second.as_str());
    room.say(json!({"type": "read", "messageId": "nobody"})).unwrap();
    assert_eq!(room.take_frames()[0].1["code"], "unknown_message");
}

#[test]
fn history_goes_back_page_by_page() {
    let mut room = room();
    for n in 0..5 {
        say(&mut room, &n.to_string());
    }

    let first = room.call("history", json!({"limit": 2})).unwrap();
    let second = room.call("history", json!({"limit": 3, "before": first["next"]})).unwrap();

    assert_eq!(contents(&first["messages"]), ["4", "3"]);
    assert_eq!(contents(&second["messages"]), ["2", "1", "0"]);
    assert!(second["next"].is_null());
    let unknown = room.call("history", json!({"before": "nobody"})).unwrap_err();
    assert_eq!(unknown.code(), ErrorCode::NotFound);
}

#[test]
fn a_thread_begins_with_its_first_message() {
    let mut room = room();
    let root = say(&mut room, "root");
    say(&mut room, "elsewhere");
    for content in ["a", "b"] {
        room.call("post", json!({"content": content, "threadId": root})).unwrap();
    }

    let thread = room.call("thread", json!({"threadId": root, "limit": 1})).unwrap();
    let input = json!({"threadId": root, "limit": 1, "after": thread["next"]});
    let rest = room.call("thread", input).unwrap();

    assert_eq!(contents(&thread["messages"]), ["root", "a"]);
    assert_eq!(contents(&rest["messages"]), ["b"]);
    assert!(rest["next"].is_null());
}

#[test]
fn members_are_who_wrote_or_read_and_who_is_there() {
    let mut room = room();
    let id = say(&mut room, "hi");
    room.say(json!({"type": "read", "messageId": id})).unwrap();
    room.disconnect();

    let members = room.call("members", json!({})).unwrap();

    assert_eq!(
        members["members"],
        json!([
            {"userId": "bob", "username": "BOB", "isOnline": false,
             "lastActiveAt": "2025-01-15T12:00:00.000Z", "lastReadMessageId": id},
            {"userId": "ann", "username": "ANN", "isOnline": true},
        ])
    );
}

#[test]
fn what_is_older_than_the_retention_is_deleted() {
    let mut room = TestObject::<Channel>::with_settings("room", json!({"retention": "30d"}));
    room.set_user(Some(user("ann")));
    room.connect();
    let old = say(&mut room, "old");
    room.advance(20 * DAY);
    say(&mut room, "newer");
    say(&mut room, "newest");

    room.advance(10 * DAY);
    let history = room.call("history", json!({})).unwrap();
    assert_eq!(contents(&history["messages"]), ["newest", "newer"]);
    let epoch = room.connect()[0]["epoch"].as_str().unwrap().to_owned();
    assert_eq!(room.resume(&epoch, 0)[0]["type"], "initial_state", "the log has forgotten it too");
    room.say(json!({"type": "sync", "afterMessageId": old})).unwrap();
    assert_eq!(room.take_frames()[0].1["code"], "unknown_message");

    room.advance(20 * DAY);
    let history = room.call("history", json!({})).unwrap();
    assert!(contents(&history["messages"]).is_empty());
    let after_all = say(&mut room, "after all");
    room.say(json!({"type": "read", "messageId": after_all})).unwrap();
    assert_eq!(room.take_events().len(), 1, "places in the log never come again");
}

#[test]
fn everything_is_there_after_a_crash() {
    let mut room = room();
    let id = say(&mut room, "hi");

    room.crash();
    let state = &room.connect()[0];

    assert_eq!(contents(&state["messages"]), ["hi"]);
    assert_eq!(state["messages"][0]["id"], id.as_str());
}

#[test]
fn a_retention_that_is_set_later_holds_for_what_is_there() {
    let mut room = TestObject::<Channel>::with_settings("room", json!({"retention": "30d"}));
    room.set_user(Some(user("ann")));
    room.connect();
    say(&mut room, "old");
    room.advance(29 * DAY);

    room.crash_with(json!({"retention": "10d"}));
    room.connect();
    room.advance(Duration::ZERO);

    let history = room.call("history", json!({})).unwrap();
    assert!(contents(&history["messages"]).is_empty());
}

/// What a channel that is split sends to its shards, as they do not answer.
fn fed(room: &mut TestObject<Channel>) -> Vec<Value> {
    let mut fed = Vec::new();
    loop {
        let messages = room.take_messages();
        if messages.is_empty() {
            return fed;
        }
        fed.extend(messages.into_iter().map(|(_, message)| message));
        room.advance(Duration::from_secs(1));
    }
}

#[test]
fn shards_are_sent_everything_in_messages_that_fit() {
    let mut room = TestObject::<Channel>::new("room");
    // Six bytes of JSON for each of text.
    let long = "\u{1}".repeat(32_768);
    let avatar = format!("https://pictures.example/{}", "x".repeat(2000));
    for n in 0..300 {
        let name = format!("user {n:03}");
        room.set_user(Some(User { avatar: Some(avatar.clone()), ..user(&name) }));
        let content = if n < 20 { long.as_str() } else { "short" };
        let posted = room.call("post", json!({"content": content})).unwrap();
        room.set_session(1);
        room.connect();
        room.say(json!({"type": "read", "messageId": posted["id"]})).unwrap();
    }

    room.crash_with(json!({"shards": 2}));
    room.connect();
    let fed = fed(&mut room);

    let sent = |of: &str, list: &str| -> usize {
        let of_type = fed.iter().filter(|message| message["type"] == of);
        of_type.map(|message| message[list].as_array().unwrap().len()).sum()
    };
    assert_eq!(sent("messages", "messages"), 2 * 300);
    assert_eq!(
        sent("members", "members"),
        2 * (300 + 300),
        "and those who read, with what they read"
    );
    assert!(fed.iter().all(|message| message.to_string().len() < 512 << 10));
}

#[test]
fn a_receipt_is_not_sent_to_a_shard_before_its_message() {
    let mut room = TestObject::<Channel>::new("room");
    // So many that shards are not sent the messages at once.
    for n in 0..250 {
        room.set_user(Some(user(&format!("user {n:03}"))));
        room.call("post", json!({"content": "hi"})).unwrap();
    }
    room.set_user(Some(user("ann")));

    room.crash_with(json!({"shards": 2}));
    let state = room.connect().remove(0);
    let id = &state["messages"][0]["id"];
    room.say(json!({"type": "read", "messageId": id})).unwrap();

    let fed = fed(&mut room);
    assert!(fed.iter().all(|message| message["type"] != "read"));
    let last = &fed.last().unwrap()["members"][0];
    assert_eq!((&last["user_id"], &last["read_message_id"]), (&json!("ann"), id));
}

//! What an object knows of its sessions, driven through the test kit.

use std::time::Duration;

use dormouse::{
    ATTACHMENT_BYTES_MAX, Cx, Empty, Error, ErrorCode, Methods, Object, SESSION_KEPT,
    SESSION_TAG_CHARS_MAX, SESSION_TAGS_MAX, Sender, Session, SessionId, TestObject, User,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A cloakroom: whoever comes gets tags, hands something in, and is told when others go.
struct Cloakroom {
    /// How many have come since it woke.
    visits: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum CloakroomEvent {
    Initial { visits: u32 },
    Greeted { tags: Vec<String> },
    Whispered { text: String },
    Shouted { text: String },
    Left { who: String, tags: Vec<String> },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Tag {
    tags: Vec<String>,
    /// `refuse` or `panic`: how the handler ends.
    #[serde(default)]
    then: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HandIn {
    thing: Value,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Kick {
    code: u16,
    reason: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Find {
    tag: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Found {
    users: Vec<String>,
}

impl Object for Cloakroom {
    const KIND: &'static str = "cloakroom";
    type Event = CloakroomEvent;
    const MIGRATIONS: &'static [&'static str] = &[];

    fn methods() -> Methods<Self> {
        Methods::new()
            .connected(Self::connected)
            .closed(Self::closed)
            .message("tag", Sender::Writer, Self::tag)
            .message("handIn", Sender::Writer, Self::hand_in)
            .message("askBack", Sender::Writer, Self::ask_back)
            .message("speak", Sender::Writer, Self::speak)
            .message("look", Sender::Writer, Self::look)
            .message("kick", Sender::Writer, Self::kick)
            .mutation("shout", Self::shout)
            .query("find", Self::find)
            .query("rows", Self::rows)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Cloakroom { visits: 0 })
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<CloakroomEvent>, Error> {
        Ok(Some(CloakroomEvent::Initial { visits: self.visits }))
    }
}

impl Cloakroom {
    fn connected(&mut self, cx: &mut Cx<Self>, session: &Session) -> Result<(), Error> {
        self.visits += 1;
        cx.send(session.id, &CloakroomEvent::Greeted { tags: cx.tags(session.id) })
    }

    fn closed(&mut self, cx: &mut Cx<Self>, session: &Session) -> Result<(), Error> {
        let (who, tags) = (name(session), cx.tags(session.id));
        assert!(cx.session(session.id).is_none(), "it has no socket any more");
        cx.broadcast_lossy(dormouse::Audience::Everyone, &CloakroomEvent::Left { who, tags })
    }

    fn tag(&mut self, cx: &mut Cx<Self>, session: &Session, input: Tag) -> Result<(), Error> {
        let tags: Vec<&str> = input.tags.iter().map(String::as_str).collect();
        cx.accept(session.id, &tags)?;
        assert_eq!(cx.tags(session.id), input.tags, "the handler sees what it noted");
        match input.then.as_str() {
            "refuse" => Err(Error::conflict("on demand")),
            "panic" => panic!("on demand"),
            _ => Ok(()),
        }
    }

    fn hand_in(&mut self, cx: &mut Cx<Self>, session: &Session, it: HandIn) -> Result<(), Error> {
        cx.set_attachment(session.id, &it.thing)
    }

    fn ask_back(&mut self, cx: &mut Cx<Self>, session: &Session, _: Empty) -> Result<(), Error> {
        let thing: Option<Value> = cx.attachment(session.id)?;
        let text = thing.unwrap_or_default().to_string();
        cx.send(session.id, &CloakroomEvent::Whispered { text })
    }

    /// Says something to everybody, and before and after it something to the speaker.
    fn speak(&mut self, cx: &mut Cx<Self>, session: &Session, it: Text) -> Result<(), Error> {
        let whisper = |text: &str| CloakroomEvent::Whispered { text: text.to_owned() };
        cx.send(session.id, &whisper("before"))?;
        cx.broadcast(&CloakroomEvent::Shouted { text: it.text })?;
        cx.send(session.id, &whisper("after"))
    }

    fn look(&mut self, cx: &mut Cx<Self>, session: &Session, _: Empty) -> Result<(), Error> {
        cx.send_initial(session.id, &CloakroomEvent::Initial { visits: self.visits })
    }

    fn kick(&mut self, cx: &mut Cx<Self>, session: &Session, it: Kick) -> Result<(), Error> {
        cx.close(session.id, it.code, &it.reason)
    }

    fn shout(&mut self, cx: &mut Cx<Self>, it: Text) -> Result<(), Error> {
        cx.broadcast(&CloakroomEvent::Shouted { text: it.text }).map(drop)
    }

    fn find(&self, cx: &Cx<Self>, it: Find) -> Result<Found, Error> {
        let found = cx.sessions(it.tag.as_deref());
        Ok(Found { users: found.iter().map(name).collect() })
    }

    /// How many sessions the object's file knows.
    fn rows(&self, cx: &Cx<Self>, _: Empty) -> Result<i64, Error> {
        let table = cx.sql().row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'dormouse_session'",
            [],
            |row| row.get::<_, i64>(0),
        )?;
        if table == Some(0) {
            return Ok(0);
        }
        let rows = cx.sql().row("SELECT count(*) FROM dormouse_session", [], |row| row.get(0))?;
        Ok(rows.unwrap_or_default())
    }
}

fn name(session: &Session) -> String {
    session.user.as_ref().map_or("nobody", |user| &user.id).to_owned()
}

/// A cloakroom that nobody has used.
fn cloakroom() -> TestObject<Cloakroom> {
    TestObject::new("c")
}

/// A session of that number connects for a user.
fn enter(object: &mut TestObject<Cloakroom>, n: u8, user: &str) -> Vec<Value> {
    object.set_user(Some(User::new(user, user)));
    object.set_session(n);
    let frames = object.connect();
    object.take_frames();
    frames
}

fn tag(object: &mut TestObject<Cloakroom>, tags: &[&str]) {
    object.say(json!({"type": "tag", "tags": tags})).expect("the tags are allowed");
}

fn hand_in(object: &mut TestObject<Cloakroom>, thing: Value) -> Result<(), Error> {
    object.say(json!({"type": "handIn", "thing": thing}))
}

/// What the session has handed in, as JSON.
fn attachment(object: &mut TestObject<Cloakroom>) -> Value {
    object.say(json!({"type": "askBack"})).expect("asking is allowed");
    let (_, frame) = object.take_frames().pop().expect("it is answered");
    let text = frame["text"].as_str().expect("it is text");
    serde_json::from_str(text).expect("what was handed in is JSON")
}

/// Who has a tag.
fn found(object: &mut TestObject<Cloakroom>, tag: Option<&str>) -> Vec<String> {
    let found = object.call("find", json!({"tag": tag})).expect("asking is allowed");
    let users = found["users"].as_array().expect("it is a list");
    users.iter().map(|user| user.as_str().expect("an id is text").to_owned()).collect()
}

fn rows(object: &mut TestObject<Cloakroom>) -> i64 {
    let rows = object.call("rows", json!({})).expect("asking is allowed");
    rows.as_i64().expect("it is a number")
}

fn create(object: &mut TestObject<Cloakroom>) {
    object.call("shout", json!({"text": "open"})).expect("shouting is allowed");
}

#[test]
fn sessions_are_found_by_their_tags() {
    let mut object = cloakroom();
    for (n, user, tags) in [(1, "ann", &["a", "b"][..]), (2, "bob", &["b"]), (3, "cat", &[])] {
        enter(&mut object, n, user);
        tag(&mut object, tags);
    }

    assert_eq!(found(&mut object, None), ["ann", "bob", "cat"]);
    assert_eq!(found(&mut object, Some("b")), ["ann", "bob"]);
    assert_eq!(found(&mut object, Some("a")), ["ann"]);
    assert!(found(&mut object, Some("c")).is_empty());

    object.set_session(1);
    tag(&mut object, &["c"]);
    assert!(found(&mut object, Some("a")).is_empty(), "new tags take the place of the old");
    object.disconnect();
    assert!(found(&mut object, Some("c")).is_empty(), "only who is connected is found");
}

#[test]
fn tags_are_bounded_in_number_and_length() {
    let mut object = cloakroom();
    enter(&mut object, 1, "ann");
    let longest = "ä".repeat(SESSION_TAG_CHARS_MAX);
    let all = vec![longest.as_str(); SESSION_TAGS_MAX];
    tag(&mut object, &all);

    let too_long = format!("{longest}x");
    for tags in [vec!["t"; SESSION_TAGS_MAX + 1], vec![too_long.as_str()]] {
        let err = object.say(json!({"type": "tag", "tags": tags})).unwrap_err();
        assert_eq!(err.code(), ErrorCode::InternalServerError);
    }
    assert_eq!(found(&mut object, Some(&longest)), ["ann"], "what was there stays");
}

#[test]
fn an_attachment_may_have_so_many_bytes_and_no_more() {
    let mut object = cloakroom();
    enter(&mut object, 1, "ann");
    let fits = Value::from("x".repeat(ATTACHMENT_BYTES_MAX - 2)); // And two quotation marks.
    hand_in(&mut object, fits.clone()).unwrap();

    let too_large = Value::from("x".repeat(ATTACHMENT_BYTES_MAX - 1));
    let err = hand_in(&mut object, too_large).unwrap_err();

    assert_eq!(err.code(), ErrorCode::InternalServerError);
    assert_eq!(attachment(&mut object), fits);
}

#[test]
fn what_was_noted_outlives_the_objects_sleep() {
    let mut object = cloakroom();
    enter(&mut object, 1, "ann");
    tag(&mut object, &["a"]);
    hand_in(&mut object, json!({"coat": 1})).unwrap();

    object.sleep();

    assert_eq!(found(&mut object, Some("a")), ["ann"]);
    assert_eq!(attachment(&mut object), json!({"coat": 1}));
}

#[test]
fn a_session_that_comes_back_has_what_was_noted() {
    let mut object = cloakroom();
    enter(&mut object, 1, "ann");
    tag(&mut object, &["a"]);
    hand_in(&mut object, json!("coat")).unwrap();

    object.cut();
    object.sleep();
    object.advance(Duration::from_secs(200));
    object.connect();

    assert_eq!(object.take_frames()[0].1, json!({"type": "greeted", "tags": ["a"]}));
    assert_eq!(attachment(&mut object), json!("coat"));
}

#[test]
fn a_session_that_comes_back_after_a_crash_has_what_was_noted() {
    let mut object = cloakroom();
    create(&mut object);
    enter(&mut object, 1, "ann");
    tag(&mut object, &["a"]);
    hand_in(&mut object, json!("coat")).unwrap();

    object.crash();
    assert!(found(&mut object, None).is_empty(), "no socket outlives the process");
    object.connect();

    assert_eq!(object.take_frames()[0].1, json!({"type": "greeted", "tags": ["a"]}));
    assert_eq!(found(&mut object, Some("a")), ["ann"]);
    assert_eq!(attachment(&mut object), json!("coat"));
}

#[test]
fn nobody_else_gets_what_was_noted_about_a_session() {
    let mut object = cloakroom();
    create(&mut object);
    enter(&mut object, 1, "ann");
    hand_in(&mut object, json!("coat")).unwrap();

    object.crash();
    for other in [Some("eve"), None] {
        object.set_user(other.map(|user| User::new(user, user)));
        object.connect();
        assert_eq!(attachment(&mut object), Value::Null, "{other:?}");
        hand_in(&mut object, json!("stolen")).unwrap();
        object.crash();
    }
    enter(&mut object, 1, "ann");

    assert_eq!(attachment(&mut object), json!("coat"), "nor overwrites it");
}

#[test]
fn long_after_a_crash_a_session_is_not_believed_any_more() {
    let mut object = cloakroom();
    create(&mut object);
    enter(&mut object, 1, "ann");
    hand_in(&mut object, json!("coat")).unwrap();

    object.crash();
    object.advance(SESSION_KEPT);
    object.connect();

    assert_eq!(attachment(&mut object), Value::Null);
}

#[test]
fn what_is_noted_in_an_object_that_does_not_exist_is_stored_once_it_does() {
    let mut object = cloakroom();
    enter(&mut object, 1, "ann");
    tag(&mut object, &["a"]);
    hand_in(&mut object, json!("coat")).unwrap();
    enter(&mut object, 2, "bob");
    tag(&mut object, &["b"]);
    assert!(!object.has_file(), "sessions create nothing");
    object.sleep();
    assert_eq!(found(&mut object, Some("a")), ["ann"]);

    create(&mut object);
    assert_eq!(rows(&mut object), 2);
    object.crash();
    enter(&mut object, 1, "ann");

    assert_eq!(attachment(&mut object), json!("coat"));
    assert_eq!(found(&mut object, Some("a")), ["ann"]);
}

#[test]
fn connecting_and_leaving_creates_nothing() {
    let mut object = cloakroom();

    enter(&mut object, 1, "ann");
    object.disconnect();

    assert!(!object.has_file());
}

#[test]
fn a_handler_that_fails_or_panics_notes_nothing() {
    for exists in [false, true] {
        let mut object = cloakroom();
        if exists {
            create(&mut object);
        }
        enter(&mut object, 1, "ann");
        tag(&mut object, &["a"]);

        for then in ["refuse", "panic"] {
            object.say(json!({"type": "tag", "tags": ["b"], "then": then})).unwrap_err();
            assert!(found(&mut object, Some("b")).is_empty(), "{then}");
            assert_eq!(found(&mut object, Some("a")), ["ann"], "{then}");
        }
        object.sleep();
        assert_eq!(found(&mut object, Some("a")), ["ann"]);
    }
}

#[test]
fn the_object_hears_of_each_socket_that_comes_and_goes() {
    let mut object = cloakroom();

    let first = enter(&mut object, 1, "ann");
    let again = enter(&mut object, 2, "bob");
    tag(&mut object, &["b"]);
    object.disconnect();

    assert_eq!((&first[0]["visits"], &again[0]["visits"]), (&json!(1), &json!(2)));
    let left = json!({"type": "left", "who": "bob", "tags": ["b"]});
    assert_eq!(object.take_events(), [left], "it still knows what it noted");
}

#[test]
fn frames_for_one_session_reach_no_other_and_are_in_no_log() {
    let mut object = cloakroom();
    enter(&mut object, 1, "ann");
    let ann = object.session();
    enter(&mut object, 2, "bob");
    object.set_session(1);

    object.say(json!({"type": "speak", "text": "hi"})).unwrap();

    let whispered = |text: &str| (ann, json!({"type": "whispered", "text": text}));
    assert_eq!(object.take_frames(), [whispered("before"), whispered("after")]);
    let shouted = json!({"type": "shouted", "text": "hi", "offset": 1});
    assert_eq!(object.take_events(), std::slice::from_ref(&shouted));
    object.set_session(3);
    let epoch = object.connect()[0]["epoch"].as_str().unwrap().to_owned();
    object.set_session(4);
    assert_eq!(object.resume(&epoch, 0)[1..], [shouted]);
}

#[test]
fn a_session_can_be_given_the_whole_state_anew() {
    let mut object = cloakroom();
    create(&mut object);
    let first = enter(&mut object, 1, "ann").remove(0);
    let ann = object.session();

    object.say(json!({"type": "look"})).unwrap();

    assert_eq!(object.take_frames(), [(ann, first)], "with epoch, offset and session");
}

#[test]
fn an_object_closes_a_socket_with_its_own_words() {
    let mut object = cloakroom();
    enter(&mut object, 1, "ann");
    let ann = object.session();

    for code in [1000, 1008, 1012, 4000, 4999] {
        object.say(json!({"type": "kick", "code": code, "reason": "enough"})).unwrap();
        let closed = json!({"close": code, "reason": "enough"});
        assert_eq!(object.take_frames(), [(ann, closed)]);
    }
    for code in [0, 999, 1001, 1005, 1006, 1011, 1013, 3999, 5000] {
        let err = object.say(json!({"type": "kick", "code": code, "reason": ""})).unwrap_err();
        assert_eq!(err.code(), ErrorCode::InternalServerError, "{code}");
    }
    assert!(object.take_frames().is_empty());
}

#[test]
fn sessions_that_are_gone_for_good_leave_no_rows_behind() {
    let mut object = cloakroom();
    create(&mut object);
    let mut most = 0;
    for round in 0..20 {
        for n in 0..40 {
            enter(&mut object, n, "ann");
            hand_in(&mut object, json!(round)).unwrap();
            object.disconnect();
        }
        object.advance(SESSION_KEPT);
        most = most.max(rows(&mut object));
    }
    enter(&mut object, 200, "bob");
    for n in 0..10 {
        hand_in(&mut object, json!(n)).unwrap();
        object.advance(Duration::from_secs(1));
    }

    assert!(most <= 80, "{most} rows for 40 sessions at a time");
    assert_eq!(rows(&mut object), 1, "that of the only one who is there");
    assert_eq!(attachment(&mut object), json!(9));
}

#[test]
fn the_name_of_a_session_is_read_as_it_was_written() {
    let id = SessionId::from_random([0xab; 16]);

    assert_eq!(SessionId::parse(&id.to_string()), Some(id));
    for garbage in ["", "ab", "+bababababababababababababababab", &"g".repeat(32)] {
        assert_eq!(SessionId::parse(garbage), None, "{garbage}");
    }
}

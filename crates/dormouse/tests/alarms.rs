//! Alarms, driven through the test kit.

use std::time::Duration;

use dormouse::{Alarm, Cx, Error, Methods, Object, Session, TestObject, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Rings when its alarms come, and fails as often as it is told to.
struct Bell;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum BellEvent {
    Rang { name: String, due: Timestamp, attempts: u32 },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Set {
    name: String,
    seconds: u64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fail {
    times: u32,
}

#[derive(Serialize, JsonSchema)]
struct Pending {
    due: Option<Timestamp>,
}

impl Object for Bell {
    const KIND: &'static str = "bell";
    type Event = BellEvent;
    const MIGRATIONS: &'static [&'static str] = &[];

    fn methods() -> Methods<Self> {
        Methods::new()
            .mutation("set", Self::set)
            .mutation("setAndRefuse", Self::set_and_refuse)
            .mutation("cancel", Self::cancel)
            .mutation("fail", Self::fail)
            .query("pending", Self::pending)
            .alarm(Self::ring)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Bell)
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<BellEvent>, Error> {
        Ok(None)
    }
}

impl Bell {
    fn set(&mut self, cx: &mut Cx<Self>, input: Set) -> Result<Pending, Error> {
        let due = cx.now().checked_add(Duration::from_secs(input.seconds));
        let due = due.ok_or_else(|| Error::bad_request("too far away"))?;
        cx.set_alarm(&input.name, due)?;
        Ok(Pending { due: Some(due) })
    }

    fn set_and_refuse(&mut self, cx: &mut Cx<Self>, input: Set) -> Result<Pending, Error> {
        self.set(cx, input)?;
        Err(Error::conflict("on demand"))
    }

    fn cancel(&mut self, cx: &mut Cx<Self>, input: Name) -> Result<bool, Error> {
        cx.cancel_alarm(&input.name)
    }

    /// Not in the object: a handler that failed leaves no trace there.
    fn fail(&mut self, _: &mut Cx<Self>, input: Fail) -> Result<(), Error> {
        FAILURES_LEFT.set(input.times);
        Ok(())
    }

    fn pending(&self, cx: &Cx<Self>, input: Name) -> Result<Pending, Error> {
        Ok(Pending { due: cx.alarm(&input.name)? })
    }

    fn ring(&mut self, cx: &mut Cx<Self>, alarm: &Alarm) -> Result<(), Error> {
        let Alarm { name, due, attempts } = alarm.clone();
        cx.broadcast(&BellEvent::Rang { name, due, attempts })?;
        let left = FAILURES_LEFT.get();
        if left > 0 {
            FAILURES_LEFT.set(left - 1);
            return Err(Error::conflict("on demand"));
        }
        Ok(())
    }
}

thread_local! {
    /// How often the next alarms fail.
    static FAILURES_LEFT: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

fn bell() -> TestObject<Bell> {
    TestObject::new("b")
}

fn rang(bell: &mut TestObject<Bell>) -> Vec<(String, u64)> {
    let of =
        |event: &Value| Some((event["name"].as_str()?.to_owned(), event["attempts"].as_u64()?));
    bell.take_events().iter().map(|event| of(event).expect("only `rang` is broadcast")).collect()
}

fn once(name: &str) -> (String, u64) {
    (name.to_owned(), 0)
}

#[test]
fn alarms_fire_once_each_in_order_of_their_time() {
    let mut bell = bell();
    bell.call("set", json!({"name": "later", "seconds": 20})).unwrap();
    bell.call("set", json!({"name": "sooner", "seconds": 10})).unwrap();

    bell.advance(Duration::from_secs(9));
    let before = rang(&mut bell);
    bell.advance(Duration::from_secs(11));
    let after = rang(&mut bell);
    bell.advance(Duration::from_secs(1_000));

    assert_eq!(before, []);
    assert_eq!(after, [once("sooner"), once("later")]);
    assert_eq!(rang(&mut bell), []);
}

#[test]
fn an_alarm_survives_sleep_and_crash() {
    let mut bell = bell();
    bell.call("set", json!({"name": "a", "seconds": 10})).unwrap();

    bell.sleep();
    bell.crash();
    bell.advance(Duration::from_secs(10));

    assert_eq!(rang(&mut bell), [once("a")]);
}

#[test]
fn the_same_name_moves_an_alarm_and_cancel_takes_it_back() {
    let mut bell = bell();
    bell.call("set", json!({"name": "a", "seconds": 10})).unwrap();
    bell.call("set", json!({"name": "a", "seconds": 30})).unwrap();
    bell.call("set", json!({"name": "b", "seconds": 10})).unwrap();

    let cancelled = bell.call("cancel", json!({"name": "b"})).unwrap();
    let again = bell.call("cancel", json!({"name": "b"})).unwrap();
    bell.advance(Duration::from_secs(29));

    assert_eq!((cancelled, again), (json!(true), json!(false)));
    assert_eq!(rang(&mut bell), []);
    assert_eq!(
        bell.call("pending", json!({"name": "a"})).unwrap(),
        json!({"due": "2025-01-15T12:00:30.000Z"})
    );
    bell.advance(Duration::from_secs(1));
    assert_eq!(rang(&mut bell), [once("a")]);
    assert_eq!(bell.call("pending", json!({"name": "a"})).unwrap(), json!({"due": null}));
}

#[test]
fn a_refused_handler_sets_no_alarm() {
    let mut bell = bell();

    bell.call("setAndRefuse", json!({"name": "a", "seconds": 1})).unwrap_err();
    bell.advance(Duration::from_secs(10));

    assert_eq!(rang(&mut bell), []);
    assert!(!bell.has_file());
}

#[test]
fn a_failing_alarm_leaves_no_trace_and_comes_back_later_each_time() {
    let mut bell = bell();
    bell.call("set", json!({"name": "a", "seconds": 0})).unwrap();
    bell.call("fail", json!({"times": 3})).unwrap();

    // The longest waits: 2, 4 and 8 s, and half as long again.
    let mut fired = Vec::new();
    for seconds in [0, 3, 6, 12] {
        bell.advance(Duration::from_secs(seconds));
        fired.push(rang(&mut bell));
    }

    assert_eq!(fired, [vec![], vec![], vec![], vec![("a".to_owned(), 3)]]);
}

#[test]
fn an_alarm_is_given_up_after_six_retries() {
    let mut bell = bell();
    bell.call("set", json!({"name": "a", "seconds": 0})).unwrap();
    bell.call("fail", json!({"times": 1_000})).unwrap();

    for _ in 0..20 {
        bell.advance(Duration::from_secs(3_600));
    }

    assert_eq!(FAILURES_LEFT.get(), 1_000 - 7, "one try and six retries");
    assert_eq!(bell.call("pending", json!({"name": "a"})).unwrap(), json!({"due": null}));
    FAILURES_LEFT.set(0);
    bell.call("set", json!({"name": "a", "seconds": 1})).unwrap();
    bell.advance(Duration::from_secs(1));
    assert_eq!(rang(&mut bell), [once("a")], "the next one starts anew");
}

#[test]
fn an_object_has_a_bounded_number_of_alarms() {
    let mut bell = bell();
    for n in 0..1_000 {
        bell.call("set", json!({"name": n.to_string(), "seconds": 10})).unwrap();
    }

    assert!(bell.call("set", json!({"name": "one more", "seconds": 10})).is_err());
    assert!(bell.call("set", json!({"name": "999", "seconds": 20})).is_ok(), "moving one is fine");
    assert!(bell.call("set", json!({"name": "x".repeat(257), "seconds": 10})).is_err());
}

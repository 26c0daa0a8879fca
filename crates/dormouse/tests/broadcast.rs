//! Events that are in no log, driven through the test kit.

use dormouse::{Audience, Cx, Empty, Error, ErrorCode, Methods, Object, Session, TestObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Says that it hums and where it points, and writes down only what it is told to.
struct Gadget;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum GadgetEvent {
    Noted { text: String },
    Hummed {},
    Pointed { at: u32 },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Point {
    key: String,
    at: u32,
}

impl Object for Gadget {
    const KIND: &'static str = "gadget";
    type Event = GadgetEvent;
    const MIGRATIONS: &'static [&'static str] = &[];

    fn methods() -> Methods<Self> {
        Methods::new()
            .mutation("note", Self::note)
            .mutation("hum", Self::hum)
            .mutation("point", Self::point)
            .mutation("humAndFail", Self::hum_and_fail)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Gadget)
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<GadgetEvent>, Error> {
        Ok(None)
    }
}

impl Gadget {
    fn note(&mut self, cx: &mut Cx<Self>, Note { text }: Note) -> Result<(), Error> {
        cx.broadcast(&GadgetEvent::Noted { text }).map(drop)
    }

    fn hum(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<(), Error> {
        cx.broadcast_lossy(Audience::Everyone, &GadgetEvent::Hummed {})
    }

    fn point(&mut self, cx: &mut Cx<Self>, Point { key, at }: Point) -> Result<(), Error> {
        cx.broadcast_latest(&key, Audience::Everyone, &GadgetEvent::Pointed { at })
    }

    fn hum_and_fail(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<(), Error> {
        cx.broadcast_lossy(Audience::Everyone, &GadgetEvent::Hummed {})?;
        Err(Error::conflict("out of tune"))
    }
}

#[test]
fn events_that_are_in_no_log_leave_in_order_and_leave_no_trace() {
    let mut gadget = TestObject::<Gadget>::new("g");

    gadget.call("hum", json!({})).unwrap();
    gadget.call("point", json!({"key": "ada", "at": 3})).unwrap();

    let expected = [json!({"type": "hummed"}), json!({"type": "pointed", "at": 3})];
    assert_eq!(gadget.take_events(), expected);
    assert!(!gadget.has_file());
    gadget.call("note", json!({"text": "a"})).unwrap();
    assert_eq!(gadget.take_events()[0]["offset"], 1, "they took no place in the log");
}

#[test]
fn a_handler_that_fails_sends_nothing() {
    let mut gadget = TestObject::<Gadget>::new("g");

    gadget.call("humAndFail", json!({})).unwrap_err();

    assert!(gadget.take_events().is_empty());
}

#[test]
fn a_key_that_is_too_long_is_the_kinds_fault() {
    let mut gadget = TestObject::<Gadget>::new("g");

    let input = json!({"key": "k".repeat(1025), "at": 1});
    let err = gadget.call("point", input).unwrap_err();

    assert_eq!(err.code(), ErrorCode::InternalServerError);
    assert!(gadget.take_events().is_empty());
}

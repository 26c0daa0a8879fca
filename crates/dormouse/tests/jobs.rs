//! Jobs, driven through the test kit.

use std::future::ready;

use dormouse::{Cx, Empty, Error, Methods, Object, Session, TestObject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Looks things up outside.
struct Lookup;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum LookupEvent {
    Found { number: u32 },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Start {
    number: u32,
    #[serde(default)]
    fails: bool,
}

impl Object for Lookup {
    const KIND: &'static str = "lookup";
    type Event = LookupEvent;
    const MIGRATIONS: &'static [&'static str] = &[];

    fn methods() -> Methods<Self> {
        Methods::new().mutation("start", Self::start).mutation("startMany", Self::start_many)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Lookup)
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<LookupEvent>, Error> {
        Ok(None)
    }
}

impl Lookup {
    fn start(&mut self, cx: &mut Cx<Self>, input: Start) -> Result<(), Error> {
        cx.spawn(ready(input.number), Self::found)?;
        if input.fails { Err(Error::conflict("on demand")) } else { Ok(()) }
    }

    fn start_many(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<(), Error> {
        (0..65).try_for_each(|number| cx.spawn(ready(number), Self::found))
    }

    fn found(&mut self, cx: &mut Cx<Self>, number: u32) -> Result<(), Error> {
        cx.broadcast(&LookupEvent::Found { number })?;
        // One job may lead to another.
        if number > 1 { cx.spawn(ready(number - 1), Self::found) } else { Ok(()) }
    }
}

#[test]
fn the_result_of_a_job_comes_back_as_another_input() {
    let mut object = TestObject::<Lookup>::new("a");

    object.call("start", json!({"number": 2})).unwrap();
    assert_eq!(object.take_events(), Vec::<Value>::new(), "it has not run");
    object.finish_jobs().unwrap();

    assert_eq!(
        object.take_events(),
        [
            json!({"type": "found", "number": 2, "offset": 1}),
            json!({"type": "found", "number": 1, "offset": 2})
        ],
    );
}

#[test]
fn a_handler_that_fails_starts_no_job() {
    let mut object = TestObject::<Lookup>::new("a");

    object.call("start", json!({"number": 2, "fails": true})).unwrap_err();
    object.finish_jobs().unwrap();

    assert_eq!(object.take_events(), Vec::<Value>::new());
}

#[test]
fn an_object_has_a_bounded_number_of_jobs() {
    let mut object = TestObject::<Lookup>::new("a");

    let refused = object.call("startMany", json!({})).unwrap_err();

    assert_eq!(refused.code().as_str(), "SERVICE_UNAVAILABLE");
    for number in 0..64 {
        object.call("start", json!({"number": number})).unwrap();
    }
    object.call("start", json!({"number": 64})).unwrap_err();
}

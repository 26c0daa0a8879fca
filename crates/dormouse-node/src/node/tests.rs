//! The node with a real store under it and a commit log that the test releases step by step.

use std::sync::Arc;
use std::time::Duration;

use dormouse::{
    Alarm, Caller, Cx, Delivery, Empty, Error, ErrorCode, Methods, Object, Random, Request,
    Resolved, Session, TestClock,
};
use dormouse_store::{HeldLog, Position, StoreOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::envelope::Answered;

mod messages;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long `addLater` waits.
const ALARM_DELAY: Duration = Duration::from_secs(1_000_000_000);

/// A sum that does not load.
const SPOILT: i64 = -1;

/// A number that misbehaves on demand.
struct Tally {
    sum: i64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum TallyEvent {
    Added { sum: i64 },
}

#[derive(Serialize, JsonSchema)]
struct Sum {
    sum: i64,
}

impl Object for Tally {
    const KIND: &'static str = "tally";
    type Event = TallyEvent;
    const MIGRATIONS: &'static [&'static str] =
        &["CREATE TABLE tally (n INTEGER NOT NULL) STRICT; INSERT INTO tally VALUES (0);"];

    fn methods() -> Methods<Self> {
        Methods::new()
            .mutation("add", Self::add)
            .mutation("addAndPanic", Self::add_and_panic)
            .mutation("addAndFail", Self::add_and_fail)
            .mutation("addLater", Self::add_later)
            .mutation("spoil", Self::spoil)
            .mutation("tell", Self::tell)
            .mutation("tellNobody", Self::tell_nobody)
            .mutation("addByJob", Self::add_by_job)
            .mutation("panicInJob", Self::panic_in_job)
            .query("get", Self::get)
            .alarm(Self::add_now)
            .delivery(Self::add_told)
    }

    fn wake(cx: &Cx<Self>) -> Result<Self, Error> {
        let sum = cx.sql().row("SELECT n FROM tally", [], |row| row.get(0))?;
        match sum.unwrap_or(0) {
            SPOILT => Err(Error::internal("on demand")),
            sum => Ok(Tally { sum }),
        }
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<TallyEvent>, Error> {
        Ok(Some(TallyEvent::Added { sum: self.sum }))
    }
}

impl Tally {
    fn add(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<Sum, Error> {
        self.sum += 1;
        cx.sql().execute("UPDATE tally SET n = ?1", [self.sum])?;
        cx.broadcast(&TallyEvent::Added { sum: self.sum })?;
        Ok(Sum { sum: self.sum })
    }

    fn add_and_panic(&mut self, cx: &mut Cx<Self>, input: Empty) -> Result<Sum, Error> {
        self.add(cx, input)?;
        panic!("on demand");
    }

    fn add_and_fail(&mut self, cx: &mut Cx<Self>, input: Empty) -> Result<Sum, Error> {
        self.add(cx, input)?;
        Err(Error::conflict("on demand"))
    }

    fn spoil(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<Sum, Error> {
        cx.sql().execute("UPDATE tally SET n = ?1", [SPOILT])?;
        Ok(Sum { sum: SPOILT })
    }

    fn add_later(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<Sum, Error> {
        let due = cx.now().checked_add(ALARM_DELAY).expect("it is not the year 9999");
        cx.set_alarm("add", due)?;
        Ok(Sum { sum: self.sum })
    }

    fn add_now(&mut self, cx: &mut Cx<Self>, _: &Alarm) -> Result<(), Error> {
        self.add(cx, Empty {}).map(|_| ())
    }

    /// Tells `z` to add one.
    fn tell(&mut self, cx: &mut Cx<Self>, input: Empty) -> Result<Sum, Error> {
        cx.send_to(&Key::new("tally", "z").expect("the id is allowed"), &())?;
        self.add(cx, input)
    }

    fn tell_nobody(&mut self, cx: &mut Cx<Self>, input: Empty) -> Result<Sum, Error> {
        cx.send_to(&Key::new("nothing", "z").expect("the id is allowed"), &())?;
        self.add(cx, input)
    }

    fn add_told(&mut self, cx: &mut Cx<Self>, _: Delivery<()>) -> Result<(), Error> {
        self.add(cx, Empty {}).map(drop)
    }

    fn add_by_job(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<Sum, Error> {
        cx.spawn(tokio::task::yield_now(), |tally, cx, ()| tally.add(cx, Empty {}).map(drop))?;
        Ok(Sum { sum: self.sum })
    }

    fn panic_in_job(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<Sum, Error> {
        let work = async { panic!("on demand") };
        cx.spawn(work, |tally, cx, ()| tally.add(cx, Empty {}).map(drop))?;
        Ok(Sum { sum: self.sum })
    }

    fn get(&self, _: &Cx<Self>, _: Empty) -> Result<Sum, Error> {
        Ok(Sum { sum: self.sum })
    }
}

struct Bench {
    node: Node,
    log: Arc<HeldLog>,
    clock: Arc<TestClock>,
    _folder: TempDir,
}

impl Bench {
    fn new(config: NodeConfig) -> Bench {
        let folder = TempDir::new().unwrap();
        let log = Arc::new(HeldLog::new());
        let clock = Arc::new(TestClock::new());
        let options = StoreOptions {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ..StoreOptions::new(folder.path())
        };
        let store = Store::open_with_log(options, Arc::clone(&log) as _).unwrap();
        let kinds = Kinds::new().register::<Tally>().unwrap();
        let node = Node::start(config, store, Arc::clone(&clock) as _, kinds, Vec::new());
        Bench { node, log, clock, _folder: folder }
    }

    fn call(&self, id: &str, method: &str) -> oneshot::Receiver<Answered> {
        let kind = self.node.kinds().get("tally").unwrap();
        let mut new_id = (self.clock.now(), Random::seeded(1));
        let input = Some(json!({ "id": id }));
        let request =
            Request { method, params: input, bound: None, caller: Caller::default(), key: None };
        let resolved = kind.resolve(request, &mut new_id).unwrap();
        let Resolved::Object { key, call } = resolved else { panic!("it names an object") };
        let (sender, receiver) = oneshot::channel();
        let reply = Reply::new(move |answered| _ = sender.send(answered));
        self.node.call(&self.node.object(kind, &key), call, reply);
        receiver
    }

    /// Calls, and releases the log until the answer is there.
    async fn done(&self, id: &str, method: &str) -> Result<Value, Error> {
        let mut answer = self.call(id, method);
        let mut answered = None;
        self.until(|| {
            self.log.release_all();
            answered = answer.try_recv().ok();
            answered.is_some()
        })
        .await;
        answered.unwrap().result.map(|json| serde_json::from_str(&json).unwrap())
    }

    /// Waits until no object is in memory.
    async fn asleep(&self) {
        let idle_timeout = config().idle_timeout;
        self.until(|| {
            self.log.release_all();
            self.clock.advance(idle_timeout);
            self.node.stats().objects_resident() == 0
        })
        .await;
    }

    async fn until(&self, mut holds: impl FnMut() -> bool) {
        let wait = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it happens in time");
    }
}

fn config() -> NodeConfig {
    NodeConfig { idle_timeout: Duration::from_secs(10), ..NodeConfig::for_cores(2) }
}

fn sum(answered: Answered) -> Value {
    serde_json::from_str(&answered.result.unwrap()).unwrap()
}

#[actix::test]
async fn nothing_leaves_before_it_is_durable_and_reads_wait_for_what_they_saw() {
    let bench = Bench::new(config());

    let mut write = bench.call("a", "add");
    let mut read = bench.call("a", "get");
    let mut other = bench.call("b", "get");
    bench.until(|| bench.node.stats().handlers_total() == 3).await;
    let other_answer = (&mut other).await.unwrap();

    assert_eq!(
        sum(other_answer),
        json!({"sum": 0}),
        "an object with nothing pending waits for nobody"
    );
    assert!(write.try_recv().is_err() && read.try_recv().is_err(), "nothing is durable yet");
    bench.until(|| bench.log.appended() > Position::ZERO).await;
    bench.log.release_all();
    assert_eq!(sum(write.await.unwrap()), json!({"sum": 1}));
    assert_eq!(sum(read.await.unwrap()), json!({"sum": 1}));
}

#[actix::test]
async fn a_handler_that_fails_or_panics_leaves_no_trace_and_the_next_call_works() {
    let bench = Bench::new(config());
    bench.done("a", "add").await.unwrap();
    let appended = bench.log.appended();

    let panicked = bench.done("a", "addAndPanic").await.unwrap_err();
    let failed = bench.done("a", "addAndFail").await.unwrap_err();

    assert_eq!(panicked.code(), ErrorCode::InternalServerError);
    assert!(!panicked.message().contains("on demand"), "what went wrong stays in the log");
    assert_eq!(failed.code(), ErrorCode::Conflict);
    assert_eq!(bench.log.appended(), appended);
    assert_eq!(bench.done("a", "get").await.unwrap(), json!({"sum": 1}));
    assert_eq!(bench.done("a", "add").await.unwrap(), json!({"sum": 2}));
    assert_eq!(bench.node.stats().handler_faults_total(), 1);
}

#[actix::test]
async fn an_idle_object_leaves_once_its_last_position_is_durable_and_wakes_as_it_was() {
    let idle_timeout = Duration::from_millis(80);
    let bench = Bench::new(NodeConfig { idle_timeout, ..config() });
    let pending = bench.call("a", "add");
    bench.until(|| bench.log.appended() > Position::ZERO).await;

    bench.clock.advance(idle_timeout * 2);
    bench.call("b", "get").await.unwrap().result.unwrap();
    // An object is counted as resident until its actor has ended, a moment after it hibernated.
    bench.until(|| bench.node.stats().objects_resident() == 1).await;
    assert_eq!(bench.node.stats().hibernations_total(), 1, "only the one without a file has left");
    bench.log.release_all();
    pending.await.unwrap().result.unwrap();
    bench
        .until(|| {
            bench.clock.advance(idle_timeout);
            bench.node.stats().objects_resident() == 0
        })
        .await;

    assert_eq!(bench.done("a", "get").await.unwrap(), json!({"sum": 1}));
}

#[actix::test]
async fn a_full_queue_refuses_and_loses_nothing_that_it_took() {
    let bench = Bench::new(NodeConfig { queue_envelopes_max: 2, gate_bytes_max: 0, ..config() });
    let first = bench.call("a", "add");
    bench.until(|| bench.log.appended() > Position::ZERO).await;

    let taken = [bench.call("a", "add"), bench.call("a", "add")];
    let refused = bench.call("a", "add").await.unwrap();

    assert_eq!(refused.result.unwrap_err().code(), ErrorCode::ServiceUnavailable);
    let mut sums = vec![];
    for mut answer in std::iter::once(first).chain(taken) {
        let mut answered = None;
        bench
            .until(|| {
                bench.log.release_all();
                answered = answer.try_recv().ok();
                answered.is_some()
            })
            .await;
        sums.push(sum(answered.unwrap()));
    }
    assert_eq!(sums, [json!({"sum": 1}), json!({"sum": 2}), json!({"sum": 3})]);
}

#[actix::test]
async fn more_objects_than_places_take_turns() {
    let bench = Bench::new(NodeConfig { objects_resident_max: 2, lanes: 1, ..config() });

    for round in 1..=3 {
        for id in ["a", "b", "c", "d", "e"] {
            assert_eq!(bench.done(id, "add").await.unwrap(), json!({ "sum": round }), "{id}");
        }
    }

    assert!(bench.node.stats().objects_resident() <= 2);
}

#[actix::test]
async fn who_waits_too_long_for_a_place_is_told_so() {
    let config = NodeConfig { objects_resident_max: 1, lanes: 1, ..config() };
    let bench = Bench::new(config);
    // It cannot leave before this is durable.
    let busy = bench.call("a", "add");
    bench.until(|| bench.node.stats().objects_resident() == 1).await;
    let mut waiting = bench.call("b", "get");

    let mut refused = None;
    bench
        .until(|| {
            // Again and again: nobody knows when it began to wait.
            bench.clock.advance(config.wake_wait_max);
            refused = waiting.try_recv().ok();
            refused.is_some()
        })
        .await;

    assert_eq!(refused.unwrap().result.unwrap_err().code(), ErrorCode::ServiceUnavailable);
    bench.log.release_all();
    assert_eq!(sum(busy.await.unwrap()), json!({"sum": 1}));
    assert_eq!(bench.done("b", "add").await.unwrap(), json!({"sum": 1}), "the place is free again");
}

#[actix::test]
async fn a_lane_that_is_busy_delays_no_wake_on_another() {
    let bench = Bench::new(NodeConfig { lanes: 2, ..config() });
    let id_on = |lane| {
        let kind = bench.node.kinds().get("tally").unwrap();
        let is_there = |id: &String| {
            let key = Key::new("tally", id.as_str()).unwrap();
            bench.node.object(kind, &key).entry().lane == lane
        };
        (0..).map(|n| format!("object-{n}")).find(is_there).unwrap()
    };
    let (reached, is_reached) = oneshot::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    bench.node.arbiters[0].spawn_fn(move || {
        reached.send(()).unwrap();
        may_go_on.recv().unwrap();
    });
    is_reached.await.unwrap();
    let mut delayed = bench.call(&id_on(0), "get");

    assert_eq!(bench.done(&id_on(1), "add").await.unwrap(), json!({"sum": 1}));

    assert!(delayed.try_recv().is_err(), "its lane is busy");
    go_on.send(()).unwrap();
    assert_eq!(sum(delayed.await.unwrap()), json!({"sum": 0}));
}

#[actix::test]
async fn shutting_down_answers_everybody_and_closes_every_file() {
    let bench = Bench::new(config());
    bench.done("a", "add").await.unwrap();

    bench.node.shut_down().await;

    assert_eq!(bench.node.stats().objects_resident(), 0);
    let refused = bench.call("a", "get").await.unwrap();
    assert_eq!(refused.result.unwrap_err().code(), ErrorCode::ServiceUnavailable);
}

#[actix::test]
async fn shutting_down_waits_for_an_object_that_is_only_about_to_wake() {
    let bench = Bench::new(NodeConfig { lanes: 1, ..config() });
    let lane = &bench.node.arbiters[0];
    let (reached, is_reached) = oneshot::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    lane.spawn_fn(move || {
        reached.send(()).unwrap();
        may_go_on.recv().unwrap();
    });
    is_reached.await.unwrap();
    let answer = bench.call("a", "get");

    // The first branch is polled first: the node has begun to stop when the lane goes on.
    let both = async { tokio::join!(biased; bench.node.shut_down(), async { go_on.send(()) }) };
    let (_, went_on) = tokio::time::timeout(PATIENCE, both).await.expect("it comes to rest");
    went_on.unwrap();

    let answered = tokio::time::timeout(PATIENCE, answer).await.expect("silence is no answer");
    assert_eq!(sum(answered.unwrap()), json!({"sum": 0}));
}

#[actix::test]
async fn shutting_down_does_not_wait_for_an_object_that_backs_off() {
    let bench = Bench::new(config());
    bench.done("a", "spoil").await.unwrap();
    bench.done("a", "addAndPanic").await.unwrap_err();
    for _ in 0..3 {
        let failed = bench.done("a", "get").await.unwrap_err();
        assert_eq!(failed.code(), ErrorCode::InternalServerError);
    }
    let backing_off = bench.done("a", "get").await.unwrap_err();
    assert_eq!(backing_off.code(), ErrorCode::ServiceUnavailable);

    let stopped = tokio::time::timeout(PATIENCE, bench.node.shut_down()).await;

    assert!(stopped.is_ok(), "it comes to rest although the clock stands still");
}

#[actix::test]
async fn an_alarm_wakes_an_object_that_sleeps_and_not_before_its_time() {
    let bench = Bench::new(config());
    bench.done("a", "addLater").await.unwrap();
    bench.asleep().await;
    let wakes = bench.node.stats().wakes_total();

    bench.clock.advance(ALARM_DELAY / 2);
    bench.done("b", "add").await.unwrap();
    let early = bench.node.stats().alarms_total();
    bench.clock.advance(ALARM_DELAY / 2);
    bench
        .until(|| {
            bench.log.release_all();
            bench.node.stats().alarms_total() == 1
        })
        .await;

    assert_eq!(early, 0);
    assert_eq!(bench.node.stats().wakes_total(), wakes + 2, "once for b, once for the alarm");
    assert_eq!(bench.done("a", "get").await.unwrap(), json!({"sum": 1}));
}

#[actix::test]
async fn many_alarms_that_come_due_together_all_fire_once() {
    let bench = Bench::new(NodeConfig { objects_resident_max: 16, ..config() });
    let ids: Vec<String> = (0..100).map(|n| format!("object-{n}")).collect();
    for id in &ids {
        bench.done(id, "addLater").await.unwrap();
    }
    bench.asleep().await;

    bench.clock.advance(ALARM_DELAY);
    bench
        .until(|| {
            bench.log.release_all();
            bench.node.stats().alarms_total() == 100
        })
        .await;

    for id in &ids {
        assert_eq!(bench.done(id, "get").await.unwrap(), json!({"sum": 1}), "{id}");
    }
    assert_eq!(bench.node.stats().alarms_total(), 100);
}

//! The test kit: one object, its real file, and a clock that the test moves.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use dormouse_store::{Clock, Durability, Position, Store, StoreOptions, TestClock, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use crate::error::Error;
use crate::event_log::Offset;
use crate::idempotency::IdempotencyKey;
use crate::instance::{Attach, Attached, Effect, Instance, Outcome, Refill, Since};
use crate::kind::{Kind, Kinds, Request, Resolved};
use crate::object::Object;
use crate::random::Random;
use crate::session::{Caller, Session, SessionId, User};

/// When a test begins: any fixed moment.
const TEST_BEGINS_MS: i64 = 1_736_942_400_000; // 2025-01-15T12:00:00.000Z

/// One object under test, with the code and the files of production and without a runtime.
///
/// Methods panic where a test cannot go on: an object that does not open is a failed test.
#[derive(Debug)]
pub struct TestObject<O> {
    // Declared before the store and the folder: it is dropped first.
    instance: Option<Instance>,
    store: Option<Store>,
    folder: TempDir,
    clock: Arc<TestClock>,
    kind: Arc<Kind>,
    id: String,
    user: Option<Arc<User>>,
    events: Vec<Value>,
    /// Hears of every rise of the durable position.
    durable: Receiver<Position>,
    object: PhantomData<fn() -> O>,
}

/// What a call with an idempotency key is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The JSON text of the result, as a client gets it.
    pub json: String,
    /// Whether it is the recorded answer to an earlier call.
    pub is_replay: bool,
}

impl<O: Object> TestObject<O> {
    /// An object that does not exist yet.
    pub fn new(id: &str) -> TestObject<O> {
        let kinds = Kinds::new().register::<O>().expect("the kind is valid");
        let kind = Arc::clone(kinds.get(O::KIND).expect("it was just registered"));
        let mut object = TestObject {
            instance: None,
            store: None,
            folder: TempDir::new().expect("a temporary folder can be made"),
            clock: Arc::new(TestClock::new()),
            kind,
            id: id.to_owned(),
            user: None,
            events: Vec::new(),
            durable: mpsc::channel().1,
            object: PhantomData,
        };
        object.clock.set(Timestamp::from_ms(TEST_BEGINS_MS));
        object.start();
        object
    }

    /// Calls a method. Events that it broadcasts are kept for [`take_events`](Self::take_events).
    ///
    /// # Errors
    ///
    /// What a client would get.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Error> {
        self.answer(method, params, None).map(|answer| parse(&answer.json))
    }

    /// Calls a method with an idempotency key.
    ///
    /// # Errors
    ///
    /// What a client would get.
    pub fn call_with_key(
        &mut self,
        key: &str,
        method: &str,
        params: Value,
    ) -> Result<Answer, Error> {
        self.answer(method, params, Some(IdempotencyKey::new(key)?))
    }

    /// Sets who calls and connects from now on; nobody in particular before.
    pub fn set_user(&mut self, user: Option<User>) {
        self.user = user.map(Arc::new);
    }

    /// Connects a socket; the frames it gets at once.
    pub fn connect(&mut self) -> Vec<Value> {
        self.attach(None)
    }

    /// Connects a socket that has been here before; the frames it gets at once.
    pub fn resume(&mut self, epoch: &str, offset: u64) -> Vec<Value> {
        self.attach(Some(Since { epoch: epoch.to_owned(), offset: Offset::new(offset) }))
    }

    /// The events broadcast since this was last asked.
    pub fn take_events(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    /// Lets the object hibernate; the next call wakes it.
    pub fn sleep(&mut self) {
        let instance = self.instance.take().expect("the object is resident between calls");
        instance.hibernate().expect("the object hibernates");
        self.wake();
    }

    /// Kills the process, as far as files can tell, and starts again from what they hold.
    pub fn crash(&mut self) {
        self.instance = None;
        self.store = None;
        self.start();
    }

    /// Moves the clock, and lets the alarms that are due then fire. Events that they broadcast are
    /// kept for [`take_events`](Self::take_events).
    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        loop {
            let outcome = self.instance().fire_alarm();
            let fired = self.release(outcome).expect("an alarm can be tried");
            if !fired.has_more {
                return;
            }
        }
    }

    /// Runs maintenance until none is due.
    pub fn maintain(&mut self) {
        let durable = self.store().commit_log().durable();
        while self.instance().maintain(durable).expect("the file is usable") {}
    }

    /// Whether the object has a file.
    pub fn has_file(&mut self) -> bool {
        self.instance().has_file()
    }

    fn answer(
        &mut self,
        method: &str,
        params: Value,
        key: Option<IdempotencyKey>,
    ) -> Result<Answer, Error> {
        let object = self.kind.key(&self.id)?;
        let caller = Caller { user: self.user.clone(), session: None };
        let request = Request { method, params: Some(params), bound: Some(&object), caller, key };
        let mut new_id = (self.clock.now(), Random::seeded(1));
        match self.kind.resolve(request, &mut new_id)? {
            Resolved::Object { call, .. } => {
                let outcome = self.instance().call(call);
                let is_replay = outcome.is_replay;
                Ok(Answer { json: self.release(outcome)?, is_replay })
            }
            Resolved::Listing(call) => {
                let json = self.kind.list(self.store().catalog(), call)?;
                Ok(Answer { json, is_replay: false })
            }
        }
    }

    fn attach(&mut self, since: Option<Since>) -> Vec<Value> {
        let session = Session { id: SessionId::from_random([7; 16]), user: self.user.clone() };
        let outcome =
            self.instance().attach(&Attach { session: session.clone(), since, mask: u128::MAX });
        let mut attached = self.release(outcome).expect("the socket is attached");
        let mut frames = frames_of(&attached);
        while !attached.page.tail {
            let refill = Refill { session: session.clone(), after: attached.page.reached };
            let outcome = self.instance().refill(&refill);
            attached = self.release(outcome).expect("the socket is refilled");
            frames.extend(frames_of(&attached));
        }
        frames
    }

    fn release<T>(&mut self, outcome: Outcome<T>) -> Result<T, Error> {
        for Effect::Broadcast { event, .. } in outcome.effects {
            self.events.push(parse(&event.json));
        }
        self.settle();
        outcome.result
    }

    /// Waits until everything committed is durable, as a client waits for its answer.
    fn settle(&mut self) {
        let position = self.instance().position();
        while self.store().commit_log().durable() < position {
            self.durable.recv().expect("the journal reports as long as it lives");
        }
    }

    fn start(&mut self) {
        let options = StoreOptions {
            durability: Durability::Os,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            ..StoreOptions::new(self.folder.path().to_owned())
        };
        let store = Store::open(options).expect("the data folder opens");
        let (sender, receiver) = mpsc::channel();
        // The receiver is gone once the test has crashed this store.
        store.commit_log().watch(Box::new(move |position| _ = sender.send(position)));
        self.durable = receiver;
        self.store = Some(store);
        self.wake();
    }

    fn wake(&mut self) {
        let key = self.kind.key(&self.id).expect("the test's id is allowed");
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let instance = self.kind.open(self.store(), &key, &clock).expect("the object opens");
        self.instance = Some(instance);
    }

    fn instance(&mut self) -> &mut Instance {
        self.instance.as_mut().expect("the object is resident between calls")
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open between calls")
    }
}

fn frames_of(attached: &Attached) -> Vec<Value> {
    let events = attached.page.events.iter().map(|event| &event.json);
    attached.direct.iter().chain(events).map(|json| parse(json)).collect()
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("frames are JSON")
}

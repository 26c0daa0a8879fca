//! The test kit: one object, its real file, and a clock that the test moves.

use std::collections::{HashMap, VecDeque};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use dormouse_store::{Clock, Durability, Key, Position, Store, StoreOptions, TestClock, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::error::Error;
use crate::event_log::Offset;
use crate::idempotency::IdempotencyKey;
use crate::instance::{Attach, Attached, Effect, Instance, Outcome, Refill, Since};
use crate::job::Job;
use crate::kind::{Heard, Kind, Request, Resolved, Surroundings};
use crate::kinds::Kinds;
use crate::object::Object;
use crate::parcel::{Message, Parcel, Receipt, Sequence};
use crate::random::Random;
use crate::session::{Caller, Session, SessionId, User};
use crate::session_table::{Departure, Left, SESSION_KEPT, SessionLimits, SessionTable};
use crate::session_view::SessionView;

/// When a test begins: any fixed moment.
const TEST_BEGINS_MS: i64 = 1_736_942_400_000; // 2025-01-15T12:00:00.000Z

/// The session that connects until a test says which.
const FIRST_SESSION: u8 = 7;

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
    /// Which session connects and sends messages.
    session: SessionId,
    sessions: Arc<Mutex<SessionTable<u32>>>,
    /// Sessions that lost their sockets, and when to look at them again.
    looks: Vec<(Timestamp, SessionId)>,
    /// How many sockets there were.
    sockets: u32,
    events: Vec<Value>,
    /// What single sessions got.
    frames: Vec<(SessionId, Value)>,
    /// Messages on their way, by receiver.
    parcels: VecDeque<Parcel>,
    /// Jobs that run.
    jobs: VecDeque<Job>,
    /// The newest message that each sender has sent to this object.
    received: HashMap<Key, Parcel>,
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
        TestObject::of(&Kinds::new().register::<O>().expect("the kind is valid"), id)
    }

    fn of(kinds: &Kinds, id: &str) -> TestObject<O> {
        let kind = Arc::clone(kinds.get(O::KIND).expect("it was just registered"));
        let mut object = TestObject {
            instance: None,
            store: None,
            folder: TempDir::new().expect("a temporary folder can be made"),
            clock: Arc::new(TestClock::new()),
            kind,
            id: id.to_owned(),
            user: None,
            session: SessionId::from_random([FIRST_SESSION; 16]),
            sessions: Arc::new(Mutex::new(SessionTable::new(LIMITS))),
            looks: Vec::new(),
            sockets: 0,
            events: Vec::new(),
            frames: Vec::new(),
            parcels: VecDeque::new(),
            jobs: VecDeque::new(),
            received: HashMap::new(),
            durable: mpsc::channel().1,
            object: PhantomData,
        };
        object.clock.set(Timestamp::from_ms(TEST_BEGINS_MS));
        object.start();
        object
    }

    /// An object that does not exist yet, with what a settings file says about its kind.
    ///
    /// # Panics
    ///
    /// If that is wrong.
    #[must_use]
    pub fn with_settings(id: &str, settings: Value) -> TestObject<O> {
        let mut kinds = Kinds::new().register::<O>().expect("the kind is valid");
        kinds.configure(O::KIND, settings).expect("the settings are valid");
        TestObject::of(&kinds, id)
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

    /// Sets which session connects, sends messages and is disconnected from now on.
    pub fn set_session(&mut self, n: u8) {
        self.session = SessionId::from_random([n; 16]);
    }

    /// The name of the session that is set.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Connects a socket of the session; the frames it gets at once.
    pub fn connect(&mut self) -> Vec<Value> {
        self.attach(None)
    }

    /// Connects a socket that has been here before; the frames it gets at once.
    pub fn resume(&mut self, epoch: &str, offset: u64) -> Vec<Value> {
        self.attach(Some(Since { epoch: epoch.to_owned(), offset: Offset::new(offset) }))
    }

    /// Sends a message over the session's socket. Events that it is relayed as, or that the object
    /// broadcasts, are kept for [`take_events`](Self::take_events), and what single sessions get for
    /// [`take_frames`](Self::take_frames).
    ///
    /// # Errors
    ///
    /// What the client would get.
    pub fn say(&mut self, message: Value) -> Result<(), Error> {
        let Value::Object(mut fields) = message else { panic!("a message is a JSON object") };
        let name = fields.remove("type").expect("a message has a type");
        let session = self.sessions.lock().session(self.session).expect("it is connected");
        let name = name.as_str().expect("the type is a text");
        let heard = self.kind.hear(name, &session, Value::Object(fields));
        match heard.ok_or_else(|| Error::bad_request("Unknown message type"))?? {
            Heard::Relay(relayed) => {
                self.events.push(parse(&relayed.event.json));
                Ok(())
            }
            Heard::Object { message, .. } => {
                let outcome = self.instance().message(message);
                self.release(outcome)
            }
        }
    }

    /// Closes the session's socket as a client does that is done.
    pub fn disconnect(&mut self) {
        self.detach(Departure::Final);
    }

    /// Breaks the connection of the session's socket: its client may come back.
    pub fn cut(&mut self) {
        self.detach(Departure::Dropped);
    }

    /// What single sessions got since this was last asked. A socket that the object closed got
    /// `{"close":<code>,"reason"}` last.
    pub fn take_frames(&mut self) -> Vec<(SessionId, Value)> {
        std::mem::take(&mut self.frames)
    }

    /// The events broadcast since this was last asked.
    pub fn take_events(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    /// Lets everything that is on its way to other objects arrive and have its effect there, and what
    /// waits behind it. The messages, in order for each receiver.
    pub fn take_messages(&mut self) -> Vec<(Key, Value)> {
        let mut messages = Vec::new();
        while let Some(parcel) = self.parcels.pop_front() {
            messages.extend(parcel.messages().map(|json| (parcel.receiver.clone(), parse(json))));
            self.settle_parcel(&parcel, &parcel.accepted());
        }
        messages
    }

    /// Lets what is on its way to other objects be refused there. `Ok` says how many receivers it
    /// was for.
    pub fn refuse_messages(&mut self, error: impl Fn() -> Error) -> usize {
        let parcels = std::mem::take(&mut self.parcels);
        for parcel in &parcels {
            self.settle_parcel(parcel, &parcel.refused(error()));
        }
        parcels.len()
    }

    /// Gives the object the next message of another one.
    ///
    /// # Errors
    ///
    /// What the sender would be told. Nothing of it was stored.
    pub fn deliver(&mut self, sender: &Key, message: &Value) -> Result<(), Error> {
        let newest = self.received.get(sender).map(|parcel| parcel.messages[0].sequence);
        let sequence = Sequence(newest.map_or(0, |newest| newest.0) + 1);
        let json = message.to_string();
        let parcel = Parcel {
            sender: sender.clone(),
            epoch: "test".to_owned(),
            receiver: self.kind.key(&self.id)?,
            messages: vec![Message { sequence, json }],
        };
        self.receive(&parcel)?;
        self.received.insert(sender.clone(), parcel);
        Ok(())
    }

    /// Gives the object the newest message of another one again, as a sender does that did not hear
    /// of its effect.
    ///
    /// # Errors
    ///
    /// What the sender would be told. Nothing of it was stored.
    pub fn deliver_again(&mut self, sender: &Key) -> Result<(), Error> {
        let parcel = self.received.get(sender).cloned();
        self.receive(&parcel.expect("the sender has sent something before"))
    }

    /// Runs the object's jobs to their ends, on this thread, and gives it their results.
    ///
    /// # Errors
    ///
    /// The first that a result's handler gives.
    pub fn finish_jobs(&mut self) -> Result<(), Error> {
        while let Some(job) = self.jobs.pop_front() {
            let finished = block_on(job.into_future());
            let outcome = self.instance().finish_job(Some(finished));
            self.release(outcome)?;
        }
        Ok(())
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
        self.parcels.clear();
        self.jobs.clear();
        self.looks.clear();
        let strangers_until = self.clock.now().checked_add(SESSION_KEPT);
        let strangers_until = strangers_until.expect("a test's clock is far from the end of time");
        *self.sessions.lock() = SessionTable::new(SessionLimits { strangers_until, ..LIMITS });
        self.start();
    }

    /// Kills the process and starts it again with other settings of the kind.
    ///
    /// # Panics
    ///
    /// If they are wrong.
    pub fn crash_with(&mut self, settings: Value) {
        let mut kinds = Kinds::new().register::<O>().expect("the kind is valid");
        kinds.configure(O::KIND, settings).expect("the settings are valid");
        self.kind = Arc::clone(kinds.get(O::KIND).expect("it was just registered"));
        self.crash();
    }

    /// Moves the clock, lets go of sessions that do not come back, sends again what is due in the
    /// outbox, and lets the alarms that are due fire. Events that are broadcast then are kept for
    /// [`take_events`](Self::take_events).
    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.look_at_sessions();
        let outcome = self.instance().send_due();
        self.release(outcome).expect("what is due can be sent");
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
        self.sockets += 1;
        let (id, user) = (self.session, self.user.clone());
        let new = Session { id, user, joined_at: self.clock.now() };
        let joined = self.sessions.lock().join(self.sockets, new, Some(id));
        if let (Some(user), Some(presence)) = (joined.arrived, self.kind.presence()) {
            let event = presence.arrived(&user).expect("events are JSON");
            self.events.push(parse(&event));
        }
        let session = joined.session;
        let outcome = self.instance().attach(&Attach {
            session: session.clone(),
            is_stranger: joined.is_stranger,
            since,
            mask: u128::MAX,
            says_resumed: true,
        });
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

    fn detach(&mut self, departure: Departure) {
        let now = self.clock.now();
        let mut sessions = self.sessions.lock();
        let session = sessions.session(self.session).expect("it is connected");
        let socket = sessions.socket(self.session).expect("it is connected");
        let left = sessions.leave(self.session, socket, departure, now);
        drop(sessions);
        self.settle_session(session.id, left);
        let outcome = self.instance().closed(&session);
        self.release(outcome).expect("the object hears of it");
    }

    /// Looks at the sessions without a socket whose time has come.
    fn look_at_sessions(&mut self) {
        let now = self.clock.now();
        while let Some(due) = self.looks.iter().position(|(at, _)| *at <= now) {
            let (_, id) = self.looks.swap_remove(due);
            let left = self.sessions.lock().look(id, now);
            self.settle_session(id, left);
        }
    }

    fn settle_session(&mut self, id: SessionId, left: Left) {
        self.looks.extend(left.look_again.map(|at| (at, id)));
        if let (Some(user), Some(presence)) = (left.departed, self.kind.presence()) {
            let event = presence.departed(&user).expect("events are JSON");
            self.events.push(parse(&event));
        }
    }

    fn receive(&mut self, parcel: &Parcel) -> Result<(), Error> {
        let outcome = self.instance().receive(parcel);
        self.release(outcome)?.refused.map_or(Ok(()), |refused| Err(refused.error))
    }

    fn settle_parcel(&mut self, parcel: &Parcel, receipt: &Receipt) {
        let outcome = self.instance().settle(&parcel.receiver, receipt);
        self.release(outcome).expect("a receipt can be noted");
    }

    fn release<T>(&mut self, outcome: Outcome<T>) -> Result<T, Error> {
        for effect in outcome.effects {
            match effect {
                Effect::Broadcast { event, .. } => self.events.push(parse(&event.json)),
                Effect::Direct { session, json, .. } => self.frames.push((session, parse(&json))),
                Effect::Close { session, code, reason } => {
                    self.frames.push((session, json!({"close": code, "reason": reason})));
                }
                Effect::Split => {}
                Effect::Send(parcel) => self.parcels.push_back(parcel),
                Effect::Job(job) => self.jobs.push_back(job),
            }
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
        let sessions = Arc::clone(&self.sessions) as Arc<dyn SessionView>;
        let surroundings = Surroundings { clock, sessions };
        let instance = self.kind.open(self.store(), &key, surroundings).expect("the object opens");
        self.instance = Some(instance);
    }

    fn instance(&mut self) -> &mut Instance {
        self.instance.as_mut().expect("the object is resident between calls")
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open between calls")
    }
}

/// How long the sessions of a test count.
const LIMITS: SessionLimits = SessionLimits {
    grace: Duration::from_secs(5),
    users_max: 100,
    strangers_until: Timestamp::EPOCH,
};

/// Waits on this thread.
fn block_on<T>(mut work: Pin<Box<dyn Future<Output = T> + Send>>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match work.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => thread::park(),
        }
    }
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn frames_of(attached: &Attached) -> Vec<Value> {
    let events = attached.page.events.iter().map(|event| &event.json);
    attached.direct.iter().chain(events).map(|json| parse(json)).collect()
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("frames are JSON")
}

//! One resident object: runs its handlers, one transaction each.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use dormouse_store::{Access, Clock, Key, Position, StoreError, Timestamp};
use serde_json::Value;

use crate::catch_up::{page_after, resume, splice, start_over};
use crate::cx::Cx;
use crate::error::{Error, ErrorCode};
use crate::event_log::{LogLimits, Offset};
use crate::idempotency::Fingerprint;
use crate::methods::{Handler, Methods};
use crate::object::Object;
use crate::session::{Caller, Session, SessionId};

/// Most events that one step of trimming deletes: about a millisecond.
const TRIM_EVENTS_MAX: u64 = 256;

/// After so many failures of `wake` in a row the object backs off.
const WAKE_FAILURES_MAX: u32 = 3;

/// The longest back-off after failures of `wake`.
const WAKE_BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// A call of a query or mutation.
#[derive(Clone, Debug)]
pub struct Call {
    /// The method's place in its kind, from [`Kind::resolve`](crate::Kind::resolve).
    pub(crate) method: usize,
    /// A JSON object without the id field.
    pub(crate) params: Value,
    /// On whose behalf.
    pub caller: Caller,
    /// For a mutation that may be repeated; see [`IdempotencyKey`](crate::IdempotencyKey).
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// A socket that connects.
#[derive(Clone, Debug)]
pub struct Attach {
    /// Its session.
    pub session: Session,
    /// What it already knows, if it comes back.
    pub since: Option<Since>,
    /// Which event types it wants, a bit each; see [`EventTypes::mask`](crate::EventTypes::mask).
    pub mask: u128,
}

/// Where a socket that comes back stopped reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The epoch it knew.
    pub epoch: String,
    /// The last event it has.
    pub offset: Offset,
}

/// A socket that fell behind and asks for more.
#[derive(Clone, Debug)]
pub struct Refill {
    /// Its session.
    pub session: Session,
    /// The last event it has.
    pub after: Offset,
}

/// What a socket that attaches or catches up gets.
#[derive(Clone, Debug)]
pub struct Attached {
    /// `initial` or `resumed`, to be sent before the events.
    pub direct: Option<String>,
    /// The events after it.
    pub page: Page,
}

/// A run of events from the log.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events, oldest first.
    pub events: Vec<EncodedEvent>,
    /// The offset they reach.
    pub reached: Offset,
    /// Whether that is the tail: what is broadcast next is the next event.
    pub tail: bool,
}

/// What a handler gave, to be released once `position` is durable.
#[derive(Debug)]
pub struct Outcome<T> {
    /// The answer to whoever asked.
    pub result: Result<T, Error>,
    /// What the world should see, in order, before the answer.
    pub effects: Vec<Effect>,
    /// The newest transaction that `result` and `effects` may depend on.
    pub position: Position,
    /// The newest event of the log after this handler.
    pub tail: Offset,
    /// When the object's earliest alarm comes.
    pub next_due: Option<Timestamp>,
    /// Whether `result` is the recorded answer to an earlier call with the same idempotency key.
    pub is_replay: bool,
}

/// What became of looking for a due alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired {
    /// Whether an alarm's handler ran and succeeded.
    pub is_done: bool,
    /// Whether another alarm is due.
    pub has_more: bool,
}

impl<T> Outcome<T> {
    /// The same outcome with another result, if it has one.
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        let Outcome { result, effects, position, tail, next_due, is_replay } = self;
        Outcome { result: result.map(change), effects, position, tail, next_due, is_replay }
    }
}

/// Something that leaves the object.
#[derive(Clone, Debug)]
pub enum Effect {
    /// An event for the object's sockets.
    Broadcast {
        /// The event.
        event: EncodedEvent,
        /// Who gets it.
        audience: Audience,
    },
}

/// Who gets a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every socket of the object.
    Everyone,
    /// All but the sockets of one session.
    Except(SessionId),
}

/// An event as sockets see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEvent {
    /// Its place in the log; `None` for an event that is not in it.
    pub offset: Option<Offset>,
    /// Its type's place in the kind's [`EventTypes`](crate::EventTypes); `None` for a type that an
    /// older version of the kind wrote. No filter hides that.
    pub type_index: Option<u8>,
    /// The JSON text, with `offset`.
    pub json: String,
}

impl EncodedEvent {
    pub(crate) fn logged(offset: Offset, type_index: Option<u8>, body: &str) -> EncodedEvent {
        let json = splice(body, &format!(r#""offset":{}"#, offset.get()));
        EncodedEvent { offset: Some(offset), type_index, json }
    }
}

/// One resident object of any kind.
///
/// Not `Sync`: it belongs to one lane, which runs one handler at a time.
pub struct Instance(Box<dyn Resident>);

impl Instance {
    pub(crate) fn new<O: Object>(
        cx: Cx<O>,
        methods: Arc<Methods<O>>,
        clock: Arc<dyn Clock>,
        log_limits: LogLimits,
    ) -> Instance {
        let wake = WakeState { failures: 0, retry_at: Duration::ZERO };
        let is_broken = false;
        Instance(Box::new(Live { cx, memory: None, methods, clock, log_limits, wake, is_broken }))
    }

    /// The object's name.
    pub fn key(&self) -> &Key {
        self.0.key()
    }

    /// Runs one method in one transaction.
    pub fn call(&mut self, call: Call) -> Outcome<String> {
        self.0.call(call)
    }

    /// Answers a socket that connects: `initial`, or `resumed` and what it missed.
    pub fn attach(&mut self, attach: &Attach) -> Outcome<Attached> {
        self.0.attach(attach)
    }

    /// Answers a socket that fell behind: the next events, or `initial` if they are gone.
    pub fn refill(&mut self, refill: &Refill) -> Outcome<Attached> {
        self.0.refill(refill)
    }

    /// Runs the handler of one due alarm, if one is due. A failure is noted, and logged here.
    ///
    /// An error means that the alarm could not be tried or its failure not noted: it stays due.
    pub fn fire_alarm(&mut self) -> Outcome<Fired> {
        self.0.fire_alarm()
    }

    /// Work that is due and that nobody waits for: one step of trimming the log, or moving the WAL
    /// into the database. `Ok(true)` if there is more.
    ///
    /// `durable` is how far the journal has come: backfill waits for it.
    ///
    /// # Errors
    ///
    /// The file cannot be trusted any more: drop the instance and open it again.
    pub fn maintain(&mut self, durable: Position) -> Result<bool, StoreError> {
        self.0.maintain(durable)
    }

    /// Whether [`maintain`](Self::maintain) has work that should not wait until the object is idle.
    pub fn maintenance_is_pressing(&self) -> bool {
        self.0.maintenance_is_pressing()
    }

    /// The newest transaction of the object.
    pub fn position(&self) -> Position {
        self.0.position()
    }

    /// Whether the object has a file, or lives in memory because nothing was ever stored.
    pub fn has_file(&self) -> bool {
        self.0.has_file()
    }

    /// Whether the object may leave memory now: not while it backs off after failed wakes.
    pub fn may_sleep(&self) -> bool {
        self.0.may_sleep()
    }

    /// Whether what the file holds has become unknown: drop the instance and open it again.
    pub fn is_broken(&self) -> bool {
        self.0.is_broken()
    }

    /// Writes the WAL into the database and closes the file.
    ///
    /// The journal must have made [`position`](Self::position) durable.
    ///
    /// # Errors
    ///
    /// The file stays as the journal describes it; the next wake or recovery reads that.
    pub fn hibernate(self) -> Result<(), StoreError> {
        self.0.hibernate()
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({})", self.key())
    }
}

/// [`Instance`] without the type of its kind.
trait Resident: Send {
    fn key(&self) -> &Key;
    fn call(&mut self, call: Call) -> Outcome<String>;
    fn attach(&mut self, attach: &Attach) -> Outcome<Attached>;
    fn refill(&mut self, refill: &Refill) -> Outcome<Attached>;
    fn fire_alarm(&mut self) -> Outcome<Fired>;
    fn maintain(&mut self, durable: Position) -> Result<bool, StoreError>;
    fn maintenance_is_pressing(&self) -> bool;
    fn position(&self) -> Position;
    fn has_file(&self) -> bool;
    fn may_sleep(&self) -> bool;
    fn is_broken(&self) -> bool;
    fn hibernate(self: Box<Self>) -> Result<(), StoreError>;
}

struct Live<O> {
    cx: Cx<O>,
    /// The kind's own struct. `None` before the first handler and after one that failed: it is a
    /// cache of SQLite, and loading it again is the only repair.
    memory: Option<O>,
    methods: Arc<Methods<O>>,
    clock: Arc<dyn Clock>,
    log_limits: LogLimits,
    wake: WakeState,
    /// SQLite failed while it ended a transaction.
    is_broken: bool,
}

/// Failures of `wake` in a row, and when the next try is allowed.
struct WakeState {
    failures: u32,
    retry_at: Duration,
}

impl<O: Object> Resident for Live<O> {
    fn key(&self) -> &Key {
        self.cx.key()
    }

    fn call(&mut self, call: Call) -> Outcome<String> {
        let methods = Arc::clone(&self.methods);
        let Some(method) = methods.methods.get(call.method) else {
            return self.outcome(Err(Error::internal("a method that the kind does not have")));
        };
        let Call { params, caller, fingerprint, .. } = call;
        match &method.handler {
            Handler::Query(run) => self.read(caller, |object, cx| run(object, cx, params)),
            Handler::Mutation(run) => match fingerprint {
                None => self.write(caller, |object, cx| run(object, cx, params)),
                Some(fingerprint) => {
                    self.write_once(caller, &fingerprint, |object, cx| run(object, cx, params))
                }
            },
            Handler::Listing(_) => {
                self.outcome(Err(Error::internal("a listing is not a method of one object")))
            }
        }
    }

    fn attach(&mut self, attach: &Attach) -> Outcome<Attached> {
        let caller = Caller { user: attach.session.user.clone(), session: Some(attach.session.id) };
        self.read(caller, |object, cx| {
            let resumable = attach
                .since
                .as_ref()
                .filter(|since| since.epoch == cx.epoch() && cx.log.covers(since.offset));
            match resumable {
                Some(since) => resume(cx, attach, since.offset),
                None => start_over(object, cx, &attach.session),
            }
        })
    }

    fn refill(&mut self, refill: &Refill) -> Outcome<Attached> {
        let caller = Caller { user: refill.session.user.clone(), session: Some(refill.session.id) };
        self.read(caller, |object, cx| {
            if cx.log.covers(refill.after) {
                Ok(Attached { direct: None, page: page_after(cx, refill.after)? })
            } else {
                start_over(object, cx, &refill.session)
            }
        })
    }

    fn fire_alarm(&mut self) -> Outcome<Fired> {
        let due = match self.cx.due_alarm(self.clock.now()) {
            Ok(Some(alarm)) => alarm,
            Ok(None) => return self.outcome(Ok(Fired { is_done: false, has_more: false })),
            Err(err) => return self.outcome(Err(err)),
        };
        let run = self.methods.alarm;
        let fired = self.write(Caller::default(), |object, cx| {
            cx.cancel_alarm(&due.name)?;
            let run = run.ok_or_else(|| Error::internal("the kind has no alarm handler"))?;
            run(object, cx, &due)
        });
        let Err(err) = &fired.result else {
            let has_more = self.has_due_alarm();
            return fired.map(|()| Fired { is_done: true, has_more });
        };
        if err.code() == ErrorCode::ServiceUnavailable {
            return fired.map(|()| Fired { is_done: false, has_more: false });
        }
        tracing::warn!(
            key = %self.key(),
            alarm = due.name,
            attempts = due.attempts,
            error = err as &dyn std::error::Error,
            "alarm failed"
        );
        let noted = self.write(Caller::default(), |_, cx| cx.fail_alarm(&due));
        if matches!(noted.result, Ok(false)) {
            tracing::error!(key = %self.key(), alarm = due.name, "alarm was given up");
        }
        let has_more = self.has_due_alarm();
        noted.map(|_| Fired { is_done: false, has_more })
    }

    fn maintain(&mut self, durable: Position) -> Result<bool, StoreError> {
        if self.cx.file.backfill_due() && self.cx.position() <= durable {
            self.cx.file.backfill()?;
        }
        let excess = self.cx.log.excess(self.log_limits).min(TRIM_EVENTS_MAX);
        if excess == 0 {
            return Ok(false);
        }
        let trimmed = self.transaction(Access::Write, Caller::default(), |_, cx| {
            let connection = cx.file.connection();
            cx.log.trim(connection, excess)
        });
        if let Err(err) = trimmed {
            tracing::warn!(key = %self.key(), error = &err as &dyn std::error::Error, "event log was not trimmed");
            return Ok(false);
        }
        Ok(self.cx.log.excess(self.log_limits) > 0)
    }

    fn maintenance_is_pressing(&self) -> bool {
        let slack = self.log_limits.events_max / 10;
        self.cx.file.backfill_due() || self.cx.log.excess(self.log_limits) > slack.max(1)
    }

    fn position(&self) -> Position {
        self.cx.position()
    }

    fn has_file(&self) -> bool {
        self.cx.file.exists()
    }

    fn may_sleep(&self) -> bool {
        self.wake.failures < WAKE_FAILURES_MAX || self.wake.retry_at <= self.clock.monotonic()
    }

    fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn hibernate(self: Box<Self>) -> Result<(), StoreError> {
        self.cx.file.hibernate()
    }
}

impl<O: Object> Live<O> {
    /// Runs a handler that only reads.
    fn read<T>(
        &mut self,
        caller: Caller,
        run: impl FnOnce(&O, &Cx<O>) -> Result<T, Error>,
    ) -> Outcome<T> {
        let result = self.transaction(Access::Read, caller, |object, cx| run(object, cx));
        self.outcome(result.map(|(value, _)| value))
    }

    /// Runs a handler that may write.
    fn write<T>(
        &mut self,
        caller: Caller,
        run: impl FnOnce(&mut O, &mut Cx<O>) -> Result<T, Error>,
    ) -> Outcome<T> {
        match self.transaction(Access::Write, caller, run) {
            Ok((value, effects)) => Outcome { effects, ..self.outcome(Ok(value)) },
            Err(err) => self.outcome(Err(err)),
        }
    }

    /// Runs a handler that may write, unless it was run before under the same key: then the answer
    /// is that of the first time.
    fn write_once(
        &mut self,
        caller: Caller,
        fingerprint: &Fingerprint,
        run: impl FnOnce(&mut O, &mut Cx<O>) -> Result<String, Error>,
    ) -> Outcome<String> {
        let mut was_found = false;
        let outcome = self.write(caller, |object, cx| {
            if let Some(answer) = fingerprint.find(cx.file.connection(), cx.now())? {
                was_found = true;
                return Ok(answer);
            }
            let answer = run(object, cx)?;
            fingerprint.record(cx.file.connection(), cx.now(), &answer)?;
            Ok(answer)
        });
        Outcome { is_replay: was_found && outcome.result.is_ok(), ..outcome }
    }

    fn outcome<T>(&self, result: Result<T, Error>) -> Outcome<T> {
        Outcome {
            result,
            effects: Vec::new(),
            position: self.cx.position(),
            tail: self.cx.log.tail,
            next_due: self.cx.next_due(),
            is_replay: false,
        }
    }

    fn has_due_alarm(&self) -> bool {
        let now = self.clock.now();
        self.cx.next_due().is_some_and(|due| due <= now)
    }

    /// One handler, one transaction: commits on `Ok`, undoes everything otherwise.
    fn transaction<T>(
        &mut self,
        access: Access,
        caller: Caller,
        run: impl FnOnce(&mut O, &mut Cx<O>) -> Result<T, Error>,
    ) -> Result<(T, Vec<Effect>), Error> {
        let mut object = self.load()?;
        self.cx.begin(access, self.clock.now(), caller)?;
        let ran = catch_unwind(AssertUnwindSafe(|| run(&mut object, &mut self.cx)));
        let failed = match ran {
            Ok(Ok(value)) => match self.cx.commit() {
                Ok(effects) => {
                    self.memory = Some(object);
                    return Ok((value, effects));
                }
                Err(err) => {
                    self.is_broken |= matches!(err, StoreError::Sqlite(_));
                    err.into()
                }
            },
            Ok(Err(err)) => {
                // A refusal that wrote nothing has nothing to repair.
                if !self.cx.has_written() {
                    self.memory = Some(object);
                }
                err
            }
            Err(panic) => {
                Error::internal(format!("a handler panicked: {}", panic_message(&*panic)))
            }
        };
        self.undo();
        Err(failed)
    }

    fn undo(&mut self) {
        if let Err(err) = self.cx.roll_back() {
            self.is_broken = true;
            tracing::error!(key = %self.key(), error = &err as &dyn std::error::Error, "cannot roll back");
        }
    }

    /// Takes the object out of memory, or loads it from its storage.
    fn load(&mut self) -> Result<O, Error> {
        if let Some(object) = self.memory.take() {
            return Ok(object);
        }
        if self.wake.failures >= WAKE_FAILURES_MAX && self.clock.monotonic() < self.wake.retry_at {
            return Err(Error::unavailable("the object cannot be loaded; it is tried again soon"));
        }
        self.cx.begin(Access::Read, self.clock.now(), Caller::default())?;
        let woken = catch_unwind(AssertUnwindSafe(|| O::wake(&self.cx))).unwrap_or_else(|panic| {
            Err(Error::internal(format!("wake panicked: {}", panic_message(&*panic))))
        });
        self.undo();
        match woken {
            Ok(object) => {
                self.wake.failures = 0;
                Ok(object)
            }
            Err(err) => {
                self.wake.failures += 1;
                let doublings = self.wake.failures.saturating_sub(WAKE_FAILURES_MAX).min(6);
                let back_off = Duration::from_secs(1 << doublings).min(WAKE_BACK_OFF_MAX);
                self.wake.retry_at = self.clock.monotonic() + back_off;
                Err(err)
            }
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

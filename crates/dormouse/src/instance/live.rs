//! One resident object of a kind that is known.

use std::sync::Arc;
use std::time::Duration;

use dormouse_store::{Access, Clock, Key, Position, StoreError};

use crate::catch_up::{page_after, resume, start_over};
use crate::contained::contained;
use crate::cx::Cx;
use crate::delivery::{note_received, was_received};
use crate::error::{Error, ErrorCode};
use crate::event_log::LogLimits;
use crate::idempotency::Fingerprint;
use crate::instance::Resident;
use crate::instance::input::{Attach, Call, ClientMessage, Refill};
use crate::instance::outcome::{Attached, Effect, Fired, Outcome};
use crate::job::Finished;
use crate::methods::{Handler, Methods, SessionHandler};
use crate::object::Object;
use crate::outbox::DeadLetter;
use crate::parcel::{Message, Parcel, Receipt, Refused};
use crate::session::{Caller, Session};

/// Most events that one step of trimming deletes: about a millisecond.
const TRIM_EVENTS_MAX: u64 = 256;

/// After so many failures of `wake` in a row the object backs off.
const WAKE_FAILURES_MAX: u32 = 3;

/// The longest back-off after failures of `wake`.
const WAKE_BACK_OFF_MAX: Duration = Duration::from_secs(60);

pub(super) struct Live<O> {
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

impl<O: Object> Live<O> {
    pub(super) fn new(
        cx: Cx<O>,
        methods: Arc<Methods<O>>,
        clock: Arc<dyn Clock>,
        log_limits: LogLimits,
    ) -> Live<O> {
        let wake = WakeState { failures: 0, retry_at: Duration::ZERO };
        Live { cx, memory: None, methods, clock, log_limits, wake, is_broken: false }
    }
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

    fn message(&mut self, message: ClientMessage) -> Outcome<()> {
        let ClientMessage { message, fields, session } = message;
        let methods = Arc::clone(&self.methods);
        let Some(message) = methods.messages.get(message) else {
            return self.outcome(Err(Error::internal("a message that the kind does not have")));
        };
        self.write(session.caller(), |object, cx| (message.run)(object, cx, &session, fields))
    }

    fn closed(&mut self, session: &Session) -> Outcome<()> {
        let Some(run) = self.methods.closed else { return self.outcome(Ok(())) };
        match self.run_hook(run, session) {
            Ok(effects) => Outcome { effects, ..self.outcome(Ok(())) },
            Err(err) => self.outcome(Err(err)),
        }
    }

    fn attach(&mut self, attach: &Attach) -> Outcome<Attached> {
        let effects = match self.connected(&attach.session, attach.is_stranger) {
            Ok(effects) => effects,
            Err(err) => return self.outcome(Err(err)),
        };
        let attached = self.read(attach.session.caller(), |object, cx| {
            let resumable = attach
                .since
                .as_ref()
                .filter(|since| since.epoch == cx.epoch() && cx.log.covers(since.offset));
            match resumable {
                Some(since) => resume(cx, attach, since.offset),
                None => start_over(object, cx, &attach.session),
            }
        });
        Outcome { effects, ..attached }
    }

    fn refill(&mut self, refill: &Refill) -> Outcome<Attached> {
        self.read(refill.session.caller(), |object, cx| {
            if cx.log.covers(refill.after) {
                let page = page_after(cx, refill.after)?;
                Ok(Attached { direct: None, page, presence_version: None })
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
            let has_more = self.cx.has_due_alarm(self.clock.now());
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
        let has_more = self.cx.has_due_alarm(self.clock.now());
        noted.map(|_| Fired { is_done: false, has_more })
    }

    fn receive(&mut self, parcel: &Parcel) -> Outcome<Receipt> {
        let methods = Arc::clone(&self.methods);
        let mut receipt = Receipt::default();
        let mut effects = Vec::new();
        for Message { sequence, json } in &parcel.messages {
            let (sender, epoch) = (&parcel.sender, parcel.epoch.as_str());
            let received = self.transaction(Access::Write, Caller::default(), |object, cx| {
                if was_received(cx.file.connection(), sender, epoch, *sequence)? {
                    return Ok(());
                }
                let run = methods.delivery.as_ref().ok_or_else(|| {
                    Error::not_found(format!("kind {:?} takes no messages", O::KIND))
                })?;
                run(object, cx, sender, json)?;
                note_received(cx.file.connection(), sender, epoch, *sequence)
            });
            match received {
                Ok(((), new)) => {
                    receipt.accepted = Some(*sequence);
                    effects.extend(new);
                }
                Err(error) => {
                    receipt.refused = Some(Refused { sequence: *sequence, error });
                    break;
                }
            }
        }
        Outcome { effects, ..self.outcome(Ok(receipt)) }
    }

    fn settle(&mut self, receiver: &Key, receipt: &Receipt) -> Outcome<()> {
        self.cx.land(receiver);
        let settled = self.write(Caller::default(), |_, cx| cx.settle(receiver, receipt));
        if let Ok(Some(sequence)) = &settled.result {
            let error = receipt.refused.as_ref().map(|refused| &refused.error);
            tracing::error!(
                key = %self.key(),
                receiver = %receiver,
                sequence = sequence.0,
                error = error.map(|error| error as &dyn std::error::Error),
                "message was given up"
            );
        }
        settled.map(drop)
    }

    fn send_due(&mut self) -> Outcome<()> {
        if !self.cx.has_due_message(self.clock.now()) {
            return self.outcome(Ok(()));
        }
        self.write(Caller::default(), |_, cx| cx.send_due())
    }

    fn dead_letters(&mut self, limit: usize) -> Outcome<Vec<DeadLetter>> {
        let begun = self.cx.begin(Access::Read, self.clock.now(), Caller::default());
        let read = begun.and_then(|()| self.cx.dead_letters(limit));
        self.undo();
        self.outcome(read)
    }

    fn finish_job(&mut self, finished: Option<Finished>) -> Outcome<()> {
        self.cx.end_job();
        let Some(finished) = finished else { return self.outcome(Ok(())) };
        match finished.into_continuation::<O>() {
            Ok(then) => self.write(Caller::default(), then),
            Err(err) => self.outcome(Err(err)),
        }
    }

    fn maintain(&mut self, durable: Position) -> Result<bool, StoreError> {
        if self.cx.file.backfill_due() && self.cx.position() <= durable {
            match self.cx.file.backfill() {
                Err(err @ StoreError::DiskFull(_)) => {
                    tracing::warn!(key = %self.key(), error = &err as &dyn std::error::Error, "object was not backfilled");
                }
                backfilled => backfilled?,
            }
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

    /// A session has connected: what was noted about it before a restart comes back, and the kind is
    /// told.
    fn connected(&mut self, session: &Session, is_stranger: bool) -> Result<Vec<Effect>, Error> {
        if is_stranger && self.cx.file.exists() {
            self.transaction(Access::Read, session.caller(), |_, cx| cx.restore(session))?;
        }
        let Some(run) = self.methods.connected else { return Ok(Vec::new()) };
        self.run_hook(run, session)
    }

    /// Tells the kind about a session. Sockets that come and go never create an object, and a hook
    /// with nothing to write runs where nothing can be written.
    fn run_hook(
        &mut self,
        run: SessionHandler<O>,
        session: &Session,
    ) -> Result<Vec<Effect>, Error> {
        let exists = self.cx.file.exists();
        let refusal = if exists { self.cx.file.may_write().err() } else { None };
        let access = if exists && refusal.is_none() { Access::Write } else { Access::Read };
        let run = |object: &mut O, cx: &mut Cx<O>| run(object, cx, session);
        let told = self.transaction(access, session.caller(), run).map(|((), effects)| effects);
        match refusal {
            Some(refusal) => told.map_err(|_| refusal.into()),
            None => told,
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
            epoch: self.cx.file.epoch(),
            tail: self.cx.log.tail,
            next_due: self.cx.next_due(),
            is_replay: false,
        }
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
        let mut has_returned = false;
        let ran = contained("a handler", || {
            let result = run(&mut object, &mut self.cx);
            has_returned = true;
            result
        });
        let failed = match ran {
            Ok(value) => match self.cx.commit() {
                Ok(effects) => {
                    self.memory = Some(object);
                    return Ok((value, effects));
                }
                Err(err) => {
                    self.is_broken |= err.is_fault();
                    err
                }
            },
            Err(err) => {
                // A refusal that wrote nothing has nothing to repair.
                if has_returned && !self.cx.has_written() {
                    self.memory = Some(object);
                }
                err
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
        let woken = contained("wake", || O::wake(&self.cx));
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

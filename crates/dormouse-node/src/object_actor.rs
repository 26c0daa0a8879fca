//! The actor of one resident object. It decides nothing about the object: it takes envelopes from
//! the queue, lets [`Instance`] run them, and gives what comes out to the lane's gate.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::prelude::*;
use dormouse::{Error, Instance, Offset, Outcome, Receipt, Surroundings};
use dormouse_store::Position;

use crate::alarm_clock::Told;
use crate::entry::State;
use crate::envelope::{Answered, Envelope};
use crate::gate::{Answer, Held};
use crate::lane::{Lane, Place};
use crate::object_ref::ObjectRef;
use crate::shared::Shared;

/// Envelopes that an object handles before others on its lane get a turn.
const TURN_ENVELOPES_MAX: usize = 32;

/// Look at the queue.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Run;

/// Hibernate, unless there is something to do.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Leave;

/// The actor of one resident object.
pub(crate) struct ObjectActor {
    object: ObjectRef,
    lane: Rc<Lane>,
    /// `None` before the file is opened.
    instance: Option<Instance>,
    /// How many outcomes of this object are in the gate.
    in_gate: Rc<Cell<usize>>,
    /// Whether the gate has a [`Runner`] of this object.
    is_stalled: Rc<Cell<bool>>,
    /// Free again once all of the above is gone.
    _place: Place,
}

/// An object that stopped taking input and goes on when the gate says so.
pub(crate) struct Runner {
    actor: Addr<ObjectActor>,
    is_stalled: Rc<Cell<bool>>,
}

impl Runner {
    /// Lets the object go on.
    pub(crate) fn run(self) {
        self.is_stalled.set(false);
        send_run(&self.actor);
    }
}

/// Tells an actor to look at its queue.
///
/// At most two `Run`s are on their way to an actor at a time, one from its queue and one from the
/// gate, so there is room for it; a closed mailbox means that the lane's thread is gone, and its
/// objects' queues with it: dropping the envelopes answers them.
pub(crate) fn send_run(actor: &Addr<ObjectActor>) {
    if actor.try_send(Run).is_err() {
        tracing::error!("an object actor does not take input: its lane has stopped");
    }
}

impl ObjectActor {
    pub(crate) fn new(object: ObjectRef, lane: Rc<Lane>, place: Place) -> ObjectActor {
        let in_gate = Rc::new(Cell::new(0));
        let is_stalled = Rc::new(Cell::new(false));
        ObjectActor { object, lane, instance: None, in_gate, is_stalled, _place: place }
    }

    /// Opens the file, then looks at the queue.
    ///
    /// On the lane: opening takes less time than the two changes of thread that a pool would cost.
    /// `docs/decisions` has the numbers.
    fn open(&mut self, ctx: &mut Context<Self>) {
        let Shared { store, clock, .. } = &*self.lane.shared;
        let sessions = self.object.entry().sessions.view();
        let surroundings = Surroundings { clock: Arc::clone(clock), sessions };
        let open = || self.object.kind().open(store, self.object.key(), surroundings);
        let opened = catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|_| Err(Error::internal("opening the object panicked")));
        self.opened(opened, ctx);
    }

    fn opened(&mut self, opened: Result<Instance, Error>, ctx: &mut Context<Self>) {
        let stats = &self.lane.shared.stats;
        match opened {
            Ok(instance) => {
                stats.wakes.add(1);
                self.instance = Some(instance);
                self.object.entry().mailbox.lock().state = State::Running;
                ctx.notify(Run);
            }
            Err(err) => {
                stats.wake_failures.add(1);
                log_fault(&self.object, &err, "object cannot be opened");
                let (code, message) = (err.code(), err.message().to_owned());
                self.lane.shared.give_up(&self.object, || Error::new(code, message.clone()));
                ctx.stop();
            }
        }
    }

    /// Handles what is in the queue, for one turn.
    fn run(&mut self, ctx: &mut Context<Self>) {
        for _ in 0..TURN_ENVELOPES_MAX {
            if !self.is_ready(ctx) {
                return;
            }
            let Some(envelope) = self.object.entry().pop_or_idle(&ctx.address()) else {
                self.idle(ctx);
                return;
            };
            self.handle_envelope(envelope);
            if self.instance.as_ref().is_some_and(Instance::is_broken) {
                self.reopen(ctx);
                return;
            }
        }
        ctx.notify(Run);
    }

    /// Whether the object may take input now. If not, something else will run it again.
    fn is_ready(&mut self, ctx: &mut Context<Self>) -> bool {
        let gate = self.lane.gate.borrow();
        if !gate.has_room() {
            let until = gate.next_release();
            drop(gate);
            self.stall(ctx, until);
            return false;
        }
        let Some(instance) = &mut self.instance else { return false };
        if !instance.maintenance_is_pressing() {
            return true;
        }
        // Backfill must wait for the journal. The object takes no input until then, or a busy one
        // would never get there.
        let position = instance.position();
        if position > gate.durable() {
            drop(gate);
            self.stall(ctx, position);
            return false;
        }
        let maintained = instance.maintain(gate.durable());
        drop(gate);
        if let Err(err) = maintained {
            tracing::error!(key = %self.object.key(), error = &err as &dyn std::error::Error, "object cannot be maintained");
            self.reopen(ctx);
            return false;
        }
        true
    }

    /// Runs the object again after the gate's next release, at this position at the latest.
    fn stall(&self, ctx: &Context<Self>, until: Position) {
        if !self.is_stalled.replace(true) {
            let is_stalled = Rc::clone(&self.is_stalled);
            let runner = Runner { actor: ctx.address(), is_stalled };
            self.lane.gate.borrow_mut().stall(runner, until);
        }
    }

    fn handle_envelope(&mut self, envelope: Envelope) {
        let Some(instance) = &mut self.instance else { return };
        self.lane.shared.stats.handlers.add(1);
        match envelope {
            Envelope::Call { call, reply } => {
                let outcome = instance.call(call);
                let is_replay = outcome.is_replay;
                self.hold(outcome, |result, tail| Answer::Call {
                    reply,
                    answered: Answered { result, tail, is_replay },
                });
            }
            Envelope::Message { message, reply } => {
                let outcome = instance.message(message);
                self.hold(outcome, |result, tail| Answer::Call {
                    reply,
                    answered: Answered {
                        result: result.map(|()| String::new()),
                        tail,
                        is_replay: false,
                    },
                });
            }
            Envelope::Closed { session } => {
                let outcome = instance.closed(&session);
                self.hold(outcome, |_, _| Answer::Nobody);
            }
            Envelope::Attach { attach, socket } => {
                let outcome = instance.attach(&attach);
                self.hold(outcome, |attached, _| Answer::Socket { socket, attached });
            }
            Envelope::Refill { refill, socket } => {
                let outcome = instance.refill(&refill);
                self.hold(outcome, |attached, _| Answer::Socket { socket, attached });
            }
            Envelope::Deliver { courier } => {
                let outcome = instance.receive(courier.parcel());
                self.lane.shared.stats.parcels.add(1);
                if let Some(err) = outcome.result.as_ref().ok().and_then(Receipt::fault) {
                    self.lane.shared.stats.handler_faults.add(1);
                    log_fault(&self.object, err, "message failed");
                }
                // Dropping the courier says that nothing was tried, as a failed outcome does.
                self.hold(outcome, |receipt, _| match receipt {
                    Ok(receipt) => Answer::Courier { courier, receipt },
                    Err(_) => Answer::Nobody,
                });
            }
            Envelope::DeadLetters { limit, reply } => {
                let outcome = instance.dead_letters(limit);
                self.hold(outcome, |letters, tail| {
                    let json = |letters| serde_json::to_string(&letters).map_err(Error::internal);
                    let result = letters.and_then(json);
                    Answer::Call { reply, answered: Answered { result, tail, is_replay: false } }
                });
            }
            Envelope::Settle { receiver, receipt } => {
                let outcome = instance.settle(&receiver, &receipt);
                self.hold(outcome, |_, _| Answer::Nobody);
            }
            Envelope::JobDone { finished, running } => {
                let outcome = instance.finish_job(finished);
                self.lane.shared.stats.jobs.add(1);
                self.hold(outcome, |_, _| Answer::Nobody);
                drop(running);
            }
            Envelope::Alarm { told } => self.fire_due(told),
        }
    }

    /// Sends messages that are due, and tries the alarms that are, each in a transaction of its own.
    fn fire_due(&mut self, told: Told) {
        let Some(instance) = &mut self.instance else { return };
        let sent = instance.send_due();
        let is_sent = sent.result.is_ok();
        let mut outcomes = Vec::new();
        while !instance.is_broken() {
            let outcome = instance.fire_alarm();
            let has_more = outcome.result.as_ref().is_ok_and(|fired| fired.has_more);
            outcomes.push(outcome);
            // The clock tells it again when there are more than fit a turn.
            if !has_more || outcomes.len() == TURN_ENVELOPES_MAX {
                break;
            }
        }
        self.hold(sent, |_, _| Answer::Nobody);
        let mut told = Some(told);
        let last = outcomes.len().saturating_sub(1);
        for (index, outcome) in outcomes.into_iter().enumerate() {
            if outcome.result.as_ref().is_ok_and(|fired| fired.is_done) {
                self.lane.shared.stats.alarms.add(1);
            }
            let mut told = if index == last { told.take() } else { None };
            if let Some(told) = told.as_mut().filter(|_| is_sent && outcome.result.is_ok()) {
                told.handled();
            }
            self.hold(outcome, |_, _| told.map_or(Answer::Nobody, Answer::Alarms));
        }
    }

    /// Gives what a handler produced to the gate.
    fn hold<T>(
        &self,
        outcome: Outcome<T>,
        answer: impl FnOnce(Result<T, Error>, Offset) -> Answer,
    ) {
        let Outcome { result, effects, position, epoch, tail, next_due, is_replay: _ } = outcome;
        if let Err(err) = &result
            && err.is_fault()
        {
            self.lane.shared.stats.handler_faults.add(1);
            log_fault(&self.object, err, "handler failed");
        }
        self.lane.gate.borrow_mut().hold(Held {
            object: self.object.clone(),
            position,
            epoch,
            effects,
            answer: answer(result, tail),
            next_due,
            in_gate: Rc::clone(&self.in_gate),
        });
    }

    /// The queue is empty.
    fn idle(&mut self, ctx: &mut Context<Self>) {
        let has_file = self.instance.as_ref().is_some_and(Instance::has_file);
        if has_file && !self.lane.is_crowded() {
            self.lane.touch(self.object.key(), &ctx.address());
        } else {
            // Without a file it costs next to nothing to make again.
            self.leave(ctx);
        }
    }

    fn leave(&mut self, ctx: &mut Context<Self>) {
        let Some(instance) = &self.instance else { return };
        let gate = self.lane.gate.borrow();
        let (durable, next_release) = (gate.durable(), gate.next_release());
        drop(gate);
        let has_passed = self.in_gate.get() == 0;
        let is_settled = has_passed && instance.position() <= durable;
        let has_jobs = self.object.entry().jobs.load(Ordering::Relaxed) > 0;
        if !is_settled && self.lane.is_crowded() {
            // It leaves after the release that settles it.
            self.stall(ctx, if has_passed { instance.position() } else { next_release });
        }
        // A server that stops does not wait until the object may be tried again.
        let may_sleep = (instance.may_sleep() && !has_jobs) || self.lane.shared.is_stopping();
        if !is_settled || !may_sleep || !self.object.entry().leave() {
            self.lane.touch(self.object.key(), &ctx.address());
            return;
        }
        // A caller may wake the object from here on. Its next actor starts on this thread, so it
        // opens the file after it was closed.
        if let Some(instance) = self.instance.take()
            && let Err(err) = instance.hibernate()
        {
            tracing::error!(key = %self.object.key(), error = &err as &dyn std::error::Error, "object did not hibernate cleanly");
        }
        self.lane.shared.stats.hibernations.add(1);
        ctx.stop();
    }

    /// What the file holds is unknown: closes it and reads it again. The queue stays.
    fn reopen(&mut self, ctx: &mut Context<Self>) {
        self.instance = None;
        self.object.entry().mailbox.lock().state = State::Waking;
        self.open(ctx);
    }
}

impl Actor for ObjectActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.lane.shared.stats.objects_resident.up();
        self.open(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.lane.shared.stats.objects_resident.down();
        self.lane.forget(self.object.key());
    }
}

impl Handler<Run> for ObjectActor {
    type Result = ();

    fn handle(&mut self, _: Run, ctx: &mut Self::Context) {
        self.run(ctx);
    }
}

impl Handler<Leave> for ObjectActor {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) {
        self.leave(ctx);
    }
}

fn log_fault(object: &ObjectRef, err: &Error, message: &'static str) {
    tracing::error!(key = %object.key(), error = err as &dyn std::error::Error, "{message}");
}

//! The output gate of a lane: holds outcomes until what they depend on is durable.
//!
//! First in, first out. An outcome of an object that has nothing in the gate and depends on
//! nothing that is not durable passes at once; every other waits for its place, which costs a
//! read at most one sync that it did not need.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use dormouse::{Attached, Audience, Effect, EncodedEvent, Error, EventClass, Receipt, Timestamp};
use dormouse_socket::{
    Batch, BatchBuilder, CloseCode, EventEpoch, SocketId, ToHub, TopicId, text_frame,
};
use dormouse_store::{Epoch, Position};

use crate::alarm_clock::Told;
use crate::courier::{self, Courier};
use crate::entry::Entry;
use crate::envelope::{Answered, Reply};
use crate::jobs;
use crate::object_actor::Runner;
use crate::object_ref::ObjectRef;
use crate::shared::Shared;

/// A stored event type that the kind no longer has: no filter has a bit for it, so it passes.
const TYPE_WITHOUT_BIT: u8 = u8::MAX;

/// What one handler wants the world to see.
pub(crate) struct Held {
    pub(crate) object: ObjectRef,
    pub(crate) position: Position,
    /// The history that offsets in it belong to.
    pub(crate) epoch: Epoch,
    pub(crate) effects: Vec<Effect>,
    pub(crate) answer: Answer,
    /// When somebody must look at the object again.
    pub(crate) next_due: Option<Timestamp>,
    /// How many outcomes of this object are in the gate.
    pub(crate) in_gate: Rc<Cell<usize>>,
}

/// The last thing that a handler gives.
pub(crate) enum Answer {
    /// To a call.
    Call {
        /// Who waits.
        reply: Reply,
        /// For what.
        answered: Answered,
    },
    /// To a socket that attaches or catches up.
    Socket {
        /// Which one.
        socket: SocketId,
        /// What it gets; an error closes it.
        attached: Result<Attached, Error>,
    },
    /// To the sender of messages.
    Courier {
        /// Brings it there.
        courier: Courier,
        /// What became of them.
        receipt: Receipt,
    },
    /// To nobody.
    Nobody,
    /// To the alarm clock: the object is done with its alarms.
    Alarms(Told),
}

/// The gate of one lane.
pub(crate) struct Gate {
    shared: Arc<Shared>,
    durable: Position,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Objects that stopped because the gate was full or because they wait to backfill.
    stalled: Vec<Runner>,
}

impl Gate {
    pub(crate) fn new(shared: Arc<Shared>) -> Gate {
        let durable = *shared.durable.borrow();
        Gate { shared, durable, held: VecDeque::new(), held_bytes: 0, stalled: Vec::new() }
    }

    /// Takes an outcome, and lets it pass when it is durable.
    pub(crate) fn hold(&mut self, held: Held) {
        if held.in_gate.get() == 0 && held.position <= self.durable {
            Releases::new(&self.shared).add(held);
            return;
        }
        held.in_gate.set(held.in_gate.get() + 1);
        self.held_bytes += held.bytes();
        self.held.push_back(held);
    }

    /// Lets everything pass that is durable now. Returns the objects that may go on.
    pub(crate) fn release(&mut self, durable: Position) -> Vec<Runner> {
        self.durable = self.durable.max(durable);
        let mut releases = Releases::new(&self.shared);
        while let Some(held) = self.held.pop_front_if(|held| held.position <= self.durable) {
            held.in_gate.set(held.in_gate.get() - 1);
            self.held_bytes -= held.bytes();
            releases.add(held);
        }
        drop(releases);
        std::mem::take(&mut self.stalled)
    }

    /// Whether the lane may take more input.
    pub(crate) fn has_room(&self) -> bool {
        self.held_bytes <= self.shared.config.gate_bytes_max
    }

    /// Runs the object again after the next release.
    pub(crate) fn stall(&mut self, runner: Runner) {
        self.stalled.push(runner);
    }

    /// How far the journal has come, as this lane knows it.
    pub(crate) fn durable(&self) -> Position {
        self.durable
    }
}

impl Held {
    /// What it costs to keep. An outcome of no bytes, such as a refusal, costs something too.
    fn bytes(&self) -> usize {
        let effects: usize = self
            .effects
            .iter()
            .map(|effect| match effect {
                Effect::Broadcast { event, .. } => event.json.len(),
                Effect::Send(parcel) => parcel.bytes(),
                Effect::Job(_) => 0,
            })
            .sum();
        size_of::<Held>()
            + effects
            + match &self.answer {
                Answer::Call { answered, .. } => answered.result.as_ref().map_or(0, String::len),
                Answer::Courier { .. } | Answer::Nobody | Answer::Alarms(_) => 0,
                Answer::Socket { attached, .. } => attached.as_ref().map_or(0, |attached| {
                    attached.page.events.iter().map(|event| event.json.len()).sum()
                }),
            }
    }
}

/// What leaves in one go: the events of each object are joined to one batch, in order, and the
/// answers to calls follow them. Dropping it sends the rest.
struct Releases<'a> {
    shared: &'a Arc<Shared>,
    groups: Vec<Group>,
    by_topic: HashMap<TopicId, usize>,
}

struct Group {
    object: ObjectRef,
    epoch: Epoch,
    events: BatchBuilder,
    count: u64,
    answers: Vec<(Reply, Answered)>,
}

impl<'a> Releases<'a> {
    fn new(shared: &'a Arc<Shared>) -> Releases<'a> {
        Releases { shared, groups: Vec::new(), by_topic: HashMap::new() }
    }

    fn add(&mut self, held: Held) {
        let topic = held.object.topic();
        let index = *self.by_topic.entry(topic).or_insert(self.groups.len());
        if index == self.groups.len() {
            self.groups.push(Group::new(held.object, held.epoch));
        }
        let group = &mut self.groups[index];
        if group.epoch != held.epoch {
            // Offsets of two histories do not follow each other.
            group.send(self.shared);
            group.begin(held.epoch);
        }
        for effect in held.effects {
            match effect {
                Effect::Broadcast { event, audience } => group.push(&event, audience),
                Effect::Send(parcel) => courier::send(self.shared, group.object.clone(), parcel),
                Effect::Job(job) => jobs::start(self.shared, group.object.clone(), job),
            }
        }
        if let Some(due) = held.next_due {
            self.shared.alarm_clock.expect(due);
        }
        match held.answer {
            Answer::Call { reply, answered } => group.answers.push((reply, answered)),
            Answer::Courier { courier, receipt } => courier.settle(receipt),
            Answer::Nobody => {}
            Answer::Alarms(told) => drop(told),
            Answer::Socket { socket, attached } => {
                // The socket must see what came before, and nothing twice: the events up to here
                // go to the others first.
                group.send(self.shared);
                send_attached(self.shared, topic, held.epoch, socket, attached);
            }
        }
    }
}

impl Drop for Releases<'_> {
    fn drop(&mut self) {
        for group in &mut self.groups {
            group.send(self.shared);
        }
    }
}

impl Group {
    fn new(object: ObjectRef, epoch: Epoch) -> Group {
        Group { object, epoch, events: builder(epoch), count: 0, answers: Vec::new() }
    }

    /// Starts another history, after everything of the last one was sent.
    fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.events = builder(epoch);
    }

    fn push(&mut self, event: &EncodedEvent, audience: Audience) {
        let except = match audience {
            Audience::Everyone => None,
            Audience::Except(id) => self.object.entry().sessions.lock().sockets_of(id).next(),
        };
        push_event(&mut self.events, event, except);
        self.count += 1;
    }

    fn send(&mut self, shared: &Shared) {
        if self.count > 0 {
            shared.stats.events.add(std::mem::take(&mut self.count));
            let batch = std::mem::replace(&mut self.events, builder(self.epoch)).finish();
            publish(shared, self.object.entry(), &batch);
        }
        for (reply, answered) in self.answers.drain(..) {
            reply.answer(answered);
        }
    }
}

fn publish(shared: &Shared, entry: &Entry, batch: &Batch) {
    let sessions = entry.sessions.lock();
    for hub in sessions.hubs() {
        if let Some(hub) = shared.hubs.get(usize::from(hub.0)) {
            hub.send(ToHub::Publish { topic: entry.topic, batch: batch.clone() });
        }
    }
}

fn send_attached(
    shared: &Shared,
    topic: TopicId,
    epoch: Epoch,
    socket: SocketId,
    attached: Result<Attached, Error>,
) {
    let Some(hub) = shared.hubs.get(usize::from(socket.hub().0)) else { return };
    let message = match attached {
        Ok(Attached { direct, page }) => {
            let mut events = builder(epoch);
            for event in &page.events {
                push_event(&mut events, event, None);
            }
            ToHub::Attach {
                socket,
                topic,
                direct: direct.as_deref().map(text_frame),
                batch: events.finish(),
                offset: page.reached.get(),
                tail: page.tail,
            }
        }
        Err(err) => {
            let code = if err.is_fault() { CloseCode::FAILURE } else { CloseCode::OVERLOADED };
            ToHub::Close { socket, code, reason: err.message().to_owned() }
        }
    };
    hub.send(message);
}

fn builder(epoch: Epoch) -> BatchBuilder {
    BatchBuilder::of(EventEpoch(epoch.get()))
}

fn push_event(batch: &mut BatchBuilder, event: &EncodedEvent, except: Option<SocketId>) {
    match &event.class {
        EventClass::Log { offset, type_index } => {
            batch.log(offset.get(), type_index.unwrap_or(TYPE_WITHOUT_BIT), &event.json)
        }
        EventClass::Latest { key } => batch.latest(Arc::clone(key), except, &event.json),
        EventClass::Lossy => batch.lossy(except, &event.json),
    };
}

//! The output gate of a lane: holds outcomes until what they depend on is durable.
//!
//! First in, first out. An outcome of an object that has nothing in the gate and depends on
//! nothing that is not durable passes at once; every other waits for its place, which costs a
//! read at most one sync that it did not need.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use dormouse::{
    Attached, Audience, Effect, EncodedEvent, Error, EventClass, Offset, Receipt, SessionId,
    Timestamp,
};
use dormouse_socket::{
    BatchBuilder, CloseCode, EventEpoch, SocketId, To, ToHub, TopicId, text_frame,
};
use dormouse_store::{Epoch, Position};

use crate::alarm_clock::Told;
use crate::courier::{self, Courier};
use crate::entry::Entry;
use crate::envelope::{Answered, Reply};
use crate::jobs;
use crate::object_actor::Runner;
use crate::object_ref::ObjectRef;
use crate::sessions::{Seat, push_transient};
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

impl Answer {
    /// Whether it is to a socket that attaches or catches up.
    fn attaches(&self) -> bool {
        match self {
            Answer::Socket { .. } => true,
            Answer::Call { .. } | Answer::Courier { .. } | Answer::Nobody | Answer::Alarms(_) => {
                false
            }
        }
    }
}

/// The gate of one lane.
pub(crate) struct Gate {
    lane: usize,
    shared: Arc<Shared>,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Objects that stopped until the next release.
    stalled: Vec<Runner>,
    /// The first position that a stalled object waits for, besides those of what is held.
    stalled_until: Option<Position>,
}

impl Gate {
    /// The gate of the lane with this index.
    pub(crate) fn new(lane: usize, shared: Arc<Shared>) -> Gate {
        let (held, stalled) = (VecDeque::new(), Vec::new());
        Gate { lane, shared, held, held_bytes: 0, stalled, stalled_until: None }
    }

    /// Takes an outcome, and lets it pass when it is durable.
    pub(crate) fn hold(&mut self, held: Held) {
        if held.in_gate.get() == 0 && held.position <= self.durable() {
            Releases::new(&self.shared).add(held);
            return;
        }
        held.in_gate.set(held.in_gate.get() + 1);
        self.held_bytes += held.bytes();
        self.held.push_back(held);
        if self.held.len() == 1 {
            self.wait();
        }
    }

    /// Lets everything pass that is durable now. Returns the objects that may go on.
    pub(crate) fn release(&mut self) -> Vec<Runner> {
        let durable = self.durable();
        let mut releases = Releases::new(&self.shared);
        while let Some(held) = self.held.pop_front_if(|held| held.position <= durable) {
            held.in_gate.set(held.in_gate.get() - 1);
            self.held_bytes -= held.bytes();
            releases.add(held);
        }
        drop(releases);
        self.stalled_until = None;
        self.wait();
        std::mem::take(&mut self.stalled)
    }

    /// Whether the lane may take more input. If not, there will be a release.
    pub(crate) fn has_room(&self) -> bool {
        self.held_bytes <= self.shared.config.gate_bytes_max
    }

    /// Runs the object again after the next release, of which there is one when this position is
    /// durable at the latest.
    pub(crate) fn stall(&mut self, runner: Runner, until: Position) {
        self.stalled.push(runner);
        self.stalled_until = Some(self.stalled_until.map_or(until, |other| other.min(until)));
        self.wait();
    }

    /// How far the journal has come.
    pub(crate) fn durable(&self) -> Position {
        self.shared.durable.position()
    }

    /// At which position outcomes pass next. A gate that is empty needs nothing.
    pub(crate) fn next_release(&self) -> Position {
        self.held.front().map_or(Position::ZERO, |held| held.position)
    }

    /// Asks for a release as soon as one lets something pass.
    fn wait(&self) {
        let first_held = self.held.front().map(|held| held.position);
        if let Some(position) = first_held.into_iter().chain(self.stalled_until).min() {
            self.shared.durable.want(self.lane, position);
        }
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
                Effect::Direct { json, .. } => json.len(),
                Effect::Close { reason, .. } => reason.len(),
                Effect::Send(parcel) => parcel.bytes(),
                Effect::Split | Effect::Job(_) => 0,
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
        // What a socket that attaches is sent by itself follows what it is shown.
        let attaches = held.answer.attaches();
        let (follow, effects): (Vec<Effect>, Vec<Effect>) =
            held.effects.into_iter().partition(|effect| attaches && effect.is_direct());
        for effect in effects {
            group.perform(self.shared, effect);
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
                send_attached(self.shared, group.object.entry(), held.epoch, socket, attached);
            }
        }
        for effect in follow {
            group.perform(self.shared, effect);
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

    fn perform(&mut self, shared: &Arc<Shared>, effect: Effect) {
        match effect {
            Effect::Broadcast { event, audience } => self.push(shared, &event, audience),
            Effect::Direct { session, json, after, presence_version } => {
                self.send(shared);
                self.send_direct(shared, session, &json, after, presence_version);
            }
            Effect::Close { session, code, reason } => {
                self.send(shared);
                self.close(shared, session, code, reason);
            }
            Effect::Split => self.object.entry().lock_sessions(&shared.hubs).split(),
            Effect::Send(parcel) => courier::send(shared, self.object.clone(), parcel),
            Effect::Job(job) => jobs::start(shared, self.object.clone(), job),
        }
    }

    fn push(&mut self, shared: &Shared, event: &EncodedEvent, audience: Audience) {
        let to = match audience {
            Audience::Everyone => To::Everyone,
            Audience::Except(_) => self.object.entry().lock_sessions(&shared.hubs).to(audience),
        };
        push_event(&mut self.events, event, to);
        self.count += 1;
    }

    fn send_direct(
        &self,
        shared: &Shared,
        session: SessionId,
        json: &str,
        after: Offset,
        presence_version: Option<u64>,
    ) {
        let mut sessions = self.object.entry().lock_sessions(&shared.hubs);
        let Some(Seat { socket, topic }) = sessions.seat(session) else { return };
        // A socket of another object of the group is at a place in that one's log.
        let after = if topic == self.object.topic() { after.get() } else { 0 };
        let frames = text_frame(json);
        sessions.send(socket.hub(), ToHub::Direct { socket, frames, after, settles: 0 });
        if presence_version.is_some() {
            sessions.show(socket, presence_version, after);
        }
    }

    fn close(&self, shared: &Shared, session: SessionId, code: u16, reason: String) {
        let sessions = self.object.entry().lock_sessions(&shared.hubs);
        let Some(Seat { socket, .. }) = sessions.seat(session) else { return };
        let code = CloseCode::new(code).unwrap_or(CloseCode::NORMAL);
        sessions.send(socket.hub(), ToHub::Close { socket, code, reason });
    }

    fn send(&mut self, shared: &Shared) {
        if self.count > 0 {
            shared.stats.events.add(std::mem::take(&mut self.count));
            let batch = std::mem::replace(&mut self.events, builder(self.epoch));
            self.object.entry().lock_sessions(&shared.hubs).publish_batch(batch);
        }
        for (reply, answered) in self.answers.drain(..) {
            reply.answer(answered);
        }
    }
}

fn send_attached(
    shared: &Shared,
    entry: &Entry,
    epoch: Epoch,
    socket: SocketId,
    attached: Result<Attached, Error>,
) {
    let mut sessions = entry.lock_sessions(&shared.hubs);
    let (direct, page, presence_version) = match attached {
        Ok(Attached { direct, page, presence_version }) => (direct, page, presence_version),
        Err(err) => {
            let code = if err.is_fault() { CloseCode::FAILURE } else { CloseCode::OVERLOADED };
            let reason = err.message().to_owned();
            return sessions.send(socket.hub(), ToHub::Close { socket, code, reason });
        }
    };
    let mut events = builder(epoch);
    for event in &page.events {
        push_event(&mut events, event, To::Everyone);
    }
    let offset = page.reached.get();
    let attach = ToHub::Attach {
        socket,
        topic: entry.topic,
        direct: direct.as_deref().map(text_frame),
        batch: events.finish(),
        offset,
        tail: page.tail,
    };
    sessions.send(socket.hub(), attach);
    if page.tail {
        // From here on it hears of every change, and of none before.
        sessions.show(socket, presence_version, offset);
    }
}

fn builder(epoch: Epoch) -> BatchBuilder {
    BatchBuilder::of(EventEpoch(epoch.get()))
}

fn push_event(batch: &mut BatchBuilder, event: &EncodedEvent, to: To) {
    match &event.class {
        EventClass::Log { offset, type_index } => {
            _ = batch.log(offset.get(), type_index.unwrap_or(TYPE_WITHOUT_BIT), &event.json);
        }
        EventClass::Latest { .. } | EventClass::Lossy => push_transient(batch, event, to),
    }
}

//! One key as the node knows it: its queue, its state, its sessions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use actix::Addr;
use dormouse::{Error, Key, Kind};
use dormouse_socket::{HubHandle, TopicId};
use parking_lot::Mutex;

use crate::envelope::Envelope;
use crate::object_actor::ObjectActor;
use crate::object_ref::ObjectRef;
use crate::sessions::{Locked, Sessions};

/// Everything the node keeps about one key. It lives as long as anybody refers to it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) kind: Arc<Kind>,
    pub(crate) topic: TopicId,
    pub(crate) lane: usize,
    /// How many [`ObjectRef`](crate::ObjectRef)s there are. Raised only under the lock of the
    /// map's shard, so that zero found under that lock means that nobody can come back.
    pub(crate) refs: AtomicUsize,
    pub(crate) mailbox: Mutex<Mailbox>,
    /// Jobs that run for it, or whose results wait in its queue.
    pub(crate) jobs: AtomicUsize,
    /// Shared with the root, if the object is a shard.
    pub(crate) sessions: Arc<Sessions>,
    /// What the object is a shard of.
    pub(crate) root: Option<ObjectRef>,
}

/// The queue of an object and who serves it, under one lock.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: VecDeque<Envelope>,
    pub(crate) state: State,
}

/// Where an object is in its life.
#[derive(Debug)]
pub(crate) enum State {
    /// No actor, no open file.
    Asleep,
    /// Its lane's router has been asked to start it, or its file is being opened.
    Waking,
    /// Resident and waiting for input.
    Idle(Addr<ObjectActor>),
    /// Resident, and told to look at its queue.
    Running,
}

/// What must happen after an envelope was added.
#[derive(Debug)]
pub(crate) enum Next {
    /// Somebody else takes care of it.
    Nothing,
    /// Ask the lane's router to wake the object.
    Wake,
    /// Tell the actor to look at its queue.
    Run(Addr<ObjectActor>),
}

impl Entry {
    /// Its sessions, locked. `hubs` are all of the node.
    pub(crate) fn lock_sessions<'a>(&'a self, hubs: &'a [HubHandle]) -> Locked<'a> {
        self.sessions.lock(&self.kind, self.topic, hubs)
    }

    /// Appends an envelope, and says what must happen for it to be seen.
    ///
    /// The envelope comes back with the reason if the queue is full.
    pub(crate) fn push(
        &self,
        envelope: Envelope,
        envelopes_max: usize,
    ) -> Result<Next, Box<(Envelope, Error)>> {
        let mut mailbox = self.mailbox.lock();
        let waiting_max = envelope.waiting_max(envelopes_max);
        if waiting_max.is_some_and(|max| mailbox.queue.len() >= max) {
            let err = Error::unavailable("too many calls wait for this object; try again later");
            return Err(Box::new((envelope, err)));
        }
        mailbox.queue.push_back(envelope);
        let state = std::mem::replace(&mut mailbox.state, State::Running);
        let (state, next) = match state {
            State::Asleep => (State::Waking, Next::Wake),
            State::Waking => (State::Waking, Next::Nothing),
            State::Idle(actor) => (State::Running, Next::Run(actor)),
            State::Running => (State::Running, Next::Nothing),
        };
        mailbox.state = state;
        Ok(next)
    }

    /// Empties the queue of an object that could not be woken, and puts it to sleep.
    pub(crate) fn give_up(&self) -> VecDeque<Envelope> {
        let mut mailbox = self.mailbox.lock();
        mailbox.state = State::Asleep;
        std::mem::take(&mut mailbox.queue)
    }

    /// The next envelope. When there is none, the actor becomes idle in the same step, so that no
    /// envelope can slip in unseen.
    pub(crate) fn pop_or_idle(&self, actor: &Addr<ObjectActor>) -> Option<Envelope> {
        let mut mailbox = self.mailbox.lock();
        let envelope = mailbox.queue.pop_front();
        if envelope.is_none() {
            mailbox.state = State::Idle(actor.clone());
        }
        envelope
    }

    /// Whether no actor has the object and none was asked for. Its queue is empty then.
    pub(crate) fn is_asleep(&self) -> bool {
        matches!(self.mailbox.lock().state, State::Asleep)
    }

    /// Puts the object to sleep, if nothing waits for it. `false` if something does.
    pub(crate) fn leave(&self) -> bool {
        let mut mailbox = self.mailbox.lock();
        let may_leave = mailbox.queue.is_empty() && matches!(mailbox.state, State::Idle(_));
        if may_leave {
            mailbox.state = State::Asleep;
        }
        may_leave
    }
}

impl Mailbox {
    pub(crate) fn asleep() -> Mailbox {
        Mailbox { queue: VecDeque::new(), state: State::Asleep }
    }

    /// Number of envelopes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }
}

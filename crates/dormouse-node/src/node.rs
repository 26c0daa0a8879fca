//! The node: what the front door calls.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use actix::{Actor as _, Arbiter};
use dormouse::{
    Attach, Call, ClientMessage, Clock, EncodedRelay, Key, Kind, Kinds, Refill, SESSION_KEPT,
    Session, SessionId, SessionLimits, Since, User,
};
use dormouse_socket::{CloseCause, HubHandle, SocketId};
use dormouse_store::Store;

use crate::alarm_clock::{self, AlarmClock};
use crate::config::NodeConfig;
use crate::durable::Durable;
use crate::entry::State;
use crate::envelope::{Envelope, Reply};
use crate::object_ref::{Entries, ObjectRef};
use crate::router::{Close, Router};
use crate::session_clock::{self, SessionClock};
use crate::sessions::Arrival;
use crate::shared::Shared;
use crate::stats::NodeStats;

/// All objects of this process. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    shared: Arc<Shared>,
    arbiters: Arc<[Arbiter]>,
}

/// What the client of a new socket knows of the object's events, and wants to.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// Where it stopped, if it comes back.
    pub since: Option<Since>,
    /// Which event types it wants; see [`EventTypes::mask`](dormouse::EventTypes::mask).
    pub mask: u128,
    /// Whether it is told `resumed` when it can go on where it stopped.
    pub says_resumed: bool,
}

/// What the node knows about one object right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectStatus {
    /// Whether it is in memory.
    pub is_resident: bool,
    /// Its open sockets.
    pub sessions: usize,
    /// Calls that wait for it.
    pub queued: usize,
}

impl Node {
    /// Starts the lanes and their routers. Needs a running actix system.
    ///
    /// `hubs` are all hubs of the process, in the order of their indexes.
    pub fn start(
        config: NodeConfig,
        store: Store,
        clock: Arc<dyn Clock>,
        kinds: Kinds,
        hubs: Vec<HubHandle>,
    ) -> Node {
        let session_limits = SessionLimits {
            grace: config.presence_grace,
            users_max: config.presence_users_max,
            strangers_until: clock.now().checked_add(SESSION_KEPT).unwrap_or(clock.now()),
        };
        let shared = Arc::new(Shared {
            durable: Durable::follow(&store, config.lanes),
            config,
            store,
            clock,
            hubs,
            stats: NodeStats::default(),
            kinds,
            entries: Arc::new(Entries::new()),
            routers: OnceLock::new(),
            jobs: OnceLock::new(),
            topics: AtomicU64::new(1),
            is_stopping: AtomicBool::new(false),
            alarm_clock: AlarmClock::new(),
            session_clock: SessionClock::default(),
            session_limits,
        });
        let mut arbiters: Vec<Arbiter> = (0..config.lanes).map(|_| Arbiter::new()).collect();
        let start_router = |(index, lane): (usize, &Arbiter)| {
            let shared = Arc::clone(&shared);
            Router::start_in_arbiter(&lane.handle(), move |_| Router::new(index, shared))
        };
        let routers = arbiters.iter().enumerate().map(start_router).collect();
        shared.routers.set(routers).expect("routers are started once");
        let job_arbiter = Arbiter::new();
        shared.jobs.set(job_arbiter.handle()).expect("jobs are started once");
        arbiters.push(job_arbiter);
        let clocks = Arbiter::new();
        clocks.spawn(alarm_clock::run(Arc::clone(&shared)));
        clocks.spawn(session_clock::run(Arc::clone(&shared)));
        arbiters.push(clocks);
        Node { shared, arbiters: arbiters.into() }
    }

    /// The kinds that can be called.
    pub fn kinds(&self) -> &Kinds {
        &self.shared.kinds
    }

    /// The storage under all objects.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The clock that handlers see.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// The hubs that were given to [`start`](Self::start).
    pub fn hubs(&self) -> &[HubHandle] {
        &self.shared.hubs
    }

    /// Counters and gauges.
    pub fn stats(&self) -> &NodeStats {
        &self.shared.stats
    }

    /// Refers to an object. Creates nothing and wakes nothing.
    pub fn object(&self, kind: &Arc<Kind>, key: &Key) -> ObjectRef {
        self.shared.object(kind, key)
    }

    /// Refers to the object that has the sockets of a user: the one of that name, or its shard.
    pub fn object_of_sockets(&self, kind: &Arc<Kind>, key: &Key, user: Option<&User>) -> ObjectRef {
        let root = self.object(kind, key);
        let shard = kind.shard_of(key, user);
        let is_split = shard.is_some() && root.entry().lock_sessions(&self.shared.hubs).is_split();
        let shard = shard.filter(|_| is_split).and_then(|key| self.shared.object_named(&key));
        shard.unwrap_or(root)
    }

    /// Calls a method. `reply` is called exactly once, on another thread, after what the call
    /// wrote is durable; or at once, if the call cannot be taken.
    pub fn call(&self, object: &ObjectRef, call: Call, reply: Reply) {
        self.shared.push(object, Envelope::Call { call, reply });
    }

    /// Has an object handle a message of a client that is no call. `reply` is called as for a call; what
    /// is sent and broadcast comes before it, and `Ok` says nothing more.
    pub fn message(&self, object: &ObjectRef, message: ClientMessage, reply: Reply) {
        self.shared.push(object, Envelope::Message { message, reply });
    }

    /// Passes an event on to the sockets of an object. Wakes nothing.
    pub fn relay(&self, object: &ObjectRef, relay: EncodedRelay) {
        let now = self.shared.clock.now();
        let due = object.entry().lock_sessions(&self.shared.hubs).relay(relay, now);
        self.shared.session_clock.wait_for(object, due);
    }

    /// Gives a new socket to its object. The object answers with [`ToHub::Attach`].
    ///
    /// Gives the socket's session: that of `arrival`, or the one that comes back.
    pub fn attach(
        &self,
        object: &ObjectRef,
        socket: SocketId,
        arrival: Arrival,
        knows: Knowledge,
    ) -> Session {
        let mut sessions = object.entry().lock_sessions(&self.shared.hubs);
        let (session, is_stranger, due) = sessions.join(socket, arrival);
        self.shared.stats.sessions.up();
        let Knowledge { since, mask, says_resumed } = knows;
        let attach = Attach { session: session.clone(), is_stranger, since, mask, says_resumed };
        // Under the lock, so that the object hears in order of sockets of one session that come and go.
        self.shared.push(object, Envelope::Attach { attach, socket });
        drop(sessions);
        self.shared.session_clock.wait_for(object, due);
        session
    }

    /// Says that the user of a socket has shown a newer token: the object's sessions, and those who are
    /// told who is present, see what it says. Wakes nothing.
    pub fn renewed(
        &self,
        object: &ObjectRef,
        socket: SocketId,
        session: SessionId,
        user: &Arc<User>,
    ) {
        let now = self.shared.clock.now();
        let mut sessions = object.entry().lock_sessions(&self.shared.hubs);
        let due = sessions.renew(session, socket, user, now);
        drop(sessions);
        self.shared.session_clock.wait_for(object, due);
    }

    /// Asks for the events that a socket has missed. The object answers with [`ToHub::Attach`].
    pub fn refill(&self, object: &ObjectRef, socket: SocketId, refill: Refill) {
        self.shared.push(object, Envelope::Refill { refill, socket });
    }

    /// Says that a socket is closed, which was [attached](Self::attach) with this session.
    pub fn detach(
        &self,
        object: &ObjectRef,
        socket: SocketId,
        session: &Session,
        cause: CloseCause,
    ) {
        self.shared.stats.sessions.down();
        let now = self.shared.clock.now();
        let mut sessions = object.entry().lock_sessions(&self.shared.hubs);
        let Some(due) = sessions.leave(session.id, socket, cause, now) else { return };
        if object.kind().wants_closed() {
            self.shared.push(object, Envelope::Closed { session: session.clone() });
        }
        drop(sessions);
        self.shared.session_clock.wait_for(object, due);
    }

    /// Asks for the newest messages of an object that were given up, newest first: a JSON array of
    /// [`DeadLetter`](dormouse::DeadLetter)s. Wakes the object.
    pub fn dead_letters(&self, object: &ObjectRef, limit: usize, reply: Reply) {
        self.shared.push(object, Envelope::DeadLetters { limit, reply });
    }

    /// What the node knows about an object right now. Wakes nothing.
    pub fn status(&self, key: &Key) -> ObjectStatus {
        let Some(entry) = self.shared.entries.get(key).map(|entry| Arc::clone(&entry)) else {
            return ObjectStatus { is_resident: false, sessions: 0, queued: 0 };
        };
        let sessions = entry.sessions.len(entry.topic);
        let mailbox = entry.mailbox.lock();
        let is_resident = !matches!(mailbox.state, State::Asleep);
        ObjectStatus { is_resident, sessions, queued: mailbox.queued() }
    }

    /// Takes no more calls, lets every object finish what it has and hibernate. Returns once none
    /// is resident; the caller bounds the time.
    pub async fn shut_down(&self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        while !self.is_at_rest() {
            for router in self.shared.routers.get().into_iter().flatten() {
                // A full mailbox: it is asked again in the next round.
                _ = router.try_send(Close);
            }
            // An object leaves once its last position is durable and it is not busy.
            tokio::time::sleep(SHUT_DOWN_ROUND).await;
        }
        for arbiter in self.arbiters.iter() {
            arbiter.stop();
        }
    }

    /// Whether no object is in memory, and none is on its way there with calls that wait for it.
    fn is_at_rest(&self) -> bool {
        self.shared.stats.objects_resident() == 0
            && self.shared.entries.iter().all(|entry| entry.is_asleep())
    }
}

/// How often objects are asked to leave while the node shuts down.
const SHUT_DOWN_ROUND: std::time::Duration = std::time::Duration::from_millis(10);

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

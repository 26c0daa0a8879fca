//! What routers, lanes and callers share.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use actix::Addr;
use actix_rt::ArbiterHandle;
use parking_lot::Mutex;

use dormouse::{Clock, Error, Key, Kind, Kinds, SessionLimits};
use dormouse_socket::{CloseCode, HubHandle, ToHub, TopicId};
use dormouse_store::Store;

use crate::alarm_clock::AlarmClock;
use crate::config::NodeConfig;
use crate::durable::Durable;
use crate::entry::{Entry, Mailbox, Next};
use crate::envelope::Envelope;
use crate::object_actor::send_run;
use crate::object_ref::{Entries, ObjectRef};
use crate::router::{Router, Wake};
use crate::session_clock::SessionClock;
use crate::sessions::Sessions;
use crate::stats::NodeStats;

/// What routers, lanes and callers share; one for each node.
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hubs: Vec<HubHandle>,
    pub(crate) durable: Arc<Durable>,
    pub(crate) stats: NodeStats,
    pub(crate) kinds: Kinds,
    pub(crate) entries: Arc<Entries>,
    /// One for each lane. Set once, right after they have started.
    pub(crate) routers: OnceLock<Vec<Addr<Router>>>,
    /// Where jobs run. Set once, before the first object is started.
    pub(crate) jobs: OnceLock<ArbiterHandle>,
    pub(crate) topics: AtomicU64,
    pub(crate) is_stopping: AtomicBool,
    pub(crate) alarm_clock: AlarmClock,
    pub(crate) session_clock: SessionClock,
    pub(crate) session_limits: SessionLimits,
}

impl Shared {
    /// Refers to an object. Creates nothing and wakes nothing.
    pub(crate) fn object(&self, kind: &Arc<Kind>, key: &Key) -> ObjectRef {
        // Before the entry is made, under the lock of its place in the map.
        let root = kind.root_of(key).and_then(|root| self.object_named(&root));
        let sessions = || match &root {
            Some(root) => Arc::clone(&root.entry().sessions),
            None => Arc::new(Sessions::new(self.session_limits)),
        };
        ObjectRef::get(&self.entries, key, || Entry {
            key: key.clone(),
            kind: Arc::clone(kind),
            topic: TopicId(self.topics.fetch_add(1, Ordering::Relaxed)),
            lane: self.lane_of(key),
            refs: AtomicUsize::new(0),
            mailbox: Mutex::new(Mailbox::asleep()),
            jobs: AtomicUsize::new(0),
            sessions: sessions(),
            root: root.clone(),
        })
    }

    /// Refers to an object of any kind; `None` if there is no such kind.
    pub(crate) fn object_named(&self, key: &Key) -> Option<ObjectRef> {
        self.kinds.get(key.kind()).map(|kind| self.object(kind, key))
    }

    /// Whether the node takes no more input.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Puts an envelope into the object's queue and sees to it that somebody looks.
    pub(crate) fn push(&self, object: &ObjectRef, envelope: Envelope) {
        if self.is_stopping() {
            self.refuse(envelope, stopping());
            return;
        }
        match object.entry().push(envelope, self.config.queue_envelopes_max) {
            Ok(Next::Nothing) => {}
            Ok(Next::Run(actor)) => send_run(&actor),
            // Asked again, now that the envelope is in the queue: whoever stops the node either
            // finds this object awake and waits for it, or has said so before.
            Ok(Next::Wake) if self.is_stopping() => self.give_up(object, stopping),
            Ok(Next::Wake) => self.wake(object),
            Err(refused) => {
                let (envelope, err) = *refused;
                self.refuse(envelope, err);
            }
        }
    }

    fn wake(&self, object: &ObjectRef) {
        let router = self.router_of(object.entry().lane);
        let router = router.expect("they are set before the node is handed out");
        if router.try_send(Wake { object: object.clone() }).is_err() {
            self.give_up(object, || {
                Error::unavailable("too many objects wake at once; try again later")
            });
        }
    }

    /// The router of the lane with this index; `None` before the lanes have started.
    pub(crate) fn router_of(&self, lane: usize) -> Option<&Addr<Router>> {
        self.routers.get()?.get(lane)
    }

    /// Answers everything that waits for an object that cannot be woken.
    pub(crate) fn give_up(&self, object: &ObjectRef, err: impl Fn() -> Error) {
        for envelope in object.entry().give_up() {
            self.refuse(envelope, err());
        }
    }

    fn refuse(&self, envelope: Envelope, err: Error) {
        self.stats.queue_refusals.add(1);
        match envelope {
            Envelope::Call { reply, .. }
            | Envelope::DeadLetters { reply, .. }
            | Envelope::Message { reply, .. } => reply.refuse(err),
            // What the object does not hear of, its next wake can see in the table.
            Envelope::Closed { .. } => {}
            // The sender hears of it, and tries again.
            Envelope::Deliver { courier } => drop(courier),
            // The lease of what was sent ends, and it is sent again.
            Envelope::Settle { .. } => {}
            Envelope::JobDone { running, .. } => drop(running),
            // The clock tells the object again.
            Envelope::Alarm { told } => drop(told),
            Envelope::Attach { socket, .. } | Envelope::Refill { socket, .. } => {
                if let Some(hub) = self.hubs.get(usize::from(socket.hub().0)) {
                    let reason = err.message().to_owned();
                    let code =
                        if err.is_fault() { CloseCode::FAILURE } else { CloseCode::OVERLOADED };
                    hub.send(ToHub::Close { socket, code, reason });
                }
            }
        }
    }

    fn lane_of(&self, key: &Key) -> usize {
        // The same lane for the same key as long as the process lives.
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        usize::try_from(hash % self.config.lanes as u64).expect("it is below the number of lanes")
    }
}

fn stopping() -> Error {
    Error::unavailable("the server is stopping; nothing happened")
}

//! What router, lanes and callers share.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use actix::Addr;
use tokio::sync::watch;

use dormouse::{Clock, Error, Key, Kinds};
use dormouse_socket::{CloseCode, HubHandle, ToHub};
use dormouse_store::{Position, Store};

use crate::config::NodeConfig;
use crate::entry::Next;
use crate::envelope::Envelope;
use crate::object_actor::send_run;
use crate::object_ref::{Entries, ObjectRef};
use crate::router::{Left, Router, Wake};
use crate::stats::NodeStats;

/// What router, lanes and callers share; one for each node.
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hubs: Vec<HubHandle>,
    pub(crate) durable: watch::Receiver<Position>,
    pub(crate) stats: NodeStats,
    pub(crate) kinds: Kinds,
    pub(crate) entries: Arc<Entries>,
    /// Set once, right after the router has started.
    pub(crate) router: OnceLock<Addr<Router>>,
    pub(crate) topics: AtomicU64,
    pub(crate) is_stopping: AtomicBool,
}

impl Shared {
    /// Puts an envelope into the object's queue and sees to it that somebody looks.
    pub(crate) fn push(&self, object: &ObjectRef, envelope: Envelope) {
        if self.is_stopping.load(Ordering::Acquire) {
            self.refuse(envelope, Error::unavailable("the server is stopping; nothing happened"));
            return;
        }
        match object.entry().push(envelope, self.config.queue_envelopes_max) {
            Ok(Next::Nothing) => {}
            Ok(Next::Run(actor)) => send_run(&actor),
            Ok(Next::Wake) => self.wake(object),
            Err(refused) => {
                let (envelope, err) = *refused;
                self.refuse(envelope, err);
            }
        }
    }

    fn wake(&self, object: &ObjectRef) {
        let router = self.router.get().expect("it is set before the node is handed out");
        if router.try_send(Wake { object: object.clone() }).is_err() {
            self.give_up(object, || {
                Error::unavailable("too many objects wake at once; try again later")
            });
        }
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
            Envelope::Call { reply, .. } => reply.refuse(err),
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

    /// Tells the router that a place is free.
    pub(crate) fn left(&self, left: Left) {
        // The router's mailbox closes only when the node stops.
        if let Some(router) = self.router.get() {
            router.try_send(left).unwrap_or_else(|_| {
                tracing::warn!("the router did not take the notice that an object left");
            });
        }
    }

    pub(crate) fn lane_of(&self, key: &Key) -> usize {
        // The same lane for the same key as long as the process lives.
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        usize::try_from(hash % self.config.lanes as u64).expect("it is below the number of lanes")
    }
}

/// How far the journal has come, for every lane.
pub(crate) fn watch_durable(store: &Store) -> watch::Receiver<Position> {
    let log = store.commit_log();
    let (sender, receiver) = watch::channel(log.durable());
    log.watch(Box::new(move |position| {
        sender.send_if_modified(|durable| {
            let risen = position > *durable;
            *durable = (*durable).max(position);
            risen
        });
    }));
    receiver
}

//! A lane: one thread that runs many objects, one handler at a time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use dormouse::Key;
use lru::LruCache;

use crate::gate::Gate;
use crate::object_actor::{Leave, ObjectActor};
use crate::object_ref::ObjectRef;
use crate::shared::Shared;

/// Most messages from the router that may wait; past it wakes are answered SERVICE_UNAVAILABLE.
const MAILBOX_MAX: usize = 65_536;

/// The lane looks for idle objects this often within an idle timeout.
const SWEEPS_PER_TIMEOUT: u32 = 8;

/// Bounds of the time between two looks.
const SWEEP_MIN: Duration = Duration::from_millis(10);
const SWEEP_MAX: Duration = Duration::from_secs(1);

/// Starts the actor of an object. Only the router sends it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Start {
    pub(crate) object: ObjectRef,
}

/// Asks those objects to leave that were idle longest, because others wait for their places. Objects
/// that cannot leave now do so as soon as they can.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Shed {
    pub(crate) places_wanted: usize,
}

/// Asks every object to leave once it is idle. The server stops.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

/// The actor that owns a lane's thread.
pub(crate) struct Lane {
    index: usize,
    state: Rc<LaneState>,
}

/// What the actors of one lane share. All of them run on its thread.
pub(crate) struct LaneState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) gate: RefCell<Gate>,
    residents: RefCell<LruCache<Key, Resident>>,
    /// How many objects wait for one of this lane to leave.
    places_wanted: Cell<usize>,
}

struct Resident {
    actor: Addr<ObjectActor>,
    last_active: Duration,
}

impl Lane {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Lane {
        let state = LaneState {
            gate: RefCell::new(Gate::new(index, Arc::clone(&shared))),
            residents: RefCell::new(LruCache::unbounded()),
            places_wanted: Cell::new(0),
            shared,
        };
        Lane { index, state: Rc::new(state) }
    }

    /// Asks objects that were idle for the timeout to leave.
    fn sweep(&self) {
        let now = self.state.shared.clock.monotonic();
        let timeout = self.state.shared.config.idle_timeout;
        loop {
            let idle = {
                let residents = self.state.residents.borrow();
                residents
                    .peek_lru()
                    .filter(|(_, resident)| resident.last_active + timeout <= now)
                    .map(|(key, resident)| (key.clone(), resident.actor.clone()))
            };
            let Some((key, actor)) = idle else { return };
            // It counts as active until it has left: one that cannot leave yet is asked again
            // after another timeout.
            self.state.touch(&key, &actor);
            ask_to_leave(&actor);
        }
    }

    fn close(&self) {
        for (_, resident) in self.state.residents.borrow().iter() {
            ask_to_leave(&resident.actor);
        }
    }
}

impl LaneState {
    /// Notes that an object was used.
    pub(crate) fn touch(&self, key: &Key, actor: &Addr<ObjectActor>) {
        let last_active = self.shared.clock.monotonic();
        let mut residents = self.residents.borrow_mut();
        match residents.get_mut(key) {
            Some(resident) => resident.last_active = last_active,
            None => _ = residents.put(key.clone(), Resident { actor: actor.clone(), last_active }),
        }
    }

    /// Notes that an object has left.
    pub(crate) fn forget(&self, key: &Key) {
        self.residents.borrow_mut().pop(key);
        self.places_wanted.set(self.places_wanted.get().saturating_sub(1));
    }

    /// Whether others wait for a place, so that an object should not stay longer than it must.
    pub(crate) fn is_crowded(&self) -> bool {
        self.places_wanted.get() > 0
    }
}

impl Actor for Lane {
    type Context = Context<Lane>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
        let sweep = self.state.shared.config.idle_timeout / SWEEPS_PER_TIMEOUT;
        ctx.run_interval(sweep.clamp(SWEEP_MIN, SWEEP_MAX), |lane, _| lane.sweep());

        let (lane, state) = (self.index, Rc::clone(&self.state));
        actix::spawn(async move {
            loop {
                state.shared.durable.reached(lane).await;
                let resumed = state.gate.borrow_mut().release();
                for actor in resumed {
                    actor.run();
                }
            }
        });
    }
}

impl Handler<Start> for Lane {
    type Result = ();

    fn handle(&mut self, start: Start, _: &mut Self::Context) {
        ObjectActor::new(start.object, self.index, Rc::clone(&self.state)).start();
    }
}

impl Handler<Shed> for Lane {
    type Result = ();

    fn handle(&mut self, shed: Shed, _: &mut Self::Context) {
        self.state.places_wanted.set(shed.places_wanted);
        // The least recently used come last.
        let residents = self.state.residents.borrow();
        for (_, resident) in residents.iter().rev().take(shed.places_wanted) {
            ask_to_leave(&resident.actor);
        }
    }
}

impl Handler<Close> for Lane {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut Self::Context) {
        self.close();
    }
}

fn ask_to_leave(actor: &Addr<ObjectActor>) {
    // A full mailbox belongs to a busy object, a closed one to an object that has left.
    _ = actor.try_send(Leave);
}

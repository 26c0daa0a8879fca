//! A lane: one thread that runs many objects, one handler at a time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use dormouse::Key;
use lru::LruCache;

use crate::gate::Gate;
use crate::object_actor::ObjectActor;
use crate::object_ref::ObjectRef;
use crate::router::FreePlace;
use crate::shared::Shared;

/// What the actors of one lane share. All of them run on its thread.
pub(crate) struct Lane {
    index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) gate: RefCell<Gate>,
    /// Objects that have been idle and have not left since.
    residents: RefCell<LruCache<Key, Resident>>,
    places_max: usize,
    places_taken: Cell<usize>,
    /// Objects that wait for a place, oldest first.
    waiting: RefCell<VecDeque<Waiting>>,
}

/// The right of one object to be in memory. Dropping it gives the place to another one.
pub(crate) struct Place {
    lane: Rc<Lane>,
}

struct Waiting {
    object: ObjectRef,
    since: Duration,
}

struct Resident {
    actor: Addr<ObjectActor>,
    last_active: Duration,
}

impl Lane {
    /// The lane with this index.
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Rc<Lane> {
        Rc::new(Lane {
            index,
            gate: RefCell::new(Gate::new(index, Arc::clone(&shared))),
            residents: RefCell::new(LruCache::unbounded()),
            places_max: shared.config.objects_resident_max.div_ceil(shared.config.lanes).max(1),
            places_taken: Cell::new(0),
            waiting: RefCell::default(),
            shared,
        })
    }

    /// Which of the node's lanes it is.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

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
    }

    /// All objects that have been idle.
    pub(crate) fn residents(&self) -> Vec<Addr<ObjectActor>> {
        self.residents.borrow().iter().map(|(_, resident)| resident.actor.clone()).collect()
    }

    /// Those that were used longest ago, at most so many. They count as used now, so that others are found
    /// the next time.
    pub(crate) fn touch_oldest(&self, count: usize) -> Vec<Addr<ObjectActor>> {
        let last_active = self.shared.clock.monotonic();
        let mut residents = self.residents.borrow_mut();
        let mut oldest = Vec::new();
        for _ in 0..count.min(residents.len()) {
            if let Some((key, Resident { actor, .. })) = residents.pop_lru() {
                oldest.push(actor.clone());
                residents.put(key, Resident { actor, last_active });
            }
        }
        oldest
    }

    /// How many were last used then or before.
    pub(crate) fn unused_since(&self, then: Duration) -> usize {
        let residents = self.residents.borrow();
        let oldest_first = residents.iter().rev();
        oldest_first.take_while(|(_, resident)| resident.last_active <= then).count()
    }

    /// Has an object wait for a place.
    pub(crate) fn wait(&self, object: ObjectRef) {
        let since = self.shared.clock.monotonic();
        self.waiting.borrow_mut().push_back(Waiting { object, since });
    }

    /// How many objects wait for a place.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// The object that has waited longest, and its place. `None`: nobody waits, or no place is free.
    pub(crate) fn admit(self: &Rc<Lane>) -> Option<(ObjectRef, Place)> {
        let taken = self.places_taken.get();
        if taken == self.places_max {
            return None;
        }
        let Waiting { object, .. } = self.waiting.borrow_mut().pop_front()?;
        self.places_taken.set(taken + 1);
        Some((object, Place { lane: Rc::clone(self) }))
    }

    /// An object that waits since `then` or longer. It waits no more.
    pub(crate) fn pop_waiting_since(&self, then: Duration) -> Option<ObjectRef> {
        let is_late = |waiting: &mut Waiting| waiting.since <= then;
        self.waiting.borrow_mut().pop_front_if(is_late).map(|waiting| waiting.object)
    }

    /// Whether more objects wait than places are free, so that none should stay longer than it must.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting() > self.places_max - self.places_taken.get()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Place { lane } = self;
        lane.places_taken.set(lane.places_taken.get() - 1);
        if lane.waiting() > 0
            && let Some(router) = lane.shared.router_of(lane.index)
        {
            // A full mailbox: the router's next sweep finds the place.
            _ = router.try_send(FreePlace);
        }
    }
}

//! A lane: one thread that runs many objects, one handler at a time.

use std::cell::{Cell, OnceCell, RefCell};
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
use crate::router::{FreePlace, Router};
use crate::shared::Shared;

/// What the actors of one lane share. All of them run on its thread.
pub(crate) struct Lane {
    pub(crate) shared: Arc<Shared>,
    pub(crate) gate: RefCell<Gate>,
    /// The lane's own, from its start on.
    router: OnceCell<Addr<Router>>,
    residents: RefCell<LruCache<Key, Resident>>,
    places: Places,
}

/// How many objects may be in memory, and who is.
struct Places {
    max: usize,
    /// From an actor's start to its end.
    taken: Cell<usize>,
    /// Objects that wait until somebody leaves, oldest first.
    waiting: RefCell<VecDeque<Waiting>>,
}

/// An object that waits for a place.
pub(crate) struct Waiting {
    pub(crate) object: ObjectRef,
    pub(crate) since: Duration,
}

struct Resident {
    actor: Addr<ObjectActor>,
    last_active: Duration,
}

impl Lane {
    /// The lane with this index.
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Rc<Lane> {
        let max = shared.config.objects_resident_max.div_ceil(shared.config.lanes).max(1);
        Rc::new(Lane {
            gate: RefCell::new(Gate::new(index, Arc::clone(&shared))),
            router: OnceCell::new(),
            residents: RefCell::new(LruCache::unbounded()),
            places: Places { max, taken: Cell::new(0), waiting: RefCell::default() },
            shared,
        })
    }

    /// Says who starts objects here. Once.
    pub(crate) fn set_router(&self, router: Addr<Router>) {
        self.router.set(router).expect("a lane has one router");
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

    /// Objects that were touched and are here, those first that were used longest ago.
    pub(crate) fn idle_longest(&self, count: usize) -> Vec<Addr<ObjectActor>> {
        let residents = self.residents.borrow();
        residents.iter().rev().take(count).map(|(_, resident)| resident.actor.clone()).collect()
    }

    /// An object that was not used for so long. It counts as used now: one that cannot leave yet is found
    /// again after another such time.
    pub(crate) fn pop_idle(&self, timeout: Duration) -> Option<Addr<ObjectActor>> {
        let now = self.shared.clock.monotonic();
        let residents = self.residents.borrow();
        let (key, resident) = residents.peek_lru()?;
        if now < resident.last_active + timeout {
            return None;
        }
        let (key, actor) = (key.clone(), resident.actor.clone());
        drop(residents);
        self.touch(&key, &actor);
        Some(actor)
    }

    /// Takes a place for an object that is about to be started. `false` if there is none.
    pub(crate) fn take_place(&self) -> bool {
        let taken = self.places.taken.get();
        let has_place = taken < self.places.max;
        if has_place {
            self.places.taken.set(taken + 1);
        }
        has_place
    }

    /// Notes that an object has left and its file is closed.
    pub(crate) fn left(&self, key: &Key) {
        self.residents.borrow_mut().pop(key);
        self.places.taken.set(self.places.taken.get() - 1);
        if !self.waiting().borrow().is_empty()
            && let Some(router) = self.router.get()
        {
            // A full mailbox: the router's next sweep finds the place.
            _ = router.try_send(FreePlace);
        }
    }

    /// Objects that wait for a place.
    pub(crate) fn waiting(&self) -> &RefCell<VecDeque<Waiting>> {
        &self.places.waiting
    }

    /// Whether others wait for a place, so that an object should not stay longer than it must.
    pub(crate) fn is_crowded(&self) -> bool {
        let free = self.places.max - self.places.taken.get();
        self.places.waiting.borrow().len() > free
    }
}

//! The router actors: the only ones that may start object actors.
//!
//! Each lane has one, on its thread. A key belongs to one lane, so one router decides about it; and no busy
//! lane delays what is woken on the others.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use dormouse::Error;

use crate::lane::{Lane, Waiting};
use crate::object_actor::{Leave, ObjectActor};
use crate::object_ref::ObjectRef;
use crate::shared::Shared;

/// Most wakes that may wait in a router's mailbox; past it a call is answered SERVICE_UNAVAILABLE.
const MAILBOX_MAX: usize = 65_536;

/// Most wakes that may wait for a place on one lane; past it a call is answered
/// SERVICE_UNAVAILABLE.
const WAITING_MAX: usize = 65_536;

/// How often wakes that wait for a place are looked at.
const WAITING_SWEEP: Duration = Duration::from_millis(250);

/// The router looks for idle objects this often within an idle timeout.
const SWEEPS_PER_TIMEOUT: u32 = 8;

/// Bounds of the time between two looks.
const SWEEP_MIN: Duration = Duration::from_millis(10);
const SWEEP_MAX: Duration = Duration::from_secs(1);

/// Asks for an object of the lane to be made resident. Its entry is in state `Waking`, so nobody asks twice.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Wake {
    pub(crate) object: ObjectRef,
}

/// Says that an object of the lane has left while others wait for a place.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct FreePlace;

/// Asks every object to leave once it is idle. The server stops.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

/// Starts the objects of a lane, never more than it may hold, and asks them to leave.
pub(crate) struct Router {
    index: usize,
    lane: Rc<Lane>,
}

impl Router {
    /// The router of the lane with this index. On the lane's thread.
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Router {
        Router { index, lane: Lane::new(index, shared) }
    }

    /// Starts those that wait, as far as there are places.
    fn fill(&self) {
        while !self.lane.waiting().borrow().is_empty() && self.lane.take_place() {
            let waiting = self.lane.waiting().borrow_mut().pop_front();
            if let Some(waiting) = waiting {
                ObjectActor::new(waiting.object, Rc::clone(&self.lane)).start();
            }
        }
    }

    /// Asks those objects to leave that were idle longest, because others wait for their places. Objects
    /// that cannot leave now do so as soon as they can.
    fn shed(&self) {
        let wanted = self.lane.waiting().borrow().len();
        for actor in self.lane.idle_longest(wanted) {
            ask_to_leave(&actor);
        }
    }

    /// Gives up on wakes that waited too long, and asks again for places for the others.
    fn sweep_waiting(&self) {
        let Shared { clock, config, .. } = &*self.lane.shared;
        let now = clock.monotonic();
        loop {
            let is_late = |waiting: &mut Waiting| waiting.since + config.wake_wait_max <= now;
            let late = self.lane.waiting().borrow_mut().pop_front_if(is_late);
            let Some(late) = late else { break };
            self.lane.shared.give_up(&late.object, || {
                Error::unavailable("all resident objects are busy; try again later")
            });
        }
        self.fill();
        self.shed();
    }

    /// Asks objects that were idle for the timeout to leave.
    fn sweep_idle(&self) {
        while let Some(actor) = self.lane.pop_idle(self.lane.shared.config.idle_timeout) {
            ask_to_leave(&actor);
        }
    }
}

impl Actor for Router {
    type Context = Context<Router>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
        self.lane.set_router(ctx.address());
        ctx.run_interval(WAITING_SWEEP, |router, _| router.sweep_waiting());
        let sweep = self.lane.shared.config.idle_timeout / SWEEPS_PER_TIMEOUT;
        ctx.run_interval(sweep.clamp(SWEEP_MIN, SWEEP_MAX), |router, _| router.sweep_idle());

        let (index, lane) = (self.index, Rc::clone(&self.lane));
        actix::spawn(async move {
            loop {
                lane.shared.durable.reached(index).await;
                let resumed = lane.gate.borrow_mut().release();
                for actor in resumed {
                    actor.run();
                }
            }
        });
    }
}

impl Handler<Wake> for Router {
    type Result = ();

    fn handle(&mut self, wake: Wake, _: &mut Self::Context) {
        if self.lane.waiting().borrow().len() >= WAITING_MAX {
            self.lane.shared.give_up(&wake.object, || {
                Error::unavailable("too many objects wait for a place in memory; try again later")
            });
            return;
        }
        let since = self.lane.shared.clock.monotonic();
        self.lane.waiting().borrow_mut().push_back(Waiting { object: wake.object, since });
        self.fill();
        self.shed();
    }
}

impl Handler<FreePlace> for Router {
    type Result = ();

    fn handle(&mut self, _: FreePlace, _: &mut Self::Context) {
        self.fill();
    }
}

impl Handler<Close> for Router {
    type Result = ();

    fn handle(&mut self, _: Close, _: &mut Self::Context) {
        for actor in self.lane.idle_longest(usize::MAX) {
            ask_to_leave(&actor);
        }
    }
}

fn ask_to_leave(actor: &Addr<ObjectActor>) {
    // A full mailbox belongs to a busy object, a closed one to an object that has left.
    _ = actor.try_send(Leave);
}

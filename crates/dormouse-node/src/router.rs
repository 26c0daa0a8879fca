//! The router actors: the only ones that may start object actors.
//!
//! Each lane has one, on its thread. A key belongs to one lane, so one router decides about it; and no busy
//! lane delays what is woken on the others.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use dormouse::Error;

use crate::lane::Lane;
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
    lane: Rc<Lane>,
}

impl Router {
    /// The router of the lane with this index. On the lane's thread.
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Router {
        Router { lane: Lane::new(index, shared) }
    }

    /// Starts those that wait, as far as there are places.
    fn fill(&self) {
        while let Some((object, place)) = self.lane.admit() {
            ObjectActor::new(object, Rc::clone(&self.lane), place).start();
        }
    }

    /// Asks so many objects to leave, those first that were idle longest. One that cannot leave now does so
    /// as soon as it can, if others wait for a place then.
    fn shed(&self, count: usize) {
        for actor in self.lane.touch_oldest(count) {
            ask_to_leave(&actor);
        }
    }

    /// Gives up on wakes that waited too long, and sees to places for the others.
    fn sweep_waiting(&self) {
        let Shared { clock, config, .. } = &*self.lane.shared;
        let then = clock.monotonic().checked_sub(config.wake_wait_max);
        while let Some(late) = then.and_then(|then| self.lane.pop_waiting_since(then)) {
            self.lane.shared.give_up(&late, || {
                Error::unavailable("all resident objects are busy; try again later")
            });
        }
        self.fill();
        self.shed(self.lane.waiting());
    }

    /// Asks objects that were idle for the timeout to leave. One that cannot is asked again after another one.
    fn sweep_idle(&self) {
        let Shared { clock, config, .. } = &*self.lane.shared;
        if let Some(then) = clock.monotonic().checked_sub(config.idle_timeout) {
            self.shed(self.lane.unused_since(then));
        }
    }
}

impl Actor for Router {
    type Context = Context<Router>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
        ctx.run_interval(WAITING_SWEEP, |router, _| router.sweep_waiting());
        let sweep = self.lane.shared.config.idle_timeout / SWEEPS_PER_TIMEOUT;
        ctx.run_interval(sweep.clamp(SWEEP_MIN, SWEEP_MAX), |router, _| router.sweep_idle());

        let lane = Rc::clone(&self.lane);
        actix::spawn(async move {
            loop {
                lane.shared.durable.reached(lane.index()).await;
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
        if self.lane.waiting() >= WAITING_MAX {
            self.lane.shared.give_up(&wake.object, || {
                Error::unavailable("too many objects wait for a place in memory; try again later")
            });
            return;
        }
        self.lane.wait(wake.object);
        self.fill();
        if self.lane.waiting() > 0 {
            self.shed(1);
        }
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
        for actor in self.lane.residents() {
            ask_to_leave(&actor);
        }
    }
}

fn ask_to_leave(actor: &Addr<ObjectActor>) {
    // A full mailbox belongs to a busy object, a closed one to an object that has left.
    _ = actor.try_send(Leave);
}

//! The router actor: the only one that may start object actors.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use dormouse::Error;

use crate::lane::{Lane, Shed, Start};
use crate::object_ref::ObjectRef;
use crate::shared::Shared;

/// Most wakes that may wait in the router's mailbox; past it a call is answered
/// SERVICE_UNAVAILABLE.
const MAILBOX_MAX: usize = 65_536;

/// Most wakes that may wait for a place on one lane; past it a call is answered
/// SERVICE_UNAVAILABLE.
const WAITING_MAX: usize = 65_536;

/// How often wakes that wait for a place are looked at.
const WAITING_SWEEP: Duration = Duration::from_millis(250);

/// Asks for an object to be made resident. Its entry is in state `Waking`, so nobody asks twice.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Wake {
    pub(crate) object: ObjectRef,
}

/// Says that an object of this lane has left and its file is closed.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Left {
    pub(crate) lane: usize,
}

/// Starts objects on the lane that their key hashes to, never more than a lane may hold.
pub(crate) struct Router {
    lanes: Vec<LaneSeat>,
    shared: Arc<Shared>,
}

/// A lane and who is on it.
struct LaneSeat {
    lane: Addr<Lane>,
    resident: usize,
    resident_max: usize,
    /// Wakes that wait until somebody leaves, oldest first.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    object: ObjectRef,
    since: Duration,
}

impl Router {
    pub(crate) fn new(lanes: Vec<Addr<Lane>>, shared: Arc<Shared>) -> Router {
        let share = shared.config.objects_resident_max.div_ceil(lanes.len()).max(1);
        let lanes = lanes
            .into_iter()
            .map(|lane| LaneSeat {
                lane,
                resident: 0,
                resident_max: share,
                waiting: VecDeque::new(),
            })
            .collect();
        Router { lanes, shared }
    }

    /// Gives up on wakes that waited too long, and asks again for places for the others.
    fn sweep(&mut self) {
        let now = self.shared.clock.monotonic();
        let wait_max = self.shared.config.wake_wait_max;
        for seat in &mut self.lanes {
            while let Some(waiting) =
                seat.waiting.pop_front_if(|waiting| waiting.since + wait_max <= now)
            {
                self.shared.give_up(&waiting.object, || {
                    Error::unavailable("all resident objects are busy; try again later")
                });
            }
            seat.fill(&self.shared);
            if !seat.waiting.is_empty() {
                seat.ask_for_places();
            }
        }
    }
}

impl Actor for Router {
    type Context = Context<Router>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
        ctx.run_interval(WAITING_SWEEP, |router, _| router.sweep());
    }
}

impl Handler<Wake> for Router {
    type Result = ();

    fn handle(&mut self, wake: Wake, _: &mut Self::Context) {
        let seat = &mut self.lanes[wake.object.entry().lane];
        if seat.resident < seat.resident_max {
            seat.start(&self.shared, wake.object);
            return;
        }
        if seat.waiting.len() >= WAITING_MAX {
            self.shared.give_up(&wake.object, || {
                Error::unavailable("too many objects wait for a place in memory; try again later")
            });
            return;
        }
        let since = self.shared.clock.monotonic();
        seat.waiting.push_back(Waiting { object: wake.object, since });
        seat.ask_for_places();
    }
}

impl Handler<Left> for Router {
    type Result = ();

    fn handle(&mut self, left: Left, _: &mut Self::Context) {
        let seat = &mut self.lanes[left.lane];
        seat.resident -= 1;
        seat.fill(&self.shared);
    }
}

impl LaneSeat {
    fn ask_for_places(&self) {
        // If the lane's mailbox is full it is busy; the next sweep asks again.
        _ = self.lane.try_send(Shed { places_wanted: self.waiting.len() });
    }

    /// Starts those that wait, as far as there are places.
    fn fill(&mut self, shared: &Shared) {
        while self.resident < self.resident_max
            && let Some(waiting) = self.waiting.pop_front()
        {
            self.start(shared, waiting.object);
        }
    }

    fn start(&mut self, shared: &Shared, object: ObjectRef) {
        self.resident += 1;
        if let Err(refused) = self.lane.try_send(Start { object }) {
            self.resident -= 1;
            shared.give_up(&refused.into_inner().object, || {
                Error::unavailable("the server is overloaded or stopping; try again later")
            });
        }
    }
}

//! What happens because time passes: heartbeats, readers that stay slow, closes that stay open.

use std::future::Future as _;
use std::mem;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{self, Instant, Interval, MissedTickBehavior, Sleep};

use crate::config::HubConfig;
use crate::frame::ping_frame;
use crate::owner::Owner;

use super::Driver;
use super::env::Watch;
use super::socket::{Phase, Verdict};

/// Parts that a heartbeat is cut into. Each socket is pinged in one of them, so that the pings of a
/// hub are spread over the whole heartbeat.
const HEARTBEAT_PARTS: u32 = 32;

/// Shortest time between two looks at the clock.
const TICK_MIN: Duration = Duration::from_millis(1);

/// The hub's timer. There is none per socket.
#[derive(Debug)]
pub(super) struct Timing {
    tick: Interval,
    part: u32,
    drain: Option<Drain>,
}

/// A shutdown that has begun.
#[derive(Debug)]
struct Drain {
    reason: String,
    begun: Instant,
    /// Over how much time the turns of all sockets are spread.
    spread: Duration,
    /// The sockets that were open when it began, in the order of their turns.
    slots: Vec<u32>,
    /// How many of them have had their turn.
    turns_taken: usize,
    /// When the next one has its turn; not looked at when all have had theirs.
    next_turn: Pin<Box<Sleep>>,
    deadline: Pin<Box<Sleep>>,
}

impl Drain {
    /// When it is the turn of the socket at this place in the order.
    fn turn_at(&self, place: usize) -> Instant {
        let spread_ns = u64::try_from(self.spread.as_nanos()).unwrap_or(u64::MAX);
        let turns = self.slots.len().max(1) as u128;
        let after_ns = u128::from(spread_ns) * place as u128 / turns;
        self.begun + Duration::from_nanos(u64::try_from(after_ns).unwrap_or(u64::MAX))
    }

    /// The sockets whose turn has come since the last call. Without any, the hub is woken when the
    /// next one's comes.
    fn take_due(&mut self, cx: &mut Context<'_>) -> Range<usize> {
        let first = self.turns_taken;
        while self.turns_taken < self.slots.len() && self.next_turn.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            while self.turns_taken < self.slots.len() && self.turn_at(self.turns_taken) <= now {
                self.turns_taken += 1;
            }
            let next = self.turn_at(self.turns_taken).max(now + TICK_MIN);
            self.next_turn.as_mut().reset(next);
        }
        first..self.turns_taken
    }
}

impl Timing {
    pub(super) fn new(config: &HubConfig) -> Timing {
        let period = (config.heartbeat / HEARTBEAT_PARTS).max(TICK_MIN);
        let mut tick = time::interval_at(Instant::now() + period, period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Timing { tick, part: 0, drain: None }
    }

    /// What the drain tells clients, if one was asked for.
    pub(super) fn drain_reason(&self) -> &str {
        self.drain.as_ref().map_or("", |drain| &drain.reason)
    }
}

impl<O: Owner> Driver<O> {
    /// Looks at the clock. `true` if it did anything.
    pub(super) fn take_time(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_worked = false;
        // A tick that is over must be polled again to be woken by the next one.
        while self.timing.tick.poll_tick(cx).is_ready() {
            has_worked = true;
            self.look_at_watched();
            self.beat();
            self.look_at_touched();
        }
        has_worked |= self.take_turns(cx);
        if let Some(drain) = &mut self.timing.drain
            && !self.sockets.is_empty()
            && let Poll::Ready(()) = drain.deadline.as_mut().poll(cx)
        {
            self.cut_off_all();
        }
        has_worked
    }

    /// Lets the sockets leave whose turn in the drain has come. `true` if there were any.
    fn take_turns(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(drain) = &mut self.timing.drain else { return false };
        let due = drain.take_due(cx);
        for slot in &drain.slots[due.clone()] {
            if let Some(socket) = self.sockets.at_mut(*slot) {
                socket.is_leaving = true;
                socket.touch(&mut self.env);
            }
        }
        self.look_at_touched();
        !due.is_empty()
    }

    /// Starts to shut down.
    pub(super) fn drain(&mut self, reason: String, spread: Duration, within: Duration) {
        if self.env.is_draining {
            return;
        }
        self.env.is_draining = true;
        let slots = (0..self.sockets.end()).filter(|&slot| self.sockets.at_mut(slot).is_some());
        self.timing.drain = Some(Drain {
            reason,
            begun: Instant::now(),
            spread,
            slots: slots.collect(),
            turns_taken: 0,
            next_turn: Box::pin(time::sleep(Duration::ZERO)),
            deadline: Box::pin(time::sleep(within)),
        });
    }

    /// The time to drain is over.
    fn cut_off_all(&mut self) {
        for slot in 0..self.sockets.end() {
            if self.sockets.at_mut(slot).is_some() {
                self.cut_off(slot, Verdict::Drained);
            }
        }
    }

    /// Pings the sockets whose turn it is, and gives up those that did not answer the last ping.
    fn beat(&mut self) {
        let slots = self.timing.part..self.sockets.end();
        for slot in slots.step_by(HEARTBEAT_PARTS as usize) {
            let Some(socket) = self.sockets.at_mut(slot) else { continue };
            if socket.phase == Phase::Open && !socket.heartbeat(ping_frame(), &mut self.env) {
                socket.judge(Verdict::Unresponsive, &mut self.env);
            }
        }
        self.timing.part = (self.timing.part + 1) % HEARTBEAT_PARTS;
    }

    /// Gives up readers that have been slow for too long and closes that have taken too long.
    fn look_at_watched(&mut self) {
        let mut watched = mem::take(&mut self.env.watched);
        watched.retain(|watch| match *watch {
            Watch::Stalled(id) => {
                let Some(socket) = self.sockets.get_mut(id) else { return false };
                match socket.is_too_slow(&self.env) {
                    Some(true) => {
                        socket.judge(Verdict::TooSlow, &mut self.env);
                        false
                    }
                    Some(false) => true,
                    None => false,
                }
            }
            Watch::Greeted(id) => {
                if let Some(socket) = self.sockets.get_mut(id) {
                    socket.greet(&mut self.env);
                }
                false
            }
            Watch::Closing(id, until) => {
                if self.sockets.get_mut(id).is_none() {
                    return false;
                }
                if self.env.now >= until {
                    self.remove(id.slot());
                }
                self.env.now < until
            }
        });
        // Nothing in the loop began to watch a socket, but a later change might.
        self.env.watched.append(&mut watched);
    }
}

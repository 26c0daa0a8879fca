//! What happens because time passes: heartbeats, readers that stay slow, closes that stay open.

use std::future::Future as _;
use std::mem;
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

#[derive(Debug)]
struct Drain {
    reason: String,
    deadline: Pin<Box<Sleep>>,
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
        if let Some(drain) = &mut self.timing.drain
            && !self.sockets.is_empty()
            && let Poll::Ready(()) = drain.deadline.as_mut().poll(cx)
        {
            self.cut_off_all();
        }
        has_worked
    }

    /// Starts to shut down.
    pub(super) fn drain(&mut self, reason: String, within: Duration) {
        if self.env.is_draining {
            return;
        }
        self.env.is_draining = true;
        self.timing.drain = Some(Drain { reason, deadline: Box::pin(time::sleep(within)) });
        for slot in 0..self.sockets.end() {
            if let Some(socket) = self.sockets.at_mut(slot) {
                socket.touch(&mut self.env);
            }
        }
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

//! A client that never sleeps, where it has a core of its own.
//!
//! A server on the same machine pays for waking a sleeping client: on a virtual machine several
//! microseconds per delivery, which no server pays for a client behind a network, and which hit slow
//! servers most (node `ws` was 13 to 28 % slower with it). So where the client has a core for itself, it
//! polls instead of sleeping, and counts the time in which it had nothing to do: the proof that it was
//! not the bottleneck.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use crate::clock;

/// Keeps the runtime of this thread polling until it is dropped.
#[derive(Debug)]
pub(crate) struct Spinner {
    work: Rc<Work>,
    started: Instant,
    task: AbortHandle,
}

/// What tells a poll that found work from one that did not.
#[derive(Debug, Default)]
pub(crate) struct Work {
    done: Cell<u64>,
    idle: Cell<Duration>,
}

impl Work {
    /// Notes that the client did something.
    pub(crate) fn note(&self) {
        self.done.update(|done| done + 1);
    }

    /// Time without work since polling began; grows only while a [`Spinner`] polls.
    pub(crate) fn idle(&self) -> Duration {
        self.idle.get()
    }
}

impl Spinner {
    /// Starts to poll; must be called inside a `LocalSet`.
    pub(crate) fn start(work: Rc<Work>) -> Spinner {
        work.idle.set(Duration::ZERO);
        let polled = Rc::clone(&work);
        let task = tokio::task::spawn_local(async move {
            let mut before = clock::now();
            loop {
                let done = polled.done.get();
                tokio::task::yield_now().await;
                let now = clock::now();
                if polled.done.get() == done {
                    polled.idle.update(|idle| idle + (now - before));
                }
                before = now;
            }
        });
        Spinner { work, started: clock::now(), task: task.abort_handle() }
    }

    /// Share of the time since the start in which there was work: below 1 the client had reserves.
    pub(crate) fn busy_share(&self) -> f64 {
        1.0 - self.work.idle.get().as_secs_f64() / self.started.elapsed().as_secs_f64()
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

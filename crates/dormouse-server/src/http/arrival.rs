//! How long a connection takes to say what it wants.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::admission::{Admission, Refusal};

/// A connection whose first request has not arrived as a whole. It is part of what the HTTP
/// dispatcher keeps for the connection, and counts those that took too long when they are dropped:
/// the dispatcher answers them itself, with 408.
#[derive(Debug)]
pub(crate) struct Arrival {
    admission: Arc<Admission>,
    time_max: Duration,
    begun: Instant,
    is_complete: Cell<bool>,
}

impl Arrival {
    /// A connection that was accepted now.
    pub(crate) fn new(admission: &Arc<Admission>, time_max: Duration) -> Arrival {
        Arrival {
            admission: Arc::clone(admission),
            time_max,
            begun: Instant::now(),
            is_complete: Cell::new(false),
        }
    }

    /// Says that a request is there.
    pub(crate) fn complete(&self) {
        self.is_complete.set(true);
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // The dispatcher's clock goes in steps of half a second, so its time is over a little early.
        // Whoever hangs up by itself does so sooner, or after a wait that is as good as a timeout.
        if !self.is_complete.get() && self.begun.elapsed() >= self.time_max / 2 {
            self.admission.count(Refusal::HandshakeTime);
        }
    }
}

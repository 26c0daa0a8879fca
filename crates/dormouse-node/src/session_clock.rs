//! What has to be done later about sessions: end a grace period, let go of what was relayed.
//!
//! One task and one queue for the whole node. What waits keeps the entry of its object, not the object.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dormouse::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::object_ref::ObjectRef;
use crate::sessions::{Due, Later};
use crate::shared::Shared;

/// Longest time between two looks at the clock, which tests and people move.
const LOOK_MAX: Duration = Duration::from_millis(100);

/// What waits for its time.
#[derive(Debug, Default)]
pub(crate) struct SessionClock {
    waiting: Mutex<BinaryHeap<Reverse<Waiting>>>,
    /// Gives each entry a number of its own.
    entries: AtomicU64,
    changed: Notify,
}

#[derive(Debug)]
struct Waiting {
    at: Timestamp,
    number: u64,
    object: ObjectRef,
    later: Later,
}

impl SessionClock {
    /// Has something done about an object's sessions at its time.
    pub(crate) fn wait_for(&self, object: &ObjectRef, due: impl IntoIterator<Item = Due>) {
        for (at, later) in due {
            let number = self.entries.fetch_add(1, Ordering::Relaxed);
            let waiting = Waiting { at, number, object: object.clone(), later };
            let mut heap = self.waiting.lock();
            let is_first = heap.peek().is_none_or(|Reverse(first)| at < first.at);
            heap.push(Reverse(waiting));
            drop(heap);
            if is_first {
                self.changed.notify_one();
            }
        }
    }

    fn take_due(&self, now: Timestamp) -> Option<Waiting> {
        let mut heap = self.waiting.lock();
        let is_due = heap.peek().is_some_and(|Reverse(first)| first.at <= now);
        is_due.then(|| heap.pop()).flatten().map(|Reverse(waiting)| waiting)
    }

    fn next(&self) -> Option<Timestamp> {
        self.waiting.lock().peek().map(|Reverse(first)| first.at)
    }
}

/// Does what is due, until the node stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let clock = &shared.session_clock;
    while !shared.is_stopping() {
        let now = shared.clock.now();
        while let Some(Waiting { object, later, .. }) = clock.take_due(now) {
            let due = object.entry().lock_sessions(&shared.hubs).perform(later, now);
            clock.wait_for(&object, due);
        }
        let changed = clock.changed.notified();
        match clock.next().map(|at| at.saturating_since(shared.clock.now())) {
            // Whichever comes first: there is something earlier, or it is time to look.
            Some(wait) => _ = tokio::time::timeout(wait.min(LOOK_MAX), changed).await,
            None => changed.await,
        }
    }
    clock.waiting.lock().clear();
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.number == other.number
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

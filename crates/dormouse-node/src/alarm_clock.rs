//! Finds objects whose alarms are due, and wakes them.
//!
//! One task for the whole node: it knows the earliest time anybody asked for, sleeps until then,
//! and asks the catalog who is due. A pending alarm costs a row in the catalog and nothing else.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dormouse::{Key, Timestamp};
use dormouse_store::DueObject;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::envelope::Envelope;
use crate::object_ref::ObjectRef;
use crate::shared::Shared;

/// Objects that are woken at one look. The next ones come when these are done.
const DUE_MAX: usize = 1_000;

/// Shortest time between two looks at the catalog.
const LOOK_MIN: Duration = Duration::from_millis(5);

/// Longest time between two looks at the clock, which tests and people move.
const LOOK_MAX: Duration = Duration::from_millis(100);

/// When the next alarm is due, and who is being woken for one.
#[derive(Debug)]
pub(crate) struct AlarmClock {
    state: Mutex<AlarmState>,
    changed: Notify,
}

#[derive(Debug)]
struct AlarmState {
    /// No alarm is due before this.
    earliest: Timestamp,
    /// Objects that have been told. Until they are done the catalog still calls them due.
    told: HashSet<Key>,
}

/// An object has been told of its alarms. Dropping it means that the object is done, or could not
/// be woken and is to be told again.
pub(crate) struct Told {
    key: Key,
    shared: Arc<Shared>,
}

impl AlarmClock {
    /// A clock that looks at the catalog at once: it does not know what was left by the last
    /// process.
    pub(crate) fn new() -> AlarmClock {
        let state = AlarmState { earliest: Timestamp::EPOCH, told: HashSet::new() };
        AlarmClock { state: Mutex::new(state), changed: Notify::new() }
    }

    /// An object has, durably, an alarm at this time.
    pub(crate) fn expect(&self, due: Timestamp) {
        let mut state = self.state.lock();
        if due < state.earliest {
            state.earliest = due;
            drop(state);
            self.changed.notify_one();
        }
    }

    fn earliest(&self) -> Timestamp {
        self.state.lock().earliest
    }
}

/// Wakes whoever is due, until the node stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let clock = &shared.alarm_clock;
    while !shared.is_stopping() {
        let wait = clock.earliest().saturating_since(shared.clock.now());
        if wait > Duration::ZERO {
            // Whichever comes first: somebody asks for an earlier time, or it is time to look.
            _ = tokio::time::timeout(wait.min(LOOK_MAX), clock.changed.notified()).await;
            continue;
        }
        look(&shared).await;
        tokio::time::sleep(LOOK_MIN).await;
    }
}

/// Asks the catalog who is due, and tells them.
async fn look(shared: &Arc<Shared>) {
    // From here on `expect` counts again: what becomes durable while the catalog answers may be
    // missing in the answer.
    shared.alarm_clock.state.lock().earliest = Timestamp::from_ms(i64::MAX);
    let store = shared.store.clone();
    let pending = actix_rt::task::spawn_blocking(move || {
        store.catalog().due(Timestamp::from_ms(i64::MAX), DUE_MAX)
    });
    let now = shared.clock.now();
    match pending.await {
        Ok(Ok(pending)) => {
            for object in pending {
                if object.due > now {
                    shared.alarm_clock.expect(object.due);
                    break;
                }
                tell(shared, object);
            }
        }
        Ok(Err(err)) => {
            tracing::warn!(
                error = &err as &dyn std::error::Error,
                "the catalog does not say who is due"
            );
            shared.alarm_clock.expect(now);
        }
        // The runtime stops.
        Err(_) => {}
    }
}

fn tell(shared: &Arc<Shared>, DueObject { key, .. }: DueObject) {
    let Some(kind) = shared.kinds.get(key.kind()) else {
        // A kind that this program no longer has. Its alarms wait for a program that does.
        tracing::debug!(%key, "an alarm of an unknown kind is due");
        return;
    };
    if !shared.alarm_clock.state.lock().told.insert(key.clone()) {
        return;
    }
    let object: ObjectRef = shared.object(kind, &key);
    let told = Told { key, shared: Arc::clone(shared) };
    shared.push(&object, Envelope::Alarm { told });
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Told({})", self.key)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let clock = &self.shared.alarm_clock;
        clock.state.lock().told.remove(&self.key);
        // There may be more, or it was not done: look again.
        clock.expect(self.shared.clock.now());
    }
}

//! Finds objects whose alarms are due, and wakes them.
//!
//! One task for the whole node: it knows the earliest time anybody asked for, sleeps until then,
//! and asks the catalog who is due. A pending alarm costs a row in the catalog and nothing else.

use std::collections::{HashMap, HashSet};
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

/// How long an object is left alone that could not try its alarms.
const UNHANDLED_PAUSE: Duration = Duration::from_secs(2);

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
    /// Objects that could not try their alarms, and when they are told again.
    not_before: HashMap<Key, Timestamp>,
    /// How many due objects the last look passed over. They stand first in the catalog's answer
    /// and must not hide the others.
    passed_over: usize,
}

/// An object has been told of its alarms. Dropping it means that the object is done with those that
/// were due, or, unless it was [`handled`](Self::handled), that it is to be told again.
pub(crate) struct Told {
    key: Key,
    shared: Arc<Shared>,
    is_handled: bool,
}

impl AlarmClock {
    /// A clock that looks at the catalog at once: it does not know what was left by the last
    /// process.
    pub(crate) fn new() -> AlarmClock {
        let state = AlarmState {
            earliest: Timestamp::EPOCH,
            told: HashSet::new(),
            not_before: HashMap::new(),
            passed_over: 0,
        };
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
    let limit = {
        let mut state = shared.alarm_clock.state.lock();
        state.earliest = Timestamp::from_ms(i64::MAX);
        DUE_MAX + std::mem::take(&mut state.passed_over)
    };
    let store = shared.store.clone();
    let pending = actix_rt::task::spawn_blocking(move || {
        store.catalog().due(Timestamp::from_ms(i64::MAX), limit)
    });
    let now = shared.clock.now();
    match pending.await {
        Ok(Ok(pending)) => {
            for object in pending {
                if object.due > now {
                    shared.alarm_clock.expect(object.due);
                    break;
                }
                tell(shared, object, now);
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

fn tell(shared: &Arc<Shared>, DueObject { key, .. }: DueObject, now: Timestamp) {
    let Some(kind) = shared.kinds.get(key.kind()) else {
        // A kind that this program no longer has. Its alarms wait for a program that does.
        shared.alarm_clock.state.lock().passed_over += 1;
        return;
    };
    {
        let mut state = shared.alarm_clock.state.lock();
        let waits_until = state.not_before.get(&key).copied().filter(|until| *until > now);
        if let Some(until) = waits_until {
            state.earliest = state.earliest.min(until);
        }
        if waits_until.is_some() || !state.told.insert(key.clone()) {
            state.passed_over += 1;
            return;
        }
        state.not_before.remove(&key);
    }
    let object: ObjectRef = shared.object(kind, &key);
    let told = Told { key, shared: Arc::clone(shared), is_handled: false };
    shared.push(&object, Envelope::Alarm { told });
}

impl Told {
    /// The object has tried its alarms, and noted what became of them.
    pub(crate) fn handled(&mut self) {
        self.is_handled = true;
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Told({})", self.key)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let clock = &self.shared.alarm_clock;
        let now = self.shared.clock.now();
        let mut state = clock.state.lock();
        state.told.remove(&self.key);
        // There may be more that are due: look again.
        let mut again = now;
        if !self.is_handled {
            // It could not be opened, or not written to. That may take a while to change.
            again = now.checked_add(UNHANDLED_PAUSE).unwrap_or(now);
            state.not_before.insert(self.key.clone(), again);
        }
        drop(state);
        clock.expect(again);
    }
}

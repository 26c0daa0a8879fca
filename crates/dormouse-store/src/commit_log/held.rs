//! A commit log for tests, whose durable position moves by hand.

use std::fmt;

use parking_lot::Mutex;

use super::{CommitLog, DurableWatcher, Position, Record, Unavailable};

/// A [`CommitLog`] that keeps nothing and calls positions durable when the test says so.
#[derive(Default)]
pub struct HeldLog {
    state: Mutex<HeldState>,
    watchers: Mutex<Vec<DurableWatcher>>,
}

#[derive(Debug, Default)]
struct HeldState {
    appended: Position,
    durable: Position,
    refusal: Option<Unavailable>,
}

impl HeldLog {
    /// An empty log that admits every transaction and releases none.
    pub fn new() -> HeldLog {
        HeldLog::default()
    }

    /// The newest position that was appended, durable or not.
    pub fn appended(&self) -> Position {
        self.state.lock().appended
    }

    /// Makes the next position durable, if one was appended, and tells the watchers.
    pub fn release_next(&self) -> Option<Position> {
        let next = {
            let mut state = self.state.lock();
            if state.durable >= state.appended {
                return None;
            }
            state.durable = state.durable.next();
            state.durable
        };
        self.tell(next);
        Some(next)
    }

    /// Makes everything durable that was appended so far, and tells the watchers once.
    pub fn release_all(&self) -> Position {
        let durable = {
            let mut state = self.state.lock();
            state.durable = state.appended;
            state.durable
        };
        self.tell(durable);
        durable
    }

    /// Makes [`admit`](CommitLog::admit) answer with `refusal`, or admit again with `None`.
    pub fn refuse(&self, refusal: Option<Unavailable>) {
        self.state.lock().refusal = refusal;
    }

    fn tell(&self, durable: Position) {
        for watcher in self.watchers.lock().iter() {
            watcher(durable);
        }
    }
}

impl CommitLog for HeldLog {
    fn admit(&self) -> Result<(), Unavailable> {
        self.state.lock().refusal.map_or(Ok(()), Err)
    }

    fn append(&self, _record: Record<'_>) -> Position {
        let mut state = self.state.lock();
        state.appended = state.appended.next();
        state.appended
    }

    fn durable(&self) -> Position {
        self.state.lock().durable
    }

    fn watch(&self, watcher: DurableWatcher) {
        self.watchers.lock().push(watcher);
    }
}

impl fmt::Debug for HeldLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldLog").field("state", &*self.state.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::CatalogEntry;
    use crate::clock::Timestamp;
    use crate::commit_log::Change;
    use crate::key::Key;

    #[test]
    fn a_watcher_hears_of_every_rise_in_order() {
        let log = HeldLog::new();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heard);
        log.watch(Box::new(move |durable| noted.lock().push(durable.get())));
        let entry = CatalogEntry {
            created_at: Timestamp::EPOCH,
            last_active_at: Timestamp::EPOCH,
            size_bytes: 0,
            next_due: None,
            summary: None,
        };
        let key = Key::new("tally", "a").unwrap();
        for _ in 0..3 {
            let change = Change::Delete;
            log.append(Record { key: &key, generation: 0, entry: &entry, change });
        }

        log.release_next();
        log.release_all();

        assert_eq!(*heard.lock(), [1, 3]);
        assert_eq!((log.durable(), log.appended()), (Position::new(3), Position::new(3)));
    }
}

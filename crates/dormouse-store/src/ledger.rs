//! What the store owes for transactions that are in the commit log: a row in the catalog, a backfill,
//! the removal of a file.
//!
//! Everything here is in memory. After a crash it is found again in the journal, which keeps a
//! segment until all that it stands for is paid.
//!
//! # Invariants
//!
//! * A transaction is noted here under the same lock under which it gets its position: whoever sees
//!   a position sees its debts, and `changes` is in order.
//! * `to_backfill` has one entry for each object whose file lacks something that is in the log, under
//!   the position of the oldest such transaction.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::catalog::CatalogEntry;
use crate::commit_log::{Change, CommitLog, Position, Record, Unavailable};
use crate::key::Key;
use crate::object_file::{WalBuffer, WalCapture};
use crate::template::Template;

/// Past this many transactions that the catalog has not seen, no new one starts.
const CHANGES_MAX: usize = 1 << 20;

/// How long the catalog waits for more transactions, so that a busy object costs it one row.
const CHANGES_DELAY: Duration = Duration::from_millis(250);

/// The store's debts.
#[derive(Debug)]
pub(crate) struct Ledger {
    log: Arc<dyn CommitLog>,
    state: Mutex<State>,
    changed: Condvar,
    removals: Mutex<BTreeMap<Key, Removal>>,
    left_open: Mutex<BTreeMap<Key, LeftOpen>>,
}

#[derive(Debug, Default)]
struct State {
    appended: Position,
    changes: VecDeque<CatalogChange>,
    to_backfill: BTreeMap<Position, Key>,
    resets: HashMap<Key, Reset>,
    /// Somebody waits for the catalog.
    is_urgent: bool,
    stopping: bool,
}

/// One transaction, as the catalog sees it.
#[derive(Clone, Debug)]
pub(crate) struct CatalogChange {
    pub position: Position,
    pub key: Key,
    pub generation: u64,
    /// `None` if the object was deleted.
    pub entry: Option<CatalogEntry>,
}

/// A deleted object that the catalog may not know to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reset {
    /// How often the object was deleted.
    pub generation: u64,
    pub position: Position,
}

/// The file of a deleted object. It is removed when the deletion is durable, never before: until
/// then a crash brings the object back.
#[derive(Clone, Debug)]
pub(crate) struct Removal {
    pub path: PathBuf,
    /// Of the deletion.
    pub position: Position,
    /// The key in `to_backfill`.
    pub oldest: Position,
}

/// An object that was closed without a backfill: its WAL is opened again with it.
#[derive(Clone, Debug)]
pub(crate) struct LeftOpen {
    /// What its database is while it has no file.
    pub template: Arc<Template>,
    pub has_file: bool,
    pub wal: WalBuffer,
    pub capture: WalCapture,
    pub newest: Position,
    pub oldest: Position,
}

impl Ledger {
    pub(crate) fn new(log: Arc<dyn CommitLog>) -> Ledger {
        Ledger {
            log,
            state: Mutex::default(),
            changed: Condvar::new(),
            removals: Mutex::default(),
            left_open: Mutex::default(),
        }
    }

    /// Asks whether a handler that may write can start.
    pub(crate) fn admit(&self) -> Result<(), Unavailable> {
        if self.state.lock().changes.len() > CHANGES_MAX {
            return Err(Unavailable::Behind);
        }
        self.log.admit()
    }

    pub(crate) fn durable(&self) -> Position {
        self.log.durable()
    }

    /// The newest position appended through this ledger, [`Position::ZERO`] if there is none.
    pub(crate) fn appended(&self) -> Position {
        self.state.lock().appended
    }

    /// Appends a transaction to the log and notes what it makes the store owe.
    ///
    /// `oldest` is the object's key in `to_backfill`, set here if it has none.
    pub(crate) fn append(
        &self,
        key: &Key,
        generation: u64,
        entry: CatalogEntry,
        change: Change<'_>,
        oldest: &mut Option<Position>,
    ) -> Position {
        let record = Record { key, generation, entry: &entry, change };
        let mut state = self.state.lock();
        let position = self.log.append(record);
        state.appended = position;
        if oldest.is_none() {
            *oldest = Some(position);
            state.to_backfill.insert(position, key.clone());
        }
        let is_delete = matches!(change, Change::Delete);
        if is_delete {
            state.resets.insert(key.clone(), Reset { generation: generation + 1, position });
        }
        let was_empty = state.changes.is_empty();
        state.changes.push_back(CatalogChange {
            position,
            key: key.clone(),
            generation,
            entry: (!is_delete).then_some(entry),
        });
        drop(state);
        if was_empty {
            self.changed.notify_all();
        }
        position
    }

    /// Notes that an object's file has everything that is in the log.
    pub(crate) fn note_backfilled(&self, oldest: Position) {
        self.state.lock().to_backfill.remove(&oldest);
    }

    /// The oldest transaction that some object's file lacks.
    pub(crate) fn oldest_to_backfill(&self) -> Option<Position> {
        self.state.lock().to_backfill.keys().next().copied()
    }

    /// How many objects' files lack something.
    pub(crate) fn objects_to_backfill(&self) -> usize {
        self.state.lock().to_backfill.len()
    }

    /// Whether the object was deleted since the catalog last looked.
    pub(crate) fn reset_of(&self, key: &Key) -> Option<Reset> {
        self.state.lock().resets.get(key).copied()
    }

    /// Takes the oldest changes up to `durable`, at most `max`.
    pub(crate) fn take_changes(&self, durable: Position, max: usize) -> Vec<CatalogChange> {
        let mut state = self.state.lock();
        let count = state.changes.iter().take(max).take_while(|it| it.position <= durable).count();
        state.changes.drain(..count).collect()
    }

    /// Puts changes back that could not be applied.
    pub(crate) fn return_changes(&self, changes: Vec<CatalogChange>) {
        let mut state = self.state.lock();
        for change in changes.into_iter().rev() {
            state.changes.push_front(change);
        }
    }

    /// Notes that the catalog has everything up to `applied`.
    pub(crate) fn note_catalogued(&self, applied: Position) {
        self.state.lock().resets.retain(|_, reset| reset.position > applied);
    }

    /// Waits until there are changes, and a little longer for more unless somebody is waiting.
    /// `false` when the store stops.
    pub(crate) fn wait_for_changes(&self) -> bool {
        let mut state = self.state.lock();
        while state.changes.is_empty() && !state.stopping {
            self.changed.wait(&mut state);
        }
        let is_waiting = |state: &mut State| !state.is_urgent && !state.stopping;
        self.changed.wait_while_for(&mut state, is_waiting, CHANGES_DELAY);
        state.is_urgent = false;
        !state.stopping
    }

    /// Makes the catalog look at once.
    pub(crate) fn hurry(&self) {
        self.state.lock().is_urgent = true;
        self.changed.notify_all();
    }

    /// Ends [`wait_for_changes`](Self::wait_for_changes).
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }

    /// The files of deleted objects that are still there. While this is held, none is removed.
    pub(crate) fn removals(&self) -> MutexGuard<'_, BTreeMap<Key, Removal>> {
        self.removals.lock()
    }

    /// Notes an object that was closed with pages in its WAL.
    pub(crate) fn leave_open(&self, key: Key, left: LeftOpen) {
        self.left_open.lock().insert(key, left);
    }

    /// Takes the notes of all objects that were closed with pages in their WAL.
    pub(crate) fn all_left_open(&self) -> Vec<(Key, LeftOpen)> {
        std::mem::take(&mut *self.left_open.lock()).into_iter().collect()
    }

    /// Takes the note of an object that was closed with pages in its WAL.
    pub(crate) fn take_left_open(&self, key: &Key) -> Option<LeftOpen> {
        self.left_open.lock().remove(key)
    }
}

//! Paying the store's debts, so that journal segments can be used again.
//!
//! # Invariants
//!
//! * A segment is released only after everything in it is in database files that are synced, and the
//!   catalog is synced past it.
//! * What is noted as checkpointed never goes back.
//! * The file of a deleted object is removed only after the deletion is durable.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::warn;

use crate::catalog::CatalogFollower;
use crate::commit_log::Position;
use crate::disk::Disk;
use crate::journal::Journal;
use crate::ledger::Ledger;

/// How often unpaid debts are looked at: objects backfill when it suits them.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Releases segments and removes the files of deleted objects.
pub(crate) struct Checkpointer {
    pub disk: Arc<dyn Disk>,
    pub root: PathBuf,
    pub ledger: Arc<Ledger>,
    pub follower: Arc<CatalogFollower>,
    /// `None` if the log is a test's.
    pub journal: Option<Arc<Journal>>,
    pub on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
    pub checkpointed: AtomicU64,
    /// Held during a checkpoint.
    pub checkpointing: Mutex<()>,
    pub signal: Signal,
}

/// Wakes the checkpointer's thread.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SignalState {
    is_due: bool,
    stopping: bool,
}

impl Checkpointer {
    /// The newest position whose segment is not needed any more.
    pub(crate) fn checkpointed(&self) -> Position {
        Position::new(self.checkpointed.load(Ordering::Acquire))
    }

    /// Works until the store stops. The body of the checkpointer's thread.
    pub(crate) fn run(&self) {
        let mut has_more = false;
        while self.signal.wait(has_more.then_some(LOOK_AGAIN_AFTER)) {
            match self.step() {
                Ok(more) => has_more = more,
                Err(err) => {
                    (self.on_fatal)(&format!("cannot make backfilled files durable: {err}"));
                    return;
                }
            }
        }
    }

    /// Does what can be done now. `Ok(true)` if there is more, for which something has to happen
    /// first.
    ///
    /// # Errors
    ///
    /// The operating system's, of a sync: fatal.
    pub(crate) fn step(&self) -> io::Result<bool> {
        let has_removals = self.remove_deleted();
        let Some(journal) = &self.journal else { return Ok(has_removals) };
        let wanted = journal.backfill_wanted();
        if wanted <= self.checkpointed() {
            return Ok(has_removals);
        }
        let paid = self.paid();
        if let Some(upto) = journal.releasable(paid)
            && self.checkpoint(upto)?
        {
            journal.release(upto);
        }
        Ok(has_removals || journal.backfill_wanted() > self.checkpointed())
    }

    /// Removes the files of deleted objects whose deletion is durable. Returns whether some are left.
    pub(crate) fn remove_deleted(&self) -> bool {
        let durable = self.ledger.durable();
        let mut removals = self.ledger.removals();
        removals.retain(|key, removal| {
            if removal.position > durable {
                return true;
            }
            if let Err(err) = self.disk.remove(&removal.path) {
                warn!(%key, error = %err, "cannot remove the file of a deleted object; retrying");
                return true;
            }
            self.ledger.note_backfilled(removal.oldest);
            false
        });
        !removals.is_empty()
    }

    /// Makes everything up to `upto` durable outside of the journal. All of it must be backfilled
    /// and in the catalog. `Ok(false)` if that could not be noted, so that it counts for nothing.
    pub(crate) fn checkpoint(&self, upto: Position) -> io::Result<bool> {
        let _one_at_a_time = self.checkpointing.lock();
        // Noting an earlier one would ask the next start for segments that are written anew.
        if upto < self.checkpointed() {
            return Ok(true);
        }
        self.disk.sync_everything(&self.root)?;
        if let Err(err) = self.follower.set_checkpointed(upto) {
            warn!(error = %err, "cannot note a checkpoint; retrying");
            return Ok(false);
        }
        self.follower.sync(false)?;
        self.checkpointed.store(upto.get(), Ordering::Release);
        Ok(true)
    }

    /// Up to where every transaction is in its database file and in the catalog.
    pub(crate) fn paid(&self) -> Position {
        // In this order: what is durable now has its debts noted already.
        let durable = self.ledger.durable();
        let applied = self.follower.progress().applied();
        if applied < durable {
            self.ledger.hurry();
        }
        let backfilled = match self.ledger.oldest_to_backfill() {
            Some(oldest) => Position::new(oldest.get().saturating_sub(1)),
            None => durable,
        };
        backfilled.min(applied).min(durable)
    }
}

impl Signal {
    /// Wakes the thread.
    pub(crate) fn raise(&self) {
        self.state.lock().is_due = true;
        self.changed.notify_one();
    }

    /// Ends [`wait`](Self::wait).
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_one();
    }

    /// Waits for a signal, at most for `timeout`. `false` when the store stops.
    fn wait(&self, timeout: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        let is_idle = |state: &mut SignalState| !state.is_due && !state.stopping;
        match timeout {
            Some(timeout) => _ = self.changed.wait_while_for(&mut state, is_idle, timeout),
            None => self.changed.wait_while(&mut state, is_idle),
        }
        state.is_due = false;
        !state.stopping
    }
}

impl fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpointer")
            .field("checkpointed", &self.checkpointed())
            .finish_non_exhaustive()
    }
}

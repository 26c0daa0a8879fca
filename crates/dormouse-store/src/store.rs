//! The data folder, open.

mod epoch;
mod opening;
#[cfg(test)]
mod tests;

use std::fmt;
#[cfg(test)]
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

pub use self::epoch::Epoch;
#[cfg(test)]
pub(crate) use self::opening::Ground;
use crate::catalog::{Catalog, CatalogFollower};
use crate::checkpoint::Checkpointer;
use crate::clock::Clock;
use crate::commit_log::{CommitLog, Position};
use crate::disk::{Disk, RealDisk};
use crate::error::{OpenError, StoreError, chain};
use crate::folder::{Folder, FolderState};
use crate::journal::{self, Journal};
use crate::key::Key;
use crate::ledger::Ledger;
use crate::object_file::{self, Connections, ObjectFile};
use crate::options::StoreOptions;
use crate::stats::StoreStats;
use crate::template::Template;

/// An open data folder. Cheap to clone.
///
/// Dropping the last clone without [`shut_down`](Self::shut_down) is like a crash, but for what was
/// appended to the journal: the next open recovers it.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<StoreShared>,
}

/// What the store's clones and its open objects share.
pub(crate) struct StoreShared {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
    pub transaction_bytes_max: u64,
    pub wal_bytes_max: u64,
    pub connections: Arc<Connections>,
    pub ledger: Arc<Ledger>,
    pub catalog: Catalog,
    log: Arc<dyn CommitLog>,
    /// `None` if the log is a test's.
    journal: Option<Arc<Journal>>,
    follower: Arc<CatalogFollower>,
    checkpointer: Arc<Checkpointer>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    is_shut_down: AtomicBool,
    state: FolderState,
    // The last to go: it holds the lock.
    pub folder: Folder,
}

impl Store {
    /// Opens a data folder: takes its lock, recovers what an unclean stop left, starts the
    /// background threads.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: nothing was started, and nothing of the folder was changed that a second
    /// attempt would not do again.
    pub fn open(options: StoreOptions) -> Result<Store, OpenError> {
        Store::open_on(Arc::new(RealDisk), options, None)
    }

    /// Opens a data folder whose transactions go to `log` instead of a journal: for tests that
    /// decide when something is durable. Nothing survives a crash.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[cfg(any(test, feature = "test-util"))]
    pub fn open_with_log(
        options: StoreOptions,
        log: Arc<dyn CommitLog>,
    ) -> Result<Store, OpenError> {
        Store::open_on(Arc::new(RealDisk), options, Some(log))
    }

    /// Opens one object: its file, brought to the template's schema, or, if it has none, the template.
    ///
    /// The caller sees to it that a key is open at most once ("one writer"). Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::NewerSchema`], [`StoreError::ForeignFile`], and [`StoreError::Io`] with the
    /// action "find": a person has to look. Everything else: nothing happened, try again.
    pub fn open_object(
        &self,
        key: &Key,
        template: &Arc<Template>,
    ) -> Result<ObjectFile, StoreError> {
        object_file::open(&self.shared, key, template)
    }

    /// The epoch of an object that was deleted `reset_count` times.
    pub fn epoch(&self, key: &Key, reset_count: u64) -> Epoch {
        self.shared.epoch(key, reset_count)
    }

    /// Where transactions become durable.
    pub fn commit_log(&self) -> &Arc<dyn CommitLog> {
        &self.shared.log
    }

    /// The list of all objects.
    pub fn catalog(&self) -> &Catalog {
        &self.shared.catalog
    }

    /// Objects whose oldest transaction that is only in their WAL is at this position or earlier
    /// should be backfilled: they hold back an old segment.
    pub fn backfill_wanted(&self) -> Position {
        self.shared.backfill_wanted()
    }

    /// Numbers for `/metrics`.
    pub fn stats(&self) -> StoreStats {
        let shared = &self.shared;
        let mut stats = StoreStats {
            durable: shared.log.durable(),
            checkpointed: shared.checkpointer.checkpointed(),
            catalogued: shared.follower.progress().applied(),
            objects_to_backfill: shared.ledger.objects_to_backfill() as u64,
            ..StoreStats::default()
        };
        if let Some(journal) = &shared.journal {
            journal.add_stats(&mut stats);
        }
        stats
    }

    /// Waits until everything appended is durable, and marks the folder as cleanly closed.
    ///
    /// All objects must be closed. Calling it again does nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotDurable`] if an object is still open with transactions that its file lacks,
    /// or the journal has failed. After any error the folder is left as after a crash: the next open
    /// recovers it.
    pub fn shut_down(&self) -> Result<(), StoreError> {
        self.shared.shut_down()
    }

    /// Does what the checkpointer's thread does when it is woken.
    #[cfg(test)]
    pub(crate) fn step_checkpointer(&self) -> io::Result<bool> {
        self.shared.checkpointer.step()
    }

    /// Does what the preparer's thread does when it tries again.
    #[cfg(test)]
    pub(crate) fn step_preparer(&self) -> io::Result<()> {
        self.shared.journal.as_ref().map_or(Ok(()), |journal| journal.prepare())
    }

    /// Where an object's database is or would be.
    #[cfg(test)]
    pub(crate) fn object_path(&self, key: &Key) -> std::path::PathBuf {
        self.shared.folder.object_path(key)
    }

    /// Does what the thread does that opens connections ahead.
    #[cfg(test)]
    pub(crate) fn step_connections(&self) -> rusqlite::Result<bool> {
        self.shared.connections.refill_one()
    }

    /// What the store owes.
    #[cfg(test)]
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// Does what the journal's writer does when something is queued.
    #[cfg(test)]
    pub(crate) fn step_writer(&self) -> bool {
        self.shared.journal.as_ref().is_some_and(|journal| journal.step_writer())
    }

    /// Does what the catalog's thread does when something is durable.
    #[cfg(test)]
    pub(crate) fn step_catalog(&self) -> rusqlite::Result<()> {
        self.shared.follower.apply_durable(&self.shared.ledger)
    }
}

impl StoreShared {
    /// Stops the process if a write of an object ended like this because the disk takes none any more.
    pub(crate) fn stop_if_failing(&self, key: &Key, err: &StoreError) {
        if err.is_failing_disk() {
            (self.on_fatal)(&format!("cannot write {key}, the disk fails: {}", chain(err)));
        }
    }

    pub(crate) fn epoch(&self, key: &Key, resets: u64) -> Epoch {
        self.state.epoch(key, resets)
    }

    pub(crate) fn backfill_wanted(&self) -> Position {
        self.journal.as_ref().map_or(Position::ZERO, |journal| journal.backfill_wanted())
    }

    pub(crate) fn wake_checkpointer(&self) {
        self.checkpointer.signal.raise();
    }

    fn shut_down(self: &Arc<Self>) -> Result<(), StoreError> {
        if self.is_shut_down.load(Ordering::Acquire) {
            return Ok(());
        }
        self.stop_threads();
        let failed = |source| StoreError::Io {
            action: "close",
            path: self.folder.root().to_path_buf(),
            source,
        };
        for (key, left) in self.ledger.all_left_open() {
            if left.newest <= self.log.durable() {
                object_file::backfill_left_open(self, &key, &left)?;
            }
        }
        self.checkpointer.remove_deleted();
        self.follower.apply_durable(&self.ledger)?;
        let durable = self.log.durable();
        if self.ledger.oldest_to_backfill().is_some() || self.ledger.appended() > durable {
            return Err(StoreError::NotDurable);
        }
        if self.journal.is_some() {
            if !self.checkpointer.checkpoint(durable).map_err(failed)? {
                return Err(StoreError::NotDurable);
            }
            self.follower.sync(true).map_err(failed)?;
            let state = FolderState { clean: true, ..self.state.clone() };
            self.folder.write_state(&*self.disk, &state).map_err(failed)?;
        }
        self.is_shut_down.store(true, Ordering::Release);
        Ok(())
    }

    fn stop_threads(&self) {
        if let Some(journal) = &self.journal {
            journal.stop();
        }
        self.ledger.stop();
        self.checkpointer.signal.stop();
        self.connections.stop();
        self.threads.lock().drain(..).for_each(journal::join);
    }
}

impl Drop for StoreShared {
    fn drop(&mut self) {
        self.stop_threads();
    }
}

impl fmt::Debug for StoreShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("folder", &self.folder.root())
            .field("log", &self.log)
            .field("catalog", &self.catalog)
            .finish_non_exhaustive()
    }
}

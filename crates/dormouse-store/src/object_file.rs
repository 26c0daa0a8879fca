//! One resident object's database.
//!
//! # Invariants
//!
//! * **Reading creates nothing.** An object that nobody has written to is its kind's template, in
//!   memory.
//! * **No page reaches the database file before its journal record is durable.** A transaction goes to
//!   the WAL, which is in memory; only [`backfill`](ObjectFile::backfill) writes to the file, makes it
//!   if there is none, and asks first.
//! * **Every committed transaction is in the log.** A transaction that SQLite has committed and that
//!   cannot be read back or appended ends the process.

mod connection;
mod connections;
mod containment;
mod creation;
mod files;
mod hot_statements;
mod opening;
#[cfg(test)]
mod tests;
mod vfs;
mod wal_capture;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, MAIN_DB, TransactionState, ffi};

use self::connection::Opened;
pub(crate) use self::connection::configure_sqlite;
pub(crate) use self::connections::Connections;
use self::creation::frames_with_template;
pub(crate) use self::files::WalBuffer;
pub(crate) use self::opening::{backfill_left_open, open};
pub(crate) use self::wal_capture::WalCapture;
use crate::catalog::{CatalogEntry, SUMMARY_BYTES_MAX};
use crate::clock::Timestamp;
use crate::commit_log::{Change, Position};
use crate::error::StoreError;
use crate::key::Key;
use crate::ledger::{LeftOpen, Removal};
use crate::store::{Epoch, StoreShared};
use crate::template::{PAGE_BYTES, Template};

/// What a handler may do in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only. A transaction in which a statement wrote cannot be committed.
    ///
    /// Not by `PRAGMA query_only`: every time it changes, SQLite prepares all statements of the connection
    /// anew.
    Read,
    /// Read and write.
    Write,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where the transaction is in the commit log; `None` if it wrote nothing.
    pub position: Option<Position>,
}

/// The database of one resident object, open: its one writer.
///
/// An object exists from its first transaction that writes, and has a file from its first backfill.
///
/// Dropping it without [`hibernate`](Self::hibernate) loses nothing that was committed.
pub struct ObjectFile {
    store: Arc<StoreShared>,
    key: Key,
    path: PathBuf,
    template: Arc<Template>,
    opened: Opened,
    /// `None` while nobody has written to it.
    created_at: Option<Timestamp>,
    /// How often the object was deleted.
    generation: u64,
    /// Of that generation. Kept because it is asked for with every handler, and is a hash.
    epoch: Epoch,
    newest: Position,
    /// The oldest transaction that the database file lacks: the object's key in the ledger.
    oldest: Option<Position>,
    /// What the transaction may do.
    access: Access,
    /// Row changes of the connection when the transaction began.
    changes_before: u64,
    /// The disk was full: no backfill is due before this, on the clock's monotonic time.
    backfill_not_before: Duration,
}

/// How long after it met a full disk a backfill is due again.
pub(crate) const BACKFILL_RETRY_AFTER: Duration = Duration::from_secs(1);

impl ObjectFile {
    /// The object's name.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether the object exists: somebody has written to it.
    pub fn exists(&self) -> bool {
        self.created_at.is_some()
    }

    /// When the object was created; `None` if it does not exist.
    pub fn created_at(&self) -> Option<Timestamp> {
        self.created_at
    }

    /// The epoch of the object's event log.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether a transaction with [`Access::Write`] can begin now.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: try again later.
    pub fn may_write(&self) -> Result<(), StoreError> {
        Ok(self.store.ledger.admit()?)
    }

    /// Starts a handler's transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] (only with [`Access::Write`]): nothing happened, try again later.
    pub fn begin(&mut self, access: Access) -> Result<(), StoreError> {
        if access == Access::Write {
            self.may_write()?;
        }
        self.access = access;
        self.run_as_store(BEGIN)?;
        self.changes_before = self.connection().total_changes();
        self.opened.containment.begin();
        Ok(())
    }

    /// Where the handler's statements run. They may not end the transaction, nor attach, nor set
    /// pragmas, nor make temporary tables.
    pub fn connection(&self) -> &Connection {
        &self.opened.conn
    }

    /// Rows changed since [`begin`](Self::begin).
    pub fn changes(&self) -> u64 {
        self.connection().total_changes().saturating_sub(self.changes_before)
    }

    /// Whether the transaction's SQL was interrupted because it took too long.
    pub fn sql_timed_out(&self) -> bool {
        self.opened.containment.timed_out()
    }

    /// Commits the handler's transaction and hands it to the commit log.
    ///
    /// # Errors
    ///
    /// Nothing of the transaction is left, and none is open. With [`StoreError::Sqlite`] it is
    /// better to drop the object and to open it again.
    pub fn commit(&mut self, entry: CatalogEntry) -> Result<Commit, StoreError> {
        self.opened.containment.end();
        let committed = self.try_commit(entry);
        if let Err(err) = &committed {
            self.store.stop_if_failing(&self.key, err);
        }
        committed
    }

    fn try_commit(&mut self, entry: CatalogEntry) -> Result<Commit, StoreError> {
        if let Err(err) = self.check_before_commit(&entry) {
            self.rollback()?;
            return Err(err);
        }
        if let Err(err) = self.run_as_store(COMMIT) {
            self.rollback()?;
            return Err(err.into());
        }
        let Some(frames) = self.opened.wal_frames.take() else {
            return Ok(Commit { position: None });
        };
        let position = match self.created_at {
            Some(created_at) => self.append_frames(frames, CatalogEntry { created_at, ..entry })?,
            None => self.append_first(entry)?,
        };
        Ok(Commit { position: Some(position) })
    }

    /// Undoes the handler's transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sqlite`]: drop the object and open it again.
    pub fn rollback(&mut self) -> Result<(), StoreError> {
        self.opened.containment.end();
        // SQLite may have done it already.
        if !self.connection().is_autocommit() {
            self.run_as_store(ROLLBACK)?;
        }
        Ok(())
    }

    /// The position of the object's last transaction, [`Position::ZERO`] if it has had none since
    /// it was opened.
    pub fn newest_position(&self) -> Position {
        self.newest
    }

    /// Whether the object should take no input until its last position is durable, and then
    /// [`backfill`](Self::backfill).
    pub fn backfill_due(&self) -> bool {
        let Some(oldest) = self.oldest else { return false };
        let is_wanted = self.opened.capture.bytes(PAGE_BYTES) >= self.store.wal_bytes_max
            || oldest <= self.store.backfill_wanted();
        is_wanted && self.backfill_not_before <= self.store.clock.monotonic()
    }

    /// Moves the pages of the object's WAL into its database file, making it if there is none. No sync.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotDurable`] if the object's last position is not durable yet,
    /// [`StoreError::DiskFull`] if there is no space: the object is as good as before, and
    /// [`backfill_due`](Self::backfill_due) says when to try again. After any other error the WAL
    /// still has everything; drop the object and open it again.
    pub fn backfill(&mut self) -> Result<(), StoreError> {
        let backfilled = self.try_backfill();
        match &backfilled {
            Err(StoreError::DiskFull(_)) => {
                self.backfill_not_before = self.store.clock.monotonic() + BACKFILL_RETRY_AFTER;
            }
            Err(err) => self.store.stop_if_failing(&self.key, err),
            Ok(()) => {}
        }
        backfilled
    }

    fn try_backfill(&mut self) -> Result<(), StoreError> {
        if self.opened.capture.is_empty() {
            return Ok(());
        }
        if self.store.ledger.durable() < self.newest {
            return Err(StoreError::NotDurable);
        }
        if !self.opened.database.has_file() {
            self.make_file()?;
        }
        let conn = &self.opened.conn;
        let is_complete = self.opened.containment.as_store(|| {
            conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
                .map(|busy: i64| busy == 0)
        })?;
        if !is_complete {
            // Nobody else has the file: a statement of the handler is still open.
            let busy = ffi::Error::new(ffi::SQLITE_BUSY);
            return Err(StoreError::Sqlite(rusqlite::Error::SqliteFailure(busy, None)));
        }
        self.opened.capture.restart();
        if let Some(oldest) = self.oldest.take() {
            self.store.ledger.note_backfilled(oldest);
        }
        Ok(())
    }

    /// Backfills and closes the file.
    ///
    /// # Errors
    ///
    /// As [`backfill`](Self::backfill). The object is closed either way; opening it again is safe.
    pub fn hibernate(mut self) -> Result<(), StoreError> {
        self.rollback()?;
        self.store.connections.learn_from(&self.opened, &self.template);
        self.backfill()
    }

    /// Deletes the object and all it stored. Outside of a transaction only.
    ///
    /// Afterwards it does not exist, and has a new epoch.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: nothing happened, try again later.
    pub fn delete(&mut self) -> Result<Position, StoreError> {
        let Some(created_at) = self.created_at else { return Ok(self.newest) };
        self.store.ledger.admit()?;
        self.reopen_unwritten()?;
        let entry = CatalogEntry {
            created_at,
            last_active_at: self.store.clock.now(),
            size_bytes: 0,
            next_due: None,
            summary: None,
        };
        // While this is held, nobody removes the file or takes it for that of a living object.
        let mut removals = self.store.ledger.removals();
        let mut oldest = self.oldest.take();
        let ledger = &self.store.ledger;
        let change = Change::Delete;
        self.newest = ledger.append(&self.key, self.generation, entry, change, &mut oldest);
        let mut oldest = oldest.unwrap_or(self.newest);
        if let Some(earlier) = removals.get(&self.key) {
            // One file, one removal, one debt: the older, which stands for all that came after it.
            ledger.note_backfilled(oldest);
            oldest = earlier.oldest;
        }
        let removal = Removal { path: self.path.clone(), position: self.newest, oldest };
        removals.insert(self.key.clone(), removal);
        drop(removals);
        self.generation += 1;
        self.epoch = self.store.epoch(&self.key, self.generation);
        self.store.wake_checkpointer();
        Ok(self.newest)
    }

    /// Where the object's file is or would be.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// What SQLite's own check finds: `ok`, or what is wrong.
    #[cfg(test)]
    pub(crate) fn integrity(&self) -> rusqlite::Result<String> {
        self.opened.containment.as_store(|| crate::check::integrity_of(self.connection()))
    }

    fn check_before_commit(&self, entry: &CatalogEntry) -> Result<(), StoreError> {
        let conn = self.connection();
        if conn.is_autocommit() {
            let timed_out = self.opened.containment.timed_out();
            return Err(if timed_out { StoreError::SqlTimeout } else { StoreError::RolledBack });
        }
        let summary_bytes = entry.summary.as_ref().map_or(0, String::len);
        if summary_bytes > SUMMARY_BYTES_MAX {
            return Err(StoreError::SummaryTooLarge { bytes: summary_bytes });
        }
        if conn.transaction_state(Some(MAIN_DB))? == TransactionState::Write {
            if self.access == Access::Read {
                return Err(StoreError::ReadOnly);
            }
            let max = self.store.transaction_bytes_max;
            // The record of the first transaction has the template too.
            let template_bytes = if self.exists() { 0 } else { self.template.image().len() as u64 };
            let bytes = connection::cached_bytes(conn) + template_bytes;
            if bytes > max {
                return Err(StoreError::TransactionTooLarge { bytes, max });
            }
        }
        Ok(())
    }

    /// Reads what COMMIT wrote and appends it to the log.
    fn append_frames(
        &mut self,
        frames: u32,
        mut entry: CatalogEntry,
    ) -> Result<Position, StoreError> {
        let Opened { wal, capture, database, .. } = &mut self.opened;
        let is_first = capture.is_empty() && !database.has_file();
        let wal = wal.bytes();
        let (new, database_pages) = match capture.read_new(&wal, frames, PAGE_BYTES) {
            Ok(captured) => captured,
            Err(err) => {
                let reason = format!("cannot read back a transaction of {}: {err}", self.key);
                (self.store.on_fatal)(&reason);
                return Err(StoreError::Unavailable(crate::commit_log::Unavailable::Stopped));
            }
        };
        let frames = if is_first {
            Cow::Owned(frames_with_template(self.template.image(), new))
        } else {
            Cow::Borrowed(new)
        };
        entry.size_bytes = u64::from(database_pages) * u64::from(PAGE_BYTES);
        let change = Change::Pages { frames: &frames, page_bytes: PAGE_BYTES, database_pages };
        let ledger = &self.store.ledger;
        self.newest = ledger.append(&self.key, self.generation, entry, change, &mut self.oldest);
        Ok(self.newest)
    }

    fn run_as_store(&self, sql: &str) -> rusqlite::Result<()> {
        let conn = self.connection();
        self.opened.containment.as_store(|| conn.prepare_cached(sql)?.execute([]).map(drop))
    }
}

// The store's own statements. They stay prepared, and begin with a comment so that a handler that
// prepares one of the same text does not get the store's, which no authorizer looks at again.
const BEGIN: &str = "/* store */ BEGIN";
const COMMIT: &str = "/* store */ COMMIT";
const ROLLBACK: &str = "/* store */ ROLLBACK";

impl Drop for ObjectFile {
    fn drop(&mut self) {
        let Some(oldest) = self.oldest else { return };
        // The connection, which is closed after this, does nothing to the WAL any more.
        let left = LeftOpen {
            template: Arc::clone(&self.template),
            has_file: self.opened.database.has_file(),
            wal: self.opened.wal.clone(),
            capture: self.opened.capture,
            newest: self.newest,
            oldest,
        };
        self.store.ledger.leave_open(self.key.clone(), left);
    }
}

impl fmt::Debug for ObjectFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectFile")
            .field("key", &self.key)
            .field("exists", &self.exists())
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}

/// An object is opened on one thread and lives on another.
const _: fn() = || {
    fn assert_send<T: Send>() {}
    assert_send::<ObjectFile>();
};

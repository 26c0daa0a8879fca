//! The data folder, open.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::clock::{Clock, SystemClock};
use crate::commit_log::{CommitLog, Position};
use crate::error::{OpenError, StoreError};
use crate::key::Key;
use crate::object_file::ObjectFile;
use crate::stats::StoreStats;
use crate::template::Template;

/// What an acknowledged transaction survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Loss of power: every acknowledgement waits for an `fdatasync`.
    Fsync,
    /// A crash of the process, not of the machine: an acknowledgement waits for a `write`.
    Os,
}

/// How to open a data folder.
pub struct StoreOptions {
    /// The data folder; made if it does not exist.
    pub folder: PathBuf,
    /// What an acknowledged transaction survives.
    pub durability: Durability,
    /// Size of one journal segment.
    pub segment_bytes: u64,
    /// Most bytes of all journal segments together.
    pub journal_bytes_max: u64,
    /// Most bytes of pages one transaction may write.
    pub transaction_bytes_max: u64,
    /// How long the SQL of one handler may run.
    pub sql_time_max: Duration,
    /// Size of an object's WAL past which it wants to be backfilled.
    pub wal_bytes_max: u64,
    /// Most threads that commit at the same time.
    pub writers_max: usize,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Called when the journal can no longer keep its promise, with the reason. Must not return to
    /// normal work: the default logs and aborts the process.
    pub on_fatal: Box<dyn Fn(&str) + Send + Sync>,
}

impl StoreOptions {
    /// The defaults for a data folder.
    pub fn new(folder: impl Into<PathBuf>) -> StoreOptions {
        StoreOptions {
            folder: folder.into(),
            durability: Durability::Fsync,
            segment_bytes: 64 << 20,
            journal_bytes_max: 1 << 30,
            transaction_bytes_max: 16 << 20,
            sql_time_max: Duration::from_secs(1),
            wal_bytes_max: 4 << 20,
            writers_max: std::thread::available_parallelism().map_or(1, usize::from),
            clock: Arc::new(SystemClock::new()),
            on_fatal: Box::new(|_| std::process::abort()),
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Names one history of an object's event log: offsets of different epochs cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// Reads what [`Display`](fmt::Display) writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Epoch> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(is_hex) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Epoch)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// An open data folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {}

impl Store {
    /// Opens a data folder: takes its lock, recovers what an unclean stop left, starts the
    /// background threads.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: nothing was started, and nothing of the folder was changed that a second
    /// attempt would not do again.
    pub fn open(options: StoreOptions) -> Result<Store, OpenError> {
        let _ = options;
        todo!()
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
        let _ = (options, log);
        todo!()
    }

    /// Opens one object: its file, brought to the template's schema, or, if it has none, a database
    /// in memory that is a copy of the template.
    ///
    /// The caller sees to it that a key is open at most once ("one writer"). Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::NewerSchema`], [`StoreError::ForeignFile`]: a person has to look. Everything
    /// else: nothing happened, try again.
    pub fn open_object(
        &self,
        key: &Key,
        template: &Arc<Template>,
    ) -> Result<ObjectFile, StoreError> {
        let _ = (key, template);
        todo!()
    }

    /// The epoch of an object that was deleted `reset_count` times.
    pub fn epoch(&self, key: &Key, reset_count: u64) -> Epoch {
        let _ = (key, reset_count);
        todo!()
    }

    /// Where transactions become durable.
    pub fn commit_log(&self) -> &Arc<dyn CommitLog> {
        todo!()
    }

    /// The list of all objects.
    pub fn catalog(&self) -> &Catalog {
        todo!()
    }

    /// Objects whose oldest transaction that is only in their WAL is at this position or earlier
    /// should be backfilled: they hold back an old segment.
    pub fn backfill_wanted(&self) -> Position {
        todo!()
    }

    /// Numbers for `/metrics`.
    pub fn stats(&self) -> StoreStats {
        todo!()
    }

    /// Waits until everything appended is durable, and marks the folder as cleanly closed.
    ///
    /// All objects must be closed.
    ///
    /// # Errors
    ///
    /// The folder is left as after a crash: the next open recovers it.
    pub fn shut_down(&self) -> Result<(), StoreError> {
        todo!()
    }
}

//! What a data folder is opened with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::error;

use crate::clock::{Clock, SystemClock};
use crate::error::OpenError;
use crate::journal::record::OVERHEAD_BYTES_MAX;
use crate::journal::segment::HEADER_BLOCK_BYTES;

/// What an acknowledged transaction survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
            wal_bytes_max: 64 << 10,
            writers_max: std::thread::available_parallelism().map_or(1, usize::from),
            clock: Arc::new(SystemClock::new()),
            on_fatal: Box::new(log_and_abort),
        }
    }

    /// How many segments the journal may have.
    pub(crate) fn segments_max(&self) -> usize {
        usize::try_from(self.journal_bytes_max / self.segment_bytes.max(1)).unwrap_or(usize::MAX)
    }

    /// Checks that the sizes fit into each other.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let record_bytes_max = self.transaction_bytes_max.saturating_add(OVERHEAD_BYTES_MAX);
        let what = if self.segment_bytes < record_bytes_max.saturating_add(HEADER_BLOCK_BYTES) {
            "a journal segment is smaller than the largest transaction"
        } else if self.segment_bytes > SEGMENT_BYTES_MAX {
            "a journal segment is larger than 1 GiB"
        } else if !self.segment_bytes.is_multiple_of(HEADER_BLOCK_BYTES) {
            "the size of a journal segment is no multiple of 4,096 bytes"
        } else if self.segments_max() < SEGMENTS_MIN {
            "the journal has room for fewer than 4 segments"
        } else if self.writers_max == 0 {
            "no thread may commit"
        } else {
            return Ok(());
        };
        Err(OpenError::Options { what })
    }
}

/// Fewer could not be filled, released and prepared at the same time.
const SEGMENTS_MIN: usize = 4;

/// Recovery reads a segment at a time into memory.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("folder", &self.folder)
            .field("durability", &self.durability)
            .field("segment_bytes", &self.segment_bytes)
            .field("journal_bytes_max", &self.journal_bytes_max)
            .field("transaction_bytes_max", &self.transaction_bytes_max)
            .field("sql_time_max", &self.sql_time_max)
            .field("wal_bytes_max", &self.wal_bytes_max)
            .field("writers_max", &self.writers_max)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

fn log_and_abort(reason: &str) {
    error!(reason, "the store cannot keep its promise; stopping the process");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_into_each_other() {
        StoreOptions::new("/nowhere").check().unwrap();
    }

    #[test]
    fn a_segment_that_cannot_hold_the_largest_transaction_is_refused() {
        let mut options = StoreOptions::new("/nowhere");
        options.segment_bytes = options.transaction_bytes_max;
        assert!(matches!(options.check(), Err(OpenError::Options { .. })));
    }

    #[test]
    fn a_journal_of_few_segments_is_refused() {
        let mut options = StoreOptions::new("/nowhere");
        options.journal_bytes_max = 3 * options.segment_bytes;
        assert!(matches!(options.check(), Err(OpenError::Options { .. })));
    }
}

//! Numbers about the store, for `/metrics`.

use std::time::Duration;

use crate::commit_log::Position;

/// Upper bounds of the buckets of [`StoreStats::sync_time_buckets`].
pub const SYNC_TIME_BOUNDS: [Duration; 10] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(200),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

/// One reading of the store's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Newest position appended.
    pub appended: Position,
    /// Newest position durable.
    pub durable: Position,
    /// Newest position whose segment is no longer needed.
    pub checkpointed: Position,
    /// Newest position in the catalog.
    pub catalogued: Position,
    /// Batches written since start.
    pub batches: u64,
    /// Bytes of records written since start.
    pub bytes: u64,
    /// Syncs by time taken: one count per bound of [`SYNC_TIME_BOUNDS`], the last for longer ones.
    /// Not cumulative.
    pub sync_time_buckets: [u64; SYNC_TIME_BOUNDS.len() + 1],
    /// Sum of the time of all syncs.
    pub sync_time_total: Duration,
    /// Segments that hold records.
    pub segments_in_use: u64,
    /// Segments ready to be written.
    pub segments_ready: u64,
    /// Objects with transactions that are only in their WAL.
    pub objects_to_backfill: u64,
}

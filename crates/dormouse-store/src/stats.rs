//! Numbers about the store, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
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

/// What the journal's writer counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    batches: AtomicU64,
    bytes: AtomicU64,
    sync_time: [AtomicU64; SYNC_TIME_BOUNDS.len() + 1],
    sync_time_total_ns: AtomicU64,
}

impl Counters {
    /// Counts one batch of records.
    pub(crate) fn count_batch(&self, bytes: u64) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts one sync.
    pub(crate) fn count_sync(&self, taken: Duration) {
        let bucket = SYNC_TIME_BOUNDS.partition_point(|bound| *bound < taken);
        self.sync_time[bucket].fetch_add(1, Ordering::Relaxed);
        let ns = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        self.sync_time_total_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Fills in what was counted.
    pub(crate) fn add_to(&self, stats: &mut StoreStats) {
        stats.batches = self.batches.load(Ordering::Relaxed);
        stats.bytes = self.bytes.load(Ordering::Relaxed);
        stats.sync_time_total =
            Duration::from_nanos(self.sync_time_total_ns.load(Ordering::Relaxed));
        for (bucket, count) in stats.sync_time_buckets.iter_mut().zip(&self.sync_time) {
            *bucket = count.load(Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_counted_in_the_bucket_whose_bound_it_does_not_pass() {
        let counters = Counters::default();
        for us in [50, 51, 2_000_000] {
            counters.count_sync(Duration::from_micros(us));
        }

        let mut stats = StoreStats::default();
        counters.add_to(&mut stats);

        assert_eq!(stats.sync_time_buckets, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(stats.sync_time_total, Duration::from_micros(2_000_101));
    }
}

//! Numbers about the store, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::commit_log::Position;

/// Bounds of [`StoreStats::batch_transactions`].
const BATCH_TRANSACTIONS_BOUNDS: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// Bounds of [`StoreStats::batch_bytes`]: from one page to some of the largest transactions.
const BATCH_BYTES_BOUNDS: [u64; 9] =
    [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20];

/// Bounds of [`StoreStats::sync_time_ns`]: from 50 µs to 1 s.
const SYNC_TIME_NS_BOUNDS: [u64; 10] = [
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    20_000_000,
    100_000_000,
    1_000_000_000,
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
    /// Transactions per batch. A batch is what the journal's writer writes at once, and makes
    /// durable with one sync, but for one that runs over the end of a segment.
    pub batch_transactions: Histogram,
    /// Bytes of records per batch.
    pub batch_bytes: Histogram,
    /// Time of each sync of the journal, in nanoseconds.
    pub sync_time_ns: Histogram,
    /// Segments that hold records.
    pub segments_in_use: u64,
    /// Segments ready to be written.
    pub segments_ready: u64,
    /// Objects with transactions that are only in their WAL.
    pub objects_to_backfill: u64,
}

/// One reading of how values since the start are distributed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Upper bounds of the buckets, rising. A bound belongs to its bucket.
    pub bounds: &'static [u64],
    /// How many values each bucket holds: one count per bound, the last for larger values. Not
    /// cumulative.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// What the journal's writer counts.
#[derive(Debug)]
pub(crate) struct Counters {
    batch_transactions: Buckets,
    batch_bytes: Buckets,
    sync_time_ns: Buckets,
}

/// A histogram that is written by one thread and read by others.
#[derive(Debug)]
struct Buckets {
    bounds: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Counters {
    /// Counts one batch of records.
    pub(crate) fn count_batch(&self, transactions: u64, bytes: u64) {
        self.batch_transactions.count(transactions);
        self.batch_bytes.count(bytes);
    }

    /// Counts one sync.
    pub(crate) fn count_sync(&self, taken: Duration) {
        self.sync_time_ns.count(u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Fills in what was counted.
    pub(crate) fn add_to(&self, stats: &mut StoreStats) {
        stats.batch_transactions = self.batch_transactions.read();
        stats.batch_bytes = self.batch_bytes.read();
        stats.sync_time_ns = self.sync_time_ns.read();
    }
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            batch_transactions: Buckets::new(&BATCH_TRANSACTIONS_BOUNDS),
            batch_bytes: Buckets::new(&BATCH_BYTES_BOUNDS),
            sync_time_ns: Buckets::new(&SYNC_TIME_NS_BOUNDS),
        }
    }
}

impl Buckets {
    fn new(bounds: &'static [u64]) -> Buckets {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Buckets { bounds, counts, sum: AtomicU64::new(0) }
    }

    fn count(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn read(&self) -> Histogram {
        Histogram {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(counters: &Counters) -> StoreStats {
        let mut stats = StoreStats::default();
        counters.add_to(&mut stats);
        stats
    }

    #[test]
    fn a_sync_is_counted_in_the_bucket_whose_bound_it_does_not_pass() {
        let counters = Counters::default();
        for us in [50, 51, 2_000_000] {
            counters.count_sync(Duration::from_micros(us));
        }

        let syncs = reading(&counters).sync_time_ns;

        assert_eq!(syncs.counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(syncs.sum, 2_000_101_000);
    }

    #[test]
    fn a_batch_is_counted_by_its_transactions_and_by_its_bytes() {
        let counters = Counters::default();
        counters.count_batch(1, 4096);
        counters.count_batch(2000, 5000);

        let stats = reading(&counters);

        assert_eq!(stats.batch_transactions.counts, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(stats.batch_transactions.sum, 2001);
        assert_eq!(stats.batch_bytes.counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(stats.batch_bytes.sum, 9096);
    }

    #[test]
    fn bounds_rise() {
        let stats = reading(&Counters::default());
        for histogram in [stats.batch_transactions, stats.batch_bytes, stats.sync_time_ns] {
            assert!(histogram.bounds.is_sorted_by(|a, b| a < b), "{histogram:?}");
            assert_eq!(histogram.counts.len(), histogram.bounds.len() + 1);
        }
    }
}

//! The journal's one writer: takes what all lanes have queued, writes it, syncs once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::segment::{HEADER_BLOCK_BYTES, SealedSegment, SegmentFile, SegmentHeader};
use super::{JournalEnd, Shared, record};
use crate::commit_log::Position;
use crate::options::Durability;

/// Every write ends on a multiple of this where it can: a page that is written whole need not be
/// read first, and what an earlier use of the segment left in its rest is overwritten.
const WRITE_ALIGN: u64 = 4096;

/// A batch waits for as many records as the last one had, but no longer than so many syncs take.
const WAIT_SYNCS_MAX: u32 = 2;

/// Nor for longer than this: one sync that stalled says nothing about those who come next.
const WAIT_MAX: Duration = Duration::from_millis(1);

/// Buffers that have grown past this after a burst are given back.
const BUFFER_BYTES_KEPT: usize = 8 << 20;

/// The state of the writer's thread.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    /// Where the next record goes; `None` before the first one.
    current: Option<CurrentSegment>,
    /// The end of what is durable.
    end: JournalEnd,
    /// Random for each start, so that no two uses of a segment have the same nonce.
    nonce_seed: u64,
    batch: Batch,
    pace: Pace,
}

/// What the last batch tells about the next one.
///
/// A commit is worth waiting for a moment when others are about to come: those who were answered
/// together ask again together. One batch then does the work of two.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    records: usize,
    sync_time: Duration,
}

/// Records in the order of their positions, one after the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub bytes: Vec<u8>,
    /// Where in `bytes` each record ends.
    pub ends: Vec<usize>,
}

#[derive(Debug)]
struct CurrentSegment {
    segment: SegmentFile,
    nonce: u64,
    /// Where the next record goes.
    offset: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, end: JournalEnd, nonce_seed: u64) -> Writer {
        Writer {
            shared,
            current: None,
            end,
            nonce_seed,
            batch: Batch::default(),
            pace: Pace::default(),
        }
    }

    /// Writes batches until the journal stops and nothing is queued, or until a write fails, which
    /// is fatal. The body of the writer's thread.
    pub(super) fn run(mut self) {
        while self.shared.wait_for_batch(&mut self.batch, self.pace) {
            if let Err(err) = self.write_batch() {
                self.shared.fail(&err);
                return;
            }
        }
    }

    /// Writes what is queued, as one batch. `Ok(false)` if nothing is.
    #[cfg(test)]
    pub(super) fn step(&mut self) -> io::Result<bool> {
        let is_empty = self.shared.queue.lock().batch.ends.is_empty();
        if is_empty || !self.shared.wait_for_batch(&mut self.batch, Pace::default()) {
            return Ok(false);
        }
        self.write_batch().map(|()| true)
    }

    fn write_batch(&mut self) -> io::Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        let records_bytes = batch.bytes.len() as u64;
        let durable_before = self.end.position;
        let mut position = durable_before;
        let mut chain = self.end.chain;
        let (mut unwritten, mut start) = (0, 0);
        for &end in &batch.ends {
            let wanted = (end - unwritten) as u64;
            if self.current.as_ref().is_none_or(|it| it.left(&self.shared) < wanted) {
                self.write(&batch.bytes[unwritten..start])?;
                self.next_segment(position, chain)?;
                unwritten = start;
            }
            let nonce = self.current.as_ref().map_or(0, |current| current.nonce);
            chain = record::seal(&mut batch.bytes[start..end], durable_before, chain, nonce);
            position = position.next();
            start = end;
        }
        self.pad(&mut batch.bytes, start - unwritten);
        self.write(&batch.bytes[unwritten..])?;
        if let Some(current) = &mut self.current {
            current.offset -= (batch.bytes.len() - start) as u64;
        }
        self.end.position = position;
        self.end.chain = chain;
        let left = self.current.as_ref().map_or(0, |current| current.left(&self.shared));
        let transactions = batch.ends.len() as u64;
        self.pace.records = batch.ends.len();
        self.shared.room.written(records_bytes, left);
        self.shared.counters.count_batch(transactions, records_bytes);
        self.shared.publish(position);
        batch.clear();
        self.batch = batch;
        Ok(())
    }

    /// Writes and syncs `bytes`, if there are any, at the end of the current segment.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(current) = self.current.as_mut().filter(|_| !bytes.is_empty()) else {
            return Ok(());
        };
        current.segment.file.write_at(bytes, current.offset)?;
        current.offset += bytes.len() as u64;
        if self.shared.durability == Durability::Fsync {
            let started = self.shared.clock.monotonic();
            current.segment.file.sync()?;
            let taken = self.shared.clock.monotonic().saturating_sub(started);
            self.shared.counters.count_sync(taken);
            self.pace.sync_time = taken;
        }
        Ok(())
    }

    /// Seals the current segment, in which everything up to `last` is synced, and begins the next.
    ///
    /// The order matters: a segment whose header is on disk proves that the one before is complete.
    fn next_segment(&mut self, last: Position, chain: u64) -> io::Result<()> {
        if let Some(full) = self.current.take() {
            self.shared.pool.seal(SealedSegment { segment: full.segment, last });
            self.shared.tell_sealed();
        }
        let stopped = || io::Error::other("the journal stopped while it waited for a segment");
        let segment = self.shared.pool.take().ok_or_else(stopped)?;
        self.end.sequence += 1;
        let nonce = xxh3_64_with_seed(&self.end.sequence.to_le_bytes(), self.nonce_seed);
        let header = SegmentHeader {
            sequence: self.end.sequence,
            first: last.next(),
            chain,
            nonce,
            folder_id: self.shared.folder_id,
        };
        // Synced with the first records, by the same call.
        segment.file.write_at(&header.encode(), 0)?;
        self.current = Some(CurrentSegment { segment, nonce, offset: HEADER_BLOCK_BYTES });
        Ok(())
    }

    /// Extends `bytes`, of which the last `unwritten` go to the current segment, with zeros.
    fn pad(&self, bytes: &mut Vec<u8>, unwritten: usize) {
        let Some(current) = &self.current else { return };
        let end = current.offset + unwritten as u64;
        let padded = end.next_multiple_of(WRITE_ALIGN).min(self.shared.segment_bytes);
        let zeros = usize::try_from(padded.saturating_sub(end)).unwrap_or(0);
        bytes.resize(bytes.len() + zeros, 0);
    }
}

impl CurrentSegment {
    /// Bytes that still fit.
    fn left(&self, shared: &Shared) -> u64 {
        shared.segment_bytes.saturating_sub(self.offset)
    }
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.bytes.shrink_to(BUFFER_BYTES_KEPT);
    }
}

impl Shared {
    /// Swaps the queue for the empty `batch`, waiting until something is queued. `false` when the
    /// journal stops and nothing is left.
    fn wait_for_batch(&self, batch: &mut Batch, pace: Pace) -> bool {
        let mut queue = self.queue.lock();
        let wait = pace.sync_time.saturating_mul(WAIT_SYNCS_MAX).min(WAIT_MAX);
        // In mode `os` there is no sync to share.
        if queue.batch.ends.len() < pace.records && !queue.stopping && !wait.is_zero() {
            queue.writer_waits_for = Some(pace.records);
            self.queued.wait_for(&mut queue, wait);
        }
        while queue.batch.ends.is_empty() {
            if queue.stopping {
                return false;
            }
            queue.writer_waits_for = Some(1);
            self.queued.wait(&mut queue);
        }
        queue.writer_waits_for = None;
        std::mem::swap(&mut queue.batch, batch);
        true
    }
}

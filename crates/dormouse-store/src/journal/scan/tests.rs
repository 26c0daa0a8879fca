//! Journals built by hand, whole and damaged.

use super::*;
use crate::catalog::CatalogEntry;
use crate::clock::Timestamp;
use crate::commit_log::{Change, Record};
use crate::disk::RealDisk;
use crate::journal::record::{Draft, seal};
use crate::journal::segment::segment_path;
use crate::key::Key;

const FOLDER_ID: [u8; 16] = [5; 16];

/// Builds the segments of a journal, one record at a time.
struct Builder {
    dir: tempfile::TempDir,
    position: Position,
    chain: u64,
    sequence: u64,
    nonce: u64,
    bytes: Vec<u8>,
    /// Where each record of the current segment begins.
    starts: Vec<usize>,
}

impl Builder {
    fn new() -> Builder {
        let mut builder = Builder {
            dir: tempfile::tempdir().unwrap(),
            position: Position::ZERO,
            chain: 0,
            sequence: 0,
            nonce: 0,
            bytes: Vec::new(),
            starts: Vec::new(),
        };
        builder.next_segment();
        builder
    }

    fn next_segment(&mut self) {
        if self.sequence > 0 {
            self.write();
        }
        self.sequence += 1;
        self.nonce = self.sequence * 1_000;
        self.starts.clear();
        self.bytes = SegmentHeader {
            sequence: self.sequence,
            first: self.position.next(),
            chain: self.chain,
            nonce: self.nonce,
            folder_id: FOLDER_ID,
        }
        .encode();
    }

    /// Adds a record that was written when everything up to `durable` was durable.
    fn record(&mut self, durable: u64) {
        let entry = CatalogEntry {
            created_at: Timestamp::EPOCH,
            last_active_at: Timestamp::EPOCH,
            size_bytes: 0,
            next_due: None,
            summary: Some("some bytes to damage".repeat(20)),
        };
        let key = Key::new("note", "a").unwrap();
        let record = Record { key: &key, generation: 0, entry: &entry, change: Change::Delete };
        let start = self.bytes.len();
        self.starts.push(start);
        self.position = self.position.next();
        Draft::new(record).append_to(self.position, &mut self.bytes);
        let durable = Position::new(durable);
        self.chain = seal(&mut self.bytes[start..], durable, self.chain, self.nonce);
    }

    fn damage(&mut self, record: usize) {
        let start = self.starts[record];
        self.bytes[start + 150] ^= 1;
    }

    fn write(&self) {
        let mut bytes = self.bytes.clone();
        bytes.resize(64 << 10, 0);
        std::fs::write(segment_path(self.dir.path(), self.sequence), bytes).unwrap();
    }

    fn scan(&self, from: u64, bad_record: BadRecord) -> Result<(Vec<u64>, Scan), OpenError> {
        self.write();
        let mut seen = Vec::new();
        let mut visit = |found: Found| seen.push(found.header.position.get());
        let from = Position::new(from);
        let folder = self.dir.path();
        let scan = scan(&RealDisk, folder, FOLDER_ID, from, bad_record, &mut visit)?;
        Ok((seen, scan))
    }

    fn seen(&self, from: u64) -> Vec<u64> {
        self.scan(from, BadRecord::Refuse).unwrap().0
    }
}

#[test]
fn records_are_read_in_order_across_segments_from_where_they_are_asked_for() {
    let mut builder = Builder::new();
    for durable in 0..3 {
        builder.record(durable);
    }
    builder.next_segment();
    for durable in 3..5 {
        builder.record(durable);
    }

    assert_eq!(builder.seen(1), [1, 2, 3, 4, 5]);
    assert_eq!(builder.seen(3), [3, 4, 5]);
    assert_eq!(builder.seen(6), [] as [u64; 0]);
    let (_, scan) = builder.scan(5, BadRecord::Refuse).unwrap();
    assert_eq!((scan.segments.len(), scan.unused.len(), scan.next_number), (1, 1, 3));
    assert_eq!((scan.end.position, scan.end.sequence), (Position::new(5), 2));
}

#[test]
fn a_torn_last_batch_ends_the_journal_before_it() {
    let mut builder = Builder::new();
    builder.record(0);
    // One batch of three, of which the first did not reach the disk.
    for _ in 0..3 {
        builder.record(1);
    }
    builder.damage(1);

    assert_eq!(builder.seen(1), [1]);
}

#[test]
fn a_bad_record_that_a_later_one_calls_durable_is_damage() {
    let mut builder = Builder::new();
    for durable in 0..3 {
        builder.record(durable);
    }
    builder.damage(1);

    let err = builder.scan(1, BadRecord::Refuse).unwrap_err();

    let at = builder.starts[1] as u64;
    assert!(matches!(err, OpenError::Damaged { offset, .. } if offset == at), "{err}");
    assert_eq!(builder.seen(3), [3], "what is checkpointed does not matter");
}

#[test]
fn the_last_record_of_a_segment_that_another_follows_was_durable() {
    let mut builder = Builder::new();
    builder.record(0);
    builder.record(1);
    builder.damage(1);
    builder.next_segment();
    builder.record(2);

    let err = builder.scan(1, BadRecord::Refuse).unwrap_err();
    assert!(matches!(err, OpenError::Damaged { .. }), "{err}");
    let (seen, scan) = builder.scan(1, BadRecord::EndThere).unwrap();
    assert_eq!((seen, scan.end.position.get()), (vec![1], 1));
    let (seen, scan) = builder.scan(1, BadRecord::Skip).unwrap();
    assert_eq!(seen, [1, 3]);
    assert_eq!((scan.holes[0].first.get(), scan.holes[0].next.get()), (2, 3));
}

#[test]
fn a_missing_segment_is_damage() {
    let mut builder = Builder::new();
    for durable in 0..3 {
        builder.record(durable);
        builder.next_segment();
    }
    builder.record(3);
    std::fs::remove_file(segment_path(builder.dir.path(), 2)).unwrap();

    let err = builder.scan(1, BadRecord::Refuse).unwrap_err();
    assert!(matches!(err, OpenError::Damaged { .. }), "{err}");
    assert_eq!(builder.seen(3), [3, 4], "it is not needed for these");
    let (seen, scan) = builder.scan(1, BadRecord::Skip).unwrap();
    assert_eq!(seen, [1, 3, 4]);
    assert_eq!(scan.holes.len(), 1);
}

#[test]
fn records_of_an_earlier_use_of_a_segment_are_not_read() {
    let mut builder = Builder::new();
    for _ in 0..4 {
        builder.record(0);
    }
    let old = builder.bytes.clone();
    builder.next_segment();
    builder.record(4);
    // The new record lies over the first of the old ones.
    let used = builder.bytes.len();
    builder.bytes.extend_from_slice(&old[used..]);

    assert_eq!(builder.seen(1), [1, 2, 3, 4, 5]);
}

#[test]
fn any_bytes_at_all_are_read_without_a_panic() {
    let mut builder = Builder::new();
    for durable in 0..3 {
        builder.record(durable);
    }
    let good = builder.bytes.clone();
    let mut random: u64 = 1;
    for _ in 0..200 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = usize::try_from(random >> 33).unwrap() % good.len();
        builder.bytes.clone_from(&good);
        builder.bytes[at] = builder.bytes[at].wrapping_add(random.to_le_bytes()[4] | 1);
        builder.bytes.truncate(good.len() - at / 64);
        for policy in [BadRecord::Refuse, BadRecord::Skip, BadRecord::EndThere] {
            let _any = builder.scan(1, policy);
        }
    }
}

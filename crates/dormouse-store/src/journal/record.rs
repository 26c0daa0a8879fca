//! How one transaction is written in a segment.
//!
//! ```text
//! header (HEADER_BYTES)
//!    0 u32 magic            4 u32 record bytes, header and padding included
//!    8 u64 position        16 u64 position that was durable when this was written
//!   24 u64 chain           32 u64 generation
//!   40 u64 body checksum   48 u32 body bytes          52 u32 page bytes
//!   56 u32 database pages  60 u8 change   61 u8 kind bytes   62 u16 id bytes
//!   64 u32 entry bytes     68 u32 zero    72 u64 header checksum, seeded by the segment
//! body: kind, id, entry, frames; zeros up to a multiple of RECORD_ALIGN
//! ```
//!
//! Numbers are little-endian; frames are SQLite's.
//!
//! # Invariants
//!
//! * `chain` is the hash of the previous record's header, so records cannot be left out or reordered.
//! * The header's checksum is seeded with the segment's nonce, so what an earlier use of the segment
//!   left behind never passes for a record.
//! * `durable` of a record is proof that everything up to there was on disk: what is bad before it
//!   was damaged, what is bad after it was merely not finished.
//!
//! Checksums are XXH3 with 64 bits: 130 ns for a record of 3.3 KB where this was measured, as much as
//! CRC-32C takes for half the bits; BLAKE3 took 2.1 µs. They are there for accidents, not attackers.

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64, xxh3_64_with_seed};

use crate::catalog::{CatalogEntry, SUMMARY_BYTES_MAX};
use crate::clock::Timestamp;
use crate::commit_log::{Change, Position, Record};
use crate::key::{ID_CHARS_MAX, KIND_CHARS_MAX, Key};

/// Bytes before a record's body.
pub(crate) const HEADER_BYTES: usize = 80;

/// Records start at multiples of this, so that a search for them after damage can take steps.
pub(crate) const RECORD_ALIGN: usize = 16;

/// Most bytes of a record beside its pages: header, padding, key, catalog entry.
pub(crate) const OVERHEAD_BYTES_MAX: u64 = (HEADER_BYTES
    + RECORD_ALIGN
    + KIND_CHARS_MAX
    + ID_CHARS_MAX * 4
    + ENTRY_FIXED_BYTES
    + SUMMARY_BYTES_MAX) as u64;

/// Bytes of a frame before its page.
pub(crate) const FRAME_HEADER_BYTES: usize = 24;

const MAGIC: u32 = u32::from_le_bytes(*b"DMr1");
const ENTRY_FIXED_BYTES: usize = 8 * 4 + 2;
const CHANGE_PAGES: u8 = 1;
const CHANGE_DELETE: u8 = 2;

/// Stands for "no due time" and is no [`Timestamp`].
const NEVER_MS: i64 = i64::MIN;

/// A header as it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub record_bytes: u32,
    pub position: Position,
    pub durable: Position,
    pub chain: u64,
    pub generation: u64,
    body_checksum: u64,
    body_bytes: u32,
    pub page_bytes: u32,
    pub database_pages: u32,
    change: u8,
    kind_bytes: u8,
    id_bytes: u16,
    entry_bytes: u32,
}

/// What a record says, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub key: Key,
    pub entry: CatalogEntry,
    pub change: BodyChange,
}

/// What a record's transaction did, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyChange {
    /// It wrote pages; each with the offset of its bytes from the start of the record.
    Pages(Vec<(u32, u32)>),
    /// It deleted the object.
    Delete,
}

/// The parts of a record that do not depend on its place in the journal, made on the committing
/// thread before it takes the queue's lock.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    header: Header,
    record: Record<'a>,
    entry: Vec<u8>,
}

impl<'a> Draft<'a> {
    /// Computes sizes and the checksum of the body.
    ///
    /// # Panics
    ///
    /// If the pages have 4 GiB or more; the store's limit on transactions is far below.
    pub(crate) fn new(record: Record<'a>) -> Draft<'a> {
        let entry = encode_entry(record.entry);
        let (change, frames, page_bytes, database_pages) = match record.change {
            Change::Pages { frames, page_bytes, database_pages } => {
                (CHANGE_PAGES, frames, page_bytes, database_pages)
            }
            Change::Delete => (CHANGE_DELETE, &[][..], 0, 0),
        };
        let (kind, id) = (record.key.kind().as_bytes(), record.key.id().as_bytes());
        let body_bytes = kind.len() + id.len() + entry.len() + frames.len();
        let record_bytes = (HEADER_BYTES + body_bytes).next_multiple_of(RECORD_ALIGN);
        let mut checksum = Xxh3Default::new();
        for part in [kind, id, &entry, frames] {
            checksum.update(part);
        }
        let bounded = "sizes are bounded by the limits on keys, summaries and transactions";
        let header = Header {
            record_bytes: u32::try_from(record_bytes).expect(bounded),
            position: Position::ZERO,
            durable: Position::ZERO,
            chain: 0,
            generation: record.generation,
            body_checksum: checksum.digest(),
            body_bytes: u32::try_from(body_bytes).expect(bounded),
            page_bytes,
            database_pages,
            change,
            kind_bytes: u8::try_from(kind.len()).expect(bounded),
            id_bytes: u16::try_from(id.len()).expect(bounded),
            entry_bytes: u32::try_from(entry.len()).expect(bounded),
        };
        Draft { header, record, entry }
    }

    /// Bytes that [`append_to`](Self::append_to) adds.
    pub(crate) fn record_bytes(&self) -> usize {
        self.header.record_bytes as usize
    }

    /// Adds the record to a batch. Its place in the chain is filled in by [`seal`].
    pub(crate) fn append_to(&self, position: Position, batch: &mut Vec<u8>) {
        let start = batch.len();
        batch.extend_from_slice(&Header { position, ..self.header }.encode(0));
        batch.extend_from_slice(self.record.key.kind().as_bytes());
        batch.extend_from_slice(self.record.key.id().as_bytes());
        batch.extend_from_slice(&self.entry);
        if let Change::Pages { frames, .. } = self.record.change {
            batch.extend_from_slice(frames);
        }
        batch.resize(start + self.record_bytes(), 0);
    }
}

/// Puts a record that is about to be written into the chain of its segment, and returns the chain
/// value for the next one.
///
/// `record` begins with a header that [`Draft::append_to`] wrote.
pub(crate) fn seal(record: &mut [u8], durable: Position, chain: u64, nonce: u64) -> u64 {
    record[16..24].copy_from_slice(&durable.get().to_le_bytes());
    record[24..32].copy_from_slice(&chain.to_le_bytes());
    let checksum = xxh3_64_with_seed(&record[..72], nonce);
    record[72..80].copy_from_slice(&checksum.to_le_bytes());
    xxh3_64(&record[..HEADER_BYTES])
}

/// The chain value that follows a record.
pub(crate) fn chain_after(header_bytes: &[u8]) -> u64 {
    xxh3_64(&header_bytes[..HEADER_BYTES])
}

impl Header {
    fn encode(&self, nonce: u64) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.record_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.position.get().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.durable.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.chain.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.generation.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.body_checksum.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.page_bytes.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.database_pages.to_le_bytes());
        bytes[60] = self.change;
        bytes[61] = self.kind_bytes;
        bytes[62..64].copy_from_slice(&self.id_bytes.to_le_bytes());
        bytes[64..68].copy_from_slice(&self.entry_bytes.to_le_bytes());
        let checksum = xxh3_64_with_seed(&bytes[..72], nonce);
        bytes[72..80].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`; `None` if there is no valid one.
    pub(crate) fn decode(bytes: &[u8], nonce: u64) -> Option<Header> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if u32_at(bytes, 0) != MAGIC || u64_at(bytes, 72) != xxh3_64_with_seed(&bytes[..72], nonce)
        {
            return None;
        }
        let header = Header {
            record_bytes: u32_at(bytes, 4),
            position: Position::new(u64_at(bytes, 8)),
            durable: Position::new(u64_at(bytes, 16)),
            chain: u64_at(bytes, 24),
            generation: u64_at(bytes, 32),
            body_checksum: u64_at(bytes, 40),
            body_bytes: u32_at(bytes, 48),
            page_bytes: u32_at(bytes, 52),
            database_pages: u32_at(bytes, 56),
            change: bytes[60],
            kind_bytes: bytes[61],
            id_bytes: u16::from_le_bytes([bytes[62], bytes[63]]),
            entry_bytes: u32_at(bytes, 64),
        };
        let whole = (HEADER_BYTES as u64 + u64::from(header.body_bytes))
            .next_multiple_of(RECORD_ALIGN as u64);
        (whole == u64::from(header.record_bytes)).then_some(header)
    }

    /// Reads the rest of the record whose header this is; `None` if it is not what was written.
    ///
    /// `record` starts at the header.
    pub(crate) fn decode_body(&self, record: &[u8]) -> Option<Body> {
        let end = HEADER_BYTES.checked_add(self.body_bytes as usize)?;
        let body = record.get(HEADER_BYTES..end)?;
        if xxh3_64(body) != self.body_checksum {
            return None;
        }
        let (kind, rest) = body.split_at_checked(usize::from(self.kind_bytes))?;
        let (id, rest) = rest.split_at_checked(usize::from(self.id_bytes))?;
        let (entry, frames) = rest.split_at_checked(self.entry_bytes as usize)?;
        let key = Key::new(std::str::from_utf8(kind).ok()?, std::str::from_utf8(id).ok()?).ok()?;
        let change = match self.change {
            CHANGE_PAGES => BodyChange::Pages(self.pages(frames, end - frames.len())?),
            CHANGE_DELETE if frames.is_empty() => BodyChange::Delete,
            _ => return None,
        };
        Some(Body { key, entry: decode_entry(entry)?, change })
    }

    /// Page numbers of `frames`, each with the offset of its page from the start of the record.
    fn pages(&self, frames: &[u8], frames_at: usize) -> Option<Vec<(u32, u32)>> {
        let page_bytes = self.page_bytes as usize;
        let is_page_size = page_bytes.is_power_of_two() && (512..=65536).contains(&page_bytes);
        let frame_bytes = FRAME_HEADER_BYTES + page_bytes;
        if !is_page_size || frames.is_empty() || !frames.len().is_multiple_of(frame_bytes) {
            return None;
        }
        let pages = frames.chunks_exact(frame_bytes).enumerate().map(|(index, frame)| {
            let number = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
            let offset = frames_at + index * frame_bytes + FRAME_HEADER_BYTES;
            Some((number, u32::try_from(offset).ok()?)).filter(|_| number != 0)
        });
        pages.collect()
    }
}

fn encode_entry(entry: &CatalogEntry) -> Vec<u8> {
    let summary = entry.summary.as_deref();
    let mut bytes = Vec::with_capacity(ENTRY_FIXED_BYTES + summary.map_or(0, str::len));
    bytes.extend_from_slice(&entry.created_at.as_ms().to_le_bytes());
    bytes.extend_from_slice(&entry.last_active_at.as_ms().to_le_bytes());
    bytes.extend_from_slice(&entry.size_bytes.to_le_bytes());
    let due_ms = entry.next_due.map_or(NEVER_MS, Timestamp::as_ms);
    bytes.extend_from_slice(&due_ms.to_le_bytes());
    bytes.push(u8::from(summary.is_some()));
    bytes.push(0);
    bytes.extend_from_slice(summary.unwrap_or_default().as_bytes());
    bytes
}

fn decode_entry(bytes: &[u8]) -> Option<CatalogEntry> {
    let (fixed, summary) = bytes.split_at_checked(ENTRY_FIXED_BYTES)?;
    let ms_at = |offset| u64_at(fixed, offset).cast_signed();
    let due_ms = ms_at(24);
    Some(CatalogEntry {
        created_at: Timestamp::from_ms(ms_at(0)),
        last_active_at: Timestamp::from_ms(ms_at(8)),
        size_bytes: u64_at(fixed, 16),
        next_due: (due_ms != NEVER_MS).then(|| Timestamp::from_ms(due_ms)),
        summary: match fixed[32] {
            0 => None,
            _ => Some(std::str::from_utf8(summary).ok()?.to_owned()),
        },
    })
}

/// Reads a number; the caller has checked that `bytes` is long enough.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(number)
}

/// Reads a number; the caller has checked that `bytes` is long enough.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: u64 = 77;

    fn entry() -> CatalogEntry {
        CatalogEntry {
            created_at: Timestamp::from_ms(1),
            last_active_at: Timestamp::from_ms(2),
            size_bytes: 1024,
            next_due: Some(Timestamp::from_ms(3)),
            summary: Some("title".to_owned()),
        }
    }

    fn frames() -> Vec<u8> {
        let mut frames = vec![7; 2 * (FRAME_HEADER_BYTES + 512)];
        for (index, number) in [(0, 1_u32), (1, 9)] {
            let start = index * (FRAME_HEADER_BYTES + 512);
            frames[start..start + 4].copy_from_slice(&number.to_be_bytes());
        }
        frames
    }

    fn written(change: Change<'_>) -> Vec<u8> {
        let key = Key::new("note", "../ü").unwrap();
        let record = Record { key: &key, generation: 5, entry: &entry(), change };
        let mut batch = Vec::new();
        Draft::new(record).append_to(Position::new(9), &mut batch);
        seal(&mut batch, Position::new(8), 42, NONCE);
        batch
    }

    #[test]
    fn a_record_is_read_back_as_written() {
        let frames = frames();
        let change = Change::Pages { frames: &frames, page_bytes: 512, database_pages: 9 };
        let bytes = written(change);

        let header = Header::decode(&bytes, NONCE).unwrap();
        let body = header.decode_body(&bytes).unwrap();

        assert_eq!((header.position.get(), header.durable.get(), header.chain), (9, 8, 42));
        assert_eq!((header.generation, header.database_pages), (5, 9));
        assert_eq!((body.key.to_string().as_str(), body.entry), ("note/../ü", entry()));
        let BodyChange::Pages(pages) = body.change else { panic!("pages were written") };
        assert_eq!(pages.iter().map(|&(number, _)| number).collect::<Vec<_>>(), [1, 9]);
        assert_eq!(bytes[pages[1].1 as usize..][..512], [7; 512]);
    }

    #[test]
    fn a_delete_is_read_back_as_written() {
        let bytes = written(Change::Delete);
        let body = Header::decode(&bytes, NONCE).unwrap().decode_body(&bytes).unwrap();
        assert_eq!(body.change, BodyChange::Delete);
    }

    #[test]
    fn a_record_of_an_earlier_use_of_the_segment_does_not_pass() {
        assert_eq!(Header::decode(&written(Change::Delete), NONCE + 1), None);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let frames = frames();
        let change = Change::Pages { frames: &frames, page_bytes: 512, database_pages: 9 };
        let bytes = written(change);
        let used = Header::decode(&bytes, NONCE).unwrap().body_bytes as usize + HEADER_BYTES;

        for bit in 0..used * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let read = Header::decode(&bad, NONCE).and_then(|header| header.decode_body(&bad));
            assert_eq!(read, None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_cut_anywhere_is_refused_without_a_panic() {
        let bytes = written(Change::Delete);
        let header = Header::decode(&bytes, NONCE).unwrap();
        let used = header.body_bytes as usize + HEADER_BYTES;
        for len in 0..used {
            let read = Header::decode(&bytes[..len], NONCE);
            assert!(read.is_none_or(|header| header.decode_body(&bytes[..len]).is_none()));
        }
    }
}

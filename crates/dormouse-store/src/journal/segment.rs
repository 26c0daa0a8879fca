//! A segment: one file of the journal.
//!
//! A segment's file keeps its name when it is used again, because a new name would need a sync of
//! the folder before anything in it counts: what a segment holds is said by its header. The header
//! has [`HEADER_BLOCK_BYTES`] to itself, so writing records never touches its sector again.

use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::record::u64_at;
use crate::commit_log::Position;
use crate::disk::{Disk, DiskFile};
use crate::options::Durability;

/// Bytes before the first record, as a size in memory and as an offset in a file.
pub(crate) const HEADER_BLOCK_LEN: usize = 4096;
pub(crate) const HEADER_BLOCK_BYTES: u64 = HEADER_BLOCK_LEN as u64;

const MAGIC: u64 = u64::from_le_bytes(*b"dormJRN1");
const HEADER_BYTES: usize = 72;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Rises by 1 from one used segment to the next.
    pub sequence: u64,
    /// Position of its first record.
    pub first: Position,
    /// Chain value of its first record.
    pub chain: u64,
    /// Seeds the header checksums of its records.
    pub nonce: u64,
    /// The data folder it belongs to.
    pub folder_id: [u8; 16],
}

/// A segment's open file.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub path: PathBuf,
    pub file: Box<dyn DiskFile>,
}

impl SegmentFile {
    /// Opens the file of a segment that is to be written, making it if it does not exist.
    ///
    /// In mode `os` an acknowledgement waits for the page cache and not for the disk, so that is where
    /// writes go.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: &Path,
        durability: Durability,
    ) -> io::Result<SegmentFile> {
        let file = match durability {
            Durability::Fsync => disk.create_direct(path)?,
            Durability::Os => disk.create(path)?,
        };
        Ok(SegmentFile { path: path.to_path_buf(), file })
    }
}

/// A segment that is full: nothing is written to it until it is released.
#[derive(Debug)]
pub(crate) struct SealedSegment {
    pub segment: SegmentFile,
    pub last: Position,
}

impl SegmentHeader {
    /// The header's block, as written.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        for number in [MAGIC, self.sequence, self.first.get(), self.chain, self.nonce] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.folder_id);
        // Room for one more number.
        bytes.extend_from_slice(&0_u64.to_le_bytes());
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.resize(HEADER_BLOCK_LEN, 0);
        bytes
    }

    /// Reads a header; `None` if there is no valid one, as in a segment that was never used.
    pub(crate) fn decode(block: &[u8]) -> Option<SegmentHeader> {
        let bytes = block.get(..HEADER_BYTES)?;
        if u64_at(bytes, 0) != MAGIC || u64_at(bytes, 64) != xxh3_64(&bytes[..64]) {
            return None;
        }
        let mut folder_id = [0; 16];
        folder_id.copy_from_slice(&bytes[40..56]);
        Some(SegmentHeader {
            sequence: u64_at(bytes, 8),
            first: Position::new(u64_at(bytes, 16)),
            chain: u64_at(bytes, 24),
            nonce: u64_at(bytes, 32),
            folder_id,
        })
    }
}

/// The name of the n-th file in the journal's folder.
pub(crate) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("segment-{number:06}"))
}

/// The number of a file that [`segment_path`] named.
pub(crate) fn segment_number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("segment-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        sequence: 3,
        first: Position::new(17),
        chain: 5,
        nonce: 7,
        folder_id: [9; 16],
    };

    #[test]
    fn a_header_is_read_back_as_written() {
        assert_eq!(SegmentHeader::decode(&HEADER.encode()), Some(HEADER));
    }

    #[test]
    fn zeros_and_flipped_bits_are_no_header() {
        assert_eq!(SegmentHeader::decode(&[0; 4096]), None);
        assert_eq!(SegmentHeader::decode(&[]), None);
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = HEADER.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn names_are_read_back() {
        let path = segment_path(Path::new("/j"), 12);
        assert_eq!(segment_number(&path), Some(12));
        assert_eq!(segment_number(Path::new("/j/notes.txt")), None);
    }
}

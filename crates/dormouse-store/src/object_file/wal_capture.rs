//! Reading back what a COMMIT wrote to the WAL.
//!
//! # Invariants
//!
//! * Frames are read only after COMMIT: before it, SQLite may still rewrite them.
//! * The WAL's length comes from the commit hook, never from the size of the buffer, which may be
//!   longer.
//! * What is captured has passed SQLite's own salts and running checksum, from the WAL's header on:
//!   a frame that is not of this WAL, or that memory changed, is an error and not a record.

/// Bytes before the first frame.
const HEADER_BYTES: usize = 32;
/// Bytes of a frame before its page.
const FRAME_HEADER_BYTES: usize = 24;
/// The first word of a WAL; the last bit says whether checksums read words as big-endian.
const MAGIC: u32 = 0x377f_0682;

/// How far an object's WAL has been captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WalCapture {
    /// Frames captured since the WAL began; 0 means that its header is still to be read.
    frames: u32,
    salts: [u8; 8],
    checksum: [u32; 2],
    big_endian: bool,
}

/// Why frames could not be captured. The transaction is committed and not in the journal: fatal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    #[error("the WAL ends before the frames that are committed")]
    Short,
    #[error("the WAL's header is not what SQLite writes")]
    Header,
    #[error("frame {frame} of the WAL does not follow from the one before")]
    Frame { frame: u32 },
    #[error("the WAL has {found} frames where at least {expected} are committed")]
    Shrunk { found: u32, expected: u32 },
}

impl WalCapture {
    /// Reads the frames of `wal` up to the `frames`-th, all of them new and the last of them a commit.
    /// Returns the frames as they are in the WAL and the size of the database in pages.
    pub(crate) fn read_new<'wal>(
        &mut self,
        wal: &'wal [u8],
        frames: u32,
        page_bytes: u32,
    ) -> Result<(&'wal [u8], u32), CaptureError> {
        if frames <= self.frames {
            return Err(CaptureError::Shrunk { found: frames, expected: self.frames + 1 });
        }
        let mut next = *self;
        if next.frames == 0 {
            let (header, _) = wal.split_first_chunk().ok_or(CaptureError::Short)?;
            next.begin(header, page_bytes)?;
        }
        let end = offset_after(frames, page_bytes);
        let new = wal.get(offset_after(next.frames, page_bytes)..end).ok_or(CaptureError::Short)?;
        let mut database_pages = 0;
        for frame in new.chunks_exact(FRAME_HEADER_BYTES + page_bytes as usize) {
            database_pages = next.follow(frame)?;
        }
        if database_pages == 0 {
            // The last frame of a transaction says how large the database is. 0 is no commit.
            return Err(CaptureError::Frame { frame: next.frames });
        }
        *self = next;
        Ok((new, database_pages))
    }

    /// Notes that the WAL was moved into the database and cut to nothing. The next frames have new
    /// salts.
    pub(crate) fn restart(&mut self) {
        *self = WalCapture::default();
    }

    /// Whether the WAL holds pages that the database file does not.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Bytes of the WAL that hold captured transactions.
    pub(crate) fn bytes(&self, page_bytes: u32) -> u64 {
        if self.is_empty() { 0 } else { offset_after(self.frames, page_bytes) as u64 }
    }

    fn begin(&mut self, header: &[u8; HEADER_BYTES], page_bytes: u32) -> Result<(), CaptureError> {
        let magic = big_endian(header, 0);
        self.big_endian = magic & 1 == 1;
        let checksum = checksum(self.big_endian, [0, 0], &header[..24]);
        let is_valid = magic & !1 == MAGIC
            && big_endian(header, 8) == page_bytes
            && checksum == [big_endian(header, 24), big_endian(header, 28)];
        if !is_valid {
            return Err(CaptureError::Header);
        }
        self.salts.copy_from_slice(&header[16..24]);
        self.checksum = checksum;
        Ok(())
    }

    /// Checks one frame against the one before, and returns its "size of the database" field.
    fn follow(&mut self, frame: &[u8]) -> Result<u32, CaptureError> {
        let begun = checksum(self.big_endian, self.checksum, &frame[..8]);
        let found = checksum(self.big_endian, begun, &frame[FRAME_HEADER_BYTES..]);
        let said = [big_endian(frame, 16), big_endian(frame, 20)];
        if frame[8..16] != self.salts || found != said || big_endian(frame, 0) == 0 {
            return Err(CaptureError::Frame { frame: self.frames + 1 });
        }
        self.checksum = found;
        self.frames += 1;
        Ok(big_endian(frame, 4))
    }
}

/// Where in the WAL the frame after the first `frames` begins.
fn offset_after(frames: u32, page_bytes: u32) -> usize {
    HEADER_BYTES + frames as usize * (FRAME_HEADER_BYTES + page_bytes as usize)
}

fn big_endian(bytes: &[u8], offset: usize) -> u32 {
    let word = &bytes[offset..offset + 4];
    u32::from_be_bytes([word[0], word[1], word[2], word[3]])
}

/// SQLite's running checksum over pairs of words; `bytes` has a multiple of 8 of them.
fn checksum(big_endian: bool, [mut first, mut second]: [u32; 2], bytes: &[u8]) -> [u32; 2] {
    let read = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    for pair in bytes.chunks_exact(8) {
        let left = read([pair[0], pair[1], pair[2], pair[3]]);
        let right = read([pair[4], pair[5], pair[6], pair[7]]);
        first = first.wrapping_add(left).wrapping_add(second);
        second = second.wrapping_add(right).wrapping_add(first);
    }
    [first, second]
}

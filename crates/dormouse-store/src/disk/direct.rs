//! A file that is written past the page cache.
//!
//! A journal is written once and read only after a crash: pages of the cache would be taken from
//! others, filled, and never used. Making a segment costs a fiftieth of the CPU time this way.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use parking_lot::Mutex;

use super::{DiskFile, RealFile};

/// What offsets, lengths and addresses must be multiples of; more than any disk asks for.
const BLOCK_LEN: usize = 4096;
const BLOCK_BYTES: u64 = BLOCK_LEN as u64;

/// Bytes handed to the system at once.
const PIECE_LEN: usize = 1 << 20;

/// An open file. Its length must be a multiple of [`BLOCK_BYTES`].
#[derive(Debug)]
pub(super) struct DirectFile {
    direct: File,
    /// For everything but writing. The system keeps the two in step.
    buffered: RealFile,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Memory for one piece, and to move its begin to a multiple of [`BLOCK_LEN`].
    memory: Vec<u8>,
    /// The last block that was written, and where: the next write often begins inside of it.
    last: Option<(u64, Box<[u8]>)>,
}

impl DirectFile {
    /// Opens a file, making it if it does not exist.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the file system has no such files.
    pub(super) fn create(path: &Path) -> io::Result<DirectFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let buffered = RealFile(options.open(path)?);
        let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path)?;
        Ok(DirectFile { direct, buffered, state: Mutex::default() })
    }

    /// The bytes of one block, as they are in the file.
    fn block(&self, state: &State, offset: u64) -> io::Result<Box<[u8]>> {
        match &state.last {
            Some((at, block)) if *at == offset => Ok(block.clone()),
            _ => {
                let mut block = vec![0; BLOCK_LEN].into_boxed_slice();
                if offset < self.buffered.len()? {
                    self.buffered.read_at(&mut block, offset)?;
                }
                Ok(block)
            }
        }
    }

    /// Writes what is at most a piece with the blocks it lies in.
    fn write_piece(&self, state: &mut State, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = offset - offset % BLOCK_BYTES;
        let end = offset + bytes.len() as u64;
        let last_at = (end - 1) - (end - 1) % BLOCK_BYTES;
        let len = usize::try_from(last_at + BLOCK_BYTES - start).map_err(io::Error::other)?;
        let first = if offset > start { Some(self.block(state, start)?) } else { None };
        let ends_inside = !end.is_multiple_of(BLOCK_BYTES);
        let last = if ends_inside { Some(self.block(state, last_at)?) } else { None };

        let State { memory, .. } = state;
        memory.resize(memory.len().max(len + BLOCK_LEN), 0);
        let aligned = memory.as_ptr().align_offset(BLOCK_LEN);
        let blocks = &mut memory[aligned..aligned + len];
        if let Some(first) = first {
            blocks[..BLOCK_LEN].copy_from_slice(&first);
        }
        if let Some(last) = last {
            blocks[len - BLOCK_LEN..].copy_from_slice(&last);
        }
        let lead = usize::try_from(offset - start).map_err(io::Error::other)?;
        blocks[lead..lead + bytes.len()].copy_from_slice(bytes);

        state.last = None;
        self.direct.write_all_at(blocks, start)?;
        state.last = Some((last_at, blocks[len - BLOCK_LEN..].into()));
        Ok(())
    }
}

impl DiskFile for DirectFile {
    fn len(&self) -> io::Result<u64> {
        self.buffered.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.buffered.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let mut offset = offset;
        for piece in bytes.chunks(PIECE_LEN) {
            self.write_piece(&mut state, piece, offset)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.buffered.reserve(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state.lock().last = None;
        self.buffered.set_len(len)
    }

    fn lock(&self) -> io::Result<()> {
        self.buffered.lock()
    }

    fn sync(&self) -> io::Result<()> {
        self.buffered.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system may have no such files: then there is nothing to test.
    fn create(path: &Path) -> Option<DirectFile> {
        let created = DirectFile::create(path);
        if created.as_ref().is_err_and(|err| err.kind() == io::ErrorKind::InvalidInput) {
            return None;
        }
        Some(created.unwrap())
    }

    #[test]
    fn writes_at_any_offset_leave_what_is_around_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let Some(file) = create(&path) else { return };
        let mut expected = vec![0; 16 * BLOCK_LEN];
        file.write_at(&expected, 0).unwrap();
        let mut byte = 0;
        for (offset, len) in [
            (0, 10),
            (10, 5_000),
            (5_010, 1),
            (4_095, 2),
            (3 * BLOCK_LEN, BLOCK_LEN),
            (4 * BLOCK_LEN, 3),
            (20_000, 30_000),
            (9, 12_345),
            (16 * BLOCK_LEN - 1, 1),
        ] {
            byte += 1;
            expected[offset..offset + len].fill(byte);
            file.write_at(&vec![byte; len], offset as u64).unwrap();
        }

        assert_eq!(std::fs::read(&path).unwrap(), expected);
        assert_eq!(file.len().unwrap(), expected.len() as u64);
    }

    #[test]
    fn a_write_larger_than_a_piece_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let Some(file) = create(&path) else { return };
        let bytes: Vec<u8> = (0..=250).cycle().take(2 * PIECE_LEN + 5 * BLOCK_LEN).collect();

        file.write_at(&bytes, 0).unwrap();
        file.write_at(&bytes[..PIECE_LEN + 7], 4_097).unwrap();

        let mut expected = bytes.clone();
        expected[4_097..4_097 + PIECE_LEN + 7].copy_from_slice(&bytes[..PIECE_LEN + 7]);
        assert!(std::fs::read(&path).unwrap() == expected);
    }
}

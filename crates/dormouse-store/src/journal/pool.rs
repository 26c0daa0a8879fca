//! Where the writer gets its next segment from, and where full ones wait to be released.
//!
//! A new segment is written full of zeros and synced before it counts as ready: writing into blocks
//! that were only allocated makes every `fdatasync` half as long again, because the file system has
//! to note which of them hold data. Released segments are ready at once. In mode `os` nothing is
//! synced, so space that is merely allocated will do.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::{info, warn};

use super::room::Room;
use super::segment::{SealedSegment, SegmentFile, segment_path};
use crate::commit_log::Position;
use crate::disk::Disk;
use crate::options::Durability;

/// Zeros are written and synced in pieces of this size, so that a sync of the writer never waits for
/// a whole segment of them.
const ZERO_BYTES: usize = 1 << 20;

/// How long after a failure another segment is tried: the disk may have space again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The journal's segments, but for the one being written.
#[derive(Debug)]
pub(crate) struct Pool {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    segment_bytes: u64,
    durability: Durability,
    /// Segments that are kept ready, as long as `segments_max` allows.
    ready_wanted: usize,
    segments_max: usize,
    state: Mutex<PoolState>,
    changed: Condvar,
    room: Arc<Room>,
    // Copies of what `state` says, for readers on the commit path.
    ready_count: AtomicU64,
    in_use_count: AtomicU64,
    backfill_wanted: AtomicU64,
}

#[derive(Debug)]
struct PoolState {
    ready: VecDeque<SegmentFile>,
    /// Oldest first.
    sealed: VecDeque<SealedSegment>,
    /// All files, the one being written included.
    files: usize,
    next_number: u64,
    writer_waits: bool,
    space_is_short: bool,
    stopping: bool,
}

/// What the preparer did in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// It made a segment ready.
    One,
    /// There are enough.
    Nothing,
}

impl Pool {
    /// A pool that begins with `ready` segments and names new ones from `next_number` on.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        (segment_bytes, durability): (u64, Durability),
        (ready_wanted, segments_max): (usize, usize),
        (ready, next_number): (Vec<SegmentFile>, u64),
        room: Arc<Room>,
    ) -> Pool {
        let ready = VecDeque::from(ready);
        let state = PoolState {
            files: ready.len(),
            ready,
            sealed: VecDeque::new(),
            next_number,
            writer_waits: false,
            space_is_short: false,
            stopping: false,
        };
        let pool = Pool {
            disk,
            folder,
            segment_bytes,
            durability,
            ready_wanted,
            segments_max,
            state: Mutex::new(state),
            changed: Condvar::new(),
            room,
            ready_count: AtomicU64::new(0),
            in_use_count: AtomicU64::new(0),
            backfill_wanted: AtomicU64::new(0),
        };
        pool.note_counts(&pool.state.lock());
        pool
    }

    /// Takes a ready segment, waiting until there is one; `None` if the pool stops first.
    pub(crate) fn take(&self) -> Option<SegmentFile> {
        let mut state = self.state.lock();
        loop {
            if let Some(segment) = state.ready.pop_front() {
                state.writer_waits = false;
                self.room.begin_segment(state.ready.len() as u64);
                self.note_counts(&state);
                self.changed.notify_all();
                return Some(segment);
            }
            if state.stopping {
                return None;
            }
            state.writer_waits = true;
            self.changed.notify_all();
            self.changed.wait(&mut state);
        }
    }

    /// Keeps a full segment until [`release`](Self::release).
    pub(crate) fn seal(&self, sealed: SealedSegment) {
        let mut state = self.state.lock();
        state.sealed.push_back(sealed);
        self.note_counts(&state);
    }

    /// Makes the segments ready again that hold nothing after `upto`: all of it is in synced
    /// database files, and in the catalog.
    pub(crate) fn release(&self, upto: Position) {
        let mut state = self.state.lock();
        while state.sealed.front().is_some_and(|sealed| sealed.last <= upto) {
            let sealed = state.sealed.pop_front().expect("the loop saw that there is one");
            state.ready.push_back(sealed.segment);
        }
        self.note_counts(&state);
        self.changed.notify_all();
    }

    /// The last position of the newest full segment that holds nothing after `upto`.
    pub(crate) fn releasable(&self, upto: Position) -> Option<Position> {
        let state = self.state.lock();
        state.sealed.iter().map(|sealed| sealed.last).take_while(|last| *last <= upto).last()
    }

    /// The last position of the newest segment that ought to be released, if any: beyond half of
    /// what the journal may have, so that the other half can fill while objects backfill.
    pub(crate) fn backfill_wanted(&self) -> Position {
        Position::new(self.backfill_wanted.load(Ordering::Acquire))
    }

    /// Segments ready to be written.
    pub(crate) fn ready_count(&self) -> u64 {
        self.ready_count.load(Ordering::Acquire)
    }

    /// Full segments that are not released.
    pub(crate) fn in_use_count(&self) -> u64 {
        self.in_use_count.load(Ordering::Acquire)
    }

    /// Makes segments ready until the pool stops. The body of the preparer's thread.
    pub(crate) fn prepare_until_stopped(&self) {
        loop {
            match self.prepare() {
                Ok(_) => _ = self.note_space(true),
                Err(err) => {
                    if self.note_space(false) {
                        let folder = self.folder.display();
                        warn!(%folder, error = %err, "cannot prepare a journal segment; retrying");
                    }
                }
            }
            let mut state = self.state.lock();
            if state.stopping {
                return;
            }
            if state.space_is_short {
                self.changed.wait_for(&mut state, RETRY_AFTER);
            } else if !self.is_short_of_segments(&state) {
                self.changed.wait(&mut state);
            }
            if state.stopping {
                return;
            }
        }
    }

    /// Makes one segment ready if there are too few.
    ///
    /// # Errors
    ///
    /// The operating system's, after removing what was begun. Nothing else happened; try again later.
    pub(crate) fn prepare(&self) -> io::Result<Prepared> {
        let number = {
            let mut state = self.state.lock();
            if !self.is_short_of_segments(&state) {
                return Ok(Prepared::Nothing);
            }
            state.files += 1;
            state.next_number += 1;
            state.next_number - 1
        };
        let path = segment_path(&self.folder, number);
        let written = self.make_segment(&path);
        let mut state = self.state.lock();
        match written {
            Ok(segment) => {
                state.ready.push_back(segment);
                self.note_counts(&state);
                self.changed.notify_all();
                Ok(Prepared::One)
            }
            Err(err) => {
                state.files -= 1;
                // If this fails too, the next start finds a file without a header and uses it.
                let _removed = self.disk.remove(&path);
                Err(err)
            }
        }
    }

    /// Ends [`take`](Self::take) and [`prepare_until_stopped`](Self::prepare_until_stopped).
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_all();
    }

    fn make_segment(&self, path: &Path) -> io::Result<SegmentFile> {
        let segment = SegmentFile::create(&*self.disk, path, self.durability)?;
        let file = &segment.file;
        if self.durability == Durability::Os {
            file.reserve(self.segment_bytes)?;
            return Ok(segment);
        }
        let zeros = vec![0; ZERO_BYTES];
        let mut offset = 0;
        while offset < self.segment_bytes {
            let left = usize::try_from(self.segment_bytes - offset).unwrap_or(usize::MAX);
            let piece = &zeros[..left.min(ZERO_BYTES)];
            file.write_at(piece, offset)?;
            file.sync()?;
            offset += piece.len() as u64;
        }
        self.disk.sync_folder(&self.folder)?;
        Ok(segment)
    }

    /// A writer that waits gets a segment even past `segments_max`: its records are committed, so
    /// there is nothing else to do with them.
    fn is_short_of_segments(&self, state: &PoolState) -> bool {
        state.ready.len() < self.ready_wanted && state.files < self.segments_max
            || state.writer_waits && state.ready.is_empty()
    }

    /// Returns whether this is news.
    fn note_space(&self, is_enough: bool) -> bool {
        let mut state = self.state.lock();
        let was_short = std::mem::replace(&mut state.space_is_short, !is_enough);
        if was_short && is_enough {
            info!("the journal has space again");
        }
        was_short == is_enough
    }

    fn note_counts(&self, state: &PoolState) {
        let keep = self.segments_max / 2;
        let wanted = state.sealed.len().checked_sub(keep + 1).map(|index| state.sealed[index].last);
        self.room.set_ready(state.ready.len() as u64);
        self.ready_count.store(state.ready.len() as u64, Ordering::Release);
        self.in_use_count.store(state.sealed.len() as u64, Ordering::Release);
        self.backfill_wanted.store(wanted.unwrap_or_default().get(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn pool(folder: &Path) -> Pool {
        let room = Arc::new(Room::new(60_000, 10_000));
        let disk = Arc::new(RealDisk);
        let segments = (64 << 10, Durability::Fsync);
        Pool::new(disk, folder.to_path_buf(), segments, (1, 4), (Vec::new(), 7), room)
    }

    fn sealed(pool: &Pool, last: u64) -> SealedSegment {
        assert!(pool.ready_count() > 0 || pool.prepare().unwrap() == Prepared::One);
        SealedSegment { segment: pool.take().unwrap(), last: Position::new(last) }
    }

    #[test]
    fn a_segment_is_full_of_zeros_before_it_is_ready() {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path());

        assert_eq!(pool.prepare().unwrap(), Prepared::One);
        assert_eq!(pool.prepare().unwrap(), Prepared::Nothing, "one is enough");

        let segment = pool.take().unwrap();
        assert_eq!(segment.path, segment_path(dir.path(), 7));
        assert_eq!(std::fs::read(&segment.path).unwrap(), vec![0; 64 << 10]);
    }

    #[test]
    fn a_released_segment_is_used_again_under_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(dir.path());
        for last in [10, 20, 30] {
            pool.seal(sealed(&pool, last));
        }
        assert_eq!(pool.backfill_wanted(), Position::new(10), "two of four may wait");

        assert_eq!(pool.releasable(Position::new(9)), None);
        assert_eq!(pool.releasable(Position::new(29)), Some(Position::new(20)));
        pool.release(Position::new(20));

        assert_eq!((pool.ready_count(), pool.in_use_count()), (2, 1));
        assert_eq!(pool.backfill_wanted(), Position::ZERO);
        assert_eq!(pool.take().unwrap().path, segment_path(dir.path(), 7));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_stopped_pool_lets_a_waiting_writer_go() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Arc::new(pool(dir.path()));
        let waiting = Arc::clone(&pool);
        let writer = std::thread::spawn(move || waiting.take().is_none());

        pool.stop();

        assert!(writer.join().unwrap());
    }
}

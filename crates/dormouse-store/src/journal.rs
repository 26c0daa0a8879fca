//! The node's commit journal: one `fdatasync` for everyone who waits.
//!
//! Lanes queue their records; one writer thread writes what is queued into the current segment,
//! syncs it, and says how far it is durable. A preparer thread keeps segments ready.
//!
//! # Invariants
//!
//! * **Positions have no holes**, and a record is durable only together with all before it.
//! * **A failed write or sync is fatal.** What a failed sync leaves on disk is unknown, and SQLite
//!   has committed already: the process ends and recovers.
//! * **Room before BEGIN.** A transaction starts only if the largest one fits into space that is
//!   reserved already, so a full disk never meets a committed transaction.

mod pool;
pub(crate) mod record;
mod room;
pub(crate) mod scan;
pub(crate) mod segment;
mod writer;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex, RwLock};
use tracing::warn;

use self::pool::Pool;
use self::record::{Draft, OVERHEAD_BYTES_MAX};
use self::room::Room;
use self::segment::{HEADER_BLOCK_BYTES, SegmentFile};
use self::writer::{Batch, Writer};
use crate::clock::Clock;
use crate::commit_log::{CommitLog, DurableWatcher, Position, Record, Unavailable};
use crate::disk::Disk;
use crate::options::Durability;
use crate::stats::{Counters, StoreStats};

/// The commit journal, running.
#[derive(Debug)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// With [`Background::ByHand`], until a write fails.
    #[cfg(test)]
    writer: Mutex<Option<Writer>>,
}

/// Who does what a store does in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Background {
    /// Threads of its own.
    Threads,
    /// A test, step by step: nothing happens in between.
    #[cfg(test)]
    ByHand,
}

/// How to start a journal.
pub(crate) struct JournalOptions {
    pub disk: Arc<dyn Disk>,
    pub folder: PathBuf,
    pub folder_id: [u8; 16],
    pub durability: Durability,
    pub segment_bytes: u64,
    pub segments_max: usize,
    pub transaction_bytes_max: u64,
    pub writers_max: usize,
    pub clock: Arc<dyn Clock>,
    pub on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
    /// Segments that hold nothing that is still needed.
    pub spare: Vec<SegmentFile>,
    /// First number that no segment's file has.
    pub next_number: u64,
    pub end: JournalEnd,
    pub nonce_seed: u64,
    pub background: Background,
}

/// Where a journal ends, and a new segment begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JournalEnd {
    /// Position of the last record.
    pub position: Position,
    /// Chain value for the next record.
    pub chain: u64,
    /// Sequence of the last segment.
    pub sequence: u64,
}

/// What the journal's threads and its callers share.
struct Shared {
    durability: Durability,
    folder_id: [u8; 16],
    segment_bytes: u64,
    room: Arc<Room>,
    writers_max: u64,
    clock: Arc<dyn Clock>,
    on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
    pool: Pool,
    queue: Mutex<Queue>,
    queued: Condvar,
    durable: AtomicU64,
    appended: AtomicU64,
    stopped: AtomicBool,
    watchers: RwLock<Vec<DurableWatcher>>,
    sealed_watcher: RwLock<Option<Box<dyn Fn() + Send + Sync>>>,
    counters: Counters,
}

#[derive(Debug)]
struct Queue {
    batch: Batch,
    /// Position of the last record in `batch`, or before it.
    last: Position,
    /// How many records the writer waits for; `None` while it writes.
    writer_waits_for: Option<usize>,
    stopping: bool,
}

impl Journal {
    /// Starts the writer and the preparer. At least one segment is ready when this returns, unless the
    /// disk is full: then no transaction begins until it is not.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn start(options: JournalOptions) -> io::Result<Journal> {
        let record_bytes_max = options.transaction_bytes_max + OVERHEAD_BYTES_MAX;
        let segment_bytes = options.segment_bytes;
        let room = Arc::new(Room::new(segment_bytes - HEADER_BLOCK_BYTES, record_bytes_max));
        let writers_max = options.writers_max as u64;
        // One more than a standstill needs: preparing takes longer than filling may.
        let ready_wanted = writers_max.div_ceil(room.slots_per_segment().max(1)) + 1;
        let counts = (usize::try_from(ready_wanted).unwrap_or(1), options.segments_max);
        let spare = (options.spare, options.next_number);
        let segments = (segment_bytes, options.durability);
        let pool =
            Pool::new(options.disk, options.folder, segments, counts, spare, Arc::clone(&room));
        match pool.prepare() {
            Err(err) if err.kind() == io::ErrorKind::StorageFull => {
                warn!("the disk is full: objects can only be read until it is not");
            }
            result => _ = result?,
        }
        let shared = Arc::new(Shared {
            durability: options.durability,
            folder_id: options.folder_id,
            segment_bytes,
            room,
            writers_max,
            clock: options.clock,
            on_fatal: options.on_fatal,
            pool,
            queue: Mutex::new(Queue::new(options.end.position)),
            queued: Condvar::new(),
            durable: AtomicU64::new(options.end.position.get()),
            appended: AtomicU64::new(options.end.position.get()),
            stopped: AtomicBool::new(false),
            watchers: RwLock::new(Vec::new()),
            sealed_watcher: RwLock::new(None),
            counters: Counters::default(),
        });
        let writer = Writer::new(Arc::clone(&shared), options.end, options.nonce_seed);
        let mut journal = Journal {
            shared,
            threads: Mutex::default(),
            #[cfg(test)]
            writer: Mutex::default(),
        };
        match options.background {
            Background::Threads => {
                let preparer = Arc::clone(&journal.shared);
                *journal.threads.get_mut() = vec![
                    spawn("journal-writer", move || writer.run())?,
                    spawn("journal-preparer", move || preparer.pool.prepare_until_stopped())?,
                ];
            }
            #[cfg(test)]
            Background::ByHand => {
                // There is nobody whom a writer without a segment could wait for.
                journal.shared.pool.stop();
                *journal.writer.get_mut() = Some(writer);
            }
        }
        Ok(journal)
    }

    /// Does what the writer's thread does when something is queued. `false` if nothing was, or the
    /// journal has failed.
    #[cfg(test)]
    pub(crate) fn step_writer(&self) -> bool {
        let mut slot = self.writer.lock();
        match slot.as_mut().map(Writer::step) {
            Some(Ok(has_written)) => has_written,
            Some(Err(err)) => {
                *slot = None;
                self.shared.fail(&err);
                false
            }
            None => false,
        }
    }

    /// The newest position that was queued.
    #[cfg(test)]
    pub(crate) fn appended(&self) -> Position {
        Position::new(self.shared.appended.load(Ordering::Acquire))
    }

    /// Makes a segment ready, if there are too few.
    #[cfg(test)]
    pub(crate) fn prepare(&self) -> io::Result<()> {
        self.shared.pool.prepare().map(drop)
    }

    /// Makes the segments free that hold nothing after `upto`.
    pub(crate) fn release(&self, upto: Position) {
        self.shared.pool.release(upto);
    }

    /// The last position of the newest full segment that holds nothing after `upto`.
    pub(crate) fn releasable(&self, upto: Position) -> Option<Position> {
        self.shared.pool.releasable(upto)
    }

    /// See [`Store::backfill_wanted`](crate::Store::backfill_wanted).
    pub(crate) fn backfill_wanted(&self) -> Position {
        self.shared.pool.backfill_wanted()
    }

    /// Sets who is told, on the writer's thread, that a segment is full.
    pub(crate) fn watch_sealed(&self, watcher: Box<dyn Fn() + Send + Sync>) {
        *self.shared.sealed_watcher.write() = Some(watcher);
    }

    /// Fills in what the journal knows.
    pub(crate) fn add_stats(&self, stats: &mut StoreStats) {
        let shared = &self.shared;
        stats.appended = Position::new(shared.appended.load(Ordering::Acquire));
        stats.durable = self.durable();
        stats.segments_in_use = shared.pool.in_use_count();
        stats.segments_ready = shared.pool.ready_count();
        shared.counters.add_to(stats);
    }

    /// Takes no more transactions, writes what is queued and ends the threads.
    ///
    /// Afterwards everything appended is durable, unless the journal has failed.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.queue.lock().stopping = true;
        self.shared.queued.notify_all();
        let mut threads = self.threads.lock().drain(..).collect::<Vec<_>>().into_iter();
        // The writer first: it may still need a segment from the preparer.
        if let Some(writer) = threads.next() {
            join(writer);
        }
        self.shared.pool.stop();
        threads.for_each(join);
        #[cfg(test)]
        while self.step_writer() {}
    }
}

impl CommitLog for Journal {
    fn admit(&self) -> Result<(), Unavailable> {
        let shared = &self.shared;
        if shared.stopped.load(Ordering::Acquire) {
            return Err(Unavailable::Stopped);
        }
        if shared.room.slots() < shared.writers_max {
            return Err(Unavailable::NoRoom);
        }
        Ok(())
    }

    fn append(&self, record: Record<'_>) -> Position {
        let shared = &self.shared;
        let draft = Draft::new(record);
        shared.room.queue(draft.record_bytes() as u64);
        let mut queue = shared.queue.lock();
        queue.last = queue.last.next();
        let position = queue.last;
        draft.append_to(position, &mut queue.batch.bytes);
        let end = queue.batch.bytes.len();
        queue.batch.ends.push(end);
        shared.appended.store(position.get(), Ordering::Release);
        let is_awaited =
            queue.writer_waits_for.is_some_and(|wanted| queue.batch.ends.len() >= wanted);
        if is_awaited {
            queue.writer_waits_for = None;
        }
        drop(queue);
        if is_awaited {
            shared.queued.notify_one();
        }
        position
    }

    fn durable(&self) -> Position {
        Position::new(self.shared.durable.load(Ordering::Acquire))
    }

    fn watch(&self, watcher: DurableWatcher) {
        self.shared.watchers.write().push(watcher);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn publish(&self, durable: Position) {
        self.durable.store(durable.get(), Ordering::Release);
        for watcher in self.watchers.read().iter() {
            watcher(durable);
        }
    }

    fn tell_sealed(&self) {
        if let Some(watcher) = self.sealed_watcher.read().as_ref() {
            watcher();
        }
    }

    /// Ends the journal's service: nothing becomes durable any more.
    fn fail(&self, err: &io::Error) {
        self.stopped.store(true, Ordering::Release);
        (self.on_fatal)(&format!("cannot write the commit journal: {err}"));
    }
}

impl Queue {
    fn new(last: Position) -> Queue {
        Queue { batch: Batch::default(), last, writer_waits_for: None, stopping: false }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("durability", &self.durability)
            .field("appended", &self.appended)
            .field("durable", &self.durable)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// Waits for a thread. One that panicked has said so; there is nothing to add.
pub(crate) fn join(thread: JoinHandle<()>) {
    // The last clone of the store may be dropped by a watcher, on the journal's own thread.
    if thread.thread().id() != thread::current().id() {
        let _panicked = thread.join();
    }
}

//! What a page size and compression of page images cost in the journal.
//!
//! ```text
//! cargo run --release -p dormouse-store --example page_size [folder]
//! ```
//!
//! The store's page size is fixed, so this drives SQLite itself the way the store does: one file per
//! object, COMMIT into its WAL, the new frames read back, appended to one journal, one `fdatasync`
//! per batch. Numbers compare with each other, not with those of the store.
#![expect(clippy::print_stdout, reason = "a program whose output is its result")]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dormouse_store::{Clock as _, SystemClock};
use rusqlite::Connection;

type Outcome<T> = Result<T, Box<dyn Error>>;

const FRAME_HEADER_BYTES: usize = 24;
const WAL_HEADER_BYTES: u64 = 32;

/// Bytes of the journal's file, written over from its start when they are full.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Past this the WAL goes into the database; not measured.
const WAL_BYTES_MAX: u64 = 4 << 20;

const TIME: Duration = Duration::from_secs(2);

/// What one transaction does.
#[derive(Clone, Copy)]
struct Workload {
    name: &'static str,
    objects: usize,
    /// Commits that share a sync when throughput is measured.
    batch: u32,
    value_bytes: usize,
}

const WORKLOADS: [Workload; 2] = [
    Workload { name: "counter", objects: 1_000, batch: 256, value_bytes: 0 },
    Workload { name: "100 KB value", objects: 20, batch: 16, value_bytes: 100_000 },
];

struct Object {
    conn: Connection,
    wal: File,
    wal_bytes: u64,
    count: i64,
}

struct Journal {
    file: File,
    offset: u64,
    batch: Vec<u8>,
}

fn main() -> Outcome<()> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!("workload      page  lz4  bytes/commit  commits/s  µs one at a time");
    for workload in WORKLOADS {
        for page_bytes in [512, 1024, 2048, 4096] {
            for compress in [false, true] {
                let folder = tempfile::tempdir_in(&parent)?;
                measure(folder.path(), workload, page_bytes, compress)?;
            }
        }
    }
    Ok(())
}

fn measure(folder: &Path, workload: Workload, page_bytes: usize, compress: bool) -> Outcome<()> {
    let clock = SystemClock::new();
    let open = |index| Object::open(&folder.join(format!("{index}.db")), page_bytes, workload);
    let mut objects = (0..workload.objects).map(open).collect::<Outcome<Vec<_>>>()?;
    let mut journal = Journal::create(&folder.join("journal"))?;
    let (mut commits, mut bytes, mut times) = (0_u32, 0_u64, Vec::new());
    let mut busy = Duration::ZERO;
    let began = clock.monotonic();
    while clock.monotonic() - began < TIME {
        let start = clock.monotonic();
        for _ in 0..workload.batch {
            let object = &mut objects[commits as usize % workload.objects];
            object.commit(workload)?;
            object.capture(page_bytes, compress, &mut journal.batch)?;
            commits += 1;
        }
        bytes += journal.sync()?;
        busy += clock.monotonic() - start;
        objects.iter_mut().try_for_each(Object::backfill)?;
    }
    for index in 0..1_500 {
        let object = &mut objects[index % workload.objects];
        let start = clock.monotonic();
        object.commit(workload)?;
        object.capture(page_bytes, compress, &mut journal.batch)?;
        journal.sync()?;
        times.push(clock.monotonic() - start);
        object.backfill()?;
    }
    times.sort();
    println!(
        "{:<12}  {page_bytes:>4}  {:<3}  {:>12}  {:>9.0}  {:>16.0}",
        workload.name,
        if compress { "yes" } else { "no" },
        bytes / u64::from(commits),
        f64::from(commits) / busy.as_secs_f64(),
        times[times.len() / 2].as_secs_f64() * 1e6,
    );
    Ok(())
}

impl Object {
    #[expect(clippy::disallowed_methods, reason = "the store's own files have one page size")]
    fn open(path: &Path, page_bytes: usize, workload: Workload) -> Outcome<Object> {
        let conn = Connection::open(path)?;
        conn.execute_batch(&format!(
            "PRAGMA page_size = {page_bytes}; PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_spill = OFF;
             PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -32;
             CREATE TABLE counter (one INTEGER PRIMARY KEY, value INTEGER NOT NULL, body TEXT);
             INSERT INTO counter VALUES (1, 0, NULL);
             CREATE TABLE event (n INTEGER PRIMARY KEY, body TEXT NOT NULL);"
        ))?;
        let wal = File::open(path.with_extension("db-wal"))?;
        let mut object = Object { conn, wal, wal_bytes: 0, count: 0 };
        object.commit(workload)?;
        object.wal_bytes = WAL_BYTES_MAX;
        object.backfill()?;
        Ok(object)
    }

    fn commit(&mut self, workload: Workload) -> Outcome<()> {
        self.count += 1;
        self.conn.execute_batch("BEGIN")?;
        let body = (workload.value_bytes > 0).then(|| document(workload.value_bytes, self.count));
        self.conn
            .prepare_cached("UPDATE counter SET value = ?1, body = ?2")?
            .execute((self.count, body))?;
        self.conn
            .prepare_cached("INSERT INTO event (n, body) VALUES (?1, ?2)")?
            .execute((self.count, "{\"type\":\"increment\",\"value\":1,\"previousValue\":0}"))?;
        self.conn
            .prepare_cached("DELETE FROM event WHERE n <= ?1")?
            .execute([self.count - 1_000])?;
        self.conn.execute_batch("COMMIT")?;
        Ok(())
    }

    /// Appends the frames of the last commit to `batch`.
    fn capture(&mut self, page_bytes: usize, compress: bool, batch: &mut Vec<u8>) -> Outcome<()> {
        let end = self.wal.metadata()?.len();
        let from = self.wal_bytes.max(WAL_HEADER_BYTES);
        let mut frames = vec![0; usize::try_from(end - from)?];
        self.wal.read_exact_at(&mut frames, from)?;
        self.wal_bytes = end;
        if compress {
            // The frames of a transaction at once: what they share is written once.
            let mut pages = Vec::with_capacity(frames.len());
            for frame in frames.chunks_exact(FRAME_HEADER_BYTES + page_bytes) {
                pages.extend_from_slice(&frame[..4]);
                pages.extend_from_slice(&frame[FRAME_HEADER_BYTES..]);
            }
            batch.extend_from_slice(&lz4_flex::compress_prepend_size(&pages));
        } else {
            batch.extend_from_slice(&frames);
        }
        Ok(())
    }

    fn backfill(&mut self) -> Outcome<()> {
        if self.wal_bytes >= WAL_BYTES_MAX {
            self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            self.wal_bytes = 0;
        }
        Ok(())
    }
}

impl Journal {
    fn create(path: &Path) -> Outcome<Journal> {
        let file = File::create(path)?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..JOURNAL_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset)?;
        }
        file.sync_all()?;
        Ok(Journal { file, offset: 0, batch: Vec::new() })
    }

    /// Writes and syncs the batch. Returns its bytes.
    fn sync(&mut self) -> Outcome<u64> {
        let bytes = self.batch.len() as u64;
        self.batch.resize(self.batch.len().next_multiple_of(4096), 0);
        if self.offset + self.batch.len() as u64 > JOURNAL_BYTES {
            self.offset = 0;
        }
        self.file.write_all_at(&self.batch, self.offset)?;
        self.file.sync_data()?;
        self.offset += self.batch.len() as u64;
        self.batch.clear();
        Ok(bytes)
    }
}

/// A JSON document of about `bytes`, of which each time some words are others.
fn document(bytes: usize, seed: i64) -> String {
    let mut state = seed.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes + 64);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{{\"id\":\"{state:016x}\",\"done\":false,\"title\":\"a note\"}},"));
    }
    text
}

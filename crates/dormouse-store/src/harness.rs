//! What this crate's tests stand on: a small kind of object, and a folder to keep it in.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::catalog::CatalogEntry;
use crate::clock::TestClock;
use crate::commit_log::{CommitLog, Position};
use crate::disk::{Disk, RealDisk};
use crate::error::{OpenError, StoreError};
use crate::key::Key;
use crate::object_file::{Access, Commit, ObjectFile};
use crate::options::{Durability, StoreOptions};
use crate::store::Store;
use crate::template::{MigrationSet, Template};

pub(crate) const TALLY: MigrationSet = MigrationSet {
    name: "tally",
    steps: &["CREATE TABLE entry (n INTEGER PRIMARY KEY, text TEXT NOT NULL)"],
};

/// The template of an object that keeps numbered entries.
pub(crate) fn tally() -> Arc<Template> {
    Arc::new(Template::build("tally", vec![TALLY], &[]).expect("the SQL is valid"))
}

pub(crate) fn key(id: &str) -> Key {
    Key::new("tally", id).expect("the id is allowed")
}

/// Options with small limits. What is fatal is noted in the returned list instead of aborting.
pub(crate) fn options(folder: &Path) -> (StoreOptions, Arc<Mutex<Vec<String>>>) {
    let fatal = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&fatal);
    let options = StoreOptions {
        durability: Durability::Fsync,
        segment_bytes: 128 << 10,
        journal_bytes_max: 1 << 20,
        transaction_bytes_max: 48 << 10,
        writers_max: 1,
        clock: Arc::new(TestClock::new()),
        on_fatal: Box::new(move |reason| noted.lock().push(reason.to_owned())),
        ..StoreOptions::new(folder)
    };
    (options, fatal)
}

/// A folder in memory where there is such a thing: a faulty disk decides itself what is durable, so
/// waiting for a real one proves nothing.
pub(crate) fn fast_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder can be made")
}

pub(crate) fn open(folder: &Path) -> Store {
    open_on(Arc::new(RealDisk), folder).expect("the folder opens")
}

pub(crate) fn open_on(disk: Arc<dyn Disk>, folder: &Path) -> Result<Store, OpenError> {
    Store::open_on(disk, options(folder).0, None)
}

/// A catalog row as a kind would give it.
pub(crate) fn entry(object: &ObjectFile) -> CatalogEntry {
    let now = crate::clock::Timestamp::from_ms(1_000);
    CatalogEntry {
        created_at: object.created_at().unwrap_or(now),
        last_active_at: now,
        size_bytes: 0,
        next_due: None,
        summary: None,
    }
}

/// One transaction that adds entry `n`.
pub(crate) fn add(object: &mut ObjectFile, n: u32) -> Result<Commit, StoreError> {
    add_text(object, n, &format!("entry {n}"))
}

/// One transaction that adds entry `n` with a text.
pub(crate) fn add_text(object: &mut ObjectFile, n: u32, text: &str) -> Result<Commit, StoreError> {
    object.begin(Access::Write)?;
    let added = object
        .connection()
        .prepare_cached("INSERT INTO entry (n, text) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.execute((n, text)));
    if let Err(err) = added {
        object.rollback()?;
        return Err(err.into());
    }
    let entry = entry(object);
    object.commit(entry)
}

/// The numbers of all entries.
pub(crate) fn entries(object: &mut ObjectFile) -> Vec<u32> {
    object.begin(Access::Read).expect("reading is always possible");
    let conn = object.connection();
    let mut statement = conn.prepare("SELECT n FROM entry ORDER BY n").expect("the table is there");
    let numbers = statement.query_map([], |row| row.get(0)).expect("the query runs");
    let numbers = numbers.collect::<rusqlite::Result<_>>().expect("entries are numbers");
    drop(statement);
    object.rollback().expect("a read transaction ends");
    numbers
}

/// What SQLite finds wrong with an object's database.
pub(crate) fn integrity(object: &ObjectFile) -> String {
    object.integrity().unwrap_or_else(|err| err.to_string())
}

/// Waits until a position is durable, without sleeping.
pub(crate) fn wait_durable(log: &Arc<dyn CommitLog>, position: Position) {
    let (sender, receiver) = channel();
    log.watch(Box::new(move |durable| {
        // The receiver is gone once it has seen enough.
        _ = sender.send(durable);
    }));
    while log.durable() < position {
        receiver.recv().expect("the log keeps its watchers");
    }
}

/// Waits for the object's last transaction.
pub(crate) fn settle(store: &Store, object: &ObjectFile) {
    wait_durable(store.commit_log(), object.newest_position());
}

//! The list of all objects.
//!
//! `catalog.db` follows the commit log: one thread applies what is durable, in order, and stores how
//! far it has come in the same transaction. It has a WAL and readers like any other database, but
//! its syncs are the store's own, through [`Disk`](crate::disk::Disk).

mod follower;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};

pub(crate) use self::follower::CatalogFollower;
use crate::clock::Timestamp;
use crate::commit_log::{Position, Unavailable};
use crate::error::StoreError;
use crate::key::Key;
use crate::ledger::Ledger;

/// Most bytes a summary may have.
pub const SUMMARY_BYTES_MAX: usize = 1024;

/// How long a question waits for the catalog to catch up.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);

/// Connections kept for readers. More are opened when more ask at once, and closed after.
const READERS_KEPT: usize = 4;

const LIST: &str = "
    SELECT id, created_ms, active_ms, size_bytes, due_ms, summary FROM object
    WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3";

const LIST_WITH_SUMMARY: &str = "
    SELECT id, created_ms, active_ms, size_bytes, due_ms, summary
    FROM object INDEXED BY object_with_summary
    WHERE kind = ?1 AND id > ?2 AND summary IS NOT NULL ORDER BY id LIMIT ?3";

const GET: &str = "
    SELECT id, created_ms, active_ms, size_bytes, due_ms, summary FROM object
    WHERE kind = ?1 AND id = ?2";

const COUNT: &str = "SELECT count(*) FROM object WHERE kind = ?1";

const DUE: &str = "
    SELECT kind, id, due_ms FROM object
    WHERE due_ms IS NOT NULL AND due_ms <= ?1 ORDER BY due_ms LIMIT ?2";

const GET_RESETS: &str = "SELECT resets FROM deleted WHERE kind = ?1 AND id = ?2";

/// What the catalog says about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// When the object's first transaction was committed.
    pub created_at: Timestamp,
    /// When its last one was.
    pub last_active_at: Timestamp,
    /// Size of its database in bytes. The store fills this in on commit.
    pub size_bytes: u64,
    /// When it next wants to be woken.
    pub next_due: Option<Timestamp>,
    /// What its kind wants to show in lists, at most [`SUMMARY_BYTES_MAX`] bytes.
    pub summary: Option<String>,
}

/// One object in an answer of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogRow {
    /// The object's id within its kind.
    pub id: String,
    /// What is known about it.
    pub entry: CatalogEntry,
}

/// An object that wants to be woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueObject {
    /// The object.
    pub key: Key,
    /// Since when it is due.
    pub due: Timestamp,
}

/// Answers questions about all objects without opening any.
///
/// Every answer includes all transactions that were durable when the question was asked. Calls
/// block: they belong on a thread that may.
pub struct Catalog {
    path: PathBuf,
    ledger: Arc<Ledger>,
    progress: Arc<Progress>,
    readers: Mutex<Vec<Connection>>,
    /// Set if the catalog has no thread: then whoever asks does its work.
    #[cfg(test)]
    by_hand: Option<Arc<CatalogFollower>>,
}

/// How far the catalog has come.
#[derive(Debug)]
pub(crate) struct Progress {
    applied: Mutex<Position>,
    rose: Condvar,
}

impl Catalog {
    pub(crate) fn new(path: PathBuf, ledger: Arc<Ledger>, progress: Arc<Progress>) -> Catalog {
        Catalog {
            path,
            ledger,
            progress,
            readers: Mutex::new(Vec::new()),
            #[cfg(test)]
            by_hand: None,
        }
    }

    /// Has whoever asks do the work of the catalog's thread.
    #[cfg(test)]
    pub(crate) fn without_thread(self, follower: Arc<CatalogFollower>) -> Catalog {
        Catalog { by_hand: Some(follower), ..self }
    }

    /// Objects of one kind, by id in ascending order of bytes.
    ///
    /// Starts after the id `after`, stops after `limit` rows. With `with_summary_only`, objects that
    /// have no summary are left out.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] if the catalog does not catch up within 5 s; try again later.
    /// [`StoreError::Sqlite`] if `catalog.db` cannot be read.
    pub fn list(
        &self,
        kind: &str,
        after: Option<&str>,
        limit: usize,
        with_summary_only: bool,
    ) -> Result<Vec<CatalogRow>, StoreError> {
        let sql = if with_summary_only { LIST_WITH_SUMMARY } else { LIST };
        // No id is empty, so every id comes after the empty one.
        let parameters = (kind, after.unwrap_or_default(), limit_of(limit));
        self.catch_up()?;
        self.read(|conn| conn.prepare_cached(sql)?.query_map(parameters, read_row)?.collect())
    }

    /// What is known about one object; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub fn get(&self, key: &Key) -> Result<Option<CatalogEntry>, StoreError> {
        self.catch_up()?;
        self.get_as_of_now(key)
    }

    /// How many objects of one kind exist. Takes time in proportion to the answer.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub fn count(&self, kind: &str) -> Result<u64, StoreError> {
        self.catch_up()?;
        let count: i64 =
            self.read(|conn| conn.prepare_cached(COUNT)?.query_row([kind], |row| row.get(0)))?;
        Ok(count.cast_unsigned())
    }

    /// At most `limit` objects that are due at `before` or earlier, the longest due first.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub fn due(&self, before: Timestamp, limit: usize) -> Result<Vec<DueObject>, StoreError> {
        self.catch_up()?;
        let rows: Vec<(String, String, i64)> = self.read(|conn| {
            let mut statement = conn.prepare_cached(DUE)?;
            let parameters = (before.as_ms(), limit_of(limit));
            statement.query_map(parameters, |row| row.try_into())?.collect()
        })?;
        let objects = rows.into_iter().filter_map(|(kind, id, due_ms)| {
            // What is no key was never written by this program.
            let key = Key::new(kind, id).ok()?;
            Some(DueObject { key, due: Timestamp::from_ms(due_ms) })
        });
        Ok(objects.collect())
    }

    /// As [`get`](Self::get), without waiting for the catalog to catch up.
    pub(crate) fn get_as_of_now(&self, key: &Key) -> Result<Option<CatalogEntry>, StoreError> {
        let parameters = (key.kind(), key.id());
        let row =
            self.read(|conn| conn.prepare_cached(GET)?.query_row(parameters, read_row).optional())?;
        Ok(row.map(|row| row.entry))
    }

    /// How often an object was deleted, as far as the catalog has come.
    pub(crate) fn resets(&self, key: &Key) -> Result<u64, StoreError> {
        let parameters = (key.kind(), key.id());
        let resets: Option<i64> = self.read(|conn| {
            conn.prepare_cached(GET_RESETS)?.query_row(parameters, |row| row.get(0)).optional()
        })?;
        Ok(resets.unwrap_or(0).cast_unsigned())
    }

    /// Waits until everything is in the catalog that is durable now.
    pub(crate) fn catch_up(&self) -> Result<(), StoreError> {
        let durable = self.ledger.durable();
        if self.progress.applied() >= durable {
            return Ok(());
        }
        #[cfg(test)]
        if let Some(follower) = &self.by_hand {
            return Ok(follower.apply_durable(&self.ledger)?);
        }
        self.ledger.hurry();
        if self.progress.wait_for(durable, CATCH_UP_MAX) {
            Ok(())
        } else {
            Err(StoreError::Unavailable(Unavailable::Behind))
        }
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let kept = self.readers.lock().pop();
        let conn = match kept {
            Some(conn) => conn,
            None => open_reader(&self.path)?,
        };
        let result = query(&conn)?;
        let mut readers = self.readers.lock();
        if readers.len() < READERS_KEPT {
            readers.push(conn);
        }
        Ok(result)
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("applied", &self.progress.applied()).finish_non_exhaustive()
    }
}

impl Progress {
    fn new(applied: Position) -> Progress {
        Progress { applied: Mutex::new(applied), rose: Condvar::new() }
    }

    pub(crate) fn applied(&self) -> Position {
        *self.applied.lock()
    }

    fn rise_to(&self, applied: Position) {
        *self.applied.lock() = applied;
        self.rose.notify_all();
    }

    fn wait_for(&self, position: Position, max: Duration) -> bool {
        let mut applied = self.applied.lock();
        let is_behind = |applied: &mut Position| *applied < position;
        !self.rose.wait_while_for(&mut applied, is_behind, max).timed_out()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that opens the catalog to read")]
fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(conn)
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<CatalogRow> {
    let due_ms: Option<i64> = row.get(4)?;
    let size_bytes: i64 = row.get(3)?;
    Ok(CatalogRow {
        id: row.get(0)?,
        entry: CatalogEntry {
            created_at: Timestamp::from_ms(row.get(1)?),
            last_active_at: Timestamp::from_ms(row.get(2)?),
            size_bytes: size_bytes.cast_unsigned(),
            next_due: due_ms.map(Timestamp::from_ms),
            summary: row.get(5)?,
        },
    })
}

fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::follower::CREATE_TABLES;

    fn plan_of(sql: &str) -> Vec<String> {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(CREATE_TABLES).unwrap();
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = rusqlite::params_from_iter(vec![1; statement.parameter_count()]);
        let rows = statement.query_map(parameters, |row| row.get(3)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    /// Lists are asked for by clients. A scan or a sort would make one cost as much as all objects.
    #[test]
    fn lists_walk_an_index() {
        assert_eq!(plan_of(LIST), ["SEARCH object USING PRIMARY KEY (kind=? AND id>?)"]);
        let plan = plan_of(LIST_WITH_SUMMARY).join(";");
        assert_eq!(plan, "SEARCH object USING INDEX object_with_summary (kind=? AND id>?)");
    }

    #[test]
    fn one_object_is_found_by_its_key() {
        assert_eq!(plan_of(GET), ["SEARCH object USING PRIMARY KEY (kind=? AND id=?)"]);
        assert_eq!(plan_of(GET_RESETS), ["SEARCH deleted USING PRIMARY KEY (kind=? AND id=?)"]);
    }

    #[test]
    fn due_objects_are_found_without_looking_at_others() {
        let plan = plan_of(DUE);
        assert_eq!(plan, ["SEARCH object USING COVERING INDEX object_due (due_ms>? AND due_ms<?)"]);
    }
}

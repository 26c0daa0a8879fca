//! The one writer of `catalog.db`.
//!
//! # Invariants
//!
//! * Only durable transactions are applied, in order, and `applied` rises in the same transaction.
//! * SQLite never syncs the catalog, so what a loss of power leaves is decided here: the WAL is
//!   synced before its pages go to the database, the database before the WAL is cut.
//! * Nothing is written to a WAL whose pages are all in the database before it is cut: SQLite would
//!   overwrite it from its start, and a loss of power could bring older pages back.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags};
use tracing::warn;

use super::Progress;
use crate::clock::Timestamp;
use crate::commit_log::Position;
use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::folder::{beside, io_error};
use crate::key::Key;
use crate::ledger::{CatalogChange, Ledger};

/// Most transactions applied at once. Readers wait for one such batch at most.
const BATCH_CHANGES_MAX: usize = 16_384;

/// Past this size the WAL is moved into the database.
const WAL_BYTES_MAX: u64 = 4 << 20;

/// How long cutting the WAL waits for readers of its last state.
const READERS_WAIT_MAX: Duration = Duration::from_secs(5);

pub(super) const CREATE_TABLES: &str = "
    CREATE TABLE object (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        generation INTEGER NOT NULL,
        position INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        active_ms INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        due_ms INTEGER,
        summary TEXT,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE INDEX object_due ON object (due_ms) WHERE due_ms IS NOT NULL;
    CREATE INDEX object_with_summary ON object (kind, id) WHERE summary IS NOT NULL;
    CREATE TABLE deleted (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        resets INTEGER NOT NULL,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
    CREATE TABLE progress (
        singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
        applied INTEGER NOT NULL,
        checkpointed INTEGER NOT NULL
    );
    INSERT INTO progress (singleton, applied, checkpointed) VALUES (1, 0, 0);";

const UPSERT_OBJECT: &str = "
    INSERT INTO object (kind, id, generation, position, created_ms, active_ms, size_bytes, due_ms, summary)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (kind, id) DO UPDATE SET
        generation = ?3, position = ?4, created_ms = ?5, active_ms = ?6, size_bytes = ?7,
        due_ms = ?8, summary = ?9";

const DELETE_OBJECT: &str = "DELETE FROM object WHERE kind = ?1 AND id = ?2";

const SELECT_AFTER: &str = "SELECT kind, id FROM object WHERE position > ?1";

const UPSERT_DELETED: &str = "
    INSERT INTO deleted (kind, id, resets) VALUES (?1, ?2, ?3)
    ON CONFLICT (kind, id) DO UPDATE SET resets = ?3";

const SET_APPLIED: &str = "UPDATE progress SET applied = ?1";
const SET_CHECKPOINTED: &str = "UPDATE progress SET checkpointed = ?1";
const SELECT_PROGRESS: &str = "SELECT applied, checkpointed FROM progress";

/// Applies the commit log to `catalog.db`.
#[derive(Debug)]
pub(crate) struct CatalogFollower {
    // SQLite's locks on a file go when the process closes any descriptor of it, so these two are
    // held for as long as the connection.
    conn: Mutex<Connection>,
    database: Box<dyn DiskFile>,
    wal: Box<dyn DiskFile>,
    progress: Arc<Progress>,
    must_cut_wal: AtomicBool,
}

impl CatalogFollower {
    /// Makes an empty catalog, whole or not at all.
    #[expect(clippy::disallowed_methods, reason = "the one place that makes a catalog")]
    pub(crate) fn create(disk: &dyn Disk, path: &Path) -> Result<(), OpenError> {
        let draft = path.with_extension("new");
        let failed = |source| OpenError::Catalog { path: draft.clone(), source };
        for old in [draft.clone(), beside(&draft, "-journal")] {
            disk.remove(&old).map_err(|err| io_error("remove", &old, err))?;
        }
        let conn = Connection::open(&draft).map_err(failed)?;
        // A draft that is cut short is made again, and a whole one is synced below.
        let pragmas = "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;";
        conn.execute_batch(pragmas).map_err(failed)?;
        conn.execute_batch(CREATE_TABLES).map_err(failed)?;
        conn.close().map_err(|(_, source)| failed(source))?;
        let sync = || disk.open(&draft)?.sync();
        sync().map_err(|err| io_error("sync", &draft, err))?;
        disk.rename(&draft, path).map_err(|err| io_error("rename", &draft, err))
    }

    /// Opens the catalog, with the WAL that the last process may have left.
    #[expect(clippy::disallowed_methods, reason = "the one place that opens the catalog to write")]
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<CatalogFollower, OpenError> {
        let failed = |source| OpenError::Catalog { path: path.to_path_buf(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
        prepare(&conn).map_err(failed)?;
        let (applied, _) = read_progress(&conn).map_err(failed)?;
        let wal_path = beside(path, "-wal");
        let open = |path: &Path| disk.open(path).map_err(|err| io_error("open", path, err));
        Ok(CatalogFollower {
            conn: Mutex::new(conn),
            database: open(path)?,
            wal: open(&wal_path)?,
            progress: Arc::new(Progress::new(applied)),
            must_cut_wal: AtomicBool::new(false),
        })
    }

    /// How far the catalog has come, kept up to date.
    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// The newest position whose segment is not needed any more.
    pub(crate) fn checkpointed(&self) -> rusqlite::Result<Position> {
        read_progress(&self.conn.lock()).map(|(_, checkpointed)| checkpointed)
    }

    /// Follows the log until the store stops. The body of the catalog's thread.
    pub(crate) fn follow(&self, ledger: &Ledger) {
        let mut was_failing = false;
        while ledger.wait_for_changes() {
            match self.apply_durable(ledger) {
                Ok(()) => was_failing = false,
                // The changes wait in the ledger, and no new transaction starts when there are too
                // many: a full disk ends by itself.
                Err(err) if !was_failing => {
                    was_failing = true;
                    warn!(error = %err, "cannot write the catalog; retrying");
                }
                Err(_) => {}
            }
        }
    }

    /// Applies all that is durable.
    pub(crate) fn apply_durable(&self, ledger: &Ledger) -> rusqlite::Result<()> {
        let durable = ledger.durable();
        loop {
            let changes = ledger.take_changes(durable, BATCH_CHANGES_MAX);
            let Some(last) = changes.last().map(|change| change.position) else {
                return Ok(());
            };
            if let Err(err) = self.apply(&changes) {
                ledger.return_changes(changes);
                return Err(err);
            }
            ledger.note_catalogued(last);
        }
    }

    /// Applies transactions, which follow on those applied before.
    pub(crate) fn apply(&self, changes: &[CatalogChange]) -> rusqlite::Result<()> {
        let Some(last) = changes.last().map(|change| change.position) else { return Ok(()) };
        // An object's last row is the only one that matters; its deletions do too, if it came back.
        let mut newest = HashMap::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            newest.insert(&change.key, index);
        }
        let mut conn = self.writable()?;
        let transaction = conn.transaction()?;
        {
            let mut upsert = transaction.prepare_cached(UPSERT_OBJECT)?;
            for (index, change) in changes.iter().enumerate() {
                let is_newest = newest[&change.key] == index;
                match &change.entry {
                    Some(_) if is_newest => write_object(&mut upsert, change)?,
                    Some(_) => {}
                    None => delete_object(&transaction, change)?,
                }
            }
        }
        transaction.prepare_cached(SET_APPLIED)?.execute([last.get().cast_signed()])?;
        transaction.commit()?;
        self.progress.rise_to(last);
        Ok(())
    }

    /// Sets both positions, after a recovery or with a log that does not survive.
    pub(crate) fn start_at(&self, position: Position) -> rusqlite::Result<()> {
        let conn = self.writable()?;
        conn.execute(SET_APPLIED, [position.get().cast_signed()])?;
        conn.execute(SET_CHECKPOINTED, [position.get().cast_signed()])?;
        self.progress.rise_to(position);
        Ok(())
    }

    /// Forgets objects whose last transaction is past `end`, if `is_gone` says that they have no
    /// file: transactions past it were lost with the machine.
    pub(crate) fn forget_lost(
        &self,
        end: Position,
        is_gone: impl Fn(&Key) -> bool,
    ) -> rusqlite::Result<()> {
        let conn = self.writable()?;
        let mut statement = conn.prepare(SELECT_AFTER)?;
        let rows = statement.query_map([end.get().cast_signed()], |row| row.try_into())?;
        let lost = rows.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
        for (kind, id) in lost {
            if Key::new(&*kind, &*id).is_ok_and(|key| is_gone(&key)) {
                conn.execute(DELETE_OBJECT, (kind, id))?;
            }
        }
        Ok(())
    }

    /// Stores which segments are not needed any more.
    pub(crate) fn set_checkpointed(&self, position: Position) -> rusqlite::Result<()> {
        self.writable()?.execute(SET_CHECKPOINTED, [position.get().cast_signed()]).map(drop)
    }

    /// Makes the catalog durable, and moves the WAL into the database if it is large or if `all`.
    ///
    /// # Errors
    ///
    /// The operating system's. A failed sync must not be tried again: the error is fatal.
    pub(crate) fn sync(&self, all: bool) -> std::io::Result<()> {
        let conn = self.conn.lock();
        self.wal.sync()?;
        let wal_bytes = self.wal.len()?;
        if wal_bytes == 0 || !all && wal_bytes <= WAL_BYTES_MAX {
            return Ok(());
        }
        // If readers hold an old snapshot, less or nothing is moved: the next time does it.
        if checkpoint(&conn, "PASSIVE").is_ok_and(|is_complete| is_complete) {
            self.database.sync()?;
            self.must_cut_wal.store(true, Ordering::Release);
            if self.cut_wal(&conn).is_ok() {
                self.wal.sync()?;
            }
        }
        Ok(())
    }

    /// The connection, once the WAL may be written to.
    fn writable(&self) -> rusqlite::Result<MutexGuard<'_, Connection>> {
        let conn = self.conn.lock();
        if self.must_cut_wal.load(Ordering::Acquire) {
            self.cut_wal(&conn)?;
        }
        Ok(conn)
    }

    fn cut_wal(&self, conn: &Connection) -> rusqlite::Result<()> {
        if !checkpoint(conn, "TRUNCATE")? {
            let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
            return Err(rusqlite::Error::SqliteFailure(busy, None));
        }
        self.must_cut_wal.store(false, Ordering::Release);
        Ok(())
    }
}

fn prepare(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.busy_timeout(READERS_WAIT_MAX)?;
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0;",
    )?;
    // The WAL's file exists from the first write on.
    conn.execute("UPDATE progress SET applied = applied", []).map(drop)
}

fn read_progress(conn: &Connection) -> rusqlite::Result<(Position, Position)> {
    conn.query_row(SELECT_PROGRESS, [], |row| {
        let position = |column| row.get(column).map(|it: i64| Position::new(it.cast_unsigned()));
        Ok((position(0)?, position(1)?))
    })
}

fn write_object(upsert: &mut CachedStatement<'_>, change: &CatalogChange) -> rusqlite::Result<()> {
    let Some(entry) = &change.entry else { return Ok(()) };
    upsert
        .execute((
            change.key.kind(),
            change.key.id(),
            change.generation.cast_signed(),
            change.position.get().cast_signed(),
            entry.created_at.as_ms(),
            entry.last_active_at.as_ms(),
            entry.size_bytes.cast_signed(),
            entry.next_due.map(Timestamp::as_ms),
            entry.summary.as_deref(),
        ))
        .map(drop)
}

fn delete_object(conn: &Connection, change: &CatalogChange) -> rusqlite::Result<()> {
    let (kind, id) = (change.key.kind(), change.key.id());
    conn.prepare_cached(DELETE_OBJECT)?.execute((kind, id))?;
    let resets = (change.generation + 1).cast_signed();
    conn.prepare_cached(UPSERT_DELETED)?.execute((kind, id, resets)).map(drop)
}

/// Returns whether all pages of the WAL are in the database.
fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<bool> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (busy, wal_pages, moved_pages): (i64, i64, i64) = row.try_into()?;
        Ok(busy == 0 && wal_pages == moved_pages)
    })
}

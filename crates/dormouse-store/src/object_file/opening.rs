//! Opening an object: the wake's half of recovery, and migrations.
//!
//! What an earlier process left beside a database is never opened ("no leftover is opened"): the
//! start cleans what the journal names, and the wake that finds anything else deletes it, so that
//! starting costs the same with a million objects.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};
use tracing::warn;

use super::connection;
use super::containment::Containment;
use super::{Access, ObjectFile, OnDisk, WalBuffer};
use crate::catalog::CatalogEntry;
use crate::clock::Timestamp;
use crate::commit_log::Position;
use crate::error::StoreError;
use crate::key::Key;
use crate::ledger::LeftOpen;
use crate::store::StoreShared;
use crate::template::{PAGE_BYTES, Template, VERSIONS_EXPRESSION, write_version};

/// Opens an object that is not open.
pub(crate) fn open(
    store: &Arc<StoreShared>,
    key: &Key,
    template: &Arc<Template>,
) -> Result<ObjectFile, StoreError> {
    let opening = Opening {
        store,
        key,
        template,
        path: store.folder.object_path(key),
        containment: containment_for(store),
    };
    // The file of a deleted object stays until the deletion is durable.
    let is_deleted = store.ledger.removals().contains_key(key);
    if !is_deleted && opening.path.exists() {
        let left = store.ledger.take_left_open(key);
        match opening.open_file(left.as_ref()) {
            Ok(Some(object)) => return Ok(object),
            Ok(None) => {}
            Err(err) => {
                if let Some(left) = left {
                    store.ledger.leave_open(key.clone(), left);
                }
                return Err(err);
            }
        }
    }
    opening.open_memory()
}

/// Backfills an object that was closed without it. Its last position must be durable.
pub(crate) fn backfill_left_open(
    store: &Arc<StoreShared>,
    key: &Key,
    left: &LeftOpen,
) -> Result<(), StoreError> {
    let path = store.folder.object_path(key);
    let containment = containment_for(store);
    let (conn, _) = connection::open_file(&path, &wal_of(left), &containment)?;
    containment.as_store(|| conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))?;
    drop(conn);
    store.ledger.note_backfilled(left.oldest);
    Ok(())
}

struct Opening<'a> {
    store: &'a Arc<StoreShared>,
    key: &'a Key,
    template: &'a Arc<Template>,
    path: PathBuf,
    containment: Containment,
}

/// What an object's file says about itself.
struct Identity {
    kind: String,
    id: String,
    generation: u64,
    created_at: Timestamp,
    versions: String,
}

impl Opening<'_> {
    /// Opens the object's file; `None` if it turns out to be nobody's, and is gone.
    fn open_file(&self, left: Option<&LeftOpen>) -> Result<Option<ObjectFile>, StoreError> {
        let wal = left.map(wal_of).unwrap_or_default();
        let opened = connection::open_file(&self.path, &wal, &self.containment)
            .and_then(|(conn, frames)| Ok((self.read_identity(&conn)?, conn, frames)));
        let (identity, conn, frames) = match opened {
            Ok((Some(identity), conn, frames)) => (identity, conn, frames),
            Ok((None, conn, _)) => {
                drop(conn);
                if left.is_some() || self.is_known()? {
                    return Err(StoreError::ForeignFile { path: self.path.clone() });
                }
                self.remove_orphan()?;
                return Ok(None);
            }
            Err(err) if is_unreadable(&err) && left.is_none() && !self.is_known()? => {
                self.remove_orphan()?;
                return Ok(None);
            }
            Err(err) => return Err(err.into()),
        };
        if identity.kind != self.key.kind() || identity.id != self.key.id() {
            return Err(StoreError::ForeignFile { path: self.path.clone() });
        }
        let mut object = self.object(conn, identity.generation);
        let capture = left.map(|left| left.capture).unwrap_or_default();
        let created_at = identity.created_at;
        object.on_disk = Some(OnDisk { created_at, wal, wal_frames: frames, capture });
        object.newest = left.map(|left| left.newest).unwrap_or_default();
        object.oldest = left.map(|left| left.oldest);
        if identity.versions != self.template.versions() {
            self.migrate(&mut object, &identity)?;
        }
        Ok(Some(object))
    }

    /// Opens the object as one that nobody has written to.
    fn open_memory(&self) -> Result<ObjectFile, StoreError> {
        // The ledger first: it forgets a deletion only after the catalog has it.
        let reset = self.store.ledger.reset_of(self.key);
        let (generation, newest) = match reset {
            Some(reset) => (reset.generation, reset.position),
            None => (self.store.catalog.resets(self.key)?, Position::ZERO),
        };
        if reset.is_none() && self.store.catalog.get_as_of_now(self.key)?.is_some() {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(StoreError::Io { action: "find", path: self.path.clone(), source });
        }
        let conn = connection::open_memory(self.template, &self.containment)?;
        let mut object = self.object(conn, generation);
        object.newest = newest;
        Ok(object)
    }

    fn object(&self, conn: Connection, generation: u64) -> ObjectFile {
        ObjectFile {
            store: Arc::clone(self.store),
            key: self.key.clone(),
            path: self.path.clone(),
            template: Arc::clone(self.template),
            containment: self.containment.clone(),
            conn: Some(conn),
            on_disk: None,
            generation,
            epoch: self.store.epoch(self.key, generation),
            newest: Position::ZERO,
            oldest: None,
            query_only: false,
            changes_before: 0,
            backfill_not_before: Duration::ZERO,
        }
    }

    /// `None` if no transaction of an object ever reached the file: it is a bare template whose first
    /// transaction was lost with the process that made it.
    fn read_identity(&self, conn: &Connection) -> rusqlite::Result<Option<Identity>> {
        let sql = format!(
            "SELECT kind, id, generation, created_ms, {VERSIONS_EXPRESSION} FROM dormouse_object"
        );
        let mut statement = conn.prepare(&sql)?;
        let identity = statement.query_row([], |row| {
            let generation: i64 = row.get(2)?;
            Ok(Identity {
                kind: row.get(0)?,
                id: row.get(1)?,
                generation: generation.cast_unsigned(),
                created_at: Timestamp::from_ms(row.get(3)?),
                versions: row.get(4)?,
            })
        });
        identity.optional()
    }

    fn migrate(&self, object: &mut ObjectFile, identity: &Identity) -> Result<(), StoreError> {
        let behind = self.template.behind(&identity.versions);
        for it in &behind {
            let supported = it.set.steps.len();
            if usize::try_from(it.found).is_ok_and(|found| found > supported) || it.found < 0 {
                return Err(StoreError::NewerSchema {
                    path: self.path.clone(),
                    set: it.set.name.to_owned(),
                    found: it.found,
                    supported,
                });
            }
        }
        if behind.is_empty() {
            return Ok(());
        }
        let entry = match self.store.catalog.get(self.key)? {
            Some(entry) => entry,
            None => CatalogEntry {
                created_at: identity.created_at,
                last_active_at: identity.created_at,
                size_bytes: 0,
                next_due: None,
                summary: None,
            },
        };
        object.begin(Access::Write)?;
        // A migration takes the time it takes.
        self.containment.end();
        let conn = object.connection();
        for it in &behind {
            let done = usize::try_from(it.found).unwrap_or(0);
            for step in &it.set.steps[done..] {
                conn.execute_batch(step)?;
            }
            write_version(conn, it.set)?;
        }
        object.commit(entry).map(drop)
    }

    /// Whether the catalog has the object.
    fn is_known(&self) -> Result<bool, StoreError> {
        Ok(self.store.catalog.get(self.key)?.is_some())
    }

    fn remove_orphan(&self) -> Result<(), StoreError> {
        warn!(path = %self.path.display(), "removing the file of an object that was never committed");
        let removed = self.store.disk.remove(&self.path).map(drop);
        removed.map_err(|source| StoreError::Io {
            action: "remove",
            path: self.path.clone(),
            source,
        })
    }
}

fn containment_for(store: &StoreShared) -> Containment {
    // A value that does not fit into a transaction need not be built first.
    let value_bytes_max = store.transaction_bytes_max;
    Containment::new(Arc::clone(&store.clock), store.sql_time_max, value_bytes_max)
}

/// The WAL of an object that was closed without a backfill, up to its last captured transaction: a
/// COMMIT that failed may have left frames behind it that SQLite would take for a transaction.
fn wal_of(left: &LeftOpen) -> WalBuffer {
    left.wal.cut(left.capture.bytes(PAGE_BYTES));
    left.wal.clone()
}

fn is_unreadable(err: &rusqlite::Error) -> bool {
    let code = err.sqlite_error_code();
    matches!(code, Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
        // A torn template may read as a database without our tables.
        || matches!(code, Some(ErrorCode::Unknown)) && err.to_string().contains("no such table")
}

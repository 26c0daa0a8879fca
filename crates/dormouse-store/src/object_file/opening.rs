//! Opening an object: the wake's half of recovery, and migrations.
//!
//! What an earlier process left beside a database is never opened ("no leftover is opened"): the
//! start cleans what the journal names, and the wake that finds anything else deletes it, so that
//! starting costs the same with a million objects.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};
use tracing::warn;

use super::connection::Opened;
use super::files::Database;
use super::{Access, ObjectFile};
use crate::catalog::CatalogEntry;
use crate::clock::Timestamp;
use crate::commit_log::Position;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::key::Key;
use crate::ledger::LeftOpen;
use crate::store::StoreShared;
use crate::template::{PAGE_BYTES, SELECT_IDENTITY, Template, write_version};

/// Opens an object that is not open.
pub(crate) fn open(
    store: &Arc<StoreShared>,
    key: &Key,
    template: &Arc<Template>,
) -> Result<ObjectFile, StoreError> {
    let opening = Opening::new(store, key, template);
    if let Some(left) = store.ledger.take_left_open(key) {
        let opened = opening.open_left(&left);
        if opened.is_err() {
            store.ledger.leave_open(key.clone(), left);
        }
        return opened;
    }
    // The file of a deleted object stays until the deletion is durable.
    let is_deleted = store.ledger.removals().contains_key(key);
    if !is_deleted
        && let Some(file) = opening.find_file()?
        && let Some(object) = opening.open_file(file)?
    {
        return Ok(object);
    }
    opening.open_unwritten()
}

/// Backfills an object that was closed without it. Its last position must be durable.
pub(crate) fn backfill_left_open(
    store: &Arc<StoreShared>,
    key: &Key,
    left: &LeftOpen,
) -> Result<(), StoreError> {
    Opening::new(store, key, &left.template).open_left(left)?.backfill()
}

struct Opening<'a> {
    store: &'a Arc<StoreShared>,
    key: &'a Key,
    template: &'a Arc<Template>,
    path: PathBuf,
}

/// What an object's file says about itself.
struct Identity {
    kind: String,
    id: String,
    generation: u64,
    created_at: Timestamp,
    versions: String,
}

impl<'a> Opening<'a> {
    fn new(store: &'a Arc<StoreShared>, key: &'a Key, template: &'a Arc<Template>) -> Opening<'a> {
        Opening { store, key, template, path: store.folder.object_path(key) }
    }

    /// The object's file, if there is one.
    fn find_file(&self) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
        let failed = |source| StoreError::of_file("open", &self.path, source);
        match self.store.disk.open(&self.path) {
            Ok(file) => match file.lock() {
                Ok(()) => Ok(Some(file)),
                Err(err) => Err(StoreError::of_file("lock", &self.path, err)),
            },
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => {
                let is_read_only = err.kind() == io::ErrorKind::ReadOnlyFilesystem;
                let err = failed(err);
                // One file that cannot be read is one object's trouble, this is everybody's.
                if is_read_only {
                    self.store.stop_if_failing(self.key, &err);
                }
                Err(err)
            }
        }
    }

    /// Opens an object that was closed with pages in its WAL.
    fn open_left(&self, left: &LeftOpen) -> Result<ObjectFile, StoreError> {
        let foreign = || StoreError::ForeignFile { path: self.path.clone() };
        let database = if left.has_file {
            Database::in_file(self.find_file()?.ok_or_else(foreign)?)
        } else {
            Database::new(Arc::clone(&left.template))
        };
        // A COMMIT that failed may have left frames behind the last captured transaction that SQLite
        // would take for another.
        left.wal.cut(left.capture.bytes(PAGE_BYTES));
        let (wal, capture) = (left.wal.clone(), left.capture);
        let opened = self.store.connections.open(database, wal, capture)?;
        let identity = self.read_identity(&opened.conn)?.ok_or_else(foreign)?;
        let mut object = self.object(opened, Some(identity.created_at), identity.generation);
        object.newest = left.newest;
        object.oldest = Some(left.oldest);
        self.bring_up_to_date(object, &identity)
    }

    /// Opens the object's file; `None` if it turns out to be nobody's, and is gone.
    fn open_file(&self, file: Box<dyn DiskFile>) -> Result<Option<ObjectFile>, StoreError> {
        let opened = self.store.connections.open_file(file, self.template);
        let opened = opened.and_then(|opened| Ok((self.read_identity(&opened.conn)?, opened)));
        match opened {
            Ok((Some(identity), opened)) => {
                let object = self.object(opened, Some(identity.created_at), identity.generation);
                self.bring_up_to_date(object, &identity).map(Some)
            }
            Ok((None, opened)) => {
                drop(opened);
                if self.is_known()? {
                    return Err(StoreError::ForeignFile { path: self.path.clone() });
                }
                self.remove_orphan()?;
                Ok(None)
            }
            Err(err) if is_unreadable(&err) && !self.is_known()? => {
                self.remove_orphan()?;
                Ok(None)
            }
            Err(err) => Err(err.into()),
        }
    }

    /// Opens the object as one that nobody has written to.
    fn open_unwritten(&self) -> Result<ObjectFile, StoreError> {
        // The ledger first: it forgets a deletion only after the catalog has it.
        let reset = self.store.ledger.reset_of(self.key);
        let (generation, newest) = match reset {
            Some(reset) => (reset.generation, reset.position),
            None => (self.store.catalog.resets(self.key)?, Position::ZERO),
        };
        if reset.is_none() && self.store.catalog.get_as_of_now(self.key)?.is_some() {
            let source = io::ErrorKind::NotFound.into();
            return Err(StoreError::Io { action: "find", path: self.path.clone(), source });
        }
        let opened = self.store.connections.open_template(self.template)?;
        let mut object = self.object(opened, None, generation);
        object.newest = newest;
        Ok(object)
    }

    fn object(&self, opened: Opened, created_at: Option<Timestamp>, generation: u64) -> ObjectFile {
        ObjectFile {
            store: Arc::clone(self.store),
            key: self.key.clone(),
            path: self.path.clone(),
            template: Arc::clone(self.template),
            opened,
            created_at,
            generation,
            epoch: self.store.epoch(self.key, generation),
            newest: Position::ZERO,
            oldest: None,
            access: Access::Read,
            changes_before: 0,
            backfill_not_before: Duration::ZERO,
        }
    }

    /// Checks that the file is the object's, and migrates what an older program wrote.
    fn bring_up_to_date(
        &self,
        mut object: ObjectFile,
        identity: &Identity,
    ) -> Result<ObjectFile, StoreError> {
        if identity.kind != self.key.kind() || identity.id != self.key.id() {
            return Err(StoreError::ForeignFile { path: self.path.clone() });
        }
        if identity.versions != self.template.versions() {
            self.migrate(&mut object, identity)?;
        }
        Ok(object)
    }

    /// `None` if no transaction of an object ever reached the file: it is a bare template, whose first
    /// transaction a loss of power in mode `os` took from the journal.
    fn read_identity(&self, conn: &Connection) -> rusqlite::Result<Option<Identity>> {
        let mut statement = conn.prepare_cached(SELECT_IDENTITY)?;
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
        object.opened.containment.end();
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

fn is_unreadable(err: &rusqlite::Error) -> bool {
    let code = err.sqlite_error_code();
    matches!(code, Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
        // A torn template may read as a database without our tables.
        || matches!(code, Some(ErrorCode::Unknown)) && err.to_string().contains("no such table")
}

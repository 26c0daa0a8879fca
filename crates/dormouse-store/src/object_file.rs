//! One resident object's database.

use std::sync::Arc;

use rusqlite::Connection;

use crate::catalog::CatalogEntry;
use crate::clock::Timestamp;
use crate::commit_log::Position;
use crate::error::StoreError;
use crate::key::Key;
use crate::store::Epoch;
use crate::template::Template;

/// What a handler may do in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only; a statement that writes fails.
    Read,
    /// Read and write.
    Write,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where the transaction is in the commit log; `None` if it wrote nothing.
    pub position: Option<Position>,
}

/// The database of one resident object, open: its one writer.
///
/// An object nobody has written to has no file: its database is a copy of its kind's template in
/// memory ("reading creates nothing"), and its first successful write makes the file.
#[derive(Debug)]
pub struct ObjectFile {
    key: Key,
    #[expect(dead_code, reason = "skeleton")]
    template: Arc<Template>,
    conn: Connection,
}

impl ObjectFile {
    /// The object's name.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether the object has a file: somebody has written to it.
    pub fn exists(&self) -> bool {
        todo!()
    }

    /// When the object was created; `None` if it does not exist.
    pub fn created_at(&self) -> Option<Timestamp> {
        todo!()
    }

    /// The epoch of the object's event log.
    pub fn epoch(&self) -> Epoch {
        todo!()
    }

    /// Starts a handler's transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] (only with [`Access::Write`]): nothing happened, try again later.
    pub fn begin(&mut self, access: Access) -> Result<(), StoreError> {
        let _ = access;
        todo!()
    }

    /// Where the handler's statements run. They may not end the transaction, nor attach or set
    /// pragmas.
    pub fn connection(&self) -> &Connection {
        &self.conn
    }

    /// Rows changed since [`begin`](Self::begin).
    pub fn changes(&self) -> u64 {
        todo!()
    }

    /// Whether the transaction's SQL was interrupted because it took too long.
    pub fn sql_timed_out(&self) -> bool {
        todo!()
    }

    /// Commits the handler's transaction and hands it to the commit log.
    ///
    /// # Errors
    ///
    /// All but [`StoreError::Sqlite`] mean that nothing of the transaction is left.
    pub fn commit(&mut self, entry: CatalogEntry) -> Result<Commit, StoreError> {
        let _ = entry;
        todo!()
    }

    /// Undoes the handler's transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sqlite`]: drop the object and open it again.
    pub fn rollback(&mut self) -> Result<(), StoreError> {
        todo!()
    }

    /// The position of the object's last transaction, [`Position::ZERO`] if it has had none since
    /// it was opened.
    pub fn newest_position(&self) -> Position {
        todo!()
    }

    /// Whether the object should take no input until its last position is durable, and then
    /// [`backfill`](Self::backfill).
    pub fn backfill_due(&self) -> bool {
        todo!()
    }

    /// Moves the pages of the object's WAL into its database file. No sync.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotDurable`] if the object's last position is not durable yet.
    pub fn backfill(&mut self) -> Result<(), StoreError> {
        todo!()
    }

    /// Backfills and closes the file.
    ///
    /// # Errors
    ///
    /// As [`backfill`](Self::backfill). The object is closed either way; opening it again is safe.
    pub fn hibernate(self) -> Result<(), StoreError> {
        todo!()
    }

    /// Deletes the object and all it stored. Outside of a transaction only.
    ///
    /// Afterwards it does not exist, and has a new epoch.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: nothing happened, try again later.
    pub fn delete(&mut self) -> Result<Position, StoreError> {
        todo!()
    }
}

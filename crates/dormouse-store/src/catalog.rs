//! The list of all objects.

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::key::Key;

/// Most bytes a summary may have.
pub const SUMMARY_BYTES_MAX: usize = 1024;

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
#[derive(Debug)]
pub struct Catalog {}

impl Catalog {
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
        let _ = (kind, after, limit, with_summary_only);
        todo!()
    }

    /// What is known about one object; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub fn get(&self, key: &Key) -> Result<Option<CatalogEntry>, StoreError> {
        let _ = key;
        todo!()
    }

    /// How many objects of one kind exist.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub fn count(&self, kind: &str) -> Result<u64, StoreError> {
        let _ = kind;
        todo!()
    }

    /// At most `limit` objects that are due at `before` or earlier, the longest due first.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub fn due(&self, before: Timestamp, limit: usize) -> Result<Vec<DueObject>, StoreError> {
        let _ = (before, limit);
        todo!()
    }
}

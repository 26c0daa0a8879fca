//! The line between an object and what makes its transactions durable.
//!
//! An object commits to its own SQLite file without syncing it, and hands what it wrote to a
//! [`CommitLog`]. Nothing of the transaction may be seen outside before the log reports its
//! [`Position`] durable ("commit before release").

#[cfg(any(test, feature = "test-util"))]
mod held;

use std::fmt;

use crate::catalog::CatalogEntry;
use crate::key::Key;

#[cfg(any(test, feature = "test-util"))]
pub use held::HeldLog;

/// A place in the node's commit log: the n-th transaction since the data folder was made.
///
/// Positions rise by exactly 1 and are never used twice, across restarts too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    /// Before the first transaction. Always durable.
    pub const ZERO: Position = Position(0);

    /// The n-th transaction.
    pub const fn new(number: u64) -> Position {
        Position(number)
    }

    /// Which transaction this is, counted from 1.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One committed transaction on its way to the log.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The object it belongs to.
    pub key: &'a Key,
    /// How often the object was deleted before this transaction.
    pub generation: u64,
    /// The object's whole row in the catalog after this transaction.
    pub entry: &'a CatalogEntry,
    /// What the transaction did to the object's file.
    pub change: Change<'a>,
}

/// What a transaction did to an object's file.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// It wrote pages.
    Pages {
        /// SQLite's WAL frames: for each page a header of 24 bytes, which begins with the page's
        /// number (big-endian), and the page. Verified by whoever captured them.
        frames: &'a [u8],
        /// Bytes in a page.
        page_bytes: u32,
        /// Size of the database afterwards, in pages.
        database_pages: u32,
    },
    /// It deleted the object.
    Delete,
}

/// Why a handler that may write cannot start now. Nothing happened; the caller may try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The log has no reserved space for the largest transaction.
    #[error("the commit journal has no room reserved for another transaction")]
    NoRoom,
    /// The log or the catalog is behind by more than it may be.
    #[error("the store is behind by more than it may be")]
    Behind,
    /// The log has failed, or the store is shutting down.
    #[error("the store takes no more transactions")]
    Stopped,
}

/// What is called when positions have become durable, with the newest of them.
pub type DurableWatcher = Box<dyn Fn(Position) + Send + Sync>;

/// Makes transactions durable, in one order for the whole node.
pub trait CommitLog: Send + Sync + fmt::Debug {
    /// Asks, before BEGIN of a handler that may write, whether its largest transaction fits.
    ///
    /// # Errors
    ///
    /// [`Unavailable`]: nothing happened, try again later.
    fn admit(&self) -> Result<(), Unavailable>;

    /// Appends one committed transaction and returns its position. It becomes durable later.
    ///
    /// Infallible by design: SQLite has committed already, so a log that cannot keep the record
    /// must end the process rather than go on without it.
    fn append(&self, record: Record<'_>) -> Position;

    /// The last durable position. Never falls.
    fn durable(&self) -> Position;

    /// Adds a watcher that is called on the log's own thread after each rise of
    /// [`durable`](Self::durable), with the new position. It must be quick: every commit waits for it.
    fn watch(&self, watcher: DurableWatcher);
}

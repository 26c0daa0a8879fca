//! Storage of Dormouse: one SQLite file per object, one commit journal for the node.
//!
//! An object's transaction commits to its own file without a sync, and its pages go to the journal,
//! where one `fdatasync` makes the transactions of all objects durable. See [`CommitLog`] for the
//! line between the two, and [`Store`] for where to start.

mod catalog;
pub mod check;
mod checkpoint;
mod clock;
mod commit_log;
mod disk;
mod error;
mod folder;
#[cfg(test)]
mod harness;
mod journal;
mod key;
mod ledger;
mod object_file;
mod options;
mod recovery;
pub mod repair;
mod stats;
mod store;
mod template;

pub use catalog::{Catalog, CatalogEntry, CatalogRow, DueObject, SUMMARY_BYTES_MAX};
pub use clock::{Clock, SystemClock, TestClock, Timestamp, TimestampError};
#[cfg(any(test, feature = "test-util"))]
pub use commit_log::HeldLog;
pub use commit_log::{Change, CommitLog, DurableWatcher, Position, Record, Unavailable};
pub use error::{OpenError, StoreError};
pub use key::{ID_CHARS_MAX, KIND_CHARS_MAX, Key, KeyError};
pub use object_file::{Access, Commit, ObjectFile};
pub use options::{Durability, StoreOptions};
pub use stats::{SYNC_TIME_BOUNDS, StoreStats};
pub use store::{Epoch, Store};
pub use template::{MigrationSet, Template, TemplateError};

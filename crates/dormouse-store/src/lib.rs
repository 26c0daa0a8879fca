//! Storage of Dormouse: one SQLite file per object, one commit journal for the node.
//!
//! # The life of a commit
//!
//! 1. [`ObjectFile::begin`] asks the [`CommitLog`] for room: a transaction that has begun never meets
//!    a full disk afterwards.
//! 2. The handler's SQL runs on [`ObjectFile::connection`], inside of limits.
//! 3. [`ObjectFile::commit`] commits to the object's WAL without a sync, reads the new frames back,
//!    and appends them to the journal's queue. It returns a [`Position`].
//! 4. The journal's writer writes what is queued and syncs once; watchers hear how far it is
//!    durable. Only now may anybody see what the handler did.
//! 5. The catalog follows, and the object moves its WAL into its database file when that is due
//!    ([`ObjectFile::backfill`]). When all objects in a segment have done so, the checkpointer makes
//!    their files durable and the segment is used again.
//!
//! # Threads
//!
//! Each store has four: `journal-writer`, `journal-preparer`, `catalog` and `checkpointer`. Callers
//! never wait for a sync, unless they wait for a position themselves.

// What callers see, in reading order.
mod key;

mod store;

mod object_file;

mod template;

mod commit_log;

mod options;

mod clock;

mod error;

// How it works, from the commit to the disk.
mod ledger;

mod journal;

mod catalog;

mod checkpoint;

mod recovery;

mod folder;

mod disk;

mod stats;

// For a person at a closed folder.
pub mod check;
pub mod repair;

#[cfg(test)]
mod harness;

#[cfg(test)]
mod simulator;

pub use catalog::{Catalog, CatalogEntry, CatalogRow, DueObject, SUMMARY_BYTES_MAX};
pub use clock::{Clock, SystemClock, TestClock, Timestamp, TimestampError};
#[cfg(any(test, feature = "test-util"))]
pub use commit_log::HeldLog;
pub use commit_log::{Change, CommitLog, DurableWatcher, Position, Record, Unavailable};
pub use error::{OpenError, StoreError};
pub use key::{ID_CHARS_MAX, KIND_CHARS_MAX, Key, KeyError};
pub use object_file::{Access, Commit, ObjectFile};
pub use options::{Durability, StoreOptions};
pub use stats::{Histogram, StoreStats};
pub use store::{Epoch, Store};
pub use template::{MigrationSet, Template, TemplateError};

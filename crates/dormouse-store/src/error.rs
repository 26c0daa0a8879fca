//! What can go wrong, sorted by what a caller can do about it.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};

use crate::commit_log::Unavailable;

/// Why the store could not do what an object or a query asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot take a transaction now. Nothing happened; try again later.
    #[error("the store takes no transaction now")]
    Unavailable(#[source] Unavailable),
    /// The handler's SQL took too long and was interrupted. Its transaction was rolled back.
    #[error("SQL ran for longer than a handler may")]
    SqlTimeout,
    /// The transaction is larger than the journal takes. It was rolled back.
    #[error("a transaction of about {bytes} bytes is over the limit of {max}")]
    TransactionTooLarge {
        /// Size of the transaction, estimated from above.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// SQLite ended the handler's transaction before the store did. Nothing of it is left.
    #[error("the transaction was rolled back while the handler ran")]
    RolledBack,
    /// A statement wrote in a transaction that may only read. It was rolled back.
    #[error("a handler that may only read has written")]
    ReadOnly,
    /// The summary is too long. The transaction is still open: roll it back.
    #[error(
        "a summary of {bytes} bytes is over the limit of {}",
        crate::catalog::SUMMARY_BYTES_MAX
    )]
    SummaryTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// There was no space left on the disk. The transaction was rolled back; try again later.
    #[error("no space left on the disk")]
    DiskFull(#[source] Box<dyn Error + Send + Sync>),
    /// The object's file was written by a newer program.
    #[error(
        "the migrations {set} of {path} are at version {found}, this program knows {supported}"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The name of the migration set.
        set: String,
        /// Version in the file.
        found: i64,
        /// Newest version of this program.
        supported: usize,
    },
    /// The object's file holds another object, or is not one of ours.
    #[error("{path} does not hold the object it is named for")]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
    /// A transaction of the object is not durable yet. Nothing happened.
    #[error("the object's last transaction is not durable yet")]
    NotDurable,
    /// A file of the data folder could not be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// SQLite refused. Whether the transaction exists is unknown if this comes from a commit: drop
    /// the object and open it again.
    #[error("SQLite refused")]
    Sqlite(#[source] rusqlite::Error),
}

impl StoreError {
    /// What became of a file that could not be read or written.
    pub(crate) fn of_file(action: &'static str, path: &Path, source: io::Error) -> StoreError {
        if is_full(&source) {
            StoreError::DiskFull(source.into())
        } else {
            StoreError::Io { action, path: path.to_path_buf(), source }
        }
    }

    /// Whether a write of an object that ended like this says that the disk takes no writes any more,
    /// for another reason than being full: the process had better stop than fail call after call.
    pub(crate) fn is_failing_disk(&self) -> bool {
        match self {
            StoreError::Sqlite(rusqlite::Error::SqliteFailure(err, _)) => {
                err.extended_code == ffi::SQLITE_IOERR_WRITE || err.code == ErrorCode::ReadOnly
            }
            StoreError::Io { source, .. } => {
                source.kind() == io::ErrorKind::ReadOnlyFilesystem
                    || source.raw_os_error() == Some(libc::EIO)
            }
            _ => false,
        }
    }
}

/// Whether there is no space, on the disk or for this user.
pub(crate) fn is_full(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An error and its causes, as one line.
pub(crate) fn chain(err: &dyn Error) -> String {
    let mut line = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        line.push_str(": ");
        line.push_str(&err.to_string());
        cause = err.source();
    }
    line
}

/// Why a data folder could not be opened. Each variant is something a person can act on.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("data folder {folder} is in use by {}", holder(*pid))]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process, if it has said.
        pid: Option<u32>,
    },
    /// It cannot be written to.
    #[error("data folder {folder} is not writable")]
    NotWritable {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// It was made by a newer or older program, or it is not a data folder.
    #[error("data folder {folder} has format {found}, this program supports {supported}")]
    Format {
        /// The folder.
        folder: PathBuf,
        /// What it says, `unknown` if that is not a number.
        found: String,
        /// What this program reads and writes.
        supported: u32,
    },
    /// The journal has a bad record before its durable end: the disk has lost what it said it kept.
    #[error(
        "journal segment {segment} is damaged at byte {offset} ({what}); see `dormouse repair`"
    )]
    Damaged {
        /// The segment's file.
        segment: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A file of the data folder other than a segment is damaged or missing.
    #[error("{path} is damaged or missing ({what}); see `dormouse repair`")]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The options contradict each other.
    #[error("{what}")]
    Options {
        /// Which, and how.
        what: &'static str,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// `catalog.db` could not be opened or written.
    #[error("cannot use {path}")]
    Catalog {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
}

/// How a message names the process that holds a folder.
fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl From<Unavailable> for StoreError {
    fn from(err: Unavailable) -> StoreError {
        StoreError::Unavailable(err)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(err: rusqlite::Error) -> StoreError {
        match err.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::DiskFull(err.into()),
            Some(ErrorCode::OperationInterrupted) => StoreError::SqlTimeout,
            _ => StoreError::Sqlite(err),
        }
    }
}

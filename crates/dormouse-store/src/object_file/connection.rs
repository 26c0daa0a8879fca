//! Opening an object's database: the one place where its pragmas are set.

use std::ffi::{CStr, c_int};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags, ffi};
use tracing::debug;

use super::containment::Containment;
use super::files::{Database, WalBuffer};
use super::vfs;
use super::wal_capture::WalCapture;

/// What an object's page cache may hold of unchanged pages, in KiB.
const CACHE_KIB: u32 = 32;

/// Statements that a connection keeps prepared.
pub(super) const STATEMENTS_KEPT: usize = 32;

/// The pragmas of an object's connection, each with what it buys.
///
/// * `synchronous = OFF`: the journal makes transactions durable, SQLite never syncs.
/// * `cache_spill = OFF`: a page is written once, at COMMIT; before it the WAL does not change.
/// * `temp_store = MEMORY`: sorting and sub-queries make no files.
/// * `cache_size`: memory per resident object. It reads the schema, which opens the WAL.
fn pragmas() -> String {
    format!(
        "PRAGMA synchronous = OFF; PRAGMA cache_spill = OFF;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{CACHE_KIB};"
    )
}

/// Frames in an object's WAL, as the last commit said.
#[derive(Clone, Debug, Default)]
pub(crate) struct WalFrames(Arc<AtomicU32>);

impl WalFrames {
    /// The number of frames after the commit since the last call, `None` if none wrote any.
    pub(crate) fn take(&self) -> Option<u32> {
        Some(self.0.swap(0, Ordering::Relaxed)).filter(|frames| *frames != 0)
    }
}

/// An object's database, open, and where SQLite has its bytes.
pub(crate) struct Opened {
    pub conn: Connection,
    pub database: Database,
    pub wal: WalBuffer,
    pub wal_frames: WalFrames,
    /// How much of the WAL is in the log.
    pub capture: WalCapture,
    pub containment: Containment,
}

/// Opens a database with what is in `wal`, of which `capture` is in the log.
#[expect(clippy::disallowed_methods, reason = "the one place that opens an object's database")]
pub(crate) fn open(
    database: Database,
    wal: WalBuffer,
    capture: WalCapture,
    containment: Containment,
) -> rusqlite::Result<Opened> {
    let mut conn = vfs::offer(&database, &wal, || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags_and_vfs("object", flags, vfs::NAME)?;
        free_lookaside(&conn);
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        // Whoever closes an object decides whether its WAL may go into the file: SQLite does not.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        conn.execute_batch(&pragmas())?;
        Ok::<_, rusqlite::Error>(conn)
    })?;
    let wal_frames = WalFrames::default();
    let noted = wal_frames.clone();
    // This takes the place of SQLite's automatic checkpoint, which is such a hook too.
    conn.wal_hook(Some(move |_: &mut Wal, frames: c_int| {
        noted.0.store(u32::try_from(frames).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }))?;
    containment.install(&mut conn)?;
    Ok(Opened { conn, database, wal, wal_frames, capture, containment })
}

/// Every prepared statement: its text, and whether it has ever run.
#[expect(unsafe_code, reason = "rusqlite has no list of a connection's statements")]
pub(crate) fn statements(conn: &Connection) -> Vec<(String, bool)> {
    let mut statements = Vec::new();
    let mut last = ptr::null_mut();
    loop {
        // SAFETY: the connection is open while it is borrowed and used by one thread at a time, and `last`
        // is null or one of its statements: nothing is finalized before this function returns.
        last = unsafe { ffi::sqlite3_next_stmt(conn.handle(), last) };
        if last.is_null() {
            return statements;
        }
        // SAFETY: as above; the zero says that the number is only read.
        let runs = unsafe { ffi::sqlite3_stmt_status(last, ffi::SQLITE_STMTSTATUS_RUN, 0) };
        // SAFETY: as above.
        let sql = unsafe { ffi::sqlite3_sql(last) };
        // SQLite has statements of its own, and not all of them have a text.
        if !sql.is_null() {
            // SAFETY: it is a text that ends with a zero and lives as long as the statement.
            let sql = unsafe { CStr::from_ptr(sql) };
            statements.push((sql.to_string_lossy().into_owned(), runs > 0));
        }
    }
}

/// Bytes of pages in the connection's cache: no fewer than its open transaction has changed, since
/// changed pages stay there until COMMIT.
#[expect(unsafe_code, reason = "rusqlite has no status of a connection")]
pub(crate) fn cached_bytes(conn: &Connection) -> u64 {
    let (mut used, mut high) = (0, 0);
    // SAFETY: the connection is open while it is borrowed, and both results are written to integers
    // that outlive the call.
    let code = unsafe {
        let status = ffi::SQLITE_DBSTATUS_CACHE_USED;
        ffi::sqlite3_db_status(conn.handle(), status, &raw mut used, &raw mut high, 0)
    };
    if code == ffi::SQLITE_OK { u64::try_from(used).unwrap_or(0) } else { 0 }
}

/// Sets what SQLite has for the whole process, before it is first used.
///
/// SQLite counts the bytes of all connections under one lock, which every allocation of every lane
/// would take: an eighth of the time of a wake on one thread, and more on several.
#[expect(unsafe_code, reason = "rusqlite has no settings of the process")]
pub(crate) fn configure_sqlite() {
    static CONFIGURED: Once = Once::new();
    CONFIGURED.call_once(|| {
        // SAFETY: this setting takes one C integer. SQLite refuses it with an error once it is in
        // use, and then nothing changes; before that, no other thread may use SQLite, which this
        // crate's connections see to by calling here first.
        let code = unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0 as c_int) };
        if code != ffi::SQLITE_OK {
            debug!(code, "SQLite was in use before the store");
        }
        vfs::register();
    });
}

/// Gives back the 48 KiB that SQLite sets aside for small allocations of each connection.
#[expect(unsafe_code, reason = "rusqlite has no such setting")]
fn free_lookaside(conn: &Connection) {
    // SAFETY: the connection is open while it is borrowed; this setting takes a pointer to a buffer,
    // which null says there is none of, and two C integers. On failure nothing changes.
    unsafe {
        ffi::sqlite3_db_config(
            conn.handle(),
            ffi::SQLITE_DBCONFIG_LOOKASIDE,
            ptr::null_mut::<std::ffi::c_void>(),
            0 as c_int,
            0 as c_int,
        );
    }
}

//! Where SQLite finds the files of an object: the database on disk, its WAL in memory.
//!
//! What the commit journal has makes a transaction durable, and no WAL outlives its process: so an
//! object's WAL is a buffer. A wake makes no file, a commit writes none, and what was written is read
//! back without a copy. It holds at most what was committed since the last backfill; all buffers
//! together hold at most what the journal's segments hold.
//!
//! # Invariants
//!
//! * **Only the database is on disk.** To SQLite no other file exists, so a `-wal` or a `-journal`
//!   that somebody left beside a database is never opened.
//! * A WAL is opened only while [`offer`] runs: by the connection that it was made for.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use rusqlite::ffi;

/// The name under which SQLite knows it.
pub(super) const NAME: &CStr = c"dormouse";

/// A buffer grows by at least this much: the first transaction of most objects.
const GROWTH_BYTES_MIN: usize = 4096;

/// The WAL of one object. It outlives the connection, so that an object that was closed with pages
/// in it can be opened again.
#[derive(Clone, Debug, Default)]
pub(crate) struct WalBuffer(Arc<Mutex<Vec<u8>>>);

impl WalBuffer {
    /// What SQLite has written.
    pub(crate) fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock()
    }

    /// Forgets what is behind `len`.
    pub(crate) fn cut(&self, len: u64) {
        let mut bytes = self.0.lock();
        match usize::try_from(len) {
            // Gives the memory back: the object may be idle from now on.
            Ok(0) => *bytes = Vec::new(),
            Ok(len) => bytes.truncate(len),
            Err(_) => {}
        }
    }

    /// Fills `buffer` from `offset` on, as far as there are bytes. Returns how many there were.
    fn read(&self, buffer: &mut [u8], offset: usize) -> usize {
        let bytes = self.0.lock();
        let found = bytes.get(offset..).unwrap_or_default();
        let len = found.len().min(buffer.len());
        buffer[..len].copy_from_slice(&found[..len]);
        buffer[len..].fill(0);
        len
    }

    fn write(&self, written: &[u8], offset: usize) {
        let mut bytes = self.0.lock();
        let end = offset + written.len();
        if end > bytes.len() {
            if end > bytes.capacity() {
                // Not doubled: most buffers stay small, and there are many.
                let len = bytes.len();
                bytes.reserve_exact(end - len + (len / 2).max(GROWTH_BYTES_MIN));
            }
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(written);
    }
}

thread_local! {
    /// The WAL that a connection opened on this thread gets.
    static OFFERED: RefCell<Option<WalBuffer>> = const { RefCell::new(None) };
}

/// Runs `open`, which opens a connection and makes it read, so that its WAL is `wal`.
pub(super) fn offer<T>(wal: &WalBuffer, open: impl FnOnce() -> T) -> T {
    struct Withdraw;
    impl Drop for Withdraw {
        fn drop(&mut self) {
            OFFERED.take();
        }
    }
    OFFERED.replace(Some(wal.clone()));
    let _withdraw = Withdraw;
    open()
}

/// The VFS that opens databases.
struct Machine(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite's own VFS is made for use by all threads, and it is never unregistered.
#[expect(unsafe_code, reason = "a pointer to what SQLite shares among threads")]
unsafe impl Send for Machine {}
// SAFETY: as above; the pointer is only read.
#[expect(unsafe_code, reason = "a pointer to what SQLite shares among threads")]
unsafe impl Sync for Machine {}

static MACHINE: OnceLock<Machine> = OnceLock::new();

/// Tells SQLite of it. If that fails, so does every opening of an object, with SQLite's own words.
#[expect(unsafe_code, reason = "rusqlite has no VFS")]
pub(super) fn register() {
    // SAFETY: finds SQLite's default VFS, which lives as long as the process; null if there is none.
    let machine = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    // SAFETY: it is null or points to a VFS that nobody changes.
    let Some(mut vfs) = (unsafe { machine.as_ref() }).copied() else { return };
    if MACHINE.set(Machine(machine)).is_err() {
        return;
    }
    vfs.zName = NAME.as_ptr();
    vfs.pNext = ptr::null_mut();
    vfs.szOsFile = vfs.szOsFile.max(FILE_BYTES);
    vfs.xOpen = Some(open);
    vfs.xDelete = Some(delete);
    vfs.xAccess = Some(access);
    // SAFETY: SQLite keeps the pointer for as long as the process lives, and so does a leaked box.
    unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0) };
}

/// An open WAL, as SQLite sees it: the memory is SQLite's, of at least [`FILE_BYTES`].
#[repr(C)]
struct WalFile {
    base: ffi::sqlite3_file,
    wal: WalBuffer,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "some tens")]
const FILE_BYTES: c_int = size_of::<WalFile>() as c_int;

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Opens a database on disk, or the WAL that is offered.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    if flags & ffi::SQLITE_OPEN_WAL == 0 {
        let Some(Machine(machine)) = MACHINE.get() else { return ffi::SQLITE_CANTOPEN };
        // SAFETY: `machine` is SQLite's own VFS; the arguments are those that SQLite made for it, and
        // `file` has at least as many bytes as it asks for.
        return unsafe {
            match (**machine).xOpen {
                Some(open) => open(*machine, name, file, flags, out_flags),
                None => ffi::SQLITE_CANTOPEN,
            }
        };
    }
    // SAFETY: SQLite gives `szOsFile` bytes for the file, and an integer or null for the flags. A
    // file whose methods are null is not closed.
    unsafe {
        (*file).pMethods = ptr::null();
        let Some(wal) = OFFERED.take() else { return ffi::SQLITE_CANTOPEN };
        let base = ffi::sqlite3_file { pMethods: &raw const METHODS };
        file.cast::<WalFile>().write(WalFile { base, wal });
        if let Some(out_flags) = out_flags.as_mut() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

/// Nothing but databases exists, and those are not SQLite's to remove.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, _: *const c_char, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

/// Whether there is a file beside a database: never.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    _: *const c_char,
    _: c_int,
    result: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a pointer to an integer of its own.
    unsafe { *result = 0 };
    ffi::SQLITE_OK
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: `file` was filled by `open`, and SQLite closes it once.
    unsafe { ptr::drop_in_place(file.cast::<WalFile>()) };
    ffi::SQLITE_OK
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(len), Ok(offset)) = (usize::try_from(len), usize::try_from(offset)) else {
        return ffi::SQLITE_IOERR_READ;
    };
    // SAFETY: `buffer` has `len` bytes, which SQLite lets be written and nobody else uses.
    let buffer = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
    // SAFETY: SQLite calls this for an open file.
    let found = unsafe { wal_of(file) }.read(buffer, offset);
    if found == len { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR_SHORT_READ }
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(len), Ok(offset)) = (usize::try_from(len), usize::try_from(offset)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: `bytes` has `len` bytes that nobody writes during the call.
    let bytes = unsafe { slice::from_raw_parts(bytes.cast::<u8>(), len) };
    // SAFETY: SQLite calls this for an open file.
    unsafe { wal_of(file) }.write(bytes, offset);
    ffi::SQLITE_OK
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    let Ok(len) = u64::try_from(len) else { return ffi::SQLITE_IOERR_TRUNCATE };
    // SAFETY: SQLite calls this for an open file.
    unsafe { wal_of(file) }.cut(len);
    ffi::SQLITE_OK
}

/// Memory cannot be synced, and need not be.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn sync(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    size: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this for an open file.
    let len = unsafe { wal_of(file) }.bytes().len();
    let Ok(len) = ffi::sqlite3_int64::try_from(len) else { return ffi::SQLITE_IOERR_FSTAT };
    // SAFETY: SQLite gives a pointer to an integer of its own.
    unsafe { *size = len };
    ffi::SQLITE_OK
}

/// A WAL is locked by locking its database.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn lock(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, result: *mut c_int) -> c_int {
    // SAFETY: SQLite gives a pointer to an integer of its own.
    unsafe { *result = 0 };
    ffi::SQLITE_OK
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

/// 0: SQLite takes its default.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    0
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    0
}

/// The WAL of a file that [`open`] filled.
///
/// # Safety
///
/// `file` must be open.
#[expect(unsafe_code, reason = "reads what SQLite hands back")]
unsafe fn wal_of<'file>(file: *mut ffi::sqlite3_file) -> &'file WalBuffer {
    // SAFETY: an open file was filled by `open`, and its owner is the one thread that calls.
    unsafe { &(*file.cast::<WalFile>()).wal }
}

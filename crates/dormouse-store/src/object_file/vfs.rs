//! Where SQLite finds the files of an object: the database on disk, its WAL in memory.
//!
//! What the commit journal has makes a transaction durable, and no WAL outlives its process: so an
//! object's WAL is a buffer. A wake makes no file, a commit writes none, and what was written is read
//! back without a copy. It holds at most what was committed since the last backfill; all buffers
//! together hold at most what the journal's segments hold.
//!
//! A new object's database is its kind's template, in memory, until its first backfill makes the file
//! and moves in what the WAL has: the connection stays the same. A connection to the template can also
//! be opened ahead, and get the file of an object that wakes.
//!
//! # Invariants
//!
//! * **Only the database is on disk.** To SQLite no other file exists, so a `-wal` or a `-journal`
//!   that somebody left beside a database is never opened.
//! * A connection gets the files that are offered while [`offer`] runs, and no other.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::ptr;
use std::slice;

use rusqlite::ffi;

use super::files::{Database, WalBuffer};
use crate::error::is_full;

/// The name under which SQLite knows it.
pub(super) const NAME: &CStr = c"dormouse";

/// What SQLite opens on this thread.
#[derive(Debug, Default)]
struct Offered {
    database: Option<Database>,
    wal: Option<WalBuffer>,
}

thread_local! {
    static OFFERED: RefCell<Offered> = RefCell::default();
}

/// Runs `open`, which opens a connection and makes it read, so that these are its files.
pub(super) fn offer<T>(database: &Database, wal: &WalBuffer, open: impl FnOnce() -> T) -> T {
    struct Withdraw;
    impl Drop for Withdraw {
        fn drop(&mut self) {
            OFFERED.take();
        }
    }
    OFFERED.replace(Offered { database: Some(database.clone()), wal: Some(wal.clone()) });
    let _withdraw = Withdraw;
    open()
}

/// Tells SQLite of it. If that fails, so does every opening of an object, with SQLite's own words.
#[expect(unsafe_code, reason = "rusqlite has no VFS")]
pub(super) fn register() {
    // SAFETY: finds SQLite's default VFS, which lives as long as the process; null if there is none.
    let machine = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    // SAFETY: it is null or points to a VFS that nobody changes. What is not replaced here, such as its
    // clock and its source of random bytes, knows nothing of files.
    let Some(mut vfs) = (unsafe { machine.as_ref() }).copied() else { return };
    vfs.zName = NAME.as_ptr();
    vfs.pNext = ptr::null_mut();
    vfs.szOsFile = FILE_BYTES;
    vfs.xOpen = Some(open);
    vfs.xDelete = Some(delete);
    vfs.xAccess = Some(access);
    vfs.xFullPathname = Some(full_pathname);
    // SAFETY: SQLite keeps the pointer for as long as the process lives, and so does a leaked box.
    unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0) };
}

/// An open file, as SQLite sees it: the memory is SQLite's, of [`FILE_BYTES`].
#[repr(C)]
struct OpenFile {
    base: ffi::sqlite3_file,
    file: ObjectPart,
}

enum ObjectPart {
    Database(Database),
    Wal(WalBuffer),
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "some tens")]
const FILE_BYTES: c_int = size_of::<OpenFile>() as c_int;

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
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
    xShmMap: Some(map_index),
    xShmLock: Some(lock_index),
    xShmBarrier: Some(order_index),
    xShmUnmap: Some(unmap_index),
    xFetch: None,
    xUnfetch: None,
};

/// Opens what is offered.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    _name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let part = OFFERED.with_borrow_mut(|offered| {
        if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            offered.database.take().map(ObjectPart::Database)
        } else if flags & ffi::SQLITE_OPEN_WAL != 0 {
            offered.wal.take().map(ObjectPart::Wal)
        } else {
            None
        }
    });
    // SAFETY: SQLite gives `szOsFile` bytes for the file, and an integer or null for the flags. A
    // file whose methods are null is not closed.
    unsafe {
        (*file).pMethods = ptr::null();
        let Some(part) = part else { return ffi::SQLITE_CANTOPEN };
        let base = ffi::sqlite3_file { pMethods: &raw const METHODS };
        file.cast::<OpenFile>().write(OpenFile { base, file: part });
        if let Some(out_flags) = out_flags.as_mut() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

/// Names mean nothing here.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn full_pathname(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    len: c_int,
    full: *mut c_char,
) -> c_int {
    // SAFETY: SQLite gives a string that ends with a zero, which nobody changes.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if usize::try_from(len).is_ok_and(|len| name.len() <= len) {
        // SAFETY: `full` has `len` bytes, which are no part of the name.
        unsafe { ptr::copy_nonoverlapping(name.as_ptr().cast(), full, name.len()) };
        ffi::SQLITE_OK
    } else {
        ffi::SQLITE_CANTOPEN
    }
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
    unsafe { ptr::drop_in_place(file.cast::<OpenFile>()) };
    ffi::SQLITE_OK
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(len), Ok(offset)) = (usize::try_from(len), u64::try_from(offset)) else {
        return ffi::SQLITE_IOERR_READ;
    };
    // SAFETY: `buffer` has `len` bytes, which SQLite lets be written and nobody else uses.
    let buffer = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
    // SAFETY: SQLite calls this for an open file.
    let found = match unsafe { part_of(file) } {
        ObjectPart::Database(database) => database.read(buffer, offset),
        ObjectPart::Wal(wal) => Ok(wal.read(buffer, offset)),
    };
    match found {
        Ok(found) if found == len => ffi::SQLITE_OK,
        Ok(_) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(_) => ffi::SQLITE_IOERR_READ,
    }
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(len), Ok(offset)) = (usize::try_from(len), u64::try_from(offset)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: `bytes` has `len` bytes that nobody writes during the call.
    let bytes = unsafe { slice::from_raw_parts(bytes.cast::<u8>(), len) };
    // SAFETY: SQLite calls this for an open file.
    let written = match unsafe { part_of(file) } {
        ObjectPart::Database(database) => database.change(|file| file.write_at(bytes, offset)),
        ObjectPart::Wal(wal) => wal.write(bytes, offset),
    };
    code_of(&written, ffi::SQLITE_IOERR_WRITE)
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    let Ok(len) = u64::try_from(len) else { return ffi::SQLITE_IOERR_TRUNCATE };
    // SAFETY: SQLite calls this for an open file.
    let cut = match unsafe { part_of(file) } {
        ObjectPart::Database(database) => database.change(|file| file.set_len(len)),
        ObjectPart::Wal(wal) => {
            wal.cut(len);
            Ok(())
        }
    };
    code_of(&cut, ffi::SQLITE_IOERR_TRUNCATE)
}

/// What SQLite is told of a write: that the disk is full, or `failed`.
fn code_of(done: &io::Result<()>, failed: c_int) -> c_int {
    match done {
        Ok(()) => ffi::SQLITE_OK,
        Err(err) if is_full(err) => ffi::SQLITE_FULL,
        Err(_) => failed,
    }
}

/// Every sync of the store is its own.
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
    let len = match unsafe { part_of(file) } {
        ObjectPart::Database(database) => database.len(),
        ObjectPart::Wal(wal) => Ok(wal.bytes().len() as u64),
    };
    let Ok(Ok(len)) = len.map(ffi::sqlite3_int64::try_from) else {
        return ffi::SQLITE_IOERR_FSTAT;
    };
    // SAFETY: SQLite gives a pointer to an integer of its own.
    unsafe { *size = len };
    ffi::SQLITE_OK
}

/// Whoever opens a database locks it until it is closed.
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

/// The index of a WAL is memory that its one connection shares with nobody.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn map_index(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    address: *mut *mut c_void,
) -> c_int {
    let (Ok(region), Ok(bytes)) = (usize::try_from(region), usize::try_from(bytes)) else {
        return ffi::SQLITE_IOERR_SHMMAP;
    };
    // SAFETY: SQLite calls this for an open file.
    let ObjectPart::Database(database) = (unsafe { part_of(file) }) else {
        return ffi::SQLITE_IOERR_SHMMAP;
    };
    let found = database.index_region(region, bytes, extend != 0);
    // SAFETY: SQLite gives a pointer to a pointer of its own. The region stays where it is for as long
    // as the file is open, and is as long as SQLite asked, which asks for the same each time.
    unsafe { *address = found.unwrap_or(ptr::null_mut()) };
    ffi::SQLITE_OK
}

/// There is nobody else.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn lock_index(_: *mut ffi::sqlite3_file, _: c_int, _: c_int, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn order_index(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

/// The memory goes with the file.
#[expect(unsafe_code, reason = "SQLite calls it")]
unsafe extern "C" fn unmap_index(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

/// What a file is that [`open`] filled.
///
/// # Safety
///
/// `file` must be open.
#[expect(unsafe_code, reason = "reads what SQLite hands back")]
unsafe fn part_of<'file>(file: *mut ffi::sqlite3_file) -> &'file ObjectPart {
    // SAFETY: an open file was filled by `open`, and its owner is the one thread that calls.
    unsafe { &(*file.cast::<OpenFile>()).file }
}

//! The file operations that durability rests on.
//!
//! Journal, recovery, checkpoint and the databases of objects reach files only through [`Disk`], so
//! that a test can stand under them: lose what was not synced, tear a write, fail the n-th operation.
//! Only the catalog goes around it, but SQLite is told never to sync: every sync of the store is here.

mod direct;
#[cfg(test)]
pub(crate) mod faulty;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use self::direct::DirectFile;

/// A file system.
pub(crate) trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file to read and write, making it if it does not exist. What it holds is kept.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// As [`create`](Disk::create), and writes go past the page cache where the file system can do
    /// that. The file's length must be a multiple of 4,096 bytes.
    fn create_direct(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file to read and write.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Reads a whole small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Removes a file. `Ok(false)` if there was none.
    fn remove(&self, path: &Path) -> io::Result<bool>;

    /// Gives a file a new name, replacing what had that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes a folder and its parents, as far as they are missing.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// The files in a folder, in the order of their names.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes everything durable that was written to the file system of `folder`, by SQLite too.
    fn sync_everything(&self, folder: &Path) -> io::Result<()>;
}

/// One open file.
pub(crate) trait DiskFile: Send + Sync + fmt::Debug {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on; fails if the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves space for `len` bytes, which read as zeros.
    fn reserve(&self, len: u64) -> io::Result<()>;

    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Keeps every other program that opens the file with SQLite from reading or writing it, until it is
    /// closed. Fails if one does.
    fn lock(&self) -> io::Result<()>;

    /// Makes the file's bytes durable, and its length.
    fn sync(&self) -> io::Result<()>;
}

/// Writes a small file so that after a crash it is either the old or the new one.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let file = disk.create(&draft)?;
    file.set_len(0)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&draft, path)?;
    disk.sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// The machine's file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn create_direct(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        match DirectFile::create(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(err) if err.kind() == io::ErrorKind::InvalidInput => self.create(path),
            Err(err) => Err(err),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn remove(&self, path: &Path) -> io::Result<bool> {
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(err) => Err(err),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    #[expect(unsafe_code, reason = "std has no syncfs")]
    fn sync_everything(&self, folder: &Path) -> io::Result<()> {
        let handle = File::open(folder)?;
        // SAFETY: the descriptor is open for as long as `handle` lives.
        let result = unsafe { libc::syncfs(handle.as_raw_fd()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// The bytes that SQLite locks in a database: <https://www.sqlite.org/fileformat2.html#the_lock_byte_page>.
const SQLITE_LOCKS_AT: libc::off_t = 0x4000_0000;
const SQLITE_LOCKS_LEN: libc::off_t = 512;
#[expect(clippy::cast_possible_truncation, reason = "C has the constants wider than their fields")]
const WRITE_LOCK: libc::c_short = libc::F_WRLCK as libc::c_short;
#[expect(clippy::cast_possible_truncation, reason = "C has the constants wider than their fields")]
const FROM_START: libc::c_short = libc::SEEK_SET as libc::c_short;

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    #[expect(unsafe_code, reason = "std has no fallocate")]
    fn reserve(&self, len: u64) -> io::Result<()> {
        let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
        // SAFETY: the descriptor is open for as long as `self` lives.
        match unsafe { libc::posix_fallocate(self.0.as_raw_fd(), 0, len) } {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    #[expect(unsafe_code, reason = "std has no lock of a range")]
    fn lock(&self) -> io::Result<()> {
        let range = libc::flock {
            l_type: WRITE_LOCK,
            l_whence: FROM_START,
            l_start: SQLITE_LOCKS_AT,
            l_len: SQLITE_LOCKS_LEN,
            // The lock is that of the open file, not of the process.
            l_pid: 0,
        };
        // SAFETY: the descriptor is open for as long as `self` lives, and so is what is pointed to.
        let result =
            unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &raw const range) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

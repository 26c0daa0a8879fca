//! The files of one connection: its database, on disk or a template, and its WAL in memory.
//!
//! # Invariants
//!
//! * A template is never written to.

use std::ffi::c_void;
use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::disk::DiskFile;
use crate::template::Template;

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
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        copy_from(&self.0.lock(), buffer, offset)
    }

    pub(super) fn write(&self, written: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = self.0.lock();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
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
        Ok(())
    }
}

/// The database of one connection: a file, or its kind's template as long as there is none.
#[derive(Clone, Debug)]
pub(crate) struct Database(Arc<DatabaseParts>);

#[derive(Debug)]
struct DatabaseParts {
    content: Mutex<Content>,
    /// The index of the WAL, in regions of which SQLite keeps the addresses.
    index: Mutex<Vec<Box<[u64]>>>,
}

#[derive(Debug)]
enum Content {
    Template(Arc<Template>),
    File(Box<dyn DiskFile>),
}

impl Database {
    /// A database that has no file.
    pub(crate) fn new(template: Arc<Template>) -> Database {
        Database::with(Content::Template(template))
    }

    /// The database in a file.
    pub(crate) fn in_file(file: Box<dyn DiskFile>) -> Database {
        Database::with(Content::File(file))
    }

    fn with(content: Content) -> Database {
        Database(Arc::new(DatabaseParts { content: Mutex::new(content), index: Mutex::default() }))
    }

    /// Whether it has a file.
    pub(crate) fn has_file(&self) -> bool {
        matches!(*self.0.content.lock(), Content::File(_))
    }

    /// Goes on in a file that holds what the database holds.
    pub(crate) fn move_to(&self, file: Box<dyn DiskFile>) {
        *self.0.content.lock() = Content::File(file);
    }

    /// Puts another database in the place of this one, between two transactions and with nothing in the
    /// WAL.
    ///
    /// To SQLite, another process has done it: it finds the index of the WAL gone, makes it anew, and
    /// forgets every page it had read. What it knows of the schema must be true of the new one, which
    /// SQLite would only notice by the schema's version.
    pub(crate) fn exchange_for(&self, file: Box<dyn DiskFile>) {
        self.move_to(file);
        if let Some(first) = self.0.index.lock().first_mut() {
            first.fill(0);
        }
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        match &*self.0.content.lock() {
            Content::Template(template) => Ok(template.image().len() as u64),
            Content::File(file) => file.len(),
        }
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &*self.0.content.lock() {
            Content::Template(template) => Ok(copy_from(template.image(), buffer, offset)),
            Content::File(file) => read_file(&**file, buffer, offset),
        }
    }

    /// Writes to the file.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
    ) -> io::Result<()> {
        match &*self.0.content.lock() {
            Content::Template(_) => Err(io::Error::other("a template is not written to")),
            Content::File(file) => change(&**file),
        }
    }

    /// A region of the WAL's index, `None` if it does not exist and is not to be made.
    pub(super) fn index_region(
        &self,
        number: usize,
        bytes: usize,
        extend: bool,
    ) -> Option<*mut c_void> {
        let mut regions = self.0.index.lock();
        while extend && regions.len() <= number {
            regions.push(vec![0; bytes.div_ceil(size_of::<u64>())].into_boxed_slice());
        }
        regions.get_mut(number).map(|region| region.as_mut_ptr().cast())
    }
}

/// Fills `buffer` from `offset` of a file on, with zeros behind its end. Returns how many bytes there were.
fn read_file(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    match file.read_at(buffer, offset) {
        Ok(()) => Ok(buffer.len()),
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => {
            let found = usize::try_from(file.len()?.saturating_sub(offset)).unwrap_or(usize::MAX);
            let found = found.min(buffer.len());
            file.read_at(&mut buffer[..found], offset)?;
            buffer[found..].fill(0);
            Ok(found)
        }
        Err(err) => Err(err),
    }
}

/// Fills `buffer` from `offset` of `bytes` on, with zeros behind their end. Returns how many there were.
fn copy_from(bytes: &[u8], buffer: &mut [u8], offset: u64) -> usize {
    let found = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
    let found = found.unwrap_or_default();
    let len = found.len().min(buffer.len());
    buffer[..len].copy_from_slice(&found[..len]);
    buffer[len..].fill(0);
    len
}

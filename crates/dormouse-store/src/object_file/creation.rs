//! The life of an object's file: from a database that nobody has written to, to the first backfill.
//!
//! A new object's first transaction goes to its WAL like any other. Its record in the journal has
//! every page of the database, those of the template too, so that a recovery needs no more than the
//! journal. The file is made by the first backfill, when all that is durable: a crash leaves no file
//! that says nothing, and creating an object waits for no file system.

use std::io;

use super::ObjectFile;
use crate::catalog::CatalogEntry;
use crate::commit_log::Position;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::journal::record::FRAME_HEADER_BYTES;
use crate::template::{PAGE_BYTES, write_object};

impl ObjectFile {
    /// Appends the transaction that SQLite has just committed, the object's first.
    ///
    /// If it cannot be, the object is as it was before.
    pub(super) fn append_first(&mut self, entry: CatalogEntry) -> Result<Position, StoreError> {
        let conn = &self.opened.conn;
        let write = || write_object(conn, &self.key, self.generation, &entry);
        let written = self.opened.containment.as_store(write);
        let frames = self.opened.wal_frames.take();
        let (Ok(()), Some(frames)) = (&written, frames) else {
            // The transaction is in a WAL that nobody knows of: forget it.
            self.reopen_unwritten()?;
            return Err(written.err().map_or(StoreError::RolledBack, StoreError::from));
        };
        self.created_at = Some(entry.created_at);
        self.append_frames(frames, entry)
    }

    /// Goes on with a database that nobody has written to.
    pub(super) fn reopen_unwritten(&mut self) -> Result<(), StoreError> {
        self.opened = self.store.connections.open_template(&self.template)?;
        self.created_at = None;
        Ok(())
    }

    /// Makes the file of an object that has none. Everything it lacks must be durable.
    ///
    /// If the file of a deleted object of this name is still there, the new one takes it over.
    pub(super) fn make_file(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError::of_file("create", &self.path, source);
        let mut removals = self.store.ledger.removals();
        let file = self.create_with_folder().map_err(failed)?;
        let image = self.template.image();
        let filled = file.lock().and_then(|()| file.write_at(image, 0));
        filled.and_then(|()| file.set_len(image.len() as u64)).map_err(failed)?;
        if let Some(removal) = removals.remove(&self.key) {
            self.store.ledger.note_backfilled(removal.oldest);
        }
        self.opened.database.move_to(file);
        Ok(())
    }

    fn create_with_folder(&self) -> io::Result<Box<dyn DiskFile>> {
        let disk = &self.store.disk;
        match disk.create(&self.path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                disk.create_folder(self.path.parent().unwrap_or(self.store.folder.root()))?;
                disk.create(&self.path)
            }
            result => result,
        }
    }
}

/// All pages of a template as frames, and behind them the newer ones in `frames`.
pub(super) fn frames_with_template(image: &[u8], frames: &[u8]) -> Vec<u8> {
    let page_bytes = PAGE_BYTES as usize;
    let frame_bytes = FRAME_HEADER_BYTES + page_bytes;
    let newer = |number: &[u8; 4]| frames.chunks_exact(frame_bytes).any(|it| it[..4] == *number);
    let mut all = Vec::with_capacity(image.len() / page_bytes * frame_bytes + frames.len());
    for (number, page) in (1_u32..).zip(image.chunks_exact(page_bytes)) {
        let number = number.to_be_bytes();
        if !newer(&number) {
            all.extend_from_slice(&number);
            all.extend_from_slice(&[0; FRAME_HEADER_BYTES - 4]);
            all.extend_from_slice(page);
        }
    }
    all.extend_from_slice(frames);
    all
}

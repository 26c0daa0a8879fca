//! The first write of an object: from a database in memory to a file.
//!
//! The file begins as the bare template and everything that the transaction wrote goes through the
//! file's WAL, so the rules for a first transaction are the rules for every other: nothing of it is
//! in the database before it is durable, and what a crash leaves is a file that says nothing.

use std::io;

use rusqlite::{Connection, MAIN_DB};
use tracing::warn;

use super::connection;
use super::{COMMIT, Commit, ObjectFile, OnDisk, WalBuffer, WalCapture};
use crate::catalog::CatalogEntry;
use crate::clock::Timestamp;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::template::write_object;

/// A database in memory, for comparison.
struct ImageStatus {
    bytes: u64,
    /// Rises with every transaction that changed the database.
    change_counter: [u8; 4],
}

impl ObjectFile {
    /// Commits a transaction of an object that has no file, and makes the file if it wrote.
    pub(super) fn commit_in_memory(
        &mut self,
        mut entry: CatalogEntry,
    ) -> Result<Commit, StoreError> {
        let before = self.image_status()?;
        if let Err(err) = self.run_as_store(COMMIT) {
            self.rollback()?;
            return Err(err.into());
        }
        let after = self.image_status()?;
        if after.change_counter == before.change_counter {
            return Ok(Commit { position: None });
        }
        let max = self.store.transaction_bytes_max;
        let created = if after.bytes > max {
            Err(StoreError::TransactionTooLarge { bytes: after.bytes, max })
        } else {
            self.create_file(&entry)
        };
        match created {
            Ok(frames) => Ok(Commit { position: Some(self.append_frames(frames, &mut entry)?) }),
            Err(err) => {
                // The transaction is committed in memory and nowhere else: forget it.
                self.conn = Some(connection::open_memory(&self.template, &self.containment)?);
                self.oldest = None;
                self.query_only = false;
                Err(err)
            }
        }
    }

    /// What the database in memory says of itself.
    fn image_status(&mut self) -> Result<ImageStatus, StoreError> {
        let conn = self.conn.as_mut().expect("a database is only exchanged inside of one method");
        let image = conn.serialize(MAIN_DB)?;
        let mut change_counter = [0; 4];
        change_counter.copy_from_slice(image.get(24..28).unwrap_or(&[0; 4]));
        Ok(ImageStatus { bytes: image.len() as u64, change_counter })
    }

    /// Makes the object's file from its database in memory and goes on with the file. Returns the
    /// number of frames in the new WAL.
    fn create_file(&mut self, entry: &CatalogEntry) -> Result<u32, StoreError> {
        let memory = self.conn.as_ref().expect("a database is only exchanged inside of one method");
        self.containment.as_store(|| write_object(memory, &self.key, self.generation, entry))?;
        let mut removals = self.store.ledger.removals();
        let removal = removals.get(&self.key);
        // If the file of the deleted object is still there, the new one takes it over, WAL first.
        let is_new = removal.is_none();
        self.oldest = removal.map(|removal| removal.oldest);
        let written = if is_new { self.write_template() } else { Ok(()) };
        let (conn, on_disk, frames) =
            match written.and_then(|()| self.fill_file(memory, entry.created_at)) {
                Ok(filled) => filled,
                Err(err) => {
                    if is_new {
                        self.remove_unborn();
                    }
                    return Err(err);
                }
            };
        removals.remove(&self.key);
        drop(removals);
        self.on_disk = Some(on_disk);
        self.conn = Some(conn);
        self.query_only = false;
        Ok(frames)
    }

    /// Copies the database in memory into the file, which holds the template, through its WAL.
    /// Returns the number of frames there.
    fn fill_file(
        &self,
        memory: &Connection,
        created_at: Timestamp,
    ) -> Result<(Connection, OnDisk, u32), StoreError> {
        let wal = WalBuffer::default();
        let (mut conn, wal_frames) = connection::open_file(&self.path, &wal, &self.containment)?;
        self.containment.as_store(|| connection::copy(memory, &mut conn))?;
        let frames = wal_frames.take();
        let frames = frames.ok_or_else(|| StoreError::ForeignFile { path: self.path.clone() })?;
        let capture = WalCapture::default();
        Ok((conn, OnDisk { created_at, wal, wal_frames, capture }, frames))
    }

    /// Removes the file of an object that could not be created, so that the next wake need not ask the
    /// catalog whose it is. A file that cannot be removed now is removed then.
    fn remove_unborn(&self) {
        if let Err(err) = self.store.disk.remove(&self.path) {
            warn!(key = %self.key, error = &err as &dyn std::error::Error, "the file of an object that was not created stays");
        }
    }

    fn write_template(&self) -> Result<(), StoreError> {
        let disk = &self.store.disk;
        let failed = |source| StoreError::Io { action: "create", path: self.path.clone(), source };
        let file = match disk.create(&self.path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                let folder = self.path.parent().unwrap_or(self.store.folder.root());
                disk.create_folder(folder).and_then(|()| disk.create(&self.path))
            }
            result => result,
        };
        let image = self.template.file_image();
        let write = |file: Box<dyn DiskFile>| {
            file.write_at(image, 0)?;
            file.set_len(image.len() as u64)
        };
        file.and_then(write).map_err(failed)
    }
}

//! What a start does after an unclean stop: bring database files and catalog up to the journal.
//!
//! # Invariants
//!
//! * Nothing is opened by SQLite but the catalog: pages go to the files as the journal has them.
//! * A page is redone only from a record that is durable, like any other page of a database file.
//! * Doing it twice gives the same bytes as doing it once, so it may be cut short anywhere.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::catalog::CatalogFollower;
use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::folder::{Folder, FolderState, io_error};
use crate::journal::JournalEnd;
use crate::journal::record::BodyChange;
use crate::journal::scan::{BadRecord, Found, Scan, scan};
use crate::journal::segment::{HEADER_BLOCK_LEN, SegmentFile};
use crate::key::Key;
use crate::ledger::CatalogChange;

/// Transactions that are applied to the catalog at once.
const CATALOG_BATCH: usize = 16_384;

/// What a recovery found and left.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub end: JournalEnd,
    /// Segments that are free now: all of them.
    pub segments: Vec<SegmentFile>,
    pub next_number: u64,
    /// The files of objects that had something to redo.
    pub redone: Vec<PathBuf>,
}

/// What the journal says about one object's file.
#[derive(Debug, Default)]
struct Redo {
    /// For each page the segment and the offset of its newest image.
    pages: BTreeMap<u32, (usize, u64)>,
    page_bytes: u32,
    database_pages: u32,
    is_deleted: bool,
}

/// Redoes what is in the journal and not certainly in the files.
///
/// # Errors
///
/// [`OpenError::Damaged`] unless `bad_record` allows for it; [`OpenError::DamagedFile`] if a file is
/// missing that only the checkpointed past could have made; [`OpenError::Io`], [`OpenError::Catalog`].
pub(crate) fn recover(
    disk: &dyn Disk,
    folder: &Folder,
    state: &FolderState,
    follower: &CatalogFollower,
    bad_record: BadRecord,
) -> Result<Recovered, OpenError> {
    let catalog_failed = |source| OpenError::Catalog { path: folder.catalog_path(), source };
    let checkpointed = follower.checkpointed().map_err(catalog_failed)?;
    let applied = follower.progress().applied();
    let mut objects: HashMap<Key, Redo> = HashMap::new();
    let mut changes = Vec::new();
    let mut visit = |found: Found| {
        if found.header.position > applied {
            changes.push(catalog_change(&found));
        }
        objects.entry(found.body.key.clone()).or_default().add(&found);
    };
    let journal = folder.journal_folder();
    let id = state.folder_id();
    let mut scan = scan(disk, &journal, id, checkpointed.next(), bad_record, &mut visit)?;
    if applied > scan.end.position {
        if bad_record == BadRecord::Refuse {
            let what = "the catalog has transactions that the journal lacks";
            return Err(OpenError::DamagedFile { path: journal, what });
        }
        let is_gone = |key: &Key| !folder.object_path(key).exists();
        follower.forget_lost(scan.end.position, is_gone).map_err(catalog_failed)?;
        scan.end.position = applied;
    }
    // If only the process died, some of this may be in the page cache alone. A machine that goes down
    // now must not keep a redone page and lose the record it came from.
    for segment in scan.segments.iter().filter(|_| !objects.is_empty()) {
        segment.file.sync().map_err(|err| io_error("sync", &segment.path, err))?;
    }
    let redone = redo_all(disk, folder, &scan, &objects, bad_record)?;
    if !redone.is_empty() {
        disk.sync_everything(folder.root()).map_err(|err| io_error("sync", folder.root(), err))?;
    }
    for batch in changes.chunks(CATALOG_BATCH) {
        follower.apply(batch).map_err(catalog_failed)?;
    }
    follower.start_at(scan.end.position).map_err(catalog_failed)?;
    follower.sync(true).map_err(|err| io_error("sync", &folder.catalog_path(), err))?;
    // What a loss of power in mode `os` has torn would be called damage by the next start.
    for segment in &scan.segments {
        let wiped = segment.file.write_at(&[0; HEADER_BLOCK_LEN], 0);
        let synced = wiped.and_then(|()| segment.file.sync());
        synced.map_err(|err| io_error("wipe", &segment.path, err))?;
    }
    // A recovery that was cut short here has wiped headers that the disk may still have. They must
    // not come back: without them sequences begin anew, below theirs.
    for segment in &scan.unused {
        segment.file.sync().map_err(|err| io_error("sync", &segment.path, err))?;
    }
    info!(position = %scan.end.position, objects = redone.len(), "recovered from the journal");
    let Scan { mut segments, unused, next_number, end, .. } = scan;
    segments.extend(unused);
    Ok(Recovered { end, segments, next_number, redone })
}

fn catalog_change(found: &Found) -> CatalogChange {
    let is_delete = found.body.change == BodyChange::Delete;
    CatalogChange {
        position: found.header.position,
        key: found.body.key.clone(),
        generation: found.header.generation,
        entry: (!is_delete).then(|| found.body.entry.clone()),
    }
}

impl Redo {
    fn add(&mut self, found: &Found) {
        match &found.body.change {
            BodyChange::Delete => *self = Redo { is_deleted: true, ..Redo::default() },
            BodyChange::Pages(pages) => {
                self.is_deleted = false;
                self.page_bytes = found.header.page_bytes;
                self.database_pages = found.header.database_pages;
                for &(number, offset) in pages {
                    self.pages.insert(number, (found.segment, found.offset + u64::from(offset)));
                }
            }
        }
    }
}

fn redo_all(
    disk: &dyn Disk,
    folder: &Folder,
    scan: &Scan,
    objects: &HashMap<Key, Redo>,
    bad_record: BadRecord,
) -> Result<Vec<PathBuf>, OpenError> {
    let mut paths: Vec<(PathBuf, &Redo)> =
        objects.iter().map(|(key, redo)| (folder.object_path(key), redo)).collect();
    // Neighbours on disk one after the other, and the same order every time.
    paths.sort_by(|left, right| left.0.cmp(&right.0));
    if !paths.is_empty() {
        info!(objects = paths.len(), to = %scan.end.position, "redoing transactions");
    }
    for (path, redo) in &paths {
        let failed = |err| io_error("redo", path, err);
        if redo.is_deleted {
            disk.remove(path).map_err(failed)?;
        } else if !redo_pages(disk, path, redo, scan).map_err(failed)? {
            let what = "pages that were written before the journal begins are missing";
            if bad_record == BadRecord::Refuse {
                return Err(OpenError::DamagedFile { path: path.clone(), what });
            }
            warn!(path = %path.display(), what, "an object's file is damaged");
        }
    }
    Ok(paths.into_iter().map(|(path, _)| path).collect())
}

/// Writes the newest image of each page. `Ok(false)` if other pages are missing in the file.
fn redo_pages(disk: &dyn Disk, path: &Path, redo: &Redo, scan: &Scan) -> io::Result<bool> {
    let file = create_with_folder(disk, path)?;
    let page_bytes = u64::from(redo.page_bytes);
    let pages_before = u32::try_from(file.len()? / page_bytes).unwrap_or(u32::MAX);
    let is_missing = |number: u32| number > pages_before && !redo.pages.contains_key(&number);
    let is_whole = !(1..=redo.database_pages).any(is_missing);
    let mut page = vec![0; redo.page_bytes as usize];
    for (&number, &(segment, offset)) in redo.pages.range(..=redo.database_pages) {
        scan.segments[segment].file.read_at(&mut page, offset)?;
        file.write_at(&page, u64::from(number - 1) * page_bytes)?;
    }
    file.set_len(u64::from(redo.database_pages) * page_bytes)?;
    Ok(is_whole)
}

fn create_with_folder(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    match disk.create(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            disk.create_folder(path.parent().unwrap_or(Path::new(".")))?;
            disk.create(path)
        }
        result => result,
    }
}

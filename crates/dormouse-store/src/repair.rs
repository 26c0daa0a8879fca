//! What to do about a data folder that does not open.
//!
//! Two things can be wrong that a person has to decide about: records of the journal that were
//! durable and are bad now, and a catalog that cannot be read. Repairing goes on without the records,
//! which means that their transactions are lost, and makes the catalog again from the objects.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::OptionalExtension as _;

use crate::catalog::{CatalogEntry, CatalogFollower};
use crate::check::{self, Defect};
use crate::clock::Timestamp;
use crate::commit_log::Position;
use crate::disk::{Disk, RealDisk};
use crate::error::OpenError;
use crate::folder::{Folder, FolderState, beside, boot_id, io_error};
use crate::journal::scan::{BadRecord, Found, Hole, oldest_position, scan};
use crate::key::Key;
use crate::ledger::CatalogChange;
use crate::recovery::recover;

/// What is wrong with a data folder, and what [`apply`] would do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One sentence per finding, and per loss that repairing it means. Empty if nothing is wrong.
    pub findings: Vec<String>,
    holes: Vec<Hole>,
    catalog_is_lost: bool,
}

/// What [`apply`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where the files are now as they were before.
    pub copies: PathBuf,
    /// Objects that are not intact afterwards: they depend on transactions that are lost.
    pub defects: Vec<Defect>,
}

/// Looks at a closed data folder and says what [`apply`] would do. Changes nothing.
///
/// # Errors
///
/// [`OpenError::InUse`] while a server runs on it; [`OpenError::Format`]; [`OpenError::Io`].
pub fn plan(folder: &Path) -> Result<Plan, OpenError> {
    let folder = Folder::lock(folder)?;
    let state = read_state(&folder)?;
    make_plan(&folder, &state)
}

/// Carries out a plan, after copying what it changes to `repair-<n>` in the folder.
///
/// `Ok` means that the folder opens. Epochs change if transactions were lost, so that no client takes
/// what comes for a continuation of what it has.
///
/// # Errors
///
/// As [`plan`]; [`OpenError::Options`] if the folder is not any more as it was planned for.
pub fn apply(folder: &Path, plan: &Plan) -> Result<Applied, OpenError> {
    let folder = Folder::lock(folder)?;
    let mut state = read_state(&folder)?;
    if make_plan(&folder, &state)? != *plan {
        return Err(OpenError::Options { what: "the folder has changed since the plan was made" });
    }
    let copies = copy_away(&folder)?;
    if plan.catalog_is_lost {
        rebuild_catalog(&folder, &state)?;
    }
    let disk = RealDisk;
    let follower = CatalogFollower::open(&disk, &folder.catalog_path())?;
    let redone = if state.clean && !plan.catalog_is_lost {
        Vec::new()
    } else {
        recover(&disk, &folder, &state, &follower, BadRecord::Skip)?.redone
    };
    drop(follower);
    state.losses += u64::from(!plan.holes.is_empty());
    state.clean = true;
    state.boot_id = boot_id();
    let written = folder.write_state(&disk, &state);
    written.map_err(|err| io_error("write", &folder.state_path(), err))?;
    let existing = redone.iter().filter(|path| path.exists());
    let defects = existing.filter_map(|path| check::defect_of(&folder, path)).collect();
    Ok(Applied { copies, defects })
}

fn read_state(folder: &Folder) -> Result<FolderState, OpenError> {
    folder.read_state(&RealDisk)?.ok_or(OpenError::Options { what: "the data folder is new" })
}

fn make_plan(folder: &Folder, state: &FolderState) -> Result<Plan, OpenError> {
    let mut plan = Plan::default();
    let journal = folder.journal_folder();
    let checkpointed = match read_checkpointed(folder) {
        Some(checkpointed) => checkpointed,
        None => {
            plan.catalog_is_lost = true;
            plan.findings.push(
                "the catalog cannot be read: it will be made again from the objects' files, \
                 without summaries and due times until each object's next transaction"
                    .to_owned(),
            );
            before_oldest(&journal, state)?
        }
    };
    if state.clean && !plan.catalog_is_lost {
        return Ok(plan);
    }
    let mut objects = HashSet::new();
    let mut visit = |found: Found| _ = objects.insert(found.body.key);
    let from = checkpointed.next();
    let found = scan(&RealDisk, &journal, state.folder_id(), from, BadRecord::Skip, &mut visit)?;
    for hole in &found.holes {
        plan.findings.push(format!(
            "{} is damaged at byte {}: transactions {} to {} are lost",
            hole.segment.display(),
            hole.offset,
            hole.first,
            hole.next.get().saturating_sub(1),
        ));
    }
    if !found.holes.is_empty() {
        plan.findings.push(format!(
            "all other transactions up to {} will be redone in the files of {} objects",
            found.end.position,
            objects.len(),
        ));
    }
    plan.holes = found.holes;
    Ok(plan)
}

/// What the catalog says about the journal; `None` if it says nothing.
#[expect(clippy::disallowed_methods, reason = "the catalog is opened to read, whatever it holds")]
fn read_checkpointed(folder: &Folder) -> Option<Position> {
    let path = folder.catalog_path();
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = rusqlite::Connection::open_with_flags(path, flags).ok()?;
    if check::integrity_of(&conn).ok()? != "ok" {
        return None;
    }
    let checkpointed: i64 =
        conn.query_row("SELECT checkpointed FROM progress", [], |row| row.get(0)).ok()?;
    Some(Position::new(checkpointed.cast_unsigned()))
}

fn before_oldest(journal: &Path, state: &FolderState) -> Result<Position, OpenError> {
    let oldest = oldest_position(&RealDisk, journal, state.folder_id())?;
    Ok(Position::new(oldest.map_or(0, |oldest| oldest.get().saturating_sub(1))))
}

/// Copies the journal, the catalog, and the files of all objects that the journal names.
fn copy_away(folder: &Folder) -> Result<PathBuf, OpenError> {
    let copies = (1_u32..)
        .map(|number| folder.root().join(format!("repair-{number}")))
        .find(|path| !path.exists())
        .expect("a folder has fewer than 4 billion files");
    let copy = || -> io::Result<()> {
        fs::create_dir_all(copies.join("journal"))?;
        for path in fs::read_dir(folder.journal_folder())? {
            let path = path?.path();
            fs::copy(&path, copies.join("journal").join(path.file_name().unwrap_or_default()))?;
        }
        let catalog = folder.catalog_path();
        for path in [beside(&catalog, "-wal"), folder.state_path(), catalog] {
            if path.exists() {
                fs::copy(&path, copies.join(path.file_name().unwrap_or_default()))?;
            }
        }
        for path in check::databases(&folder.objects_folder())? {
            let inside = path.strip_prefix(folder.root()).unwrap_or(&path);
            let to = copies.join(inside);
            fs::create_dir_all(to.parent().unwrap_or(&copies))?;
            fs::copy(&path, &to)?;
        }
        RealDisk.sync_everything(&copies)
    };
    copy().map_err(|err| io_error("copy files to", &copies, err))?;
    Ok(copies)
}

/// Makes a catalog from what the objects say about themselves, as of before the journal.
fn rebuild_catalog(folder: &Folder, state: &FolderState) -> Result<(), OpenError> {
    let path = folder.catalog_path();
    for suffix in ["-wal", "-shm"] {
        let old = beside(&path, suffix);
        RealDisk.remove(&old).map_err(|err| io_error("remove", &old, err))?;
    }
    CatalogFollower::create(&RealDisk, &path)?;
    let failed = |source| OpenError::Catalog { path: path.clone(), source };
    let follower = CatalogFollower::open(&RealDisk, &path)?;
    let objects = folder.objects_folder();
    let mut rows = Vec::new();
    for path in check::databases(&objects).map_err(|err| io_error("list", &objects, err))? {
        // What cannot be read is left to `dormouse check`, and what is a bare template is nothing.
        rows.extend(read_row(&path).ok().flatten());
    }
    follower.apply(&rows).map_err(failed)?;
    let start = before_oldest(&folder.journal_folder(), state)?;
    follower.start_at(start).map_err(failed)?;
    follower.sync(true).map_err(|err| io_error("sync", &path, err))
}

fn read_row(path: &Path) -> rusqlite::Result<Option<CatalogChange>> {
    let size_bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    let conn = check::open_closed(path)?;
    let sql = "SELECT kind, id, generation, created_ms FROM dormouse_object";
    let row: Option<(String, String, i64, i64)> =
        conn.query_row(sql, [], |row| row.try_into()).optional()?;
    Ok(row.and_then(|(kind, id, generation, created_ms)| {
        let created_at = Timestamp::from_ms(created_ms);
        Some(CatalogChange {
            position: Position::ZERO,
            key: Key::new(kind, id).ok()?,
            generation: generation.cast_unsigned(),
            entry: Some(CatalogEntry {
                created_at,
                last_active_at: created_at,
                size_bytes,
                next_due: None,
                summary: None,
            }),
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{add, entries, key, open, settle, tally};
    use crate::store::Store;

    /// A folder as a crash leaves it: objects `a` and `b` with three entries each, one after the
    /// other, of which only the first is in a file.
    fn crashed() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let mut a = store.open_object(&key("a"), &tally()).unwrap();
        let mut b = store.open_object(&key("b"), &tally()).unwrap();
        for n in 1..=3 {
            for object in [&mut a, &mut b] {
                add(object, n).unwrap();
                settle(&store, object);
                if n == 1 {
                    object.backfill().unwrap();
                }
            }
        }
        dir
    }

    fn segment_of(dir: &Path) -> PathBuf {
        dir.join("journal/segment-000000")
    }

    /// Changes a byte of the n-th record, counted from 0.
    fn damage(dir: &Path, record: usize) {
        let path = segment_of(dir);
        let mut bytes = fs::read(&path).unwrap();
        let mut offset = 4096;
        for _ in 0..record {
            let len: [u8; 4] = bytes[offset + 4..offset + 8].try_into().unwrap();
            offset += u32::from_le_bytes(len) as usize;
        }
        bytes[offset + 200] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    fn reopen(dir: &Path) -> Store {
        Store::open(crate::harness::options(dir).0).unwrap()
    }

    #[test]
    fn a_healthy_folder_needs_no_repair() {
        let dir = crashed();
        assert_eq!(plan(dir.path()).unwrap(), Plan::default());
    }

    #[test]
    fn a_bad_record_is_named_by_the_open_and_only_its_transaction_is_lost() {
        let dir = crashed();
        // The fourth record: `b` gets entry 2.
        damage(dir.path(), 3);
        let refused = Store::open(crate::harness::options(dir.path()).0);
        let segment = segment_of(dir.path());
        let is_named =
            matches!(&refused, Err(OpenError::Damaged { segment: named, .. }) if *named == segment);
        assert!(is_named, "{refused:?}");
        let before = fs::read(&segment).unwrap();

        let plan = plan(dir.path()).unwrap();
        assert_eq!(fs::read(&segment).unwrap(), before, "a plan changes nothing");
        assert!(plan.findings[0].contains("transactions 4 to 4 are lost"), "{plan:?}");
        let applied = apply(dir.path(), &plan).unwrap();

        assert_eq!(fs::read(applied.copies.join("journal/segment-000000")).unwrap(), before);
        assert_eq!(applied.defects, []);
        let store = reopen(dir.path());
        assert_eq!(entries(&mut store.open_object(&key("a"), &tally()).unwrap()), [1, 2, 3]);
        // The page that entry 3 was written to had entry 2 on it already.
        assert_eq!(entries(&mut store.open_object(&key("b"), &tally()).unwrap()), [1, 2, 3]);
    }

    #[test]
    fn a_loss_changes_every_epoch() {
        let dir = crashed();
        let key = key("a");
        let epoch = {
            let store = reopen(dir.path());
            let mut object = store.open_object(&key, &tally()).unwrap();
            for n in 10..13 {
                add(&mut object, n).unwrap();
                settle(&store, &object);
            }
            object.epoch()
        };
        damage(dir.path(), 1);

        let plan = plan(dir.path()).unwrap();
        apply(dir.path(), &plan).unwrap();

        assert_ne!(reopen(dir.path()).epoch(&key, 0), epoch);
    }

    #[test]
    fn a_catalog_that_cannot_be_read_is_made_again() {
        let dir = crashed();
        for path in ["catalog.db", "catalog.db-wal"] {
            fs::write(dir.path().join(path), "not a database, but quite long for that").unwrap();
        }
        let refused = Store::open(crate::harness::options(dir.path()).0);
        assert!(matches!(refused, Err(OpenError::Catalog { .. })), "{refused:?}");

        let plan = plan(dir.path()).unwrap();
        apply(dir.path(), &plan).unwrap();

        let store = reopen(dir.path());
        let rows = store.catalog().list("tally", None, 10, false).unwrap();
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(entries(&mut store.open_object(&key("b"), &tally()).unwrap()), [1, 2, 3]);
    }

    #[test]
    fn a_plan_for_another_state_of_the_folder_is_not_carried_out() {
        let dir = crashed();
        let plan = plan(dir.path()).unwrap();
        damage(dir.path(), 3);
        assert!(matches!(apply(dir.path(), &plan), Err(OpenError::Options { .. })));
    }
}

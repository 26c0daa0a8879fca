//! The start after a crash, and everything that must be true after it.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::life::rows;
use super::{Broken, Simulation};
use crate::check::databases;
use crate::clock::TestClock;
use crate::disk::faulty::FaultyDisk;
use crate::error::OpenError;
use crate::harness::{fast_folder, integrity, key, options};
use crate::journal::Background;
use crate::store::{Ground, Store};

/// A store that is open, and whether it has given up.
pub(super) struct Opened {
    pub store: Store,
    pub clock: Arc<TestClock>,
    pub is_fatal: Arc<AtomicBool>,
}

impl Simulation<'_> {
    /// Opens the folder, after attempts that are cut short, and checks all promises. Some objects
    /// are not woken for it, unless it is the last time.
    ///
    /// # Errors
    ///
    /// The promise that was not kept.
    pub(super) fn recover(
        &mut self,
        exists: bool,
        is_last: bool,
    ) -> Result<(FaultyDisk, Opened), String> {
        self.plan_options();
        // What only the page cache has may be gone after a first recovery, and then it differs.
        let is_certain = exists && self.still_running.is_none();
        let reference = if is_certain && self.random.chance(30) {
            let copy = fast_folder();
            copy_folder(self.root, copy.path());
            let disk = FaultyDisk::new(copy.path(), 1);
            drop(self.open(copy.path(), &disk).map_err(|err| told("recover a copy", &err))?);
            Some(databases_below(copy.path()))
        } else {
            None
        };
        for _ in 0..self.random.below(3) {
            self.recover_and_crash(exists)?;
        }
        let disk = self.disk(exists);
        let opened = self.open(self.root, &disk).map_err(|err| told("recover", &err))?;
        let once = databases_below(self.root);
        if let Some(reference) = &reference {
            differ("a recovery that was cut short", reference, &once)?;
        }
        self.check(&opened.store).map_err(|what| format!("after a recovery: {what}"))?;
        if !self.random.chance(30) {
            disk.skip(self.broken.and_then(Broken::skipped_in_life));
            self.check_objects(&opened.store, is_last)?;
            return Ok((disk, opened));
        }
        disk.kill();
        drop(opened);
        self.still_running = Some(disk);
        let disk = self.disk(exists);
        let opened = self.open(self.root, &disk).map_err(|err| told("recover again", &err))?;
        differ("a second recovery", &once, &databases_below(self.root))?;
        disk.skip(self.broken.and_then(Broken::skipped_in_life));
        self.check(&opened.store).map_err(|what| format!("after another recovery: {what}"))?;
        self.check_objects(&opened.store, is_last)?;
        Ok((disk, opened))
    }

    fn recover_and_crash(&mut self, exists: bool) -> Result<(), String> {
        let disk = self.disk(exists);
        self.plan_fault_of_recovery(&disk);
        match self.open(self.root, &disk) {
            Ok(_) => {}
            Err(_) if disk.is_dead() || disk.has_failed() => {
                self.summary.recoveries_cut_short += 1;
            }
            Err(err) => return Err(told("recover before a crash", &err)),
        }
        self.random.note(&mut self.summary.trace, disk.operations());
        self.crash(disk);
        Ok(())
    }

    /// The disk of the next process. If the machine went down, what is left of it is durable.
    fn disk(&mut self, exists: bool) -> FaultyDisk {
        let seed = self.random.next();
        let disk = match self.still_running.take() {
            Some(disk) => disk.restart(seed),
            None => FaultyDisk::new(self.root, seed),
        };
        // Making a folder is not what is broken.
        disk.skip(self.broken.filter(|_| exists).and_then(Broken::skipped_in_recovery));
        disk
    }

    fn open(&self, folder: &Path, disk: &FaultyDisk) -> Result<Opened, OpenError> {
        let (mut options, _) = options(folder);
        self.plan.apply(&mut options);
        let is_fatal = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&is_fatal);
        options.on_fatal = Box::new(move |_| noted.store(true, Ordering::Relaxed));
        let clock = Arc::new(TestClock::new());
        options.clock = Arc::clone(&clock) as _;
        let ground = Ground {
            disk: Arc::new(disk.clone()),
            log: None,
            background: Background::ByHand,
            too_early: self.broken.and_then(|broken| broken.too_early(&self.backfills)),
        };
        Store::open_standing_on(ground, options).map(|store| Opened { store, clock, is_fatal })
    }

    /// Compares journal, catalog and files, before any object is opened.
    fn check(&mut self, store: &Store) -> Result<(), String> {
        self.summary.lost_transactions += self.model.end_at(store.commit_log().durable())?;
        let listed = store.catalog().list("tally", None, usize::MAX, false);
        let listed = listed.map_err(|err| format!("the catalog cannot be read: {err}"))?;
        let ids: Vec<&str> = listed.iter().map(|row| &*row.id).collect();
        let exists = |index: &usize| self.model.newest_of(*index).entries.is_some();
        let indexes = (0..self.model.names.len()).filter(exists);
        let expected: Vec<&str> = indexes.map(|index| &*self.model.names[index]).collect();
        if ids != expected {
            return Err(format!("the catalog has {ids:?}, there ought to be {expected:?}"));
        }
        for row in &listed {
            let path = store.object_path(&key(&row.id));
            let bytes = fs::metadata(&path).map(|found| found.len()).unwrap_or(0);
            let said = row.entry.size_bytes;
            if bytes != said {
                return Err(format!("{} has {bytes} bytes, the catalog says {said}", row.id));
            }
        }
        Ok(())
    }

    /// Opens objects and compares them with what they ought to be: all of them, or those that do
    /// not sleep on until something is done to them.
    fn check_objects(&mut self, store: &Store, all: bool) -> Result<(), String> {
        for (index, name) in self.model.names.iter().enumerate() {
            if !all && self.random.chance(40) {
                continue;
            }
            let wrong = |what: String| format!("after a recovery: {name}: {what}");
            let opened = store.open_object(&key(name), &self.template);
            let mut object = opened.map_err(|err| wrong(format!("cannot be opened: {err}")))?;
            let found = rows(&mut object);
            let found = found.map_err(|err| wrong(format!("cannot be read: {err}")))?;
            let state = self.model.newest_of(index);
            state.compare(found.as_deref()).map_err(wrong)?;
            if integrity(&object) != "ok" {
                return Err(wrong(integrity(&object)));
            }
            if object.epoch() != store.epoch(&key(name), state.resets) {
                return Err(wrong(format!("it was not deleted {} times", state.resets)));
            }
        }
        Ok(())
    }
}

fn told(action: &str, err: &OpenError) -> String {
    let source = err.source().map(ToString::to_string).unwrap_or_default();
    format!("cannot {action}: {err}: {source}")
}

fn databases_below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = databases(&folder.join("objects")).expect("the folder can be read");
    let inside = |path: &Path| path.strip_prefix(folder).expect("it is below").to_path_buf();
    paths.iter().map(|path| (inside(path), fs::read(path).expect("it can be read"))).collect()
}

fn differ(
    what: &str,
    expected: &BTreeMap<PathBuf, Vec<u8>>,
    found: &BTreeMap<PathBuf, Vec<u8>>,
) -> Result<(), String> {
    let paths = expected.keys().chain(found.keys());
    match paths.into_iter().find(|path| expected.get(*path) != found.get(*path)) {
        Some(path) => Err(format!("{what} gives other bytes of {}", path.display())),
        None => Ok(()),
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is writable");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).expect("the folder is writable");
        }
    }
}

//! A disk that fails on request, and forgets what was not synced.
//!
//! Files are real, so the catalog's SQLite can stand on them. Beside them the disk keeps what is
//! durable: for each durable name the bytes of the last sync. A crash rewrites the real files to
//! something that a loss of power could have left: each 512-byte sector that was not synced is the old
//! or the new one, each name that was not synced is there or not, the catalog's like all others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, RealDisk};

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

const DEAD: &str = "the process is dead";

/// A disk for tests. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct FaultyDisk {
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    operations: u64,
    fault: Option<Fault>,
    /// The planned error has happened.
    has_failed: bool,
    /// What it says it did, and did not.
    skipped: Option<Skipped>,
    /// The process is dead: nothing works any more.
    is_dead: bool,
    is_full: bool,
    /// What a loss of power leaves at least.
    durable: BTreeMap<PathBuf, Vec<u8>>,
    /// Bytes of the last sync of files whose name is not durable.
    synced: BTreeMap<PathBuf, Vec<u8>>,
    /// Names that a rename gave to another file since they were durable.
    replaced: BTreeSet<PathBuf>,
    random: u64,
}

/// Something that goes wrong once, at the n-th operation, counted from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The process dies in the middle of it.
    Crash { at: u64 },
    /// Syncs from it on report an error.
    SyncError { at: u64 },
    /// It reports an error; if it is a sync, so do all later syncs.
    Error { at: u64 },
}

/// Operations that a disk leaves out, to break a rule of whoever relies on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Skipped {
    /// Syncing single files of the journal.
    SyncSegment,
    /// Syncing everything that SQLite wrote.
    SyncEverything,
    /// Cutting or extending an object's database.
    SetDatabaseLen,
}

/// What a crash does to what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing: the process died, not the machine.
    Nothing,
    /// All of it is lost.
    Everything,
    /// Each sector and name by itself, at random.
    Some,
}

impl FaultyDisk {
    /// A disk with what is in `root` now, all of it durable.
    pub(crate) fn new(root: &Path, seed: u64) -> FaultyDisk {
        let durable = files_below(root).into_iter().map(read_pair).collect();
        let state = State { durable, ..State::new(seed) };
        FaultyDisk { root: root.to_path_buf(), state: Arc::new(Mutex::new(state)) }
    }

    /// The disk for the next process, after a crash that lost nothing: what was not synced is still
    /// not synced.
    pub(crate) fn restart(&self, seed: u64) -> FaultyDisk {
        self.restart_in(&self.root, seed)
    }

    /// As [`restart`](Self::restart), in a copy of the folder.
    pub(crate) fn restart_in(&self, root: &Path, seed: u64) -> FaultyDisk {
        let moved = |path: &PathBuf| {
            root.join(path.strip_prefix(&self.root).expect("the disk has no other files"))
        };
        let files = |files: &BTreeMap<PathBuf, Vec<u8>>| {
            files.iter().map(|(path, bytes)| (moved(path), bytes.clone())).collect()
        };
        let state = self.state.lock();
        let next = State {
            durable: files(&state.durable),
            synced: files(&state.synced),
            replaced: state.replaced.iter().map(moved).collect(),
            ..State::new(seed)
        };
        FaultyDisk { root: root.to_path_buf(), state: Arc::new(Mutex::new(next)) }
    }

    /// Plans a fault.
    pub(crate) fn plan(&self, fault: Fault) {
        self.state.lock().fault = Some(fault);
    }

    /// Makes everything fail that needs more space, or work again.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.state.lock().is_full = is_full;
    }

    /// Leaves out all operations of a kind from now on.
    pub(crate) fn skip(&self, skipped: Option<Skipped>) {
        self.state.lock().skipped = skipped;
    }

    /// Ends the process: nothing works any more.
    pub(crate) fn kill(&self) {
        self.state.lock().is_dead = true;
    }

    /// Whether the process is dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.state.lock().is_dead
    }

    /// Whether an error that was planned has been reported.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().has_failed
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Rewrites the real files to what a crash may leave. Nobody may have one open.
    pub(crate) fn crash(&self, loss: Loss) {
        let state = &mut *self.state.lock();
        state.is_dead = true;
        if loss == Loss::Nothing {
            return;
        }
        let mut paths: BTreeSet<PathBuf> = files_below(&self.root).into_iter().collect();
        paths.extend(state.durable.keys().cloned());
        for path in paths {
            let now = fs::read(&path).ok();
            let left = state.after_crash(&path, now.as_deref(), loss);
            match left {
                Some(bytes) => fs::write(&path, bytes).expect("the folder is writable"),
                None if now.is_some() => fs::remove_file(&path).expect("the folder is writable"),
                None => {}
            }
        }
    }

    fn operate(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operations += 1;
        if let Some(Fault::Crash { at }) = state.fault
            && state.operations >= at
        {
            state.is_dead = true;
        }
        if state.is_dead {
            return Err(io::Error::other(DEAD));
        }
        match state.fault {
            Some(Fault::Error { at }) if state.operations == at => {
                state.has_failed = true;
                Err(io::Error::other("the disk has failed"))
            }
            _ => Ok(()),
        }
    }

    fn operate_with_space(&self) -> io::Result<()> {
        self.operate()?;
        if self.state.lock().is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn operate_sync(&self) -> io::Result<()> {
        if let Err(err) = self.operate() {
            let mut state = self.state.lock();
            // What a failed sync leaves is unknown, and a second one that succeeds says nothing.
            if state.has_failed {
                state.fault = Some(Fault::SyncError { at: 0 });
            }
            return Err(err);
        }
        let mut state = self.state.lock();
        match state.fault {
            Some(Fault::SyncError { at }) if state.operations >= at => {
                state.has_failed = true;
                Err(io::Error::other("the disk cannot write"))
            }
            _ => Ok(()),
        }
    }

    /// Whether an operation on a file is to be left out.
    fn skips(&self, skipped: Skipped, path: &Path) -> bool {
        let is_concerned = match skipped {
            Skipped::SyncSegment => path.to_string_lossy().contains("/journal/segment-"),
            Skipped::SyncEverything => true,
            Skipped::SetDatabaseLen => is_database(path),
        };
        is_concerned && self.state.lock().skipped == Some(skipped)
    }
}

impl State {
    fn new(seed: u64) -> State {
        State {
            operations: 0,
            fault: None,
            has_failed: false,
            skipped: None,
            is_dead: false,
            is_full: false,
            durable: BTreeMap::new(),
            synced: BTreeMap::new(),
            replaced: BTreeSet::new(),
            // Xorshift never leaves zero.
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// What is left of a file that has the bytes `now`; `None` if the file is gone.
    fn after_crash(&mut self, path: &Path, now: Option<&[u8]>, loss: Loss) -> Option<Vec<u8>> {
        let durable = self.durable.get(path).cloned();
        let is_replaced = self.replaced.contains(path);
        let takes_new = loss == Loss::Some && self.coin();
        match (durable, now) {
            (Some(durable), Some(now)) if !is_replaced => Some(self.mix(durable, now, loss)),
            (durable, Some(now)) if takes_new => {
                let base = self.synced.get(path).cloned();
                drop(durable);
                Some(self.mix(base.unwrap_or_default(), now, loss))
            }
            (Some(_), None) if takes_new => None,
            (durable, _) => durable,
        }
    }

    /// Each sector of the old or of the new bytes.
    fn mix(&mut self, old: Vec<u8>, new: &[u8], loss: Loss) -> Vec<u8> {
        if loss == Loss::Everything {
            return old;
        }
        let mut mixed = old;
        if self.coin() {
            mixed.resize(new.len(), 0);
        }
        for start in (0..mixed.len().min(new.len())).step_by(SECTOR) {
            let end = (start + SECTOR).min(mixed.len()).min(new.len());
            if self.coin() {
                mixed[start..end].copy_from_slice(&new[start..end]);
            }
        }
        mixed
    }

    fn coin(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random & 1024 == 0
    }

    fn note_synced(&mut self, path: &Path, bytes: Vec<u8>) {
        match self.durable.get_mut(path) {
            Some(durable) if !self.replaced.contains(path) => *durable = bytes,
            _ => _ = self.synced.insert(path.to_path_buf(), bytes),
        }
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.operate_with_space()?;
        Ok(self.file(path, RealDisk.create(path)?))
    }

    fn create_direct(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.operate()?;
        Ok(self.file(path, RealDisk.open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.operate()?;
        RealDisk.read(path)
    }

    fn remove(&self, path: &Path) -> io::Result<bool> {
        self.operate()?;
        self.state.lock().synced.remove(path);
        RealDisk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operate()?;
        RealDisk.rename(from, to)?;
        let mut state = self.state.lock();
        let synced = state.synced.remove(from).or_else(|| state.durable.get(from).cloned());
        state.synced.insert(to.to_path_buf(), synced.unwrap_or_default());
        state.replaced.insert(to.to_path_buf());
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.operate_with_space()?;
        RealDisk.create_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.operate()?;
        RealDisk.list(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.operate_sync()?;
        let state = &mut *self.state.lock();
        // What is beside the folder belongs to somebody else, and may come and go.
        if !folder.starts_with(&self.root) {
            return Ok(());
        }
        let is_inside = |path: &Path| path.parent() == Some(folder);
        state.durable.retain(|path, _| !is_inside(path) || path.exists());
        for path in files_below(folder).into_iter().filter(|path| is_inside(path)) {
            let synced = state.synced.remove(&path);
            if state.replaced.remove(&path) || !state.durable.contains_key(&path) {
                state.durable.insert(path, synced.unwrap_or_default());
            }
        }
        Ok(())
    }

    fn sync_everything(&self, folder: &Path) -> io::Result<()> {
        self.operate_sync()?;
        if self.skips(Skipped::SyncEverything, folder) {
            return Ok(());
        }
        let mut state = self.state.lock();
        state.durable = files_below(&self.root).into_iter().map(read_pair).collect();
        state.synced.clear();
        state.replaced.clear();
        Ok(())
    }
}

impl FaultyDisk {
    fn file(&self, path: &Path, real: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile { disk: self.clone(), path: path.to_path_buf(), real })
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
    real: Box<dyn DiskFile>,
}

impl FaultyFile {
    /// SQLite reads so often that most faults would be planned for its reads: they do not count.
    fn operate_read(&self) -> io::Result<()> {
        if !is_database(&self.path) {
            return self.disk.operate();
        }
        if self.disk.is_dead() { Err(io::Error::other(DEAD)) } else { Ok(()) }
    }
}

/// Whether it is the database of an object.
fn is_database(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.contains("/objects/") && name.ends_with(".db")
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.operate_read()?;
        self.real.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.operate_read()?;
        self.real.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let was_alive = !self.disk.state.lock().is_dead;
        if let Err(err) = self.disk.operate() {
            // Dying in a write leaves the first part of it.
            if was_alive && self.disk.state.lock().is_dead {
                let sectors = bytes.len() / SECTOR / 2;
                self.real.write_at(&bytes[..sectors * SECTOR], offset)?;
            }
            return Err(err);
        }
        // What is written over what is there needs no space.
        let is_longer = offset + bytes.len() as u64 > self.real.len()?;
        if is_longer && self.disk.state.lock().is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.real.write_at(bytes, offset)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.disk.operate_with_space()?;
        self.real.reserve(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.operate_with_space()?;
        if self.disk.skips(Skipped::SetDatabaseLen, &self.path) {
            return Ok(());
        }
        self.real.set_len(len)
    }

    fn lock(&self) -> io::Result<()> {
        self.disk.operate()?;
        self.real.lock()
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operate_sync()?;
        if self.disk.skips(Skipped::SyncSegment, &self.path) {
            return Ok(());
        }
        // Read under the lock, or of two syncs the one with the older bytes might be noted last.
        let mut state = self.disk.state.lock();
        state.note_synced(&self.path, fs::read(&self.path)?);
        Ok(())
    }
}

fn read_pair(path: PathBuf) -> (PathBuf, Vec<u8>) {
    // SQLite may remove a file of its own at any moment.
    let bytes = fs::read(&path).unwrap_or_default();
    (path, bytes)
}

/// All files below a folder that a loss of power concerns: not the lock, and not the index of a WAL,
/// which SQLite makes anew.
fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name != "lock" && !name.ends_with("-shm") {
                files.push(path);
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_under_a_synced_name_survives_and_the_rest_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(dir.path(), 1);
        let path = dir.path().join("a");
        let file = disk.create(&path).unwrap();
        file.write_at(b"old", 0).unwrap();
        file.sync().unwrap();
        disk.sync_folder(dir.path()).unwrap();
        file.write_at(b"new", 0).unwrap();
        disk.create(&dir.path().join("b")).unwrap().sync().unwrap();

        disk.crash(Loss::Everything);

        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(!dir.path().join("b").exists(), "its name was never synced");
    }

    #[test]
    fn a_removed_file_comes_back_unless_its_folder_was_synced() {
        for is_synced in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a");
            fs::write(&path, b"x").unwrap();
            let disk = FaultyDisk::new(dir.path(), 1);
            disk.remove(&path).unwrap();
            if is_synced {
                disk.sync_folder(dir.path()).unwrap();
            }
            disk.crash(Loss::Everything);
            assert_eq!(path.exists(), !is_synced);
        }
    }

    #[test]
    fn a_replaced_file_is_the_old_or_the_new_one() {
        let mut seen = BTreeSet::new();
        for seed in 1..40 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.json");
            fs::write(&path, b"old").unwrap();
            let disk = FaultyDisk::new(dir.path(), seed);
            let draft = disk.create(&dir.path().join("a.new")).unwrap();
            draft.write_at(b"new", 0).unwrap();
            draft.sync().unwrap();
            disk.rename(&dir.path().join("a.new"), &path).unwrap();
            disk.crash(Loss::Some);
            seen.insert(fs::read(&path).unwrap());
        }
        assert_eq!(seen, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
    }
}

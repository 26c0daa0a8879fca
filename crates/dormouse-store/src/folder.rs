//! The data folder: where things are in it, who has it, and what it says about itself.
//!
//! ```text
//! lock              taken while a process has the folder; holds its process id
//! dormouse.json     format, identity, and how the last process left (`FolderState`)
//! catalog.db        the list of all objects
//! journal/          segments of the commit journal
//! objects/<kind>/<2 hex>/<32 hex>.db     one file per object, named by a hash of its id
//! ```

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk};
use crate::error::OpenError;
use crate::key::Key;
use crate::options::Durability;
use crate::store::Epoch;

/// The format of data folders that this program reads and writes.
pub(crate) const FORMAT: u32 = 1;

/// Where Linux says which boot this is. A process that finds another one there than the last
/// process did knows that the page cache is gone.
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// A data folder that this process has the lock of.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    // Held for the lock on it, which goes when the file is closed.
    _lock: File,
}

/// What a data folder says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct FolderState {
    /// See [`FORMAT`].
    pub format: u32,
    /// Random, 32 hex digits: tells this folder from all others.
    pub id: String,
    /// How often acknowledged events may have been lost. Part of every epoch.
    pub losses: u64,
    /// In which mode the last process ran.
    pub durability: Durability,
    /// In which boot of the machine it started.
    pub boot_id: String,
    /// Whether it closed the folder: nothing is left to redo.
    pub clean: bool,
}

/// Only the part of [`FolderState`] that every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

impl Folder {
    /// Makes the folder if it does not exist, and takes its lock.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`], [`OpenError::NotWritable`].
    pub(crate) fn lock(root: &Path) -> Result<Folder, OpenError> {
        let not_writable = |source| OpenError::NotWritable { folder: root.to_path_buf(), source };
        fs::create_dir_all(root).map_err(not_writable)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(root.join("lock")).map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Whoever has the lock may not have written its id yet: then it stays unknown.
                let _unknown = lock.read_to_string(&mut text);
                let pid = text.trim().parse().ok();
                return Err(OpenError::InUse { folder: root.to_path_buf(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(not_writable(source)),
        }
        write_pid(&mut lock).map_err(not_writable)?;
        Ok(Folder { root: root.to_path_buf(), _lock: lock })
    }

    /// Reads what the folder says about itself; `None` if it is new.
    ///
    /// # Errors
    ///
    /// [`OpenError::Format`] if it is not ours to read, or if it holds files but says nothing.
    pub(crate) fn read_state(&self, disk: &dyn Disk) -> Result<Option<FolderState>, OpenError> {
        let path = self.state_path();
        let bytes = match disk.read(&path) {
            Ok(bytes) => bytes,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                // A first start that was cut short leaves little. Anything else without a state is a
                // folder that somebody uses for other things, or one that lost its state.
                return match disk.list(&self.root) {
                    Ok(paths) if paths.iter().all(|path| is_leftover_of_first_start(path)) => {
                        Ok(None)
                    }
                    Ok(_) => Err(self.wrong_format("unknown".to_owned())),
                    Err(source) => Err(io_error("list", &self.root, source)),
                };
            }
            Err(source) => return Err(io_error("read", &path, source)),
        };
        match serde_json::from_slice::<AnyFormat>(&bytes) {
            Ok(AnyFormat { format: FORMAT }) => {}
            Ok(AnyFormat { format }) => return Err(self.wrong_format(format.to_string())),
            Err(_) => return Err(self.wrong_format("unknown".to_owned())),
        }
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| OpenError::DamagedFile { path, what: "it is not what the format says" })
    }

    /// Makes a new state durable.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn write_state(&self, disk: &dyn Disk, state: &FolderState) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(state).map_err(io::Error::other)?;
        text.push('\n');
        disk::replace(disk, &self.state_path(), text.as_bytes())
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where [`FolderState`] is.
    pub(crate) fn state_path(&self) -> PathBuf {
        self.root.join("dormouse.json")
    }

    /// Where the catalog is.
    pub(crate) fn catalog_path(&self) -> PathBuf {
        self.root.join("catalog.db")
    }

    /// Where the journal's segments are.
    pub(crate) fn journal_folder(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// Where the objects are.
    pub(crate) fn objects_folder(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// Where one object's database is.
    pub(crate) fn object_path(&self, key: &Key) -> PathBuf {
        let hash = blake3::hash(key.id().as_bytes()).to_hex();
        let name = &hash.as_str()[..32];
        let mut path = self.objects_folder();
        path.push(key.kind());
        path.push(&name[..2]);
        path.push(format!("{name}.db"));
        path
    }

    fn wrong_format(&self, found: String) -> OpenError {
        OpenError::Format { folder: self.root.clone(), found, supported: FORMAT }
    }
}

impl FolderState {
    /// The state of a folder that was just made.
    pub(crate) fn new(durability: Durability) -> FolderState {
        let random = random_bytes();
        FolderState {
            format: FORMAT,
            id: random.iter().map(|byte| format!("{byte:02x}")).collect(),
            losses: 0,
            durability,
            boot_id: boot_id(),
            clean: true,
        }
    }

    /// What segments say of the folder they belong to.
    pub(crate) fn folder_id(&self) -> [u8; 16] {
        let mut first = [0; 16];
        blake3::Hasher::new().update(self.id.as_bytes()).finalize_xof().fill(&mut first);
        first
    }

    /// The epoch of an object that was deleted `resets` times.
    pub(crate) fn epoch(&self, key: &Key, resets: u64) -> Epoch {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.id.as_bytes());
        hasher.update(&self.losses.to_le_bytes());
        hasher.update(&resets.to_le_bytes());
        // A kind has no '/', so no two keys have the same bytes here.
        hasher.update(key.kind().as_bytes()).update(b"/").update(key.id().as_bytes());
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        Epoch::from_bytes(first)
    }
}

/// The file that SQLite keeps beside a database: `-wal`, `-shm` or `-journal`.
pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(suffix);
    PathBuf::from(name)
}

/// Which boot of the machine this is; empty where the system does not say, which counts as another
/// boot every time.
pub(crate) fn boot_id() -> String {
    fs::read_to_string(BOOT_ID_PATH).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// Sixteen bytes that nobody has seen before.
pub(crate) fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes once it is up");
    bytes
}

pub(crate) fn io_error(action: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { action, path: path.to_path_buf(), source }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn is_leftover_of_first_start(path: &Path) -> bool {
    let names = ["lock", "dormouse.new", "catalog.new", "catalog.new-journal", "catalog.db"];
    path.file_name().is_some_and(|name| names.iter().any(|leftover| name == *leftover))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_second_opener_is_told_who_has_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Folder::lock(dir.path()).unwrap();

        let second = Folder::lock(dir.path());

        let pid = Some(std::process::id());
        assert!(matches!(second, Err(OpenError::InUse { pid: found, .. }) if found == pid));
    }

    #[test]
    fn a_folder_of_another_format_is_refused_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("dormouse.json"), r#"{"format": 7, "new": "field"}"#).unwrap();

        let folder = Folder::lock(dir.path()).unwrap();
        let err = folder.read_state(&RealDisk).unwrap_err();

        assert!(matches!(&err, OpenError::Format { found, .. } if found == "7"), "{err}");
        assert!(!err.to_string().contains('\n'));
    }

    #[test]
    fn a_folder_with_other_files_in_it_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();

        let folder = Folder::lock(dir.path()).unwrap();

        let err = folder.read_state(&RealDisk).unwrap_err();
        assert!(matches!(err, OpenError::Format { .. }), "{err}");
    }

    #[test]
    fn a_state_is_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::lock(dir.path()).unwrap();
        let state = FolderState::new(Durability::Fsync);

        folder.write_state(&RealDisk, &state).unwrap();

        assert_eq!(folder.read_state(&RealDisk).unwrap(), Some(state));
    }

    #[test]
    fn a_hostile_id_stays_inside_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::lock(dir.path()).unwrap();
        let key = Key::new("note", "../../../etc/passwd").unwrap();

        let path = folder.object_path(&key);

        let inside = path.strip_prefix(dir.path()).unwrap().to_str().unwrap();
        assert!(inside.starts_with("objects/note/") && !inside.contains(".."), "{inside}");
    }

    #[test]
    fn the_epoch_changes_with_each_of_its_parts() {
        let state = FolderState::new(Durability::Fsync);
        let key = Key::new("note", "a").unwrap();
        let base = state.epoch(&key, 0);

        assert_eq!(state.epoch(&key, 0), base);
        assert_ne!(state.epoch(&key, 1), base);
        assert_ne!(state.epoch(&Key::new("note", "b").unwrap(), 0), base);
        assert_ne!(FolderState { losses: 1, ..state }.epoch(&key, 0), base);
        assert_ne!(FolderState::new(Durability::Fsync).epoch(&key, 0), base);
    }
}

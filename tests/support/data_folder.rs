//! What is on the disk, seen from outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

/// A server's data folder in a temporary place. Clones share it; the last one deletes it.
#[derive(Clone, Debug)]
pub struct DataFolder {
    parent: Arc<TempDir>,
}

impl DataFolder {
    /// A place for a data folder. The server makes the folder itself.
    ///
    /// # Panics
    ///
    /// If the machine has no room for temporary files.
    pub fn new() -> DataFolder {
        let parent = tempfile::Builder::new().prefix("dormouse-e2e-").tempdir();
        DataFolder { parent: Arc::new(parent.expect("a temporary folder can be made")) }
    }

    /// The data folder; it does not exist before a server has started on it.
    pub fn path(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    /// The folder around it, for files that a test needs beside the data.
    pub fn parent(&self) -> &Path {
        self.parent.path()
    }

    /// All files of objects, sorted: databases and whatever SQLite keeps beside them.
    pub fn object_files(&self) -> Vec<PathBuf> {
        self.files().into_iter().filter(|path| path.starts_with("objects")).collect()
    }

    /// Removes the segments of the journal.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn remove_journal(&self) {
        let segments = files_below(&self.path().join("journal"));
        assert!(!segments.is_empty(), "the folder has a journal");
        for segment in segments {
            fs::remove_file(segment).expect("no server is at work there");
        }
    }

    /// All files, sorted, relative to the data folder.
    pub fn files(&self) -> Vec<PathBuf> {
        let root = self.path();
        let mut files = files_below(&root);
        for file in &mut files {
            *file = file.strip_prefix(&root).expect("it was found there").to_path_buf();
        }
        files
    }

    /// All files below the folder around the data, to see that nothing was written elsewhere.
    pub fn files_around(&self) -> Vec<PathBuf> {
        files_below(self.parent())
    }
}

impl Default for DataFolder {
    fn default() -> DataFolder {
        DataFolder::new()
    }
}

/// A file that goes away while it is looked for is left out: a server is at work there.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) => files.push(entry.path()),
                Err(_) => {}
            }
        }
    }
    files.sort();
    files
}

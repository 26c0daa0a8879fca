//! A folder with files that a test writes: settings, keys.

use tempfile::TempDir;

/// A folder that is removed when it is dropped.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
}

impl Folder {
    /// An empty one.
    ///
    /// # Panics
    ///
    /// If there is no room.
    pub fn new() -> Folder {
        Folder { folder: TempDir::new().expect("there is room for a folder") }
    }

    /// Puts a file there, in place of one of that name in one step. Gives its path.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> String {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        std::fs::write(&new, text).expect("the folder takes files");
        std::fs::rename(&new, &path).expect("the folder takes files");
        path
    }

    /// The path of a file of that name, whether it exists or not.
    ///
    /// # Panics
    ///
    /// If the folder for temporary files has a name that is not UTF-8.
    pub fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("tests have paths in UTF-8").to_owned()
    }
}

impl Default for Folder {
    fn default() -> Folder {
        Folder::new()
    }
}

//! Whether every object of a data folder is intact.

use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// An object whose file is not intact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, in one line.
    pub what: String,
}

/// What [`all`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects looked at.
    pub objects: u64,
    /// Those that are not intact.
    pub defects: Vec<Defect>,
}

/// Checks the integrity of every object of a closed data folder. Changes nothing.
///
/// Calls `progress` with the number of objects done, after each.
///
/// # Errors
///
/// [`OpenError::InUse`] while a server runs on it; [`OpenError::Io`].
pub fn all(folder: &Path, progress: &mut dyn FnMut(u64)) -> Result<Report, OpenError> {
    let _ = (folder, progress);
    todo!()
}

//! What to do about a data folder that does not open.

use std::path::Path;

use crate::error::OpenError;

/// What is wrong with a data folder, and what [`apply`] would do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One sentence per finding, and per loss that repairing it means.
    pub findings: Vec<String>,
}

/// Looks at a closed data folder and says what [`apply`] would do. Changes nothing.
///
/// # Errors
///
/// [`OpenError::InUse`] while a server runs on it; [`OpenError::Io`].
pub fn plan(folder: &Path) -> Result<Plan, OpenError> {
    let _ = folder;
    todo!()
}

/// Carries out a plan, after copying what it changes to `repair-<n>` in the folder.
///
/// # Errors
///
/// As [`plan`].
pub fn apply(folder: &Path, plan: &Plan) -> Result<(), OpenError> {
    let _ = (folder, plan);
    todo!()
}

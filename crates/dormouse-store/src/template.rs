//! What a new object's database looks like.

use std::fmt;

/// Numbered, forward-only migrations under one name.
///
/// A kind has its own set and shares others, such as that of the event log. The version of each set
/// is kept in the object's table `dormouse_schema(name PRIMARY KEY, version)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationSet {
    /// Name of the set, unique within a template.
    pub name: &'static str,
    /// SQL scripts. Step n brings version n to version n + 1; steps are never changed, only added.
    pub steps: &'static [&'static str],
}

/// The database of an object of one kind that nobody has written to yet, and how to bring older
/// files to the same schema.
pub struct Template {
    image: Vec<u8>,
    sets: Vec<MigrationSet>,
}

/// Why a template could not be built. The kind's author has to change its SQL.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Two sets have the same name.
    #[error("two migration sets are called {name}")]
    DuplicateSet {
        /// The name.
        name: &'static str,
    },
    /// A step is not valid SQL.
    #[error("step {step} of the migrations {set} of kind {kind} does not run")]
    Step {
        /// The kind.
        kind: String,
        /// The name of the set.
        set: &'static str,
        /// The step, counted from 1.
        step: usize,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite could not make or copy the database.
    #[error("a template cannot be made in memory")]
    Sqlite(#[source] rusqlite::Error),
}

impl Template {
    /// Runs all migrations of `sets`, in order, on an empty database in memory.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: the SQL of the kind is wrong.
    pub fn build(kind: &str, sets: Vec<MigrationSet>) -> Result<Template, TemplateError> {
        let _ = (kind, &sets);
        todo!()
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("bytes", &self.image.len())
            .field("sets", &self.sets)
            .finish_non_exhaustive()
    }
}

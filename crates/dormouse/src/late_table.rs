//! Tables that an object gets when it first needs them.
//!
//! In the template each would cost every object of every kind a page of its file, and each wake the
//! time to read about it.

use rusqlite::Connection;

use crate::error::Error;

/// A table of the runtime that most objects do without.
pub(crate) struct LateTable {
    /// Its name.
    pub(crate) name: &'static str,
    /// The statements that make it and its indexes.
    pub(crate) create: &'static [&'static str],
}

impl LateTable {
    /// Whether the object has it.
    pub(crate) fn exists(&self, connection: &Connection) -> Result<bool, Error> {
        Ok(connection.table_exists(None, self.name)?)
    }

    /// Makes it, unless the object has it.
    pub(crate) fn ensure(&self, connection: &Connection) -> Result<(), Error> {
        if self.exists(connection)? {
            return Ok(());
        }
        for statement in self.create {
            connection.execute(statement, [])?;
        }
        Ok(())
    }
}

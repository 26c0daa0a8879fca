//! Questions about all objects of a kind, answered from the catalog.

use dormouse_store::{Catalog, Timestamp};

use crate::error::Error;

/// The objects of one kind that have set a summary, as the catalog knows them.
///
/// What a client was told to be stored is in it: the catalog first applies everything that was
/// durable when the question arrived.
#[derive(Debug)]
pub struct Listing<'a> {
    catalog: &'a Catalog,
    kind: &'static str,
}

/// One object in a [`Listing`].
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// When its file was created.
    pub created_at: Timestamp,
    /// The JSON it gave to [`Cx::set_summary`](crate::Cx::set_summary).
    pub summary: String,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(catalog: &'a Catalog, kind: &'static str) -> Listing<'a> {
        Listing { catalog, kind }
    }

    /// At most `limit` objects whose id sorts after `after`, by id.
    ///
    /// # Errors
    ///
    /// SERVICE_UNAVAILABLE if the catalog is too far behind; retry.
    pub fn after(&self, after: Option<&str>, limit: u32) -> Result<Vec<Listed>, Error> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let rows = self.catalog.list(self.kind, after, limit, true)?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let summary = row.entry.summary?;
                Some(Listed { id: row.id, created_at: row.entry.created_at, summary })
            })
            .collect())
    }
}

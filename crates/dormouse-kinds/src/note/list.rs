//! `list`: all notes, answered from the catalog without opening one.

use dormouse::{Error, Listing, PageLimit, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::note::NoteData;

/// Input of `list`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only notes whose id sorts after this one; from the first if left out.
    pub after: Option<String>,
    /// At most so many, 1 to 200; 50 if left out.
    #[serde(default)]
    pub limit: PageLimit,
}

/// Result of `list`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NoteList {
    /// By id.
    pub notes: Vec<NoteSummary>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub next: Option<String>,
}

/// One note in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NoteSummary {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its newest version.
    pub version: u64,
    /// When that was made.
    pub updated_at: Timestamp,
}

/// What the catalog keeps of a note beside its id.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Summary {
    title: String,
    version: u64,
    updated_at_ms: i64,
}

impl Summary {
    pub(super) fn of(data: &NoteData) -> Summary {
        let (title, version) = (data.title.clone(), data.version);
        Summary { title, version, updated_at_ms: data.updated_at.as_ms() }
    }
}

pub(super) fn list(listing: &Listing<'_>, input: List) -> Result<NoteList, Error> {
    let page = input.limit.cut(listing.after(input.after.as_deref(), input.limit.read())?);
    let next = page.items.last().filter(|_| page.has_next).map(|last| last.id.clone());
    let notes = page
        .items
        .into_iter()
        .map(|listed| {
            let summary: Summary =
                serde_json::from_str(&listed.summary).map_err(Error::internal)?;
            Ok(NoteSummary {
                id: listed.id,
                title: summary.title,
                version: summary.version,
                updated_at: Timestamp::from_ms(summary.updated_at_ms),
            })
        })
        .collect::<Result<Vec<NoteSummary>, Error>>()?;
    Ok(NoteList { notes, next })
}

//! `history`: the versions of a note.

use dormouse::{Cx, Error, PageLimit, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::note::{Note, NoteData};

/// A page stops before it holds more text than this.
const PAGE_BYTES_MAX: usize = 4 << 20;

const SELECT_BEFORE: &str = "
    SELECT version, title, blob, created_at_ms, updated_at_ms FROM note_version
    WHERE version < ?1 ORDER BY version DESC LIMIT ?2";

/// Input of `history`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetHistory {
    /// Only versions below this one; from the newest if left out.
    pub before: Option<u64>,
    /// At most so many, 1 to 200; 50 if left out.
    #[serde(default)]
    pub limit: PageLimit,
}

/// Result of `history`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct History {
    /// Newest first.
    pub versions: Vec<NoteData>,
    /// Pass it as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub next: Option<u64>,
}

impl Note {
    pub(super) fn history(&self, cx: &Cx<Self>, input: GetHistory) -> Result<History, Error> {
        self.existing()?;
        let before =
            input.before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
        let id = cx.id();
        let mut bytes = 0;
        let rows = cx.sql().rows_while(SELECT_BEFORE, (before, input.limit.read()), |row| {
            let version = NoteData::read(id, row)?;
            bytes += version.title.len() + version.blob.len();
            Ok((bytes <= PAGE_BYTES_MAX).then_some(version))
        })?;
        let page = input.limit.cut(rows.read);
        let has_next = page.has_next || rows.stopped;
        let versions = page.items;
        let next = versions.last().filter(|_| has_next).map(|oldest| oldest.version);
        Ok(History { versions, next })
    }
}

impl NoteData {
    /// Reads the columns of [`SELECT_BEFORE`] and its like.
    pub(super) fn read(id: &str, row: &dormouse::Row<'_>) -> Result<NoteData, dormouse::SqlError> {
        Ok(NoteData {
            id: id.to_owned(),
            version: row.get(0)?,
            title: row.get(1)?,
            blob: row.get(2)?,
            created_at: Timestamp::from_ms(row.get(3)?),
            updated_at: Timestamp::from_ms(row.get(4)?),
        })
    }
}

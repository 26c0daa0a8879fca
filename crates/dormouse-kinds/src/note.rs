//! `note`: a text with a title and every version it ever had.
//!
//! Version 1 is the creation; every update and every revert makes a new version.

mod content;
mod history;
mod list;

use dormouse::{Cx, Empty, Error, Methods, Object, Session, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::note::content::{Blob, Title};
pub use crate::note::history::{GetHistory, History};
pub use crate::note::list::{List, NoteList, NoteSummary};

const SELECT_CURRENT: &str = "
    SELECT version, title, blob, created_at_ms, updated_at_ms FROM note_version
    ORDER BY version DESC LIMIT 1";
const SELECT_VERSION: &str = "SELECT title, blob FROM note_version WHERE version = ?1";
const INSERT_VERSION: &str = "
    INSERT INTO note_version (version, title, blob, created_at_ms, updated_at_ms)
    VALUES (?1, ?2, ?3, ?4, ?5)";
const DELETE_VERSIONS: &str = "DELETE FROM note_version";

/// A note in memory: a cache of its newest version.
#[derive(Clone, Debug)]
pub struct Note {
    /// `None` before `create` and after `delete`.
    current: Option<NoteData>,
}

/// One version of a note, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NoteData {
    /// The note's id.
    pub id: String,
    /// 1 for the creation, one more for every change.
    pub version: u64,
    /// At most 200 characters.
    pub title: String,
    /// At most 1 MiB.
    pub blob: String,
    /// When version 1 was made.
    pub created_at: Timestamp,
    /// When this version was made.
    pub updated_at: Timestamp,
}

/// What a note's sockets receive.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum NoteEvent {
    /// The note, on connect, if it exists.
    Initial {
        /// Its newest version.
        data: NoteData,
    },
    /// It was created.
    Create {
        /// Version 1.
        data: NoteData,
        /// The history that offsets belong to: who waited for the note got no `initial`.
        epoch: String,
    },
    /// Title or blob changed.
    Update {
        /// The new version.
        data: NoteData,
    },
    /// It says again what an older version said.
    Revert {
        /// The new version.
        data: NoteData,
    },
    /// It is gone, and its versions with it.
    Delete {
        /// Which note.
        data: Deleted,
    },
}

/// Result of `delete`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {
    /// The note's id.
    pub id: String,
}

/// Input of `create`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// At most 200 characters, no control characters.
    pub title: Title,
    /// At most 1 MiB; empty if left out.
    #[serde(default)]
    pub blob: Blob,
}

/// Input of `update`. What is left out stays as it is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Update {
    /// The new title.
    pub title: Option<Title>,
    /// The new blob.
    pub blob: Option<Blob>,
    /// Refuse with CONFLICT unless this is the newest version.
    pub expected_version: Option<u64>,
}

/// Input of `revert`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Revert {
    /// The version whose title and blob become the newest one's.
    pub version: u64,
}

impl Object for Note {
    const KIND: &'static str = "note";
    type Event = NoteEvent;
    const MIGRATIONS: &'static [&'static str] = &[include_str!("note/1_note.sql")];

    fn methods() -> Methods<Self> {
        Methods::new()
            .id("id")
            .creation("create", Self::create)
            .mutation("update", Self::update)
            .mutation("revert", Self::revert)
            .mutation("delete", Self::delete)
            .query("get", Self::get)
            .query("history", Self::history)
            .listing("list", list::list)
    }

    fn wake(cx: &Cx<Self>) -> Result<Self, Error> {
        let id = cx.id();
        let current = cx.sql().row(SELECT_CURRENT, [], |row| NoteData::read(id, row))?;
        Ok(Note { current })
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<NoteEvent>, Error> {
        Ok(self.current.clone().map(|data| NoteEvent::Initial { data }))
    }
}

impl Note {
    fn create(&mut self, cx: &mut Cx<Self>, input: Create) -> Result<NoteData, Error> {
        if let Some(current) = &self.current {
            return Err(Error::conflict("the note exists already").with("current", current));
        }
        let data = NoteData {
            id: cx.id().to_owned(),
            version: 1,
            title: input.title.into(),
            blob: input.blob.into(),
            created_at: cx.now(),
            updated_at: cx.now(),
        };
        let event = NoteEvent::Create { data: data.clone(), epoch: cx.epoch() };
        self.store(cx, data, &event)
    }

    fn update(&mut self, cx: &mut Cx<Self>, input: Update) -> Result<NoteData, Error> {
        let current = self.existing()?;
        if input.expected_version.is_some_and(|expected| expected != current.version) {
            let message = format!("the note is at version {}", current.version);
            return Err(Error::conflict(message).with("current", current));
        }
        if input.title.is_none() && input.blob.is_none() {
            return Err(Error::bad_request("give `title`, `blob` or both"));
        }
        let title = input.title.map_or_else(|| current.title.clone(), String::from);
        let blob = input.blob.map_or_else(|| current.blob.clone(), String::from);
        let data = current.next(cx.now(), title, blob);
        let event = NoteEvent::Update { data: data.clone() };
        self.store(cx, data, &event)
    }

    fn revert(&mut self, cx: &mut Cx<Self>, input: Revert) -> Result<NoteData, Error> {
        let current = self.existing()?;
        let version = i64::try_from(input.version).unwrap_or(i64::MAX);
        let (title, blob) = cx
            .sql()
            .row(SELECT_VERSION, [version], |row| Ok((row.get(0)?, row.get(1)?)))?
            .ok_or_else(|| {
                let newest = current.version;
                Error::not_found(format!("no version {}; the newest is {newest}", input.version))
            })?;
        let data = current.next(cx.now(), title, blob);
        let event = NoteEvent::Revert { data: data.clone() };
        self.store(cx, data, &event)
    }

    fn delete(&mut self, cx: &mut Cx<Self>, _: Empty) -> Result<Deleted, Error> {
        let deleted = Deleted { id: self.existing()?.id.clone() };
        cx.sql().execute(DELETE_VERSIONS, [])?;
        cx.set_summary(None::<&NoteSummary>)?;
        cx.broadcast(&NoteEvent::Delete { data: deleted.clone() })?;
        self.current = None;
        Ok(deleted)
    }

    fn get(&self, _: &Cx<Self>, _: Empty) -> Result<NoteData, Error> {
        self.existing().cloned()
    }

    fn existing(&self) -> Result<&NoteData, Error> {
        self.current.as_ref().ok_or_else(|| Error::not_found("no such note"))
    }

    /// Every mutation but `delete`: writes the version and tells everyone.
    fn store(
        &mut self,
        cx: &mut Cx<Self>,
        data: NoteData,
        event: &NoteEvent,
    ) -> Result<NoteData, Error> {
        let (created_at, updated_at) = (data.created_at.as_ms(), data.updated_at.as_ms());
        cx.sql().execute(
            INSERT_VERSION,
            (data.version, &data.title, &data.blob, created_at, updated_at),
        )?;
        cx.set_summary(Some(&list::Summary::of(&data)))?;
        cx.broadcast(event)?;
        self.current = Some(data.clone());
        Ok(data)
    }
}

impl NoteData {
    fn next(&self, now: Timestamp, title: String, blob: String) -> NoteData {
        NoteData {
            id: self.id.clone(),
            version: self.version + 1,
            title,
            blob,
            created_at: self.created_at,
            updated_at: now,
        }
    }
}

#[cfg(test)]
mod tests;

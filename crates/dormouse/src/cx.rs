//! What a handler sees of the world, and how it changes it.

use std::marker::PhantomData;
use std::sync::Arc;

use dormouse_store::{
    Access, CatalogEntry, Key, ObjectFile, Position, SUMMARY_BYTES_MAX, StoreError, Timestamp,
};
use uuid::Uuid;

use crate::alarm::{self, Alarm};
use crate::error::{Error, ErrorCode};
use crate::event_log::{EventLog, LogBounds, Offset};
use crate::event_types::EventTypes;
use crate::instance::{Audience, Effect, EncodedEvent};
use crate::kv::{Kv, KvMut};
use crate::object::Object;
use crate::random::Random;
use crate::session::Caller;
use crate::sql::Sql;

/// The summary is in the catalog too, but the catalog follows behind.
pub(crate) const SUMMARY_MIGRATIONS: &[&str] = &["
    CREATE TABLE dormouse_summary (
        singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
        summary TEXT
    ) STRICT;
"];

const SELECT_SUMMARY: &str = "SELECT summary FROM dormouse_summary";
const UPSERT_SUMMARY: &str = "
    INSERT INTO dormouse_summary (singleton, summary) VALUES (1, ?1)
    ON CONFLICT (singleton) DO UPDATE SET summary = ?1";

/// Most bytes of one event's JSON.
const EVENT_BYTES_MAX: usize = 8 << 20;

/// The world of one object, for the handler that runs now.
///
/// With `&Cx` a handler reads; with `&mut Cx` it also broadcasts. What it broadcasts leaves only
/// after its transaction is durable, and never if the handler fails.
#[derive(Debug)]
pub struct Cx<O> {
    pub(crate) file: ObjectFile,
    pub(crate) log: LogBounds,
    types: Arc<EventTypes>,
    random: Random,
    summary: Option<String>,
    /// When the earliest alarm comes.
    next_due: Option<Timestamp>,
    handler: HandlerState,
    kind: PhantomData<fn() -> O>,
}

/// What belongs to one handler and is gone after it.
#[derive(Debug)]
struct HandlerState {
    now: Timestamp,
    caller: Caller,
    effects: Vec<Effect>,
    log_before: LogBounds,
    summary_before: Option<String>,
    next_due_before: Option<Timestamp>,
}

impl<O: Object> Cx<O> {
    /// The object's name.
    pub fn key(&self) -> &Key {
        self.file.key()
    }

    /// The object's id, as clients write it.
    pub fn id(&self) -> &str {
        self.file.key().id()
    }

    /// The time at which this handler began. It does not move while the handler runs.
    pub fn now(&self) -> Timestamp {
        self.handler.now
    }

    /// `N` random bytes.
    pub fn random<const N: usize>(&mut self) -> [u8; N] {
        self.random.bytes()
    }

    /// A new UUIDv7 of this moment.
    pub fn new_uuid(&mut self) -> Uuid {
        uuid_v7(self.handler.now, &mut self.random)
    }

    /// On whose behalf the handler runs.
    pub fn caller(&self) -> &Caller {
        &self.handler.caller
    }

    /// The object's database.
    pub fn sql(&self) -> Sql<'_> {
        Sql::new(self.file.connection())
    }

    /// The object's key-value storage, to read.
    pub fn kv(&self) -> Kv<'_> {
        Kv::new(self.file.connection())
    }

    /// The object's key-value storage, to read and to change.
    pub fn kv_mut(&mut self) -> KvMut<'_> {
        KvMut::new(self.file.connection())
    }

    /// The object's event log, with what this handler has already broadcast.
    pub fn log(&self) -> EventLog<'_> {
        EventLog { connection: self.file.connection(), bounds: self.log }
    }

    /// Names the history that offsets belong to. A client that knows another epoch starts over.
    pub fn epoch(&self) -> String {
        self.file.epoch().to_string()
    }

    /// Writes an event to the log and sends it to every socket of the object, the caller's too.
    ///
    /// `Ok` is its offset. The runtime adds `offset` to what the sockets see.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: the event could not be stored, or is larger than 8 MiB.
    pub fn broadcast(&mut self, event: &O::Event) -> Result<Offset, Error> {
        let body = serde_json::to_string(event).map_err(Error::internal)?;
        if body.len() > EVENT_BYTES_MAX {
            return Err(Error::new(
                ErrorCode::PayloadTooLarge,
                format!("an event of {} bytes is over the limit of {EVENT_BYTES_MAX}", body.len()),
            ));
        }
        let event_type = leading_type(&body).ok_or_else(|| {
            Error::internal("an event must serialise as an object tagged by `type`")
        })?;
        let type_index = self.types.index(event_type);
        let offset = self.log.append(self.file.connection(), event_type, &body)?;
        self.handler.effects.push(Effect::Broadcast {
            event: EncodedEvent::logged(offset, type_index, &body),
            audience: Audience::Everyone,
        });
        Ok(offset)
    }

    /// Asks to be called at `due`, or as soon after as possible, by the handler that
    /// [`Methods::alarm`](crate::Methods::alarm) registered.
    ///
    /// An alarm of the same name is moved. The object need not stay awake for it, and it survives
    /// restarts. A time in the past is due at once.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: it could not be stored, the name is longer than 256 bytes, or the
    /// object has 1,000 alarms already.
    pub fn set_alarm(&mut self, name: &str, due: Timestamp) -> Result<(), Error> {
        alarm::set(self.file.connection(), name, due)?;
        self.find_next_due()
    }

    /// Takes an alarm back. `Ok(false)` if there was none of that name.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: it could not be stored.
    pub fn cancel_alarm(&mut self, name: &str) -> Result<bool, Error> {
        let cancelled = alarm::cancel(self.file.connection(), name)?;
        self.find_next_due()?;
        Ok(cancelled)
    }

    /// When an alarm is to come; `None` if there is none of that name. An alarm whose handler runs
    /// now is not pending any more.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: it could not be read.
    pub fn alarm(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        alarm::get(self.file.connection(), name)
    }

    /// Sets what questions about all objects of the kind see of this one; `None` hides it.
    ///
    /// `summary` is JSON of at most 1,024 bytes.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: the summary is too large or could not be stored.
    pub fn set_summary(&mut self, summary: Option<&impl serde::Serialize>) -> Result<(), Error> {
        let summary = summary.map(serde_json::to_string).transpose().map_err(Error::internal)?;
        let bytes = summary.as_ref().map_or(0, String::len);
        if bytes > SUMMARY_BYTES_MAX {
            return Err(Error::internal(format!(
                "a summary of {bytes} bytes is over the limit of {SUMMARY_BYTES_MAX}"
            )));
        }
        self.sql().execute(UPSERT_SUMMARY, [&summary])?;
        self.summary = summary;
        Ok(())
    }
}

/// The runtime's side: [`Instance`](crate::Instance) begins and ends handlers.
impl<O: Object> Cx<O> {
    pub(crate) fn open(
        file: ObjectFile,
        types: Arc<EventTypes>,
        random: Random,
        now: Timestamp,
    ) -> Result<Cx<O>, Error> {
        let log = LogBounds::read(file.connection())?;
        let summary = Sql::new(file.connection())
            .row(SELECT_SUMMARY, [], |row| row.get::<_, Option<String>>(0))?
            .flatten();
        let next_due = alarm::earliest(file.connection())?.map(|alarm| alarm.due);
        let handler = HandlerState {
            now,
            caller: Caller::default(),
            effects: Vec::new(),
            log_before: log,
            summary_before: summary.clone(),
            next_due_before: next_due,
        };
        Ok(Cx { file, log, types, random, summary, next_due, handler, kind: PhantomData })
    }

    pub(crate) fn begin(
        &mut self,
        access: Access,
        now: Timestamp,
        caller: Caller,
    ) -> Result<(), Error> {
        self.handler.now = now;
        self.handler.caller = caller;
        self.handler.effects.clear();
        self.handler.log_before = self.log;
        self.handler.summary_before.clone_from(&self.summary);
        self.handler.next_due_before = self.next_due;
        Ok(self.file.begin(access)?)
    }

    /// Whether the handler has changed the database.
    pub(crate) fn has_written(&self) -> bool {
        self.file.changes() > 0
    }

    /// Commits the handler's transaction and gives what it wants the world to see.
    pub(crate) fn commit(&mut self) -> Result<Vec<Effect>, StoreError> {
        self.file.commit(CatalogEntry {
            created_at: self.file.created_at().unwrap_or(self.handler.now),
            last_active_at: self.handler.now,
            size_bytes: 0, // The store knows it.
            next_due: self.next_due,
            summary: self.summary.clone(),
        })?;
        Ok(std::mem::take(&mut self.handler.effects))
    }

    /// Undoes the handler: nothing of it is stored and nothing of it leaves.
    pub(crate) fn roll_back(&mut self) -> Result<(), StoreError> {
        self.log = self.handler.log_before;
        self.summary.clone_from(&self.handler.summary_before);
        self.next_due = self.handler.next_due_before;
        self.handler.effects.clear();
        self.file.rollback()
    }

    /// When the earliest alarm comes.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.next_due
    }

    /// The alarm that is due at `now`, if one is. Outside of handlers.
    pub(crate) fn due_alarm(&self, now: Timestamp) -> Result<Option<Alarm>, Error> {
        if self.next_due.is_none_or(|due| due > now) {
            return Ok(None);
        }
        alarm::earliest(self.file.connection())
    }

    /// Notes that a try of an alarm has failed. `Ok(false)` if it is given up.
    pub(crate) fn fail_alarm(&mut self, alarm: &Alarm) -> Result<bool, Error> {
        let connection = self.file.connection();
        let is_retried = alarm::fail(connection, alarm, self.handler.now, &mut self.random)?;
        self.find_next_due()?;
        Ok(is_retried)
    }

    fn find_next_due(&mut self) -> Result<(), Error> {
        self.next_due = alarm::earliest(self.file.connection())?.map(|alarm| alarm.due);
        Ok(())
    }

    /// The journal position that what this object shows now depends on.
    pub(crate) fn position(&self) -> Position {
        self.file.newest_position()
    }

    pub(crate) fn types(&self) -> &EventTypes {
        &self.types
    }
}

/// A UUIDv7 of the given time.
pub(crate) fn uuid_v7(now: Timestamp, random: &mut Random) -> Uuid {
    let ms = u64::try_from(now.as_ms()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &random.bytes()).into_uuid()
}

/// The `type` of an event's JSON. Serde writes the tag of an internally tagged enum first.
fn leading_type(body: &str) -> Option<&str> {
    let name = body.strip_prefix(r#"{"type":""#)?.split('"').next()?;
    // A type with an escape in it would be cut short; kinds do not have such names.
    (!name.contains('\\')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_read_from_the_front_of_an_event() {
        assert_eq!(leading_type(r#"{"type":"reset","value":0}"#), Some("reset"));
        assert_eq!(leading_type(r#"{"value":0,"type":"reset"}"#), None);
        assert_eq!(leading_type(r#"{"type":"a\"b"}"#), None);
        assert_eq!(leading_type("[]"), None);
    }
}

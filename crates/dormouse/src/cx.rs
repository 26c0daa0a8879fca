//! What a handler sees of the world, and how it changes it.

mod sessions;

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use dormouse_store::{
    Access, CatalogEntry, Key, ObjectFile, Position, SUMMARY_BYTES_MAX, StoreError, Timestamp,
};
use uuid::Uuid;

use crate::alarm::{self, Alarm};
use crate::encoded_event::{EncodedEvent, encode, type_of};
use crate::error::Error;
use crate::event_log::{EventLog, LogBounds, Offset, SELECT_FIRST, SELECT_LAST};
use crate::event_types::EventTypes;
use crate::instance::{Audience, Effect};
use crate::job::{JOBS_MAX, Job};
use crate::kind_settings::KindSettings;
use crate::kv::{Kv, KvMut};
use crate::object::Object;
use crate::outbox::{DeadLetter, Outbox, dead_letters};
use crate::parcel::{Parcel, Receipt, Sequence};
use crate::random::Random;
use crate::session::{Caller, Session};
use crate::session_table::SessionNotes;
use crate::session_view::SessionView;
use crate::sql::Sql;

pub use self::sessions::{ATTACHMENT_BYTES_MAX, SESSION_TAG_CHARS_MAX, SESSION_TAGS_MAX};

/// The summary is in the catalog too, but the catalog follows behind.
pub(crate) const SUMMARY_MIGRATIONS: &[&str] = &["
    CREATE TABLE dormouse_summary (
        singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
        summary TEXT
    ) STRICT;
"];

const SELECT_SUMMARY: &str = "SELECT summary FROM dormouse_summary";
/// What [`Cx::open`] asks of every object, to be prepared ahead.
pub(crate) const STATEMENTS_OF_A_WAKE: [&str; 3] = [SELECT_SUMMARY, SELECT_FIRST, SELECT_LAST];
const UPSERT_SUMMARY: &str = "
    INSERT INTO dormouse_summary (singleton, summary) VALUES (1, ?1)
    ON CONFLICT (singleton) DO UPDATE SET summary = ?1";

/// The world of one object, for the handler that runs now.
///
/// With `&Cx` a handler reads; with `&mut Cx` it also broadcasts. What it broadcasts leaves only
/// after its transaction is durable, and never if the handler fails.
#[derive(Debug)]
pub struct Cx<O> {
    pub(crate) file: ObjectFile,
    pub(crate) log: LogBounds,
    types: Arc<EventTypes>,
    settings: KindSettings,
    random: Random,
    summary: Option<String>,
    /// When the earliest alarm comes.
    next_alarm: Option<Timestamp>,
    outbox: Outbox,
    /// Who is connected, and who is present.
    sessions: Arc<dyn SessionView>,
    /// Jobs that have not come back.
    jobs: usize,
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
    next_alarm_before: Option<Timestamp>,
    /// What it has noted about sessions.
    notes: Vec<(Session, Arc<SessionNotes>)>,
    /// Which version of presence it has looked at.
    presence_version: Cell<Option<u64>>,
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

    /// What was set about this kind, of the type that [`Methods::settings`](crate::Methods::settings)
    /// named.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: the kind named another type, or none.
    pub fn settings<T: 'static>(&self) -> Result<&T, Error> {
        self.settings.own().ok_or_else(|| Error::internal("the kind has named no such settings"))
    }

    /// Deletes the events of the log up to this one, for good: whoever comes back and knows less starts
    /// over. The newest event stays.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: they could not be deleted.
    pub fn forget_events(&mut self, up_to: Offset) -> Result<(), Error> {
        self.log.trim_to(self.file.connection(), up_to)
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
        let body = encode(event)?;
        let event_type = type_of(&body)?;
        let type_index = self.types.index(event_type);
        let offset = self.log.append(self.file.connection(), event_type, &body)?;
        let event = EncodedEvent::logged(offset, type_index, &body);
        self.handler.effects.push(Effect::Broadcast { event, audience: Audience::Everyone });
        Ok(offset)
    }

    /// Sends an event that is in no log: such as a progress bar's, of which a reader that is behind
    /// may miss any.
    ///
    /// It leaves in order with the other events of this object and costs no write to disk. A socket
    /// that is behind or away does not get it, and no filter hides it.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: the event is larger than 8 MiB.
    pub fn broadcast_lossy(&mut self, audience: Audience, event: &O::Event) -> Result<(), Error> {
        let event = EncodedEvent::lossy(event)?;
        self.handler.effects.push(Effect::Broadcast { event, audience });
        Ok(())
    }

    /// Sends an event that is in no log and of which only the newest of each type and `key` counts:
    /// such as where the pointer of a user is.
    ///
    /// It leaves in order with the other events of this object and costs no write to disk. For a
    /// socket that is behind it waits, and a later one of the same type and key takes its place; up
    /// to 64 KiB of them wait for one socket, those whose keys came last. A socket that was away
    /// does not get it: what newcomers must know belongs into [`Object::initial`]. No filter hides it.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: the event is larger than 8 MiB, or the key longer than 1,024 bytes.
    pub fn broadcast_latest(
        &mut self,
        key: &str,
        audience: Audience,
        event: &O::Event,
    ) -> Result<(), Error> {
        let event = EncodedEvent::latest(key, event)?;
        self.handler.effects.push(Effect::Broadcast { event, audience });
        Ok(())
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
        self.find_next_alarm()
    }

    /// Takes an alarm back. `Ok(false)` if there was none of that name.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: it could not be stored.
    pub fn cancel_alarm(&mut self, name: &str) -> Result<bool, Error> {
        let cancelled = alarm::cancel(self.file.connection(), name)?;
        self.find_next_alarm()?;
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

    /// Sends a message to another object, which may be asleep and need not exist yet. It is handled
    /// there by what [`Methods::delivery`](crate::Methods::delivery) registered.
    ///
    /// The message leaves after this handler's transaction is durable, and never if it fails. It has
    /// its effect exactly once, across crashes of either side, and after every earlier message of
    /// this object to the same receiver. If the receiver refuses it, it is tried again like an
    /// alarm; after the last try it is kept among [`dead_letters`](Self::dead_letters), and those
    /// behind it go on.
    ///
    /// # Errors
    ///
    /// SERVICE_UNAVAILABLE when 10,000 messages of this object wait already. Otherwise let it pass
    /// with `?`: it could not be stored, or its JSON is larger than 1 MiB.
    pub fn send_to(
        &mut self,
        receiver: &Key,
        message: &impl serde::Serialize,
    ) -> Result<(), Error> {
        let message = serde_json::to_string(message).map_err(Error::internal)?;
        self.outbox.send(self.file.connection(), self.handler.now, receiver, &message)
    }

    /// How many messages of this object are not known to have had their effect yet. Those that were given
    /// up do not count.
    pub fn undelivered(&self) -> u64 {
        self.outbox.messages()
    }

    /// The newest messages of this object that were given up, at most `limit` and 1,000, newest first.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: they could not be read.
    pub fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        dead_letters(self.file.connection(), limit)
    }

    /// Starts work that must wait for something outside, such as an HTTP call; `done` gets its result
    /// in a transaction of its own.
    ///
    /// The work begins after this handler's transaction is durable, and never if it fails. It runs
    /// beside the object, on a thread that all jobs share: it may await, and must not block. It keeps
    /// the object awake, for 10 minutes at most; then, and if it panics, it is dropped and the log
    /// says so. A job does not survive a crash or a stop of the server: pair work that must happen
    /// with an alarm.
    ///
    /// # Errors
    ///
    /// SERVICE_UNAVAILABLE when 64 jobs of this object run already.
    pub fn spawn<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
        done: fn(&mut O, &mut Cx<O>, T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let starting =
            self.handler.effects.iter().filter(|effect| matches!(effect, Effect::Job(_))).count();
        if self.jobs + starting >= JOBS_MAX {
            return Err(Error::unavailable(
                "too many jobs of this object run already; try again later",
            ));
        }
        self.handler.effects.push(Effect::Job(Job::new(work, done)));
        Ok(())
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
        settings: KindSettings,
        random: Random,
        now: Timestamp,
        sessions: Arc<dyn SessionView>,
    ) -> Result<Cx<O>, Error> {
        let log = LogBounds::read(file.connection())?;
        let summary = Sql::new(file.connection())
            .row(SELECT_SUMMARY, [], |row| row.get::<_, Option<String>>(0))?
            .flatten();
        let next_alarm = alarm::earliest(file.connection())?.map(|alarm| alarm.due);
        let outbox = Outbox::read(file.connection())?;
        let handler = HandlerState {
            now,
            caller: Caller::default(),
            effects: Vec::new(),
            log_before: log,
            summary_before: summary.clone(),
            next_alarm_before: next_alarm,
            notes: Vec::new(),
            presence_version: Cell::new(None),
        };
        let (jobs, kind) = (0, PhantomData);
        Ok(Cx {
            file,
            log,
            types,
            settings,
            random,
            summary,
            next_alarm,
            outbox,
            sessions,
            jobs,
            handler,
            kind,
        })
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
        self.handler.next_alarm_before = self.next_alarm;
        self.handler.notes.clear();
        self.handler.presence_version.set(None);
        self.outbox.begin();
        Ok(self.file.begin(access)?)
    }

    /// Whether the handler has changed the database.
    pub(crate) fn has_written(&self) -> bool {
        self.file.changes() > 0
    }

    /// Commits the handler's transaction and gives what it wants the world to see.
    pub(crate) fn commit(&mut self) -> Result<Vec<Effect>, Error> {
        let notes = self.save_notes()?;
        let parcels = self.outbox.parcels(self.file.connection())?;
        self.file.commit(CatalogEntry {
            created_at: self.file.created_at().unwrap_or(self.handler.now),
            last_active_at: self.handler.now,
            size_bytes: 0, // The store knows it.
            next_due: self.next_due(),
            summary: self.summary.clone(),
        })?;
        self.outbox.committed();
        self.publish_notes(notes);
        let mut effects = std::mem::take(&mut self.handler.effects);
        self.jobs += effects.iter().filter(|effect| matches!(effect, Effect::Job(_))).count();
        effects.extend(parcels.into_iter().map(|(receiver, messages)| {
            let sender = self.key().clone();
            Effect::Send(Parcel { sender, epoch: self.epoch(), receiver, messages })
        }));
        Ok(effects)
    }

    /// Undoes the handler: nothing of it is stored and nothing of it leaves.
    pub(crate) fn roll_back(&mut self) -> Result<(), StoreError> {
        self.log = self.handler.log_before;
        self.summary.clone_from(&self.handler.summary_before);
        self.next_alarm = self.handler.next_alarm_before;
        self.outbox.roll_back();
        self.handler.notes.clear();
        self.handler.effects.clear();
        self.file.rollback()
    }

    /// When somebody must look at this object again: its earliest alarm, or its outbox.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let outbox = self.outbox.next_due();
        self.next_alarm.into_iter().chain(outbox).min()
    }

    /// Whether its earliest alarm is due at `now`.
    pub(crate) fn has_due_alarm(&self, now: Timestamp) -> bool {
        self.next_alarm.is_some_and(|due| due <= now)
    }

    /// Whether a message in its outbox is due at `now`.
    pub(crate) fn has_due_message(&self, now: Timestamp) -> bool {
        self.outbox.next_due().is_some_and(|due| due <= now)
    }

    /// The alarm that is due at `now`, if one is. Outside of handlers.
    pub(crate) fn due_alarm(&self, now: Timestamp) -> Result<Option<Alarm>, Error> {
        if !self.has_due_alarm(now) {
            return Ok(None);
        }
        alarm::earliest(self.file.connection())
    }

    /// Notes that a try of an alarm has failed. `Ok(false)` if it is given up.
    pub(crate) fn fail_alarm(&mut self, alarm: &Alarm) -> Result<bool, Error> {
        let connection = self.file.connection();
        let is_retried = alarm::fail(connection, alarm, self.handler.now, &mut self.random)?;
        self.find_next_alarm()?;
        Ok(is_retried)
    }

    /// Sends again what is due in the outbox.
    pub(crate) fn send_due(&mut self) -> Result<(), Error> {
        self.outbox.send_due(self.file.connection(), self.handler.now)
    }

    /// A parcel is not on its way any more, whatever became of it. Outside of handlers.
    pub(crate) fn land(&mut self, receiver: &Key) {
        self.outbox.land(receiver);
    }

    /// Notes what became of a parcel. `Ok(Some)` is a message that was given up.
    pub(crate) fn settle(
        &mut self,
        receiver: &Key,
        receipt: &Receipt,
    ) -> Result<Option<Sequence>, Error> {
        let (connection, now) = (self.file.connection(), self.handler.now);
        self.outbox.settle(connection, now, &mut self.random, receiver, receipt)
    }

    /// A job came back or was lost. Outside of handlers.
    pub(crate) fn end_job(&mut self) {
        self.jobs = self.jobs.saturating_sub(1);
    }

    fn find_next_alarm(&mut self) -> Result<(), Error> {
        self.next_alarm = alarm::earliest(self.file.connection())?.map(|alarm| alarm.due);
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

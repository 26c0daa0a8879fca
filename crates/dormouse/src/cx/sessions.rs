//! What a handler sees of its sockets, and what it tells single ones.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::catch_up::with_position;
use crate::encoded_event::encode;
use crate::error::Error;
use crate::instance::Effect;
use crate::object::Object;
use crate::session::{Session, SessionId};
use crate::session_store;
use crate::session_table::{Online, SessionNotes};

use super::Cx;

/// Most tags of one session.
pub const SESSION_TAGS_MAX: usize = 10;

/// Most characters of a tag.
pub const SESSION_TAG_CHARS_MAX: usize = 256;

/// Most bytes of an attachment's JSON.
pub const ATTACHMENT_BYTES_MAX: usize = 16_384;

impl<O: Object> Cx<O> {
    /// The sessions that are connected, in the order in which they first came; with a tag, those that
    /// were [accepted](Self::accept) with it.
    pub fn sessions(&self, tag: Option<&str>) -> Vec<Session> {
        let mut sessions = self.sessions.connected();
        if let Some(tag) = tag {
            let has_tag = |notes: &SessionNotes| notes.tags.iter().any(|own| own == tag);
            sessions.retain(|session| self.notes(session.id).is_some_and(|notes| has_tag(&notes)));
        }
        sessions.sort_unstable_by_key(|session| (session.joined_at, session.id.to_bytes()));
        sessions
    }

    /// A session, if it is connected.
    pub fn session(&self, id: SessionId) -> Option<Session> {
        self.sessions.session(id)
    }

    /// Who is present: users, not tabs. Those who lost their last socket a moment ago count as well.
    pub fn online(&self) -> Online {
        let online = self.sessions.online();
        self.handler.presence_version.set(Some(online.version));
        online
    }

    /// Whether a user is [present](Self::online), also where too many are to show all.
    pub fn is_online(&self, user_id: &str) -> bool {
        self.sessions.is_online(user_id)
    }

    /// Gives a session tags, by which [`sessions`](Self::sessions) finds it; those of before go.
    ///
    /// They stay when the object sleeps, and for 5 minutes for a client that comes back with its
    /// `session`, also through a restart if the object is stored. Nothing happens to a session
    /// that is not connected any more.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: there are more than 10 tags, or one is longer than 256 characters.
    pub fn accept(&mut self, id: SessionId, tags: &[&str]) -> Result<(), Error> {
        if tags.len() > SESSION_TAGS_MAX {
            return Err(Error::internal(format!(
                "{} tags are over the limit of {SESSION_TAGS_MAX}",
                tags.len()
            )));
        }
        if tags.iter().any(|tag| tag.chars().count() > SESSION_TAG_CHARS_MAX) {
            return Err(Error::internal(format!(
                "a tag is longer than {SESSION_TAG_CHARS_MAX} characters"
            )));
        }
        let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        self.note(id, |notes| notes.tags = tags);
        Ok(())
    }

    /// The tags of a session; none, if it has none or is not known any more.
    pub fn tags(&self, id: SessionId) -> Vec<String> {
        self.notes(id).map(|notes| notes.tags.clone()).unwrap_or_default()
    }

    /// Attaches a value to a session in place of the one before. It is kept as long as
    /// [tags](Self::accept) are.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: its JSON is larger than 16,384 bytes.
    pub fn set_attachment(&mut self, id: SessionId, value: &impl Serialize) -> Result<(), Error> {
        let json = serde_json::to_string(value).map_err(Error::internal)?;
        if json.len() > ATTACHMENT_BYTES_MAX {
            return Err(Error::internal(format!(
                "an attachment of {} bytes is over the limit of {ATTACHMENT_BYTES_MAX}",
                json.len()
            )));
        }
        self.note(id, |notes| notes.attachment = Some(json));
        Ok(())
    }

    /// The value that was attached to a session; `None`, if none was or it is not known any more.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: what was attached is not a `T`.
    pub fn attachment<T: DeserializeOwned>(&self, id: SessionId) -> Result<Option<T>, Error> {
        let Some(notes) = self.notes(id) else { return Ok(None) };
        let Some(json) = &notes.attachment else { return Ok(None) };
        serde_json::from_str(json).map(Some).map_err(Error::internal)
    }

    /// Sends an event to one session: after the events of the log that this handler has broadcast so far,
    /// and before those that it broadcasts next, unless they meet the same write. A session that has just
    /// [connected](crate::Methods::connected) gets it after [`Object::initial`].
    ///
    /// It is in no log, and may overtake events that are in none either. A session that is not connected any more does not get it.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: the event is larger than 8 MiB.
    pub fn send(&mut self, id: SessionId, event: &O::Event) -> Result<(), Error> {
        let json = encode(event)?;
        let (session, after, presence_version) = (id, self.log.tail, None);
        self.handler.effects.push(Effect::Direct { session, json, after, presence_version });
        Ok(())
    }

    /// Sends a session all that it must know, in place of all it knows: what [`Object::initial`] gives,
    /// to which the runtime adds `epoch`, `offset` and `session`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_initial(&mut self, id: SessionId, event: &O::Event) -> Result<(), Error> {
        let json = with_position(self, &encode(event)?, id);
        let (session, after) = (id, self.log.tail);
        let presence_version = self.presence_version();
        self.handler.effects.push(Effect::Direct { session, json, after, presence_version });
        Ok(())
    }

    /// Has new sockets go to the object's shards; see
    /// [`Methods::sharded_by`](crate::Methods::sharded_by). Say it whenever somebody has connected: it is
    /// forgotten when nobody is.
    pub fn split(&mut self) {
        self.handler.effects.push(Effect::Split);
    }

    /// Closes the socket of a session, once it has got what was sent before.
    ///
    /// `code` is 1000 (done) or 1008 (not allowed any more), after which clients stay away, 1012 (come
    /// back) or one of your own, from 4000 to 4999. `reason` is cut to 123 bytes.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`: it is another code.
    pub fn close(&mut self, id: SessionId, code: u16, reason: &str) -> Result<(), Error> {
        if !matches!(code, 1000 | 1008 | 1012 | 4000..=4999) {
            return Err(Error::internal(format!("a kind cannot close a socket with {code}")));
        }
        let reason = reason.to_owned();
        self.handler.effects.push(Effect::Close { session: id, code, reason });
        Ok(())
    }

    fn notes(&self, id: SessionId) -> Option<Arc<SessionNotes>> {
        let changed = self.handler.notes.iter().rev().find(|(session, _)| session.id == id);
        changed.map(|(_, notes)| Arc::clone(notes)).or_else(|| self.sessions.notes(id))
    }

    fn note(&mut self, id: SessionId, change: impl FnOnce(&mut SessionNotes)) {
        let Some(session) = self.sessions.session(id) else { return };
        let mut notes = self.notes(id).unwrap_or_default();
        change(Arc::make_mut(&mut notes));
        self.handler.notes.retain(|(other, _)| other.id != id);
        self.handler.notes.push((session, notes));
    }
}

/// The runtime's side.
impl<O: Object> Cx<O> {
    /// Which version of presence the handler has looked at, if it has.
    pub(crate) fn presence_version(&self) -> Option<u64> {
        self.handler.presence_version.get()
    }

    /// Has the table know again what the file knows of a session that was here before a restart.
    pub(crate) fn restore(&mut self, session: &Session) -> Result<(), Error> {
        if let Some(notes) = session_store::find(self.file.connection(), session)? {
            self.sessions.set_notes(session.id, Arc::new(notes), true);
        }
        self.sessions.restored(session.id);
        Ok(())
    }

    /// Stores what the handler has noted about sessions, if the object is stored, inside the handler's
    /// transaction. Gives what was noted, and whether it is stored.
    pub(super) fn save_notes(&mut self) -> Result<NotesTaken, Error> {
        let taken = std::mem::take(&mut self.handler.notes);
        let begins = !self.file.exists() && self.has_written();
        let is_stored = begins || self.file.exists();
        let mut notes = if begins { self.sessions.unsaved() } else { Vec::new() };
        notes.retain(|(session, _)| taken.iter().all(|(other, _)| other.id != session.id));
        notes.extend(taken);
        if is_stored && !notes.is_empty() {
            let knows = |id| self.sessions.knows(id, self.handler.now);
            session_store::save(self.file.connection(), self.handler.now, &notes, knows)?;
        }
        Ok(NotesTaken { notes, is_stored })
    }

    /// Has the table know what was noted, now that the handler's transaction is committed.
    pub(super) fn publish_notes(&self, taken: NotesTaken) {
        for (session, notes) in taken.notes {
            self.sessions.set_notes(session.id, notes, taken.is_stored);
        }
    }
}

/// What a handler has noted about sessions.
pub(super) struct NotesTaken {
    notes: Vec<(Session, Arc<SessionNotes>)>,
    is_stored: bool,
}

//! What an object sees of its session table.

use std::fmt;
use std::sync::Arc;

use dormouse_store::Timestamp;
use parking_lot::Mutex;

use crate::session::{Session, SessionId};
use crate::session_table::{Online, SessionNotes, SessionTable};

/// The session table of an object without what its sockets are called. The table belongs to the
/// node: it stays when the object sleeps.
pub trait SessionView: Send + Sync + fmt::Debug {
    /// A session that is connected.
    fn session(&self, id: SessionId) -> Option<Session>;
    /// All sessions that are connected.
    fn connected(&self) -> Vec<Session>;
    /// Whether the session is connected or may come back.
    fn knows(&self, id: SessionId, now: Timestamp) -> bool;
    /// What the object has noted about a session.
    fn notes(&self, id: SessionId) -> Option<Arc<SessionNotes>>;
    /// Notes something about a session. `is_saved` says whether the object's file has it.
    fn set_notes(&self, id: SessionId, notes: Arc<SessionNotes>, is_saved: bool);
    /// What the object's file has noted about a session is known now.
    fn restored(&self, id: SessionId);
    /// The sessions whose notes the object's file does not have.
    fn unsaved(&self) -> Vec<(Session, Arc<SessionNotes>)>;
    /// Whether a user is present.
    fn is_online(&self, user_id: &str) -> bool;
    /// Who is present.
    fn online(&self) -> Online;
}

impl<S: Copy + PartialEq + Send + fmt::Debug> SessionView for Mutex<SessionTable<S>> {
    fn session(&self, id: SessionId) -> Option<Session> {
        self.lock().session(id)
    }

    fn connected(&self) -> Vec<Session> {
        self.lock().connected().map(|(session, _)| session).collect()
    }

    fn knows(&self, id: SessionId, now: Timestamp) -> bool {
        self.lock().knows(id, now)
    }

    fn notes(&self, id: SessionId) -> Option<Arc<SessionNotes>> {
        self.lock().notes(id)
    }

    fn set_notes(&self, id: SessionId, notes: Arc<SessionNotes>, is_saved: bool) {
        self.lock().set_notes(id, notes, is_saved);
    }

    fn restored(&self, id: SessionId) {
        self.lock().restored(id);
    }

    fn unsaved(&self) -> Vec<(Session, Arc<SessionNotes>)> {
        self.lock().unsaved()
    }

    fn is_online(&self, user_id: &str) -> bool {
        self.lock().is_online(user_id)
    }

    fn online(&self) -> Online {
        self.lock().online()
    }
}

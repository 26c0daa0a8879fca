//! The session table: all sessions of one object, whether it is awake or not, and who is present.
//!
//! A session is *connected* while it has a socket. When it loses that, it *rests*: its user stays
//! present for a grace period, and what its object attached to it is kept for five minutes, so that
//! a tab that lost its network for a moment is the same session as before, and nobody is told.
//!
//! Pure data: times come in, and who has to be told goes out.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use dormouse_store::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::session::{Session, SessionId, User};

/// How long a session that lost its socket is kept for its client to come back.
pub const SESSION_KEPT: Duration = Duration::from_secs(300);

/// Most sessions of one object that rest. Past it, one that is lost is forgotten at once.
const RESTING_MAX: usize = 4096;

/// How many are shown by name where too many are present to show all.
const CROWD_SHOWN: usize = 20;

/// The name that others see of somebody who showed no token.
const GUEST: &str = "Guest";

/// All sessions of an object. `S` is what its sockets are called.
#[derive(Debug)]
pub struct SessionTable<S> {
    limits: SessionLimits,
    seats: HashMap<SessionId, Seat<S>>,
    /// Users with a session that is connected or in its grace period.
    present: HashMap<ById, Present>,
    /// Sessions without a user that are connected or in their grace period: each is somebody.
    guests: usize,
    /// Sessions without a socket.
    resting: usize,
    /// Rises when somebody comes or goes, or is called something else.
    version: u64,
    /// When sessions are looked at that lost their sockets.
    looks: HashMap<SessionId, Timestamp>,
    /// Sessions whose notes may be in the object's file.
    strangers: HashSet<SessionId>,
}

/// How long sessions count, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// How long somebody who lost their last socket still counts as present.
    pub grace: Duration,
    /// Most users that others are shown by name. Where more are present, they are shown how many, and
    /// some of them.
    pub users_max: usize,
    /// Until then a session that comes back is believed although the table does not know it: this
    /// process may have begun after it lost its socket.
    pub strangers_until: Timestamp,
}

#[derive(Debug)]
struct Seat<S> {
    user: Option<Arc<User>>,
    joined_at: Timestamp,
    notes: Option<Arc<SessionNotes>>,
    /// Whether the object's file has its notes.
    is_saved: bool,
    place: Place<S>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<S> {
    /// It has this socket.
    Connected(S),
    /// It lost its socket at this time, and its user counts as present.
    Grace(Timestamp),
    /// It lost its socket at this time.
    Gone(Timestamp),
}

/// What an object has noted about a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionNotes {
    /// By what it is found.
    pub tags: Vec<String>,
    /// Any JSON, as text.
    pub attachment: Option<String>,
}

/// A user who is present, as others see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnlineUser {
    /// The token's `sub`; something unique for somebody who showed no token.
    pub user_id: String,
    /// Their name.
    pub username: String,
    /// When the first of their sessions connected.
    pub joined_at: Timestamp,
    /// Address of their picture, if they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// Who is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Online {
    /// All, or those who came first if they are too many, in the order in which they came.
    pub users: Vec<OnlineUser>,
    /// How many there are.
    pub total: usize,
    /// Rises when somebody comes or goes.
    pub version: u64,
}

/// A session that has just connected.
#[derive(Clone, Debug)]
pub struct Joined<S> {
    /// It, as it is in the table.
    pub session: Session,
    /// The socket that it had until now.
    pub replaced: Option<S>,
    /// Somebody who was not present before.
    pub arrived: Option<OnlineUser>,
    /// Whether somebody who was present has another name or picture now.
    pub is_renamed: bool,
    /// Whether it says that it was here before and the table knows nothing of it: its object's file
    /// may.
    pub is_stranger: bool,
}

/// How a session lost its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Its client said goodbye.
    Final,
    /// Anything else: it may come back.
    Dropped,
}

/// What is to be done for a session that lost its socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Somebody who is not present any more.
    pub departed: Option<OnlineUser>,
    /// When to look at the session again.
    pub look_again: Option<Timestamp>,
}

impl<S: Copy + PartialEq> SessionTable<S> {
    /// The table of an object without sessions.
    pub fn new(limits: SessionLimits) -> SessionTable<S> {
        let (seats, present) = (HashMap::new(), HashMap::new());
        let (looks, strangers) = (HashMap::new(), HashSet::new());
        let (guests, resting, version) = (0, 0, 0);
        SessionTable { limits, seats, present, guests, resting, version, looks, strangers }
    }

    /// A session connects, at [`Session::joined_at`]. If it says that it was here before, under the
    /// name `comes_back`, it gets its place back, provided that it is the same user's.
    pub fn join(&mut self, socket: S, new: Session, comes_back: Option<SessionId>) -> Joined<S> {
        let Some(id) = comes_back else {
            return self.enter(socket, new, false);
        };
        let Some(seat) = self.seats.get_mut(&id) else {
            let is_believed = new.joined_at < self.limits.strangers_until;
            let session = if is_believed { Session { id, ..new } } else { new };
            return self.enter(socket, session, is_believed);
        };
        if seat.user_id() != new.user.as_deref().map(|user| user.id.as_str()) {
            return self.enter(socket, new, false);
        }
        seat.user.clone_from(&new.user);
        let session = Session { id, user: new.user, joined_at: seat.joined_at };
        let was = std::mem::replace(&mut seat.place, Place::Connected(socket));
        let (replaced, arrived) = match was {
            Place::Connected(replaced) => (Some(replaced), None),
            Place::Grace(_) => {
                self.resting -= 1;
                (None, None)
            }
            Place::Gone(_) => {
                self.resting -= 1;
                (None, self.arrive(&session))
            }
        };
        let is_renamed = self.rename(&session);
        let is_stranger = self.strangers.contains(&id);
        Joined { session, replaced, arrived, is_renamed, is_stranger }
    }

    /// The user of a session has shown a newer token over its socket. Whether others see another name
    /// or picture now. Nothing happens if the session has another socket by now.
    pub fn renew(&mut self, id: SessionId, socket: S, user: &Arc<User>) -> bool {
        let Some(seat) = self.seats.get_mut(&id) else { return false };
        if seat.place != Place::Connected(socket) || seat.user_id() != Some(user.id.as_str()) {
            return false;
        }
        seat.user = Some(Arc::clone(user));
        let session = seat.session(id);
        self.rename(&session)
    }

    /// A session lost its socket. Nothing, if it has another one by now.
    pub fn leave(
        &mut self,
        id: SessionId,
        socket: S,
        departure: Departure,
        now: Timestamp,
    ) -> Left {
        let Some(seat) = self.seats.get_mut(&id) else { return Left::default() };
        if seat.place != Place::Connected(socket) {
            return Left::default();
        }
        if self.resting >= RESTING_MAX {
            return Left { departed: self.remove(id), look_again: None };
        }
        if departure == Departure::Dropped {
            seat.place = Place::Grace(now);
            self.resting += 1;
            return Left { departed: None, look_again: self.look_at(id, now, self.limits.grace) };
        }
        if seat.notes.is_none() {
            return Left { departed: self.remove(id), look_again: None };
        }
        seat.place = Place::Gone(now);
        self.resting += 1;
        Left { departed: self.depart(id), look_again: self.look_at(id, now, SESSION_KEPT) }
    }

    /// The time of [`Left::look_again`] has come for a session.
    pub fn look(&mut self, id: SessionId, now: Timestamp) -> Left {
        if self.looks.get(&id).is_none_or(|due| *due > now) {
            // An earlier look came in between.
            return Left::default();
        }
        self.looks.remove(&id);
        let grace = self.limits.grace;
        let Some(seat) = self.seats.get_mut(&id) else { return Left::default() };
        match seat.place {
            Place::Connected(_) => Left::default(),
            Place::Grace(since) if now.saturating_since(since) < grace => {
                Left { departed: None, look_again: self.look_at(id, since, grace) }
            }
            Place::Grace(_) if seat.notes.is_none() => {
                Left { departed: self.remove(id), look_again: None }
            }
            Place::Grace(since) => {
                seat.place = Place::Gone(since);
                Left {
                    departed: self.depart(id),
                    look_again: self.look_at(id, since, SESSION_KEPT),
                }
            }
            Place::Gone(since) if now.saturating_since(since) < SESSION_KEPT => {
                Left { departed: None, look_again: self.look_at(id, since, SESSION_KEPT) }
            }
            Place::Gone(_) => {
                self.seats.remove(&id);
                self.strangers.remove(&id);
                self.resting -= 1;
                Left::default()
            }
        }
    }

    /// Notes that a session is to be looked at. `None` if it is looked at by then anyway.
    fn look_at(&mut self, id: SessionId, since: Timestamp, wait: Duration) -> Option<Timestamp> {
        let due = since.saturating_add(wait);
        let is_sooner = self.looks.get(&id).is_none_or(|pending| due < *pending);
        if is_sooner {
            self.looks.insert(id, due);
        }
        is_sooner.then_some(due)
    }

    /// The socket of a session; `None` unless it is connected.
    pub fn socket(&self, id: SessionId) -> Option<S> {
        match self.seats.get(&id)?.place {
            Place::Connected(socket) => Some(socket),
            Place::Grace(_) | Place::Gone(_) => None,
        }
    }

    /// All sessions that are connected, and their sockets.
    pub fn connected(&self) -> impl Iterator<Item = (Session, S)> + '_ {
        self.seats.iter().filter_map(|(&id, seat)| match seat.place {
            Place::Connected(socket) => Some((seat.session(id), socket)),
            Place::Grace(_) | Place::Gone(_) => None,
        })
    }

    /// Number of sessions that are connected.
    pub fn len(&self) -> usize {
        self.seats.len() - self.resting
    }

    /// Whether no session is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are present.
    pub fn online_count(&self) -> usize {
        self.present.len() + self.guests
    }

    /// Rises when somebody comes or goes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a user is present.
    pub fn is_online(&self, user_id: &str) -> bool {
        self.present.contains_key(user_id)
    }

    /// Whether more are present than are shown by name.
    pub fn is_crowded(&self) -> bool {
        self.online_count() > self.limits.users_max
    }

    /// Who is present.
    pub fn online(&self) -> Online {
        let users_max = if self.is_crowded() { CROWD_SHOWN } else { usize::MAX };
        let total = self.online_count();
        let users = self.present.iter().map(|(ById(user), present)| Somebody::User(user, *present));
        let mut all: Vec<Somebody<'_>> = users.collect();
        if self.guests > 0 {
            let guests = self.seats.iter().filter(|(_, seat)| seat.user.is_none());
            let present = guests.filter(|(_, seat)| !matches!(seat.place, Place::Gone(_)));
            all.extend(present.map(|(&id, seat)| Somebody::Guest(id, seat.joined_at)));
        }
        // Many may be present of whom few are shown.
        if all.len() > users_max {
            all.select_nth_unstable_by(users_max, |a, b| a.order().cmp(&b.order()));
            all.truncate(users_max);
        }
        all.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        let users = all.iter().map(Somebody::shown).collect();
        Online { users, total, version: self.version }
    }

    fn enter(&mut self, socket: S, session: Session, is_stranger: bool) -> Joined<S> {
        let arrived = self.arrive(&session);
        let seat = Seat {
            user: session.user.clone(),
            joined_at: session.joined_at,
            notes: None,
            is_saved: true,
            place: Place::Connected(socket),
        };
        self.seats.insert(session.id, seat);
        if is_stranger {
            self.strangers.insert(session.id);
        }
        let is_renamed = self.rename(&session);
        Joined { session, replaced: None, arrived, is_renamed, is_stranger }
    }

    /// A user who is present has shown a token: others see what it says. Whether that is new.
    fn rename(&mut self, session: &Session) -> bool {
        let Some(user) = &session.user else { return false };
        let Some((ById(before), present)) = self.present.remove_entry(user.id.as_str()) else {
            return false;
        };
        let seen = |user: &User| (user.username.clone(), user.avatar.clone());
        let is_new = seen(&before) != seen(user);
        self.present.insert(ById(Arc::clone(user)), present);
        if is_new {
            self.version += 1;
        }
        is_new
    }

    fn arrive(&mut self, session: &Session) -> Option<OnlineUser> {
        let Some(user) = &session.user else {
            self.guests += 1;
            self.version += 1;
            return Some(guest(session.id, session.joined_at));
        };
        if let Some(present) = self.present.get_mut(user.id.as_str()) {
            present.sessions += 1;
            return None;
        }
        let present = Present { joined_at: session.joined_at, sessions: 1 };
        let shown = present.shown(user);
        self.present.insert(ById(Arc::clone(user)), present);
        self.version += 1;
        Some(shown)
    }

    /// Takes a session out that counts as present.
    fn remove(&mut self, id: SessionId) -> Option<OnlineUser> {
        let departed = self.depart(id);
        self.strangers.remove(&id);
        if let Some(seat) = self.seats.remove(&id)
            && !matches!(seat.place, Place::Connected(_))
        {
            self.resting -= 1;
        }
        departed
    }

    /// A session does not count as present any more.
    fn depart(&mut self, id: SessionId) -> Option<OnlineUser> {
        let seat = self.seats.get(&id)?;
        let Some(user) = &seat.user else {
            self.guests -= 1;
            self.version += 1;
            return Some(guest(id, seat.joined_at));
        };
        let present = self.present.get_mut(user.id.as_str())?;
        present.sessions -= 1;
        if present.sessions > 0 {
            return None;
        }
        let shown = present.shown(user);
        self.present.remove(user.id.as_str());
        self.version += 1;
        Some(shown)
    }
}

/// What the object sees of its table.
impl<S: Copy + PartialEq> SessionTable<S> {
    /// A session that is connected.
    pub fn session(&self, id: SessionId) -> Option<Session> {
        let seat = self.seats.get(&id)?;
        matches!(seat.place, Place::Connected(_)).then(|| seat.session(id))
    }

    /// Whether the session is connected or may come back.
    pub fn knows(&self, id: SessionId, now: Timestamp) -> bool {
        now < self.limits.strangers_until || self.seats.contains_key(&id)
    }

    /// What the object has noted about a session, also one that rests.
    pub fn notes(&self, id: SessionId) -> Option<Arc<SessionNotes>> {
        self.seats.get(&id)?.notes.clone()
    }

    /// What the object's file has noted about a session is known now.
    pub fn restored(&mut self, id: SessionId) {
        self.strangers.remove(&id);
    }

    /// Notes something about a session; nothing, if it is not known any more. `is_saved` says whether
    /// the object's file has it.
    pub fn set_notes(&mut self, id: SessionId, notes: Arc<SessionNotes>, is_saved: bool) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.notes = Some(notes);
            seat.is_saved = is_saved;
        }
    }

    /// The sessions whose notes the object's file does not have.
    pub fn unsaved(&self) -> Vec<(Session, Arc<SessionNotes>)> {
        self.seats
            .iter()
            .filter(|(_, seat)| !seat.is_saved)
            .filter_map(|(&id, seat)| Some((seat.session(id), seat.notes.clone()?)))
            .collect()
    }
}

impl<S> Seat<S> {
    fn session(&self, id: SessionId) -> Session {
        Session { id, user: self.user.clone(), joined_at: self.joined_at }
    }

    fn user_id(&self) -> Option<&str> {
        self.user.as_deref().map(|user| user.id.as_str())
    }
}

#[derive(Clone, Copy, Debug)]
struct Present {
    joined_at: Timestamp,
    /// Sessions that are connected or in their grace period.
    sessions: u32,
}

impl Present {
    fn shown(self, user: &User) -> OnlineUser {
        OnlineUser {
            user_id: user.id.clone(),
            username: user.username.clone(),
            joined_at: self.joined_at,
            avatar_url: user.avatar.clone(),
        }
    }
}

/// Somebody who is present.
enum Somebody<'a> {
    User(&'a User, Present),
    Guest(SessionId, Timestamp),
}

impl Somebody<'_> {
    /// Those who came first come first.
    fn order(&self) -> (Timestamp, &str, [u8; 16]) {
        match self {
            Somebody::User(user, present) => (present.joined_at, user.id.as_str(), [0; 16]),
            Somebody::Guest(id, joined_at) => (*joined_at, "", id.to_bytes()),
        }
    }

    fn shown(&self) -> OnlineUser {
        match self {
            Somebody::User(user, present) => present.shown(user),
            Somebody::Guest(id, joined_at) => guest(*id, *joined_at),
        }
    }
}

/// Somebody who showed no token. Half of a session's name would be too much to tell others.
fn guest(id: SessionId, joined_at: Timestamp) -> OnlineUser {
    let name = id.to_string();
    let user_id = format!("anonymous:{}", name.get(..8).unwrap_or_default());
    OnlineUser { user_id, username: GUEST.to_owned(), joined_at, avatar_url: None }
}

/// A user, found by their id.
#[derive(Debug)]
struct ById(Arc<User>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        &self.0.id
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &ById) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.as_str().hash(state);
    }
}

#[cfg(test)]
mod tests;

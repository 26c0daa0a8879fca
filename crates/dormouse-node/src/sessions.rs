//! The sessions of one object as the node keeps them: with their sockets, and with what passes between
//! them while the object sleeps.
//!
//! Everything that is told to sockets because of a change in the table is sent under the table's
//! lock. So a socket that is shown who is present, under the same lock, in the moment from which on it
//! gets what is published, misses no change and gets none twice.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use dormouse::{
    Audience, Departure, EncodedEvent, EncodedRelay, EventClass, Kind, Left, OnlineUser, Session,
    SessionId, SessionLimits, SessionTable, SessionView, Timestamp, User,
};
use dormouse_socket::{
    BatchBuilder, CloseCause, CloseCode, HubHandle, HubIndex, SocketId, To, ToHub, TopicId,
    text_frame,
};
use parking_lot::{Mutex, MutexGuard};

use crate::presence;

/// For so long the same event of the same key is not relayed again.
const RELAY_AGAIN_MIN: Duration = Duration::from_secs(2);

/// Most events that are relayed per second: as many as 250 people who all type cause, and no more from
/// one who floods.
const RELAYS_PER_SECOND: u32 = 200;

/// Most events that are relayed per second where many are present: each goes to all of them.
const RELAYS_PER_SECOND_CROWDED: u32 = 10;

/// How often everybody is shown who is present, or how many.
pub(crate) const SHOW_INTERVAL: Duration = Duration::from_secs(2);

/// All sessions of an object, or of a group of objects whose users are in one place.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Arc<Mutex<SessionTable<Seat>>>,
    /// Locked only while the table is.
    sockets: Mutex<Sockets>,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) socket: SocketId,
    /// The object that the socket belongs to.
    pub(crate) topic: TopicId,
}

/// What the node knows of the sockets.
#[derive(Debug, Default)]
struct Sockets {
    /// How many of each object each hub has; those with none get no broadcast.
    per_hub: Vec<(TopicId, HubIndex, u32)>,
    /// Those that are told who is present in the words that all kinds have in common.
    watchers: HashSet<SocketId>,
    /// What was relayed a short time ago, by key.
    relayed: HashMap<Arc<str>, Relayed>,
    /// How many were relayed in the second that began then.
    relays: Option<(Timestamp, u32)>,
    /// Whether everybody is shown soon who is present.
    shows_soon: bool,
    /// Where everybody was last told how many are present instead of who: the sample they were shown.
    /// Empty, if some of them were shown another one.
    crowd: Option<Vec<OnlineUser>>,
    /// Whether new sockets go to the members of the group rather than to its first object.
    is_split: bool,
}

/// Something that was relayed.
#[derive(Debug)]
struct Relayed {
    json: String,
    at: Timestamp,
    /// When it is forgotten.
    expires_at: Timestamp,
    /// What is relayed then, and to whom.
    then: Option<(EncodedEvent, To)>,
}

/// What has to be done later about an object's sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    /// Look at a session that lost its socket.
    Look(SessionId),
    /// Look whether something that was relayed has expired.
    Expire(Arc<str>),
    /// Show everybody who is present, or how many.
    Show,
}

/// When, and what.
pub(crate) type Due = (Timestamp, Later);

/// A socket that connects.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its session, unless it gets that of before.
    pub session: Session,
    /// As which session it says that it was here before.
    pub comes_back: Option<SessionId>,
    /// Whether it was accepted as a watcher: it is told who is present.
    pub watches: bool,
}

/// The sessions of an object, locked, with what it takes to tell its sockets something.
pub(crate) struct Locked<'a> {
    table: MutexGuard<'a, SessionTable<Seat>>,
    sockets: MutexGuard<'a, Sockets>,
    kind: &'a Kind,
    topic: TopicId,
    hubs: &'a [HubHandle],
}

impl Sessions {
    pub(crate) fn new(limits: SessionLimits) -> Sessions {
        let table = Arc::new(Mutex::new(SessionTable::new(limits)));
        Sessions { table, sockets: Mutex::default() }
    }

    /// What the object sees of it.
    pub(crate) fn view(&self) -> Arc<dyn SessionView> {
        Arc::clone(&self.table) as Arc<dyn SessionView>
    }

    /// Number of an object's sockets.
    pub(crate) fn len(&self, topic: TopicId) -> usize {
        let _table = self.table.lock();
        let sockets = self.sockets.lock();
        let own = sockets.per_hub.iter().filter(|(of, ..)| *of == topic);
        own.map(|(.., count)| *count as usize).sum()
    }

    /// Locks it. What is told to sockets before it is unlocked belongs to one moment.
    pub(crate) fn lock<'a>(
        &'a self,
        kind: &'a Kind,
        topic: TopicId,
        hubs: &'a [HubHandle],
    ) -> Locked<'a> {
        let table = self.table.lock();
        Locked { table, sockets: self.sockets.lock(), kind, topic, hubs }
    }
}

impl Locked<'_> {
    /// A socket connects. Gives its session, and whether that says that it was here before and nobody
    /// knows it. The hub gets broadcasts from now on, and ignores them until the socket is attached.
    pub(crate) fn join(&mut self, socket: SocketId, arrival: Arrival) -> (Session, bool, Vec<Due>) {
        let Arrival { session, comes_back, watches } = arrival;
        let now = session.joined_at;
        let seat = Seat { socket, topic: self.topic };
        let joined = self.table.join(seat, session, comes_back);
        self.sockets.add(seat);
        if watches {
            self.sockets.watchers.insert(socket);
        }
        if let Some(seat) = joined.replaced {
            self.sockets.remove(seat);
            let socket = seat.socket;
            let reason = "its session goes on over another connection".to_owned();
            self.send(socket.hub(), ToHub::Close { socket, code: CloseCode::NORMAL, reason });
        }
        let mut due = Vec::new();
        if let Some(user) = joined.arrived {
            due.extend(self.announce(now, |kind| presence::arrived(kind, &user)));
        }
        if joined.is_renamed {
            due.extend(self.renamed(now));
        }
        (joined.session, joined.is_stranger, due)
    }

    /// The user of a socket has shown a newer token.
    pub(crate) fn renew(
        &mut self,
        id: SessionId,
        socket: SocketId,
        user: &Arc<User>,
        now: Timestamp,
    ) -> Option<Due> {
        let seat = Seat { socket, topic: self.topic };
        if self.table.renew(id, seat, user) { self.renamed(now) } else { None }
    }

    /// A socket is gone. `None` if its session had another one already.
    pub(crate) fn leave(
        &mut self,
        id: SessionId,
        socket: SocketId,
        cause: CloseCause,
        now: Timestamp,
    ) -> Option<Vec<Due>> {
        let seat = Seat { socket, topic: self.topic };
        if self.table.socket(id) != Some(seat) {
            return None;
        }
        self.sockets.remove(seat);
        // Where nobody is left, nobody would hear of it.
        let is_noticed = self.table.len() > 1 || self.table.notes(id).is_some();
        let departure = if is_noticed { departure(cause) } else { Departure::Final };
        let left = self.table.leave(id, seat, departure, now);
        Some(self.settle(id, left, now))
    }

    /// Does what was due.
    pub(crate) fn perform(&mut self, later: Later, now: Timestamp) -> Vec<Due> {
        match later {
            Later::Look(id) => {
                let left = self.table.look(id, now);
                self.settle(id, left, now)
            }
            Later::Expire(key) => self.expire(key, now).into_iter().collect(),
            Later::Show => {
                self.sockets.shows_soon = false;
                self.show_everybody();
                Vec::new()
            }
        }
    }

    /// Passes an event on that needs no object.
    pub(crate) fn relay(&mut self, relay: EncodedRelay, now: Timestamp) -> Option<Due> {
        let EncodedRelay { event, audience, expires } = relay;
        let EventClass::Latest { key } = &event.class else { return None };
        let key = Arc::clone(key);
        let known = self.sockets.relayed.get(&key);
        let is_timed = known.is_some();
        let relayed_at = known
            .filter(|known| known.json == event.json)
            .map(|known| known.at)
            .filter(|at| now.saturating_since(*at) < RELAY_AGAIN_MIN);
        let is_news = relayed_at.is_none();
        if is_news && !self.sockets.may_relay(now, self.table.is_crowded()) {
            // What was relayed before still expires.
            return None;
        }
        let (to, at) = (self.to(audience), relayed_at.unwrap_or(now));
        let (lasts, then) =
            expires.map_or((RELAY_AGAIN_MIN, None), |(after, then)| (after, Some((then, to))));
        let expires_at = now.saturating_add(lasts);
        let relayed = Relayed { json: event.json.clone(), at, expires_at, then };
        self.sockets.relayed.insert(Arc::clone(&key), relayed);
        if is_news {
            self.publish(&event, to);
        }
        // One timer for each key: whoever looks too early looks again.
        (!is_timed).then_some((expires_at, Later::Expire(key)))
    }

    /// The sockets to which an event goes.
    pub(crate) fn to(&self, audience: Audience) -> To {
        match audience {
            Audience::Everyone => To::Everyone,
            Audience::Except(id) => {
                self.table.socket(id).map_or(To::Everyone, |seat| To::Except(seat.socket))
            }
        }
    }

    /// Where a session is, if it is connected.
    pub(crate) fn seat(&self, id: SessionId) -> Option<Seat> {
        self.table.socket(id)
    }

    /// Has new sockets go to the members of the group.
    pub(crate) fn split(&mut self) {
        self.sockets.is_split = true;
    }

    /// Whether new sockets go to the members of the group.
    pub(crate) fn is_split(&self) -> bool {
        self.sockets.is_split
    }

    /// Tells a socket that gets what is published from now on who is present, unless it was shown that
    /// already: `shown` is the version of what it was shown.
    pub(crate) fn show(&mut self, socket: SocketId, shown: Option<u64>, after: u64) {
        let is_shown = shown == Some(self.table.version());
        let words = self.kind.presence().filter(|_| !is_shown);
        let is_watcher = self.sockets.watchers.contains(&socket);
        if words.is_none() && !is_watcher {
            return;
        }
        let online = self.table.online();
        if is_watcher
            && let Some(sample) = &mut self.sockets.crowd
            && *sample != online.users
        {
            sample.clear();
        }
        let events = words.map(|words| words.online(&online)).and_then(presence::logged);
        let state = is_watcher.then(|| presence::state(&online));
        for json in [events, state].into_iter().flatten() {
            let frames = text_frame(&json);
            self.send(socket.hub(), ToHub::Direct { socket, frames, after, settles: 0 });
        }
    }

    /// Sends a batch of events to all sockets of the object.
    pub(crate) fn publish_batch(&self, batch: BatchBuilder) {
        self.publish_where(batch, |topic| topic == self.topic);
    }

    /// Sends events that belong to no object's log to all sockets of the group.
    fn publish_to_group(&self, batch: BatchBuilder) {
        self.publish_where(batch, |_| true);
    }

    fn publish_where(&self, batch: BatchBuilder, is_for: impl Fn(TopicId) -> bool) {
        let batch = batch.finish();
        for &(topic, hub, _) in self.sockets.per_hub.iter().filter(|(topic, ..)| is_for(*topic)) {
            self.send(hub, ToHub::Publish { topic, batch: batch.clone() });
        }
    }

    /// Tells a hub something about one of its sockets.
    pub(crate) fn send(&self, hub: HubIndex, message: ToHub) {
        if let Some(hub) = self.hubs.get(usize::from(hub.0)) {
            hub.send(message);
        }
    }

    fn settle(&mut self, id: SessionId, left: Left, now: Timestamp) -> Vec<Due> {
        let mut due: Vec<Due> =
            left.look_again.map(|at| (at, Later::Look(id))).into_iter().collect();
        if let Some(user) = left.departed {
            due.extend(self.announce(now, |kind| presence::departed(kind, &user)));
        }
        due
    }

    /// Tells everybody that somebody came or went; where many are, only how many, now and then.
    fn announce(
        &mut self,
        now: Timestamp,
        words: impl FnOnce(&Kind) -> presence::Words,
    ) -> Option<Due> {
        if self.kind.presence().is_none() && self.sockets.watchers.is_empty() {
            return None;
        }
        // Whoever was shown a crowd cannot tell from one change who is left.
        let is_crowd = self.table.is_crowded() || self.sockets.crowd.is_some();
        if is_crowd || self.sockets.shows_soon {
            return self.show_later(now);
        }
        self.publish_words(words(self.kind));
        None
    }

    /// Somebody who is present has another name or picture.
    fn renamed(&mut self, now: Timestamp) -> Option<Due> {
        let is_told = self.kind.presence().is_some() || !self.sockets.watchers.is_empty();
        if is_told { self.show_later(now) } else { None }
    }

    /// Has everybody shown who is present, but not too often.
    fn show_later(&mut self, now: Timestamp) -> Option<Due> {
        if mem::replace(&mut self.sockets.shows_soon, true) {
            return None;
        }
        now.checked_add(SHOW_INTERVAL).map(|at| (at, Later::Show))
    }

    /// Shows everybody who is present; of a crowd only how many, unless others are its sample now.
    fn show_everybody(&mut self) {
        let online = self.table.online();
        let events = self.kind.presence().map(|words| words.online(&online));
        let crowd = self.table.is_crowded().then(|| online.users.clone());
        let is_known = crowd.is_some() && self.sockets.crowd == crowd;
        let watchers = if is_known { presence::count(&online) } else { presence::state(&online) };
        self.sockets.crowd = crowd;
        self.publish_words(presence::Words { events: events.and_then(presence::logged), watchers });
    }

    fn publish_words(&self, words: presence::Words) {
        let mut batch = BatchBuilder::new();
        if let Some(json) = words.events {
            batch.lossy(To::Everyone, &json);
        }
        if !self.sockets.watchers.is_empty() {
            batch.lossy(To::Watchers, &words.watchers);
        }
        if !batch.is_empty() {
            self.publish_to_group(batch);
        }
    }

    fn publish(&self, event: &EncodedEvent, to: To) {
        let mut batch = BatchBuilder::new();
        push_transient(&mut batch, event, to);
        self.publish_to_group(batch);
    }

    fn expire(&mut self, key: Arc<str>, now: Timestamp) -> Option<Due> {
        let relayed = self.sockets.relayed.get(&key)?;
        if relayed.expires_at > now {
            return Some((relayed.expires_at, Later::Expire(key)));
        }
        let (then, to) = self.sockets.relayed.remove(&key)?.then?;
        self.publish(&then, to);
        None
    }
}

/// Adds an event that is in no log.
pub(crate) fn push_transient(batch: &mut BatchBuilder, event: &EncodedEvent, to: To) {
    match &event.class {
        EventClass::Latest { key } => _ = batch.latest(Arc::clone(key), to, &event.json),
        EventClass::Lossy | EventClass::Log { .. } => _ = batch.lossy(to, &event.json),
    }
}

/// Whether a client that lost its socket may come back at once.
fn departure(cause: CloseCause) -> Departure {
    match cause {
        // A page that is reloaded says that it goes away.
        CloseCause::Peer(Some(CloseCode::GOING_AWAY)) => Departure::Dropped,
        CloseCause::Peer(_) | CloseCause::Owner(CloseCode::NORMAL | CloseCode::POLICY) => {
            Departure::Final
        }
        CloseCause::Owner(_)
        | CloseCause::Lost
        | CloseCause::Unresponsive
        | CloseCause::Protocol(_)
        | CloseCause::TooSlow
        | CloseCause::TooFast(_)
        | CloseCause::Drained => Departure::Dropped,
    }
}

impl Sockets {
    fn add(&mut self, seat: Seat) {
        match self.count_of(seat) {
            Some(place) => self.per_hub[place].2 += 1,
            None => self.per_hub.push((seat.topic, seat.socket.hub(), 1)),
        }
    }

    fn remove(&mut self, seat: Seat) {
        self.watchers.remove(&seat.socket);
        if let Some(place) = self.count_of(seat) {
            self.per_hub[place].2 -= 1;
            if self.per_hub[place].2 == 0 {
                self.per_hub.swap_remove(place);
            }
        }
    }

    fn count_of(&self, seat: Seat) -> Option<usize> {
        let own = (seat.topic, seat.socket.hub());
        self.per_hub.iter().position(|&(topic, hub, _)| (topic, hub) == own)
    }

    /// Whether one more may be relayed in this second.
    fn may_relay(&mut self, now: Timestamp, is_crowded: bool) -> bool {
        let max = if is_crowded { RELAYS_PER_SECOND_CROWDED } else { RELAYS_PER_SECOND };
        let (began, count) = self.relays.get_or_insert((now, 0));
        if now.saturating_since(*began) >= Duration::from_secs(1) {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        *count <= max
    }
}

//! Sockets that were opened with a token, and when they end.
//!
//! One timer for all sockets of a hub. Sockets without a token cost nothing here.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dormouse::{Clock, Timestamp, User};
use dormouse_socket::{CloseCode, HubHandle, SocketId, ToHub};
use tokio::sync::Notify;

use crate::auth::Identity;

/// The longest sleep of the timer: so late may a socket end if the machine's clock was set.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// What a socket that ends is told.
const REASON: &str = "the token has expired";

/// The sockets with a token of one hub.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    sockets: RefCell<Sockets>,
    /// Told when the next end comes sooner than the timer knows.
    sooner: Notify,
}

/// Invariant: `ends` has the entry of each socket in `grants`, and no other; `newer` only some of them.
#[derive(Debug, Default)]
struct Sockets {
    grants: HashMap<SocketId, Grant>,
    ends: BTreeSet<(Timestamp, SocketId)>,
    /// Users of newer tokens, until their sockets are looked at.
    newer: HashMap<SocketId, Arc<User>>,
}

#[derive(Clone, Copy, Debug)]
struct Grant {
    ends_at: Timestamp,
    covers_kind: bool,
}

impl Expiries {
    /// Starts the timer of a hub, on its thread.
    pub(super) fn start(hub: HubHandle, clock: Arc<dyn Clock>) -> Rc<Expiries> {
        let expiries = Rc::new(Expiries::default());
        actix_rt::spawn(Rc::clone(&expiries).run(hub, clock));
        expiries
    }

    /// Notes until when the token of a socket counts that was opened.
    pub(super) fn insert(&self, socket: SocketId, kind: &str, identity: &Identity) {
        let grant = Grant { ends_at: identity.ends_at(), covers_kind: identity.covers_kind(kind) };
        if self.sockets.borrow_mut().insert(socket, grant) {
            self.sooner.notify_one();
        }
    }

    /// Notes a newer token, unless the socket is gone or was opened without one.
    pub(super) fn renew(&self, socket: SocketId, kind: &str, identity: &Identity) {
        if self.sockets.borrow().grants.contains_key(&socket) {
            self.insert(socket, kind, identity);
            self.sockets.borrow_mut().newer.insert(socket, Arc::clone(&identity.user));
        }
    }

    /// The user of a newer token that nobody has taken yet.
    pub(super) fn take_newer_user(&self, socket: SocketId) -> Option<Arc<User>> {
        let newer = &mut self.sockets.borrow_mut().newer;
        if newer.is_empty() { None } else { newer.remove(&socket) }
    }

    /// Forgets a socket.
    pub(super) fn remove(&self, socket: SocketId) {
        self.sockets.borrow_mut().remove(socket);
    }

    /// Whether a socket may list all objects of its kind, as far as its token is concerned.
    pub(super) fn covers_kind(&self, socket: SocketId) -> bool {
        self.sockets.borrow().grants.get(&socket).is_none_or(|grant| grant.covers_kind)
    }

    async fn run(self: Rc<Self>, hub: HubHandle, clock: Arc<dyn Clock>) {
        loop {
            let now = clock.now();
            for socket in self.sockets.borrow_mut().take_ended(now) {
                let (code, reason) = (CloseCode::POLICY, REASON.to_owned());
                hub.send(ToHub::Close { socket, code, reason });
            }
            let sleep_max =
                self.sockets.borrow().next().map(|ends_at| ends_at.saturating_since(now));
            let sooner = self.sooner.notified();
            match sleep_max {
                Some(time) => _ = tokio::time::timeout(time.min(SLEEP_MAX), sooner).await,
                None => sooner.await,
            }
        }
    }
}

impl Sockets {
    /// Whether the socket is the next that ends.
    fn insert(&mut self, socket: SocketId, grant: Grant) -> bool {
        self.remove(socket);
        self.grants.insert(socket, grant);
        self.ends.insert((grant.ends_at, socket));
        self.ends.first() == Some(&(grant.ends_at, socket))
    }

    fn remove(&mut self, socket: SocketId) {
        self.newer.remove(&socket);
        if let Some(grant) = self.grants.remove(&socket) {
            self.ends.remove(&(grant.ends_at, socket));
        }
    }

    fn next(&self) -> Option<Timestamp> {
        self.ends.first().map(|(ends_at, _)| *ends_at)
    }

    fn take_ended(&mut self, now: Timestamp) -> Vec<SocketId> {
        let mut ended = Vec::new();
        while let Some(&(ends_at, socket)) = self.ends.first()
            && ends_at <= now
        {
            self.remove(socket);
            ended.push(socket);
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use dormouse_socket::HubIndex;

    use super::*;

    fn socket(slot: u32) -> SocketId {
        SocketId::new(HubIndex(0), slot, NonZeroU32::MIN)
    }

    fn until(ms: i64) -> Grant {
        Grant { ends_at: Timestamp::from_ms(ms), covers_kind: true }
    }

    #[test]
    fn each_socket_ends_once_at_its_newest_time() {
        let mut sockets = Sockets::default();
        assert!(sockets.insert(socket(1), until(20)));
        assert!(sockets.insert(socket(2), until(10)));
        assert!(!sockets.insert(socket(3), until(10)));
        assert!(!sockets.insert(socket(2), until(30)), "renewed");
        sockets.remove(socket(3));

        assert_eq!(sockets.next(), Some(Timestamp::from_ms(20)));
        assert_eq!(sockets.take_ended(Timestamp::from_ms(19)), []);
        assert_eq!(sockets.take_ended(Timestamp::from_ms(20)), [socket(1)]);
        assert_eq!(sockets.take_ended(Timestamp::from_ms(99)), [socket(2)]);
        assert!(sockets.grants.is_empty() && sockets.ends.is_empty());
    }
}

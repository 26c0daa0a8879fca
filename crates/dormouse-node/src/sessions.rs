//! The session table: all sockets of one object, whether it is awake or not.

use std::collections::HashMap;

use dormouse::Session;
use dormouse_socket::{HubIndex, SocketId};

/// All sessions of a key.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    by_socket: HashMap<SocketId, Session>,
    /// How many of them each hub has, by hub; a hub with none gets no broadcast.
    per_hub: Vec<u32>,
}

impl SessionTable {
    /// Adds a session. The hub gets broadcasts from now on, and ignores them until the socket is
    /// attached.
    pub(crate) fn insert(&mut self, socket: SocketId, session: Session) {
        let hub = usize::from(socket.hub().0);
        if self.per_hub.len() <= hub {
            self.per_hub.resize(hub + 1, 0);
        }
        if self.by_socket.insert(socket, session).is_none() {
            self.per_hub[hub] += 1;
        }
    }

    /// Removes a session; `false` if it was not there.
    pub(crate) fn remove(&mut self, socket: SocketId) -> bool {
        let removed = self.by_socket.remove(&socket).is_some();
        if removed && let Some(count) = self.per_hub.get_mut(usize::from(socket.hub().0)) {
            *count -= 1;
        }
        removed
    }

    /// The hubs that have sockets of this object.
    pub(crate) fn hubs(&self) -> impl Iterator<Item = HubIndex> + '_ {
        self.per_hub
            .iter()
            .zip(0_u16..)
            .filter(|(count, _)| **count > 0)
            .map(|(_, index)| HubIndex(index))
    }

    /// The sockets of one session: usually one, two while a newer one takes over.
    pub(crate) fn sockets_of(
        &self,
        id: dormouse::SessionId,
    ) -> impl Iterator<Item = SocketId> + '_ {
        self.by_socket
            .iter()
            .filter(move |(_, session)| session.id == id)
            .map(|(socket, _)| *socket)
    }

    /// Number of sockets.
    pub(crate) fn len(&self) -> usize {
        self.by_socket.len()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use dormouse::SessionId;

    use super::*;

    fn socket(hub: u16, slot: u32) -> SocketId {
        SocketId::new(HubIndex(hub), slot, NonZeroU32::MIN)
    }

    fn session(n: u8) -> Session {
        Session { id: SessionId::from_random([n; 16]), user: None }
    }

    #[test]
    fn only_hubs_with_sockets_get_broadcasts() {
        let mut table = SessionTable::default();

        table.insert(socket(2, 1), session(1));
        table.insert(socket(0, 1), session(2));
        table.insert(socket(2, 2), session(3));
        assert!(table.remove(socket(0, 1)));
        assert!(table.remove(socket(2, 1)));
        assert!(!table.remove(socket(2, 1)), "it was removed already");

        assert_eq!(table.hubs().collect::<Vec<_>>(), [HubIndex(2)]);
        assert_eq!(table.sockets_of(session(3).id).collect::<Vec<_>>(), [socket(2, 2)]);
        assert_eq!(table.len(), 1);
    }
}

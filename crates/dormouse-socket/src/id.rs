//! Names of what the transport handles: topics, hubs, sockets and types of events.

use std::fmt;
use std::num::NonZeroU32;

/// One object as sockets see it: what a socket attaches to and what events are published on.
///
/// The caller gives out the numbers. Two objects that have sockets at the same time must not share
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u64);

/// The history that offsets of log events belong to: those of different histories cannot be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EventEpoch(pub u64);

/// Prints 16 hexadecimal digits.
impl fmt::Display for EventEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Which hub of the process, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HubIndex(pub u16);

/// One socket for as long as it is open.
///
/// An id is never used again: the slot is, under another generation. So an id that outlived its
/// socket is ignored wherever it turns up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    hub: HubIndex,
    slot: u32,
    generation: NonZeroU32,
}

impl SocketId {
    /// Puts an id together. Only a hub makes ids that mean something; fakes may make their own.
    pub const fn new(hub: HubIndex, slot: u32, generation: NonZeroU32) -> SocketId {
        SocketId { hub, slot, generation }
    }

    /// The hub that owns the socket, and that messages for it go to.
    pub const fn hub(self) -> HubIndex {
        self.hub
    }

    pub(crate) const fn slot(self) -> u32 {
        self.slot
    }

    pub(crate) const fn generation(self) -> NonZeroU32 {
        self.generation
    }
}

/// Prints `hub/slot.generation`, short enough for every log line.
impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.hub.0, self.slot, self.generation)
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketId({self})")
    }
}

/// Which types of log events a socket wants, one bit per index in its kind's list of types.
///
/// Transient and direct frames are never filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMask(pub u128);

impl EventMask {
    /// Every type, also those whose index has no bit.
    pub const ALL: EventMask = EventMask(u128::MAX);

    /// Whether events of this type pass. An index past 127 has no bit and always passes.
    pub const fn contains(self, type_index: u8) -> bool {
        type_index >= 128 || self.0 & (1 << type_index) != 0
    }
}

impl Default for EventMask {
    fn default() -> EventMask {
        EventMask::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_small() {
        assert_eq!(size_of::<SocketId>(), 12);
        assert_eq!(size_of::<Option<SocketId>>(), 12);
    }

    #[test]
    fn a_mask_hides_only_types_that_have_a_bit() {
        let mask = EventMask(0b10);

        assert!(!mask.contains(0));
        assert!(mask.contains(1));
        assert!(!mask.contains(127));
        assert!(mask.contains(128));
        assert!(EventMask::default().contains(0));
    }
}

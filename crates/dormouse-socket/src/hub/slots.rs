//! Sockets by slot, with generations that tell an old id from a new one.

use std::num::NonZeroU32;

use crate::id::{HubIndex, SocketId};

/// A table whose entries stay where they are, and whose free places are used again.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    hub: HubIndex,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: NonZeroU32,
    entry: Option<T>,
}

impl<T> Slots<T> {
    pub(crate) fn new(hub: HubIndex) -> Slots<T> {
        Slots { hub, slots: Vec::new(), free: Vec::new() }
    }

    /// Whether there is no entry.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// One past the highest slot that was ever used.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("a process has fewer descriptors than this")
    }

    /// Makes an entry that knows its id.
    pub(crate) fn insert(&mut self, make: impl FnOnce(SocketId) -> T) -> SocketId {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.end();
            self.slots.push(Slot { generation: NonZeroU32::MIN, entry: None });
            slot
        });
        let place = &mut self.slots[slot as usize];
        let id = SocketId::new(self.hub, slot, place.generation);
        place.entry = Some(make(id));
        id
    }

    /// The entry of this id, unless it is gone or the id is of another hub.
    pub(crate) fn get_mut(&mut self, id: SocketId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot() as usize)?;
        if slot.generation != id.generation() || self.hub != id.hub() {
            return None;
        }
        slot.entry.as_mut()
    }

    /// Whatever is in this slot now.
    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.entry.as_mut()
    }

    /// Takes an entry out. Its id is never valid again.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let place = self.slots.get_mut(slot as usize)?;
        let entry = place.entry.take()?;
        place.generation = place.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.free.push(slot);
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_finds_nothing_although_its_slot_is_used_again() {
        let mut slots = Slots::new(HubIndex(2));
        let first = slots.insert(|_| "first");
        let second = slots.insert(|_| "second");

        assert_eq!(slots.remove(first.slot()), Some("first"));
        let third = slots.insert(|_| "third");

        assert_eq!(third.slot(), first.slot());
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.get_mut(second), Some(&mut "second"));
        assert_eq!(slots.get_mut(third), Some(&mut "third"));
        let elsewhere = SocketId::new(HubIndex(0), third.slot(), third.generation());
        assert_eq!(slots.get_mut(elsewhere), None);
    }

    #[test]
    fn a_table_is_empty_again_when_all_are_removed() {
        let mut slots = Slots::new(HubIndex(0));
        assert!(slots.is_empty());
        let id = slots.insert(|_| ());

        assert!(!slots.is_empty());
        slots.remove(id.slot());

        assert!(slots.is_empty());
        assert_eq!(slots.remove(id.slot()), None);
        assert_eq!(slots.end(), 1);
    }
}

//! Who gets what is published.

use std::collections::HashMap;

use crate::id::TopicId;

/// The slots that are subscribed to each topic.
///
/// A socket remembers its place in the list, so that leaving costs the same however many stay.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    topics: HashMap<TopicId, Vec<u32>>,
}

impl Topics {
    /// Subscribes a slot and gives its place in the list.
    pub(crate) fn subscribe(&mut self, topic: TopicId, slot: u32) -> u32 {
        let slots = self.topics.entry(topic).or_default();
        slots.push(slot);
        u32::try_from(slots.len() - 1).expect("a process has fewer descriptors than this")
    }

    /// Takes the slot at `place` out. Gives the slot that moved to this place, if one did.
    pub(crate) fn unsubscribe(&mut self, topic: TopicId, place: u32) -> Option<u32> {
        let slots = self.topics.get_mut(&topic)?;
        let place = place as usize;
        slots.swap_remove(place);
        let moved = slots.get(place).copied();
        if slots.is_empty() {
            self.topics.remove(&topic);
        }
        moved
    }

    /// The slots of a topic.
    pub(crate) fn of(&self, topic: TopicId) -> &[u32] {
        self.topics.get(&topic).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_moves_at_most_one_other() {
        let mut topics = Topics::default();
        let topic = TopicId(7);
        for slot in [10, 11, 12] {
            topics.subscribe(topic, slot);
        }

        assert_eq!(topics.unsubscribe(topic, 0), Some(12), "the last takes the free place");
        assert_eq!(topics.unsubscribe(topic, 1), None, "the last place is free for nobody");
        assert_eq!(topics.of(topic), [12]);
        assert_eq!(topics.unsubscribe(topic, 0), None);
        assert!(topics.topics.is_empty());
    }
}

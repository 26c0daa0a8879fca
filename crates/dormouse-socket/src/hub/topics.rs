//! Who gets what is published.

use std::collections::{HashMap, VecDeque};

use crate::batch::Batch;
use crate::id::TopicId;

use super::round::{Mark, Round};

/// The sockets that are attached to each topic, and what is under way to them.
#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: HashMap<TopicId, Topic>,
    /// Topics with something under way, in the order of their turns. One may have ended since, or
    /// have nothing under way any more.
    turns: VecDeque<TopicId>,
    bytes_under_way: usize,
}

/// A topic with at least one socket.
///
/// A socket remembers its place in the list, so that leaving costs the same however many stay.
#[derive(Debug, Default)]
struct Topic {
    slots: Vec<u32>,
    round: Round,
    /// Whether it is in the list of turns.
    has_turn: bool,
}

/// Sockets to be visited one after the other.
#[derive(Debug)]
pub(super) struct Stretch<'a> {
    pub(super) slots: &'a [u32],
    pub(super) round: &'a mut Round,
}

impl Topics {
    /// Adds a slot to a topic. Gives its place in the list, and how much of the topic's batches its
    /// socket need not be given.
    pub(super) fn attach(&mut self, id: TopicId, slot: u32) -> (u32, Mark) {
        let topic = self.topics.entry(id).or_default();
        topic.slots.push(slot);
        let place = u32::try_from(topic.slots.len() - 1);
        let place = place.expect("a process has fewer descriptors than this");
        (place, topic.round.joined())
    }

    /// Takes the slot at `place` out. Gives the slot that moved to this place, if one did.
    pub(super) fn detach(&mut self, id: TopicId, place: u32) -> Option<u32> {
        let topic = self.topics.get_mut(&id)?;
        let place = place as usize;
        topic.slots.swap_remove(place);
        let moved = topic.slots.get(place).copied();
        if topic.slots.is_empty() {
            self.bytes_under_way -= topic.round.bytes();
            self.topics.remove(&id);
        }
        moved
    }

    /// Sends a batch on its way to all sockets of a topic.
    pub(super) fn publish(&mut self, id: TopicId, batch: Batch) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        self.bytes_under_way += batch.len_bytes();
        topic.round.publish(batch, topic.slots.len());
        self.end_turn(id);
    }

    /// Bytes of all batches that have not been everywhere.
    pub(super) fn bytes_under_way(&self) -> usize {
        self.bytes_under_way
    }

    /// The topic whose turn it is. [`end_turn`](Self::end_turn) must follow, unless nothing is under
    /// way on it any more.
    pub(super) fn take_turn(&mut self) -> Option<TopicId> {
        let id = self.turns.pop_front()?;
        if let Some(topic) = self.topics.get_mut(&id) {
            topic.has_turn = false;
        }
        Some(id)
    }

    /// Gives a topic another turn, after all others, if something is under way on it.
    pub(super) fn end_turn(&mut self, id: TopicId) {
        if let Some(topic) = self.topics.get_mut(&id)
            && !topic.has_turn
            && !topic.round.is_empty()
        {
            topic.has_turn = true;
            self.turns.push_back(id);
        }
    }

    /// The next sockets of a topic to be visited, at most so many. [`advance`](Self::advance) must
    /// follow. `None`: nothing is under way to them.
    pub(super) fn stretch(&mut self, id: TopicId, visits_max: usize) -> Option<Stretch<'_>> {
        let Topic { slots, round, .. } = self.topics.get_mut(&id)?;
        let (next, visits) = round.stretch(slots.len())?;
        Some(Stretch { slots: &slots[next..next + visits.min(visits_max)], round })
    }

    /// Notes that so many sockets of a topic were visited.
    pub(super) fn advance(&mut self, id: TopicId, visits: usize) {
        if let Some(topic) = self.topics.get_mut(&id) {
            self.bytes_under_way -= topic.round.advance(visits);
        }
    }

    /// What is under way on a topic.
    pub(super) fn round(&mut self, id: TopicId) -> Option<&mut Round> {
        self.topics.get_mut(&id).map(|topic| &mut topic.round)
    }

    /// The slots of a topic.
    pub(super) fn slots(&self, id: TopicId) -> &[u32] {
        self.topics.get(&id).map_or(&[], |topic| topic.slots.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use crate::batch::{BatchBuilder, To};

    use super::*;

    #[test]
    fn leaving_moves_at_most_one_other() {
        let mut topics = Topics::default();
        let topic = TopicId(7);
        for slot in [10, 11, 12] {
            topics.attach(topic, slot);
        }

        assert_eq!(topics.detach(topic, 0), Some(12), "the last takes the free place");
        assert_eq!(topics.detach(topic, 1), None, "the last place is free for nobody");
        assert_eq!(topics.slots(topic), [12]);
        assert_eq!(topics.detach(topic, 0), None);
        assert!(topics.topics.is_empty());
    }

    #[test]
    fn what_is_under_way_counts_until_it_was_everywhere_or_nobody_is_left() {
        let mut topics = Topics::default();
        let (topic, other) = (TopicId(7), TopicId(8));
        let batch = || {
            let mut builder = BatchBuilder::new();
            builder.lossy(To::Everyone, "x");
            builder.finish()
        };
        for (topic, slot) in [(topic, 10), (topic, 11), (other, 12)] {
            topics.attach(topic, slot);
        }

        topics.publish(topic, batch());
        topics.publish(other, batch());
        topics.publish(TopicId(9), batch());
        assert_eq!(topics.bytes_under_way(), 6, "nobody listens to the third");
        assert_eq!(topics.take_turn(), Some(topic));
        topics.advance(topic, 1);
        assert_eq!(topics.attach(topic, 13), (2, 1), "what is under way is not for it");
        topics.end_turn(topic);
        assert_eq!(topics.take_turn(), Some(other));
        topics.detach(other, 0);
        assert_eq!(topics.bytes_under_way(), 3);

        assert_eq!(
            topics.stretch(topic, 9).map(|stretch| stretch.slots.to_vec()),
            Some(vec![11, 13])
        );
        topics.advance(topic, 2);
        assert_eq!(topics.bytes_under_way(), 0);
        assert_eq!(topics.take_turn(), Some(topic), "its turn had been given");
        topics.end_turn(topic);
        assert_eq!(topics.take_turn(), None);
    }
}

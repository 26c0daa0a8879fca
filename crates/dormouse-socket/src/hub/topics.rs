//! Who gets what is published.

use std::collections::{HashMap, VecDeque};

use crate::batch::Batch;
use crate::id::TopicId;

use super::round::Round;
use super::socket::Socket;

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
    /// Attaches a socket, in this slot, to its topic.
    pub(super) fn subscribe<S>(&mut self, slot: u32, socket: &mut Socket<S>) {
        let topic = self.topics.entry(socket.topic()).or_default();
        let place = u32::try_from(topic.slots.len());
        topic.slots.push(slot);
        socket.place = Some(place.expect("a process has fewer descriptors than this"));
        socket.seen = topic.round.joined();
    }

    /// Takes the slot at `place` out. Gives the slot that moved to this place, if one did.
    pub(super) fn unsubscribe(&mut self, id: TopicId, place: u32) -> Option<u32> {
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

//! What other threads tell the hub.

use std::mem;
use std::task::Waker;

use crate::id::TopicId;
use crate::inbox::{INBOX_BYTES_MAX, Incoming, ToHub};
use crate::owner::Owner;

use super::Driver;
use super::socket::{Feed, Phase, Refill, Verdict};

/// Sockets that get what is under way before the hub looks at the clock again: about 100 µs of
/// writing.
const VISITS_AT_ONCE: usize = 32;

impl<O: Owner> Driver<O> {
    /// Handles all messages that have come. `false` if there was none.
    pub(super) fn take_messages(&mut self, waker: &Waker) -> bool {
        if self.topics.bytes_under_way() > INBOX_BYTES_MAX {
            // So that no more waits here than the inbox may hold.
            self.finish_rounds();
            self.look_at_touched();
        }
        let mut incoming = mem::take(&mut self.incoming);
        if self.inbox.poll_take(waker, &mut incoming).is_pending() {
            self.incoming = incoming;
            return false;
        }
        for message in incoming.drain(..) {
            match message {
                Incoming::Message(message) => self.handle(message),
                Incoming::Skipped(topic) => self.skip(topic),
            }
        }
        self.incoming = incoming;
        self.look_at_touched();
        true
    }

    fn handle(&mut self, message: ToHub) {
        match message {
            ToHub::Publish { topic, batch } => {
                self.topics.publish(topic, batch);
            }
            ToHub::Attach { socket: id, topic, direct, batch, offset, tail } => {
                let Some(socket) = self.sockets.get_mut(id) else { return };
                if socket.phase != Phase::Open || socket.topic() != topic {
                    return;
                }
                // What was published before this answer comes before it.
                self.visit_one(id.slot());
                let Some(socket) = self.sockets.get_mut(id) else { return };
                socket.refill(Refill { direct, batch, offset }, &mut self.env);
                if socket.place.is_none() {
                    let (place, seen) = self.topics.attach(topic, id.slot());
                    (socket.place, socket.seen) = (Some(place), seen);
                }
                match socket.feed {
                    Feed::Push => {}
                    Feed::Waiting | Feed::Pull if tail => socket.caught_up(),
                    Feed::Waiting | Feed::Pull => socket.feed = Feed::Pull,
                }
            }
            ToHub::Direct { socket: id, frames, after, settles } => {
                let Some(socket) = self.sockets.get_mut(id) else { return };
                socket.settle_answers(settles, &mut self.env);
                if !frames.is_empty() {
                    socket.push_direct(frames, after, &mut self.env);
                }
            }
            ToHub::Close { socket: id, code, reason } => {
                let Some(socket) = self.sockets.get_mut(id) else { return };
                socket.judge(Verdict::Owner(code, reason), &mut self.env);
                // What follows in the same turn comes too late.
                self.settle(id.slot());
            }
            ToHub::Drain { reason, spread, within } => {
                self.finish_rounds();
                self.drain(reason, spread, within);
            }
        }
    }

    /// Gives the sockets whose turn it is what is under way for them. `false` if nothing is.
    pub(super) fn visit_some(&mut self) -> bool {
        let mut visits_left = VISITS_AT_ONCE;
        while visits_left > 0
            && let Some(topic) = self.topics.take_turn()
        {
            visits_left -= self.visit(topic, visits_left);
            self.topics.end_turn(topic);
        }
        self.look_at_touched();
        visits_left < VISITS_AT_ONCE
    }

    /// Visits at most so many sockets of a topic. Gives how many it were.
    fn visit(&mut self, topic: TopicId, visits_max: usize) -> usize {
        let mut visits = 0;
        while visits < visits_max
            && let Some(stretch) = self.topics.stretch(topic, visits_max - visits)
        {
            for &slot in stretch.slots {
                if let Some(socket) = self.sockets.at_mut(slot) {
                    stretch.round.visit(socket, &mut self.env);
                }
            }
            let visited = stretch.slots.len();
            self.topics.advance(topic, visited);
            visits += visited;
        }
        visits
    }

    /// Gives one socket what is under way for it.
    pub(super) fn visit_one(&mut self, slot: u32) {
        if let Some(socket) = self.sockets.at_mut(slot)
            && socket.place.is_some()
            && let Some(round) = self.topics.round(socket.topic())
        {
            round.visit(socket, &mut self.env);
        }
    }

    /// Gives all sockets of a topic what is under way.
    fn finish_round(&mut self, topic: TopicId) {
        while self.visit(topic, VISITS_AT_ONCE) > 0 {}
    }

    /// Gives all sockets what is under way.
    fn finish_rounds(&mut self) {
        while let Some(topic) = self.topics.take_turn() {
            self.finish_round(topic);
        }
    }

    /// Has all sockets of a topic fall behind.
    fn skip(&mut self, topic: TopicId) {
        self.finish_round(topic);
        for &slot in self.topics.slots(topic) {
            if let Some(socket) = self.sockets.at_mut(slot) {
                socket.fall_behind(&mut self.env);
            }
        }
    }
}

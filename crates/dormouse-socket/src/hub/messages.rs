//! What other threads tell the hub.

use std::collections::HashMap;
use std::mem;
use std::task::Waker;

use crate::batch::Batch;
use crate::form::Form;
use crate::id::TopicId;
use crate::inbox::{Incoming, ToHub};
use crate::owner::Owner;

use super::Driver;
use super::env::Env;
use super::socket::{Feed, Phase, Refill, Socket, Verdict};

/// Bytes of batches that are joined into one write. More would not make writing cheaper, but let a
/// burst jump over the bound of a socket's queue.
const JOINED_BYTES_MAX: usize = 64 * 1024;

/// Batches that wait for the end of the turn, so that all that was published on a topic in one turn
/// costs each of its sockets one write.
///
/// Waiting changes nothing that a client could tell: a direct frame that overtakes its event is held
/// for it, and whatever else depends on a topic's order delivers what is pending first.
#[derive(Debug, Default)]
pub(super) struct Pending {
    topics: HashMap<TopicId, Vec<Batch>>,
}

impl<O: Owner> Driver<O> {
    /// Handles all messages that have come. `false` if there was none.
    pub(super) fn take_messages(&mut self, waker: &Waker) -> bool {
        let mut incoming = mem::take(&mut self.incoming);
        if self.inbox.poll_take(waker, &mut incoming).is_pending() {
            self.incoming = incoming;
            return false;
        }
        for message in incoming.drain(..) {
            match message {
                Incoming::Message(message) => self.handle(message),
                Incoming::Skipped(topic) => {
                    self.deliver_pending(topic);
                    self.for_attached(topic, Socket::fall_behind);
                }
            }
        }
        self.incoming = incoming;
        self.deliver_all_pending();
        self.look_at_touched();
        true
    }

    fn handle(&mut self, message: ToHub) {
        match message {
            ToHub::Publish { topic, batch } => {
                self.pending.topics.entry(topic).or_default().push(batch);
            }
            ToHub::Attach { socket: id, topic, direct, batch, offset, tail } => {
                self.deliver_pending(topic);
                let Some(socket) = self.sockets.get_mut(id) else { return };
                if socket.phase != Phase::Open || socket.topic() != topic {
                    return;
                }
                socket.refill(Refill { direct, batch, offset }, &mut self.env);
                if socket.place.is_none() {
                    socket.place = Some(self.topics.subscribe(topic, id.slot()));
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
                socket.push_direct(frames, after, &mut self.env);
            }
            ToHub::Close { socket: id, code, reason } => {
                let Some(socket) = self.sockets.get_mut(id) else { return };
                let topic = socket.topic();
                self.deliver_pending(topic);
                if let Some(socket) = self.sockets.get_mut(id) {
                    socket.judge(Verdict::Owner(code, reason), &mut self.env);
                    // What follows in the same turn comes too late.
                    self.settle(id.slot());
                }
            }
            ToHub::Drain { reason, spread, within } => {
                self.deliver_all_pending();
                self.drain(reason, spread, within);
            }
        }
    }

    fn deliver_all_pending(&mut self) {
        let mut topics = mem::take(&mut self.pending.topics);
        for (topic, batches) in topics.drain() {
            self.deliver(topic, &batches);
        }
        self.pending.topics = topics;
    }

    fn deliver_pending(&mut self, topic: TopicId) {
        if let Some(batches) = self.pending.topics.remove(&topic) {
            self.deliver(topic, &batches);
        }
    }

    fn deliver(&mut self, topic: TopicId, batches: &[Batch]) {
        let mut rest = batches;
        while !rest.is_empty() {
            let (joined, later) = rest.split_at(joinable(rest));
            let plain = Batch::join(joined);
            let mut forms = Forms { plain: joined, made: Default::default() };
            self.for_attached(topic, |socket, env| match socket.form().index() {
                None => socket.deliver(&plain, env),
                Some(index) => {
                    let batch = forms.get(index, socket.form(), env);
                    socket.deliver(batch, env)
                }
            });
            rest = later;
        }
    }

    /// Does something with each socket that is attached to a topic.
    fn for_attached(
        &mut self,
        topic: TopicId,
        mut act: impl FnMut(&mut Socket<O::Session>, &mut Env),
    ) {
        for &slot in self.topics.of(topic) {
            if let Some(socket) = self.sockets.at_mut(slot) {
                act(socket, &mut self.env);
            }
        }
    }
}

/// What is delivered, in the forms that some sockets take, made when the first one needs it.
struct Forms<'a> {
    plain: &'a [Batch],
    made: [Option<Batch>; Form::MADE_COUNT],
}

impl Forms<'_> {
    /// `index` is that of the form.
    fn get(&mut self, index: usize, form: Form, env: &mut Env) -> &Batch {
        self.made[index].get_or_insert_with(|| {
            // Before joining, as what is joined differs from hub to hub, and what was published does
            // not.
            let make = |batch: &Batch| batch.in_form(form, &mut env.deflater);
            Batch::join(&self.plain.iter().map(make).collect::<Vec<_>>())
        })
    }
}

/// How many batches from the first on make one write: as many as fit and follow each other without
/// a hole, which must stay visible to the sockets.
fn joinable(batches: &[Batch]) -> usize {
    let mut bytes = 0;
    let mut last_offset: Option<u64> = None;
    let joins = |batch: &&Batch| {
        bytes += batch.len_bytes();
        let follows = match (last_offset, batch.first_offset()) {
            (Some(last), Some(first)) => first.checked_sub(1) == Some(last),
            _ => true,
        };
        last_offset = batch.last_offset().or(last_offset);
        bytes <= JOINED_BYTES_MAX && follows
    };
    batches.iter().take_while(joins).count().max(1)
}

#[cfg(test)]
mod tests {
    use crate::batch::BatchBuilder;

    use super::*;

    fn batch(offset: Option<u64>, bytes: usize) -> Batch {
        let mut builder = BatchBuilder::new();
        let json = "x".repeat(bytes);
        match offset {
            Some(offset) => builder.log(offset, 0, &json),
            None => builder.lossy(None, &json),
        };
        builder.finish()
    }

    #[test]
    fn batches_are_joined_up_to_a_hole_or_the_bound() {
        let following = [batch(Some(1), 9), batch(None, 9), batch(Some(2), 9)];
        let with_hole = [batch(Some(1), 9), batch(Some(2), 9), batch(Some(4), 9)];
        let large = [batch(Some(1), JOINED_BYTES_MAX), batch(Some(2), 9)];

        assert_eq!(joinable(&following), 3);
        assert_eq!(joinable(&with_hole), 2);
        assert_eq!(joinable(&large), 1);
    }
}

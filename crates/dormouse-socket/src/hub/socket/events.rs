//! How events reach a socket: pushed as they happen, or fetched when its reader has fallen behind.

use std::ops::Range;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::batch::Batch;
use crate::event_stream::{self, EventId};
use crate::form::{Convention, Form};
use crate::hub::env::Env;
use crate::id::EventMask;

use super::{Feed, Socket, Verdict};

/// An answer to `Owner::opened` or `Owner::refill`.
#[derive(Debug)]
pub(in crate::hub) struct Refill {
    pub(in crate::hub) direct: Option<Bytes>,
    pub(in crate::hub) batch: Batch,
    pub(in crate::hub) offset: u64,
}

impl<S> Socket<S> {
    /// Gives the socket what was published. One that is behind, or finds that it is, gets only what
    /// waits by key.
    pub(in crate::hub) fn deliver(&mut self, batch: &Batch, env: &mut Env) {
        if self.feed != Feed::Push {
            self.put_latest(batch, 0, env);
            return;
        }
        let next = self.offset.saturating_add(1);
        if let Some(first) = batch.first_offset().filter(|first| *first > next) {
            // Subscribe at the tail: a hole is never sent, it is filled.
            tracing::warn!(socket = %self.id, next, first, "what was published has a hole");
            self.fall_behind(env);
            self.put_latest(batch, 0, env);
            return;
        }
        let is_known = batch.first_offset().is_some_and(|first| first < next);
        let is_whole = !is_known && batch.passes_whole(self.filter);
        if is_whole && self.outgoing.is_none() {
            self.write_through(batch, env);
        } else {
            if !self.has_room(batch.len_bytes(), env) {
                self.fall_behind(env);
                self.put_latest(batch, 0, env);
                return;
            }
            if is_whole && !batch.has_latest() {
                env.tally.frames_out += batch.len() as u64;
                self.push_events(batch, 0..batch.len_bytes(), env);
            } else {
                env.tally.frames_out += self.push_wanted(batch, 0, self.offset, env);
            }
        }
        self.offset = batch.last_offset().map_or(self.offset, |last| last.max(self.offset));
        self.release_held(env);
    }

    /// Gives the socket what it asked for.
    pub(in crate::hub) fn refill(&mut self, mut refill: Refill, env: &mut Env) {
        // Where events follow, the place to come back to is theirs.
        let offset = refill.batch.is_empty().then_some(refill.offset);
        let id = offset.map(|offset| EventId { epoch: refill.batch.epoch(), offset });
        refill.direct = refill.direct.map(|frames| self.write(frames, id, env));
        if self.form == Form::EventStream(Convention::Trpc) && refill.direct.is_none() {
            refill.direct = id.map(event_stream::trpc_place);
        }
        refill.batch = refill.batch.in_form(self.form, &mut env.deflater);
        if let Some(outgoing) = &mut self.outgoing {
            // A socket that is refilled again and again would never have written all else.
            outgoing.release_latest();
        }
        if let Some(direct) = refill.direct {
            env.tally.frames_out += 1;
            let now = env.now;
            self.change_queue(env, |outgoing| outgoing.push_snapshot(direct, now));
        }
        env.tally.frames_out += self.push_wanted(&refill.batch, 0, 0, env);
        self.offset = refill.offset;
        self.release_held(env);
        // Even an empty answer is one that the hub must look at.
        self.greet(env);
    }

    /// The socket was subscribed at the tail of the log.
    pub(in crate::hub) fn caught_up(&mut self) {
        self.feed = Feed::Push;
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.behind_since = None;
        }
    }

    /// Leaves push mode: gives up what was queued of the log, to ask for it again later.
    pub(in crate::hub) fn fall_behind(&mut self, env: &mut Env) {
        if self.feed != Feed::Push {
            return;
        }
        let now = env.now;
        let first_dropped = self.change_queue(env, |outgoing| {
            outgoing.behind_since.get_or_insert(now);
            outgoing.drop_events()
        });
        if let Some(first) = first_dropped {
            self.offset = first.saturating_sub(1);
        }
        self.feed = Feed::Pull;
        self.watch(env);
    }

    /// Whether the owner should be asked for the events after [`offset`](Self::offset).
    pub(in crate::hub) fn wants_refill(&self, env: &Env) -> bool {
        self.feed == Feed::Pull && self.event_bytes() <= env.config.refill_below_bytes
    }

    pub(crate) fn set_filter(&mut self, filter: EventMask) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.retire_filter(self.offset, self.filter);
        }
        self.filter = filter;
    }

    /// Writes a whole batch without queueing it; the usual case.
    fn write_through(&mut self, batch: &Batch, env: &mut Env) {
        env.tally.frames_out += batch.len() as u64;
        let mut cx = Context::from_waker(&self.waker);
        let written = match self.stream.poll_send(&mut cx, batch.bytes()) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(_)) => return self.judge(Verdict::Lost, env),
            Poll::Pending => 0,
        };
        env.tally.bytes_out += written as u64;
        if written < batch.len_bytes() {
            env.tally.short_writes += 1;
            let now = env.now;
            // What waits by key must be found by its key, unless it has begun.
            let rest_end =
                if batch.has_latest() { batch.frame_end(written) } else { batch.len_bytes() };
            self.change_queue(env, |outgoing| outgoing.push_rest(batch, written..rest_end, now));
            self.push_wanted(batch, rest_end, self.offset, env);
            self.flush(env);
        }
    }

    /// Queues the events from the byte `from` on that the socket's filters let through. Says how many
    /// frames that were.
    fn push_wanted(&mut self, batch: &Batch, from: usize, after: u64, env: &mut Env) -> u64 {
        let former = self.outgoing.as_ref();
        let filter_at = |offset| {
            former.and_then(|outgoing| outgoing.former_filter(offset)).unwrap_or(self.filter)
        };
        let mut frames = 0;
        for run in batch.runs(self.reader(), from, after, filter_at) {
            frames += run.frames;
            self.push_events(batch, run.bytes, env);
        }
        frames + self.put_latest(batch, from, env)
    }

    /// Keeps the events from the byte `from` on that wait by key.
    fn put_latest(&mut self, batch: &Batch, from: usize, env: &mut Env) -> u64 {
        let now = env.now;
        let mut latest = batch.latest(self.reader(), from).peekable();
        if latest.peek().is_none() {
            return 0;
        }
        self.change_queue(env, |outgoing| {
            latest.filter(|(key, frame)| outgoing.put_latest(key, frame, now)).count() as u64
        })
    }

    /// Queues the direct frames whose event has been sent, queued or filtered by now.
    fn release_held(&mut self, env: &mut Env) {
        if self.outgoing.is_some() {
            let (offset, now) = (self.offset, env.now);
            self.change_queue(env, |outgoing| outgoing.release(offset, now));
        }
    }

    fn push_events(&mut self, batch: &Batch, run: Range<usize>, env: &mut Env) {
        let now = env.now;
        self.change_queue(env, |outgoing| outgoing.push_events(batch, run, now));
    }

    /// Whether a batch of this size may wait, if need be after writing what can be written.
    fn has_room(&mut self, batch_bytes: usize, env: &mut Env) -> bool {
        let max = env.config.queue_bytes_max;
        let fits = |waiting: usize| waiting == 0 || waiting.saturating_add(batch_bytes) <= max;
        if fits(self.event_bytes()) {
            return true;
        }
        self.flush(env);
        fits(self.event_bytes())
    }
}

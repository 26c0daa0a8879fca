//! What a socket has to write: direct frames, frames of the protocol, and the writing itself.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite as _;

use crate::event_stream::{self, EventId};
use crate::form::Form;
use crate::hub::env::{Env, Watch};
use crate::outgoing::Outgoing;

use super::{Phase, Socket, Verdict};

/// Pieces of a queue that go into one write.
const PIECES_PER_WRITE: usize = 32;

impl<S> Socket<S> {
    /// Sends frames that must follow the event `after`. Too many of them end the socket.
    pub(crate) fn push_direct(&mut self, frames: Bytes, after: u64, env: &mut Env) {
        if self.phase != Phase::Open {
            return;
        }
        let frames = self.write(frames, None, env);
        let max = env.config.direct_bytes_max;
        let fits = |waiting: usize| waiting == 0 || waiting.saturating_add(frames.len()) <= max;
        if !fits(self.direct_bytes()) {
            self.flush(env);
            if !fits(self.direct_bytes()) {
                return self.judge(Verdict::TooSlow, env);
            }
        }
        env.tally.frames_out += 1;
        let (offset, now) = (self.offset, env.now);
        self.change_queue(env, |outgoing| outgoing.push_direct(frames, after, offset, now));
    }

    /// Sends a frame of the protocol. It waits for no event.
    pub(in crate::hub) fn push_control(&mut self, frame: Bytes, env: &mut Env) {
        let frame = self.write(frame, None, env);
        self.push_written(frame, env);
    }

    /// Sends something that is in the socket's form already and waits for no event.
    pub(in crate::hub) fn push_written(&mut self, bytes: Bytes, env: &mut Env) {
        let now = env.now;
        self.change_queue(env, |outgoing| outgoing.push_control(bytes, now));
    }

    /// Writes whole frames in the socket's form. `id` is the place in the log that they reach.
    pub(super) fn write(&self, frames: Bytes, id: Option<EventId>, env: &mut Env) -> Bytes {
        match self.form {
            Form::Plain => frames,
            Form::Deflated(window) => env.deflater.frames(frames, window),
            Form::EventStream(convention) => event_stream::events(&frames, id, convention),
        }
    }

    /// Queues a close frame after what is queued, or instead of what has not begun.
    pub(in crate::hub) fn push_close(&mut self, frame: Bytes, keeps_queue: bool, env: &mut Env) {
        // Nothing may follow a close frame.
        self.change_queue(
            env,
            if keeps_queue { Outgoing::release_latest } else { Outgoing::drop_all },
        );
        self.push_control(frame, env);
    }

    pub(in crate::hub) fn is_flushed(&self) -> bool {
        self.outgoing.as_ref().is_none_or(|outgoing| outgoing.is_flushed())
    }

    /// Whether the kernel has everything: what was queued, and what TLS makes of it.
    pub(in crate::hub) fn is_written(&self) -> bool {
        self.is_flushed() && self.stream.is_flushed()
    }

    /// Whether nothing more is to be sent that is known of.
    pub(in crate::hub) fn is_settled(&self) -> bool {
        self.in_flight == 0 && self.outgoing.as_ref().is_none_or(|outgoing| outgoing.bytes() == 0)
    }

    pub(in crate::hub) fn queued_bytes(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.bytes())
    }

    /// Writes what is queued, as far as the kernel takes it.
    pub(in crate::hub) fn flush(&mut self, env: &mut Env) {
        if self.holds_head {
            return;
        }
        let mut cx = Context::from_waker(&self.waker);
        if !self.stream.is_flushed() {
            // Pending or failed: reading, or the next write, says what there is to say.
            _ = Pin::new(&mut self.stream).poll_flush(&mut cx);
        }
        let Some(outgoing) = &mut self.outgoing else { return };
        let before = outgoing.bytes();
        let mut is_blocked = false;
        let mut is_lost = false;

        while !outgoing.is_flushed() {
            outgoing.release_latest_when_last();
            let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
            let count = outgoing.slices(&mut slices);
            let stream = Pin::new(&mut self.stream);
            let polled = match &slices[..count] {
                // Unlike a vectored write, a short plain write tells the runtime that the kernel is
                // full, which saves the call that would only fail.
                [slice] => stream.poll_write(&mut cx, slice),
                slices => stream.poll_write_vectored(&mut cx, slices),
            };
            match polled {
                Poll::Ready(Ok(written)) => {
                    env.tally.bytes_out += written as u64;
                    outgoing.wrote(written, env.now);
                }
                Poll::Ready(Err(_)) => {
                    is_lost = true;
                    break;
                }
                Poll::Pending => {
                    is_blocked = true;
                    break;
                }
            }
        }

        outgoing.forget_filters(self.offset);
        env.queue_changed(before, outgoing.bytes());
        if outgoing.is_idle() {
            self.outgoing = None;
        }
        if is_lost {
            self.judge(Verdict::Lost, env);
        }
        if is_blocked {
            self.watch(env);
        }
    }

    /// Judges whether the socket has been behind, or stuck, for too long. `None`: there is nothing
    /// to watch any more.
    pub(in crate::hub) fn is_too_slow(&mut self, env: &Env) -> Option<bool> {
        let since = match &self.outgoing {
            Some(outgoing) if self.phase == Phase::Open => {
                let stuck_since = (!outgoing.is_flushed()).then(|| outgoing.progress_at());
                match (outgoing.behind_since, stuck_since) {
                    (Some(behind), Some(stuck)) => Some(behind.min(stuck)),
                    (behind, stuck) => behind.or(stuck),
                }
            }
            Some(_) | None => None,
        };
        if since.is_none() {
            self.is_watched = false;
        }
        since.map(|since| env.now.duration_since(since) >= env.config.behind_max)
    }

    pub(super) fn watch(&mut self, env: &mut Env) {
        if !self.is_watched {
            self.is_watched = true;
            env.watched.push(Watch::Stalled(self.id));
        }
    }

    pub(super) fn event_bytes(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.event_bytes())
    }

    pub(super) fn direct_bytes(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.direct_bytes())
    }

    /// Queues the end of the handshake. One that is greeted is sent it with the next that it is sent.
    pub(in crate::hub) fn begin(&mut self, head: Bytes, greeted: bool, env: &mut Env) {
        self.push_written(head, env);
        if greeted {
            self.holds_head = true;
            env.watched.push(Watch::Greeted(self.id));
        }
    }

    /// Has the end of the handshake sent, whether something follows it or not.
    pub(in crate::hub) fn greet(&mut self, env: &mut Env) {
        self.holds_head = false;
        self.touch(env);
    }

    /// Changes the queue, keeps the count of its bytes, and has the hub flush it.
    pub(super) fn change_queue<T>(
        &mut self,
        env: &mut Env,
        change: impl FnOnce(&mut Outgoing) -> T,
    ) -> T {
        let now = env.now;
        self.holds_head = false;
        let outgoing = self.outgoing.get_or_insert_with(|| Box::new(Outgoing::new(now)));
        let before = outgoing.bytes();
        let result = change(outgoing);
        env.queue_changed(before, outgoing.bytes());
        self.touch(env);
        result
    }
}

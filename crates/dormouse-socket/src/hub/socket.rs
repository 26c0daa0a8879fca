//! One socket: what it has to write, where it is in the log, and how it ends.
//!
//! Nothing here calls the owner or another socket. What the hub must decide is left as a
//! [`Verdict`], and the hub looks at every socket that was touched at the end of each step.

use std::io::{self, IoSlice};
use std::mem;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::close::CloseCode;
use crate::decoder::{Decoder, Limits};
use crate::frame::ProtocolError;
use crate::id::{EventMask, SocketId, TopicId};
use crate::outgoing::Outgoing;

use super::env::{Env, Watch};

/// Pieces of a queue that go into one write.
const PIECES_PER_WRITE: usize = 32;

/// A socket of a hub. While it is idle it owns no heap memory.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    id: SocketId,
    stream: TcpStream,
    /// Lists this socket in the hub's `ReadyList`.
    waker: Waker,
    /// `None` once the owner was told that it is closed.
    pub(super) session: Option<S>,
    pub(super) decoder: Decoder,
    outgoing: Option<Box<Outgoing>>,
    pub(super) verdict: Option<Box<Verdict>>,
    topic: TopicId,
    filter: EventMask,
    /// The last log event that was sent, queued to be sent, or filtered.
    offset: u64,
    in_flight: u32,
    pub(super) feed: Feed,
    pub(super) phase: Phase,
    takes_binary: bool,
    is_touched: bool,
    is_watched: bool,
    /// Whether it was not read although there may be something to read.
    pub(super) is_paused: bool,
    /// Whether no heartbeat has passed yet.
    is_new: bool,
    was_pinged: bool,
    was_heard: bool,
    is_shut: bool,
}

/// How events reach a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// The owner was asked for events and has not answered.
    Waiting,
    /// It is behind; the owner will be asked when less waits to be written.
    Pull,
    /// It is subscribed, at this place in its topic's list.
    Push { place: u32 },
}

/// Where a socket is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Our close frame is queued or sent; the client's has not come.
    Closing,
    /// Our close frame is queued or sent after an error; whatever comes is thrown away.
    Failing,
    /// Both close frames are there; ours is to be written.
    Replying,
    /// Nothing is left but to drop it.
    Gone,
}

/// Why a socket must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Peer(Option<CloseCode>),
    Lost,
    Unresponsive,
    Protocol(ProtocolError),
    TooSlow,
    Owner(CloseCode, String),
    Drained,
}

/// What publishing to a socket came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Done,
    /// The socket is behind and must be taken off the topic's list.
    FellBehind,
}

/// An answer to `Owner::opened` or `Owner::refill`.
#[derive(Debug)]
pub(super) struct Refill {
    pub(super) direct: Option<Bytes>,
    pub(super) batch: Batch,
    pub(super) offset: u64,
}

/// What a socket starts with.
#[derive(Debug)]
pub(super) struct Start<S> {
    pub(super) stream: TcpStream,
    pub(super) session: S,
    pub(super) topic: TopicId,
    pub(super) filter: EventMask,
    pub(super) offset: u64,
    pub(super) takes_binary: bool,
}

impl<S> Socket<S> {
    pub(super) fn new(id: SocketId, waker: Waker, start: Start<S>) -> Socket<S> {
        Socket {
            id,
            stream: start.stream,
            waker,
            session: Some(start.session),
            decoder: Decoder::default(),
            outgoing: None,
            verdict: None,
            topic: start.topic,
            filter: start.filter,
            offset: start.offset,
            in_flight: 0,
            feed: Feed::Waiting,
            phase: Phase::Open,
            takes_binary: start.takes_binary,
            is_touched: false,
            is_watched: false,
            is_paused: false,
            is_new: true,
            was_pinged: false,
            was_heard: false,
            is_shut: false,
        }
    }

    pub(super) fn id(&self) -> SocketId {
        self.id
    }

    pub(crate) fn topic(&self) -> TopicId {
        self.topic
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn limits(&self, env: &Env) -> Limits {
        Limits { message_bytes_max: env.config.message_bytes_max, binary: self.takes_binary }
    }

    /// Has the hub look at this socket at the end of the step.
    pub(super) fn touch(&mut self, env: &mut Env) {
        if !self.is_touched {
            self.is_touched = true;
            env.touched.push(self.id.slot());
        }
    }

    /// The hub looks now.
    pub(super) fn untouch(&mut self) {
        self.is_touched = false;
    }

    /// Decides how the socket ends. The first verdict counts.
    pub(super) fn judge(&mut self, verdict: Verdict, env: &mut Env) {
        self.verdict.get_or_insert_with(|| Box::new(verdict));
        self.touch(env);
    }

    // What goes out: events.

    /// Gives the socket what was published, or finds that it is behind.
    pub(super) fn deliver(&mut self, batch: &Batch, env: &mut Env) -> Delivery {
        let next = self.offset + 1;
        let is_known = batch.first_offset().is_some_and(|first| first < next);
        if batch.first_offset().is_some_and(|first| first > next) {
            // Subscribe at the tail: a hole is never sent, it is filled.
            return self.fall_behind(env);
        }
        let is_whole = !is_known && batch.passes_whole(self.filter);
        if is_whole && self.outgoing.is_none() {
            self.write_through(batch, env);
        } else {
            if !self.has_room(batch.len_bytes(), env) {
                return self.fall_behind(env);
            }
            if is_whole {
                env.tally.frames_out += batch.len() as u64;
                self.push_events(batch, 0..batch.len_bytes(), env);
            } else {
                self.push_wanted(batch, self.offset, env);
            }
        }
        self.offset = batch.last_offset().map_or(self.offset, |last| last.max(self.offset));
        self.release_held(env);
        Delivery::Done
    }

    /// Gives the socket what it asked for.
    pub(super) fn refill(&mut self, refill: Refill, env: &mut Env) {
        if let Some(direct) = refill.direct {
            env.tally.frames_out += 1;
            let now = env.now;
            self.change_queue(env, |outgoing| outgoing.push_snapshot(direct, now));
        }
        self.push_wanted(&refill.batch, 0, env);
        self.offset = refill.offset;
        self.release_held(env);
    }

    /// The socket was subscribed at the tail of the log.
    pub(super) fn caught_up(&mut self, place: u32) {
        self.feed = Feed::Push { place };
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.behind_since = None;
        }
    }

    /// Leaves push mode: gives up what was queued of the log, to ask for it again later.
    pub(super) fn fall_behind(&mut self, env: &mut Env) -> Delivery {
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
        Delivery::FellBehind
    }

    /// Whether the owner should be asked for the events after [`offset`](Self::offset).
    pub(super) fn wants_refill(&self, env: &Env) -> bool {
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
        let written = match Pin::new(&mut self.stream).poll_write(&mut cx, batch.bytes()) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(_)) => return self.judge(Verdict::Lost, env),
            Poll::Pending => 0,
        };
        env.tally.bytes_out += written as u64;
        if written < batch.len_bytes() {
            env.tally.short_writes += 1;
            let now = env.now;
            self.change_queue(env, |outgoing| outgoing.push_rest(batch, written, now));
            self.flush(env);
        }
    }

    /// Queues the events that the socket's filters let through.
    fn push_wanted(&mut self, batch: &Batch, after: u64, env: &mut Env) {
        let former = self.outgoing.as_ref();
        let filter_at = |offset| {
            former.and_then(|outgoing| outgoing.former_filter(offset)).unwrap_or(self.filter)
        };
        for run in batch.runs(self.id, after, filter_at) {
            env.tally.frames_out += run.frames;
            self.push_events(batch, run.bytes, env);
        }
    }

    /// Queues the direct frames whose event has been sent, queued or filtered by now.
    fn release_held(&mut self, env: &Env) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.release(self.offset, env.now);
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

    // What goes out: direct frames.

    /// Sends frames that must follow the event `after`. Too many of them end the socket.
    pub(crate) fn push_direct(&mut self, frames: Bytes, after: u64, env: &mut Env) {
        if self.phase != Phase::Open {
            return;
        }
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
    pub(super) fn push_control(&mut self, frame: Bytes, env: &mut Env) {
        let now = env.now;
        self.change_queue(env, |outgoing| outgoing.push_control(frame, now));
    }

    /// Counts one message that awaits its answer.
    pub(crate) fn await_answer(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    /// Messages were answered, so that the socket may be read again.
    pub(super) fn settle_answers(&mut self, count: u32, env: &mut Env) {
        self.in_flight = self.in_flight.saturating_sub(count);
        self.touch(env);
    }

    /// Asks for a close frame after all that is queued.
    pub(crate) fn request_close(&mut self, code: CloseCode, reason: String, env: &mut Env) {
        self.judge(Verdict::Owner(code, reason), env);
    }

    /// Queues a close frame after what is queued, or instead of what has not begun.
    pub(super) fn push_close(&mut self, frame: Bytes, keeps_queue: bool, env: &mut Env) {
        if !keeps_queue {
            self.change_queue(env, Outgoing::drop_all);
        }
        self.push_control(frame, env);
    }

    // The queue itself.

    pub(super) fn is_flushed(&self) -> bool {
        self.outgoing.as_ref().is_none_or(|outgoing| outgoing.is_flushed())
    }

    /// Whether nothing more is to be sent that is known of.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight == 0 && self.outgoing.as_ref().is_none_or(|outgoing| outgoing.bytes() == 0)
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.bytes())
    }

    /// Writes what is queued, as far as the kernel takes it.
    pub(super) fn flush(&mut self, env: &mut Env) {
        let Some(outgoing) = &mut self.outgoing else { return };
        let before = outgoing.bytes();
        let mut cx = Context::from_waker(&self.waker);
        let mut is_blocked = false;
        let mut is_lost = false;

        while !outgoing.is_flushed() {
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
    pub(super) fn is_too_slow(&mut self, env: &Env) -> Option<bool> {
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

    fn watch(&mut self, env: &mut Env) {
        if !self.is_watched {
            self.is_watched = true;
            env.watched.push(Watch::Stalled(self.id));
        }
    }

    fn event_bytes(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.event_bytes())
    }

    fn direct_bytes(&self) -> usize {
        self.outgoing.as_ref().map_or(0, |outgoing| outgoing.direct_bytes())
    }

    /// Changes the queue, keeps the count of its bytes, and has the hub flush it.
    fn change_queue<T>(&mut self, env: &mut Env, change: impl FnOnce(&mut Outgoing) -> T) -> T {
        let now: Instant = env.now;
        let outgoing = self.outgoing.get_or_insert_with(|| Box::new(Outgoing::new(now)));
        let before = outgoing.bytes();
        let result = change(outgoing);
        env.queue_changed(before, outgoing.bytes());
        self.touch(env);
        result
    }

    // What comes in.

    /// Whether what the client sends may be read now.
    pub(super) fn may_read(&self, env: &Env) -> bool {
        match self.phase {
            Phase::Open => {
                self.in_flight < env.config.in_flight_max
                    && self.direct_bytes() <= env.config.direct_bytes_max / 2
            }
            Phase::Closing => true,
            Phase::Failing => self.is_shut,
            Phase::Replying | Phase::Gone => false,
        }
    }

    /// Reads once. `Ok(0)` is the end.
    pub(super) fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut cx = Context::from_waker(&self.waker);
        let mut buffer = ReadBuf::new(buffer);
        let polled = Pin::new(&mut self.stream).poll_read(&mut cx, &mut buffer);
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Notes that the client is alive.
    pub(super) fn heard(&mut self) {
        self.was_heard = true;
    }

    /// One heartbeat has passed. `false`: nothing was heard since the ping of the one before.
    pub(super) fn heartbeat(&mut self, ping: Bytes, env: &mut Env) -> bool {
        if mem::take(&mut self.is_new) {
            return true;
        }
        // A socket that is not read, or that does not take what waits for it, cannot be judged by
        // its pongs. Time behind is what ends those.
        let can_answer = !self.is_paused && self.is_flushed();
        if can_answer && self.was_pinged && !self.was_heard {
            return false;
        }
        self.was_heard = false;
        self.was_pinged = can_answer;
        if can_answer {
            self.push_control(ping, env);
        }
        true
    }

    /// Says that nothing more will be written, once.
    pub(super) fn shut_down(&mut self) {
        if !self.is_shut {
            self.is_shut = true;
            let mut cx = Context::from_waker(&self.waker);
            // A socket that cannot be shut down is one whose peer is gone: reading will say so.
            _ = Pin::new(&mut self.stream).poll_shutdown(&mut cx);
        }
    }
}

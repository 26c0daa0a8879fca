//! One socket: what it has to write, where it is in the log, and how it ends.
//!
//! Nothing here calls the owner or another socket. What the hub must decide is left as a
//! [`Verdict`], and the hub looks at every socket that was touched at the end of each step.

mod events;
mod queue;

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::batch::Reader;
use crate::close::{CloseCode, Flood};
use crate::decoder::{Decoder, Limits};
use crate::form::Form;
use crate::frame::ProtocolError;
use crate::id::{EventMask, SocketId, TopicId};
use crate::outgoing::Outgoing;
use crate::rate::Bucket;
use crate::stream::Stream;

use super::env::Env;
use super::round::Mark;

pub(super) use self::events::Refill;

/// A socket of a hub. While it is idle it owns no heap memory.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    id: SocketId,
    stream: Stream,
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
    sent_messages: Bucket,
    sent_bytes: Bucket,
    pub(super) feed: Feed,
    /// Its place in its topic's list, from the first answer on.
    pub(super) place: Option<u32>,
    /// How much it has seen of what was published there.
    pub(super) seen: Mark,
    pub(super) phase: Phase,
    takes_binary: bool,
    watches: bool,
    form: Form,
    /// Whether the end of the handshake is queued, and waits for what follows it.
    holds_head: bool,
    is_touched: bool,
    is_watched: bool,
    /// Whether it was not read although there may be something to read.
    pub(super) is_paused: bool,
    /// Whether no heartbeat has passed yet.
    is_new: bool,
    was_pinged: bool,
    was_heard: bool,
    is_shut: bool,
    /// Whether its turn in a drain has come: it takes no more messages, and is closed once those
    /// that it sent are answered.
    pub(super) is_leaving: bool,
}

/// How events reach a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// The owner was asked for events and has not answered.
    Waiting,
    /// It is behind; the owner will be asked when less waits to be written.
    Pull,
    /// It gets what is published.
    Push,
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
    TooFast(Flood),
    Owner(CloseCode, String),
    Drained,
}

/// What a socket starts with.
#[derive(Debug)]
pub(super) struct Start<S> {
    pub(super) stream: Stream,
    pub(super) session: S,
    pub(super) topic: TopicId,
    pub(super) filter: EventMask,
    pub(super) offset: u64,
    pub(super) takes_binary: bool,
    pub(super) watches: bool,
    pub(super) form: Form,
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
            sent_messages: Bucket::default(),
            sent_bytes: Bucket::default(),
            feed: Feed::Waiting,
            place: None,
            seen: 0,
            phase: Phase::Open,
            takes_binary: start.takes_binary,
            watches: start.watches,
            form: start.form,
            holds_head: false,
            is_touched: false,
            is_watched: false,
            is_paused: false,
            is_new: true,
            was_pinged: false,
            was_heard: false,
            is_shut: false,
            is_leaving: false,
        }
    }

    pub(super) fn id(&self) -> SocketId {
        self.id
    }

    pub(crate) fn topic(&self) -> TopicId {
        self.topic
    }

    fn reader(&self) -> Reader {
        Reader { id: self.id, watches: self.watches }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn limits(&self, env: &Env) -> Limits {
        Limits {
            message_bytes_max: env.config.message_bytes_max,
            binary: self.takes_binary,
            deflate: matches!(self.form, Form::Deflated(_)),
        }
    }

    /// In which form it takes what is sent.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Whether it only listens: its client has nothing to say, and cannot answer a ping or a close.
    pub(super) fn is_event_stream(&self) -> bool {
        matches!(self.form, Form::EventStream(_))
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
        // Written before what is queued may be given up: without it nobody could read the close.
        self.holds_head = false;
        self.verdict.get_or_insert_with(|| Box::new(verdict));
        self.touch(env);
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

    /// Counts frames that the client sent, against its rate. `false`: there were too many, and the
    /// socket ends. One that is closing is not judged: it has little time left anyway.
    pub(super) fn count_frames(&mut self, count: u32, env: &mut Env) -> bool {
        let (rate, now_ns) = (env.config.message_rate, env.now_ns());
        let is_allowed =
            self.phase != Phase::Open || self.sent_messages.take(count.into(), rate, now_ns);
        if !is_allowed {
            self.judge(Verdict::TooFast(Flood::Messages), env);
        }
        is_allowed
    }

    /// Counts bytes that the client sent, as [`count_frames`](Self::count_frames) does frames.
    pub(super) fn count_bytes(&mut self, count: usize, env: &mut Env) -> bool {
        let (rate, now_ns) = (env.config.byte_rate, env.now_ns());
        let is_allowed =
            self.phase != Phase::Open || self.sent_bytes.take(count as u64, rate, now_ns);
        if !is_allowed {
            self.judge(Verdict::TooFast(Flood::Bytes), env);
        }
        is_allowed
    }

    /// Notes that the client is alive.
    pub(super) fn heard(&mut self) {
        self.was_heard = true;
    }

    /// One heartbeat has passed. `false`: nothing was heard since the ping of the one before.
    pub(super) fn heartbeat(&mut self, ping: Bytes, env: &mut Env) -> bool {
        if self.is_event_stream() {
            // Whether it arrives, the kernel finds out; nobody answers.
            if self.is_flushed() {
                self.push_control(ping, env);
            }
            return true;
        }
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

    /// Says what TLS says before a connection is dropped.
    pub(super) fn say_end(&mut self) {
        if matches!(self.stream, Stream::Tls(_)) {
            self.shut_down();
        }
    }

    /// Says that nothing more will be written. What TLS has to say to that may need several calls.
    pub(super) fn shut_down(&mut self) {
        if !self.is_shut {
            let mut cx = Context::from_waker(&self.waker);
            // A socket that cannot be shut down is one whose peer is gone: reading will say so.
            self.is_shut = Pin::new(&mut self.stream).poll_shutdown(&mut cx).is_ready();
        }
    }
}

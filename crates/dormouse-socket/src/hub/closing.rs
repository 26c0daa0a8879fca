//! How sockets end.

use bytes::Bytes;

use crate::close::{CloseCause, CloseCode, Flood};
use crate::event_stream;
use crate::form::Form;
use crate::frame::{close_frame, empty_close_frame};
use crate::owner::Owner;
use crate::upgrade::Upgraded;

use super::Driver;
use super::env::Watch;
use super::socket::{Feed, Phase, Verdict};

/// What a client that does not keep up is told.
const TOO_SLOW_REASON: &str = "too slow: reconnect and resume";

/// What a client that sends too much is told.
const TOO_MANY_MESSAGES_REASON: &str = "too many messages: send less, reconnect later and resume";
const TOO_MANY_BYTES_REASON: &str = "too many bytes: send less, reconnect later and resume";

impl<O: Owner> Driver<O> {
    /// Decides what a socket that was touched needs: more events, its end, its next step in closing.
    pub(super) fn settle(&mut self, slot: u32) {
        let Some(socket) = self.sockets.at_mut(slot) else { return };
        if let Some(verdict) = socket.verdict.take() {
            self.end(slot, *verdict);
        }

        let Some(socket) = self.sockets.at_mut(slot) else { return };
        match socket.phase {
            Phase::Open => {
                if socket.wants_refill(&self.env) {
                    socket.feed = Feed::Waiting;
                    self.inbox.stats().refill();
                    if let Some(session) = &socket.session {
                        self.owner.refill(socket.id(), session, socket.topic(), socket.offset());
                    }
                }
                if socket.is_paused && socket.may_read(&self.env) {
                    socket.is_paused = false;
                    self.env.ready.push(slot);
                }
                if socket.is_leaving && socket.is_settled() {
                    socket.judge(Verdict::Drained, &mut self.env);
                }
            }
            Phase::Failing if socket.is_written() => {
                socket.shut_down();
                // Reading on keeps the kernel from answering what comes with a reset, which could
                // overtake the close frame.
                if socket.is_paused {
                    socket.is_paused = false;
                    self.env.ready.push(slot);
                }
            }
            Phase::Replying if socket.is_written() => {
                socket.say_end();
                self.remove(slot);
            }
            Phase::Gone => self.remove(slot),
            Phase::Closing | Phase::Failing | Phase::Replying => {}
        }
    }

    /// Carries out a verdict: tells the owner, queues the close frame.
    fn end(&mut self, slot: u32, verdict: Verdict) {
        let Some(socket) = self.sockets.at_mut(slot) else { return };
        if socket.phase != Phase::Open {
            return self.end_closing(slot, &verdict);
        }
        if matches!(verdict, Verdict::Owner(..) | Verdict::Drained) {
            // It gets what was published before its end.
            self.visit_one(slot);
        }
        let Some(socket) = self.sockets.at_mut(slot) else { return };
        let id = socket.id();
        let topic = socket.topic();
        let session = socket.session.take();
        if let Some(place) = socket.place.take()
            && let Some(moved) = self.topics.detach(topic, place)
        {
            if let Some(socket) = self.sockets.at_mut(moved) {
                socket.place = Some(place);
            }
            // Its new place may be one that the visitor has passed.
            self.visit_one(moved);
        }

        let cause = cause(&verdict);
        self.inbox.stats().closed(cause);
        if let Some(session) = session {
            self.owner.closed(id, session, cause);
        }

        let Some(socket) = self.sockets.at_mut(slot) else { return };
        let Farewell { phase, frame, keeps_queue } = farewell(verdict, self.timing.drain_reason());
        socket.phase = match phase {
            // Nobody answers the close of an event stream: its end is the end of the connection.
            Phase::Closing if socket.is_event_stream() => Phase::Failing,
            phase => phase,
        };
        if let Some(frame) = frame {
            if !keeps_queue {
                // What was said before the end is said, as far as the kernel takes it at once. A
                // reader that left it no room loses the rest.
                socket.flush(&mut self.env);
            }
            socket.push_close(frame, keeps_queue, &mut self.env);
            let until = self.env.now + self.env.config.close_wait;
            self.env.watched.push(Watch::Closing(id, until));
        }
        socket.touch(&mut self.env);
    }

    /// Something happened to a socket that is closing already.
    fn end_closing(&mut self, slot: u32, verdict: &Verdict) {
        let Some(socket) = self.sockets.at_mut(slot) else { return };
        socket.phase = match (socket.phase, verdict) {
            (Phase::Closing, Verdict::Peer(_)) => Phase::Replying,
            (
                Phase::Closing | Phase::Failing | Phase::Replying | Phase::Gone | Phase::Open,
                Verdict::Lost
                | Verdict::Unresponsive
                | Verdict::Protocol(_)
                | Verdict::TooSlow
                | Verdict::TooFast(_),
            ) => Phase::Gone,
            (phase, Verdict::Peer(_) | Verdict::Owner(..) | Verdict::Drained) => phase,
        };
        socket.touch(&mut self.env);
    }

    /// Drops a socket that is no longer open.
    pub(super) fn remove(&mut self, slot: u32) {
        if let Some(socket) = self.sockets.remove(slot) {
            self.env.queue_changed(socket.queued_bytes(), 0);
            self.inbox.stats().gone();
        }
    }

    /// Drops a socket at once, whatever it is doing.
    pub(super) fn cut_off(&mut self, slot: u32, verdict: Verdict) {
        self.end(slot, verdict);
        if let Some(socket) = self.sockets.at_mut(slot) {
            socket.flush(&mut self.env);
        }
        self.remove(slot);
    }

    /// Refuses a socket that arrived after the hub was told to drain.
    pub(super) fn turn_away(&self, mut upgraded: Upgraded) {
        let mut frame = close_frame(CloseCode::RESTART, self.timing.drain_reason());
        if let Form::EventStream(convention) = upgraded.form {
            frame = event_stream::events(&frame, None, convention);
        }
        upgraded.stream.write_now(&[upgraded.head, frame].concat());
    }
}

/// How a connection is left.
struct Farewell {
    phase: Phase,
    frame: Option<Bytes>,
    keeps_queue: bool,
}

fn farewell(verdict: Verdict, drain_reason: &str) -> Farewell {
    let after_queue =
        |frame| Farewell { phase: Phase::Closing, frame: Some(frame), keeps_queue: true };
    let at_once = |phase, frame| Farewell { phase, frame: Some(frame), keeps_queue: false };
    match verdict {
        Verdict::Lost | Verdict::Unresponsive => {
            Farewell { phase: Phase::Gone, frame: None, keeps_queue: false }
        }
        Verdict::Peer(None) => at_once(Phase::Replying, empty_close_frame()),
        Verdict::Peer(Some(code)) => at_once(Phase::Replying, close_frame(code, "")),
        Verdict::Protocol(err) => {
            at_once(Phase::Failing, close_frame(err.close_code(), &err.to_string()))
        }
        Verdict::TooSlow => {
            at_once(Phase::Failing, close_frame(CloseCode::OVERLOADED, TOO_SLOW_REASON))
        }
        Verdict::TooFast(flood) => {
            let reason = match flood {
                Flood::Messages => TOO_MANY_MESSAGES_REASON,
                Flood::Bytes => TOO_MANY_BYTES_REASON,
            };
            at_once(Phase::Failing, close_frame(CloseCode::OVERLOADED, reason))
        }
        Verdict::Owner(code, reason) => after_queue(close_frame(code, &reason)),
        Verdict::Drained => after_queue(close_frame(CloseCode::RESTART, drain_reason)),
    }
}

fn cause(verdict: &Verdict) -> CloseCause {
    match verdict {
        Verdict::Peer(code) => CloseCause::Peer(*code),
        Verdict::Lost => CloseCause::Lost,
        Verdict::Unresponsive => CloseCause::Unresponsive,
        Verdict::Protocol(err) => CloseCause::Protocol(*err),
        Verdict::TooSlow => CloseCause::TooSlow,
        Verdict::TooFast(flood) => CloseCause::TooFast(*flood),
        Verdict::Owner(code, _) => CloseCause::Owner(*code),
        Verdict::Drained => CloseCause::Drained,
    }
}

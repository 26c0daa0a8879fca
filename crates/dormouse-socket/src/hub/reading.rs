//! What clients send.

use std::mem;
use std::task::Poll;

use crate::decoder::{Decoder, Item};
use crate::frame::pong_frame;
use crate::owner::{Owner, SocketCx};

use super::Driver;
use super::socket::{Phase, Verdict};

/// Bytes that compressed messages of one socket may inflate to before others get their turn. The
/// message that passes it is still taken.
const INFLATED_BYTES_PER_TURN: usize = 256 * 1024;

/// Messages and control frames of one socket that are handled before others get their turn. One read
/// can bring thousands.
const ITEMS_PER_TURN: usize = 64;

/// Reads of one socket before others get their turn. The second tells the runtime that there is
/// nothing more, and costs no system call if the first did not fill the buffer.
const READS_PER_TURN: usize = 2;

impl<O: Owner> Driver<O> {
    /// Handles what one socket has sent, as far as it may send now.
    pub(super) fn read(&mut self, slot: u32) {
        let Some(socket) = self.sockets.at_mut(slot) else { return };
        if socket.may_read(&self.env) {
            let mut unread = socket.decoder.take_unread();
            self.feed(slot, &mut unread);
        }

        let mut buffer = mem::take(&mut self.buffer);
        let mut is_drained = false;
        for _ in 0..READS_PER_TURN {
            let Some(socket) = self.sockets.at_mut(slot) else { break };
            if !socket.may_read(&self.env) {
                socket.is_paused = true;
                is_drained = true;
                break;
            }
            if socket.decoder.has_unread() {
                break;
            }
            match socket.poll_read(&mut buffer) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    socket.judge(Verdict::Lost, &mut self.env);
                    is_drained = true;
                    break;
                }
                Poll::Ready(Ok(length)) => {
                    socket.heard();
                    self.env.tally.bytes_in += length as u64;
                    if !socket.count_bytes(length, &mut self.env) {
                        self.settle(slot);
                        break;
                    }
                    // Whatever comes after the request for an event stream is nothing to us.
                    if !socket.is_event_stream() {
                        self.feed(slot, &mut buffer[..length]);
                    }
                }
                Poll::Pending => {
                    is_drained = true;
                    break;
                }
            }
        }
        self.buffer = buffer;
        if !is_drained {
            self.env.ready.push(slot);
        }
    }

    /// Decodes bytes and handles each item before the next one is decoded.
    fn feed(&mut self, slot: u32, bytes: &mut [u8]) {
        let Some(socket) = self.sockets.at_mut(slot) else { return };
        let limits = socket.limits(&self.env);
        // Items borrow from the decoder, so it leaves the socket meanwhile.
        let mut decoder = mem::take(&mut socket.decoder);
        let mut inflater = mem::take(&mut self.inflater);
        let (mut items, mut inflated_bytes) = (0, 0);
        let mut used = 0;

        while let Some(socket) = self.sockets.at_mut(slot) {
            match socket.phase {
                Phase::Open | Phase::Closing => {}
                Phase::Failing | Phase::Replying | Phase::Gone => break,
            }
            let has_had_its_share =
                items >= ITEMS_PER_TURN || inflated_bytes > INFLATED_BYTES_PER_TURN;
            if !socket.may_read(&self.env) || (has_had_its_share && used < bytes.len()) {
                decoder.keep_unread(&bytes[used..]);
                break;
            }
            match decoder.next(&mut bytes[used..], limits, &mut inflater) {
                Ok((step, Some(item))) => {
                    used += step;
                    items += 1;
                    if socket.count_frames(1, &mut self.env) {
                        self.handle_item(slot, &item);
                    } else {
                        self.settle(slot);
                    }
                    inflated_bytes += inflater.take_spent_bytes();
                    self.count_fragments(slot, &mut decoder);
                }
                Ok((_, None)) => {
                    self.count_fragments(slot, &mut decoder);
                    break;
                }
                Err(err) => {
                    socket.judge(Verdict::Protocol(err), &mut self.env);
                    self.settle(slot);
                    break;
                }
            }
        }

        inflater.forget_message();
        self.inflater = inflater;
        if let Some(socket) = self.sockets.at_mut(slot) {
            socket.decoder = decoder;
        }
    }

    /// Counts the frames of messages that are not finished: a client could send empty ones without
    /// end, and never a message.
    fn count_fragments(&mut self, slot: u32, decoder: &mut Decoder) {
        let fragments = decoder.take_fragments();
        if fragments == 0 {
            return;
        }
        let Some(socket) = self.sockets.at_mut(slot) else { return };
        if !socket.count_frames(fragments, &mut self.env) {
            self.settle(slot);
        }
    }

    fn handle_item(&mut self, slot: u32, item: &Item<'_>) {
        let Some(socket) = self.sockets.at_mut(slot) else { return };
        let takes_messages = socket.phase == Phase::Open && !socket.is_leaving;
        match *item {
            Item::Text(text) if takes_messages => {
                self.call_owner(slot, |owner, cx| owner.message(cx, text));
            }
            Item::Binary(bytes) if takes_messages => {
                self.call_owner(slot, |owner, cx| owner.binary(cx, bytes));
            }
            Item::Ping(payload) if socket.phase == Phase::Open => {
                socket.push_control(pong_frame(payload), &mut self.env);
            }
            Item::Close(code) => socket.judge(Verdict::Peer(code), &mut self.env),
            // Whatever comes counts as heard; a closing connection takes no messages.
            Item::Ping(_) | Item::Pong | Item::Text(_) | Item::Binary(_) => {}
        }
        // A message after the one that ended the connection must find it ended.
        if self.sockets.at_mut(slot).is_some_and(|socket| socket.verdict.is_some()) {
            self.settle(slot);
        }
    }

    fn call_owner(&mut self, slot: u32, call: impl FnOnce(&O, &mut SocketCx<'_, O::Session>)) {
        self.env.tally.messages_in += 1;
        let Some(socket) = self.sockets.at_mut(slot) else { return };
        let Some(mut session) = socket.session.take() else { return };
        call(&self.owner, &mut SocketCx::new(socket.id(), socket, &mut session, &mut self.env));
        socket.session = Some(session);
    }
}

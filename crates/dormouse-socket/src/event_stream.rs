//! Server-sent events: what a socket gets, written for clients that cannot have a WebSocket.
//!
//! An event stream is a socket whose frames are written in another form. It is attached, queued,
//! refilled and closed like every other; only nothing is taken from its client.
//!
//! * A message is an event of the default type with the text as its `data`. If it is of the log,
//!   `id` says where, so that a browser names the place by itself when it comes back.
//! * A ping is a comment.
//! * A close frame is an event of type `close` with code and reason as its `data`. The end of the
//!   connection follows.
//!
//! That is our own [`Convention`]. By tRPC's, the stream begins with `connected`, a ping is an event, and
//! the end is `return` or an error, after which its client comes back only if that may help.

use std::io::Write as _;

use bytes::Bytes;

use crate::close::CloseCode;
use crate::form::Convention;
use crate::frame::{Opcode, ServerFrame};
use crate::id::{EventEpoch, SocketId};

/// What keeps the stream from looking dead to clients and proxies: a comment.
const COMMENT: &[u8] = b":\n\n";

/// What a stream of tRPC begins with; the server wishes nothing special of the client.
const TRPC_CONNECTED: &str = "event: connected\ndata: {}\n\n";

/// The same as a comment, for tRPC's client. Without a line of data it would be no event.
const TRPC_PING: &[u8] = b"event: ping\ndata: \n\n";

/// The subscription is over.
const TRPC_RETURN: &[u8] = b"event: return\ndata: \n\n";

/// The client should come back, as its `EventSource` does by itself.
const TRPC_UNAVAILABLE: &[u8] = b"event: serialized-error\n\
    data: {\"message\":\"this stream ends; come back and resume\",\"code\":-32603,\
    \"data\":{\"code\":\"SERVICE_UNAVAILABLE\",\"httpStatus\":503}}\n\n";

/// Coming back does not help.
const TRPC_FORBIDDEN: &[u8] = b"event: serialized-error\n\
    data: {\"message\":\"not allowed any more\",\"code\":-32003,\
    \"data\":{\"code\":\"FORBIDDEN\",\"httpStatus\":403}}\n\n";

/// What a written event has beyond its text: `id: ` with epoch and offset, `data: `, line ends.
const EXTRA_BYTES_MAX: usize = 64;

/// Shortest time until a client comes back after its stream ended, in milliseconds. How much longer
/// it is differs from stream to stream, so that those that ended together do not come back together.
const RETRY_MS_MIN: u32 = 500;

/// What the time until a client comes back is spread over, in milliseconds.
const RETRY_MS_SPREAD: u32 = 1_000;

/// Place of an event in its log: what `id` says, and what a client says to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) epoch: EventEpoch,
    pub(crate) offset: u64,
}

/// What a stream begins with: how long its client waits before it comes back.
pub(crate) fn preface(socket: SocketId, convention: Convention) -> Bytes {
    // Neighbouring slots get times that are far from each other (Knuth's multiplicative hash).
    let spread = socket.slot().wrapping_mul(2_654_435_761) % RETRY_MS_SPREAD;
    let greeting = match convention {
        Convention::Own => "",
        Convention::Trpc => TRPC_CONNECTED,
    };
    format!("retry: {}\n\n{greeting}", RETRY_MS_MIN + spread).into()
}

/// Tells tRPC's client its place when no event does. It takes an event without `id` to be at the place
/// of the one before, and gives it to its user in another shape if there was none.
pub(crate) fn trpc_place(EventId { epoch, offset }: EventId) -> Bytes {
    format!("event: restore-id\ndata: \nid: {epoch}:{offset}\n\n").into()
}

/// Writes whole frames as events. The last of them gets the `id`.
pub(crate) fn events(frames: &[u8], id: Option<EventId>, convention: Convention) -> Bytes {
    let mut out = Vec::with_capacity(frames.len() + EXTRA_BYTES_MAX);
    let mut rest = frames;
    while let Some(frame) = ServerFrame::parse(rest) {
        rest = &rest[frame.len_bytes()..];
        push_event(&mut out, frame, id.filter(|_| rest.is_empty()), convention);
    }
    out.into()
}

/// Appends one frame as an event.
pub(crate) fn push_event(
    out: &mut Vec<u8>,
    frame: ServerFrame<'_>,
    id: Option<EventId>,
    convention: Convention,
) {
    match frame.opcode() {
        Some(Opcode::Text) => {
            out.reserve(frame.len_bytes() + EXTRA_BYTES_MAX);
            if let Some(EventId { epoch, offset }) = id {
                writeln!(out, "id: {epoch}:{offset}").expect("writing to memory cannot fail");
            }
            push_data(out, frame.payload());
        }
        Some(Opcode::Close) if convention == Convention::Trpc => {
            out.extend_from_slice(trpc_end(frame.payload()));
        }
        Some(Opcode::Close) => {
            out.extend_from_slice(b"event: close\n");
            let mut text = Vec::new();
            if let Some((&code, reason)) = frame.payload().split_first_chunk::<2>() {
                text.extend_from_slice(u16::from_be_bytes(code).to_string().as_bytes());
                if !reason.is_empty() {
                    text.push(b' ');
                    text.extend_from_slice(reason);
                }
            }
            push_data(out, &text);
        }
        Some(Opcode::Ping) => out.extend_from_slice(match convention {
            Convention::Own => COMMENT,
            Convention::Trpc => TRPC_PING,
        }),
        // An event stream has no binary messages, nobody to answer, and no fragments.
        Some(Opcode::Binary | Opcode::Pong | Opcode::Continuation) | None => {}
    }
}

/// What a close frame says, to tRPC's client.
fn trpc_end(payload: &[u8]) -> &'static [u8] {
    let code = payload.split_first_chunk::<2>().map(|(&code, _)| u16::from_be_bytes(code));
    match code.and_then(CloseCode::new) {
        None | Some(CloseCode::NORMAL | CloseCode::GOING_AWAY) => TRPC_RETURN,
        Some(CloseCode::FAILURE | CloseCode::RESTART | CloseCode::OVERLOADED) => TRPC_UNAVAILABLE,
        Some(_) => TRPC_FORBIDDEN,
    }
}

/// Appends the text as `data`, and ends the event. Every line of it needs a line of its own.
fn push_data(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        out.push(b'\n');
        let Some(end) = end else { break };
        let is_pair = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(is_pair)..];
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use crate::close::CloseCode;
    use crate::frame::{close_frame, empty_close_frame, ping_frame, pong_frame, text_frame};
    use crate::id::HubIndex;

    use super::*;

    const ID: EventId = EventId { epoch: EventEpoch(0xAB), offset: 7 };

    fn written(frames: &[u8], id: Option<EventId>) -> String {
        String::from_utf8(events(frames, id, Convention::Own).to_vec()).unwrap()
    }

    #[test]
    fn a_message_is_an_event_and_its_place_is_the_id() {
        assert_eq!(written(&text_frame("{}"), None), "data: {}\n\n");
        assert_eq!(written(&text_frame("{}"), Some(ID)), "id: 00000000000000ab:7\ndata: {}\n\n");
    }

    #[test]
    fn of_several_messages_only_the_last_is_the_place_to_come_back_to() {
        let frames = [text_frame("a"), text_frame("b")].concat();

        assert_eq!(written(&frames, Some(ID)), "data: a\n\nid: 00000000000000ab:7\ndata: b\n\n");
    }

    #[test]
    fn no_text_can_end_its_event_or_begin_another_field() {
        let text = "a\nid: 9\r\nevent: x\rretry: 1\n\nb\n";

        assert_eq!(
            written(&text_frame(text), None),
            "data: a\ndata: id: 9\ndata: event: x\ndata: retry: 1\ndata: \ndata: b\ndata: \n\n"
        );
    }

    #[test]
    fn frames_of_the_protocol_are_comments_or_say_why_the_stream_ends() {
        assert_eq!(written(&ping_frame(), None), ":\n\n");
        assert_eq!(written(&pong_frame(b"x"), None), "");
        let close = close_frame(CloseCode::RESTART, r#"{"withinMs":5}"#);
        assert_eq!(written(&close, None), "event: close\ndata: 1012 {\"withinMs\":5}\n\n");
        assert_eq!(written(&empty_close_frame(), None), "event: close\ndata: \n\n");
    }

    #[test]
    fn a_stream_of_trpc_has_the_same_events_and_its_own_words_for_the_rest() {
        let write = |frame: &[u8]| {
            String::from_utf8(events(frame, Some(ID), Convention::Trpc).to_vec()).unwrap()
        };
        let end = |code| write(&close_frame(code, "a \"reason\""));
        let socket = SocketId::new(HubIndex(0), 0, NonZeroU32::MIN);

        assert_eq!(
            preface(socket, Convention::Trpc),
            "retry: 500\n\nevent: connected\ndata: {}\n\n"
        );
        assert_eq!(write(&text_frame("{}")), written(&text_frame("{}"), Some(ID)));
        assert_eq!(write(&ping_frame()), "event: ping\ndata: \n\n");
        assert_eq!(end(CloseCode::NORMAL), "event: return\ndata: \n\n");
        assert_eq!(write(&empty_close_frame()), "event: return\ndata: \n\n");
        assert_eq!(
            end(CloseCode::RESTART),
            "event: serialized-error\ndata: {\"message\":\"this stream ends; come back and resume\",\
             \"code\":-32603,\"data\":{\"code\":\"SERVICE_UNAVAILABLE\",\"httpStatus\":503}}\n\n"
        );
        assert!(end(CloseCode::POLICY).contains("\"FORBIDDEN\""));
        assert_eq!(trpc_place(ID), "event: restore-id\ndata: \nid: 00000000000000ab:7\n\n");
    }

    #[test]
    fn streams_come_back_at_different_times_within_bounds() {
        let times: Vec<u32> = (0..50)
            .map(|slot| {
                let preface =
                    preface(SocketId::new(HubIndex(0), slot, NonZeroU32::MIN), Convention::Own);
                let text = std::str::from_utf8(&preface).unwrap();
                let time = text.strip_prefix("retry: ").and_then(|text| text.strip_suffix("\n\n"));
                time.unwrap().parse().unwrap()
            })
            .collect();

        assert!(times.iter().all(|time| (500..1_500).contains(time)), "{times:?}");
        let late = times.iter().filter(|time| **time >= 1_000).count();
        assert!((15..=35).contains(&late), "{times:?}");
    }
}

//! The frame parser: bytes of a client, whole and in pieces.

use std::num::NonZeroUsize;

use dormouse_socket::{Decoder, Inflater, Item, Limits, ProtocolError};

/// Small, so that a fuzzer finds ways past it.
const MESSAGE_BYTES_MAX: usize = 1024;

/// What a decoder may keep beside a message: a header and the payload of a control frame; and what
/// compressing may add to a message.
const KEPT_BYTES_MAX: usize = MESSAGE_BYTES_MAX + MESSAGE_BYTES_MAX / 8 + 64 + 14 + 125;

/// One item that outlives its bytes.
#[derive(Debug, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// Reads frames of a client. The first byte says what the socket takes, the second in pieces of what
/// size the rest arrives.
///
/// # Panics
///
/// If pieces read differently from the whole, or a bound is passed.
pub fn frames(data: &[u8]) {
    let Some((&[flags, piece_bytes], bytes)) = data.split_first_chunk::<2>() else { return };
    let limits = Limits {
        message_bytes_max: MESSAGE_BYTES_MAX,
        binary: flags & 1 != 0,
        deflate: flags & 2 != 0,
    };
    let piece_bytes = NonZeroUsize::new(piece_bytes.into()).unwrap_or(NonZeroUsize::MIN);

    let whole = read(&[bytes], limits);
    let pieces: Vec<&[u8]> = bytes.chunks(piece_bytes.get()).collect();
    assert_eq!(read(&pieces, limits), whole, "in pieces of {piece_bytes}");
}

fn read(pieces: &[&[u8]], limits: Limits) -> (Vec<Owned>, Option<ProtocolError>) {
    let (mut decoder, mut inflater) = (Decoder::default(), Inflater::default());
    let mut items = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut used = 0;
        loop {
            match decoder.next(&mut piece[used..], limits, &mut inflater) {
                Ok((step, Some(item))) => {
                    used += step;
                    items.push(owned(&item, limits));
                }
                Ok((step, None)) => {
                    assert_eq!(used + step, piece.len(), "without an item all input is used");
                    break;
                }
                Err(err) => {
                    assert!((1002..=1009).contains(&err.close_code().get()));
                    return (items, Some(err));
                }
            }
        }
        assert!(decoder.kept_bytes() <= KEPT_BYTES_MAX, "{} are kept", decoder.kept_bytes());
    }
    (items, None)
}

fn owned(item: &Item<'_>, limits: Limits) -> Owned {
    match *item {
        Item::Text(text) => {
            assert!(text.len() <= MESSAGE_BYTES_MAX);
            Owned::Text(text.to_owned())
        }
        Item::Binary(bytes) => {
            assert!(limits.binary && bytes.len() <= MESSAGE_BYTES_MAX);
            Owned::Binary(bytes.to_vec())
        }
        Item::Ping(payload) => {
            assert!(payload.len() <= 125);
            Owned::Ping(payload.to_vec())
        }
        Item::Pong => Owned::Pong,
        Item::Close(code) => Owned::Close(code.map(|code| code.get())),
    }
}

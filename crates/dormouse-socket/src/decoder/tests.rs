//! Whole conversations, cut at every byte.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { message_bytes_max: 100_000, binary: true, deflate: false };

/// An item that outlives the bytes it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

fn owned(item: Item<'_>) -> Owned {
    match item {
        Item::Text(text) => Owned::Text(text.to_owned()),
        Item::Binary(bytes) => Owned::Binary(bytes.to_vec()),
        Item::Ping(bytes) => Owned::Ping(bytes.to_vec()),
        Item::Pong => Owned::Pong,
        Item::Close(code) => Owned::Close(code.map(CloseCode::get)),
    }
}

/// Encodes a frame as a client does.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0xA1, 0x05, 0x7C, 0x33];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// Feeds the pieces one after the other and collects what comes out.
fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: Limits,
) -> (Vec<Owned>, Result<Decoder, ProtocolError>) {
    let (mut decoder, mut inflater) = (Decoder::default(), Inflater::default());
    let mut items = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut used = 0;
        loop {
            match decoder.next(&mut piece[used..], limits, &mut inflater) {
                Ok((step, Some(item))) => {
                    used += step;
                    items.push(owned(item));
                }
                Ok((step, None)) => {
                    assert_eq!(used + step, piece.len(), "without an item all input is used");
                    break;
                }
                Err(err) => return (items, Err(err)),
            }
        }
    }
    (items, Ok(decoder))
}

#[test]
fn a_conversation_cut_at_any_two_places_reads_the_same() {
    let bytes = [
        frame(0x01, "{\"type\":\"naïve ".as_bytes()),
        frame(0x89, b"are you there"),
        frame(0x00, "😀".as_bytes()),
        frame(0x8A, b""),
        frame(0x80, b"\"}"),
        frame(0x81, &[b'x'; 200]),
        frame(0x82, &[0xFF, 0x00]),
        frame(0x88, &[0x03, 0xE8, b'o', b'k']),
    ]
    .concat();
    let (whole, _) = decode([&bytes[..]], LIMITS);
    assert_eq!(
        whole,
        [
            Owned::Ping(b"are you there".to_vec()),
            Owned::Pong,
            Owned::Text("{\"type\":\"naïve 😀\"}".to_owned()),
            Owned::Text("x".repeat(200)),
            Owned::Binary(vec![0xFF, 0x00]),
            Owned::Close(Some(1000)),
        ]
    );

    for first in 0..bytes.len() {
        for second in first..bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let (items, end) = decode(pieces, LIMITS);
            assert_eq!(items, whole, "cut at {first} and {second}");
            assert!(end.is_ok());
        }
    }
    let (items, _) = decode(bytes.chunks(1), LIMITS);
    assert_eq!(items, whole, "cut everywhere");
}

#[test]
fn nothing_is_kept_once_everything_was_delivered() {
    let bytes = [frame(0x01, b"ab"), frame(0x89, b"p"), frame(0x80, b"c")].concat();

    let (_, end) = decode(bytes.chunks(1), LIMITS);

    assert!(end.unwrap().partial.is_none());
}

#[test]
fn broken_rules_end_the_connection_with_their_error() {
    let cases: [(Vec<u8>, ProtocolError); 9] = [
        (frame(0x80, b"x"), ProtocolError::UnexpectedContinuation),
        ([frame(0x01, b"x"), frame(0x81, b"y")].concat(), ProtocolError::ExpectedContinuation),
        ([frame(0x01, b"x"), frame(0x82, b"y")].concat(), ProtocolError::ExpectedContinuation),
        (frame(0x88, b"\x03"), ProtocolError::Close),
        (frame(0x88, &1005_u16.to_be_bytes()), ProtocolError::Close),
        (frame(0x88, b"\x03\xE8\xFF"), ProtocolError::InvalidUtf8),
        (frame(0x81, b"\xC0\xAF"), ProtocolError::InvalidUtf8),
        (frame(0x81, b"cut \xE2\x82"), ProtocolError::InvalidUtf8),
        ([frame(0x01, b"cut \xE2"), frame(0x80, b"\x82")].concat(), ProtocolError::InvalidUtf8),
    ];

    for (bytes, expected) in cases {
        for size in [1, 2, 3, bytes.len()] {
            let (items, end) = decode(bytes.chunks(size), LIMITS);
            assert_eq!(end.err(), Some(expected), "{bytes:x?} in pieces of {size}");
            assert_eq!(items, []);
        }
    }
}

#[test]
fn bad_text_is_refused_before_the_message_is_complete() {
    // The message announces 20 bytes; the tenth can never be part of UTF-8.
    let bytes = frame(0x81, b"123456789\xFF0123456789");

    let (_, end) = decode([&bytes[..2 + 4 + 10]], LIMITS);

    assert_eq!(end.err(), Some(ProtocolError::InvalidUtf8));
}

#[test]
fn the_limit_counts_all_fragments_and_strikes_at_the_header() {
    let limits = Limits { message_bytes_max: 10, binary: false, deflate: false };
    let exact = [frame(0x01, b"12345"), frame(0x80, b"67890")].concat();
    let header_only = &frame(0x81, &[b'x'; 11])[..6];
    let fragments = [frame(0x01, b"12345"), frame(0x80, b"678901")].concat();

    assert_eq!(decode([&exact[..]], limits).0, [Owned::Text("1234567890".to_owned())]);
    assert_eq!(decode([header_only], limits).1.err(), Some(ProtocolError::TooLarge));
    assert_eq!(decode([&fragments[..]], limits).1.err(), Some(ProtocolError::TooLarge));
}

#[test]
fn binary_is_refused_at_its_header_unless_it_was_allowed() {
    let limits = Limits { binary: false, ..LIMITS };

    let (_, end) = decode([&frame(0x82, &[0; 500])[..8]], limits);

    assert_eq!(end.err(), Some(ProtocolError::Binary));
}

#[test]
fn bytes_that_wait_come_back_as_they_were() {
    let mut decoder = Decoder::default();

    decoder.keep_unread(&[]);
    assert!(decoder.partial.is_none());
    decoder.keep_unread(b"abc");

    assert_eq!(decoder.kept_bytes(), 3);
    assert_eq!(decoder.take_unread(), b"abc");
    assert_eq!(decoder.take_unread(), b"");
}

#[test]
fn a_compressed_conversation_cut_at_any_two_places_reads_the_same() {
    let limits = Limits { deflate: true, ..LIMITS };
    let bytes = [
        // "Hello" as RFC 7692 shows it, whole and in three fragments.
        frame(0xC1, &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]),
        frame(0x41, &[0xF2, 0x48, 0xCD]),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x80, &[0xC9, 0xC9, 0x07, 0x00]),
        frame(0xC2, &[0x00]),
        frame(0x81, b"plain"),
    ]
    .concat();

    for first in 0..bytes.len() {
        for second in first..bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let (items, end) = decode(pieces, limits);
            assert_eq!(
                items,
                [
                    Owned::Text("Hello".to_owned()),
                    Owned::Ping(b"ping".to_vec()),
                    Owned::Text("Hello".to_owned()),
                    Owned::Binary(Vec::new()),
                    Owned::Text("plain".to_owned()),
                ],
                "cut at {first} and {second}"
            );
            assert!(end.unwrap().partial.is_none());
        }
    }
}

#[test]
fn a_compressed_message_that_is_announced_too_large_is_refused_at_its_header() {
    let limits = Limits { message_bytes_max: 10, binary: false, deflate: true };
    let header_only = |length: u8| frame(0xC1, &vec![0; length.into()])[..6].to_vec();

    assert!(decode([&header_only(75)[..]], limits).1.is_ok());
    assert_eq!(decode([&header_only(76)[..]], limits).1.err(), Some(ProtocolError::TooLarge));
}

fn message() -> impl Strategy<Value = (Vec<Vec<u8>>, Owned)> {
    let text = (".{0,300}", 1..5_usize).prop_map(|(text, fragments)| {
        (fragment(0x01, text.as_bytes(), fragments), Owned::Text(text))
    });
    let binary = (prop::collection::vec(any::<u8>(), 0..70_000), 1..4_usize)
        .prop_map(|(bytes, fragments)| (fragment(0x02, &bytes, fragments), Owned::Binary(bytes)));
    prop_oneof![4 => text, 1 => binary]
}

/// Splits a payload into that many frames of one message.
fn fragment(opcode: u8, payload: &[u8], fragments: usize) -> Vec<Vec<u8>> {
    let size = payload.len().div_ceil(fragments).max(1);
    let mut pieces: Vec<&[u8]> = payload.chunks(size).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let last = pieces.len() - 1;
    pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| {
            let opcode = if at == 0 { opcode } else { 0 };
            frame(if at == last { 0x80 | opcode } else { opcode }, piece)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn messages_survive_any_fragments_any_cuts_and_pings_between(
        messages in prop::collection::vec(message(), 1..6),
        cuts in prop::collection::vec(1..5_000_usize, 1..20),
        ping in prop::collection::vec(any::<u8>(), 0..=125),
    ) {
        let mut bytes = Vec::new();
        let mut pings = 0;
        for fragment in messages.iter().flat_map(|(fragments, _)| fragments) {
            bytes.extend_from_slice(fragment);
            bytes.extend_from_slice(&frame(0x89, &ping));
            pings += 1;
        }
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }

        let (items, end) = decode(pieces, LIMITS);

        prop_assert!(end.is_ok());
        let (control, data): (Vec<Owned>, Vec<Owned>) =
            items.into_iter().partition(|item| matches!(item, Owned::Ping(_)));
        prop_assert_eq!(data, messages.into_iter().map(|(_, item)| item).collect::<Vec<_>>());
        prop_assert_eq!(control, vec![Owned::Ping(ping); pings]);
    }

    #[test]
    fn noise_never_panics_and_reads_the_same_in_pieces(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        size in 1..20_usize,
    ) {
        let (whole, whole_end) = decode([&bytes[..]], LIMITS);
        let (pieces, pieces_end) = decode(bytes.chunks(size), LIMITS);

        prop_assert_eq!(whole, pieces);
        prop_assert_eq!(whole_end.err(), pieces_end.err());
    }
}

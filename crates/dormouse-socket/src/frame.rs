//! Frames of RFC 6455: the header that clients send, and the frames that the server writes.

use bytes::Bytes;

use crate::close::CloseCode;

/// Longest header a client can send: two bytes, a 64-bit length, the mask.
pub(crate) const CLIENT_HEADER_BYTES_MAX: usize = 14;

/// Longest header the server writes: two bytes and a 64-bit length.
pub(crate) const SERVER_HEADER_BYTES_MAX: usize = 10;

/// Longest payload of a control frame.
pub(crate) const CONTROL_BYTES_MAX: usize = 125;

/// Longest reason in a close frame: what the code leaves of a control frame.
const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// The reserved bit that says, on the first frame of a message, that the message is compressed.
const DEFLATED: u8 = 0x40;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// How a client broke the protocol, or a limit of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A frame from a client came without a mask.
    #[error("frames from a client must be masked")]
    Unmasked,
    /// A reserved bit was set that means nothing here: no extension was agreed on, or it stands where
    /// compression does not put it.
    #[error("a reserved bit is set")]
    ReservedBits,
    /// The opcode is one of those that RFC 6455 reserves.
    #[error("opcode {0:#x} is reserved")]
    Opcode(u8),
    /// A control frame came in fragments.
    #[error("control frames must not be fragmented")]
    ControlFragmented,
    /// A control frame has more than 125 bytes.
    #[error("control frames carry at most 125 bytes")]
    ControlTooLong,
    /// A length was written in more bytes than it needs, or with its highest bit set.
    #[error("the payload length is not encoded as it must be")]
    Length,
    /// A continuation came without a message to continue.
    #[error("there is no message to continue")]
    UnexpectedContinuation,
    /// A new message began before the last one was finished.
    #[error("the message before is not finished")]
    ExpectedContinuation,
    /// A close frame has one byte, or a code that must not be sent.
    #[error("the close frame is not valid")]
    Close,
    /// Text, or the reason of a close frame, is not UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// A message is over the size limit.
    #[error("the message is over the size limit")]
    TooLarge,
    /// A binary message came on a socket that takes only text.
    #[error("binary messages are not supported")]
    Binary,
    /// A compressed message cannot be inflated.
    #[error("the compressed message is damaged")]
    Compression,
}

impl ProtocolError {
    /// The code that the connection is closed with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            ProtocolError::Unmasked
            | ProtocolError::ReservedBits
            | ProtocolError::Opcode(_)
            | ProtocolError::ControlFragmented
            | ProtocolError::ControlTooLong
            | ProtocolError::Length
            | ProtocolError::UnexpectedContinuation
            | ProtocolError::ExpectedContinuation
            | ProtocolError::Close => CloseCode::PROTOCOL,
            ProtocolError::InvalidUtf8 | ProtocolError::Compression => CloseCode::INVALID_DATA,
            ProtocolError::TooLarge => CloseCode::TOO_LARGE,
            ProtocolError::Binary => CloseCode::UNSUPPORTED,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn parse(nibble: u8) -> Result<Opcode, ProtocolError> {
        match nibble {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xA => Ok(Opcode::Pong),
            reserved => Err(ProtocolError::Opcode(reserved)),
        }
    }

    const fn nibble(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xA,
        }
    }

    pub(crate) const fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    const fn begins_message(self) -> bool {
        matches!(self, Opcode::Text | Opcode::Binary)
    }
}

/// What stands before a payload from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    /// Whether this begins a message that is compressed.
    pub(crate) is_deflated: bool,
    pub(crate) opcode: Opcode,
    pub(crate) key: [u8; 4],
    pub(crate) payload_bytes: u64,
}

/// Reads the header that `input` begins with, and gives its own length too. With `deflate` messages
/// may be compressed.
///
/// `Ok(None)` means that the header is not complete. The first two bytes are judged as soon as they
/// are there.
pub(crate) fn parse_header(
    input: &[u8],
    deflate: bool,
) -> Result<Option<(Header, usize)>, ProtocolError> {
    let Some((&[first, second], rest)) = input.split_first_chunk::<2>() else { return Ok(None) };
    let fin = first & FIN != 0;
    let reserved = first & RESERVED;
    let is_deflated = deflate && reserved == DEFLATED;
    if reserved != 0 && !is_deflated {
        return Err(ProtocolError::ReservedBits);
    }
    let opcode = Opcode::parse(first & 0x0F)?;
    if is_deflated && !opcode.begins_message() {
        return Err(ProtocolError::ReservedBits);
    }
    if second & MASKED == 0 {
        return Err(ProtocolError::Unmasked);
    }
    let short = second & !MASKED;
    if opcode.is_control() {
        if !fin {
            return Err(ProtocolError::ControlFragmented);
        }
        if usize::from(short) > CONTROL_BYTES_MAX {
            return Err(ProtocolError::ControlTooLong);
        }
    }

    let Some((payload_bytes, rest)) = parse_length(short, rest)? else { return Ok(None) };
    let Some((&key, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let header = Header { fin, is_deflated, opcode, key, payload_bytes };
    Ok(Some((header, input.len() - rest.len())))
}

fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    match short {
        LENGTH_16 => {
            let Some((&length, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            let length = u64::from(u16::from_be_bytes(length));
            // RFC 6455 asks for the shortest form.
            if length < u64::from(LENGTH_16) {
                return Err(ProtocolError::Length);
            }
            Ok(Some((length, rest)))
        }
        LENGTH_64 => {
            let Some((&length, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            let length = u64::from_be_bytes(length);
            if length <= u64::from(u16::MAX) || length >> 63 != 0 {
                return Err(ProtocolError::Length);
            }
            Ok(Some((length, rest)))
        }
        short => Ok(Some((u64::from(short), rest))),
    }
}

/// Encodes one text message as a server sends it: one frame, no mask.
pub fn text_frame(json: &str) -> Bytes {
    whole_frame(Opcode::Text, json.as_bytes())
}

/// Encodes one binary message as a server sends it: one frame, no mask.
pub fn binary_frame(payload: &[u8]) -> Bytes {
    whole_frame(Opcode::Binary, payload)
}

/// A ping with nothing in it.
pub(crate) fn ping_frame() -> Bytes {
    const FRAME: &[u8] = &[FIN | Opcode::Ping.nibble(), 0];
    Bytes::from_static(FRAME)
}

/// Answers a ping with its own payload, which the decoder has limited to 125 bytes.
pub(crate) fn pong_frame(payload: &[u8]) -> Bytes {
    whole_frame(Opcode::Pong, payload)
}

/// Encodes a close frame. A reason over 123 bytes is cut at a character's edge.
pub(crate) fn close_frame(code: CloseCode, reason: &str) -> Bytes {
    let mut length = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(length) {
        length -= 1;
    }
    let reason = &reason[..length];
    let mut payload = Vec::with_capacity(CONTROL_BYTES_MAX);
    payload.extend_from_slice(&code.get().to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    whole_frame(Opcode::Close, &payload)
}

/// A close frame that says nothing, which answers one that said nothing.
pub(crate) fn empty_close_frame() -> Bytes {
    whole_frame(Opcode::Close, &[])
}

fn whole_frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(SERVER_HEADER_BYTES_MAX + payload.len());
    push_frame(&mut frame, opcode, payload);
    frame.into()
}

/// Appends one whole frame to `out`.
pub(crate) fn push_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    push(out, FIN | opcode.nibble(), payload);
}

/// Appends a frame to `out`, with its payload replaced by the compressed one.
pub(crate) fn push_deflated_frame(out: &mut Vec<u8>, frame: ServerFrame<'_>, payload: &[u8]) {
    push(out, frame.first | DEFLATED, payload);
}

fn push(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    out.push(first);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < LENGTH_16 => out.push(length),
        (_, Ok(length)) => {
            out.push(LENGTH_16);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(LENGTH_64);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// A frame as the server wrote it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerFrame<'a> {
    first: u8,
    header_bytes: usize,
    payload: &'a [u8],
}

impl<'a> ServerFrame<'a> {
    /// Reads the frame that `bytes` begin with. `None`: there is no whole one.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<ServerFrame<'a>> {
        let (&[first, short], rest) = bytes.split_first_chunk::<2>()?;
        let (length, rest) = parse_length(short, rest).ok()??;
        let payload = rest.get(..usize::try_from(length).ok()?)?;
        Some(ServerFrame { first, header_bytes: bytes.len() - rest.len(), payload })
    }

    /// What it is. `None`: it is part of a message, or compressed.
    pub(crate) fn opcode(self) -> Option<Opcode> {
        let is_plain = self.first & !0x0F == FIN;
        Opcode::parse(self.first & 0x0F).ok().filter(|_| is_plain)
    }

    pub(crate) fn payload(self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of header and payload.
    pub(crate) fn len_bytes(self) -> usize {
        self.header_bytes + self.payload.len()
    }

    /// Whether it is a message by itself, and not compressed.
    pub(crate) fn is_whole_message(self) -> bool {
        [Opcode::Text, Opcode::Binary].iter().any(|opcode| self.first == FIN | opcode.nibble())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    /// A header as a client writes it.
    fn header(first: u8, second: u8, length: &[u8]) -> Vec<u8> {
        [&[first, second], length, &KEY].concat()
    }

    #[test]
    fn every_length_form_is_read_and_no_form_is_read_early() {
        let cases = [
            (header(0x81, 0x80 | 5, &[]), 5),
            (header(0x81, 0x80 | 126, &126_u16.to_be_bytes()), 126),
            (header(0x82, 0x80 | 127, &65_536_u64.to_be_bytes()), 65_536),
        ];

        for (bytes, payload_bytes) in cases {
            let parsed = parse_header(&bytes, false).unwrap();

            let (header, length) = parsed.expect("the header is complete");
            assert_eq!((header.payload_bytes, header.key), (payload_bytes, KEY));
            assert_eq!(length, bytes.len());
            for cut in 0..bytes.len() {
                assert_eq!(parse_header(&bytes[..cut], false), Ok(None), "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_the_protocol_forbids_is_refused_from_two_bytes_on() {
        let cases = [
            ([0xC1, 0x80], ProtocolError::ReservedBits),
            ([0x83, 0x80], ProtocolError::Opcode(0x3)),
            ([0x8B, 0x80], ProtocolError::Opcode(0xB)),
            ([0x81, 0x05], ProtocolError::Unmasked),
            ([0x09, 0x80], ProtocolError::ControlFragmented),
            ([0x89, 0xFE], ProtocolError::ControlTooLong),
        ];

        for (bytes, expected) in cases {
            assert_eq!(parse_header(&bytes, false), Err(expected), "{bytes:x?}");
        }
    }

    #[test]
    fn the_compression_bit_may_stand_only_on_the_first_frame_of_a_message() {
        for first in [0x41, 0xC1, 0x42, 0xC2] {
            assert_eq!(parse_header(&[first, 0x80], true), Ok(None), "{first:#x}");
        }
        for first in [0x40, 0xC0, 0xC8, 0xC9, 0xCA, 0xA1, 0x91, 0xE1, 0xF1] {
            let parsed = parse_header(&[first, 0x80], true);
            assert_eq!(parsed, Err(ProtocolError::ReservedBits), "{first:#x}");
        }
    }

    #[test]
    fn lengths_must_be_in_their_shortest_form() {
        for bytes in [
            header(0x81, 0x80 | 126, &125_u16.to_be_bytes()),
            header(0x81, 0x80 | 127, &65_535_u64.to_be_bytes()),
            header(0x81, 0x80 | 127, &(1_u64 << 63).to_be_bytes()),
        ] {
            assert_eq!(parse_header(&bytes, false), Err(ProtocolError::Length), "{bytes:x?}");
        }
    }

    #[test]
    fn written_frames_carry_the_shortest_length() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xFF, 0xFF]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = text_frame(&"x".repeat(length));

            assert_eq!(&frame[..header.len()], &header[..], "{length}");
            assert_eq!(frame.len(), header.len() + length);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let frame = close_frame(CloseCode::NORMAL, &"é".repeat(100));

        assert_eq!(usize::from(frame[1]), 2 + 122);
        assert!(str::from_utf8(&frame[4..]).is_ok());
    }
}

//! From bytes to messages: fragments, interleaved control frames, UTF-8, limits.
//!
//! Pure: bytes go in, items come out, and an error ends the connection. A message that arrives in
//! one piece is unmasked where it lies and never copied; only what is incomplete is kept.

use std::mem;
use std::ops::Range;

use crate::close::CloseCode;
use crate::deflate::Inflater;
use crate::frame::{CLIENT_HEADER_BYTES_MAX, Header, Opcode, ProtocolError, parse_header};
use crate::mask::unmask;

/// What a decoder lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message in bytes, over all its fragments, and once it is inflated.
    pub message_bytes_max: usize,
    /// Whether binary messages are taken.
    pub binary: bool,
    /// Whether messages may be compressed.
    pub deflate: bool,
}

impl Limits {
    /// Longest message in bytes as it is sent.
    fn sent_bytes_max(self, format: Format) -> usize {
        if format.is_deflated {
            // What cannot be compressed becomes larger by the headers of its blocks.
            let max = self.message_bytes_max;
            max.saturating_add(max / DEFLATED_EXCESS_SHARE).saturating_add(DEFLATED_EXCESS_BYTES)
        } else {
            self.message_bytes_max
        }
    }
}

/// The part of a message by which compressing it may make it larger at most.
const DEFLATED_EXCESS_SHARE: usize = 8;

/// Bytes by which compressing any message may make it larger.
const DEFLATED_EXCESS_BYTES: usize = 64;

/// One message, or one control frame, with its mask removed.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A complete text message.
    Text(&'a str),
    /// A complete binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered with the same payload of at most 125 bytes.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// A close frame, with its code if it has one.
    Close(Option<CloseCode>),
}

/// Turns what one client sends into [`Item`]s.
///
/// It is one pointer while nothing is incomplete. After an error it must not be used again.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

/// What is known of a message or frame that has not arrived as a whole.
#[derive(Debug, Default)]
struct Partial {
    /// The beginning of a header.
    head: Vec<u8>,
    /// The frame whose payload is arriving, and how much of it is missing.
    frame: Option<(Header, u64)>,
    /// The format of the message that `message` holds the beginning of.
    format: Option<Format>,
    message: Vec<u8>,
    /// How much of `message` is known to be UTF-8.
    valid_bytes: usize,
    control: Vec<u8>,
    /// Bytes that were read but must wait, still masked.
    unread: Vec<u8>,
    /// Frames that finished no message, since somebody asked.
    fragments: u32,
}

/// What the first frame of a message says about all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Format {
    is_text: bool,
    is_deflated: bool,
}

/// Where the payload of a finished item lies.
enum Place {
    Input(Range<usize>),
    Kept,
}

enum Step {
    /// The input is used up.
    Starved,
    /// Something was finished that is no item: a fragment.
    Again,
    Message(Format, Place),
    Control(Opcode, Place),
}

impl Decoder {
    /// Takes the next item from the beginning of `input`, which is unmasked in place.
    ///
    /// Gives how many bytes were used, and the item. Without an item all of the input was used. Call
    /// again with the rest until there is none: what the last item occupied is freed then.
    ///
    /// A compressed message is kept as it came and inflated once it is complete, so that sockets need
    /// no inflater of their own: any `inflater` will do.
    ///
    /// # Errors
    ///
    /// Any [`ProtocolError`]; the connection must be closed with its code. Text that cannot become
    /// UTF-8 any more, unless it is compressed, and a message that announces too many bytes are
    /// refused before they are complete.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: Limits,
        inflater: &'a mut Inflater,
    ) -> Result<(usize, Option<Item<'a>>), ProtocolError> {
        self.forget_delivered();

        let mut used = 0;
        let step = loop {
            let (step_used, step) = self.step(&mut input[used..], limits)?;
            let start = used;
            used += step_used;
            match step {
                Step::Again => self.count_fragment(),
                Step::Starved => return Ok((used, None)),
                Step::Message(format, place) => break Step::Message(format, place.after(start)),
                Step::Control(opcode, place) => break Step::Control(opcode, place.after(start)),
            }
        };

        let item = match step {
            Step::Message(format, place) => {
                let mut payload = match place {
                    Place::Input(range) => &input[range],
                    Place::Kept => self.partial.as_ref().map_or(&[][..], |kept| &kept.message),
                };
                if format.is_deflated {
                    payload = inflater.inflate(payload, limits.message_bytes_max)?;
                }
                message_item(format, payload)?
            }
            Step::Control(opcode, place) => {
                let payload = match place {
                    Place::Input(range) => &input[range],
                    Place::Kept => self.partial.as_ref().map_or(&[][..], |kept| &kept.control),
                };
                control_item(opcode, payload)?
            }
            Step::Again | Step::Starved => return Ok((used, None)),
        };
        Ok((used, Some(item)))
    }

    /// Keeps bytes that were read but must wait, such as those of a client with too many calls in
    /// flight.
    pub fn keep_unread(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.partial.get_or_insert_default().unread.extend_from_slice(bytes);
        }
    }

    /// Gives back what [`keep_unread`](Self::keep_unread) kept. It comes before anything newer.
    pub fn take_unread(&mut self) -> Vec<u8> {
        self.partial.as_mut().map(|kept| mem::take(&mut kept.unread)).unwrap_or_default()
    }

    /// Whether [`keep_unread`](Self::keep_unread) kept anything.
    pub(crate) fn has_unread(&self) -> bool {
        self.partial.as_ref().is_some_and(|kept| !kept.unread.is_empty())
    }

    /// How many frames that finished no message were taken since the last call. To be called after
    /// each [`next`](Self::next).
    pub(crate) fn take_fragments(&mut self) -> u32 {
        self.partial.as_mut().map_or(0, |kept| mem::take(&mut kept.fragments))
    }

    fn count_fragment(&mut self) {
        if let Some(kept) = &mut self.partial {
            kept.fragments = kept.fragments.saturating_add(1);
        }
    }

    /// Bytes of memory that wait for the rest of something.
    pub fn kept_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |kept| {
            kept.head.len() + kept.message.len() + kept.control.len() + kept.unread.len()
        })
    }

    fn forget_delivered(&mut self) {
        if let Some(kept) = &mut self.partial {
            if kept.frame.is_none_or(|(header, _)| !header.opcode.is_control()) {
                kept.control = Vec::new();
            }
            if kept.format.is_none() {
                kept.message = Vec::new();
                kept.valid_bytes = 0;
                if kept.head.is_empty() && kept.frame.is_none() && kept.unread.is_empty() {
                    self.partial = None;
                }
            }
        }
    }

    fn step(&mut self, input: &mut [u8], limits: Limits) -> Result<(usize, Step), ProtocolError> {
        if let Some(kept) = &mut self.partial
            && let Some((header, missing)) = kept.frame.take()
        {
            return kept.payload(input, header, missing);
        }
        if input.is_empty() {
            return Ok((0, Step::Starved));
        }
        let Some((header, used)) = self.header(input, limits.deflate)? else {
            return Ok((input.len(), Step::Starved));
        };
        self.judge(header, limits)?;

        let payload = &mut input[used..];
        let whole = usize::try_from(header.payload_bytes).ok().filter(|&len| len <= payload.len());
        let begun = Format::begun_by(header);
        // The common case: a frame that lies in the input as a whole and is an item by itself.
        if let Some(length) = whole
            && header.fin
            && header.opcode != Opcode::Continuation
        {
            unmask(&mut payload[..length], header.key);
            let place = Place::Input(used..used + length);
            let step = match begun {
                Some(format) => Step::Message(format, place),
                None => Step::Control(header.opcode, place),
            };
            return Ok((used + length, step));
        }

        let kept = self.partial.get_or_insert_default();
        if begun.is_some() {
            kept.format = begun;
        }
        let (payload_used, step) = kept.payload(payload, header, header.payload_bytes)?;
        Ok((used + payload_used, step))
    }

    /// Reads a header, together with the beginning of it that came before. `None`: not complete.
    fn header(
        &mut self,
        input: &[u8],
        deflate: bool,
    ) -> Result<Option<(Header, usize)>, ProtocolError> {
        let before = self.partial.as_ref().map_or(0, |kept| kept.head.len());
        if before == 0 {
            let parsed = parse_header(input, deflate)?;
            if parsed.is_none() {
                self.partial.get_or_insert_default().head = input.to_vec();
            }
            return Ok(parsed);
        }

        let kept = self.partial.get_or_insert_default();
        let fits = input.len().min(CLIENT_HEADER_BYTES_MAX - before);
        kept.head.extend_from_slice(&input[..fits]);
        let parsed = parse_header(&kept.head, deflate)?;
        if let Some((header, length)) = parsed {
            kept.head = Vec::new();
            // A header that was incomplete before ends in this input, so this cannot underflow.
            return Ok(Some((header, length - before)));
        }
        Ok(None)
    }

    /// Decides whether this frame may come now, before any of its payload is kept.
    fn judge(&self, header: Header, limits: Limits) -> Result<(), ProtocolError> {
        if header.opcode.is_control() {
            return Ok(());
        }
        let (begun_before, before) =
            self.partial.as_ref().map_or((None, 0), |kept| (kept.format, kept.message.len()));
        let format = match (begun_before, Format::begun_by(header)) {
            (None, None) => return Err(ProtocolError::UnexpectedContinuation),
            (Some(_), Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            (None, Some(format)) if !format.is_text && !limits.binary => {
                return Err(ProtocolError::Binary);
            }
            (Some(format), None) | (None, Some(format)) => format,
        };
        let room = limits.sent_bytes_max(format).saturating_sub(before) as u64;
        if header.payload_bytes > room { Err(ProtocolError::TooLarge) } else { Ok(()) }
    }
}

impl Partial {
    /// Takes what `input` has of a payload of which `missing` bytes have not arrived.
    fn payload(
        &mut self,
        input: &mut [u8],
        mut header: Header,
        missing: u64,
    ) -> Result<(usize, Step), ProtocolError> {
        let used = usize::try_from(missing).map_or(input.len(), |missing| missing.min(input.len()));
        let missing = missing - used as u64;
        let payload = &mut input[..used];
        header.key = unmask(payload, header.key);
        if header.opcode.is_control() {
            self.control.extend_from_slice(payload);
        } else {
            self.message.extend_from_slice(payload);
            if self.format == Some(Format::PLAIN_TEXT) {
                self.check_text(missing == 0 && header.fin)?;
            }
        }

        if missing > 0 {
            self.frame = Some((header, missing));
            return Ok((used, Step::Starved));
        }
        if header.opcode.is_control() {
            return Ok((used, Step::Control(header.opcode, Place::Kept)));
        }
        let step = match self.format {
            Some(format) if header.fin => {
                self.format = None;
                Step::Message(format, Place::Kept)
            }
            _ => Step::Again,
        };
        Ok((used, step))
    }

    /// Checks what arrived since the last check, so that bad text is refused where it turns bad.
    fn check_text(&mut self, is_end: bool) -> Result<(), ProtocolError> {
        match simdutf8::compat::from_utf8(&self.message[self.valid_bytes..]) {
            Ok(text) => self.valid_bytes += text.len(),
            // A character that is only cut off may be completed by what follows.
            Err(err) if err.error_len().is_none() && !is_end => {
                self.valid_bytes += err.valid_up_to();
            }
            Err(_) => return Err(ProtocolError::InvalidUtf8),
        }
        Ok(())
    }
}

impl Format {
    /// Text that can be checked as it arrives.
    const PLAIN_TEXT: Format = Format { is_text: true, is_deflated: false };

    /// The format of the message that a frame begins. `None`: it begins none.
    fn begun_by(header: Header) -> Option<Format> {
        let is_text = match header.opcode {
            Opcode::Text => true,
            Opcode::Binary => false,
            Opcode::Continuation | Opcode::Close | Opcode::Ping | Opcode::Pong => return None,
        };
        Some(Format { is_text, is_deflated: header.is_deflated })
    }
}

impl Place {
    /// Counts a range from the beginning of the whole input.
    fn after(self, start: usize) -> Place {
        match self {
            Place::Input(range) => Place::Input(start + range.start..start + range.end),
            Place::Kept => Place::Kept,
        }
    }
}

fn message_item(format: Format, payload: &[u8]) -> Result<Item<'_>, ProtocolError> {
    if !format.is_text {
        return Ok(Item::Binary(payload));
    }
    match simdutf8::basic::from_utf8(payload) {
        Ok(text) => Ok(Item::Text(text)),
        Err(_) => Err(ProtocolError::InvalidUtf8),
    }
}

fn control_item(opcode: Opcode, payload: &[u8]) -> Result<Item<'_>, ProtocolError> {
    match opcode {
        Opcode::Ping => Ok(Item::Ping(payload)),
        Opcode::Close => parse_close(payload).map(Item::Close),
        // Data frames never come here.
        Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => Ok(Item::Pong),
    }
}

fn parse_close(payload: &[u8]) -> Result<Option<CloseCode>, ProtocolError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let Some((&code, reason)) = payload.split_first_chunk::<2>() else {
        return Err(ProtocolError::Close);
    };
    if simdutf8::basic::from_utf8(reason).is_err() {
        return Err(ProtocolError::InvalidUtf8);
    }
    CloseCode::new(u16::from_be_bytes(code)).map(Some).ok_or(ProtocolError::Close)
}

#[cfg(test)]
mod tests;

//! From frames to compressed frames.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

use crate::frame::{SERVER_HEADER_BYTES_MAX, ServerFrame, push_deflated_frame};

use super::{SCRATCH_BYTES_KEPT, TAIL, Window};

/// Shortest payload that is compressed. Below it, what is saved is less than a packet's headers.
pub(crate) const DEFLATE_BYTES_MIN: usize = 256;

/// How hard to try: the hub's thread has every other socket waiting.
const LEVEL: Compression = Compression::fast();

/// The part of a message by which compressing makes it larger at most: a literal takes 9 bits.
const EXCESS_SHARE: usize = 8;

/// Bytes by which compressing any message may make it larger.
const EXCESS_BYTES: usize = 64;

/// Compresses frames. One serves all sockets of a thread.
///
/// It allocates nothing before the first frame that is worth compressing.
#[derive(Debug, Default)]
pub(crate) struct Deflater {
    streams: [Option<Compress>; Window::COUNT],
    payload: Vec<u8>,
}

impl Deflater {
    /// Compresses those of the frames that are worth it. Each stays one frame.
    pub(crate) fn frames(&mut self, frames: Bytes, window: Window) -> Bytes {
        let mut out = Vec::new();
        // Where the frames begin that have not been copied.
        let mut copied = 0;
        let mut at = 0;
        while let Some(frame) = ServerFrame::parse(&frames[at..]) {
            let end = at + frame.len_bytes();
            if let Some(payload) = self.payload_of(frame, window) {
                out.extend_from_slice(&frames[copied..at]);
                push_deflated_frame(&mut out, frame, payload);
                copied = end;
            }
            at = end;
        }
        self.forget_payload();
        if copied == 0 {
            return frames;
        }
        out.extend_from_slice(&frames[copied..]);
        out.into()
    }

    /// Appends one frame to `out`, compressed if that makes it smaller. Gives whether it did.
    pub(crate) fn push_frame(&mut self, out: &mut Vec<u8>, frame: &[u8], window: Window) -> bool {
        let parsed = ServerFrame::parse(frame).filter(|parsed| parsed.len_bytes() == frame.len());
        if let Some(parsed) = parsed
            && let Some(payload) = self.payload_of(parsed, window)
        {
            out.reserve(SERVER_HEADER_BYTES_MAX + payload.len());
            push_deflated_frame(out, parsed, payload);
            return true;
        }
        out.extend_from_slice(frame);
        false
    }

    /// Gives memory back that only large frames needed.
    pub(crate) fn forget_payload(&mut self) {
        self.payload.clear();
        self.payload.shrink_to(SCRATCH_BYTES_KEPT);
    }

    /// Compresses a frame's payload. `None`: it is sent as it is.
    fn payload_of(&mut self, frame: ServerFrame<'_>, window: Window) -> Option<&[u8]> {
        let plain = frame.payload();
        if plain.len() < DEFLATE_BYTES_MIN || !frame.is_whole_message() {
            return None;
        }
        let stream = self.streams[window.index()]
            .get_or_insert_with(|| Compress::new_with_window_bits(LEVEL, false, window.bits()));
        self.payload.clear();
        self.payload.reserve(plain.len() + plain.len() / EXCESS_SHARE + EXCESS_BYTES);
        let status = stream.compress_vec(plain, &mut self.payload, FlushCompress::Sync);
        let is_complete = matches!(status, Ok(Status::Ok))
            && self.payload.len() < self.payload.capacity()
            && self.payload.ends_with(&TAIL);
        if is_complete {
            stream.reset();
        } else {
            // Resetting a stream of zlib-rs 0.6 that still has something to write leaves its buffer
            // too short for what comes next, and that panics.
            self.streams[window.index()] = None;
        }
        let length = self.payload.len().checked_sub(TAIL.len()).filter(|_| is_complete)?;
        (length < plain.len()).then(|| &self.payload[..length])
    }
}

#[cfg(test)]
mod tests {
    use crate::deflate::Inflater;
    use crate::frame::{binary_frame, ping_frame, text_frame};

    use super::*;

    const WINDOWS: [Window; Window::COUNT] = [Window::Tiny, Window::Small, Window::Full];

    /// Text of many small objects that differ in half of their bytes.
    fn json(bytes: usize) -> String {
        let items = (0_u32..)
            .map(|n| format!("{{\"n\":{n},\"hash\":\"{:08x}\"}}", n.wrapping_mul(2_654_435_761)));
        let mut text: String = items.take(bytes / 16).collect();
        text.truncate(bytes);
        text
    }

    /// Inflates what must be one compressed text frame.
    fn inflate(frame: &[u8]) -> String {
        assert_eq!(frame[0], 0b1100_0001, "final, reserved bit 1, text");
        let payload = ServerFrame::parse(frame).unwrap().payload();
        let mut inflater = Inflater::default();
        String::from_utf8(inflater.inflate(payload, 1 << 24).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn what_was_compressed_inflates_to_itself_in_every_window() {
        let mut deflater = Deflater::default();

        for bytes in [DEFLATE_BYTES_MIN, 1_000, 70_000, 1_000_000] {
            let text = json(bytes);
            for window in WINDOWS {
                let frame = deflater.frames(text_frame(&text), window);

                assert!(frame.len() < text.len(), "{bytes} {window:?}");
                assert_eq!(inflate(&frame), text, "{bytes} {window:?}");
            }
        }
        assert!(deflater.payload.capacity() <= SCRATCH_BYTES_KEPT);
    }

    /// Bytes that cannot be compressed.
    fn noise(bytes: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..bytes).map(|_| next()).collect()
    }

    #[test]
    fn what_cannot_be_compressed_harms_nothing_that_follows() {
        let mut deflater = Deflater::default();
        let text = json(20_000);

        for seed in 1..12 {
            let frame = binary_frame(&noise(70_000 + 3_000 * seed as usize, seed));
            for window in WINDOWS {
                assert_eq!(deflater.frames(frame.clone(), window), frame);
                assert_eq!(deflater.frames(frame.clone(), window), frame);
                assert_eq!(inflate(&deflater.frames(text_frame(&text), window)), text);
            }
        }
    }

    #[test]
    fn small_frames_control_frames_and_noise_stay_as_they_are() {
        let mut deflater = Deflater::default();

        for frame in
            [text_frame(&json(DEFLATE_BYTES_MIN - 1)), ping_frame(), binary_frame(&noise(5_000, 1))]
        {
            assert_eq!(deflater.frames(frame.clone(), Window::Full), frame);
        }
    }

    #[test]
    fn of_several_frames_each_is_judged_by_itself() {
        let mut deflater = Deflater::default();
        let (small, large) = (text_frame("small"), text_frame(&json(2_000)));
        let frames = [&small[..], &large, &small, &small].concat();

        let out = deflater.frames(frames.into(), Window::Full);

        let alone = deflater.frames(large, Window::Full);
        assert_eq!(out, [&small[..], &alone, &small, &small].concat());
    }
}

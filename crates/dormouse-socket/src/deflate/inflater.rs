//! From compressed messages to messages, with a bound on what comes out.

use std::mem;

use flate2::{Decompress, FlushDecompress, Status};

use crate::frame::ProtocolError;

use super::{SCRATCH_BYTES_KEPT, TAIL};

/// An empty last block. Behind a whole message it ends the stream, behind a part of one it does not.
const LAST_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xFF, 0xFF];

/// Output that is made room for at first, and by which the room grows at least.
const GROWTH_BYTES_MIN: usize = 4 * 1024;

/// Inflates messages, one after the other. One serves all sockets of a thread.
///
/// It allocates nothing before the first compressed message.
#[derive(Debug, Default)]
pub struct Inflater {
    stream: Option<Decompress>,
    message: Vec<u8>,
    spent_bytes: usize,
}

impl Inflater {
    /// Inflates one message, which is kept until the next call.
    ///
    /// # Errors
    ///
    /// * [`ProtocolError::TooLarge`] as soon as more than `bytes_max` come out; no more memory than
    ///   that was used.
    /// * [`ProtocolError::Compression`] if the payload is not the whole of a compressed message.
    pub(crate) fn inflate(
        &mut self,
        payload: &[u8],
        bytes_max: usize,
    ) -> Result<&[u8], ProtocolError> {
        let stream = self.stream.get_or_insert_with(|| Decompress::new(false));
        self.message.clear();
        let mut stream = Inflating { stream, message: &mut self.message, bytes_max };
        stream.stream.reset(false);
        let inflated = stream.whole(payload);
        self.spent_bytes += self.message.len();
        inflated.map(|()| &self.message[..])
    }

    /// Bytes that came out since this was last asked: what inflating has cost.
    pub(crate) fn take_spent_bytes(&mut self) -> usize {
        mem::take(&mut self.spent_bytes)
    }

    /// Gives memory back that only a large message needed.
    pub(crate) fn forget_message(&mut self) {
        self.message.clear();
        self.message.shrink_to(SCRATCH_BYTES_KEPT);
    }
}

/// One message on its way.
struct Inflating<'a> {
    stream: &'a mut Decompress,
    message: &'a mut Vec<u8>,
    bytes_max: usize,
}

impl Inflating<'_> {
    fn whole(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        self.part(payload)?;
        self.part(&TAIL)?;
        // Only between two blocks are these bytes a block of their own.
        match self.step(&LAST_BLOCK)? {
            (used, Status::StreamEnd) if used == LAST_BLOCK.len() => Ok(()),
            _ => Err(ProtocolError::Compression),
        }
    }

    /// Inflates bytes to their end.
    fn part(&mut self, mut input: &[u8]) -> Result<(), ProtocolError> {
        loop {
            let (used, status) = self.step(input)?;
            input = &input[used..];
            match status {
                // A client may end its stream within a message, and begin another one.
                Status::StreamEnd => self.stream.reset(false),
                Status::Ok | Status::BufError => {}
            }
            // With room left, everything that the input gives has come out.
            if input.is_empty() && self.message.len() < self.message.capacity() {
                return Ok(());
            }
        }
    }

    /// Inflates some of the input; `Ok` means that there was progress. Gives how much was used.
    fn step(&mut self, input: &[u8]) -> Result<(usize, Status), ProtocolError> {
        if self.message.len() == self.message.capacity() {
            // One byte over the bound shows that there is more than it allows.
            let most = self.bytes_max.saturating_add(1) - self.message.len();
            let growth = self.message.len().max(input.len()).max(GROWTH_BYTES_MIN);
            self.message.reserve_exact(growth.min(most));
        }
        let (used_before, length_before) = (self.stream.total_in(), self.message.len());
        let status = self
            .stream
            .decompress_vec(input, self.message, FlushDecompress::None)
            .map_err(|_| ProtocolError::Compression)?;
        if self.message.len() > self.bytes_max {
            return Err(ProtocolError::TooLarge);
        }
        let used = usize::try_from(self.stream.total_in() - used_before)
            .expect("no more is used than there is");
        let has_moved = used > 0 || self.message.len() > length_before;
        if !has_moved && !input.is_empty() && status != Status::StreamEnd {
            return Err(ProtocolError::Compression);
        }
        Ok((used, status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "Hello" in the forms that RFC 7692 shows.
    const HELLO: [&[u8]; 5] = [
        &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00],
        &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
        &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
        &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0x00],
    ];

    /// A payload that inflates to so many zeros.
    fn zeros(bytes: usize) -> Vec<u8> {
        let mut stream = flate2::Compress::new(flate2::Compression::best(), false);
        let mut payload = Vec::with_capacity(bytes / 500 + 1024);
        stream.compress_vec(&vec![0; bytes], &mut payload, flate2::FlushCompress::Sync).unwrap();
        payload.truncate(payload.len() - TAIL.len());
        payload
    }

    #[test]
    fn every_form_of_the_standards_example_is_read_by_one_inflater() {
        let mut inflater = Inflater::default();

        for payload in HELLO {
            assert_eq!(inflater.inflate(payload, 5), Ok(&b"Hello"[..]), "{payload:x?}");
        }
        assert_eq!(inflater.inflate(&[0x00], 0), Ok(&b""[..]));
        assert_eq!(inflater.take_spent_bytes(), 25);
    }

    #[test]
    fn the_bound_holds_while_inflating() {
        let mut inflater = Inflater::default();
        let bomb = zeros(32 << 20);
        assert!(bomb.len() < 40_000);

        assert_eq!(inflater.inflate(&bomb, 100_000), Err(ProtocolError::TooLarge));
        assert!(inflater.message.capacity() <= 100_001, "{}", inflater.message.capacity());
        assert_eq!(inflater.inflate(HELLO[0], 4), Err(ProtocolError::TooLarge));
        assert_eq!(inflater.inflate(HELLO[0], 5), Ok(&b"Hello"[..]));
        let exact = zeros(100_000);
        assert_eq!(inflater.inflate(&exact, 100_000).map(<[u8]>::len), Ok(100_000));
        assert_eq!(inflater.inflate(&exact, 99_999), Err(ProtocolError::TooLarge));
    }

    #[test]
    fn what_is_cut_off_or_no_stream_is_refused() {
        let mut inflater = Inflater::default();
        let long = zeros(3_000);

        for payload in [&[][..], &[0xFF], &[0x07], &HELLO[0][..6], &HELLO[1][..7], &long[..9]] {
            let inflated = inflater.inflate(payload, 1 << 20).map(<[u8]>::to_vec);
            assert_eq!(inflated, Err(ProtocolError::Compression), "{payload:x?}");
        }
    }

    #[test]
    fn memory_of_a_large_message_is_given_back() {
        let mut inflater = Inflater::default();
        assert!(inflater.inflate(&zeros(1 << 20), 1 << 20).is_ok());

        inflater.forget_message();

        assert!(inflater.message.capacity() <= SCRATCH_BYTES_KEPT);
    }
}

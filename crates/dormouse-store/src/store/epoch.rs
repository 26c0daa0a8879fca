//! Which history of an event log an offset belongs to.

use std::fmt;

/// Names one history of an object's event log: offsets of different epochs cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch that is written as these bytes in hexadecimal.
    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Epoch {
        Epoch(u64::from_be_bytes(bytes))
    }

    /// The number behind it.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Reads what [`Display`](fmt::Display) writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Epoch> {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(is_hex) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Epoch)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_read_back_as_written_and_nothing_else_is() {
        let epoch = Epoch::from_bytes([0, 1, 2, 3, 4, 5, 6, 0xff]);

        assert_eq!(epoch.to_string(), "00010203040506ff");
        assert_eq!(Epoch::parse("00010203040506ff"), Some(epoch));
        for text in ["", "00010203040506FF", "+0010203040506ff", "00010203040506ff0"] {
            assert_eq!(Epoch::parse(text), None, "{text}");
        }
    }
}

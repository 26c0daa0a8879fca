//! Fields of JSON that nobody parses.
//!
//! An event is read by looking for the names of its fields where the event before had them, which
//! costs a few nanoseconds and keeps the client off the bottleneck.

use std::cell::Cell;

/// Text that names a field, and where it was found last. One serves all sockets of a thread.
#[derive(Debug)]
pub(crate) struct Field {
    text: &'static [u8],
    last_at: Cell<usize>,
}

impl Field {
    /// A field whose name, with what stands between it and what is read, is `text`.
    pub(crate) fn named(text: &'static [u8]) -> Field {
        Field { text, last_at: Cell::new(0) }
    }

    /// Where the text ends in `bytes`.
    pub(crate) fn end_in(&self, bytes: &[u8]) -> Option<usize> {
        let length = self.text.len();
        let last_at = self.last_at.get();
        if bytes.get(last_at..last_at + length) == Some(self.text) {
            return Some(last_at + length);
        }
        let at = bytes.windows(length).position(|window| window == self.text)?;
        self.last_at.set(at);
        Some(at + length)
    }

    /// The integer right after the text, and what follows the integer.
    pub(crate) fn number_after<'a>(&self, bytes: &'a [u8]) -> Option<(i64, &'a [u8])> {
        let digits = &bytes[self.end_in(bytes)?..];
        let (negative, digits) = match digits.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, digits),
        };
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        let mut number = 0_i64;
        for digit in &digits[..length] {
            number = number.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        }
        Some((if negative { -number } else { number }, &digits[length..]))
    }
}

//! The masking that clients apply to every payload.

/// Bytes that are unmasked at once.
const WORD: usize = size_of::<u64>();

/// Removes (or applies) the mask, in place, eight bytes at a time.
///
/// `key` is the mask of the first byte of `payload`. Returns the key to go on with, for a payload
/// that arrives in pieces.
pub(crate) fn unmask(payload: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<WORD>();

    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(key.iter().cycle()) {
        *byte ^= mask;
    }

    let mut next = key;
    next.rotate_left(tail.len() % key.len());
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_size_unmask_to_the_same_bytes() {
        let plain: Vec<u8> = (0..=40).collect();
        let key = [0x11, 0x22, 0x44, 0x88];
        let masked: Vec<u8> =
            plain.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();

        for split in 0..=plain.len() {
            let mut bytes = masked.clone();
            let (head, tail) = bytes.split_at_mut(split);

            let next = unmask(head, key);
            unmask(tail, next);

            assert_eq!(bytes, plain, "split at {split}");
        }
    }
}

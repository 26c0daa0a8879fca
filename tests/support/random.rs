//! Choices that look random and can be repeated.

/// Numbers from a seed, by Xorshift64: no dependency, and good enough to pick a branch.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed, which is not zero: that would give nothing but zeros.
    pub const fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

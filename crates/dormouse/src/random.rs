//! Random numbers for handlers, which tests can repeat.

/// Where random numbers come from.
#[derive(Debug)]
pub struct Random(Source);

#[derive(Debug)]
enum Source {
    System,
    Seeded(u64),
}

impl Random {
    /// The operating system's generator: fit for secrets.
    pub const fn system() -> Random {
        Random(Source::System)
    }

    /// The same numbers for the same seed, for tests.
    pub const fn seeded(seed: u64) -> Random {
        Random(Source::Seeded(seed))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        match &mut self.0 {
            Source::System => getrandom::fill(&mut bytes)
                .expect("Linux's getrandom does not fail once the system has started"),
            Source::Seeded(state) => {
                for chunk in bytes.chunks_mut(8) {
                    chunk.copy_from_slice(&split_mix(state).to_le_bytes()[..chunk.len()]);
                }
            }
        }
        bytes
    }
}

/// One step of SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough for tests.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_and_the_system_does_not() {
        assert_eq!(Random::seeded(7).bytes::<20>(), Random::seeded(7).bytes::<20>());
        assert_ne!(Random::seeded(7).bytes::<20>(), Random::seeded(8).bytes::<20>());
        assert_ne!(Random::system().bytes::<16>(), Random::system().bytes::<16>());
    }
}

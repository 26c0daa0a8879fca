//! How often something may happen: token buckets that are one number each.
//!
//! A bucket needs no timer and no table of recent times. It keeps until when what was taken is paid
//! for, and time pays for it by passing.

use std::num::NonZeroU64;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// How much may be taken per second, and how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU64,
    burst: u64,
}

impl Rate {
    /// So much per second, and as much at once after a second without any.
    pub const fn per_second(per_second: NonZeroU64) -> Rate {
        Rate { per_second, burst: per_second.get() }
    }

    /// The same rate with at least this much at once.
    #[must_use]
    pub fn with_burst_of(self, burst: u64) -> Rate {
        Rate { burst: self.burst.max(burst), ..self }
    }

    /// The time that pays for so much. Rounded down to nanoseconds, which is exact enough for any
    /// rate that a machine can reach.
    fn price_ns(self, amount: u64) -> u64 {
        let price =
            u128::from(amount) * u128::from(NS_PER_SECOND) / u128::from(self.per_second.get());
        u64::try_from(price).unwrap_or(u64::MAX)
    }
}

/// What one client, or all together, may still take of a [`Rate`]. A new one is full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    paid_until_ns: u64,
}

impl Bucket {
    /// Takes `amount` if there is so much. `now_ns` counts from any moment that stays the same.
    ///
    /// `false`: it is too much, and nothing was taken.
    pub fn take(&mut self, amount: u64, rate: Rate, now_ns: u64) -> bool {
        let paid_until = self.after(amount, rate, now_ns);
        let has_enough = paid_until - now_ns <= rate.price_ns(rate.burst);
        if has_enough {
            self.paid_until_ns = paid_until;
        }
        has_enough
    }

    /// Whether [`take`](Self::take) would succeed.
    pub fn has(self, amount: u64, rate: Rate, now_ns: u64) -> bool {
        let mut copy = self;
        copy.take(amount, rate, now_ns)
    }

    fn after(self, amount: u64, rate: Rate, now_ns: u64) -> u64 {
        self.paid_until_ns.max(now_ns).saturating_add(rate.price_ns(amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u64) -> Rate {
        Rate::per_second(NonZeroU64::new(per_second).unwrap())
    }

    /// How many of one each can be taken at this moment.
    fn drain(bucket: &mut Bucket, rate: Rate, now_ns: u64) -> u64 {
        (0..).take_while(|_| bucket.take(1, rate, now_ns)).count() as u64
    }

    #[test]
    fn a_full_bucket_gives_a_second_at_once_and_fills_with_time() {
        let mut bucket = Bucket::default();
        let rate = rate(50);

        assert_eq!(drain(&mut bucket, rate, 7), 50);
        assert_eq!(drain(&mut bucket, rate, 7 + NS_PER_SECOND / 10), 5);
        assert_eq!(drain(&mut bucket, rate, 7 + NS_PER_SECOND / 10), 0);
        assert_eq!(drain(&mut bucket, rate, 100 * NS_PER_SECOND), 50, "never more than a second's");
    }

    #[test]
    fn at_the_rate_it_never_runs_dry_and_above_it_does() {
        let rate = rate(1_000);
        let step_ns = NS_PER_SECOND / 1_000;
        let (mut at, mut above) = (Bucket::default(), Bucket::default());

        assert!((0..100_000).all(|n| at.take(1, rate, n * step_ns)));
        let taken = (0..100_000).filter(|n| above.take(1, rate, n * step_ns / 2)).count();
        assert!((51_000 - 1..=51_000 + 1).contains(&taken), "50 s of it and the burst: {taken}");
    }

    #[test]
    fn what_is_too_much_takes_nothing() {
        let mut bucket = Bucket::default();
        let rate = rate(10).with_burst_of(25);

        assert!(!bucket.take(26, rate, 0));
        assert!(bucket.has(25, rate, 0));
        assert!(bucket.take(25, rate, 0));
        assert!(!bucket.has(1, rate, 0));
        assert!(!bucket.take(u64::MAX, rate, 0));
    }
}

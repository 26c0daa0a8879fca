//! Time, as everything in Dormouse reads it.
//!
//! This is the one file that may ask the operating system what time it is: whatever takes a
//! [`Clock`] can be tested without waiting.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in milliseconds since 1970 in UTC.
///
/// Written as RFC 3339 with milliseconds: `2025-01-15T12:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// From the first millisecond of the year 0 to the evening before the last day of the year 9999.
/// Outside of these years RFC 3339 has no spelling, and jiff stops where no time zone leaves them.
const RANGE_MS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_207_200_000;

/// Text that is not a time in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is written like 2025-01-15T12:00:00.000Z")]
pub struct TimestampError;

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// Makes a timestamp from milliseconds since 1970, clamped to the years 0 to 9999.
    pub const fn from_ms(ms: i64) -> Timestamp {
        if ms < *RANGE_MS.start() {
            Timestamp(*RANGE_MS.start())
        } else if ms > *RANGE_MS.end() {
            Timestamp(*RANGE_MS.end())
        } else {
            Timestamp(ms)
        }
    }

    /// Milliseconds since 1970.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// This time as `2025-01-15T12:00:00.000Z`.
    pub fn rfc3339(self) -> String {
        let time = jiff::Timestamp::from_millisecond(self.0)
            .expect("the years 0 to 9999 are within what jiff can hold");
        format!("{time:.3}")
    }

    /// Reads RFC 3339 with any offset; digits past the millisecond are dropped.
    ///
    /// # Errors
    ///
    /// [`TimestampError`] for anything else, and for years outside of 0 to 9999.
    pub fn parse(text: &str) -> Result<Timestamp, TimestampError> {
        let time: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        let ms = time.as_millisecond();
        if RANGE_MS.contains(&ms) { Ok(Timestamp(ms)) } else { Err(TimestampError) }
    }

    /// The time `duration` later, or `None` past the year 9999.
    pub fn checked_add(self, duration: Duration) -> Option<Timestamp> {
        let later = self.0.checked_add(i64::try_from(duration.as_millis()).ok()?)?;
        RANGE_MS.contains(&later).then_some(Timestamp(later))
    }

    /// The time `duration` later; the same time, if that would be past the year 9999.
    pub fn saturating_add(self, duration: Duration) -> Timestamp {
        self.checked_add(duration).unwrap_or(self)
    }

    /// How much later this is than `earlier`; zero if it is not later.
    pub fn saturating_since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Timestamp")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 with milliseconds, in UTC, such as `2025-01-15T12:00:00.000Z`.",
        })
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        Timestamp::parse(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Timestamp::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day. May step backwards when someone sets the machine's clock.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment in the past. Never steps backwards; for measuring and timeouts.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose [`monotonic`](Clock::monotonic) time starts now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn new() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        // A clock set before 1970 reads as 1970: nothing here orders by the time of day.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that stands still until a test moves it.
///
/// Starts at 2025-01-15T12:00:00.000Z.
#[derive(Debug)]
pub struct TestClock {
    time: Mutex<TestTime>,
}

#[derive(Debug)]
struct TestTime {
    now: Timestamp,
    monotonic: Duration,
}

impl TestClock {
    /// A clock that stands at 2025-01-15T12:00:00.000Z.
    pub fn new() -> TestClock {
        let now = Timestamp(1_736_942_400_000);
        TestClock { time: Mutex::new(TestTime { now, monotonic: Duration::ZERO }) }
    }

    /// Moves both times forward.
    ///
    /// # Panics
    ///
    /// If the time of day would pass the year 9999.
    pub fn advance(&self, duration: Duration) {
        let mut time = self.time.lock();
        time.now = time.now.checked_add(duration).expect("tests stay before the year 10000");
        time.monotonic += duration;
    }

    /// Sets the time of day, backwards too. Monotonic time does not change.
    pub fn set(&self, now: Timestamp) {
        self.time.lock().now = now;
    }
}

impl Default for TestClock {
    fn default() -> TestClock {
        TestClock::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.time.lock().now
    }

    fn monotonic(&self) -> Duration {
        self.time.lock().monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_milliseconds_and_read_back() {
        let time = Timestamp::from_ms(1_736_942_400_000);

        assert_eq!(time.rfc3339(), "2025-01-15T12:00:00.000Z");
        assert_eq!(Timestamp::parse("2025-01-15T12:00:00.000Z"), Ok(time));
        assert_eq!(Timestamp::parse("2025-01-15T13:00:00+01:00"), Ok(time));
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2025-01-15T12:00:00.000Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>("\"2025-01-15T12:00:00Z\"").unwrap(), time);
    }

    #[test]
    fn text_that_is_not_a_time_is_an_error() {
        for text in ["", "yesterday", "2025-01-15", "-000001-01-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(text), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn adding_past_the_last_year_is_refused() {
        assert_eq!(Timestamp::from_ms(i64::MAX).checked_add(Duration::from_millis(1)), None);
        assert_eq!(Timestamp::from_ms(i64::MAX).rfc3339(), "9999-12-30T22:00:00.000Z");
    }

    #[test]
    fn a_test_clock_moves_only_by_hand() {
        let clock = TestClock::new();
        let before = clock.now();

        clock.advance(Duration::from_secs(10));

        assert_eq!(clock.now().saturating_since(before), Duration::from_secs(10));
        assert_eq!(clock.monotonic(), Duration::from_secs(10));
    }
}

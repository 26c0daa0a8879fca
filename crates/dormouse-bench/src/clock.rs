//! The one place that reads the machine's clock.
//!
//! The rest of Dormouse takes its time from a clock that tests can move. A load tool measures real
//! time and nothing else, so it asks the machine.

use std::time::Instant;

/// Reads the monotonic clock: about 25 ns on Linux, no system call.
#[expect(clippy::disallowed_methods, reason = "a load tool measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

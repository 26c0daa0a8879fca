//! How long anything here may take.

use std::future::Future;
use std::time::Duration;

/// Longest wait for one frame, one answer, one condition. Generous: it is reached only by a
/// failure, and the machine may be busy with a build.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// Longest life of one server process. It bounds every loop of a test that talks to one.
pub const LIFE_MAX: Duration = Duration::from_secs(240);

/// Waits for `work`, at most [`WAIT_MAX`].
///
/// # Panics
///
/// When the time is over; the message names `what`.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_MAX, work).await {
        Ok(value) => value,
        Err(_) => panic!("waited {WAIT_MAX:?} in vain for {what}"),
    }
}

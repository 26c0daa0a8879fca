//! What is measured: one module per scenario, each usable alone and as a row of [`all`].

pub(crate) mod all;
pub(crate) mod attack;
pub(crate) mod calls;
pub(crate) mod ceiling;
pub(crate) mod channel;
pub(crate) mod create;
pub(crate) mod fan_out;
pub(crate) mod hibernate;
pub(crate) mod idle;
mod opening;
pub(crate) mod tabs;
pub(crate) mod wake;

use std::cell::Cell;
use std::num::ParseFloatError;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use crate::http::HttpConnection;
use crate::server::Target;

/// How long a scenario loads a server.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Window {
    /// Seconds of load before anything is measured.
    #[arg(long = "warm-up-seconds", default_value = "1", value_parser = parse_seconds)]
    pub(crate) warm_up: Duration,
    /// Seconds of load that are measured.
    #[arg(long = "seconds", default_value = "3", value_parser = parse_seconds)]
    pub(crate) measured: Duration,
}

/// Longest duration that the command line takes: a slip of the keyboard ends within the hour.
const SECONDS_MAX: f64 = 3_600.0;

/// Reads a duration given in seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|err: ParseFloatError| err.to_string())?;
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(format!("not within 0 and {SECONDS_MAX}"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Opens `count` connections for calls.
async fn open_connections(target: Target, count: usize) -> Result<Vec<HttpConnection>> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(HttpConnection::open(target.address).await?);
    }
    Ok(connections)
}

/// Waits for all tasks and returns their results, in the order in which they ended.
///
/// # Errors
///
/// The first error of any task. The others are cancelled when `tasks` is dropped.
async fn join_all<T: 'static>(tasks: &mut JoinSet<Result<T>>) -> Result<Vec<T>> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(joined) = tasks.join_next().await {
        results.push(joined.context("a task of the load tool panicked")??);
    }
    Ok(results)
}

/// Hands out the numbers from 0 up to a bound, each once, to the tasks of one thread.
#[derive(Debug)]
struct Counted {
    next: Cell<usize>,
    end: usize,
}

impl Counted {
    fn up_to(end: usize) -> Counted {
        Counted { next: Cell::new(0), end }
    }

    fn take(&self) -> Option<usize> {
        let next = self.next.get();
        (next < self.end).then(|| {
            self.next.set(next + 1);
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_bounded_and_may_be_fractions() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for refused in ["-1", "3601", "NaN", "inf", "soon", ""] {
            assert!(parse_seconds(refused).is_err(), "{refused}");
        }
    }
}

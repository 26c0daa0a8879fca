//! Wake: a call to an object that hibernates, one at a time.
//!
//! The server's metric of resident objects tells that all of them sleep, so the server should run
//! with a short `--idle-timeout`. Other servers have no such metric and are not measured.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::clock;
use crate::counter;
use crate::http::{self, HttpConnection};
use crate::latency::{Latencies, LatencySummary};
use crate::scenarios::{Counted, join_all};
use crate::server::Target;

/// The server's gauge of objects in memory.
const RESIDENT_METRIC: &str = "dormouse_objects_resident";

/// All objects must be asleep within this time after their last call.
const ASLEEP_MAX: Duration = Duration::from_secs(120);

/// Time between two looks at the metric.
const ASLEEP_POLL: Duration = Duration::from_millis(50);

/// Connections that create the objects which only lie on disk.
const CREATORS: usize = 64;

/// Settings of the scenario.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Wake {
    /// Objects that are woken, one after the other.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) objects: u32,
    /// Times that all of them fall asleep and are woken.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Objects that lie on disk beside them.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) beside: u32,
    /// Wake by a query, which writes nothing, instead of a mutation.
    #[arg(long)]
    pub(crate) by_query: bool,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct WakeOutcome {
    pub(crate) by_query: bool,
    pub(crate) beside: u32,
    /// Of the call that woke the object, to its answer.
    pub(crate) wake: LatencySummary,
    /// Of the same call to the same object right afterwards.
    pub(crate) awake: LatencySummary,
}

/// Runs the scenario; must be called inside a `LocalSet`.
///
/// # Errors
///
/// A call failed, the metric is missing, or objects did not fall asleep within 120 s.
pub(crate) async fn run(settings: Wake, target: Target) -> Result<WakeOutcome> {
    create("bench-wake-beside", settings.beside, target).await?;
    create("bench-wake", settings.objects, target).await?;
    let mut outcome = (Latencies::new(), Latencies::new());
    for _ in 0..settings.rounds {
        until_all_sleep(target).await?;
        // Opened only now: servers close connections that are idle for seconds.
        let mut connection = HttpConnection::open(target.address).await?;
        for number in 0..settings.objects {
            let name = object_name("bench-wake", number as usize);
            let request = match settings.by_query {
                true => counter::get_value_request(target.address, &name),
                false => counter::increment_request(target.address, &name, 1),
            };
            for latencies in [&mut outcome.0, &mut outcome.1] {
                let sent_at = clock::now();
                connection.exchange(&request).await?.success()?;
                latencies.record(sent_at.elapsed());
            }
        }
    }
    let (wake, awake) = outcome;
    Ok(WakeOutcome {
        by_query: settings.by_query,
        beside: settings.beside,
        wake: wake.summary(),
        awake: awake.summary(),
    })
}

/// Makes sure that `count` objects exist.
async fn create(prefix: &'static str, count: u32, target: Target) -> Result<()> {
    let numbers = Rc::new(Counted::up_to(count as usize));
    let mut creators = JoinSet::new();
    for _ in 0..CREATORS.min(count as usize) {
        let numbers = Rc::clone(&numbers);
        creators.spawn_local(async move {
            let mut connection = HttpConnection::open(target.address).await?;
            while let Some(number) = numbers.take() {
                let name = object_name(prefix, number);
                let request = counter::increment_request(target.address, &name, 1);
                connection.exchange(&request).await?.success()?;
            }
            anyhow::Ok(())
        });
    }
    join_all(&mut creators).await.map(drop)
}

async fn until_all_sleep(target: Target) -> Result<()> {
    let started = clock::now();
    let mut connection = HttpConnection::open(target.address).await?;
    let request = http::get_request(target.address, "/metrics");
    loop {
        let answer = connection.exchange(&request).await?;
        let metrics = std::str::from_utf8(answer.success()?).context("/metrics is not UTF-8")?;
        let resident = metric_sum(metrics, RESIDENT_METRIC)
            .with_context(|| format!("no {RESIDENT_METRIC} in /metrics"))?;
        if resident == 0.0 {
            return Ok(());
        }
        ensure!(started.elapsed() < ASLEEP_MAX, "{resident} objects still awake after 120 s");
        tokio::time::sleep(ASLEEP_POLL).await;
    }
}

/// Sums a metric over its labels; `None` if it is not there.
fn metric_sum(metrics: &str, name: &str) -> Option<f64> {
    metrics
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            // Otherwise it is another metric whose name begins with this one.
            if !rest.starts_with([' ', '{']) {
                return None;
            }
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        })
        .reduce(|sum, value| sum + value)
}

fn object_name(prefix: &str, number: usize) -> String {
    format!("{prefix}-{number}")
}

impl fmt::Display for WakeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "woken by a {}, {} objects beside: {}; awake: {}",
            if self.by_query { "query" } else { "mutation" },
            self.beside,
            self.wake,
            self.awake
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_confused_with_its_neighbours() {
        let metrics =
            "# HELP a x\n# TYPE a gauge\na{kind=\"note\"} 2\na{kind=\"c d\"} 3\na_max 9\n";

        assert_eq!(metric_sum(metrics, "a"), Some(5.0));
        assert_eq!(metric_sum(metrics, "a_max"), Some(9.0));
        assert_eq!(metric_sum(metrics, "b"), None);
    }
}

//! Wake: a call to an object that hibernates, one at a time.
//!
//! The server's metric of resident objects tells that all of them sleep, so the server should run
//! with a short `--idle-timeout`. Other servers have no such metric and are not measured.

use std::fmt;
use std::rc::Rc;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::clock;
use crate::counter;
use crate::http::HttpConnection;
use crate::latency::{Latencies, LatencySummary};
use crate::metrics;
use crate::scenarios::{Counted, join_all};
use crate::server::Target;

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
        metrics::until_all_sleep(target).await?;
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

//! Create: the first mutation of objects that did not exist, one at a time, and what they cost in the
//! server's memory while they are awake.

use std::fmt;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::clock;
use crate::counter;
use crate::http::HttpConnection;
use crate::latency::{Latencies, LatencySummary};
use crate::process;
use crate::server::Target;

/// Part of the objects that are created before memory is first read: what a server allocates once is
/// not the price of an object.
const SHARE_BEFORE: u32 = 10;

/// Settings of the scenario.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Create {
    /// Objects that are created.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) objects: u32,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct CreateOutcome {
    /// Of the call that created the object, to its answer.
    pub(crate) create: LatencySummary,
    /// Resident bytes of the server that came with all but the first tenth, per object. `None` if the
    /// server's process is not known.
    pub(crate) bytes_per_object: Option<f64>,
}

/// Runs the scenario.
///
/// # Errors
///
/// A call failed, or an object existed before: against a server that keeps its data, the names of
/// this process may have been used by an earlier one.
pub(crate) async fn run(settings: Create, target: Target) -> Result<CreateOutcome> {
    let mut connection = HttpConnection::open(target.address).await?;
    let mut latencies = Latencies::new();
    let pid = std::process::id();
    let first = settings.objects / SHARE_BEFORE;
    let resident = || target.pid.map(process::resident_bytes).transpose();
    let mut resident_before = None;
    for number in 0..settings.objects {
        if number == first {
            resident_before = resident()?;
        }
        let name = format!("bench-create-{pid}-{number}");
        let request = counter::increment_request(target.address, &name, 1);
        let sent_at = clock::now();
        let answer = connection.exchange(&request).await?;
        latencies.record(sent_at.elapsed());
        let value = counter::answered_value(answer.success()?)?;
        ensure!(value == 1, "{name} was at {} already", value - 1);
    }
    let bytes_per_object = resident_before.zip(resident()?).map(|(before, after)| {
        (after as f64 - before as f64) / f64::from(settings.objects - first)
    });
    Ok(CreateOutcome { create: latencies.summary(), bytes_per_object })
}

impl fmt::Display for CreateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} objects created; {}", self.create.count, self.create)?;
        match self.bytes_per_object {
            Some(bytes) => write!(f, "; {bytes:.0} bytes resident per awake object"),
            None => Ok(()),
        }
    }
}

//! CPU that client and server used during a measurement: the proof of who was the bottleneck.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::clock;
use crate::process;
use crate::server::Target;

/// A running measurement of CPU time.
#[derive(Debug)]
pub(crate) struct Meter {
    server_pid: Option<u32>,
    started: Instant,
    client_before: Duration,
    server_before: Option<Duration>,
    machine_before: Duration,
}

/// Cores used on average: 1.0 is one core all the time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    pub(crate) client_cores: f64,
    /// `None` if the server's process is not known.
    pub(crate) server_cores: Option<f64>,
    /// Used by everything else on the machine: above a few hundredths, the measurement was disturbed.
    /// `None` if the server's process is not known.
    pub(crate) other_cores: Option<f64>,
}

impl Meter {
    pub(crate) fn start(target: Target) -> Result<Meter> {
        Ok(Meter {
            server_pid: target.pid,
            client_before: process::cpu_time(std::process::id())?,
            server_before: target.pid.map(process::cpu_time).transpose()?,
            machine_before: process::machine_cpu_time()?,
            started: clock::now(),
        })
    }

    pub(crate) fn stop(self) -> Result<Usage> {
        let seconds = self.started.elapsed().as_secs_f64();
        let cores = |before: Duration, after: Duration| (after - before).as_secs_f64() / seconds;
        let client_after = process::cpu_time(std::process::id())?;
        let server_after = self.server_pid.map(process::cpu_time).transpose()?;
        let machine_cores = cores(self.machine_before, process::machine_cpu_time()?);
        let client_cores = cores(self.client_before, client_after);
        let server_cores =
            self.server_before.zip(server_after).map(|(before, after)| cores(before, after));
        Ok(Usage {
            seconds,
            client_cores,
            server_cores,
            // Clocks that tick at 100 Hz do not add up exactly.
            other_cores: server_cores
                .map(|server_cores| (machine_cores - client_cores - server_cores).max(0.0)),
        })
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s, cores used: client {:.2}", self.seconds, self.client_cores)?;
        match self.server_cores.zip(self.other_cores) {
            Some((server, other)) => write!(f, ", server {server:.2}, others {other:.2}"),
            None => Ok(()),
        }
    }
}

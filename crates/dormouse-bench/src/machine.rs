//! What a reader needs to know about the machine before believing a table.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::disk;
use crate::latency::LatencySummary;
use crate::process;

/// The machine and how busy it is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    /// Over the last minute: what ran beside, since this is read before any load.
    load_average: f64,
    /// Of 4 KiB and its sync, in the folder that holds the servers' data.
    fdatasync: LatencySummary,
}

impl Machine {
    /// Looks at the machine and measures its disk in `data_root`.
    pub(crate) fn inspect(data_root: &Path, cores: usize) -> Result<Machine> {
        let processors = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown processor", |(_, name)| name);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("read osrelease")?;
        fs::create_dir_all(data_root).with_context(|| format!("create {}", data_root.display()))?;
        let scratch = tempfile::TempDir::with_prefix_in("bench-", data_root)?;
        Ok(Machine {
            processor: processor.to_owned(),
            cores,
            kernel: kernel.trim().to_owned(),
            load_average: process::load_average()?,
            fdatasync: disk::measure_fdatasync(scratch.path())?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} cores, Linux {}; load average {:.2}; fdatasync of 4 KiB: p50 {:.0} µs, p99 {:.0} µs",
            self.processor,
            self.cores,
            self.kernel,
            self.load_average,
            self.fdatasync.p50_us,
            self.fdatasync.p99_us
        )
    }
}

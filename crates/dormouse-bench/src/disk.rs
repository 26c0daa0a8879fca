//! How long this machine's disk takes to make 4 KiB durable: the floor under every durable number.

use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::clock;
use crate::latency::{Latencies, LatencySummary};

/// Times that the write and its sync are repeated.
const SYNCS: usize = 200;

/// Bytes of one write: a database page.
const WRITE_BYTES: usize = 4 << 10;

/// Measures write + `fdatasync` of 4 KiB, 200 times, in a file of its own in `folder`.
///
/// The file is written full once before, so that no sync pays for allocating blocks: this is the
/// price of a log that was preallocated.
pub(crate) fn measure_fdatasync(folder: &Path) -> Result<LatencySummary> {
    let path = folder.join("fdatasync");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("create {}", path.display()))?;
    let page = vec![0xA5_u8; WRITE_BYTES];
    for _ in 0..SYNCS {
        file.write_all(&page)?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;

    let mut latencies = Latencies::new();
    for _ in 0..SYNCS {
        let started = clock::now();
        file.write_all(&page)?;
        file.sync_data()?;
        latencies.record(clock::now() - started);
    }
    Ok(latencies.summary())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sync_is_measured() {
        let folder = tempfile::tempdir().unwrap();

        let summary = measure_fdatasync(folder.path()).unwrap();

        assert_eq!(summary.count, 200);
    }
}

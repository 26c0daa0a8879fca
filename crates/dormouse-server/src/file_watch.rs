//! When files are to be read again: after they changed, and on SIGHUP.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{self, Instant, Interval, MissedTickBehavior};

/// How often it is looked whether a file has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Watches files by looking at them now and then: that also sees what container platforms do, which
/// exchange a link to a folder.
#[derive(Debug)]
pub(crate) struct FileWatch {
    files: Vec<PathBuf>,
    hang_up: Signal,
    look: Interval,
    seen: Vec<Stamp>,
}

/// What tells one content of a file from another without reading it.
type Stamp = Option<(SystemTime, u64)>;

impl FileWatch {
    /// Takes SIGHUP over from the operating system's default, which would end the process.
    ///
    /// # Errors
    ///
    /// The handler cannot be installed.
    pub(crate) fn install(files: Vec<PathBuf>) -> io::Result<FileWatch> {
        let seen = stamps(&files);
        let mut look = time::interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(FileWatch { files, hang_up: signal(SignalKind::hangup())?, look, seen })
    }

    /// Waits until the files should be read again.
    ///
    /// Where several files belong together and only one was exchanged yet, it comes once for each.
    ///
    /// # Cancel safety
    ///
    /// A SIGHUP that came is not lost: nothing is awaited after it.
    pub(crate) async fn changed(&mut self) {
        loop {
            let is_asked = tokio::select! {
                asked = self.hang_up.recv() => asked.is_some(),
                _ = self.look.tick() => false,
            };
            let now = stamps(&self.files);
            if is_asked || now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

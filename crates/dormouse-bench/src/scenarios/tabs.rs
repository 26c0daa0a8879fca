//! Tabs: from a click in one tab of a real browser to the change in another.
//!
//! The browser is driven by `tabs/tabs.mjs`; this module starts it and reads its one line of JSON. The
//! page is the server's own at `/`; Bun serves the plain `tabs/page.html` there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::timeout;

use crate::process;
use crate::server::Target;

/// The whole script, with the start of the browser, ends within this time.
const SCRIPT_MAX: Duration = Duration::from_secs(120);

/// Settings of the scenario.
#[derive(Clone, Debug, Args)]
pub(crate) struct Tabs {
    /// Clicks that are measured.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) clicks: u32,
    /// The browser.
    #[arg(long, default_value = "/usr/bin/chromium")]
    pub(crate) chromium: PathBuf,
}

/// What was measured, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct TabsOutcome {
    pub(crate) clicks: u32,
    /// From the click to the changed document in the other tab.
    pub(crate) changed_p50_ms: f64,
    pub(crate) changed_p99_ms: f64,
    /// From the click to the first frame of the other tab after the change.
    pub(crate) painted_p50_ms: f64,
    pub(crate) painted_p99_ms: f64,
}

/// Runs the scenario.
///
/// # Errors
///
/// Node.js or the browser is missing, or the script failed; the error carries its last words.
pub(crate) async fn run(settings: &Tabs, target: Target) -> Result<TabsOutcome> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tabs");
    let mut command = Command::new("node");
    command
        .arg(folder.join("tabs.mjs"))
        .arg(format!("http://{}/", target.address))
        .arg(settings.clicks.to_string())
        .arg(&settings.chromium);
    command.stdin(Stdio::null()).kill_on_drop(true);
    process::end_with_this_thread(&mut command);
    let output = timeout(SCRIPT_MAX, command.output())
        .await
        .context("the browser did not finish within 120 s")?
        .context("start node")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let last_words = errors.trim().lines().last().unwrap_or("no reason given");
    ensure!(output.status.success(), "tabs.mjs: {last_words}");
    serde_json::from_slice(&output.stdout).context("read the output of tabs.mjs")
}

impl fmt::Display for TabsOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} clicks: changed in the other tab p50 {:.1} ms, p99 {:.1} ms; \
             painted there p50 {:.1} ms, p99 {:.1} ms",
            self.clicks,
            self.changed_p50_ms,
            self.changed_p99_ms,
            self.painted_p50_ms,
            self.painted_p99_ms
        )
    }
}

//! Attacks: what badly behaved clients cost the others.
//!
//! Well-behaved sockets of one object get an event at a steady pace, first alone and then beside
//! attackers. Attackers run on a thread of the lowest priority on this tool's core, so that what is
//! measured is the server's part: the others' latency, its memory, and whether it still serves.

mod attackers;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::clock;
use crate::latency::LatencySummary;
use crate::process;
use crate::report;
use crate::scenarios::fan_out::{Pace, Room, open_listeners};
use crate::scenarios::{Window, open_connections};
use crate::server::Target;

pub(crate) use self::attackers::Attacker;
use self::attackers::Attackers;

/// The object that the well-behaved sockets listen to.
const NAME: &str = "bench-attack-on-what-others-listen-to";

/// Time between two events of the steady pace.
const EVENT_EVERY: Duration = Duration::from_millis(20);

/// Events in flight while buffers of stalled readers are filled.
const FILLING_CALLERS: u16 = 8;

/// How long they are filled: the kernel alone keeps 2.6 MB for each.
const FILLING: Duration = Duration::from_secs(12);

/// Time in which an attack develops before anything is measured, and ends before the next.
const DEVELOPING: Duration = Duration::from_secs(2);

/// Settings of the scenario.
#[derive(Clone, Debug, Args)]
pub(crate) struct Attack {
    /// Attacks, one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = Attacker::ALL)]
    pub(crate) attackers: Vec<Attacker>,
    /// Well-behaved sockets on the one object.
    #[arg(long, default_value_t = 900)]
    pub(crate) sockets: usize,
    #[command(flatten)]
    pub(crate) window: Window,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AttackOutcome {
    sockets: usize,
    attacks: Vec<AttackRow>,
}

/// One attack.
#[derive(Clone, Copy, Debug, Serialize)]
struct AttackRow {
    attacker: Attacker,
    /// Latency of the others before and during the attack.
    before: LatencySummary,
    during: LatencySummary,
    resident_before: u64,
    resident_during: u64,
    /// Bytes that attackers sent.
    sent_bytes: u64,
    /// Connections of attackers that the server closed or refused.
    closed: u64,
}

/// Runs the scenario; must be called inside a `LocalSet`.
///
/// # Errors
///
/// A well-behaved socket failed or missed an event, or the server's process is not known.
pub(crate) async fn run(settings: &Attack, target: Target) -> Result<AttackOutcome> {
    let pid = target.pid.context("the server's process id is needed to read its memory")?;
    let room = Rc::new(Room::new(settings.sockets, usize::from(FILLING_CALLERS)));
    let mut listeners = JoinSet::new();
    open_listeners(&room, target, NAME, &mut listeners).await?;

    let mut attacks = Vec::new();
    for &attacker in &settings.attackers {
        let row = tokio::select! {
            row = attack(&room, attacker, settings.window, target, pid) => row?,
            Some(ended) = listeners.join_next() => {
                return Err(ended.context("a listener panicked")?.context("a socket failed"));
            }
        };
        report::progress(&row.to_string());
        attacks.push(row);
    }
    Ok(AttackOutcome { sockets: settings.sockets, attacks })
}

async fn attack(
    room: &Rc<Room>,
    attacker: Attacker,
    window: Window,
    target: Target,
    pid: u32,
) -> Result<AttackRow> {
    steadily(room, target, window.warm_up).await?;
    let before = steadily(room, target, window.measured).await?;
    let resident_before = process::resident_bytes(pid)?;

    let attackers = Attackers::start(attacker, target.address, NAME)?;
    if attacker == Attacker::StalledReaders {
        attackers.until_open().await;
        let connections = open_connections(target, usize::from(FILLING_CALLERS)).await?;
        room.phase(connections, target, NAME, Pace::at_full_speed(FILLING)).await?;
        room.take_summary()?;
    }
    steadily(room, target, DEVELOPING).await?;
    let during = steadily(room, target, window.measured).await?;
    let resident_during = process::resident_bytes(pid)?;
    let (sent_bytes, closed) = attackers.stop().await?;
    steadily(room, target, DEVELOPING).await?;

    Ok(AttackRow { attacker, before, during, resident_before, resident_during, sent_bytes, closed })
}

/// Sends events at the steady pace and gives the latency of their deliveries.
async fn steadily(room: &Rc<Room>, target: Target, duration: Duration) -> Result<LatencySummary> {
    // Opened only now: servers close connections that are idle for seconds.
    let connections = open_connections(target, 1).await?;
    let started = clock::now();
    room.phase(connections, target, NAME, Pace { duration, every: EVENT_EVERY }).await?;
    let summary = room.take_summary()?;
    ensure!(started.elapsed() < duration + 10 * DEVELOPING, "events took far too long");
    Ok(summary)
}

impl fmt::Display for AttackOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} well-behaved sockets, an event every {EVENT_EVERY:?}", self.sockets)?;
        writeln!(
            f,
            "| attack | p50 before, ms | during | p99 before, ms | during | ratio | \
             resident before, MB | during | sent, MB | closed |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")?;
        for row in &self.attacks {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}

impl fmt::Display for AttackRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AttackRow { attacker, before, during, .. } = self;
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "| {attacker} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} × | {:.0} | {:.0} | {:.0} | {} |",
            before.p50_us / 1e3,
            during.p50_us / 1e3,
            before.p99_us / 1e3,
            during.p99_us / 1e3,
            during.p99_us / before.p99_us,
            megabytes(self.resident_before),
            megabytes(self.resident_during),
            megabytes(self.sent_bytes),
            self.closed
        )
    }
}

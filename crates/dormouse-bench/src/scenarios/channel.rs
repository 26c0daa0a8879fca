//! Channel: one writer at a steady pace, and how long a message takes to everybody who is in it.
//!
//! The load is open: a message is due by the clock, whatever became of the one before, and its latency
//! counts from when it was due. So a server that falls behind cannot hide it by being asked less often.
//! Servers without channels do the same with the events of a counter of about the same size.

mod room;
mod writer;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::channel;
use crate::counter;
use crate::latency::LatencySummary;
use crate::peers::Peer;
use crate::scenarios::opening::{Open, Opened, open_sockets};
use crate::server::Target;
use crate::spin::Spinner;
use crate::usage::Meter;

use super::fan_out::Effort;

use self::room::{Room, Tally};
use self::writer::{Writer, listen};

/// The channel, and the counter; its length brings events of either to about 300 bytes.
const NAME: &str = "bench-channel-of-many-who-listen-to-one";

/// Time after the last socket was opened in which everybody is told how many came, as is due every 2 s.
const ARRIVING: Duration = Duration::from_secs(3);

/// Load before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// Time after the load in which a doubled message would still be noticed.
const QUIET: Duration = Duration::from_millis(200);

/// Settings of the scenario.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Channel {
    /// Sockets in the one channel, each of another user. The first one writes.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sockets: u32,
    /// Messages per second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) per_second: u32,
    /// Messages that are measured.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) messages: u32,
}

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// A channel, whose writer has a socket.
    Channel,
    /// A counter, whose writer calls.
    Counter,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ChannelOutcome {
    pub(crate) sockets: u32,
    pub(crate) per_second: u32,
    pub(crate) messages: u32,
    pub(crate) event_bytes: usize,
    /// From when a message was due to its arrival at each socket.
    pub(crate) delivery: LatencySummary,
    /// From when a message was due to its arrival at the last socket.
    pub(crate) reached_all: LatencySummary,
    /// Deliveries that happened again, or after a later one.
    pub(crate) doubled: u64,
    /// Share of the time in which the client had work, while a message was under way; `None` if it slept.
    pub(crate) client_busy: Option<f64>,
    #[serde(flatten)]
    pub(crate) effort: Effort,
}

/// Runs the scenario; must be called inside a `LocalSet`.
///
/// # Errors
///
/// A socket failed, a message was refused, or one did not reach every socket.
pub(crate) async fn run(settings: Channel, wire: Wire, target: Target) -> Result<ChannelOutcome> {
    let sockets = settings.sockets as usize;
    let room = Rc::new(Room::new(wire, sockets, Duration::from_secs(1) / settings.per_second));
    let mut listeners = JoinSet::new();
    let writer = open(&room, target, &mut listeners).await?;
    let loaded = load(&room, writer, settings, target);
    let (tally, effort) = tokio::select! {
        loaded = loaded => loaded?,
        Some(ended) = listeners.join_next() => {
            return Err(ended.context("a listener panicked")?.context("a socket failed"));
        }
    };
    Ok(ChannelOutcome {
        sockets: settings.sockets,
        per_second: settings.per_second,
        messages: settings.messages,
        event_bytes: tally.event_bytes,
        delivery: tally.deliveries.summary(),
        reached_all: tally.reached_all.summary(),
        doubled: tally.doubled,
        client_busy: effort.client_busy.and_then(|_| tally.under_way.busy_share()),
        effort,
    })
}

/// Opens all sockets, of which each listens until it fails, and gives the one who writes.
async fn open(
    room: &Rc<Room>,
    target: Target,
    listeners: &mut JoinSet<anyhow::Error>,
) -> Result<Writer> {
    let wire = room.wire;
    let path_of = move |number| match wire {
        Wire::Channel => channel::socket_path(NAME, &format!("bench-user-{number}")),
        Wire::Counter => Ok(counter::socket_path(NAME)),
    };
    let (mut writer, orders) = Writer::new(wire, target, NAME);
    let mut orders = Some(orders);
    let mut value = 0;
    let take = |Opened { number, socket, first_frame }: Opened| {
        if wire == Wire::Counter {
            value = counter::answered_value(&first_frame).unwrap_or_default();
        }
        let orders = if number == 0 { orders.take() } else { None };
        listeners.spawn_local(listen(Rc::clone(room), socket, orders));
    };
    open_sockets(target.address, room.sockets, Open::WithFirstFrame, path_of, take).await?;
    // A counter that was used before goes on from where it was.
    room.begin_after(u64::try_from(value).context("the counter is below zero")?);
    tokio::time::sleep(ARRIVING).await;
    writer.open().await?;
    Ok(writer)
}

/// Warms up and measures.
async fn load(
    room: &Room,
    mut writer: Writer,
    settings: Channel,
    target: Target,
) -> Result<(Tally, Effort)> {
    let warm_up = WARM_UP.as_secs() * u64::from(settings.per_second);
    writer.write(room, warm_up).await?;
    let spinner = target.own_core.then(|| Spinner::start(Rc::clone(&room.work)));
    let meter = Meter::start(target)?;
    writer.write(room, u64::from(settings.messages)).await?;
    let usage = meter.stop()?;
    let effort = Effort { usage, client_busy: spinner.as_ref().map(Spinner::busy_share) };
    drop(spinner);
    tokio::time::sleep(QUIET).await;
    Ok((room.take_tally(), effort))
}

impl Wire {
    /// What a server has.
    pub(crate) fn of(peer: Peer) -> Wire {
        match peer {
            Peer::Dormouse => Wire::Channel,
            Peer::Bun | Peer::BunSqlite | Peer::Ws | Peer::Workerd => Wire::Counter,
        }
    }
}

impl ChannelOutcome {
    /// Refuses a run in which a socket got a message twice.
    pub(crate) fn verify(&self) -> Result<()> {
        ensure!(self.doubled == 0, "{} deliveries doubled", self.doubled);
        Ok(())
    }
}

impl fmt::Display for ChannelOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sockets, {} messages of {} bytes, {} per second; delivery {}; reached all {}; \
             doubled {}; {}",
            self.sockets,
            self.messages,
            self.event_bytes,
            self.per_second,
            self.delivery,
            self.reached_all,
            self.doubled,
            self.effort.usage
        )?;
        match self.client_busy {
            Some(share) => {
                write!(f, ", client busy {:.0} % while a message was under way", share * 100.0)
            }
            None => Ok(()),
        }
    }
}

//! Hibernate: what quiet channels cost in memory while they sleep, and what does not wake them.
//!
//! The same sockets of the same users stay open all the time: before anybody wrote, so that there is no
//! object; with every channel awake; and with every channel asleep. Beside it stands a server with as
//! many sockets of `/echo`, which has no users, no sessions and no channels either.

mod crowd;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::channel;
use crate::metrics;
use crate::peers::Peer;
use crate::process;
use crate::scenarios::opening::{Open, Opened, open_sockets};
use crate::scenarios::parse_seconds;
use crate::server::{Launch, Placement, Target};

use self::crowd::{Act, Crowd};

/// Settings of the scenario.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Hibernate {
    /// Channels, in each of which one message is written.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) channels: u32,
    /// Sockets of each, every one of another user.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub(crate) sockets_each: u32,
    /// Seconds of silence before memory is read.
    #[arg(long = "settle-seconds", default_value = "3", value_parser = parse_seconds)]
    pub(crate) settle: Duration,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct HibernateOutcome {
    pub(crate) channels: u32,
    pub(crate) sockets: u32,
    /// Another process, with sockets of `/echo`.
    pub(crate) echo: Footprint,
    /// The sockets of the channels, before anything was written.
    pub(crate) no_objects: Footprint,
    pub(crate) awake: Footprint,
    pub(crate) asleep: Footprint,
    pub(crate) wakes: Wakes,
}

/// What a server takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Footprint {
    pub(crate) resident_bytes: u64,
    /// Descriptors, sockets among them.
    pub(crate) descriptors: usize,
    pub(crate) objects_resident: f64,
}

/// Objects that were woken while all slept, by what was done in every channel.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Wakes {
    /// A ping of every socket.
    pub(crate) pings: f64,
    /// A typing notice.
    pub(crate) typing: f64,
    /// A status.
    pub(crate) status: f64,
    /// A user who left.
    pub(crate) leaving: f64,
    /// A user who came, and is shown the last messages, which only the channel can read.
    pub(crate) coming: f64,
}

/// Runs the scenario on servers of its own; must be called inside a `LocalSet`.
///
/// # Errors
///
/// A server did not start, a socket failed, a frame did not come, or channels were awake or asleep when
/// they should not have been.
pub(crate) async fn run(settings: Hibernate, launch: &Launch) -> Result<HibernateOutcome> {
    let mut launch = launch.clone();
    launch.programs = channel::serving_channels(&launch.programs);
    // Channels must stay awake until the memory of all of them together has been read.
    let idle_timeout = settings.settle * 2 + Duration::from_secs(2);
    launch.programs.dormouse_args.extend([
        "--echo".to_owned(),
        "--idle-timeout".to_owned(),
        format!("{}ms", idle_timeout.as_millis()),
    ]);

    let server = launch.start(Peer::Dormouse, Placement::OneCoreEach).await?;
    let echo = measure_echo(settings, server.target()).await;
    server.stop().await?;
    let echo = echo?;

    let server = launch.start(Peer::Dormouse, Placement::OneCoreEach).await?;
    let outcome = measure_channels(settings, server.target(), echo).await;
    server.stop().await?;
    outcome
}

/// As many sockets as there will be, without anything behind them.
async fn measure_echo(settings: Hibernate, target: Target) -> Result<Footprint> {
    let mut sockets = Vec::new();
    let count = settings.sockets() as usize;
    let path_of = |_| Ok("/echo".to_owned());
    open_sockets(target.address, count, Open::AtOnce, path_of, |opened| sockets.push(opened))
        .await?;
    tokio::time::sleep(settings.settle).await;
    Footprint::of(target).await
}

async fn measure_channels(
    settings: Hibernate,
    target: Target,
    echo: Footprint,
) -> Result<HibernateOutcome> {
    let crowd = Rc::new(Crowd::new(settings.channels as usize, settings.sockets_each as usize));
    let mut listeners = JoinSet::new();
    let opened = |Opened { number, socket, .. }: Opened| {
        listeners.spawn_local(Rc::clone(&crowd).listen(number, socket));
    };
    let (sockets, path_of) = (settings.sockets() as usize, crowd.path_of());
    open_sockets(target.address, sockets, Open::WithFirstFrame, path_of, opened).await?;

    let measured = measure_sleep(settings, target, &crowd);
    let (no_objects, awake, asleep, wakes) = tokio::select! {
        measured = measured => measured?,
        Some(ended) = listeners.join_next() => {
            return Err(ended.context("a listener panicked")?.context("a socket failed"));
        }
    };
    let (channels, sockets) = (settings.channels, settings.sockets());
    Ok(HibernateOutcome { channels, sockets, echo, no_objects, awake, asleep, wakes })
}

async fn measure_sleep(
    settings: Hibernate,
    target: Target,
    crowd: &Rc<Crowd>,
) -> Result<(Footprint, Footprint, Footprint, Wakes)> {
    metrics::until_all_sleep(target).await?;
    tokio::time::sleep(settings.settle).await;
    let no_objects = Footprint::of(target).await?;

    crowd.perform(Act::Write).await?;
    tokio::time::sleep(settings.settle).await;
    let awake = Footprint::of(target).await?;
    ensure!(
        awake.objects_resident >= f64::from(settings.channels),
        "only {} objects were awake",
        awake.objects_resident
    );

    metrics::until_all_sleep(target).await?;
    tokio::time::sleep(settings.settle).await;
    let asleep = Footprint::of(target).await?;

    // Each count also ends what comes before it: a wake that is late is not lost between two.
    let at_rest = metrics::read(target, metrics::WAKES).await?;
    let pinged = crowd.wakes_after(Act::Ping, target).await?;
    let typed = crowd.wakes_after(Act::Type, target).await?;
    let changed = crowd.wakes_after(Act::ChangeStatus, target).await?;
    let left = crowd.wakes_after(Act::Leave, target).await?;
    crowd.come_back(target).await?;
    let came = metrics::read(target, metrics::WAKES).await?;
    let wakes = Wakes {
        pings: pinged - at_rest,
        typing: typed - pinged,
        status: changed - typed,
        leaving: left - changed,
        coming: came - left,
    };
    Ok((no_objects, awake, asleep, wakes))
}

impl Hibernate {
    fn sockets(self) -> u32 {
        self.channels.saturating_mul(self.sockets_each)
    }
}

impl Footprint {
    async fn of(target: Target) -> Result<Footprint> {
        let pid = target.pid.context("the server's process id is needed to read its memory")?;
        Ok(Footprint {
            resident_bytes: process::resident_bytes(pid)?,
            descriptors: process::open_descriptors(pid)?,
            objects_resident: metrics::read(target, metrics::OBJECTS_RESIDENT).await?,
        })
    }

    /// Resident bytes above those of another process, or of before.
    fn above(self, other: Footprint) -> f64 {
        self.resident_bytes as f64 - other.resident_bytes as f64
    }
}

impl HibernateOutcome {
    /// Which part of the memory of awake channels they keep asleep, above the same sockets without any
    /// object.
    pub(crate) fn kept_share(&self) -> f64 {
        self.asleep.above(self.no_objects) / self.awake.above(self.no_objects)
    }

    /// The same above sockets of `/echo`: what sleeps includes the users and sessions of all sockets.
    pub(crate) fn kept_share_above_echo(&self) -> f64 {
        self.asleep.above(self.echo) / self.awake.above(self.echo)
    }

    /// Refuses a run in which something woke a channel that must not.
    pub(crate) fn verify(&self) -> Result<()> {
        let Wakes { pings, typing, status, leaving, .. } = self.wakes;
        let woken = pings + typing + status + leaving;
        ensure!(woken == 0.0, "{woken} channels were woken by what must wake none");
        Ok(())
    }
}

impl fmt::Display for HibernateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wakes { pings, typing, status, leaving, coming } = self.wakes;
        write!(
            f,
            "{} channels, {} sockets; sockets of /echo: {}; no objects: {}; awake: {}; asleep: {}; \
             asleep keeps {:.1} % of what awake channels take ({:.1} % above /echo); woken by pings \
             {pings}, typing {typing}, status {status}, leaving {leaving}, coming {coming}",
            self.channels,
            self.sockets,
            self.echo,
            self.no_objects,
            self.awake,
            self.asleep,
            self.kept_share() * 100.0,
            self.kept_share_above_echo() * 100.0,
        )
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Footprint { resident_bytes, descriptors, objects_resident } = self;
        let megabytes = *resident_bytes as f64 / 1e6;
        write!(f, "{megabytes:.1} MB, {descriptors} descriptors, {objects_resident} objects")
    }
}

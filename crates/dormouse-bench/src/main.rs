//! The load tool of Dormouse: fan-out, calls, idle sockets, creating, waking, attacks, channels, two
//! browser tabs; on Dormouse and side by side with other servers.
//!
//! Where to start reading: [`scenarios`] says what is measured, [`peers`] on whom, [`counter`] is the
//! wire they share. Everything runs on one thread, so that the client is one core and no more.
//!
//! # Invariants
//!
//! * **Loopback only.** Servers are started on 127.0.0.1; an address elsewhere is refused.
//! * **Bounded.** Every load ends by count and by time.
//! * **Nothing is left running.** Servers are children, killed when their owner is dropped, on errors
//!   and signals too, and by the kernel if this process is killed.

mod channel;
mod clock;
mod counter;
mod disk;
mod field;
mod http;
mod latency;
mod machine;
mod metrics;
mod peers;
mod process;
mod report;
mod scenarios;
mod server;
mod spin;
mod table;
mod usage;
mod websocket;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::peers::{Peer, Programs};
use crate::scenarios::all::{self, All};
use crate::scenarios::attack::{self, Attack};
use crate::scenarios::calls::{self, Calls};
use crate::scenarios::ceiling::{self, Ceiling};
use crate::scenarios::channel::{self as channel_scenario, Channel, Wire};
use crate::scenarios::create::{self, Create};
use crate::scenarios::fan_out::{self, FanOut};
use crate::scenarios::hibernate::{self, Hibernate};
use crate::scenarios::idle::{self, Idle};
use crate::scenarios::tabs::{self, Tabs};
use crate::scenarios::wake::{self, Wake};
use crate::server::{Launch, Placement, Target};

/// Measures Dormouse and its peers.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

/// What holds for every scenario.
#[derive(Debug, Args)]
struct Options {
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// The binary that is measured as Dormouse.
    #[arg(long, global = true, default_value = "target/release/dormouse")]
    dormouse: PathBuf,
    /// One more argument for `dormouse serve`; may be given several times.
    #[arg(long = "dormouse-arg", global = true, allow_hyphen_values = true)]
    dormouse_args: Vec<String>,
    /// Folder in which servers get their data folders; it decides which disk is measured.
    #[arg(long, global = true, default_value = "target/bench")]
    data_root: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Many sockets on one object, events caused by calls.
    Fanout(On<FanOut>),
    /// Calls over keep-alive connections, on one object or many.
    Calls(On<Calls>),
    /// Idle sockets: memory and how fast they open.
    Idle(On<Idle>),
    /// Calls to objects that hibernate. Start the server with a short `--idle-timeout`.
    Wake(On<Wake>),
    /// First calls to new objects.
    Create(On<Create>),
    /// What badly behaved clients cost the others.
    Attack(On<Attack>),
    /// From a click in one browser tab to the change in another.
    Tabs(On<Tabs>),
    /// Messages at a steady pace to many sockets of one channel.
    Channel(On<Channel>),
    /// What quiet channels cost asleep, and what does not wake them. Starts servers of its own.
    Hibernate(Hibernate),
    /// What a server without cost makes in a fan-out, and what this tool itself can take.
    Ceiling(Ceiling),
    /// Everything on every peer, several times, in one table.
    All(All),
}

/// A scenario and the server it runs on.
#[derive(Debug, Args)]
struct On<T: Args> {
    #[command(flatten)]
    on: ServerChoice,
    #[command(flatten)]
    settings: T,
}

#[derive(Debug, Args)]
struct ServerChoice {
    /// Start this one for the scenario.
    #[arg(long, default_value = "dormouse", conflicts_with = "server")]
    peer: Peer,
    /// Use a server that runs already, on loopback.
    #[arg(long)]
    server: Option<SocketAddr>,
    /// Process id of that server, to read its memory and CPU time.
    #[arg(long, requires = "server")]
    server_pid: Option<u32>,
    /// Give server and client all cores instead of one each.
    #[arg(long, conflicts_with = "server")]
    share_cores: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            report::progress(&format!("dormouse-bench: {err:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        // Dropping `execute` on a signal drops the servers in it, which kills them.
        tokio::select! {
            done = execute(arguments) => done,
            received = stop_signal() => bail!("stopped by {}", received?),
        }
    })
}

async fn stop_signal() -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}

async fn execute(Arguments { command, options }: &Arguments) -> Result<()> {
    process::raise_descriptor_limit().context("raise the limit of open descriptors")?;
    let launch = Launch {
        programs: Programs {
            dormouse: options.dormouse.clone(),
            dormouse_args: options.dormouse_args.clone(),
            dormouse_secret: None,
        },
        data_root: options.data_root.clone(),
        cores: process::allowed_cores().context("ask for this process's cores")?,
    };
    let json = options.json;
    match command {
        Command::Fanout(On { on, settings }) => {
            let run = |target| fan_out::run(*settings, target);
            let outcome = on.measure("fanout", &launch, Placement::OneCoreEach, json, run).await?;
            outcome.verify()
        }
        Command::Calls(On { on, settings }) => {
            let run = |target| calls::run(*settings, target);
            on.measure("calls", &launch, Placement::Shared, json, run).await.map(drop)
        }
        Command::Idle(On { on, settings }) => {
            let run = |target| idle::run(*settings, target);
            on.measure("idle", &launch, Placement::OneCoreEach, json, run).await.map(drop)
        }
        Command::Wake(On { on, settings }) => {
            let run = |target| wake::run(*settings, target);
            on.measure("wake", &launch, Placement::Shared, json, run).await.map(drop)
        }
        Command::Create(On { on, settings }) => {
            let run = |target| create::run(*settings, target);
            on.measure("create", &launch, Placement::Shared, json, run).await.map(drop)
        }
        Command::Attack(On { on, settings }) => {
            let run = |target| attack::run(settings, target);
            on.measure("attack", &launch, Placement::OneCoreEach, json, run).await.map(drop)
        }
        Command::Tabs(On { on, settings }) => {
            let run = |target| tabs::run(settings, target);
            on.measure("tabs", &launch, Placement::Shared, json, run).await.map(drop)
        }
        Command::Channel(On { on, settings }) => {
            let mut launch = launch;
            launch.programs = channel::serving_channels(&launch.programs);
            let wire = Wire::of(on.peer);
            let run = |target| channel_scenario::run(*settings, wire, target);
            let outcome = on.measure("channel", &launch, Placement::OneCoreEach, json, run).await?;
            outcome.verify()
        }
        Command::Hibernate(settings) => {
            let outcome = hibernate::run(*settings, &launch).await?;
            report::outcome("hibernate", "dormouse", &outcome, json)?;
            outcome.verify()
        }
        Command::Ceiling(settings) => {
            let outcome = ceiling::run(*settings, &launch).await?;
            report::outcome("ceiling", "none", &outcome, json)
        }
        Command::All(settings) => all::run(settings, &launch, json).await,
    }
}

impl ServerChoice {
    /// Runs a scenario on the chosen server and prints its outcome.
    async fn measure<T, F>(
        &self,
        scenario: &str,
        launch: &Launch,
        placement: Placement,
        json: bool,
        run: impl FnOnce(Target) -> F,
    ) -> Result<T>
    where
        T: Serialize + fmt::Display,
        F: Future<Output = Result<T>>,
    {
        if let Some(address) = self.server {
            ensure!(address.ip().is_loopback(), "{address} is not on loopback");
            let outcome = run(Target { address, pid: self.server_pid, own_core: false }).await?;
            report::outcome(scenario, &address.to_string(), &outcome, json)?;
            return Ok(outcome);
        }
        let placement = if self.share_cores { Placement::Shared } else { placement };
        let server = launch.start(self.peer, placement).await?;
        let outcome = run(server.target()).await;
        server.stop().await?;
        let outcome = outcome?;
        report::outcome(scenario, &self.peer.to_string(), &outcome, json)?;
        Ok(outcome)
    }
}

//! All scenarios on all peers, several times over, in one table.
//!
//! Each measurement has a server of its own, freshly started on an empty folder. Peers take turns
//! within a run and another one begins each run, so that slow minutes of the machine hit all of them. A peer
//! that fails says so in its cell; the others go on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::time::timeout;

use crate::channel;
use crate::clock;
use crate::machine::Machine;
use crate::peers::{self, Peer};
use crate::process;
use crate::report;
use crate::scenarios::calls::{self, Calls};
use crate::scenarios::ceiling::{self, Ceiling, CeilingOutcome};
use crate::scenarios::channel::{self as channel_scenario, Channel, Wire};
use crate::scenarios::create::{self, Create};
use crate::scenarios::fan_out::{self, FanOut};
use crate::scenarios::hibernate::{self, Hibernate, HibernateOutcome};
use crate::scenarios::idle::{self, Idle};
use crate::scenarios::tabs::{self, Tabs};
use crate::scenarios::wake::{self, Wake};
use crate::scenarios::{Window, parse_seconds};
use crate::server::{Launch, Placement, Target};
use crate::table::{Better, Figure, Table};

/// One measurement with its server's start ends within this time.
const MEASUREMENT_MAX: Duration = Duration::from_secs(300);

/// Cores that others may use while the machine counts as quiet.
const QUIET_CORES: f64 = 0.1;

/// How long a look at the machine takes.
const QUIET_LOOK: Duration = Duration::from_millis(500);

/// What Dormouse is started with where objects have to fall asleep.
const WAKE_ARGS: [&str; 2] = ["--idle-timeout", "1s"];

/// Settings of the comparison.
#[derive(Clone, Debug, Args)]
pub(crate) struct All {
    /// Times that everything is measured; the table quotes medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub(crate) runs: u32,
    /// Servers to measure.
    #[arg(long, value_delimiter = ',', default_values_t = Peer::ALL)]
    pub(crate) peers: Vec<Peer>,
    /// Groups of scenarios to measure.
    #[arg(long, value_delimiter = ',', default_values_t = Group::ALL)]
    pub(crate) only: Vec<Group>,
    /// Sockets in the fan-out.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) sockets: usize,
    /// Idle sockets. workerd takes two descriptors for each, so that 10,000 would not fit into a limit
    /// of 20,000.
    #[arg(long, default_value_t = 9_000)]
    pub(crate) idle_sockets: usize,
    /// Seconds of silence before the memory of idle sockets is read.
    #[arg(long = "settle-seconds", default_value = "15", value_parser = parse_seconds)]
    pub(crate) settle: Duration,
    /// Most seconds to wait before each measurement for other processes to leave the cores alone.
    #[arg(long = "quiet-wait-seconds", default_value = "10", value_parser = parse_seconds)]
    pub(crate) quiet_wait: Duration,
    /// The browser of the tabs.
    #[arg(long, default_value = "/usr/bin/chromium")]
    pub(crate) chromium: PathBuf,
    #[command(flatten)]
    pub(crate) window: Window,
}

/// Scenarios that are chosen together on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    Fanout,
    Calls,
    Create,
    Wake,
    Idle,
    Tabs,
    Channel,
}

/// One scenario with its settings.
#[derive(Clone, Debug)]
enum Workload {
    FanOut(FanOut),
    Calls(Calls),
    Create(Create),
    Wake(Wake),
    Idle(Idle),
    Tabs(Tabs),
    Channel(Channel),
    Hibernate(Hibernate),
}

/// What the comparison gives with `--json`.
#[derive(Debug, Serialize)]
struct Comparison<'a> {
    scenario: &'static str,
    runs: u32,
    before: &'a Machine,
    after: &'a Machine,
    ceilings: [CeilingOutcome; 2],
    versions: &'a str,
    measurements: usize,
    /// Measurements before which other processes did not leave the cores alone.
    disturbed: usize,
    #[serde(flatten)]
    table: &'a Table,
}

/// Runs the comparison and prints its table.
///
/// # Errors
///
/// Only what would stop every measurement: the machine cannot be looked at, or output is closed.
pub(crate) async fn run(settings: &All, launch: &Launch, json: bool) -> Result<()> {
    let workloads = settings.workloads();
    let mut table = Table::default();
    for workload in &workloads {
        for figure in workload.figures() {
            table.add_row(&workload.label(), *figure);
        }
    }
    let cores = launch.cores.len();
    let before = Machine::inspect(&launch.data_root, cores)?;
    report::progress(&before.to_string());
    let (mut measurements, mut disturbed) = (0, 0);
    for run in 0..settings.runs {
        for workload in &workloads {
            let mut peers = workload.peers();
            peers.retain(|peer| settings.peers.contains(peer));
            let first = run as usize % peers.len().max(1);
            peers.rotate_left(first);
            for peer in peers {
                disturbed += usize::from(!is_quiet(settings.quiet_wait).await?);
                measurements += 1;
                let measured = timeout(MEASUREMENT_MAX, workload.measure(peer, launch))
                    .await
                    .context("not finished within 300 s")
                    .flatten();
                let progress = format!("run {} of {}: ", run + 1, settings.runs);
                record(&mut table, workload, peer, &measured, &progress);
            }
        }
    }
    let after = Machine::inspect(&launch.data_root, cores)?;

    let ceilings = [
        ceiling::run(Ceiling { sockets: settings.sockets, at_once: 1 }, launch).await?,
        ceiling::run(Ceiling { sockets: settings.sockets, at_once: 8 }, launch).await?,
    ];
    let versions = peers::versions()?;

    let comparison = Comparison {
        scenario: "all",
        runs: settings.runs,
        before: &before,
        after: &after,
        ceilings,
        versions: &versions,
        measurements,
        disturbed,
        table: &table,
    };
    let [alone, together] = ceilings;
    let text = format!(
        "Before: {before}\n\nAfter: {after}\n\nPeers: {versions}\n\nIn a fan-out {alone}; \
         {together}.\n\nOther processes were busy before {disturbed} of {measurements} measurements.\n\n{}\n{}",
        table.markdown(&settings.peers),
        settings.footnote()
    );
    if json {
        report::progress(&text);
        return report::result(&serde_json::to_string(&comparison)?);
    }
    report::result(&text)
}

/// Waits until other processes use next to nothing; returns whether they did within `wait_max`.
async fn is_quiet(wait_max: Duration) -> Result<bool> {
    let started = clock::now();
    loop {
        let before = process::machine_cpu_time()?;
        tokio::time::sleep(QUIET_LOOK).await;
        let used = process::machine_cpu_time()? - before;
        if used.as_secs_f64() / QUIET_LOOK.as_secs_f64() < QUIET_CORES {
            return Ok(true);
        }
        if started.elapsed() >= wait_max {
            return Ok(false);
        }
    }
}

/// Puts the figures of one measurement, or why there are none, into the table.
fn record(
    table: &mut Table,
    workload: &Workload,
    peer: Peer,
    measured: &Result<Vec<f64>>,
    progress: &str,
) {
    let label = workload.label();
    match measured {
        Ok(values) => {
            for (figure, value) in workload.figures().iter().zip(values) {
                table.add_value(&label, *figure, peer, *value);
                report::progress(&format!(
                    "{progress}{label}, {peer}: {value:.2} {}",
                    figure.label
                ));
            }
        }
        Err(err) => {
            let why = format!("{err:#}");
            report::progress(&format!("{progress}{label}, {peer}: failed: {why}"));
            for figure in workload.figures() {
                table.add_failure(&label, *figure, peer, &why);
            }
        }
    }
}

impl All {
    fn workloads(&self) -> Vec<Workload> {
        self.only.iter().flat_map(|group| self.group(*group)).collect()
    }

    fn group(&self, group: Group) -> Vec<Workload> {
        let window = self.window;
        match group {
            Group::Fanout => [1, 8]
                .map(|in_flight| {
                    Workload::FanOut(FanOut { sockets: self.sockets, in_flight, window })
                })
                .to_vec(),
            Group::Calls => [(1, 1), (1, 32), (1, 256), (1_000, 1), (1_000, 32), (1_000, 256)]
                .map(|(objects, in_flight)| Workload::Calls(Calls { objects, in_flight, window }))
                .to_vec(),
            Group::Create => vec![Workload::Create(Create { objects: 1_000 })],
            Group::Wake => [false, true]
                .map(|by_query| {
                    Workload::Wake(Wake { objects: 100, rounds: 3, beside: 0, by_query })
                })
                .to_vec(),
            Group::Idle => vec![Workload::Idle(Idle {
                sockets: self.idle_sockets,
                objects: 1,
                settle: self.settle,
            })],
            Group::Tabs => {
                vec![Workload::Tabs(Tabs { clicks: 50, chromium: self.chromium.clone() })]
            }
            Group::Channel => vec![
                Workload::Channel(Channel { sockets: 1_000, per_second: 50, messages: 250 }),
                Workload::Channel(Channel { sockets: 10_000, per_second: 5, messages: 50 }),
                Workload::Hibernate(Hibernate {
                    channels: 1_000,
                    sockets_each: 10,
                    settle: Duration::from_secs(3),
                }),
            ],
        }
    }

    fn footnote(&self) -> String {
        let Window { warm_up, measured } = self.window;
        format!(
            "Median of {} runs (lowest to highest), each {measured:?} of load after {warm_up:?} of \
             warm-up, on a fresh server with an empty folder. Fan-out, channels and idle sockets: one core for \
             the server, another for the client; all else shares the cores. \"vs\" is above 1 where \
             Dormouse is better. Dormouse, Bun + SQLite and workerd make every change durable before \
             they answer or send it; Bun and node `ws` store nothing.",
            self.runs
        )
    }
}

impl Group {
    const ALL: [Group; 7] = [
        Group::Fanout,
        Group::Calls,
        Group::Create,
        Group::Wake,
        Group::Idle,
        Group::Tabs,
        Group::Channel,
    ];
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value().expect("no group is hidden from the command line");
        f.write_str(value.get_name())
    }
}

impl Workload {
    fn label(&self) -> String {
        match self {
            Workload::FanOut(FanOut { sockets, in_flight, .. }) => {
                format!("fan-out to {sockets} sockets, {in_flight} in flight")
            }
            Workload::Calls(Calls { objects: 1, in_flight, .. }) => {
                format!("calls on 1 object, {in_flight} in flight")
            }
            Workload::Calls(Calls { objects, in_flight, .. }) => {
                format!("calls on {objects} objects, {in_flight} in flight")
            }
            Workload::Create(_) => "first call to a new object".to_owned(),
            Workload::Wake(Wake { by_query: false, .. }) => "wake by a mutation".to_owned(),
            Workload::Wake(Wake { by_query: true, .. }) => "wake by a query".to_owned(),
            Workload::Idle(Idle { sockets, .. }) => format!("{sockets} idle sockets"),
            Workload::Tabs(_) => "click in one tab, change in another".to_owned(),
            Workload::Channel(Channel { sockets, per_second, .. }) => {
                format!("{per_second} messages/s to {sockets} sockets of a channel")
            }
            Workload::Hibernate(Hibernate { channels, sockets_each, .. }) => {
                format!("{channels} quiet channels, {sockets_each} sockets each")
            }
        }
    }

    /// Figures in the order in which [`measure`](Self::measure) gives their values.
    fn figures(&self) -> &'static [Figure] {
        const fn higher(label: &'static str) -> Figure {
            Figure { label, better: Better::Higher }
        }
        const fn lower(label: &'static str) -> Figure {
            Figure { label, better: Better::Lower }
        }
        const FAN_OUT: &[Figure] =
            &[higher("deliveries/s"), lower("p50 delivery, ms"), lower("p99 delivery, ms")];
        const CALLS: &[Figure] = &[higher("calls/s"), lower("p50, µs"), lower("p99, µs")];
        const LATENCY: &[Figure] = &[lower("p50, µs"), lower("p99, µs")];
        const CREATE: &[Figure] =
            &[lower("p50, µs"), lower("p99, µs"), lower("resident bytes per awake object")];
        const IDLE: &[Figure] = &[lower("resident bytes per socket"), higher("opened per second")];
        const CHANNEL: &[Figure] = &[
            lower("p50 to each socket, ms"),
            lower("p99 to each socket, ms"),
            lower("slowest to each socket, ms"),
            lower("p50 until it reached all, ms"),
            lower("p99 until it reached all, ms"),
            lower("client busy meanwhile, %"),
        ];
        const HIBERNATE: &[Figure] = &[
            lower("resident MB, sockets of `/echo` instead"),
            lower("resident MB, no objects"),
            lower("resident MB, awake"),
            lower("resident MB, asleep"),
            lower("descriptors awake"),
            lower("descriptors asleep"),
            lower("objects resident asleep"),
            lower("asleep of awake, above no objects, %"),
            lower("woken by pings, typing, statuses, leaving"),
            lower("woken by coming"),
        ];
        const TABS: &[Figure] = &[lower("p50, ms"), lower("p99, ms")];
        match self {
            Workload::FanOut(_) => FAN_OUT,
            Workload::Calls(_) => CALLS,
            Workload::Create(_) => CREATE,
            Workload::Wake(_) => LATENCY,
            Workload::Idle(_) => IDLE,
            Workload::Tabs(_) => TABS,
            Workload::Channel(_) => CHANNEL,
            Workload::Hibernate(_) => HIBERNATE,
        }
    }

    /// Peers that have what the scenario is about.
    fn peers(&self) -> Vec<Peer> {
        match self {
            Workload::FanOut(_) => Peer::ALL.to_vec(),
            // Calls are compared where an answer means the same: that the change is on disk.
            Workload::Calls(_) | Workload::Create(_) => {
                vec![Peer::Dormouse, Peer::BunSqlite, Peer::Workerd]
            }
            // workerd takes two descriptors for each socket: 10,000 of them are too many for a limit of
            // 20,000.
            Workload::Channel(Channel { sockets: 9_001.., .. }) => {
                vec![Peer::Dormouse, Peer::Bun, Peer::BunSqlite, Peer::Ws]
            }
            Workload::Channel(_) => Peer::ALL.to_vec(),
            Workload::Wake(_) | Workload::Hibernate(_) => vec![Peer::Dormouse],
            Workload::Idle(_) => vec![Peer::Dormouse, Peer::Bun, Peer::Ws, Peer::Workerd],
            Workload::Tabs(_) => vec![Peer::Dormouse, Peer::Bun],
        }
    }

    fn placement(&self) -> Placement {
        match self {
            Workload::FanOut(_)
            | Workload::Idle(_)
            | Workload::Channel(_)
            | Workload::Hibernate(_) => Placement::OneCoreEach,
            Workload::Calls(_) | Workload::Create(_) | Workload::Wake(_) | Workload::Tabs(_) => {
                Placement::Shared
            }
        }
    }

    /// Starts `peer`, loads it, and stops it, also when the load fails.
    async fn measure(&self, peer: Peer, launch: &Launch) -> Result<Vec<f64>> {
        let mut launch = launch.clone();
        match self {
            Workload::Wake(_) => {
                launch.programs.dormouse_args.extend(WAKE_ARGS.map(str::to_owned));
            }
            Workload::Channel(_) => launch.programs = channel::serving_channels(&launch.programs),
            Workload::FanOut(_)
            | Workload::Calls(_)
            | Workload::Create(_)
            | Workload::Idle(_)
            | Workload::Tabs(_)
            | Workload::Hibernate(_) => {}
        }
        let values = if let Workload::Hibernate(settings) = self {
            figures_of_sleep(hibernate::run(*settings, &launch).await?)?
        } else {
            let server = launch.start(peer, self.placement()).await?;
            let values = self.load(peer, server.target()).await;
            server.stop().await?;
            values?
        };
        ensure!(values.iter().all(|value| value.is_finite()), "a figure is not a number");
        Ok(values)
    }

    async fn load(&self, peer: Peer, target: Target) -> Result<Vec<f64>> {
        let values = match self {
            Workload::FanOut(settings) => {
                let outcome = fan_out::run(*settings, target).await?;
                outcome.verify()?;
                let delivery = outcome.delivery;
                vec![
                    outcome.deliveries_per_second,
                    delivery.p50_us / 1_000.0,
                    delivery.p99_us / 1_000.0,
                ]
            }
            Workload::Calls(settings) => {
                let outcome = calls::run(*settings, target).await?;
                vec![outcome.calls_per_second, outcome.call.p50_us, outcome.call.p99_us]
            }
            Workload::Create(settings) => {
                let outcome = create::run(*settings, target).await?;
                let bytes = outcome.bytes_per_object.context("the server's process is unknown")?;
                vec![outcome.create.p50_us, outcome.create.p99_us, bytes]
            }
            Workload::Wake(settings) => {
                let outcome = wake::run(*settings, target).await?;
                vec![outcome.wake.p50_us, outcome.wake.p99_us]
            }
            Workload::Idle(settings) => {
                let outcome = idle::run(*settings, target).await?;
                vec![outcome.bytes_per_socket, outcome.opened_per_second]
            }
            Workload::Tabs(settings) => {
                let outcome = tabs::run(settings, target).await?;
                vec![outcome.changed_p50_ms, outcome.changed_p99_ms]
            }
            Workload::Channel(settings) => {
                let wire = Wire::of(peer);
                let outcome = channel_scenario::run(*settings, wire, target).await?;
                outcome.verify()?;
                let (each, all) = (outcome.delivery, outcome.reached_all);
                let busy = outcome.client_busy.context("the client has no core of its own")?;
                let ms = |us: f64| us / 1_000.0;
                let times = [each.p50_us, each.p99_us, each.max_us, all.p50_us, all.p99_us];
                times.map(ms).into_iter().chain([busy * 100.0]).collect()
            }
            Workload::Hibernate(_) => bail!("it starts servers of its own"),
        };
        Ok(values)
    }
}

/// The figures of quiet channels.
fn figures_of_sleep(outcome: HibernateOutcome) -> Result<Vec<f64>> {
    outcome.verify()?;
    let HibernateOutcome { echo, no_objects, awake, asleep, wakes, .. } = outcome;
    let megabytes = [echo, no_objects, awake, asleep].map(|at| at.resident_bytes as f64 / 1e6);
    let descriptors = [awake, asleep].map(|at| at.descriptors as f64);
    let rest = [
        asleep.objects_resident,
        outcome.kept_share() * 100.0,
        wakes.pings + wakes.typing + wakes.status + wakes.leaving,
        wakes.coming,
    ];
    Ok(megabytes.into_iter().chain(descriptors).chain(rest).collect())
}

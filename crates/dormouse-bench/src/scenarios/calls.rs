//! Calls: HTTP keep-alive connections that increment one counter or many, each waiting for its answer.
//!
//! Nothing that a server answered may be lost: afterwards every counter's value is read and compared
//! with the number of answers, and the answers must have named every value once.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::clock;
use crate::counter;
use crate::http::HttpConnection;
use crate::latency::{Latencies, LatencySummary};
use crate::scenarios::{Counted, Window, join_all, open_connections};
use crate::server::Target;
use crate::usage::{Meter, Usage};

/// Calls of one phase, however long it lasts.
const CALLS_MAX: u64 = 10_000_000;

/// Seed of the sequence in which objects are called: the same for every server.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Settings of the scenario.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Calls {
    /// Objects that are called, in random order.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) objects: u32,
    /// Calls in flight, each on its own connection.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    pub(crate) in_flight: u16,
    #[command(flatten)]
    pub(crate) window: Window,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct CallsOutcome {
    pub(crate) objects: u32,
    pub(crate) in_flight: u16,
    pub(crate) calls_per_second: f64,
    pub(crate) call: LatencySummary,
    #[serde(flatten)]
    pub(crate) usage: Usage,
}

/// What all callers share.
#[derive(Debug)]
struct Load {
    counters: Vec<Counter>,
    random: Cell<u64>,
    latencies: RefCell<Latencies>,
    calls: Cell<u64>,
}

/// One counter and what was answered about it.
#[derive(Debug)]
struct Counter {
    name: String,
    request: Vec<u8>,
    start_value: Cell<i64>,
    answers: Cell<i64>,
    /// Sum of the values that answers named.
    values: Cell<i128>,
}

/// When a caller stops.
#[derive(Clone, Debug)]
enum Until {
    /// Each counter was called once.
    Each(Rc<Counted>),
    /// The time has come; counters are drawn at random.
    Time(Instant),
}

/// Runs the scenario; must be called inside a `LocalSet`.
///
/// # Errors
///
/// A call failed, or a counter's value or answers do not fit the calls.
pub(crate) async fn run(settings: Calls, target: Target) -> Result<CallsOutcome> {
    let load = Rc::new(Load::new(settings.objects, target));
    let mut reading = HttpConnection::open(target.address).await?;
    for counter in &load.counters {
        let value = counter::read_value(&mut reading, target.address, &counter.name).await?;
        counter.start_value.set(value);
    }
    // Opened only now: servers close connections that are idle for seconds.
    let mut connections = open_connections(target, usize::from(settings.in_flight)).await?;
    // Creating an object is another scenario: here each has been called before.
    let each = Until::Each(Rc::new(Counted::up_to(load.counters.len())));
    connections = load.phase(connections, each).await?;
    connections = load.timed_phase(connections, settings.window.warm_up).await?;

    load.latencies.replace(Latencies::new());
    let meter = Meter::start(target)?;
    connections = load.timed_phase(connections, settings.window.measured).await?;
    let usage = meter.stop()?;

    let call = load.latencies.borrow().summary();
    for counter in &load.counters {
        let value = counter::read_value(&mut connections[0], target.address, &counter.name).await?;
        counter.verify(value)?;
    }
    Ok(CallsOutcome {
        objects: settings.objects,
        in_flight: settings.in_flight,
        calls_per_second: call.count as f64 / usage.seconds,
        call,
        usage,
    })
}

impl Load {
    fn new(objects: u32, target: Target) -> Load {
        Load {
            counters: (0..objects).map(|index| Counter::new(target, index)).collect(),
            random: Cell::new(SEED),
            latencies: RefCell::new(Latencies::new()),
            calls: Cell::new(0),
        }
    }

    async fn timed_phase(
        self: &Rc<Load>,
        connections: Vec<HttpConnection>,
        duration: Duration,
    ) -> Result<Vec<HttpConnection>> {
        self.calls.set(0);
        self.phase(connections, Until::Time(clock::now() + duration)).await
    }

    async fn phase(
        self: &Rc<Load>,
        connections: Vec<HttpConnection>,
        until: Until,
    ) -> Result<Vec<HttpConnection>> {
        let mut callers = JoinSet::new();
        for connection in connections {
            callers.spawn_local(Rc::clone(self).call(until.clone(), connection));
        }
        join_all(&mut callers).await
    }

    async fn call(
        self: Rc<Load>,
        until: Until,
        mut connection: HttpConnection,
    ) -> Result<HttpConnection> {
        while let Some(index) = self.next_counter(&until) {
            let counter = &self.counters[index];
            let sent_at = clock::now();
            let answer = connection.exchange(&counter.request).await?;
            let latency = sent_at.elapsed();
            counter.answered(counter::answered_value(answer.success()?)?);
            self.latencies.borrow_mut().record(latency);
            self.calls.update(|calls| calls + 1);
        }
        Ok(connection)
    }

    fn next_counter(&self, until: &Until) -> Option<usize> {
        match until {
            Until::Each(counted) => counted.take(),
            Until::Time(end) => (clock::now() < *end && self.calls.get() < CALLS_MAX)
                .then(|| self.random_below(self.counters.len())),
        }
    }

    /// Xorshift64: the same sequence in every run, and good enough to spread calls.
    fn random_below(&self, bound: usize) -> usize {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        let below = random % bound as u64;
        usize::try_from(below).expect("it is below a usize")
    }
}

impl Counter {
    fn new(target: Target, index: u32) -> Counter {
        let name = format!("bench-calls-{index}");
        let request = counter::increment_request(target.address, &name, 1);
        Counter {
            name,
            request,
            start_value: Cell::new(0),
            answers: Cell::new(0),
            values: Cell::new(0),
        }
    }

    fn answered(&self, value: i64) {
        self.answers.update(|answers| answers + 1);
        self.values.update(|values| values + i128::from(value));
    }

    /// Checks that the counter moved by one per answer and that answers named each value once.
    fn verify(&self, value: i64) -> Result<()> {
        let (start, answers) = (self.start_value.get(), self.answers.get());
        let expected = start + answers;
        ensure!(value == expected, "{} is at {value} instead of {expected}", self.name);
        let (start, answers) = (i128::from(start), i128::from(answers));
        let distinct_sum = answers * start + answers * (answers + 1) / 2;
        ensure!(self.values.get() == distinct_sum, "{}: a value was answered twice", self.name);
        Ok(())
    }
}

impl fmt::Display for CallsOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} calls/s on {} objects, {} in flight; {}; every value correct; {}",
            self.calls_per_second, self.objects, self.in_flight, self.call, self.usage
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_increment_and_a_value_answered_twice_are_both_found() {
        assert!(answered(&[11, 12, 13]).verify(13).is_ok());
        assert!(answered(&[13, 11, 12]).verify(13).is_ok());

        assert!(answered(&[11, 12, 13]).verify(12).is_err());
        assert!(answered(&[11, 11, 12]).verify(13).is_err());
    }

    #[test]
    fn every_counter_is_called_once_before_load_and_all_of_them_under_load() {
        let load = Load::new(10, target());
        let each = Until::Each(Rc::new(Counted::up_to(10)));

        let once: Vec<usize> = std::iter::from_fn(|| load.next_counter(&each)).collect();
        let mut drawn: Vec<usize> = (0..1_000).map(|_| load.random_below(10)).collect();
        drawn.sort_unstable();
        drawn.dedup();

        assert_eq!(once, (0..10).collect::<Vec<_>>());
        assert_eq!(drawn, once);
    }

    fn answered(values: &[i64]) -> Counter {
        let counter = Counter::new(target(), 0);
        counter.start_value.set(10);
        for &value in values {
            counter.answered(value);
        }
        counter
    }

    fn target() -> Target {
        Target { address: ([127, 0, 0, 1], 1).into(), pid: None, own_core: false }
    }
}

//! Fan-out: many sockets on one object, events caused by calls.
//!
//! An event is in flight until its call was answered *and* every socket has it; then its caller sends
//! the next. So nothing piles up unseen between server and client, and a lost event stops the run.
//!
//! Caller `n` increments by `n + 1`. From an event's two values a socket learns both that it missed
//! nothing (the chain of values is unbroken) and whose call it was, hence when that was sent.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock;
use crate::counter::{self, ChangeReader};
use crate::http::HttpConnection;
use crate::latency::{Latencies, LatencySummary};
use crate::scenarios::{Window, join_all, open_connections};
use crate::server::Target;
use crate::spin::{Spinner, Work};
use crate::usage::{Meter, Usage};
use crate::websocket::{ReadBuffer, WebSocket};

/// An event that has not reached a socket within this time counts as missed there.
const DELIVERY_MAX: Duration = Duration::from_secs(10);

/// Time after the load in which a doubled event would still be noticed.
const QUIET: Duration = Duration::from_millis(200);

/// Events of one phase, however long it lasts.
const EVENTS_MAX: u64 = 1_000_000;

/// The object; its length brings events to about 300 bytes.
const NAME: &str = "bench-fan-out-to-many-sockets-of-one-object";

/// Settings of the scenario.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct FanOut {
    /// Sockets on the one object.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) sockets: usize,
    /// Events in flight: 1 sends the next when the last reached every socket.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(crate) in_flight: u16,
    #[command(flatten)]
    pub(crate) window: Window,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct FanOutOutcome {
    pub(crate) sockets: usize,
    pub(crate) in_flight: u16,
    pub(crate) event_bytes: usize,
    pub(crate) events: u64,
    pub(crate) deliveries_per_second: f64,
    /// From sending the call to the event's arrival at each socket.
    pub(crate) delivery: LatencySummary,
    /// Deliveries that did not happen.
    pub(crate) missed: u64,
    /// Deliveries that happened again, or after a later one.
    pub(crate) doubled: u64,
    #[serde(flatten)]
    pub(crate) effort: Effort,
}

/// Who worked how hard.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Effort {
    #[serde(flatten)]
    pub(crate) usage: Usage,
    /// Share of the time in which a client that never sleeps had work; `None` if it slept.
    pub(crate) client_busy: Option<f64>,
}

/// What all listeners and callers share.
#[derive(Debug)]
pub(super) struct Room {
    sockets: usize,
    reader: ChangeReader,
    pub(super) buffer: ReadBuffer,
    pub(super) work: Rc<Work>,
    /// One per caller; the caller's amount is its index plus 1.
    calls: Vec<Call>,
    tally: RefCell<Tally>,
}

/// How often and how long a caller calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) duration: Duration,
    /// Time from one call to the next, unless the one before takes longer. Zero: none.
    pub(super) every: Duration,
}

impl Pace {
    /// The next call as soon as the last one's event was delivered.
    pub(super) fn at_full_speed(duration: Duration) -> Pace {
        Pace { duration, every: Duration::ZERO }
    }
}

/// The one event that a caller has in flight.
#[derive(Debug)]
struct Call {
    sent_at: Cell<Instant>,
    /// Sockets that do not have the event yet.
    undelivered: Cell<usize>,
    delivered: Notify,
}

/// Counts of one phase.
#[derive(Debug)]
struct Tally {
    latencies: Latencies,
    events: u64,
    /// Sum of the amounts of all answered calls.
    added: i64,
    missed: u64,
    doubled: u64,
    event_bytes: usize,
}

/// Runs the scenario; must be called inside a `LocalSet`.
///
/// # Errors
///
/// A socket or call failed, or the counter's final value is not the sum of the answered calls.
/// Missed and doubled deliveries are not errors here: see [`FanOutOutcome::verify`].
pub(crate) async fn run(settings: FanOut, target: Target) -> Result<FanOutOutcome> {
    let callers = usize::from(settings.in_flight);
    let room = Rc::new(Room::new(settings.sockets, callers));
    let mut reading = HttpConnection::open(target.address).await?;
    let start_value = counter::read_value(&mut reading, target.address, NAME).await?;
    let mut listeners = JoinSet::new();
    open_listeners(&room, target, NAME, &mut listeners).await?;

    // Opened only now: servers close connections that are idle for seconds.
    let connections = open_connections(target, callers).await?;
    let (mut connections, warm_up, effort) = tokio::select! {
        loaded = load(&room, connections, settings.window, target) => loaded?,
        Some(ended) = listeners.join_next() => {
            return Err(ended.context("a listener panicked")?.context("a socket failed"));
        }
    };

    let tally = room.tally.replace(Tally::new());
    let value = counter::read_value(&mut connections[0], target.address, NAME).await?;
    let expected = start_value + warm_up.added + tally.added;
    ensure!(value == expected, "the counter is at {value} instead of {expected}");
    let deliveries = tally.latencies.summary();
    Ok(FanOutOutcome {
        sockets: settings.sockets,
        in_flight: settings.in_flight,
        event_bytes: tally.event_bytes,
        events: tally.events,
        deliveries_per_second: deliveries.count as f64 / effort.usage.seconds,
        delivery: deliveries,
        missed: warm_up.missed + tally.missed,
        doubled: warm_up.doubled + tally.doubled,
        effort,
    })
}

/// Opens the sockets of a room on a counter. Each listens until it fails.
pub(super) async fn open_listeners(
    room: &Rc<Room>,
    target: Target,
    name: &str,
    listeners: &mut JoinSet<anyhow::Error>,
) -> Result<()> {
    for _ in 0..room.sockets {
        let mut socket = WebSocket::open(target.address, &counter::socket_path(name)).await?;
        // Only a socket that got its first frame is known to be attached.
        let initial = timeout(DELIVERY_MAX, socket.first_text(&room.buffer))
            .await
            .context("no first frame within 10 s")??;
        let value = counter::answered_value(&initial)?;
        listeners.spawn_local(listen(Rc::clone(room), socket, value));
    }
    Ok(())
}

/// Warms up and measures; returns the connections, the counts of the warm-up, and the CPU used. The
/// measured counts stay in the room.
async fn load(
    room: &Rc<Room>,
    connections: Vec<HttpConnection>,
    window: Window,
    target: Target,
) -> Result<(Vec<HttpConnection>, Tally, Effort)> {
    let warm_up = Pace::at_full_speed(window.warm_up);
    let connections = room.phase(connections, target, NAME, warm_up).await?;
    let warm_up = room.tally.replace(Tally::new());
    let spinner = target.own_core.then(|| Spinner::start(Rc::clone(&room.work)));
    let meter = Meter::start(target)?;
    let measured = Pace::at_full_speed(window.measured);
    let connections = room.phase(connections, target, NAME, measured).await?;
    let usage = meter.stop()?;
    let effort = Effort { usage, client_busy: spinner.as_ref().map(Spinner::busy_share) };
    drop(spinner);
    tokio::time::sleep(QUIET).await;
    Ok((connections, warm_up, effort))
}

/// Takes frames off a socket that is at `value` until the socket fails; returns why.
pub(super) async fn listen(room: Rc<Room>, mut socket: WebSocket, mut value: i64) -> anyhow::Error {
    loop {
        // Frames of one read arrived together: one look at the clock for all of them.
        let mut arrived = None;
        let received = socket.receive(&room.buffer, |text| {
            let arrived_at = *arrived.get_or_insert_with(clock::now);
            room.heard(text, &mut value, arrived_at);
        });
        if let Err(err) = received.await {
            return err;
        }
    }
}

impl Room {
    pub(super) fn new(sockets: usize, callers: usize) -> Room {
        let call = || Call {
            sent_at: Cell::new(clock::now()),
            undelivered: Cell::new(0),
            delivered: Notify::new(),
        };
        Room {
            sockets,
            reader: ChangeReader::new(),
            buffer: ReadBuffer::new(),
            work: Rc::default(),
            calls: std::iter::repeat_with(call).take(callers).collect(),
            tally: RefCell::new(Tally::new()),
        }
    }

    /// Counts one frame of a socket whose last known value is `value`.
    fn heard(&self, text: &[u8], value: &mut i64, arrived_at: Instant) {
        self.work.note();
        let Some(change) = self.reader.read(text) else { return };
        let mut tally = self.tally.borrow_mut();
        if change.value <= *value {
            tally.doubled += 1;
            return;
        }
        // A gap needs no count of its own: the call that fell into it will not complete.
        *value = change.value;
        let amount = change.value - change.previous_value;
        let call = usize::try_from(amount - 1).ok().and_then(|index| self.calls.get(index));
        let Some(call) = call else { return };
        let Some(undelivered) = call.undelivered.get().checked_sub(1) else {
            tally.doubled += 1;
            return;
        };
        call.undelivered.set(undelivered);
        tally.latencies.record(arrived_at - call.sent_at.get());
        tally.event_bytes = text.len();
        if undelivered == 0 {
            call.delivered.notify_one();
        }
    }

    /// Lets all callers call; returns when their last events are delivered.
    pub(super) async fn phase(
        self: &Rc<Room>,
        connections: Vec<HttpConnection>,
        target: Target,
        name: &str,
        pace: Pace,
    ) -> Result<Vec<HttpConnection>> {
        let mut callers = JoinSet::new();
        for (index, connection) in connections.into_iter().enumerate() {
            let request = counter::increment_request(target.address, name, amount_of(index));
            callers.spawn_local(Rc::clone(self).call_at(pace, index, connection, request));
        }
        join_all(&mut callers).await
    }

    /// The deliveries since this was last asked.
    ///
    /// # Errors
    ///
    /// One was missed or doubled.
    pub(super) fn take_summary(&self) -> Result<LatencySummary> {
        let Tally { latencies, missed, doubled, .. } = self.tally.replace(Tally::new());
        ensure!(missed == 0 && doubled == 0, "{missed} deliveries missed, {doubled} doubled");
        Ok(latencies.summary())
    }

    async fn call_at(
        self: Rc<Room>,
        pace: Pace,
        index: usize,
        mut connection: HttpConnection,
        request: Vec<u8>,
    ) -> Result<HttpConnection> {
        let begun = clock::now();
        let mut next = begun;
        while clock::now() < begun + pace.duration && self.may_go_on() {
            if !pace.every.is_zero() {
                tokio::time::sleep_until(next.into()).await;
                next += pace.every;
            }
            self.begin_event(index);
            counter::answered_value(connection.exchange(&request).await?.success()?)?;
            {
                let mut tally = self.tally.borrow_mut();
                tally.events += 1;
                tally.added += amount_of(index);
            }
            self.event_delivered(index).await;
        }
        Ok(connection)
    }

    /// Notes that the caller at `index` sends a call now.
    pub(super) fn begin_event(&self, index: usize) {
        let call = &self.calls[index];
        call.undelivered.set(self.sockets);
        call.sent_at.set(clock::now());
    }

    /// Waits until every socket has that caller's event, and counts as missed what does not come.
    pub(super) async fn event_delivered(&self, index: usize) {
        let call = &self.calls[index];
        if timeout(DELIVERY_MAX, call.delivered.notified()).await.is_err() {
            self.tally.borrow_mut().missed += call.undelivered.get() as u64;
        }
    }

    /// Deliveries that did not happen so far.
    pub(super) fn missed(&self) -> u64 {
        self.tally.borrow().missed
    }

    /// A run that lost an event is over: the numbers after it would mean nothing.
    fn may_go_on(&self) -> bool {
        let tally = self.tally.borrow();
        tally.missed == 0 && tally.events < EVENTS_MAX
    }
}

/// By how much the caller at `index` increments.
fn amount_of(index: usize) -> i64 {
    i64::try_from(index + 1).expect("callers are counted in 16 bits")
}

impl Tally {
    fn new() -> Tally {
        Tally {
            latencies: Latencies::new(),
            events: 0,
            added: 0,
            missed: 0,
            doubled: 0,
            event_bytes: 0,
        }
    }
}

impl FanOutOutcome {
    /// Refuses a run in which a socket missed an event or got one twice.
    pub(crate) fn verify(&self) -> Result<()> {
        let FanOutOutcome { missed, doubled, .. } = self;
        ensure!(*missed == 0 && *doubled == 0, "{missed} deliveries missed, {doubled} doubled");
        Ok(())
    }
}

impl fmt::Display for FanOutOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} deliveries/s to {} sockets, {} in flight, {} events of {} bytes; \
             delivery {}; missed {}, doubled {}; {}",
            self.deliveries_per_second,
            self.sockets,
            self.in_flight,
            self.events,
            self.event_bytes,
            self.delivery,
            self.missed,
            self.doubled,
            self.effort.usage
        )?;
        match self.effort.client_busy {
            Some(share) => write!(f, ", client busy {:.0} %", share * 100.0),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = br#"{"type":"increment","value":1,"previousValue":0}"#;
    const SECOND: &[u8] = br#"{"type":"increment","value":3,"previousValue":1}"#;

    #[test]
    fn an_event_counts_for_the_call_that_caused_it_once_per_socket() {
        let room = room_with_two_events_in_flight();
        let (mut here, mut there) = (0, 0);

        for value in [&mut here, &mut there] {
            room.heard(FIRST, value, clock::now());
        }
        room.heard(SECOND, &mut here, clock::now());

        assert_eq!(room.calls[0].undelivered.get(), 0);
        assert_eq!(room.calls[1].undelivered.get(), 1);
        assert_eq!((here, there), (3, 1));
        assert_eq!(delivered_and_doubled(&room), (3, 0));
    }

    #[test]
    fn an_event_that_comes_twice_or_late_is_doubled_and_one_that_never_came_stays_undelivered() {
        let room = room_with_two_events_in_flight();
        let (mut twice, mut late) = (0, 0);

        room.heard(FIRST, &mut twice, clock::now());
        room.heard(FIRST, &mut twice, clock::now());
        room.heard(SECOND, &mut late, clock::now());
        room.heard(FIRST, &mut late, clock::now());

        assert_eq!(room.calls[0].undelivered.get(), 1);
        assert_eq!(delivered_and_doubled(&room), (2, 2));
    }

    #[test]
    fn frames_that_are_no_event_change_nothing() {
        let room = room_with_two_events_in_flight();
        let mut value = 0;

        room.heard(br#"{"type":"initial","value":7}"#, &mut value, clock::now());

        assert_eq!(value, 0);
        assert_eq!(delivered_and_doubled(&room), (0, 0));
    }

    fn room_with_two_events_in_flight() -> Room {
        let room = Room::new(2, 2);
        for call in &room.calls {
            call.undelivered.set(2);
        }
        room
    }

    fn delivered_and_doubled(room: &Room) -> (u64, u64) {
        let tally = room.tally.borrow();
        (tally.latencies.summary().count, tally.doubled)
    }
}

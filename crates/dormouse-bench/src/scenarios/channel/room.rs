//! What the writer and all listeners share: which messages are under way, and how long they took.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::channel::NumberReader;
use crate::clock;
use crate::counter::ChangeReader;
use crate::latency::Latencies;
use crate::spin::Work;
use crate::websocket::ReadBuffer;

use super::Wire;

/// A message that has not reached every socket within this time after the last was sent is missed.
const DELIVERY_MAX: Duration = Duration::from_secs(10);

/// The writer and the listeners of one channel, or of one counter.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) wire: Wire,
    pub(super) sockets: usize,
    pub(super) buffer: ReadBuffer,
    pub(super) work: Rc<Work>,
    /// Time from one message to the next.
    every: Duration,
    messages: NumberReader,
    changes: ChangeReader,
    /// The number of the last message that was due before this phase.
    before: Cell<u64>,
    tally: RefCell<Tally>,
    delivered: Notify,
}

/// Counts of one phase.
#[derive(Debug)]
pub(super) struct Tally {
    /// When its first message is due.
    begins: Instant,
    /// Sockets that a message has not reached, in the order in which messages are due.
    unreached: Vec<usize>,
    pub(super) deliveries: Latencies,
    pub(super) reached_all: Latencies,
    /// With those of the phases before.
    pub(super) doubled: u64,
    pub(super) event_bytes: usize,
    pub(super) under_way: UnderWay,
}

/// The time in which messages were under way, and how much of it the client had nothing to do.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    messages: usize,
    /// When the first of those was sent, and how long the client had been idle until then.
    since: Option<(Instant, Duration)>,
    time: Duration,
    idle: Duration,
}

impl Room {
    pub(super) fn new(wire: Wire, sockets: usize, every: Duration) -> Room {
        Room {
            wire,
            sockets,
            buffer: ReadBuffer::new(),
            work: Rc::default(),
            every,
            messages: NumberReader::new(),
            changes: ChangeReader::new(),
            before: Cell::new(0),
            tally: RefCell::new(Tally::of(0, 0, clock::now())),
            delivered: Notify::new(),
        }
    }

    /// Says that the next message has the number after this one.
    pub(super) fn begin_after(&self, number: u64) {
        self.before.set(number);
    }

    /// Begins a phase of so many messages; gives their numbers and when each is due.
    pub(super) fn begin(&self, messages: u64) -> impl Iterator<Item = (u64, Instant)> + use<> {
        let begins = clock::now() + self.every;
        let last = self.tally.replace(Tally::of(messages, self.sockets, begins));
        self.tally.borrow_mut().doubled = last.doubled;
        let first = self.before.get() + last.unreached.len() as u64 + 1;
        self.before.set(first - 1);
        let every = self.every;
        (0..messages).scan(begins, move |due, index| {
            let this = *due;
            *due += every;
            Some((first + index, this))
        })
    }

    /// Notes that a message is sent now.
    pub(super) fn sent(&self) {
        self.tally.borrow_mut().under_way.begin(clock::now(), self.work.idle());
    }

    /// Counts one frame of a socket whose last message had the number `last`.
    pub(super) fn heard(&self, text: &[u8], last: &mut u64, arrived_at: Instant) {
        self.work.note();
        let number = match self.wire {
            Wire::Channel => self.messages.read(text),
            Wire::Counter => {
                self.changes.read(text).and_then(|change| u64::try_from(change.value).ok())
            }
        };
        let Some(number) = number else { return };
        let mut tally = self.tally.borrow_mut();
        if number <= *last {
            tally.doubled += 1;
            return;
        }
        // A gap needs no count of its own: the message that fell into it does not reach all.
        *last = number;
        let index = number.checked_sub(self.before.get() + 1).map(usize::try_from);
        let Some(Ok(index)) = index else { return };
        let every = self.every;
        if tally.reach(index, every, text.len(), arrived_at) {
            tally.under_way.end(arrived_at, self.work.idle());
            if tally.under_way.messages == 0 {
                self.delivered.notify_one();
            }
        }
    }

    /// Waits until every message of the phase has reached every socket.
    ///
    /// # Errors
    ///
    /// Some did not within 10 s.
    pub(super) async fn until_delivered(&self) -> Result<()> {
        let delivered = async {
            while self.tally.borrow().missed() > 0 {
                self.delivered.notified().await;
            }
        };
        let waited = timeout(DELIVERY_MAX, delivered).await;
        ensure!(waited.is_ok(), "{} deliveries missed", self.tally.borrow().missed());
        Ok(())
    }

    /// The counts of the last phase.
    pub(super) fn take_tally(&self) -> Tally {
        self.tally.replace(Tally::of(0, 0, clock::now()))
    }
}

impl Tally {
    fn of(messages: u64, sockets: usize, begins: Instant) -> Tally {
        Tally {
            begins,
            unreached: (0..messages).map(|_| sockets).collect(),
            deliveries: Latencies::new(),
            reached_all: Latencies::new(),
            doubled: 0,
            event_bytes: 0,
            under_way: UnderWay::default(),
        }
    }

    /// Notes that a message has reached one more socket; gives whether that was the last one.
    fn reach(&mut self, index: usize, every: Duration, bytes: usize, at: Instant) -> bool {
        let Some(unreached) = self.unreached.get_mut(index) else { return false };
        let Some(left) = unreached.checked_sub(1) else {
            self.doubled += 1;
            return false;
        };
        *unreached = left;
        let due_after = every * u32::try_from(index).unwrap_or(u32::MAX);
        let latency = at.saturating_duration_since(self.begins + due_after);
        self.event_bytes = bytes;
        self.deliveries.record(latency);
        if left == 0 {
            self.reached_all.record(latency);
        }
        left == 0
    }

    /// Deliveries that have not happened.
    fn missed(&self) -> usize {
        self.unreached.iter().sum()
    }
}

impl UnderWay {
    /// Share of the time in which the client had work; `None` if nothing was under way.
    pub(super) fn busy_share(&self) -> Option<f64> {
        let time = self.time.as_secs_f64();
        (time > 0.0).then(|| 1.0 - self.idle.as_secs_f64() / time)
    }

    fn begin(&mut self, at: Instant, idle: Duration) {
        self.messages += 1;
        self.since.get_or_insert((at, idle));
    }

    fn end(&mut self, at: Instant, idle: Duration) {
        self.messages = self.messages.saturating_sub(1);
        if self.messages == 0
            && let Some((since, idle_before)) = self.since.take()
        {
            self.time += at.saturating_duration_since(since);
            self.idle += idle.saturating_sub(idle_before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(20);

    #[test]
    fn a_message_counts_from_when_it_was_due_and_reaches_all_with_the_last_socket() {
        let room = Room::new(Wire::Channel, 2, EVERY);
        let dues: Vec<(u64, Instant)> = room.begin(2).collect();
        let (mut here, mut there) = (0, 0);

        let [(first, _), (second, due)] = dues[..] else { panic!("there are two messages") };
        room.heard(&delivered(first), &mut here, due);
        room.heard(&delivered(second), &mut here, due + EVERY);
        room.heard(&delivered(second), &mut there, due + 2 * EVERY);

        let tally = room.take_tally();
        assert_eq!((first, second), (1, 2));
        assert_eq!(tally.deliveries.summary().count, 3);
        assert_eq!(tally.reached_all.summary().count, 1);
        assert!((tally.reached_all.summary().p50_us - 40_000.0).abs() < 100.0);
        assert_eq!((tally.missed(), tally.doubled), (1, 0));
    }

    #[test]
    fn a_message_that_comes_twice_or_late_is_doubled_and_does_not_hide_one_that_is_missed() {
        let room = Room::new(Wire::Channel, 1, EVERY);
        let _ = room.begin(2);
        let mut last = 0;

        for number in [2, 2, 1] {
            room.heard(&delivered(number), &mut last, clock::now());
        }

        let tally = room.take_tally();
        assert_eq!((tally.missed(), tally.doubled), (1, 2));
    }

    #[test]
    fn numbers_go_on_in_the_next_phase() {
        let room = Room::new(Wire::Counter, 1, EVERY);
        room.begin_after(7);

        let first: Vec<u64> = room.begin(2).map(|(number, _)| number).collect();
        let second: Vec<u64> = room.begin(1).map(|(number, _)| number).collect();

        assert_eq!((&first[..], &second[..]), (&[8, 9][..], &[10][..]));
    }

    fn delivered(number: u64) -> Vec<u8> {
        crate::channel::message(number).into_bytes()
    }
}

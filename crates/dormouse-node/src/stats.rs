//! What the node counts, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start and gauges of now.
///
/// Each number is exact; numbers read one after the other need not be of the same moment.
#[derive(Debug, Default)]
pub struct NodeStats {
    pub(crate) objects_resident: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) wakes: Counter,
    pub(crate) wake_failures: Counter,
    pub(crate) hibernations: Counter,
    pub(crate) handlers: Counter,
    pub(crate) handler_faults: Counter,
    pub(crate) queue_refusals: Counter,
    pub(crate) events: Counter,
    pub(crate) alarms: Counter,
    pub(crate) parcels: Counter,
    pub(crate) jobs: Counter,
}

impl NodeStats {
    /// Objects in memory.
    pub fn objects_resident(&self) -> u64 {
        self.objects_resident.get()
    }

    /// Sockets that belong to an object.
    pub fn sessions(&self) -> u64 {
        self.sessions.get()
    }

    /// Objects made resident.
    pub fn wakes_total(&self) -> u64 {
        self.wakes.get()
    }

    /// Objects that could not be opened.
    pub fn wake_failures_total(&self) -> u64 {
        self.wake_failures.get()
    }

    /// Objects that left memory.
    pub fn hibernations_total(&self) -> u64 {
        self.hibernations.get()
    }

    /// Handlers run.
    pub fn handlers_total(&self) -> u64 {
        self.handlers.get()
    }

    /// Handlers that panicked or failed on the server's side.
    pub fn handler_faults_total(&self) -> u64 {
        self.handler_faults.get()
    }

    /// Envelopes refused because a queue was full, the node was full, or it was stopping.
    pub fn queue_refusals_total(&self) -> u64 {
        self.queue_refusals.get()
    }

    /// Alarms whose handlers succeeded.
    pub fn alarms_total(&self) -> u64 {
        self.alarms.get()
    }

    /// Parcels of messages that receivers have answered, with success or without.
    pub fn parcels_total(&self) -> u64 {
        self.parcels.get()
    }

    /// Jobs that have ended.
    pub fn jobs_total(&self) -> u64 {
        self.jobs.get()
    }

    /// Events released to sockets, counted once each however many sockets there were.
    pub fn events_total(&self) -> u64 {
        self.events.get()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

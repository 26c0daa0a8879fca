//! What a hub counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::close::{CloseCause, Flood};

/// Counters of one hub, written by its thread and read by any.
#[derive(Debug, Default)]
pub struct HubStats {
    sockets_open: AtomicU64,
    sockets_opened: AtomicU64,
    closed_peer: AtomicU64,
    closed_lost: AtomicU64,
    closed_unresponsive: AtomicU64,
    closed_protocol: AtomicU64,
    closed_too_slow: AtomicU64,
    closed_message_rate: AtomicU64,
    closed_byte_rate: AtomicU64,
    closed_owner: AtomicU64,
    closed_drained: AtomicU64,
    messages_in: AtomicU64,
    bytes_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_out: AtomicU64,
    short_writes: AtomicU64,
    refills: AtomicU64,
    queue_bytes: AtomicU64,
    inbox_skips: AtomicU64,
}

/// The counters of a hub at one moment. All but the two marked as gauges only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubCounters {
    /// Gauge: sockets that the hub holds, those in their closing handshake included.
    pub sockets_open: u64,
    /// Sockets accepted.
    pub sockets_opened: u64,
    /// Sockets closed by their client.
    pub closed_peer: u64,
    /// Sockets whose connection ended without a close frame.
    pub closed_lost: u64,
    /// Sockets closed because nothing was heard between two pings.
    pub closed_unresponsive: u64,
    /// Sockets closed for breaking the protocol or a limit of it.
    pub closed_protocol: u64,
    /// Sockets closed with 1013 because their clients did not keep up.
    pub closed_too_slow: u64,
    /// Sockets closed with 1013 because their clients sent too many frames in too little time.
    pub closed_message_rate: u64,
    /// Sockets closed with 1013 because their clients sent too many bytes in too little time.
    pub closed_byte_rate: u64,
    /// Sockets closed by their owner.
    pub closed_owner: u64,
    /// Sockets closed because the hub drained.
    pub closed_drained: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Bytes received, frame headers included.
    pub bytes_in: u64,
    /// Event and direct frames given to sockets. Direct frames that come in one buffer count once.
    pub frames_out: u64,
    /// Bytes written, frame headers included.
    pub bytes_out: u64,
    /// Writes that the kernel did not take as a whole, so that the rest was queued.
    pub short_writes: u64,
    /// Times the owner was asked to refill a socket that was behind.
    pub refills: u64,
    /// Gauge: bytes that wait for sockets, each counted once per socket.
    pub queue_bytes: u64,
    /// Publishes that were left out because the hub's inbox was full; their sockets were refilled.
    pub inbox_skips: u64,
}

impl HubStats {
    /// Reads all counters. They are read one by one, so sums over them may be off by what happens
    /// meanwhile.
    pub fn read(&self) -> HubCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HubCounters {
            sockets_open: read(&self.sockets_open),
            sockets_opened: read(&self.sockets_opened),
            closed_peer: read(&self.closed_peer),
            closed_lost: read(&self.closed_lost),
            closed_unresponsive: read(&self.closed_unresponsive),
            closed_protocol: read(&self.closed_protocol),
            closed_too_slow: read(&self.closed_too_slow),
            closed_message_rate: read(&self.closed_message_rate),
            closed_byte_rate: read(&self.closed_byte_rate),
            closed_owner: read(&self.closed_owner),
            closed_drained: read(&self.closed_drained),
            messages_in: read(&self.messages_in),
            bytes_in: read(&self.bytes_in),
            frames_out: read(&self.frames_out),
            bytes_out: read(&self.bytes_out),
            short_writes: read(&self.short_writes),
            refills: read(&self.refills),
            queue_bytes: read(&self.queue_bytes),
            inbox_skips: read(&self.inbox_skips),
        }
    }

    pub(crate) fn opened(&self) {
        add(&self.sockets_open, 1);
        add(&self.sockets_opened, 1);
    }

    pub(crate) fn gone(&self) {
        self.sockets_open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self, cause: CloseCause) {
        let counter = match cause {
            CloseCause::Peer(_) => &self.closed_peer,
            CloseCause::Lost => &self.closed_lost,
            CloseCause::Unresponsive => &self.closed_unresponsive,
            CloseCause::Protocol(_) => &self.closed_protocol,
            CloseCause::TooSlow => &self.closed_too_slow,
            CloseCause::TooFast(Flood::Messages) => &self.closed_message_rate,
            CloseCause::TooFast(Flood::Bytes) => &self.closed_byte_rate,
            CloseCause::Owner(_) => &self.closed_owner,
            CloseCause::Drained => &self.closed_drained,
        };
        add(counter, 1);
    }

    pub(crate) fn refill(&self) {
        add(&self.refills, 1);
    }

    pub(crate) fn inbox_skip(&self) {
        add(&self.inbox_skips, 1);
    }

    pub(crate) fn add(&self, tally: Tally) {
        add(&self.messages_in, tally.messages_in);
        add(&self.bytes_in, tally.bytes_in);
        add(&self.frames_out, tally.frames_out);
        add(&self.bytes_out, tally.bytes_out);
        add(&self.short_writes, tally.short_writes);
        add(&self.queue_bytes, tally.queued_bytes);
        self.queue_bytes.fetch_sub(tally.unqueued_bytes, Ordering::Relaxed);
    }
}

/// Counts of one turn of a hub, added to the shared counters at its end.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) frames_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) short_writes: u64,
    pub(crate) queued_bytes: u64,
    pub(crate) unqueued_bytes: u64,
}

fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

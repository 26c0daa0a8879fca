//! What every socket of a hub shares.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::HubConfig;
use crate::deflate::Deflater;
use crate::id::SocketId;
use crate::stats::Tally;

use super::ready::ReadyList;

/// The hub's side of a socket's work: limits, the time, counters, and lists of what is to be done.
#[derive(Debug)]
pub(crate) struct Env {
    pub(super) config: HubConfig,
    /// The time of this turn of the hub.
    pub(super) now: Instant,
    begun: Instant,
    pub(super) ready: Arc<ReadyList>,
    /// Slots with something to write or to decide at the end of this step.
    pub(super) touched: Vec<u32>,
    /// Sockets that may have to be closed when time passes.
    pub(super) watched: Vec<Watch>,
    pub(super) is_draining: bool,
    pub(super) tally: Tally,
    pub(super) deflater: Deflater,
}

/// What to look at in a socket when time has passed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Watch {
    /// It has not taken what waits for it, or is behind.
    Stalled(SocketId),
    /// The end of its handshake waits for what the client is greeted with.
    Greeted(SocketId),
    /// It is in its closing handshake, until then.
    Closing(SocketId, Instant),
}

impl Env {
    pub(super) fn new(config: HubConfig) -> Env {
        let now = Instant::now();
        Env {
            config,
            now,
            begun: now,
            ready: Arc::default(),
            touched: Vec::new(),
            watched: Vec::new(),
            is_draining: false,
            tally: Tally::default(),
            deflater: Deflater::default(),
        }
    }

    /// The time of this turn as buckets count it.
    pub(super) fn now_ns(&self) -> u64 {
        let elapsed = self.now.duration_since(self.begun);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    /// A socket's queue went from one size to another.
    pub(super) fn queue_changed(&mut self, before: usize, after: usize) {
        self.tally.queued_bytes += after.saturating_sub(before) as u64;
        self.tally.unqueued_bytes += before.saturating_sub(after) as u64;
    }
}

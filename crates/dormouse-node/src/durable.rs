//! How far the journal has come, told to the lanes that wait for it.
//!
//! A lane says which position it waits for and is woken once, when that is durable. Nobody else is: waking
//! a thread costs both sides some microseconds, and the journal's writer would pay for it at each sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dormouse_store::{Position, Store};
use tokio::sync::Notify;

/// How far the journal has come.
#[derive(Debug)]
pub(crate) struct Durable {
    position: AtomicU64,
    lanes: Box<[Waiting]>,
}

/// What one lane waits for.
#[derive(Debug)]
struct Waiting {
    /// The position, or [`NOTHING`].
    wanted: AtomicU64,
    reached: Notify,
}

/// Beyond all positions.
const NOTHING: u64 = u64::MAX;

impl Durable {
    /// Follows the journal of a store, for so many lanes.
    pub(crate) fn follow(store: &Store, lanes: usize) -> Arc<Durable> {
        let log = store.commit_log();
        let durable = Arc::new(Durable::at(log.durable(), lanes));
        let follower = Arc::clone(&durable);
        log.watch(Box::new(move |position| follower.rise(position)));
        // It may have risen before it was watched.
        durable.rise(log.durable());
        durable
    }

    fn at(position: Position, lanes: usize) -> Durable {
        let waiting = || Waiting { wanted: AtomicU64::new(NOTHING), reached: Notify::new() };
        Durable {
            position: AtomicU64::new(position.get()),
            lanes: (0..lanes).map(|_| waiting()).collect(),
        }
    }

    /// Everything up to here is durable.
    pub(crate) fn position(&self) -> Position {
        Position::new(self.position.load(Ordering::SeqCst))
    }

    /// Has the lane's [`reached`](Self::reached) return once this position is durable. It replaces what
    /// the lane waited for before.
    pub(crate) fn want(&self, lane: usize, position: Position) {
        let waiting = &self.lanes[lane];
        // Before the position is read, as `rise` does it the other way round: one of both sees it.
        waiting.wanted.store(position.get(), Ordering::SeqCst);
        waiting.tell(self.position());
    }

    /// Waits until what the lane [wants](Self::want) is durable.
    pub(crate) async fn reached(&self, lane: usize) {
        self.lanes[lane].reached.notified().await;
    }

    fn rise(&self, position: Position) {
        self.position.fetch_max(position.get(), Ordering::SeqCst);
        for waiting in &self.lanes {
            waiting.tell(position);
        }
    }
}

impl Waiting {
    /// Wakes the lane if this is enough, once.
    fn tell(&self, durable: Position) {
        let wanted = self.wanted.load(Ordering::SeqCst);
        if wanted <= durable.get()
            && self
                .wanted
                .compare_exchange(wanted, NOTHING, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        {
            self.reached.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Whether the lane was told, since it was last asked.
    fn is_told(durable: &Durable, lane: usize) -> bool {
        pin!(durable.reached(lane)).poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn only_the_lane_that_waits_is_told_and_only_once() {
        let durable = Durable::at(Position::new(5), 2);
        durable.want(0, Position::new(7));

        durable.rise(Position::new(6));
        assert!(!is_told(&durable, 0));
        durable.rise(Position::new(8));
        durable.rise(Position::new(9));

        assert!(is_told(&durable, 0));
        assert!(!is_told(&durable, 0));
        assert!(!is_told(&durable, 1));
        assert_eq!(durable.position(), Position::new(9));
    }

    #[test]
    fn what_is_durable_already_is_told_at_once() {
        let durable = Durable::at(Position::new(5), 1);

        durable.want(0, Position::new(5));

        assert!(is_told(&durable, 0));
    }
}

//! What one socket has yet to write, and what is given up when its reader is slow.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use tokio::time::Instant;

use crate::batch::Batch;
use crate::id::EventMask;
use crate::latest::LatestByKey;

/// The write queue of one socket.
///
/// # Invariants
///
/// * `queue` is in wire order, and of all its pieces only the first can be partly written.
/// * Direct frames keep the order in which they came: while any is in `held`, later ones are too.
#[derive(Debug)]
pub(crate) struct Outgoing {
    queue: VecDeque<Piece>,
    /// Direct frames that must wait for an event, each with that event's offset, or for such a frame.
    held: VecDeque<(u64, Bytes)>,
    /// Events that wait by key until the rest is written.
    latest: LatestByKey,
    event_bytes: usize,
    direct_bytes: usize,
    /// Bytes in `queue` that waited by key.
    latest_bytes: usize,
    front_is_started: bool,
    /// Filters that hold up to an offset, oldest first, for events that may have to be sent again.
    former_filters: Vec<(u64, EventMask)>,
    /// When the queue was last seen to shrink, or began to wait.
    progress_at: Instant,
    /// Since when the socket has not been at the tail of the log.
    pub(crate) behind_since: Option<Instant>,
}

#[derive(Debug)]
enum Piece {
    /// Frames of a batch; `at` moves as they are written.
    Events { batch: Batch, at: usize, end: usize },
    /// What replaces all that the client knows. It counts with the events that it stands for.
    Snapshot { frame: Bytes },
    /// Frames that must follow the event `after`.
    Direct { frames: Bytes, after: u64 },
    /// Frames of the protocol itself.
    Control { frame: Bytes },
    /// An event that has waited by key.
    Latest { frame: Bytes },
}

/// What the bytes of a piece count as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    /// The log has it, so that it can be given up and asked for again.
    Event,
    Direct,
    Latest,
}

impl Outgoing {
    pub(crate) fn new(now: Instant) -> Outgoing {
        Outgoing {
            queue: VecDeque::new(),
            held: VecDeque::new(),
            latest: LatestByKey::default(),
            event_bytes: 0,
            direct_bytes: 0,
            latest_bytes: 0,
            front_is_started: false,
            former_filters: Vec::new(),
            progress_at: now,
            behind_since: None,
        }
    }

    /// Whether there is nothing to write now. Held frames may be waiting for their event.
    pub(crate) fn is_flushed(&self) -> bool {
        self.queue.is_empty() && self.latest.is_empty()
    }

    /// Whether nothing is left that is worth keeping this for.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_flushed()
            && self.held.is_empty()
            && self.former_filters.is_empty()
            && self.behind_since.is_none()
    }

    /// Bytes of events and snapshots that are queued and not written.
    pub(crate) fn event_bytes(&self) -> usize {
        self.event_bytes
    }

    /// Bytes of direct frames and of those of the protocol that are queued or held, and not written.
    pub(crate) fn direct_bytes(&self) -> usize {
        self.direct_bytes
    }

    pub(crate) fn bytes(&self) -> usize {
        self.event_bytes + self.direct_bytes + self.latest_bytes + self.latest.bytes()
    }

    pub(crate) fn progress_at(&self) -> Instant {
        self.progress_at
    }

    pub(crate) fn push_events(&mut self, batch: &Batch, run: Range<usize>, now: Instant) {
        if run.is_empty() {
            return;
        }
        self.begin_wait(now);
        self.event_bytes += run.len();
        self.queue.push_back(Piece::Events { batch: batch.clone(), at: run.start, end: run.end });
    }

    /// Queues a part of a batch of which everything before `rest` went out directly.
    pub(crate) fn push_rest(&mut self, batch: &Batch, rest: Range<usize>, now: Instant) {
        debug_assert!(self.queue.is_empty(), "only the first piece can be partly written");
        self.front_is_started = rest.start > 0 && !rest.is_empty();
        self.push_events(batch, rest, now);
    }

    /// Keeps an event until the rest of the queue is written. `false`: it takes the place of the one
    /// that its key had.
    pub(crate) fn put_latest(&mut self, key: &Arc<str>, frame: &[u8], now: Instant) -> bool {
        self.begin_wait(now);
        self.latest.put(key, frame)
    }

    /// Queues what has waited by key, if nothing else is left to write.
    pub(crate) fn release_latest_when_last(&mut self) {
        if self.queue.is_empty() {
            self.release_latest();
        }
    }

    /// Queues what has waited by key, unless what waited before is still queued.
    pub(crate) fn release_latest(&mut self) {
        if self.latest_bytes == 0 {
            self.latest_bytes = self.latest.bytes();
            self.queue.extend(self.latest.take().map(|frame| Piece::Latest { frame }));
        }
    }

    /// Queues a snapshot. It is given up only together with events before it.
    pub(crate) fn push_snapshot(&mut self, frame: Bytes, now: Instant) {
        if frame.is_empty() {
            return;
        }
        self.begin_wait(now);
        self.event_bytes += frame.len();
        self.queue.push_back(Piece::Snapshot { frame });
    }

    /// Queues a frame of the protocol, which follows nothing but what is queued.
    pub(crate) fn push_control(&mut self, frame: Bytes, now: Instant) {
        self.begin_wait(now);
        self.direct_bytes += frame.len();
        self.queue.push_back(Piece::Control { frame });
    }

    /// Takes frames that must follow the event `after`, while the socket is at `offset`: queues them
    /// or holds them back.
    pub(crate) fn push_direct(&mut self, frames: Bytes, after: u64, offset: u64, now: Instant) {
        if frames.is_empty() {
            return;
        }
        self.direct_bytes += frames.len();
        self.held.push_back((after, frames));
        self.release(offset, now);
    }

    /// Queues the held frames that need not wait any more, as the socket is at `offset`.
    pub(crate) fn release(&mut self, offset: u64, now: Instant) {
        while let Some((after, frames)) = self.held.pop_front() {
            if after > offset {
                self.held.push_front((after, frames));
                return;
            }
            self.begin_wait(now);
            self.queue.push_back(Piece::Direct { frames, after });
        }
    }

    /// Remembers the filter that held up to `offset`, as events before it may have to be sent again.
    pub(crate) fn retire_filter(&mut self, offset: u64, filter: EventMask) {
        let earlier = self.former_filters.partition_point(|(until, _)| *until < offset);
        if let Some((until, _)) = self.former_filters.get_mut(earlier) {
            // It was to hold for longer, over events that were dropped since: the change now counts.
            *until = offset;
            self.former_filters.truncate(earlier + 1);
        } else if self.event_bytes > 0 {
            self.former_filters.push((offset, filter));
        }
    }

    /// The filter for the event at `offset`, if it is not the socket's current one.
    pub(crate) fn former_filter(&self, offset: u64) -> Option<EventMask> {
        self.former_filters.iter().find(|(until, _)| offset <= *until).map(|(_, filter)| *filter)
    }

    /// Forgets former filters that no event can need: all is written and the log is at `offset`.
    pub(crate) fn forget_filters(&mut self, offset: u64) {
        if self.event_bytes == 0 {
            self.former_filters.retain(|(until, _)| *until > offset);
        }
    }

    /// Gives up the events that are not partly written.
    ///
    /// Returns the offset of the first log event that was given up, if any was. Snapshots behind it
    /// go too; direct frames that must follow it, and all behind those, are held.
    pub(crate) fn drop_events(&mut self) -> Option<u64> {
        let mut first_dropped: Option<u64> = None;
        let mut kept = VecDeque::new();
        let mut overtaken = VecDeque::new();

        for (index, piece) in self.queue.drain(..).enumerate() {
            let is_started = index == 0 && self.front_is_started;
            match piece {
                Piece::Events { batch, at, end } => {
                    let keep_to = if is_started { batch.frame_end(at).min(end) } else { at };
                    first_dropped = first_dropped.or(batch.first_offset_in(keep_to..end));
                    if keep_to > at {
                        kept.push_back(Piece::Events { batch, at, end: keep_to });
                    }
                }
                Piece::Snapshot { .. } if first_dropped.is_some() => {}
                Piece::Direct { frames, after }
                    if !overtaken.is_empty() || first_dropped.is_some_and(|drop| after >= drop) =>
                {
                    overtaken.push_back((after, frames));
                }
                piece @ (Piece::Snapshot { .. }
                | Piece::Direct { .. }
                | Piece::Control { .. }
                | Piece::Latest { .. }) => kept.push_back(piece),
            }
        }
        self.front_is_started &= !kept.is_empty();
        let events = kept.iter().filter(|piece| piece.account() == Account::Event);
        self.event_bytes = events.map(|piece| piece.bytes().len()).sum();
        self.queue = kept;
        overtaken.append(&mut self.held);
        self.held = overtaken;
        first_dropped
    }

    /// Gives up everything but what is partly written, before a close frame that cannot wait.
    pub(crate) fn drop_all(&mut self) {
        self.drop_events();
        self.held.clear();
        self.latest = LatestByKey::default();
        self.queue.truncate(usize::from(self.front_is_started));
        (self.event_bytes, self.direct_bytes, self.latest_bytes) = (0, 0, 0);
        if let Some(started) = self.queue.front() {
            let (account, bytes) = (started.account(), started.bytes().len());
            *self.bytes_of(account) = bytes;
        }
        self.former_filters.clear();
        self.behind_since = None;
    }

    /// Lends the first pieces for one write, and says how many there are.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = slices.iter_mut().zip(&self.queue);
        pieces.map(|(slice, piece)| *slice = IoSlice::new(piece.bytes())).count()
    }

    /// Takes `written` bytes off the front.
    pub(crate) fn wrote(&mut self, mut written: usize, now: Instant) {
        self.progress_at = now;
        while written > 0 {
            let Some(front) = self.queue.front_mut() else { return };
            let length = front.bytes().len();
            let taken = length.min(written);
            match front {
                Piece::Events { at, .. } => *at += taken,
                Piece::Snapshot { frame } | Piece::Control { frame } | Piece::Latest { frame } => {
                    frame.advance(taken);
                }
                Piece::Direct { frames, .. } => frames.advance(taken),
            }
            let account = front.account();
            *self.bytes_of(account) -= taken;
            self.front_is_started = taken < length;
            if !self.front_is_started {
                self.queue.pop_front();
            }
            written -= taken;
        }
    }

    fn begin_wait(&mut self, now: Instant) {
        if self.is_flushed() {
            self.progress_at = now;
        }
    }

    fn bytes_of(&mut self, account: Account) -> &mut usize {
        match account {
            Account::Event => &mut self.event_bytes,
            Account::Direct => &mut self.direct_bytes,
            Account::Latest => &mut self.latest_bytes,
        }
    }
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Events { batch, at, end } => &batch.bytes()[*at..*end],
            Piece::Snapshot { frame } | Piece::Control { frame } | Piece::Latest { frame } => frame,
            Piece::Direct { frames, .. } => frames,
        }
    }

    fn account(&self) -> Account {
        match self {
            Piece::Events { .. } | Piece::Snapshot { .. } => Account::Event,
            Piece::Direct { .. } | Piece::Control { .. } => Account::Direct,
            Piece::Latest { .. } => Account::Latest,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::batch::BatchBuilder;

    use super::*;

    /// Log events of 3 bytes each: `\x81\x01` and the last digit of the offset.
    fn batch(offsets: Range<u64>) -> Batch {
        let mut builder = BatchBuilder::new();
        for offset in offsets {
            builder.log(offset, 0, &(offset % 10).to_string());
        }
        builder.finish()
    }

    fn outgoing() -> (Outgoing, Instant) {
        let now = Instant::now();
        (Outgoing::new(now), now)
    }

    /// Everything that a reader of the queue would see from here on.
    fn rest(outgoing: &Outgoing) -> String {
        let bytes: Vec<u8> = outgoing.queue.iter().flat_map(Piece::bytes).copied().collect();
        String::from_utf8_lossy(&bytes).replace(['\u{FFFD}', '\u{1}'], "")
    }

    #[test]
    fn pieces_leave_in_order_and_partial_writes_are_taken_off() {
        let (mut outgoing, now) = outgoing();
        outgoing.push_events(&batch(1..4), 0..9, now);
        outgoing.push_direct(Bytes::from_static(b"direct"), 3, 3, now);

        outgoing.wrote(4, now);

        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(outgoing.slices(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"\x01\x32\x81\x01\x33"[..], &b"direct"[..]));
        assert_eq!((outgoing.event_bytes(), outgoing.direct_bytes()), (5, 6));

        outgoing.wrote(11, now);
        assert!(outgoing.is_flushed() && outgoing.is_idle());
        assert_eq!(outgoing.bytes(), 0);
    }

    #[test]
    fn falling_behind_finishes_the_started_frame_and_holds_what_must_follow_dropped_events() {
        let (mut outgoing, now) = outgoing();
        outgoing.push_events(&batch(1..3), 0..6, now);
        outgoing.push_direct(Bytes::from_static(b"[after 1]"), 1, 2, now);
        outgoing.push_events(&batch(3..6), 0..9, now);
        outgoing.push_direct(Bytes::from_static(b"[after 3]"), 3, 5, now);
        outgoing.push_control(Bytes::from_static(b"[control]"), now);
        outgoing.push_direct(Bytes::from_static(b"[after 0]"), 0, 5, now);
        outgoing.push_direct(Bytes::from_static(b"[after 9]"), 9, 5, now);
        outgoing.wrote(4, now);

        let dropped = outgoing.drop_events();

        assert_eq!(dropped, Some(3), "event 2 had begun");
        assert_eq!(rest(&outgoing), "2[after 1][control]");
        assert_eq!((outgoing.event_bytes(), outgoing.direct_bytes()), (2, 5 * 9));
        outgoing.release(2, now);
        assert_eq!(rest(&outgoing), "2[after 1][control]");
        outgoing.release(5, now);
        assert_eq!(rest(&outgoing), "2[after 1][control][after 3][after 0]");
        outgoing.release(9, now);
        assert_eq!(rest(&outgoing), "2[after 1][control][after 3][after 0][after 9]");
    }

    #[test]
    fn what_waits_by_key_is_replaced_until_the_rest_is_written_and_never_dropped() {
        let (mut outgoing, now) = outgoing();
        let (ada, bob) = (Arc::from("ada"), Arc::from("bob"));
        outgoing.push_events(&batch(1..3), 0..6, now);

        assert!(outgoing.put_latest(&ada, b"[ada 1]", now));
        assert!(outgoing.put_latest(&bob, b"[bob 1]", now));
        assert!(!outgoing.put_latest(&ada, b"[ada 2]", now));
        outgoing.release_latest_when_last();
        assert_eq!(rest(&outgoing), "12", "the rest comes first");
        outgoing.drop_events();
        outgoing.release_latest_when_last();

        assert_eq!(rest(&outgoing), "[ada 2][bob 1]");
        assert_eq!((outgoing.event_bytes(), outgoing.direct_bytes(), outgoing.bytes()), (0, 0, 14));
        outgoing.put_latest(&ada, b"[ada 3]", now);
        outgoing.release_latest();
        assert_eq!(rest(&outgoing), "[ada 2][bob 1]", "one helping at a time");
        outgoing.wrote(14, now);
        assert!(!outgoing.is_flushed());
        outgoing.release_latest_when_last();
        assert_eq!(rest(&outgoing), "[ada 3]");
        outgoing.wrote(7, now);
        assert!(outgoing.is_idle() && outgoing.bytes() == 0);
    }

    #[test]
    fn a_snapshot_is_given_up_only_with_events_before_it() {
        let (mut outgoing, now) = outgoing();
        outgoing.push_snapshot(Bytes::from_static(b"[snapshot 3]"), now);
        outgoing.push_events(&batch(4..6), 0..6, now);
        outgoing.push_snapshot(Bytes::from_static(b"[snapshot 9]"), now);

        assert_eq!(outgoing.drop_events(), Some(4));

        assert_eq!(rest(&outgoing), "[snapshot 3]");
        assert_eq!(outgoing.event_bytes(), 12);
    }

    #[test]
    fn nothing_of_a_frame_that_has_not_begun_is_kept() {
        let (mut outgoing, now) = outgoing();
        outgoing.push_rest(&batch(1..3), 3..6, now);

        assert_eq!(outgoing.drop_events(), Some(2));

        assert!(outgoing.is_flushed());
        assert_eq!(outgoing.event_bytes(), 0);
    }

    #[test]
    fn a_close_that_cannot_wait_leaves_only_the_started_piece() {
        let (mut outgoing, now) = outgoing();
        outgoing.push_direct(Bytes::from_static(b"first"), 0, 0, now);
        outgoing.push_direct(Bytes::from_static(b"second"), 0, 0, now);
        outgoing.push_direct(Bytes::from_static(b"held"), 9, 0, now);
        outgoing.push_events(&batch(1..3), 0..6, now);
        outgoing.wrote(2, now);

        outgoing.drop_all();

        assert_eq!(rest(&outgoing), "rst");
        assert_eq!(outgoing.bytes(), 3);
    }

    #[test]
    fn a_former_filter_is_remembered_only_while_its_events_may_come_again() {
        let (mut outgoing, now) = outgoing();
        outgoing.retire_filter(5, EventMask(1));
        assert_eq!(outgoing.former_filter(5), None, "nothing is queued");
        outgoing.push_events(&batch(6..8), 0..6, now);
        outgoing.retire_filter(7, EventMask(2));

        assert_eq!(outgoing.former_filter(7), Some(EventMask(2)));
        assert_eq!(outgoing.former_filter(8), None);

        outgoing.drop_events();
        outgoing.forget_filters(5);
        assert_eq!(outgoing.former_filter(7), Some(EventMask(2)), "7 has not been sent again");
        outgoing.forget_filters(7);
        assert_eq!(outgoing.former_filter(7), None);
    }

    #[test]
    fn a_filter_that_changes_while_behind_counts_from_where_the_socket_is() {
        let (mut outgoing, now) = outgoing();
        outgoing.push_events(&batch(1..8), 0..21, now);
        outgoing.retire_filter(7, EventMask(1));
        outgoing.drop_events();
        outgoing.push_events(&batch(1..4), 0..9, now);

        outgoing.retire_filter(3, EventMask(2));

        assert_eq!(outgoing.former_filter(3), Some(EventMask(1)));
        assert_eq!(outgoing.former_filter(4), None);
    }
}

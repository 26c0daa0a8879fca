//! How much certainly fits into space that is reserved already ("room before BEGIN").

use parking_lot::Mutex;

/// The journal's reserved space.
#[derive(Debug)]
pub(super) struct Room {
    /// Bytes for records in one segment.
    segment_room: u64,
    /// Bytes of the largest record.
    record_bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes left in the segment that is being written.
    current_left: u64,
    /// Segments that are ready.
    ready: u64,
    /// Bytes of records that are queued or being written, and not in `current_left` yet.
    queued: u64,
}

impl Room {
    pub(super) fn new(segment_room: u64, record_bytes_max: u64) -> Room {
        Room { segment_room, record_bytes_max, state: Mutex::default() }
    }

    /// How many records of the largest size one segment takes.
    pub(super) fn slots_per_segment(&self) -> u64 {
        self.segment_room / self.record_bytes_max
    }

    /// How many records of the largest size certainly fit.
    ///
    /// A record that does not fit into the rest of a segment goes to the next one, so each segment
    /// counts by itself, rounded down.
    pub(super) fn slots(&self) -> u64 {
        let state = self.state.lock();
        let max = self.record_bytes_max;
        let in_current = state.current_left.saturating_sub(state.queued) / max;
        let overflow = state.queued.saturating_sub(state.current_left).div_ceil(max);
        (in_current + state.ready * self.slots_per_segment()).saturating_sub(overflow)
    }

    /// Notes that a record was queued.
    pub(super) fn queue(&self, bytes: u64) {
        self.state.lock().queued += bytes;
    }

    /// Notes that a batch was written, and what it left of the current segment.
    pub(super) fn written(&self, bytes: u64, current_left: u64) {
        let mut state = self.state.lock();
        state.queued = state.queued.saturating_sub(bytes);
        state.current_left = current_left;
    }

    /// Notes that one of the ready segments is being written now.
    pub(super) fn begin_segment(&self, ready: u64) {
        let mut state = self.state.lock();
        state.current_left = self.segment_room;
        state.ready = ready;
    }

    /// Notes how many segments are ready.
    pub(super) fn set_ready(&self, ready: u64) {
        self.state.lock().ready = ready;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_segment_counts_only_for_whole_records() {
        let room = Room::new(250, 100);
        assert_eq!((room.slots_per_segment(), room.slots()), (2, 0));

        room.set_ready(1);
        assert_eq!(room.slots(), 2);
        room.queue(90);
        assert_eq!(room.slots(), 1, "a queued record may need a slot");
        room.begin_segment(0);
        assert_eq!(room.slots(), 1);
        room.written(90, 160);
        assert_eq!(room.slots(), 1);
        room.queue(70);
        assert_eq!(room.slots(), 0);
    }
}

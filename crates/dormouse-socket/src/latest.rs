//! Events of which only the newest of each key counts, while they wait for one socket.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;

/// Bytes of events that wait by key for one socket. Past it those are dropped whose key came first.
pub const LATEST_BYTES_MAX: usize = 64 * 1024;

/// The newest frame of each key, in the order in which the keys came.
#[derive(Debug, Default)]
pub(crate) struct LatestByKey {
    frames: IndexMap<Arc<str>, Bytes>,
    bytes: usize,
}

impl LatestByKey {
    /// Keeps a frame. `false`: in the place of the one that its key had.
    pub(crate) fn put(&mut self, key: &Arc<str>, frame: &[u8]) -> bool {
        let former = self.frames.insert(Arc::clone(key), Bytes::copy_from_slice(frame));
        self.bytes += frame.len();
        self.bytes -= former.as_ref().map_or(0, Bytes::len);
        while self.bytes > LATEST_BYTES_MAX
            && self.frames.len() > 1
            && let Some((_, oldest)) = self.frames.shift_remove_index(0)
        {
            self.bytes -= oldest.len();
        }
        former.is_none()
    }

    /// Takes all frames out, in order.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Bytes> + use<> {
        self.bytes = 0;
        std::mem::take(&mut self.frames).into_values()
    }

    /// Bytes of all frames.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(latest: &mut LatestByKey) -> Vec<Bytes> {
        latest.take().collect()
    }

    #[test]
    fn the_newest_frame_of_a_key_takes_the_place_of_the_one_before() {
        let mut latest = LatestByKey::default();
        let (ada, bob) = (Arc::from("ada"), Arc::from("bob"));

        latest.put(&ada, b"ada at 1");
        latest.put(&bob, b"bob at 1");
        latest.put(&ada, b"ada at 22");

        assert_eq!(latest.bytes(), 17);
        assert_eq!(frames(&mut latest), [&b"ada at 22"[..], b"bob at 1"]);
        assert!(latest.is_empty() && latest.bytes() == 0);
    }

    #[test]
    fn past_the_bound_the_keys_that_came_first_are_dropped() {
        let mut latest = LatestByKey::default();
        let frame = [b'x'; LATEST_BYTES_MAX / 4];

        for key in 0..10 {
            latest.put(&Arc::from(key.to_string()), &[&[b'0' + key], &frame[1..]].concat());
        }

        assert_eq!(latest.bytes(), LATEST_BYTES_MAX);
        let firsts: Vec<u8> = latest.take().map(|frame| frame[0]).collect();
        assert_eq!(firsts, b"6789");
    }

    #[test]
    fn a_frame_that_is_larger_than_the_bound_is_kept_alone() {
        let mut latest = LatestByKey::default();
        latest.put(&Arc::from("small"), b"small");

        latest.put(&Arc::from("large"), &[b'x'; LATEST_BYTES_MAX + 1]);

        assert_eq!(frames(&mut latest).len(), 1);
    }
}

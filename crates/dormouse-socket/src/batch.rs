//! Events, encoded once for all sockets.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::deflate::{Deflater, Window};
use crate::event_stream::{self, EventId};
use crate::form::{Convention, Form};
use crate::frame::{Opcode, SERVER_HEADER_BYTES_MAX, ServerFrame, push_frame};
use crate::id::{EventEpoch, EventMask, SocketId};

/// One release of a topic: the frames of its events in order, encoded and concatenated.
///
/// A clone is another reference to the same bytes.
#[derive(Clone, Debug)]
pub struct Batch {
    inner: Arc<Inner>,
}

/// Collects the events of one [`Batch`].
#[derive(Debug, Default)]
pub struct BatchBuilder {
    inner: Inner,
}

#[derive(Debug, Default)]
struct Inner {
    /// What the offsets of its events belong to.
    epoch: EventEpoch,
    bytes: Vec<u8>,
    events: Vec<Event>,
    /// Types of the log events in it.
    types: u128,
    /// Whether there are events that not all get.
    is_for_some: bool,
    has_latest: bool,
    first_offset: Option<u64>,
    last_offset: Option<u64>,
    /// The same events in other forms, by [`Form::index`], once a socket needed them. `None` inside:
    /// the form does not differ, as nothing in it is worth compressing.
    forms: [OnceLock<Option<Batch>>; Form::MADE_COUNT],
}

/// Neighbouring frames of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) bytes: Range<usize>,
    pub(crate) frames: u64,
}

#[derive(Clone, Debug)]
struct Event {
    /// Where its frame ends in `bytes`; it begins where the one before ends.
    end: usize,
    class: Class,
    to: To,
}

/// Which of a topic's sockets get an event that is in no log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// All.
    Everyone,
    /// All but one, such as that of the user who types.
    Except(SocketId),
    /// Those that were accepted as watchers, see [`Accept`](crate::Accept).
    Watchers,
}

/// A socket, as far as it matters for which events it gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    pub(crate) id: SocketId,
    /// Whether it gets what is for watchers.
    pub(crate) watches: bool,
}

impl To {
    fn includes(self, reader: Reader) -> bool {
        match self {
            To::Everyone => true,
            To::Except(socket) => socket != reader.id,
            To::Watchers => reader.watches,
        }
    }
}

/// What becomes of an event when its reader is behind.
#[derive(Clone, Debug)]
enum Class {
    /// It is fetched from the log later. The type is its bit in an [`EventMask`].
    Log { offset: u64, type_index: u8 },
    /// It waits until a later one of the same key takes its place.
    Latest { key: Arc<str> },
    /// It is dropped.
    Lossy,
}

impl BatchBuilder {
    /// Starts a batch without events, whose offsets belong to no history that has a name.
    pub fn new() -> BatchBuilder {
        BatchBuilder::default()
    }

    /// Starts a batch without events. Offsets in it belong to this history.
    pub fn of(epoch: EventEpoch) -> BatchBuilder {
        BatchBuilder { inner: Inner { epoch, ..Inner::default() } }
    }

    /// Appends an event of the log as a text frame. They must come in order and without holes.
    ///
    /// * `offset` is its position in the log.
    /// * `type_index` is the bit of its type in an [`EventMask`].
    pub fn log(&mut self, offset: u64, type_index: u8, json: &str) -> &mut BatchBuilder {
        let inner = &mut self.inner;
        debug_assert!(
            inner.last_offset.is_none_or(|last| last + 1 == offset),
            "log events come in order and without holes"
        );
        inner.first_offset = inner.first_offset.or(Some(offset));
        inner.last_offset = Some(offset);
        inner.types |= 1_u128.checked_shl(type_index.into()).unwrap_or(0);
        self.push(Class::Log { offset, type_index }, To::Everyone, json)
    }

    /// Appends an event that is in no log as a text frame: never filtered, and dropped for a socket
    /// that is behind.
    pub fn lossy(&mut self, to: To, json: &str) -> &mut BatchBuilder {
        self.push(Class::Lossy, to, json)
    }

    /// Appends an event that is in no log as a text frame: never filtered, and for a socket that is
    /// behind kept until it can be written or a later one of the same key takes its place. One
    /// socket keeps at most [`LATEST_BYTES_MAX`](crate::LATEST_BYTES_MAX) of them, the keys that
    /// came last.
    pub fn latest(&mut self, key: Arc<str>, to: To, json: &str) -> &mut BatchBuilder {
        self.inner.has_latest = true;
        self.push(Class::Latest { key }, to, json)
    }

    fn push(&mut self, class: Class, to: To, json: &str) -> &mut BatchBuilder {
        let inner = &mut self.inner;
        inner.bytes.reserve(SERVER_HEADER_BYTES_MAX + json.len());
        push_frame(&mut inner.bytes, Opcode::Text, json.as_bytes());
        inner.is_for_some |= to != To::Everyone;
        inner.events.push(Event { end: inner.bytes.len(), class, to });
        self
    }

    /// Bytes of frames so far, headers included.
    pub fn len_bytes(&self) -> usize {
        self.inner.bytes.len()
    }

    /// Whether no event was added.
    pub fn is_empty(&self) -> bool {
        self.inner.events.is_empty()
    }

    /// Makes the batch, ready to be sent to any number of hubs.
    pub fn finish(self) -> Batch {
        Batch { inner: Arc::new(self.inner) }
    }
}

impl Batch {
    /// A batch without events, as an answer that has nothing to replay.
    pub fn empty() -> Batch {
        BatchBuilder::new().finish()
    }

    /// Joins batches of one topic, in order, into one. Later offsets must follow earlier ones.
    pub(crate) fn join(batches: &[Batch]) -> Batch {
        if let [batch] = batches {
            return batch.clone();
        }
        let mut joined = Inner {
            bytes: Vec::with_capacity(batches.iter().map(Batch::len_bytes).sum()),
            events: Vec::with_capacity(batches.iter().map(Batch::len).sum()),
            ..Inner::default()
        };
        for Batch { inner } in batches {
            let start = joined.bytes.len();
            joined.bytes.extend_from_slice(&inner.bytes);
            let moved = inner.events.iter().map(|event| event.ending_at(start + event.end));
            joined.events.extend(moved);
            joined.epoch = inner.epoch;
            joined.types |= inner.types;
            joined.is_for_some |= inner.is_for_some;
            joined.has_latest |= inner.has_latest;
            joined.first_offset = joined.first_offset.or(inner.first_offset);
            joined.last_offset = inner.last_offset.or(joined.last_offset);
        }
        Batch { inner: Arc::new(joined) }
    }

    /// The same events in the form that a socket takes. Whichever hub asks first does the work, for
    /// all hubs and all their sockets.
    pub(crate) fn in_form(&self, form: Form, deflater: &mut Deflater) -> Batch {
        let Some(index) = form.index() else { return self.clone() };
        let made = self.inner.forms[index].get_or_init(|| match form {
            Form::Plain => None,
            Form::Deflated(window) => self.deflate(window, deflater),
            Form::EventStream(_) => Some(self.event_stream()),
        });
        made.as_ref().unwrap_or(self).clone()
    }

    fn event_stream(&self) -> Batch {
        let inner = &*self.inner;
        let mut bytes = Vec::with_capacity(inner.bytes.len());
        let mut events = Vec::with_capacity(inner.events.len());
        let mut start = 0;
        for event in &inner.events {
            let id = event.offset().map(|offset| EventId { epoch: inner.epoch, offset });
            if let Some(frame) = ServerFrame::parse(&inner.bytes[start..event.end]) {
                // Only events are published, which all conventions have in common.
                event_stream::push_event(&mut bytes, frame, id, Convention::Own);
            }
            start = event.end;
            events.push(event.ending_at(bytes.len()));
        }
        let inner = Inner { bytes, events, forms: Default::default(), ..*inner };
        Batch { inner: Arc::new(inner) }
    }

    fn deflate(&self, window: Window, deflater: &mut Deflater) -> Option<Batch> {
        let inner = &*self.inner;
        let mut bytes = Vec::with_capacity(inner.bytes.len());
        let mut events = Vec::with_capacity(inner.events.len());
        let (mut start, mut has_deflated) = (0, false);
        for event in &inner.events {
            has_deflated |= deflater.push_frame(&mut bytes, &inner.bytes[start..event.end], window);
            start = event.end;
            events.push(event.ending_at(bytes.len()));
        }
        deflater.forget_payload();
        if !has_deflated {
            return None;
        }
        // It may wait in many queues, and be much smaller than what it was made from.
        bytes.shrink_to_fit();
        let inner = Inner { bytes, events, forms: Default::default(), ..*inner };
        Some(Batch { inner: Arc::new(inner) })
    }

    /// Bytes of all its frames.
    pub fn len_bytes(&self) -> usize {
        self.inner.bytes.len()
    }

    /// Whether it has no events.
    pub fn is_empty(&self) -> bool {
        self.inner.events.is_empty()
    }

    /// Number of its events.
    pub fn len(&self) -> usize {
        self.inner.events.len()
    }

    /// What the offsets of its events belong to.
    pub(crate) fn epoch(&self) -> EventEpoch {
        self.inner.epoch
    }

    /// Offset of its first log event.
    pub fn first_offset(&self) -> Option<u64> {
        self.inner.first_offset
    }

    /// Offset of its last log event.
    pub fn last_offset(&self) -> Option<u64> {
        self.inner.last_offset
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.inner.bytes
    }

    /// Whether a socket with this filter gets every byte.
    pub(crate) fn passes_whole(&self, filter: EventMask) -> bool {
        !self.inner.is_for_some && self.inner.types & !filter.0 == 0
    }

    /// Whether events in it wait by key for sockets that are behind.
    pub(crate) fn has_latest(&self) -> bool {
        self.inner.has_latest
    }

    /// Finds what `reader` gets of the bytes from `from` on, where a frame must begin: log events
    /// after `after` that `filter_at` their offset lets through, and lossy events. The events of
    /// [`latest`](Self::latest) are not among them.
    pub(crate) fn runs(
        &self,
        reader: Reader,
        from: usize,
        after: u64,
        filter_at: impl Fn(u64) -> EventMask,
    ) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut start = 0;
        for event in &self.inner.events {
            let passes = match event.class {
                Class::Log { offset, type_index } => {
                    offset > after && filter_at(offset).contains(type_index)
                }
                Class::Latest { .. } => false,
                Class::Lossy => true,
            };
            if passes && start >= from && event.to.includes(reader) {
                match runs.last_mut() {
                    Some(run) if run.bytes.end == start => {
                        run.bytes.end = event.end;
                        run.frames += 1;
                    }
                    _ => runs.push(Run { bytes: start..event.end, frames: 1 }),
                }
            }
            start = event.end;
        }
        runs
    }

    /// The events for `reader` that wait by key, each with its frame, in the bytes from `from` on.
    pub(crate) fn latest(
        &self,
        reader: Reader,
        from: usize,
    ) -> impl Iterator<Item = (&Arc<str>, &[u8])> {
        let events = if self.inner.has_latest { self.inner.events.as_slice() } else { &[] };
        let mut start = 0;
        events.iter().filter_map(move |event| {
            let begin = std::mem::replace(&mut start, event.end);
            match &event.class {
                Class::Latest { key } if begin >= from && event.to.includes(reader) => {
                    Some((key, &self.inner.bytes[begin..event.end]))
                }
                Class::Latest { .. } | Class::Log { .. } | Class::Lossy => None,
            }
        })
    }

    /// Where the frame ends that the byte before `at` belongs to. A frame's end is its own answer.
    pub(crate) fn frame_end(&self, at: usize) -> usize {
        if at == 0 {
            return 0;
        }
        let index = self.inner.events.partition_point(|event| event.end < at);
        self.inner.events.get(index).map_or(self.inner.bytes.len(), |event| event.end)
    }

    /// Offset of the first log event whose frame begins within these bytes.
    pub(crate) fn first_offset_in(&self, range: Range<usize>) -> Option<u64> {
        let mut start = 0;
        for event in &self.inner.events {
            if start >= range.end {
                break;
            }
            if start >= range.start && event.offset().is_some() {
                return event.offset();
            }
            start = event.end;
        }
        None
    }
}

impl Event {
    /// Position in the log, if it is in it.
    fn offset(&self) -> Option<u64> {
        match self.class {
            Class::Log { offset, .. } => Some(offset),
            Class::Latest { .. } | Class::Lossy => None,
        }
    }

    /// The same event, with its frame elsewhere.
    fn ending_at(&self, end: usize) -> Event {
        Event { end, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use crate::id::HubIndex;

    use super::*;

    fn socket(slot: u32) -> SocketId {
        SocketId::new(HubIndex(0), slot, NonZeroU32::MIN)
    }

    fn reader(slot: u32) -> Reader {
        Reader { id: socket(slot), watches: false }
    }

    /// Frames of 3 bytes: log events 5 (type 0), 6 (type 1), a transient one, 7 (type 0).
    fn batch() -> Batch {
        let mut builder = BatchBuilder::new();
        builder.log(5, 0, "a").log(6, 1, "b").lossy(To::Except(socket(9)), "c").log(7, 0, "d");
        builder.finish()
    }

    #[test]
    fn a_batch_is_its_frames_one_after_the_other() {
        let batch = batch();

        assert_eq!(batch.bytes(), b"\x81\x01a\x81\x01b\x81\x01c\x81\x01d");
        assert_eq!((batch.len(), batch.len_bytes()), (4, 12));
        assert_eq!((batch.first_offset(), batch.last_offset()), (Some(5), Some(7)));
        assert!(Batch::empty().is_empty());
    }

    #[test]
    fn runs_leave_out_what_is_filtered_known_or_not_for_this_socket() {
        let batch = batch();
        let runs = |slot, after, filter| -> Vec<(Range<usize>, u64)> {
            let runs = batch.runs(reader(slot), 0, after, |_| filter);
            runs.into_iter().map(|run| (run.bytes, run.frames)).collect()
        };

        assert_eq!(runs(1, 0, EventMask::ALL), [(0..12, 4)]);
        assert_eq!(runs(1, 6, EventMask::ALL), [(6..12, 2)], "events up to 6 are known");
        assert_eq!(runs(9, 0, EventMask::ALL), [(0..6, 2), (9..12, 1)], "one excepts it");
        assert_eq!(runs(1, 0, EventMask(1)), [(0..3, 1), (6..12, 2)], "transient ones pass");
        assert_eq!(runs(9, 7, EventMask::ALL), []);
    }

    #[test]
    fn what_is_for_watchers_reaches_only_them() {
        let mut builder = BatchBuilder::new();
        builder.log(1, 0, "a").lossy(To::Watchers, "b");
        builder.latest("x".into(), To::Watchers, "c");
        let batch = builder.finish();
        let runs = |reader| batch.runs(reader, 0, 0, |_| EventMask::ALL);
        let watcher = Reader { watches: true, ..reader(1) };

        assert!(!batch.passes_whole(EventMask::ALL));
        assert_eq!(runs(reader(1)), [Run { bytes: 0..3, frames: 1 }]);
        assert_eq!(runs(watcher), [Run { bytes: 0..6, frames: 2 }]);
        assert_eq!(batch.latest(reader(1), 0).count(), 0);
        assert_eq!(batch.latest(watcher, 0).count(), 1);
    }

    #[test]
    fn a_batch_passes_whole_only_if_every_log_type_is_wanted_and_nobody_is_excepted() {
        let mut builder = BatchBuilder::new();
        builder.log(1, 3, "x").lossy(To::Everyone, "y");
        let batch_of_type_3 = builder.finish();

        assert!(batch_of_type_3.passes_whole(EventMask(0b1000)));
        assert!(!batch_of_type_3.passes_whole(EventMask(0b0100)));
        assert!(!batch().passes_whole(EventMask::ALL));
    }

    #[test]
    fn an_event_stream_has_the_same_events_with_the_place_of_each() {
        let mut builder = BatchBuilder::of(EventEpoch(1));
        builder.log(5, 0, "a").lossy(To::Everyone, "b").log(6, 1, "c");
        let batch = builder.finish();

        let stream = batch.in_form(Form::EventStream(Convention::Own), &mut Deflater::default());

        let expected = "id: 0000000000000001:5\ndata: a\n\n\
                        data: b\n\n\
                        id: 0000000000000001:6\ndata: c\n\n";
        assert_eq!(std::str::from_utf8(stream.bytes()), Ok(expected));
        let only_type_1 = stream.runs(reader(1), 0, 0, |_| EventMask(0b10));
        assert_eq!(only_type_1, [Run { bytes: 32..expected.len(), frames: 2 }]);
        assert_eq!((stream.first_offset(), stream.last_offset()), (Some(5), Some(6)));
        let again = batch.in_form(Form::EventStream(Convention::Trpc), &mut Deflater::default());
        assert!(Arc::ptr_eq(&stream.inner, &again.inner), "it is written once");
    }

    #[test]
    fn joined_batches_are_like_one_that_was_built_at_once() {
        let mut rest = BatchBuilder::new();
        rest.lossy(To::Everyone, "e").log(8, 2, "f");

        let joined = Batch::join(&[batch(), rest.finish()]);

        assert_eq!(joined.bytes(), b"\x81\x01a\x81\x01b\x81\x01c\x81\x01d\x81\x01e\x81\x01f");
        assert_eq!((joined.first_offset(), joined.last_offset()), (Some(5), Some(8)));
        let only_type_2 = joined.runs(reader(9), 0, 0, |_| EventMask(0b100));
        assert_eq!(only_type_2, [Run { bytes: 12..18, frames: 2 }]);
    }

    #[test]
    fn frames_are_found_from_any_byte_in_them() {
        let batch = batch();

        let ends: Vec<usize> = (0..=12).map(|at| batch.frame_end(at)).collect();

        assert_eq!(ends, [0, 3, 3, 3, 6, 6, 6, 9, 9, 9, 12, 12, 12]);
        assert_eq!(batch.first_offset_in(0..12), Some(5));
        assert_eq!(batch.first_offset_in(1..12), Some(6));
        assert_eq!(batch.first_offset_in(6..12), Some(7));
        assert_eq!(batch.first_offset_in(6..9), None);
    }
}

//! How other threads talk to a hub.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::batch::Batch;
use crate::close::CloseCode;
use crate::id::{HubIndex, SocketId, TopicId};
use crate::stats::HubStats;

/// Bytes of published batches that wait for one hub. Past it, a hub that lags gets no batches but
/// only the names of their topics, and refills those sockets when it gets to them.
pub const INBOX_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What other threads tell a hub. A message for a socket that is gone is ignored.
#[derive(Debug)]
pub enum ToHub {
    /// Events for all sockets that are *subscribed* to the topic. Those that are behind get, once they
    /// can, the newest of each key of the events that are kept by key.
    Publish {
        /// The object.
        topic: TopicId,
        /// Its next events.
        batch: Batch,
    },
    /// The answer to `Owner::opened` and to `Owner::refill`.
    ///
    /// `direct` is written first, then `batch` through the socket's filter, and the socket's offset
    /// becomes `offset`. With `tail` the socket is subscribed while this is handled, so the next
    /// [`Publish`](ToHub::Publish) of this sender is its next event. Without it, the owner is asked
    /// for more when most of this has been written.
    Attach {
        /// Who asked.
        socket: SocketId,
        /// The object that answers, and that the socket is subscribed to.
        topic: TopicId,
        /// A frame that comes before the events, such as a snapshot. If events that were queued before
        /// it have to be given up, it is given up too, and its socket asks again from before them.
        direct: Option<Bytes>,
        /// The log events that the socket lacks, in order, as many as are sent at once.
        batch: Batch,
        /// The log offset that all of this reaches.
        offset: u64,
        /// Whether that is the tail of the log.
        tail: bool,
    },
    /// Frames for one socket: a result, an error, an acknowledgement. Never dropped while the socket
    /// is open, and never out of order with other direct frames.
    Direct {
        /// For whom.
        socket: SocketId,
        /// Whole frames; none, if there is nothing to say.
        frames: Bytes,
        /// The log offset that the socket must have passed before it gets them.
        after: u64,
        /// How many messages of the socket this answers, as counted by `SocketCx::await_answer`.
        settles: u32,
    },
    /// Closes one socket once what is queued for it has been written. Direct frames that wait for an
    /// event are dropped.
    Close {
        /// Which one.
        socket: SocketId,
        /// Code of the close frame.
        code: CloseCode,
        /// Reason in the close frame; cut to 123 bytes.
        reason: String,
    },
    /// Shuts the hub down. Sockets take turns, spread evenly. Until its turn a socket works as
    /// ever; then its messages are not taken any more, and it is closed with 1012 once its queue is
    /// written and the messages before are answered. Ends when no socket is left.
    Drain {
        /// Reason in the close frames; cut to 123 bytes.
        reason: String,
        /// Over how much time the turns are spread, counted from now. Zero: all at once.
        spread: Duration,
        /// When to drop the sockets that are left, counted from now.
        within: Duration,
    },
}

/// Makes the two ends of a hub's inbox. The handle may be used at once; what it sends waits until
/// the hub starts.
pub fn hub_channel(index: HubIndex) -> (HubHandle, HubInbox) {
    let shared = Arc::new(Shared { index, stats: HubStats::default(), queue: Mutex::default() });
    let (finished_sender, finished) = watch::channel(false);
    let handle = HubHandle { shared: Arc::clone(&shared), finished };
    (handle, HubInbox { shared, finished: finished_sender })
}

/// The sending end of a hub's inbox, for any thread.
#[derive(Clone)]
pub struct HubHandle {
    shared: Arc<Shared>,
    finished: watch::Receiver<bool>,
}

/// The receiving end of a hub's inbox: moves to the hub's thread, into `Hub::start`.
pub struct HubInbox {
    shared: Arc<Shared>,
    finished: watch::Sender<bool>,
}

/// What arrives at the hub: a message, or what is left of a batch that found the inbox full.
#[derive(Debug)]
pub(crate) enum Incoming {
    Message(ToHub),
    /// Events of this topic were left out.
    Skipped(TopicId),
}

struct Shared {
    index: HubIndex,
    stats: HubStats,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    incoming: Vec<Incoming>,
    batch_bytes: usize,
    /// Topics whose sockets will be told of a skip by what is already queued.
    skipped: HashSet<TopicId>,
    waker: Option<Waker>,
    is_closed: bool,
}

impl HubHandle {
    /// Sends one message. Never blocks and never fails: a hub that has ended ignores everything.
    ///
    /// The messages of one thread are handled in the order in which it sent them.
    pub fn send(&self, message: ToHub) {
        let mut queue = self.shared.lock();
        if queue.is_closed {
            return;
        }
        match message {
            ToHub::Publish { topic, batch } if queue.batch_bytes > INBOX_BYTES_MAX => {
                self.shared.stats.inbox_skip();
                drop(batch);
                if queue.skipped.insert(topic) {
                    queue.incoming.push(Incoming::Skipped(topic));
                }
            }
            message => {
                match &message {
                    ToHub::Publish { batch, .. } => queue.batch_bytes += batch.len_bytes(),
                    // It may subscribe a socket after the skip that is queued; that socket must be
                    // told of the next one.
                    ToHub::Attach { topic, .. } => _ = queue.skipped.remove(topic),
                    ToHub::Direct { .. } | ToHub::Close { .. } | ToHub::Drain { .. } => {}
                }
                queue.incoming.push(Incoming::Message(message));
            }
        }
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Which hub this is.
    pub fn index(&self) -> HubIndex {
        self.shared.index
    }

    /// What the hub counts.
    pub fn stats(&self) -> &HubStats {
        &self.shared.stats
    }

    /// Waits until the hub has ended: after [`ToHub::Drain`], or because its thread ended.
    pub fn finished(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut finished = self.finished.clone();
        // An error means that the hub was dropped, which is an end too.
        async move { _ = finished.wait_for(|finished| *finished).await }
    }
}

impl HubInbox {
    /// Which hub this is the inbox of.
    pub fn index(&self) -> HubIndex {
        self.shared.index
    }

    pub(crate) fn stats(&self) -> &HubStats {
        &self.shared.stats
    }

    /// Swaps everything that has arrived into `taken`, which must be empty. Without anything, the
    /// waker is woken by the next message.
    pub(crate) fn poll_take(&self, waker: &Waker, taken: &mut Vec<Incoming>) -> Poll<()> {
        let mut queue = self.shared.lock();
        if queue.incoming.is_empty() {
            match &mut queue.waker {
                Some(current) => current.clone_from(waker),
                None => queue.waker = Some(waker.clone()),
            }
            return Poll::Pending;
        }
        mem::swap(&mut queue.incoming, taken);
        queue.batch_bytes = 0;
        queue.skipped.clear();
        Poll::Ready(())
    }
}

/// The hub has ended: what is queued is dropped, and nothing is queued any more.
impl Drop for HubInbox {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        *queue = Queue { is_closed: true, ..Queue::default() };
        drop(queue);
        self.finished.send_replace(true);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that can panic runs under the lock, so a poisoned queue is as good as any.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HubHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubHandle").field("index", &self.index()).finish_non_exhaustive()
    }
}

impl fmt::Debug for HubInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubInbox").field("index", &self.index()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use crate::batch::{BatchBuilder, To};

    use super::*;

    const TOPIC: TopicId = TopicId(1);
    const OTHER: TopicId = TopicId(2);

    fn publish(topic: TopicId, bytes: usize) -> ToHub {
        let mut builder = BatchBuilder::new();
        builder.lossy(To::Everyone, &"x".repeat(bytes));
        ToHub::Publish { topic, batch: builder.finish() }
    }

    fn attach(topic: TopicId) -> ToHub {
        let socket = SocketId::new(HubIndex(0), 0, NonZeroU32::MIN);
        ToHub::Attach { socket, topic, direct: None, batch: Batch::empty(), offset: 0, tail: true }
    }

    fn take(inbox: &HubInbox) -> Vec<String> {
        let mut taken = Vec::new();
        _ = inbox.poll_take(Waker::noop(), &mut taken);
        let name = |incoming: &Incoming| match incoming {
            Incoming::Message(ToHub::Publish { topic, .. }) => format!("publish {}", topic.0),
            Incoming::Message(_) => "attach".to_owned(),
            Incoming::Skipped(topic) => format!("skipped {}", topic.0),
        };
        taken.iter().map(name).collect()
    }

    #[test]
    fn a_full_inbox_keeps_one_note_per_topic_until_somebody_attaches() {
        let (handle, inbox) = hub_channel(HubIndex(0));
        handle.send(publish(TOPIC, INBOX_BYTES_MAX));

        handle.send(publish(TOPIC, 10));
        handle.send(publish(TOPIC, 10));
        handle.send(publish(OTHER, 10));
        handle.send(attach(TOPIC));
        handle.send(publish(TOPIC, 10));

        let expected = ["publish 1", "skipped 1", "skipped 2", "attach", "skipped 1"];
        assert_eq!(take(&inbox), expected);
        assert_eq!(handle.stats().read().inbox_skips, 4);
        handle.send(publish(TOPIC, 10));
        assert_eq!(take(&inbox), ["publish 1"], "what was taken does not count any more");
    }

    #[actix_rt::test]
    async fn a_hub_that_ended_ignores_messages_and_says_that_it_ended() {
        let (handle, inbox) = hub_channel(HubIndex(3));
        let finished = handle.finished();

        drop(inbox);

        finished.await;
        handle.send(publish(TOPIC, 10));
        assert!(handle.shared.lock().incoming.is_empty());
        assert_eq!(handle.index(), HubIndex(3));
    }
}

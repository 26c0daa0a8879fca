//! Which sockets the kernel has something for.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The slots that were woken since the hub last looked, each once.
///
/// It replaces a task per socket: a socket's waker is two words and an `Arc`, a task is hundreds of
/// bytes.
#[derive(Debug, Default)]
pub(crate) struct ReadyList {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: VecDeque<u32>,
    /// One bit per slot: whether it is in `slots`.
    is_listed: Vec<u64>,
    hub: Option<Waker>,
}

struct SocketWaker {
    ready: Arc<ReadyList>,
    slot: u32,
}

impl ReadyList {
    /// A waker that lists `slot`.
    pub(crate) fn waker(self: &Arc<ReadyList>, slot: u32) -> Waker {
        Waker::from(Arc::new(SocketWaker { ready: Arc::clone(self), slot }))
    }

    /// Lists a slot and wakes the hub.
    pub(crate) fn push(&self, slot: u32) {
        let mut inner = self.lock();
        let (word, bit) = place(slot);
        if inner.is_listed.len() <= word {
            inner.is_listed.resize(word + 1, 0);
        }
        if inner.is_listed[word] & bit != 0 {
            return;
        }
        inner.is_listed[word] |= bit;
        inner.slots.push_back(slot);
        let hub = inner.hub.take();
        drop(inner);
        if let Some(hub) = hub {
            hub.wake();
        }
    }

    /// Swaps the listed slots into `taken`, which must be empty. Without any, `hub` is woken by the
    /// next one.
    pub(crate) fn take(&self, hub: &Waker, taken: &mut VecDeque<u32>) {
        let mut inner = self.lock();
        if inner.slots.is_empty() {
            match &mut inner.hub {
                Some(current) => current.clone_from(hub),
                None => inner.hub = Some(hub.clone()),
            }
            return;
        }
        mem::swap(&mut inner.slots, taken);
        for &slot in &*taken {
            let (word, bit) = place(slot);
            inner.is_listed[word] &= !bit;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that can panic half way runs under the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(slot: u32) -> (usize, u64) {
    ((slot / u64::BITS) as usize, 1 << (slot % u64::BITS))
}

impl Wake for SocketWaker {
    fn wake(self: Arc<SocketWaker>) {
        self.ready.push(self.slot);
    }

    fn wake_by_ref(self: &Arc<SocketWaker>) {
        self.ready.push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_listed_once_until_it_was_taken() {
        let ready = Arc::new(ReadyList::default());
        let waker = ready.waker(70);
        let mut taken = VecDeque::new();

        waker.wake_by_ref();
        ready.push(3);
        waker.wake_by_ref();

        ready.take(Waker::noop(), &mut taken);
        assert_eq!(taken, [70, 3]);
        taken.clear();
        ready.take(Waker::noop(), &mut taken);
        assert!(taken.is_empty());
        waker.wake();
        ready.take(Waker::noop(), &mut taken);
        assert_eq!(taken, [70]);
    }
}

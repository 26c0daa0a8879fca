//! A reference to one object, whether it is awake or not.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dashmap::DashMap;
use dormouse::{Key, Kind};
use dormouse_socket::TopicId;

use crate::entry::Entry;

/// The entries of a node, by key.
pub(crate) type Entries = DashMap<Key, Arc<Entry>>;

/// One object, whether it is awake or not. While it exists the node keeps the object's queue and
/// sessions under one [`TopicId`].
pub struct ObjectRef {
    entry: Arc<Entry>,
    entries: Arc<Entries>,
}

impl ObjectRef {
    /// Refers to the entry of `key`, made by `make` if there is none.
    pub(crate) fn get(
        entries: &Arc<Entries>,
        key: &Key,
        make: impl FnOnce() -> Entry,
    ) -> ObjectRef {
        // The count is raised while the shard is locked: see `Entry::refs`.
        if let Some(entry) = entries.get(key) {
            entry.refs.fetch_add(1, Ordering::Relaxed);
            return ObjectRef { entry: Arc::clone(&entry), entries: Arc::clone(entries) };
        }
        let entry = entries.entry(key.clone()).or_insert_with(|| Arc::new(make()));
        entry.refs.fetch_add(1, Ordering::Relaxed);
        ObjectRef { entry: Arc::clone(&entry), entries: Arc::clone(entries) }
    }

    /// The object's name.
    pub fn key(&self) -> &Key {
        &self.entry.key
    }

    /// The object's kind.
    pub fn kind(&self) -> &Arc<Kind> {
        &self.entry.kind
    }

    /// The object as hubs know it.
    pub fn topic(&self) -> TopicId {
        self.entry.topic
    }

    /// The object that it is a shard of; itself, if it is none.
    pub fn root(&self) -> &ObjectRef {
        self.entry.root.as_ref().unwrap_or(self)
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl Clone for ObjectRef {
    fn clone(&self) -> ObjectRef {
        // Not under the shard's lock, which is fine: the count is above zero as long as `self` is.
        self.entry.refs.fetch_add(1, Ordering::Relaxed);
        ObjectRef { entry: Arc::clone(&self.entry), entries: Arc::clone(&self.entries) }
    }
}

impl Drop for ObjectRef {
    fn drop(&mut self) {
        if self.entry.refs.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        // An actor holds a reference of its own, so whoever drops the last one finds it asleep. What is
        // removed is dropped after the map is unlocked: a shard's entry refers to its root's.
        let _removed = self.entries.remove_if(&self.entry.key, |_, entry| {
            Arc::ptr_eq(entry, &self.entry)
                && entry.refs.load(Ordering::Acquire) == 0
                && entry.is_asleep()
        });
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectRef({})", self.entry.key)
    }
}

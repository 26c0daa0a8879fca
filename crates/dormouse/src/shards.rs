//! Objects that are split into several, of which each has a part of the users.
//!
//! Clients know one object, the *root*. Its *shards* are objects of a kind that clients cannot reach by
//! name; the runtime sends the sockets of a user to the shard that the root's kind names, once the root
//! has said that its shards are ready. Root and shards are one group: who is present, and what passes
//! between sockets without an object, is the same for all of it.

use dormouse_store::Key;

use crate::kind_settings::KindSettings;
use crate::session::User;

/// How a kind is split, or of which it is a part.
#[derive(Default)]
pub(crate) enum Sharding {
    /// Every object stands for itself.
    #[default]
    Whole,
    /// Which shard of an object has a user.
    Root(ShardOf),
    /// Which object one is a shard of.
    Shard(RootOf),
}

type ShardOf = Box<dyn Fn(&KindSettings, &Key, Option<&User>) -> Option<Key> + Send + Sync>;
type RootOf = fn(&Key) -> Option<Key>;

impl Sharding {
    pub(crate) fn root<T: 'static>(
        shard_of: fn(&T, &Key, Option<&User>) -> Option<Key>,
    ) -> Sharding {
        Sharding::Root(Box::new(move |settings, key, user| shard_of(settings.own()?, key, user)))
    }

    pub(crate) fn shard_of(
        &self,
        settings: &KindSettings,
        key: &Key,
        user: Option<&User>,
    ) -> Option<Key> {
        match self {
            Sharding::Root(shard_of) => shard_of(settings, key, user),
            Sharding::Whole | Sharding::Shard(_) => None,
        }
    }

    pub(crate) fn root_of(&self, key: &Key) -> Option<Key> {
        match self {
            Sharding::Shard(root_of) => root_of(key),
            Sharding::Whole | Sharding::Root(_) => None,
        }
    }

    pub(crate) fn is_shard(&self) -> bool {
        matches!(self, Sharding::Shard(_))
    }
}

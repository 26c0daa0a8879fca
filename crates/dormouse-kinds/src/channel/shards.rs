//! How a channel feeds its shards.
//!
//! The channel has every message and decides their order. It sends them to each shard through the
//! outbox, which keeps the order and loses nothing; a shard broadcasts them to its own sockets. What is
//! written to a shard goes to the channel the same way, and comes back as a message.
//!
//! A shard that is new, or was not used for a while, is sent what it lacks, page by page. Sockets go to
//! the shards only when all have everything, so that going from one to many needs nothing by hand.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use dormouse::{Cx, Delivery, Error, ErrorCode, Key, Object as _, Offset, User, WRITE};
use serde::{Deserialize, Serialize};

use super::part;
use super::shard::ChannelShard;
use super::store::{Fed, MemberRow};
use super::words::{Message, Post};
use super::{Channel, ChannelSettings};

/// The alarm that goes on with feeding.
pub(super) const FEED: &str = "feed";

/// Most messages or members that a shard is sent in one go.
const FED_AT_ONCE_MAX: u32 = 200;

/// Most bytes of JSON in one go, unless one alone has more: well below what a message between objects
/// may have.
const FED_BYTES_MAX: usize = 256 << 10;

/// How many receipts stand in one message to a shard.
const READERS_AT_ONCE: usize = 200;

/// How often the channel looks whether its shards have everything, while they do not.
const FEED_LOOK: Duration = Duration::from_millis(20);

/// What a channel tells a shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToShard {
    /// Those who have written or read until now.
    Members { members: Vec<MemberRow> },
    /// The next messages.
    Messages { messages: Vec<Message> },
    /// A message that came from the shard is stored.
    Ack { session: String, client_id: Option<String>, message_id: String, timestamp: i64 },
    /// Somebody has read the messages up to this one.
    Read { user: Writer, message_id: String },
    /// The messages up to this time, in milliseconds since 1970, are too old.
    Prune { up_to: i64 },
}

/// What a shard tells its channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromShard {
    /// Somebody wrote a message.
    Post { user: Writer, post: Post, session: String },
    /// Somebody has read the messages up to this one.
    Read { user: Writer, message_id: String },
}

/// A user, as far as messages need one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Writer {
    pub(super) id: String,
    pub(super) username: String,
    pub(super) avatar: Option<String>,
}

/// The shard of a channel that has a user's sockets.
pub(super) fn shard_of(settings: &ChannelSettings, key: &Key, user: Option<&User>) -> Option<Key> {
    let user = user?;
    let shards = u64::from(settings.shards).max(1);
    if shards == 1 {
        return None;
    }
    // Another hash in another version moves users to other shards, which they do not notice.
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&user.id);
    shard_key(key.id(), hash % shards)
}

/// The channel that a shard is a part of.
pub(super) fn root_of(shard: &Key) -> Option<Key> {
    let (_, id) = shard.id().split_once('/')?;
    Key::new(Channel::KIND, id).ok()
}

/// `None` if the channel's id is so long that a shard's would be too long.
fn shard_key(channel_id: &str, shard: u64) -> Option<Key> {
    Key::new(ChannelShard::KIND, format!("{shard}/{channel_id}")).ok()
}

impl Channel {
    /// Sees to it that sockets go to the shards once those have everything.
    pub(super) fn expect_shards(cx: &mut Cx<Self>) -> Result<(), Error> {
        if Self::shards(cx)? == 0 {
            return Ok(());
        }
        if Self::feed(cx)? && cx.undelivered() == 0 {
            cx.split();
            return Ok(());
        }
        cx.set_alarm(FEED, cx.now().saturating_add(FEED_LOOK))
    }

    /// Sends all shards what they lack, as much as goes at once. `true`: they lack nothing that is not on
    /// its way.
    pub(super) fn feed(cx: &mut Cx<Self>) -> Result<bool, Error> {
        let mut have_all = true;
        for shard in 0..Self::shards(cx)? {
            match Self::feed_one(cx, shard) {
                Ok(has_all) => have_all &= has_all,
                // The outbox is full.
                Err(err) if err.code() == ErrorCode::ServiceUnavailable => have_all = false,
                Err(err) => return Err(err),
            }
        }
        if !have_all && cx.alarm(FEED)?.is_none() {
            cx.set_alarm(FEED, cx.now().saturating_add(FEED_LOOK))?;
        }
        Ok(have_all)
    }

    /// Into how many shards the channel is split; 0 if it is not.
    fn shards(cx: &Cx<Self>) -> Result<u64, Error> {
        let shards = u64::from(cx.settings::<ChannelSettings>()?.shards);
        let is_split = shards > 1 && shard_key(cx.id(), shards).is_some();
        Ok(if is_split { shards } else { 0 })
    }

    /// Sends one shard the next of what it lacks: first the members, then the messages. `false`: there is
    /// more.
    fn feed_one(cx: &mut Cx<Self>, shard: u64) -> Result<bool, Error> {
        let before = part::store(cx).fed(shard)?;
        if part::store(cx).after(before.seq, 1, |_| true)?.is_empty() {
            return Ok(true);
        }
        let Some(key) = shard_key(cx.id(), shard) else { return Ok(true) };
        if let Some(after) = &before.members_after {
            let members = part::store(cx).members(after, FED_AT_ONCE_MAX)?;
            let last = members.last().map(|member| member.user_id.clone());
            let is_page_full = members.len() == FED_AT_ONCE_MAX as usize;
            let sent = send_some(cx, &key, members, |members| ToShard::Members { members })?;
            let members_after = sent.map(|member| member.user_id);
            if is_page_full || members_after != last {
                part::store(cx).set_fed(shard, &Fed { members_after, ..before })?;
                return Ok(false);
            }
        }
        let stored = part::store(cx).after(before.seq, FED_AT_ONCE_MAX, |_| true)?;
        let seqs: HashMap<String, Offset> =
            stored.iter().map(|stored| (stored.message.id.clone(), stored.seq)).collect();
        let messages = stored.into_iter().map(|stored| stored.message).collect();
        let sent = send_some(cx, &key, messages, |messages| ToShard::Messages { messages })?;
        let Some(seq) = sent.and_then(|newest| seqs.get(&newest.id).copied()) else {
            return Ok(true);
        };
        let readers = part::store(cx).who_read(before.seq, seq)?;
        for some in readers.chunks(READERS_AT_ONCE) {
            cx.send_to(&key, &ToShard::Members { members: some.to_vec() })?;
        }
        part::store(cx).set_fed(shard, &Fed { seq, members_after: None })?;
        Ok(part::store(cx).after(seq, 1, |_| true)?.is_empty())
    }

    /// Tells every shard that was sent the messages up to this one. Others hear of it when they are.
    pub(super) fn tell_shards(
        cx: &mut Cx<Self>,
        up_to: Offset,
        message: &ToShard,
    ) -> Result<(), Error> {
        for shard in part::store(cx).shards_fed(up_to)? {
            if let Some(key) = shard_key(cx.id(), shard) {
                cx.send_to(&key, message)?;
            }
        }
        Ok(())
    }

    /// Something that was written to a shard.
    pub(super) fn on_delivery(
        &mut self,
        cx: &mut Cx<Self>,
        delivery: Delivery<FromShard>,
    ) -> Result<(), Error> {
        let Delivery { sender, message } = delivery;
        let is_own = sender.kind() == ChannelShard::KIND
            && root_of(&sender).is_some_and(|root| root == *cx.key());
        if !is_own {
            return Err(Error::forbidden("only a channel's own shards write to it so"));
        }
        match message {
            FromShard::Post { user, post, session } => {
                let client_id = post.client_id.as_ref().map(|id| id.as_str().to_owned());
                let posted = Self::write(cx, &user.into(), &post, |cx, message| {
                    let (message_id, timestamp) = (message.id.clone(), message.timestamp);
                    let ack = ToShard::Ack { session, client_id, message_id, timestamp };
                    cx.send_to(&sender, &ack)
                });
                posted.map(|_| ())
            }
            FromShard::Read { user, message_id } => {
                // It may have been deleted meanwhile.
                let Some(message) = part::store(cx).by_id(&message_id)? else { return Ok(()) };
                Self::read(cx, &user.into(), message)
            }
        }
    }
}

impl From<&User> for Writer {
    fn from(user: &User) -> Writer {
        Writer { id: user.id.clone(), username: user.username.clone(), avatar: user.avatar.clone() }
    }
}

impl From<Writer> for User {
    fn from(Writer { id, username, avatar }: Writer) -> User {
        // The shard has asked for the permission.
        User { id, username, avatar, permissions: vec![WRITE.to_owned()] }
    }
}

/// Sends as many as go at once. Gives the last of them; `None` if there are none.
fn send_some<T: Serialize + Clone>(
    cx: &mut Cx<Channel>,
    shard: &Key,
    all: Vec<T>,
    message: impl FnOnce(Vec<T>) -> ToShard,
) -> Result<Option<T>, Error> {
    let mut bytes = 0;
    let mut some = Vec::new();
    for one in all {
        bytes += serde_json::to_string(&one).map_err(Error::internal)?.len();
        if !some.is_empty() && bytes > FED_BYTES_MAX {
            break;
        }
        some.push(one);
    }
    let last = some.last().cloned();
    if last.is_some() {
        cx.send_to(shard, &message(some))?;
    }
    Ok(last)
}

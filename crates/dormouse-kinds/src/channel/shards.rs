//! How a channel feeds its shards.
//!
//! The channel has every message and decides their order. It sends them to each shard through the
//! outbox, which keeps the order and loses nothing; a shard broadcasts them to its own sockets. What is
//! written to a shard goes to the channel the same way, and comes back as a message.
//!
//! A shard that is new, or was not used for a while, is sent what it lacks, page by page. Sockets go to
//! the shards only when all have everything, so that going from one to many needs nothing by hand.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use dormouse::{Cx, Delivery, Error, ErrorCode, Key, Object as _, Offset, Timestamp, User, WRITE};
use serde::{Deserialize, Serialize};

use super::part::{self, messages_after};
use super::shard::ChannelShard;
use super::store::MemberRow;
use super::words::{Message, Post};
use super::{Channel, ChannelSettings};

/// The alarm that goes on with feeding.
pub(super) const FEED: &str = "feed";

/// Most messages that a shard is sent in one go.
const FED_MESSAGES_MAX: u32 = 200;

/// Most members that a shard is told of.
const FED_MEMBERS_MAX: u32 = 5000;

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
    /// The messages up to this one are too old.
    Prune { up_to: String },
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
            cx.split(false);
            return Ok(());
        }
        if Self::feed(cx)? && cx.undelivered() == 0 {
            cx.split(true);
            return Ok(());
        }
        cx.set_alarm(FEED, after(cx.now(), FEED_LOOK))
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
            cx.set_alarm(FEED, after(cx.now(), FEED_LOOK))?;
        }
        Ok(have_all)
    }

    /// Into how many shards the channel is split; 0 if it is not.
    fn shards(cx: &Cx<Self>) -> Result<u64, Error> {
        let shards = u64::from(cx.settings::<ChannelSettings>()?.shards);
        let is_split = shards > 1 && shard_key(cx.id(), shards).is_some();
        Ok(if is_split { shards } else { 0 })
    }

    /// Sends one shard the next of what it lacks. `false`: there is more.
    fn feed_one(cx: &mut Cx<Self>, shard: u64) -> Result<bool, Error> {
        let fed = part::store(cx).fed(shard)?;
        let page = messages_after(cx, fed.unwrap_or(Offset::ZERO), FED_MESSAGES_MAX)?;
        let Some(last) = page.last() else { return Ok(true) };
        let reached = last.seq;
        let Some(key) = shard_key(cx.id(), shard) else { return Ok(true) };
        if fed.is_none() {
            let members = part::store(cx).members("", FED_MEMBERS_MAX)?;
            cx.send_to(&key, &ToShard::Members { members })?;
        }
        let messages = page.into_iter().map(|stored| stored.message).collect();
        cx.send_to(&key, &ToShard::Messages { messages })?;
        part::store(cx).set_fed(shard, reached)?;
        Ok(part::store(cx).after(reached, 1, |_| true)?.is_empty())
    }

    /// Tells every shard that was ever fed.
    pub(super) fn tell_shards(cx: &mut Cx<Self>, message: &ToShard) -> Result<(), Error> {
        for shard in part::store(cx).fed_shards()? {
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

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(now)
}

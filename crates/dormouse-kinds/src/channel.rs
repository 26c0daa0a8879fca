//! `channel`: a group chat. Everybody who is in it sees who else is, who types, and every message in
//! the same order.
//!
//! Messages and receipts are in the event log; who is present and who types passes between the
//! sockets without the channel, which sleeps as long as nobody writes. A channel with very many users
//! can be split into shards.

mod limits;
mod live;
mod part;
mod queries;
mod retention;
mod shard;
mod shards;
mod store;
mod words;

use std::num::NonZeroU32;
use std::time::Duration;

use dormouse::{Alarm, Cx, Error, Methods, Object, Sender, Session, User};
use serde::{Deserialize, Deserializer};

use self::part::{Part, needs_user, on_sync, say_unknown, user_of};
use self::shards::ToShard;
use self::store::Stored;

pub use self::limits::{ClientId, Content, MessageId, Status, Text, ThreadId};
pub use self::queries::{GetHistory, GetThread, History, Member, Members, Thread};
pub use self::shard::ChannelShard;
pub use self::words::{
    ChannelEvent, ChannelUser, ErrorName, MarkRead, Message, OnlineUsers, Post, SetStatus, Sync,
    Typing,
};

/// Most shards of one channel: each is sent every message.
const SHARDS_MAX: u16 = 64;

/// A channel in memory: nothing, as everything is read from its database when it is needed.
#[derive(Clone, Copy, Debug)]
pub struct Channel;

/// What the settings file may say in `[channel]`, beside `sockets_max`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelSettings {
    /// Messages older than this are deleted, such as `"30d"`; never, if it is left out.
    #[serde(deserialize_with = "retention_text")]
    pub retention: Option<Duration>,
    /// Into how many shards each channel is split, by a hash of the user: 1 (not at all) to 64.
    #[serde(deserialize_with = "shards_number")]
    pub shards: u16,
}

impl Default for ChannelSettings {
    fn default() -> ChannelSettings {
        ChannelSettings { retention: None, shards: 1 }
    }
}

impl Object for Channel {
    const KIND: &'static str = "channel";
    type Event = ChannelEvent;
    const MIGRATIONS: &'static [&'static str] = &[include_str!("channel/1_channel.sql")];
    const NEEDS_USER: bool = true;
    const SOCKETS_MAX: NonZeroU32 = NonZeroU32::new(1000).expect("it is not zero");
    const FULL: Option<&'static str> = Some("Channel full");

    fn methods() -> Methods<Self> {
        live::pass_on(Methods::new())
            .id("id")
            .settings::<ChannelSettings>()
            .sharded_by(shards::shard_of)
            .mutation("post", Self::post)
            .query("history", Self::history)
            .query("thread", Self::thread)
            .query("members", Self::members)
            .connected(Self::on_connected)
            .message("message", Sender::Reader, Self::on_message)
            .message("sync", Sender::Reader, on_sync::<Self>)
            .message("read", Sender::Reader, Self::on_read)
            .alarm(Self::on_alarm)
            .delivery(Self::on_delivery)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Channel)
    }

    fn initial(&self, cx: &Cx<Self>, session: &Session) -> Result<Option<ChannelEvent>, Error> {
        part::initial_state(cx, session).map(Some)
    }
}

impl Part for Channel {
    fn channel_id(cx: &Cx<Self>) -> &str {
        cx.id()
    }
}

impl Channel {
    fn on_connected(&mut self, cx: &mut Cx<Self>, _: &Session) -> Result<(), Error> {
        Self::expect_pruning(cx)?;
        Self::expect_shards(cx)
    }

    fn on_message(
        &mut self,
        cx: &mut Cx<Self>,
        session: &Session,
        post: Post,
    ) -> Result<(), Error> {
        let client_id = post.client_id.as_ref().map(|id| id.as_str().to_owned());
        let acknowledge = |cx: &mut Cx<Self>, message: &Message| {
            let (message_id, timestamp) = (message.id.clone(), message.timestamp);
            cx.send(session.id, &ChannelEvent::Ack { client_id, message_id, timestamp })
        };
        Self::write(cx, user_of(session)?, &post, acknowledge).map(|_| ())
    }

    fn post(&mut self, cx: &mut Cx<Self>, post: Post) -> Result<Message, Error> {
        let caller = cx.caller().user.clone();
        let user = caller.as_deref().ok_or_else(needs_user)?;
        Self::write(cx, user, &post, |_, _| Ok(()))
    }

    fn on_read(
        &mut self,
        cx: &mut Cx<Self>,
        session: &Session,
        read: MarkRead,
    ) -> Result<(), Error> {
        match part::store(cx).by_id(read.message_id.as_str())? {
            Some(message) => Self::read(cx, user_of(session)?, message),
            None => say_unknown(cx, session),
        }
    }

    fn on_alarm(&mut self, cx: &mut Cx<Self>, alarm: &Alarm) -> Result<(), Error> {
        if alarm.name == shards::FEED { Self::expect_shards(cx) } else { Self::prune(cx) }
    }

    /// Stores a message and tells everybody, unless that was done before.
    ///
    /// `acknowledge` comes before the message, so that its writer's client knows it when it comes.
    fn write(
        cx: &mut Cx<Self>,
        user: &User,
        post: &Post,
        acknowledge: impl FnOnce(&mut Cx<Self>, &Message) -> Result<(), Error>,
    ) -> Result<Message, Error> {
        part::ask_to_write(user)?;
        let client_id = post.client_id.as_ref().map(|id| id.as_str());
        let store = part::store(cx);
        let known = client_id.map(|id| store.by_client_id(&user.id, id)).transpose()?;
        if let Some(Stored { message, .. }) = known.flatten() {
            acknowledge(cx, &message)?;
            return Ok(message);
        }
        let message = Message {
            id: cx.new_uuid().to_string(),
            channel_id: cx.id().to_owned(),
            user_id: user.id.clone(),
            username: user.username.clone(),
            content: post.content.as_str().to_owned(),
            timestamp: cx.now().as_ms(),
            thread_id: post.thread_id.as_ref().map(|id| id.as_str().to_owned()),
            avatar_url: user.avatar.clone(),
        };
        acknowledge(cx, &message)?;
        part::publish(cx, &message, client_id)?;
        Self::expect_pruning(cx)?;
        Self::feed(cx)?;
        Ok(message)
    }

    /// Notes what a user has read.
    fn read(cx: &mut Cx<Self>, user: &User, message: Stored) -> Result<(), Error> {
        let (message_id, seq) = (message.message.id.clone(), message.seq);
        if part::mark_read(cx, user, message)? {
            Self::tell_shards(cx, seq, &ToShard::Read { user: user.into(), message_id })?;
        }
        Ok(())
    }
}

fn retention_text<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(text)?;
    humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

fn shards_number<'de, D: Deserializer<'de>>(number: D) -> Result<u16, D::Error> {
    let shards = u16::deserialize(number)?;
    let is_allowed = (1..=SHARDS_MAX).contains(&shards);
    is_allowed
        .then_some(shards)
        .ok_or_else(|| serde::de::Error::custom(format!("`shards` must be 1 to {SHARDS_MAX}")))
}

#[cfg(test)]
mod tests;

//! `channel`: a group chat. Everybody who is in it sees who else is, who types, and every message in
//! the same order.
//!
//! Messages and receipts are in the event log; who is present and who types passes between the
//! sockets without the channel, which sleeps as long as nobody writes.

mod limits;
mod live;
mod queries;
mod retention;
mod store;
mod words;

use std::num::NonZeroU32;
use std::time::Duration;

use dormouse::{Cx, Error, Methods, Object, Offset, PresenceEvents, Session, User, WRITE};
use serde::{Deserialize, Deserializer};

use self::store::{Store, Stored};

pub use self::limits::{ClientId, Content, MessageId, Status, Text, ThreadId};
pub use self::queries::{GetHistory, GetThread, History, Member, Members, Thread};
pub use self::words::{
    ChannelEvent, ChannelUser, ErrorName, MarkRead, Message, OnlineUsers, Post, SetStatus, Sync,
    Typing,
};

/// How many messages a socket gets at once when it connects.
const INITIAL_MESSAGES: u32 = 50;

/// Most messages that one `sync` gives.
const SYNC_MESSAGES_MAX: u32 = 500;

/// Most bytes of text that one `sync` gives, and what a socket gets when it connects: a socket that
/// leaves more unread than it may is closed.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// A channel in memory: nothing, as everything is read from its database when it is needed.
#[derive(Clone, Copy, Debug)]
pub struct Channel;

/// What the settings file may say in `[channel]`, beside `sockets_max`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelSettings {
    /// Messages older than this are deleted, such as `"30d"`; never, if it is left out.
    #[serde(deserialize_with = "duration")]
    pub retention: Option<Duration>,
}

impl Object for Channel {
    const KIND: &'static str = "channel";
    type Event = ChannelEvent;
    const MIGRATIONS: &'static [&'static str] = &[include_str!("channel/1_channel.sql")];
    const NEEDS_USER: bool = true;
    const SOCKETS_MAX: NonZeroU32 = NonZeroU32::new(1000).expect("it is not zero");
    const FULL: Option<&'static str> = Some("Channel full");

    fn methods() -> Methods<Self> {
        Methods::new()
            .id("id")
            .settings::<ChannelSettings>()
            .mutation("post", Self::post)
            .query("history", Self::history)
            .query("thread", Self::thread)
            .query("members", Self::members)
            .message("message", Self::on_message)
            .message("sync", Self::on_sync)
            .message("read", Self::on_read)
            .relay("typing", live::typing)
            .relay("presence", live::presence)
            .presence(PresenceEvents {
                arrived: live::arrived,
                departed: live::departed,
                online: live::online,
            })
            .alarm(Self::on_alarm)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Channel)
    }

    fn initial(&self, cx: &Cx<Self>, session: &Session) -> Result<Option<ChannelEvent>, Error> {
        let store = Self::store(cx);
        let mut bytes = 0;
        let mut messages: Vec<Message> = store
            .newest(None, INITIAL_MESSAGES)?
            .into_iter()
            .map(|stored| stored.message)
            .take_while(|message| {
                // The newest one is always shown.
                let fits = bytes == 0 || bytes + message.content.len() <= TEXT_BYTES_MAX;
                bytes += message.content.len();
                fits
            })
            .collect();
        messages.reverse();
        let user = session.user.as_deref();
        let last_read_message_id = user.map(|user| store.last_read(&user.id)).transpose()?;
        Ok(Some(ChannelEvent::InitialState {
            messages,
            online: OnlineUsers::from(&cx.online()),
            last_read_message_id: last_read_message_id.flatten(),
        }))
    }
}

impl Channel {
    fn on_message(
        &mut self,
        cx: &mut Cx<Self>,
        session: &Session,
        post: Post,
    ) -> Result<(), Error> {
        let user = user_of(session)?;
        let client_id = post.client_id.as_ref().map(|id| id.as_str().to_owned());
        let ack = |message: &Message| ChannelEvent::Ack {
            client_id: client_id.clone(),
            message_id: message.id.clone(),
            timestamp: message.timestamp,
        };
        let message = match Self::known_post(cx, user, &post)? {
            Some(known) => return cx.send(session.id, &ack(&known)),
            None => Self::compose(cx, user, &post)?,
        };
        // Before the message, so that its writer's client knows it when it comes.
        cx.send(session.id, &ack(&message))?;
        Self::publish(cx, user, &message, client_id.as_deref())
    }

    fn post(&mut self, cx: &mut Cx<Self>, post: Post) -> Result<Message, Error> {
        let caller = cx.caller().user.clone();
        let user = caller.as_deref().ok_or_else(needs_user)?;
        if let Some(known) = Self::known_post(cx, user, &post)? {
            return Ok(known);
        }
        let message = Self::compose(cx, user, &post)?;
        let client_id = post.client_id.as_ref().map(|id| id.as_str());
        Self::publish(cx, user, &message, client_id)?;
        Ok(message)
    }

    /// The message that was stored when a client sent this before, if it did.
    fn known_post(cx: &Cx<Self>, user: &User, post: &Post) -> Result<Option<Message>, Error> {
        if !user.may(WRITE) {
            return Err(Error::forbidden("No write permission"));
        }
        let Some(client_id) = &post.client_id else { return Ok(None) };
        let known = Self::store(cx).by_client_id(&user.id, client_id.as_str())?;
        Ok(known.map(|stored| stored.message))
    }

    fn compose(cx: &mut Cx<Self>, user: &User, post: &Post) -> Result<Message, Error> {
        Ok(Message {
            id: cx.new_uuid().to_string(),
            channel_id: cx.id().to_owned(),
            user_id: user.id.clone(),
            username: user.username.clone(),
            content: post.content.as_str().to_owned(),
            timestamp: cx.now().as_ms(),
            thread_id: post.thread_id.as_ref().map(|id| id.as_str().to_owned()),
            avatar_url: user.avatar.clone(),
        })
    }

    fn publish(
        cx: &mut Cx<Self>,
        user: &User,
        message: &Message,
        client_id: Option<&str>,
    ) -> Result<(), Error> {
        let offset = cx.broadcast(&ChannelEvent::Message { message: message.clone() })?;
        let store = Self::store(cx);
        store.insert(offset, message, client_id)?;
        store.touch_member(user, cx.now())?;
        Self::expect_pruning(cx)
    }

    fn on_sync(&mut self, cx: &mut Cx<Self>, session: &Session, sync: Sync) -> Result<(), Error> {
        let Some(last_seen) = Self::store(cx).by_id(sync.after_message_id.as_str())? else {
            Self::say_unknown(cx, session)?;
            let initial = self.initial(cx, session)?;
            return initial.map_or(Ok(()), |state| cx.send_initial(session.id, &state));
        };
        let missed = Self::missed(cx, last_seen.seq)?;
        let newest = missed.last().unwrap_or(&last_seen);
        let (last_message_id, reached) = (newest.message.id.clone(), newest.seq);
        for Stored { message, .. } in missed {
            cx.send(session.id, &ChannelEvent::Message { message })?;
        }
        let more = !Self::store(cx).after(reached, 1, |_| true)?.is_empty();
        cx.send(session.id, &ChannelEvent::Synced { last_message_id, more })
    }

    fn missed(cx: &Cx<Self>, after: Offset) -> Result<Vec<Stored>, Error> {
        let mut bytes = 0;
        Self::store(cx).after(after, SYNC_MESSAGES_MAX, |message| {
            let fits = bytes == 0 || bytes + message.content.len() <= TEXT_BYTES_MAX;
            bytes += message.content.len();
            fits
        })
    }

    fn on_read(
        &mut self,
        cx: &mut Cx<Self>,
        session: &Session,
        read: MarkRead,
    ) -> Result<(), Error> {
        let user = user_of(session)?;
        let store = Self::store(cx);
        let Some(message) = store.by_id(read.message_id.as_str())? else {
            return Self::say_unknown(cx, session);
        };
        store.touch_member(user, cx.now())?;
        if !store.mark_read(&user.id, &message)? {
            return Ok(());
        }
        let (user_id, message_id) = (user.id.clone(), message.message.id);
        cx.broadcast(&ChannelEvent::Read { user_id, message_id })?;
        Ok(())
    }

    fn say_unknown(cx: &mut Cx<Self>, session: &Session) -> Result<(), Error> {
        let message = "there is no message of that id, or not any more".to_owned();
        cx.send(session.id, &ChannelEvent::Error { message, code: ErrorName::UnknownMessage })
    }

    fn store(cx: &Cx<Self>) -> Store<'_> {
        Store::of(cx.sql(), cx.id())
    }
}

fn user_of(session: &Session) -> Result<&User, Error> {
    session.user.as_deref().ok_or_else(needs_user)
}

fn needs_user() -> Error {
    Error::unauthorized("a channel is only for those who have a token")
}

fn duration<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(text)?;
    humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;

//! `channel-shard`: a part of a large channel. It has some of the users, all of the messages, and decides
//! nothing.

use std::num::NonZeroU32;

use dormouse::{Cx, Delivery, Error, Methods, Object, Sender, Session, SessionId, Timestamp};

use super::live;
use super::part::{self, Part, on_sync, say_unknown, user_of};
use super::retention;
use super::shards::{FromShard, ToShard, Writer, root_of};
use super::words::{ChannelEvent, MarkRead, Message, Post};

/// A shard in memory: nothing, as everything is read from its database when it is needed.
#[derive(Clone, Copy, Debug)]
pub struct ChannelShard;

impl Object for ChannelShard {
    const KIND: &'static str = "channel-shard";
    type Event = ChannelEvent;
    const MIGRATIONS: &'static [&'static str] = &[include_str!("1_channel.sql")];
    const NEEDS_USER: bool = true;
    const SOCKETS_MAX: NonZeroU32 = super::Channel::SOCKETS_MAX;

    fn methods() -> Methods<Self> {
        live::pass_on(Methods::new())
            .shard_of(root_of)
            .message("message", Sender::Reader, Self::on_message)
            .message("sync", Sender::Reader, on_sync::<Self>)
            .message("read", Sender::Reader, Self::on_read)
            .delivery(Self::on_delivery)
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(ChannelShard)
    }

    fn initial(&self, cx: &Cx<Self>, session: &Session) -> Result<Option<ChannelEvent>, Error> {
        part::initial_state(cx, session).map(Some)
    }
}

impl Part for ChannelShard {
    fn channel_id(cx: &Cx<Self>) -> &str {
        cx.id().split_once('/').map_or(cx.id(), |(_, channel_id)| channel_id)
    }
}

impl ChannelShard {
    fn on_message(
        &mut self,
        cx: &mut Cx<Self>,
        session: &Session,
        post: Post,
    ) -> Result<(), Error> {
        let user = user_of(session)?;
        part::ask_to_write(user)?;
        let (user, session) = (Writer::from(user), session.id.to_string());
        Self::tell_root(cx, &FromShard::Post { user, post, session })
    }

    fn on_read(
        &mut self,
        cx: &mut Cx<Self>,
        session: &Session,
        read: MarkRead,
    ) -> Result<(), Error> {
        if part::store(cx).by_id(read.message_id.as_str())?.is_none() {
            return say_unknown(cx, session);
        }
        let (user, message_id) = (Writer::from(user_of(session)?), read.message_id.into());
        Self::tell_root(cx, &FromShard::Read { user, message_id })
    }

    fn on_delivery(&mut self, cx: &mut Cx<Self>, delivery: Delivery<ToShard>) -> Result<(), Error> {
        if root_of(cx.key()).is_none_or(|root| root != delivery.sender) {
            return Err(Error::forbidden("a shard hears only its own channel"));
        }
        match delivery.message {
            ToShard::Members { members } => {
                members.iter().try_for_each(|member| part::store(cx).put_member(member))
            }
            ToShard::Messages { messages } => {
                messages.iter().try_for_each(|message| Self::take(cx, message))
            }
            ToShard::Ack { session, client_id, message_id, timestamp } => {
                let Some(session) = SessionId::parse(&session) else { return Ok(()) };
                cx.send(session, &ChannelEvent::Ack { client_id, message_id, timestamp })
            }
            ToShard::Read { user, message_id } => {
                let Some(message) = part::store(cx).by_id(&message_id)? else { return Ok(()) };
                part::mark_read(cx, &user.into(), message).map(|_| ())
            }
            ToShard::Prune { up_to } => {
                retention::delete_old(cx, Timestamp::from_ms(up_to)).map(|_| ())
            }
        }
    }

    fn take(cx: &mut Cx<Self>, message: &Message) -> Result<(), Error> {
        // A channel that was repaired may send some again.
        if part::store(cx).by_id(&message.id)?.is_some() {
            return Ok(());
        }
        part::publish(cx, message, None)
    }

    fn tell_root(cx: &mut Cx<Self>, message: &FromShard) -> Result<(), Error> {
        let root = root_of(cx.key());
        let root = root.ok_or_else(|| Error::internal("a shard whose id names no channel"))?;
        cx.send_to(&root, message)
    }
}

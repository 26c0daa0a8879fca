//! What passes between the sockets of a channel while it sleeps: who types, who is there.

use std::time::Duration;

use dormouse::{Audience, Error, Methods, Online, OnlineUser, PresenceEvents, Relayed, Session};

use super::part::{Part, user_of};
use super::words::{ChannelEvent, ChannelUser, OnlineUsers, SetStatus, Typing};

/// So long after the last `typing` somebody does not type any more.
const TYPING_LASTS: Duration = Duration::from_secs(6);

/// Adds what is passed on without the object.
pub(super) fn pass_on<P: Part>(methods: Methods<P>) -> Methods<P> {
    let presence_events = PresenceEvents { arrived, departed, online };
    methods.relay("typing", typing).relay("presence", presence).presence(presence_events)
}

fn typing(session: &Session, typing: Typing) -> Result<Relayed<ChannelEvent>, Error> {
    let user = user_of(session)?;
    let event = |is_typing| ChannelEvent::Typing {
        user_id: user.id.clone(),
        username: user.username.clone(),
        is_typing,
    };
    Ok(Relayed {
        event: event(typing.is_typing),
        key: user.id.clone(),
        audience: Audience::Except(session.id),
        expires: typing.is_typing.then(|| (TYPING_LASTS, event(false))),
    })
}

fn presence(session: &Session, presence: SetStatus) -> Result<Relayed<ChannelEvent>, Error> {
    let user = user_of(session)?;
    let event = ChannelEvent::Presence {
        user_id: user.id.clone(),
        username: user.username.clone(),
        status: presence.status.into(),
    };
    Ok(Relayed { event, key: user.id.clone(), audience: Audience::Everyone, expires: None })
}

fn arrived(user: &OnlineUser) -> ChannelEvent {
    ChannelEvent::UserConnected(ChannelUser::from(user))
}

fn departed(user: &OnlineUser) -> ChannelEvent {
    ChannelEvent::UserDisconnected {
        user_id: user.user_id.clone(),
        username: user.username.clone(),
    }
}

fn online(online: &Online) -> ChannelEvent {
    ChannelEvent::Online(OnlineUsers::from(online))
}

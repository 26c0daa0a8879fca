//! What passes between the sockets of a channel while it sleeps: who types, who is there.

use std::time::Duration;

use dormouse::{Audience, Error, Online, OnlineUser, Relayed, Session};

use super::user_of;
use super::words::{ChannelEvent, ChannelUser, OnlineUsers, SetStatus, Typing};

/// So long after the last `typing` somebody does not type any more.
const TYPING_LASTS: Duration = Duration::from_secs(6);

pub(super) fn typing(session: &Session, typing: Typing) -> Result<Relayed<ChannelEvent>, Error> {
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

pub(super) fn presence(
    session: &Session,
    presence: SetStatus,
) -> Result<Relayed<ChannelEvent>, Error> {
    let user = user_of(session)?;
    let event = ChannelEvent::Presence {
        user_id: user.id.clone(),
        username: user.username.clone(),
        status: presence.status.into(),
    };
    Ok(Relayed { event, key: user.id.clone(), audience: Audience::Everyone, expires: None })
}

pub(super) fn arrived(user: &OnlineUser) -> ChannelEvent {
    ChannelEvent::UserConnected(ChannelUser::from(user))
}

pub(super) fn departed(user: &OnlineUser) -> ChannelEvent {
    ChannelEvent::UserDisconnected {
        user_id: user.user_id.clone(),
        username: user.username.clone(),
    }
}

pub(super) fn online(online: &Online) -> ChannelEvent {
    ChannelEvent::Online(OnlineUsers::from(online))
}

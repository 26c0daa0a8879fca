//! What a channel and its shards have in common: what their sockets are shown, and ask for.

use dormouse::{Cx, Error, Object, Session, User, WRITE};

use super::store::{Store, Stored};
use super::words::{ChannelEvent, ErrorName, Message, OnlineUsers, Sync};

/// How many messages a socket gets at once when it connects.
const INITIAL_MESSAGES: u32 = 50;

/// Most messages that one `sync` gives.
const SYNC_MESSAGES_MAX: u32 = 500;

/// Most bytes of text that one `sync` gives, and what a socket gets when it connects: a socket that
/// leaves more unread than it may is closed.
const TEXT_BYTES_MAX: usize = 256 << 10;

/// A channel, or one of its shards.
pub(super) trait Part: Object<Event = ChannelEvent> {
    /// The channel that clients know.
    fn channel_id(cx: &Cx<Self>) -> &str;
}

/// The messages that this part has.
pub(super) fn store<P: Part>(cx: &Cx<P>) -> Store<'_> {
    Store::of(cx.sql(), P::channel_id(cx))
}

/// What a socket is shown when it connects.
pub(super) fn initial_state<P: Part>(cx: &Cx<P>, session: &Session) -> Result<ChannelEvent, Error> {
    let mut fits = text_that_fits();
    let newest = store(cx).newest(None, INITIAL_MESSAGES)?.into_iter();
    let mut messages: Vec<Message> =
        newest.map(|stored| stored.message).take_while(|message| fits(message)).collect();
    messages.reverse();
    let user = session.user.as_deref();
    let last_read_message_id = user.map(|user| store(cx).last_read(&user.id)).transpose()?;
    Ok(ChannelEvent::InitialState {
        messages,
        online: OnlineUsers::from(&cx.online()),
        last_read_message_id: last_read_message_id.flatten(),
    })
}

/// Answers `sync`.
pub(super) fn on_sync<P: Part>(
    _: &mut P,
    cx: &mut Cx<P>,
    session: &Session,
    sync: Sync,
) -> Result<(), Error> {
    let Some(last_seen) = store(cx).by_id(sync.after_message_id.as_str())? else {
        say_unknown(cx, session)?;
        let state = initial_state(cx, session)?;
        return cx.send_initial(session.id, &state);
    };
    let missed = store(cx).after(last_seen.seq, SYNC_MESSAGES_MAX, text_that_fits())?;
    let newest = missed.last().unwrap_or(&last_seen);
    let (last_message_id, reached) = (newest.message.id.clone(), newest.seq);
    for Stored { message, .. } in missed {
        cx.send(session.id, &ChannelEvent::Message { message })?;
    }
    let more = !store(cx).after(reached, 1, |_| true)?.is_empty();
    cx.send(session.id, &ChannelEvent::Synced { last_message_id, more })
}

/// Says that a message was named that is not there.
pub(super) fn say_unknown<P: Part>(cx: &mut Cx<P>, session: &Session) -> Result<(), Error> {
    let message = "there is no message of that id, or not any more".to_owned();
    cx.send(session.id, &ChannelEvent::Error { message, code: ErrorName::UnknownMessage })
}

/// Tells everybody of a message, and stores it.
pub(super) fn publish<P: Part>(
    cx: &mut Cx<P>,
    message: &Message,
    client_id: Option<&str>,
) -> Result<(), Error> {
    let offset = cx.broadcast(&ChannelEvent::Message { message: message.clone() })?;
    let (store, now) = (store(cx), cx.now());
    store.insert(offset, message, client_id)?;
    store.touch_member(&message.user_id, &message.username, message.avatar_url.as_deref(), now)
}

/// Notes what a user has read, and tells everybody unless they had read it before. `true`: it was told.
pub(super) fn mark_read<P: Part>(
    cx: &mut Cx<P>,
    user: &User,
    message: Stored,
) -> Result<bool, Error> {
    let (store, now) = (store(cx), cx.now());
    store.touch_member(&user.id, &user.username, user.avatar.as_deref(), now)?;
    if !store.mark_read(&user.id, &message)? {
        return Ok(false);
    }
    let (user_id, message_id) = (user.id.clone(), message.message.id);
    cx.broadcast(&ChannelEvent::Read { user_id, message_id })?;
    Ok(true)
}

/// The user of a session.
///
/// # Errors
///
/// UNAUTHORIZED if it has none.
pub(super) fn user_of(session: &Session) -> Result<&User, Error> {
    session.user.as_deref().ok_or_else(needs_user)
}

/// Whether a user may write.
///
/// # Errors
///
/// FORBIDDEN in the words of the protocol if not.
pub(super) fn ask_to_write(user: &User) -> Result<(), Error> {
    if user.may(WRITE) { Ok(()) } else { Err(Error::forbidden("No write permission")) }
}

pub(super) fn needs_user() -> Error {
    Error::unauthorized("a channel is only for those who have a token")
}

/// Whether one more message fits into what is sent at once. The first always does.
fn text_that_fits() -> impl FnMut(&Message) -> bool {
    let mut bytes = 0;
    move |message| {
        let fits = bytes == 0 || bytes + message.content.len() <= TEXT_BYTES_MAX;
        bytes += message.content.len();
        fits
    }
}

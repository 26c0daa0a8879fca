//! What the sockets of a channel say and hear.

use dormouse::{Online, OnlineUser};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::{ClientId, Content, MessageId, Status, ThreadId};

/// What a channel's sockets receive.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ChannelEvent {
    /// The whole state, on connect.
    InitialState {
        /// The newest 50, oldest first.
        messages: Vec<Message>,
        /// Who is present.
        #[serde(flatten)]
        online: OnlineUsers,
        /// The newest message that the user of this socket has read, if they said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_read_message_id: Option<String>,
    },
    /// A message that somebody wrote.
    Message {
        /// It.
        message: Message,
    },
    /// A message of this socket is stored.
    Ack {
        /// What its client called it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<String>,
        /// What it is called from now on.
        message_id: String,
        /// When it was stored, in milliseconds since 1970.
        timestamp: i64,
    },
    /// Somebody types, or does not any more.
    Typing {
        /// Who.
        user_id: String,
        /// Their name.
        username: String,
        /// Which of both.
        is_typing: bool,
    },
    /// Somebody says how present they are.
    Presence {
        /// Who.
        user_id: String,
        /// Their name.
        username: String,
        /// In their own words, such as `away`.
        status: String,
    },
    /// All that a `sync` asked for was sent.
    Synced {
        /// The newest message that was sent, or the one that was named if there was none.
        last_message_id: String,
        /// Whether there are newer ones, to be asked for again.
        more: bool,
    },
    /// Somebody has read the messages up to this one.
    Read {
        /// Who.
        user_id: String,
        /// The newest message that they have read.
        message_id: String,
    },
    /// Somebody came.
    UserConnected(ChannelUser),
    /// Somebody left.
    UserDisconnected {
        /// Who.
        user_id: String,
        /// Their name.
        username: String,
    },
    /// Who is present, in place of all that was said before.
    Online(OnlineUsers),
    /// A message of this socket was refused.
    Error {
        /// Why, for people.
        message: String,
        /// Why, for programs.
        code: ErrorName,
    },
}

/// Why a channel refused a message, beside the codes that all kinds have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorName {
    /// There is no message of that id, or not any more.
    UnknownMessage,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// A UUIDv7.
    pub id: String,
    /// The channel it is in.
    pub channel_id: String,
    /// Who wrote it.
    pub user_id: String,
    /// Their name when they did.
    pub username: String,
    /// What they wrote: text, never markup.
    pub content: String,
    /// When it was stored, in milliseconds since 1970.
    pub timestamp: i64,
    /// The thread it belongs to: the id of the message that began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Address of their picture, if they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// Who is present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnlineUsers {
    /// All; or some, if they are many.
    pub online_users: Vec<ChannelUser>,
    /// How many they are, if those are not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_online: Option<usize>,
}

/// Somebody who is present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelUser {
    /// The user's id.
    pub user_id: String,
    /// Their name.
    pub username: String,
    /// When they came, in milliseconds since 1970.
    pub joined_at: i64,
    /// Address of their picture, if they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// `message`, and the input of `post`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Post {
    /// What to write.
    pub content: Content,
    /// The thread it belongs to.
    pub thread_id: Option<ThreadId>,
    /// What the client calls it. Sent again under the same name by the same user, it is the same
    /// message.
    pub client_id: Option<ClientId>,
}

/// `typing`
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Typing {
    /// Whether the user types.
    pub is_typing: bool,
}

/// `presence`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetStatus {
    /// How present the user is.
    pub status: Status,
}

/// `sync`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Sync {
    /// The newest message that the client has.
    pub after_message_id: MessageId,
}

/// `read`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MarkRead {
    /// The newest message that the user has read.
    pub message_id: MessageId,
}

impl From<&OnlineUser> for ChannelUser {
    fn from(user: &OnlineUser) -> ChannelUser {
        ChannelUser {
            user_id: user.user_id.clone(),
            username: user.username.clone(),
            joined_at: user.joined_at.as_ms(),
            avatar_url: user.avatar_url.clone(),
        }
    }
}

impl From<&Online> for OnlineUsers {
    fn from(online: &Online) -> OnlineUsers {
        let total_online = (online.users.len() < online.total).then_some(online.total);
        OnlineUsers {
            online_users: online.users.iter().map(ChannelUser::from).collect(),
            total_online,
        }
    }
}

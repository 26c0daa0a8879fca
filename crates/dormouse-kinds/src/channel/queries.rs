//! `history`, `thread` and `members`.

use std::collections::HashSet;

use dormouse::{Cx, Empty, Error, Offset, OnlineUser, PageLimit, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Channel;
use super::limits::{MessageId, ThreadId};
use super::part;
use super::store::{MemberRow, Stored};
use super::words::Message;

/// Most members in one answer.
const MEMBERS_MAX: u32 = 1000;

/// Input of `history`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetHistory {
    /// Only messages before the one of this id; from the newest if left out.
    pub before: Option<MessageId>,
    /// At most so many, 1 to 200; 50 if left out.
    #[serde(default)]
    pub limit: PageLimit,
}

/// Result of `history`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct History {
    /// Newest first.
    pub messages: Vec<Message>,
    /// Pass it as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub next: Option<String>,
}

/// Input of `thread`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GetThread {
    /// Which one.
    pub thread_id: ThreadId,
    /// Only messages after the one of this id; from the oldest if left out.
    pub after: Option<MessageId>,
    /// At most so many, 1 to 200; 50 if left out.
    #[serde(default)]
    pub limit: PageLimit,
}

/// Result of `thread`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Thread {
    /// The message that began it, if it is there, and those of the thread, oldest first.
    pub messages: Vec<Message>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub next: Option<String>,
}

/// Result of `members`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Members {
    /// Those who have ever written or read, by id, and those who are present: 1,000 at most.
    pub members: Vec<Member>,
}

/// Somebody of a channel.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The user's id.
    pub user_id: String,
    /// Their name.
    pub username: String,
    /// Address of their picture, if they have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub avatar_url: Option<String>,
    /// Whether they are present.
    pub is_online: bool,
    /// When they last wrote or read; absent if they never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Timestamp")]
    pub last_active_at: Option<Timestamp>,
    /// The newest message that they have read, if they said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub last_read_message_id: Option<String>,
}

impl Channel {
    pub(super) fn history(&self, cx: &Cx<Self>, input: GetHistory) -> Result<History, Error> {
        let store = part::store(cx);
        let before = input.before.as_ref().map(|id| Self::known(cx, id)).transpose()?;
        let page =
            input.limit.cut(store.newest(before.map(|stored| stored.seq), input.limit.read())?);
        let messages = messages(page.items);
        let next = messages.last().filter(|_| page.has_next).map(|oldest| oldest.id.clone());
        Ok(History { messages, next })
    }

    pub(super) fn thread(&self, cx: &Cx<Self>, input: GetThread) -> Result<Thread, Error> {
        let store = part::store(cx);
        let after = input.after.as_ref().map(|id| Self::known(cx, id)).transpose()?;
        let thread_id = input.thread_id.as_str();
        let root = if after.is_none() { store.by_id(thread_id)? } else { None };
        let after = after.map_or(Offset::ZERO, |stored| stored.seq);
        let page = input.limit.cut(store.of_thread(thread_id, after, input.limit.read())?);
        let next = page.items.last().filter(|_| page.has_next);
        let next = next.map(|newest| newest.message.id.clone());
        Ok(Thread { messages: messages(root.into_iter().chain(page.items)), next })
    }

    pub(super) fn members(&self, cx: &Cx<Self>, _: Empty) -> Result<Members, Error> {
        let rows = part::store(cx).members("", MEMBERS_MAX)?;
        let known: HashSet<&str> = rows.iter().map(|row| row.user_id.as_str()).collect();
        let silent: Vec<Member> = cx
            .online()
            .users
            .into_iter()
            .filter(|user| !known.contains(user.user_id.as_str()))
            .map(Member::of_online)
            .collect();
        let members = rows.into_iter().map(|row| {
            let is_online = cx.is_online(&row.user_id);
            Member::of_row(row, is_online)
        });
        let mut members: Vec<Member> = members.chain(silent).collect();
        members.truncate(usize::try_from(MEMBERS_MAX).unwrap_or(usize::MAX));
        Ok(Members { members })
    }

    /// The message of an id that a client named.
    fn known(cx: &Cx<Self>, id: &MessageId) -> Result<Stored, Error> {
        let found = part::store(cx).by_id(id.as_str())?;
        found.ok_or_else(|| Error::not_found("there is no message of that id"))
    }
}

impl Member {
    fn of_row(row: MemberRow, is_online: bool) -> Member {
        Member {
            user_id: row.user_id,
            username: row.username,
            avatar_url: row.avatar_url,
            is_online,
            last_active_at: Some(row.last_active_at),
            last_read_message_id: row.read_message_id,
        }
    }

    fn of_online(user: OnlineUser) -> Member {
        Member {
            user_id: user.user_id,
            username: user.username,
            avatar_url: user.avatar_url,
            is_online: true,
            last_active_at: None,
            last_read_message_id: None,
        }
    }
}

fn messages(stored: impl IntoIterator<Item = Stored>) -> Vec<Message> {
    stored.into_iter().map(|stored| stored.message).collect()
}

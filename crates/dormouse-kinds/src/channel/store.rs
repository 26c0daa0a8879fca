//! The messages and members of a channel in its database.

use dormouse::{Error, Offset, Row, Sql, SqlError, Timestamp};
use serde::{Deserialize, Serialize};

use super::words::Message;

/// The columns of [`Message`], in the order in which [`read`] takes them.
const SELECT_NEWEST: &str = "
    SELECT id, user_id, username, avatar_url, content, thread_id, timestamp_ms, seq
    FROM channel_message WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
const SELECT_AFTER: &str = "
    SELECT id, user_id, username, avatar_url, content, thread_id, timestamp_ms, seq
    FROM channel_message WHERE seq > ?1 ORDER BY seq LIMIT ?2";
const SELECT_OF_THREAD: &str = "
    SELECT id, user_id, username, avatar_url, content, thread_id, timestamp_ms, seq
    FROM channel_message WHERE thread_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
const SELECT_BY_ID: &str = "
    SELECT id, user_id, username, avatar_url, content, thread_id, timestamp_ms, seq
    FROM channel_message WHERE id = ?1";
const SELECT_BY_CLIENT_ID: &str = "
    SELECT id, user_id, username, avatar_url, content, thread_id, timestamp_ms, seq
    FROM channel_message WHERE user_id = ?1 AND client_id = ?2";
const INSERT_MESSAGE: &str = "
    INSERT INTO channel_message
        (seq, id, user_id, username, avatar_url, content, thread_id, timestamp_ms, client_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const SELECT_OLDEST: &str = "
    SELECT seq, timestamp_ms FROM channel_message ORDER BY seq LIMIT ?1";
const DELETE_UP_TO: &str = "DELETE FROM channel_message WHERE seq <= ?1";
const UPSERT_MEMBER: &str = "
    INSERT INTO channel_member (user_id, username, avatar_url, last_active_at_ms)
    VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (user_id) DO UPDATE
    SET username = ?2, avatar_url = ?3, last_active_at_ms = ?4";
const UPDATE_READ: &str = "
    UPDATE channel_member SET read_seq = ?2, read_message_id = ?3
    WHERE user_id = ?1 AND coalesce(read_seq, 0) < ?2";
const UPDATE_READ_ELSEWHERE: &str =
    "UPDATE channel_member SET read_message_id = ?2 WHERE user_id = ?1";
const SELECT_READ_BETWEEN: &str = "
    SELECT user_id, username, avatar_url, last_active_at_ms, read_message_id
    FROM channel_member WHERE read_seq > ?1 AND read_seq <= ?2 ORDER BY user_id";
const SELECT_FED: &str = "SELECT fed_seq, members_after FROM channel_shard WHERE shard = ?1";
const REPLACE_FED: &str = "
    INSERT OR REPLACE INTO channel_shard (shard, fed_seq, members_after) VALUES (?1, ?2, ?3)";
const SELECT_SHARDS: &str = "SELECT shard FROM channel_shard WHERE fed_seq >= ?1 ORDER BY shard";
const SELECT_READ: &str = "SELECT read_message_id FROM channel_member WHERE user_id = ?1";
const SELECT_MEMBERS: &str = "
    SELECT user_id, username, avatar_url, last_active_at_ms, read_message_id
    FROM channel_member WHERE user_id > ?1 ORDER BY user_id LIMIT ?2";

/// A message that is stored.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) message: Message,
    /// The place of its event in the log, which is the order of messages too.
    pub(super) seq: Offset,
}

/// Where a message stands that may have to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    pub(super) seq: Offset,
    pub(super) timestamp: Timestamp,
}

/// Somebody who has written or read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MemberRow {
    pub(super) user_id: String,
    pub(super) username: String,
    pub(super) avatar_url: Option<String>,
    pub(super) last_active_at: Timestamp,
    pub(super) read_message_id: Option<String>,
}

/// What a shard was sent.
#[derive(Clone, Debug)]
pub(super) struct Fed {
    /// The messages up to this one.
    pub(super) seq: Offset,
    /// The members up to this one; `None`: all that there were.
    pub(super) members_after: Option<String>,
}

/// The database of one channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Store<'a> {
    sql: Sql<'a>,
    channel_id: &'a str,
}

impl<'a> Store<'a> {
    pub(super) fn of(sql: Sql<'a>, channel_id: &'a str) -> Store<'a> {
        Store { sql, channel_id }
    }

    /// The newest messages before `before`, newest first.
    pub(super) fn newest(self, before: Option<Offset>, limit: u32) -> Result<Vec<Stored>, Error> {
        self.sql.rows(SELECT_NEWEST, (before.unwrap_or(Offset::new(u64::MAX)), limit), |row| {
            self.read(row)
        })
    }

    /// The messages after `after`, oldest first, for as long as `wants` them.
    pub(super) fn after(
        self,
        after: Offset,
        limit: u32,
        mut wants: impl FnMut(&Message) -> bool,
    ) -> Result<Vec<Stored>, Error> {
        let rows = self.sql.rows_while(SELECT_AFTER, (after, limit), |row| {
            Ok(Some(self.read(row)?).filter(|stored| wants(&stored.message)))
        })?;
        Ok(rows.read)
    }

    /// The messages of a thread after `after`, oldest first.
    pub(super) fn of_thread(
        self,
        thread_id: &str,
        after: Offset,
        limit: u32,
    ) -> Result<Vec<Stored>, Error> {
        self.sql.rows(SELECT_OF_THREAD, (thread_id, after, limit), |row| self.read(row))
    }

    /// The message of that id.
    pub(super) fn by_id(self, id: &str) -> Result<Option<Stored>, Error> {
        self.sql.row(SELECT_BY_ID, [id], |row| self.read(row))
    }

    /// The message that a client sent under this name.
    pub(super) fn by_client_id(
        self,
        user_id: &str,
        client_id: &str,
    ) -> Result<Option<Stored>, Error> {
        self.sql.row(SELECT_BY_CLIENT_ID, (user_id, client_id), |row| self.read(row))
    }

    /// Stores a message whose event has this place in the log.
    pub(super) fn insert(
        self,
        seq: Offset,
        message: &Message,
        client_id: Option<&str>,
    ) -> Result<(), Error> {
        let Message { id, user_id, username, avatar_url, content, thread_id, timestamp, .. } =
            message;
        let row =
            (seq, id, user_id, username, avatar_url, content, thread_id, timestamp, client_id);
        self.sql.execute(INSERT_MESSAGE, row)?;
        Ok(())
    }

    /// The oldest messages.
    pub(super) fn oldest(self, limit: u32) -> Result<Vec<Age>, Error> {
        self.sql.rows(SELECT_OLDEST, [limit], |row| {
            Ok(Age { seq: row.get(0)?, timestamp: Timestamp::from_ms(row.get(1)?) })
        })
    }

    /// Deletes the messages up to this one.
    pub(super) fn delete_up_to(self, seq: Offset) -> Result<(), Error> {
        self.sql.execute(DELETE_UP_TO, [seq])?;
        Ok(())
    }

    /// Notes that a user was active.
    pub(super) fn touch_member(
        self,
        user_id: &str,
        username: &str,
        avatar_url: Option<&str>,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.sql.execute(UPSERT_MEMBER, (user_id, username, avatar_url, now.as_ms()))?;
        Ok(())
    }

    /// Takes over what another part of the channel knows of a member.
    pub(super) fn put_member(self, member: &MemberRow) -> Result<(), Error> {
        let MemberRow { user_id, username, avatar_url, last_active_at, read_message_id } = member;
        self.touch_member(user_id, username, avatar_url.as_deref(), *last_active_at)?;
        let Some(read_message_id) = read_message_id else { return Ok(()) };
        match self.by_id(read_message_id)? {
            Some(read) => self.mark_read(user_id, &read).map(|_| ()),
            None => self.sql.execute(UPDATE_READ_ELSEWHERE, (user_id, read_message_id)).map(|_| ()),
        }
    }

    /// The members whose newest read message is one of these.
    pub(super) fn who_read(self, after: Offset, up_to: Offset) -> Result<Vec<MemberRow>, Error> {
        self.sql.rows(SELECT_READ_BETWEEN, (after, up_to), member)
    }

    /// What a shard was sent.
    pub(super) fn fed(self, shard: u64) -> Result<Fed, Error> {
        let fed = self.sql.row(SELECT_FED, [shard], |row| {
            Ok(Fed { seq: row.get(0)?, members_after: row.get(1)? })
        })?;
        Ok(fed.unwrap_or(Fed { seq: Offset::ZERO, members_after: Some(String::new()) }))
    }

    /// Notes what a shard was sent.
    pub(super) fn set_fed(self, shard: u64, fed: &Fed) -> Result<(), Error> {
        self.sql.execute(REPLACE_FED, (shard, fed.seq, &fed.members_after))?;
        Ok(())
    }

    /// The shards that were sent all messages up to this one.
    pub(super) fn shards_fed(self, up_to: Offset) -> Result<Vec<u64>, Error> {
        self.sql.rows(SELECT_SHARDS, [up_to], |row| row.get(0))
    }

    /// Notes what a member has read. `false`: they had read it before.
    pub(super) fn mark_read(self, user_id: &str, read: &Stored) -> Result<bool, Error> {
        Ok(self.sql.execute(UPDATE_READ, (user_id, read.seq, &read.message.id))? > 0)
    }

    /// The newest message that a user has read.
    pub(super) fn last_read(self, user_id: &str) -> Result<Option<String>, Error> {
        Ok(self.sql.row(SELECT_READ, [user_id], |row| row.get(0))?.flatten())
    }

    /// Members after this id, by id.
    pub(super) fn members(self, after: &str, limit: u32) -> Result<Vec<MemberRow>, Error> {
        self.sql.rows(SELECT_MEMBERS, (after, limit), member)
    }

    fn read(self, row: &Row<'_>) -> Result<Stored, SqlError> {
        let message = Message {
            id: row.get(0)?,
            channel_id: self.channel_id.to_owned(),
            user_id: row.get(1)?,
            username: row.get(2)?,
            avatar_url: row.get(3)?,
            content: row.get(4)?,
            thread_id: row.get(5)?,
            timestamp: row.get(6)?,
        };
        Ok(Stored { message, seq: row.get(7)? })
    }
}

fn member(row: &Row<'_>) -> Result<MemberRow, SqlError> {
    Ok(MemberRow {
        user_id: row.get(0)?,
        username: row.get(1)?,
        avatar_url: row.get(2)?,
        last_active_at: Timestamp::from_ms(row.get(3)?),
        read_message_id: row.get(4)?,
    })
}

//! The outbox: messages to other objects, stored with the change that sends them.
//!
//! A message is a row in the sender's file, written in the transaction of the handler that sends it.
//! Once that is durable the message goes to its receiver; when the receiver's effect is durable, the
//! row goes. What is in between when a process dies is sent again, and the receiver knows it
//! ([`delivery`](crate::delivery)).
//!
//! # Invariants
//!
//! * **In order per receiver.** Only the oldest message for a receiver, and those right behind it,
//!   are ever on their way. One that failed holds those behind it until it succeeds or is given up.
//! * **Somebody looks again.** Exactly the oldest message for each receiver has a due time, and the
//!   earliest stands in the catalog, like an alarm's. A message on its way has a due time too, a
//!   lease, so that a crash cannot forget it.
//! * **Nobody else pays.** An object that never sent anything has no table of this module.

use std::collections::HashSet;
use std::time::Duration;

use dormouse_store::{Key, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::alarm::{RETRIES_MAX, retry_wait};
use crate::error::Error;
use crate::late_table::LateTable;
use crate::parcel::{Message, Receipt, Refused, Sequence};
use crate::random::Random;
use crate::sql::Sql;

mod dead_letters;

pub use self::dead_letters::DeadLetter;
pub(crate) use self::dead_letters::dead_letters;

/// Most messages that wait in one object's outbox.
pub const OUTBOX_MESSAGES_MAX: u64 = 10_000;

/// Most bytes of one message's JSON.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Most messages that are on their way to one receiver at once.
const PARCEL_MESSAGES_MAX: i64 = 64;

/// A parcel takes no further message once it has so many bytes.
const PARCEL_BYTES: usize = 256 << 10;

/// A message that is on its way is looked at again after this long, in case its receipt was lost.
const LEASE: Duration = Duration::from_secs(2);

/// Most receivers that are sent to in one look at what is due.
const DUE_MAX: i64 = 64;

/// The outbox's table. A sequence is never used twice, so that a receiver can tell a new message from
/// a repeated one.
const OUTBOX: LateTable = LateTable {
    name: "dormouse_outbox",
    create: &[
        "CREATE TABLE dormouse_outbox (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            id TEXT NOT NULL,
            message TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            due_ms INTEGER
        ) STRICT",
        "CREATE INDEX dormouse_outbox_by_receiver ON dormouse_outbox (kind, id)",
        "CREATE INDEX dormouse_outbox_by_due ON dormouse_outbox (due_ms) WHERE due_ms IS NOT NULL",
    ],
};
const COUNT_MESSAGES: &str = "SELECT count(*) FROM dormouse_outbox";
const SELECT_EARLIEST: &str = "
    SELECT due_ms FROM dormouse_outbox WHERE due_ms IS NOT NULL ORDER BY due_ms LIMIT 1";
const SELECT_DUE: &str = "
    SELECT sequence, kind, id FROM dormouse_outbox
    WHERE due_ms IS NOT NULL AND due_ms <= ?1 ORDER BY due_ms LIMIT ?2";
const SELECT_HEAD: &str = "
    SELECT sequence, attempts FROM dormouse_outbox
    WHERE kind = ?1 AND id = ?2 ORDER BY sequence LIMIT 1";
const SELECT_PARCEL: &str = "
    SELECT sequence, message FROM dormouse_outbox
    WHERE kind = ?1 AND id = ?2 ORDER BY sequence LIMIT ?3";
const INSERT_MESSAGE: &str = "
    INSERT INTO dormouse_outbox (kind, id, message, attempts, due_ms) VALUES (?1, ?2, ?3, 0, ?4)";
const UPDATE_DUE: &str = "UPDATE dormouse_outbox SET due_ms = ?2 WHERE sequence = ?1";
const UPDATE_FAILED: &str =
    "UPDATE dormouse_outbox SET due_ms = ?2, attempts = attempts + 1 WHERE sequence = ?1";
const DELETE_ACCEPTED: &str =
    "DELETE FROM dormouse_outbox WHERE kind = ?1 AND id = ?2 AND sequence <= ?3";

/// The sending side of one resident object.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// What the table holds.
    bounds: Bounds,
    bounds_before: Bounds,
    /// Receivers whose parcels are on their way. Empty after a wake: then the leases decide.
    in_flight: HashSet<Key>,
    /// Receivers that get a parcel when this handler commits.
    ready: Vec<Key>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    messages: u64,
    next_due: Option<Timestamp>,
}

/// The oldest message for a receiver.
struct Head {
    sequence: i64,
    attempts: u32,
}

impl Outbox {
    /// The outbox of an object that becomes resident.
    pub(crate) fn read(connection: &Connection) -> Result<Outbox, Error> {
        let bounds = if OUTBOX.exists(connection)? {
            let messages: i64 =
                connection.prepare_cached(COUNT_MESSAGES)?.query_row([], |row| row.get(0))?;
            let messages = u64::try_from(messages).unwrap_or(0);
            Bounds { messages, next_due: earliest(connection)? }
        } else {
            Bounds::default()
        };
        let (in_flight, ready) = (HashSet::new(), Vec::new());
        Ok(Outbox { bounds, bounds_before: bounds, in_flight, ready })
    }

    /// A handler begins.
    pub(crate) fn begin(&mut self) {
        self.bounds_before = self.bounds;
        self.ready.clear();
    }

    /// The handler was undone.
    pub(crate) fn roll_back(&mut self) {
        self.bounds = self.bounds_before;
        self.ready.clear();
    }

    /// How many messages have not had their effect, as far as is known.
    pub(crate) fn messages(&self) -> u64 {
        self.bounds.messages
    }

    /// When somebody must look at it again.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.bounds.next_due
    }

    /// Stores a message.
    pub(crate) fn send(
        &mut self,
        connection: &Connection,
        now: Timestamp,
        receiver: &Key,
        message: &str,
    ) -> Result<(), Error> {
        if message.len() > MESSAGE_BYTES_MAX {
            let bytes = message.len();
            return Err(Error::internal(format!(
                "a message of {bytes} bytes is over the limit of {MESSAGE_BYTES_MAX}"
            )));
        }
        if self.bounds.messages >= OUTBOX_MESSAGES_MAX {
            return Err(Error::unavailable(
                "too many messages of this object wait for their receivers; try again later",
            ));
        }
        if self.bounds.messages == 0 {
            OUTBOX.ensure(connection)?;
        }
        let is_first = head(connection, receiver)?.is_none();
        let due = is_first.then(|| now.saturating_add(LEASE));
        Sql::new(connection).execute(
            INSERT_MESSAGE,
            (receiver.kind(), receiver.id(), message, due.map(Timestamp::as_ms)),
        )?;
        self.bounds.messages += 1;
        if is_first {
            self.bounds.next_due = self.bounds.next_due.min(due).or(due);
            self.ready.push(receiver.clone());
        }
        Ok(())
    }

    /// A parcel came back or was lost: it is not on its way any more.
    pub(crate) fn land(&mut self, receiver: &Key) {
        self.in_flight.remove(receiver);
    }

    /// Deletes what has arrived, and decides about what has not. `Ok(Some)` is a message that was
    /// given up.
    pub(crate) fn settle(
        &mut self,
        connection: &Connection,
        now: Timestamp,
        random: &mut Random,
        receiver: &Key,
        receipt: &Receipt,
    ) -> Result<Option<Sequence>, Error> {
        let sql = Sql::new(connection);
        if let Some(accepted) = receipt.accepted {
            let gone =
                sql.execute(DELETE_ACCEPTED, (receiver.kind(), receiver.id(), accepted.0))?;
            self.bounds.messages = self.bounds.messages.saturating_sub(gone as u64);
        }
        let head = head(connection, receiver)?;
        // A receipt that comes late may speak of a message that is not the oldest any more.
        let failed = receipt
            .refused
            .as_ref()
            .zip(head.as_ref())
            .filter(|(refused, head)| refused.sequence.0 == head.sequence);
        let buried = match failed {
            Some((refused, head)) => self.note_refused(connection, now, random, head, refused)?,
            None => None,
        };
        if failed.is_none() || buried.is_some() {
            self.go_on(connection, now, receiver)?;
        }
        self.bounds.next_due = earliest(connection)?;
        Ok(buried)
    }

    /// Sends again what is due, for as many receivers as fit a turn.
    pub(crate) fn send_due(
        &mut self,
        connection: &Connection,
        now: Timestamp,
    ) -> Result<(), Error> {
        let due: Vec<(i64, String, String)> = connection
            .prepare_cached(SELECT_DUE)?
            .query_map((now.as_ms(), DUE_MAX), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (sequence, kind, id) in due {
            let lease = now.saturating_add(LEASE).as_ms();
            Sql::new(connection).execute(UPDATE_DUE, (sequence, lease))?;
            let receiver = Key::new(kind, id).map_err(Error::internal)?;
            if !self.in_flight.contains(&receiver) {
                self.ready.push(receiver);
            }
        }
        self.bounds.next_due = earliest(connection)?;
        Ok(())
    }

    /// The messages that leave with this handler's transaction, by receiver.
    pub(crate) fn parcels(
        &self,
        connection: &Connection,
    ) -> rusqlite::Result<Vec<(Key, Vec<Message>)>> {
        let of = |receiver: &Key| Ok((receiver.clone(), parcel(connection, receiver)?));
        self.ready.iter().map(of).collect()
    }

    /// The handler's transaction is committed: its parcels are on their way.
    pub(crate) fn committed(&mut self) {
        self.in_flight.extend(self.ready.drain(..));
    }

    fn note_refused(
        &mut self,
        connection: &Connection,
        now: Timestamp,
        random: &mut Random,
        head: &Head,
        refused: &Refused,
    ) -> Result<Option<Sequence>, Error> {
        let sql = Sql::new(connection);
        if refused.is_unavailable() {
            let due = now.saturating_add(retry_wait(0, random)).as_ms();
            sql.execute(UPDATE_DUE, (head.sequence, due))?;
            return Ok(None);
        }
        if head.attempts < RETRIES_MAX {
            let due = now.saturating_add(retry_wait(head.attempts, random)).as_ms();
            sql.execute(UPDATE_FAILED, (head.sequence, due))?;
            return Ok(None);
        }
        dead_letters::bury(connection, head.sequence, &refused.error, now)?;
        self.bounds.messages = self.bounds.messages.saturating_sub(1);
        Ok(Some(Sequence(head.sequence)))
    }

    /// Sends what is now the oldest message for a receiver, if there is one.
    fn go_on(
        &mut self,
        connection: &Connection,
        now: Timestamp,
        receiver: &Key,
    ) -> Result<(), Error> {
        if let Some(head) = head(connection, receiver)? {
            let lease = now.saturating_add(LEASE).as_ms();
            Sql::new(connection).execute(UPDATE_DUE, (head.sequence, lease))?;
            self.ready.push(receiver.clone());
        }
        Ok(())
    }
}

fn earliest(connection: &Connection) -> Result<Option<Timestamp>, Error> {
    Sql::new(connection).row(SELECT_EARLIEST, [], |row| row.get(0).map(Timestamp::from_ms))
}

fn head(connection: &Connection, receiver: &Key) -> Result<Option<Head>, Error> {
    let read = |row: &Row<'_>| Ok(Head { sequence: row.get(0)?, attempts: row.get(1)? });
    let mut statement = connection.prepare_cached(SELECT_HEAD)?;
    Ok(statement.query_row((receiver.kind(), receiver.id()), read).optional()?)
}

fn parcel(connection: &Connection, receiver: &Key) -> rusqlite::Result<Vec<Message>> {
    let mut statement = connection.prepare_cached(SELECT_PARCEL)?;
    let mut rows = statement.query((receiver.kind(), receiver.id(), PARCEL_MESSAGES_MAX))?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while bytes < PARCEL_BYTES
        && let Some(row) = rows.next()?
    {
        let message = Message { sequence: Sequence(row.get(0)?), json: row.get(1)? };
        bytes += message.json.len();
        messages.push(message);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests;

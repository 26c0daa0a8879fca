//! Messages that arrive: each has its effect exactly once.
//!
//! A sender repeats what it does not know to have arrived. So the receiver keeps, for each sender,
//! the newest sequence that has had its effect, written in the transaction of that effect.
//!
//! # Invariants
//!
//! * **Exactly one effect.** The effect and the sequence are stored in one transaction or not at all.
//! * **In order.** A sender's messages come in order of their sequences, so what is not newer than
//!   the kept one is a repetition.
//! * **A new epoch starts over.** A sender whose history was lost or reset counts from 1 again.

use dormouse_store::Key;
use rusqlite::Connection;

use crate::error::Error;
use crate::late_table::LateTable;
use crate::parcel::Sequence;
use crate::sql::Sql;

/// The table of senders.
const RECEIVED: LateTable = LateTable {
    name: "dormouse_received",
    create: &["CREATE TABLE dormouse_received (
            kind TEXT NOT NULL,
            id TEXT NOT NULL,
            epoch TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            PRIMARY KEY (kind, id)
        ) STRICT, WITHOUT ROWID"],
};
const SELECT_RECEIVED: &str =
    "SELECT sequence FROM dormouse_received WHERE kind = ?1 AND id = ?2 AND epoch = ?3";
const REPLACE_RECEIVED: &str =
    "INSERT OR REPLACE INTO dormouse_received (kind, id, epoch, sequence) VALUES (?1, ?2, ?3, ?4)";

/// A message of another object, as the kind's handler sees it.
#[derive(Clone, Debug)]
pub struct Delivery<M> {
    /// Who sent it.
    pub sender: Key,
    /// What it says.
    pub message: M,
}

/// Whether a message has had its effect already.
pub(crate) fn was_received(
    connection: &Connection,
    sender: &Key,
    epoch: &str,
    sequence: Sequence,
) -> Result<bool, Error> {
    if !RECEIVED.exists(connection)? {
        return Ok(false);
    }
    let newest: Option<i64> =
        Sql::new(connection)
            .row(SELECT_RECEIVED, (sender.kind(), sender.id(), epoch), |row| row.get(0))?;
    Ok(newest.is_some_and(|newest| sequence.0 <= newest))
}

/// Notes, in the transaction of its effect, that a message has had it.
pub(crate) fn note_received(
    connection: &Connection,
    sender: &Key,
    epoch: &str,
    sequence: Sequence,
) -> Result<(), Error> {
    RECEIVED.ensure(connection)?;
    let sql = Sql::new(connection);
    sql.execute(REPLACE_RECEIVED, (sender.kind(), sender.id(), epoch, sequence.0))?;
    Ok(())
}

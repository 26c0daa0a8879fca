//! Messages that were given up, for people to look at.

use dormouse_store::Timestamp;
use rusqlite::{Connection, Row};
use serde::Serialize;

use crate::error::Error;
use crate::late_table::LateTable;
use crate::sql::Sql;

/// Most messages that are kept after they were given up; the oldest goes for the newest.
const DEAD_LETTERS_MAX: i64 = 1_000;

const DEAD_LETTERS: LateTable = LateTable {
    name: "dormouse_dead_letter",
    create: &["CREATE TABLE dormouse_dead_letter (
            sequence INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            id TEXT NOT NULL,
            message TEXT NOT NULL,
            error TEXT NOT NULL,
            given_up_ms INTEGER NOT NULL
        ) STRICT"],
};
const INSERT_DEAD_LETTER: &str = "
    INSERT INTO dormouse_dead_letter (sequence, kind, id, message, error, given_up_ms)
    SELECT sequence, kind, id, message, ?2, ?3 FROM dormouse_outbox WHERE sequence = ?1";
const DELETE_MESSAGE: &str = "DELETE FROM dormouse_outbox WHERE sequence = ?1";
const DELETE_OLDEST: &str = "
    DELETE FROM dormouse_dead_letter WHERE sequence <= (
        SELECT sequence FROM dormouse_dead_letter ORDER BY sequence DESC LIMIT 1 OFFSET ?1)";
const SELECT_DEAD_LETTERS: &str = "
    SELECT sequence, kind, id, message, error, given_up_ms FROM dormouse_dead_letter
    ORDER BY sequence DESC LIMIT ?1";

/// A message that was tried often enough, and never had its effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its place among all that the object has sent.
    pub sequence: i64,
    /// Whom it was for: `<kind>/<id>`.
    pub receiver: String,
    /// The JSON text of the message.
    pub message: String,
    /// What the receiver said the last time.
    pub error: String,
    /// When it was given up.
    pub given_up_at: Timestamp,
}

/// Moves a message out of the way of those behind it.
pub(super) fn bury(
    connection: &Connection,
    sequence: i64,
    error: &Error,
    now: Timestamp,
) -> Result<(), Error> {
    DEAD_LETTERS.ensure(connection)?;
    let sql = Sql::new(connection);
    let error = format!("{}: {error}", error.code().as_str());
    sql.execute(INSERT_DEAD_LETTER, (sequence, error, now.as_ms()))?;
    sql.execute(DELETE_MESSAGE, [sequence])?;
    sql.execute(DELETE_OLDEST, [DEAD_LETTERS_MAX])?;
    Ok(())
}

/// The newest messages that were given up, newest first.
pub(crate) fn dead_letters(
    connection: &Connection,
    limit: usize,
) -> Result<Vec<DeadLetter>, Error> {
    if !DEAD_LETTERS.exists(connection)? {
        return Ok(Vec::new());
    }
    let read = |row: &Row<'_>| {
        let (kind, id): (String, String) = (row.get(1)?, row.get(2)?);
        Ok(DeadLetter {
            sequence: row.get(0)?,
            receiver: format!("{kind}/{id}"),
            message: row.get(3)?,
            error: row.get(4)?,
            given_up_at: Timestamp::from_ms(row.get(5)?),
        })
    };
    let limit = i64::try_from(limit).unwrap_or(DEAD_LETTERS_MAX);
    let mut statement = connection.prepare_cached(SELECT_DEAD_LETTERS)?;
    Ok(statement.query_map([limit], read)?.collect::<rusqlite::Result<_>>()?)
}

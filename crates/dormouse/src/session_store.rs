//! What an object has noted about its sessions, in its file: for clients that come back after the
//! server was restarted.

use std::sync::Arc;

use dormouse_store::Timestamp;
use rusqlite::Connection;

use crate::error::Error;
use crate::late_table::LateTable;
use crate::session::{Session, SessionId};
use crate::session_table::SessionNotes;
use crate::sql::Sql;

/// How many of the oldest rows are looked at whenever some are saved: more than come, so that those of
/// sessions that are gone for good go.
const LOOK_SESSIONS_MAX: i64 = 16;

/// The user is part of the key: whoever guesses the name of another's session finds nothing, and
/// overwrites nothing. Nobody in particular has no user id.
const SESSIONS: LateTable = LateTable {
    name: "dormouse_session",
    create: &[
        "CREATE TABLE dormouse_session (\
            id BLOB NOT NULL, \
            user_id TEXT, \
            notes TEXT NOT NULL, \
            saved_at_ms INTEGER NOT NULL\
        ) STRICT",
        "CREATE UNIQUE INDEX dormouse_session_id ON dormouse_session (id, coalesce(user_id, ''))",
        "CREATE INDEX dormouse_session_age ON dormouse_session (saved_at_ms)",
    ],
};

const SELECT_NOTES: &str = "
    SELECT notes FROM dormouse_session
    WHERE id = ?1 AND coalesce(user_id, '') = ?2";
const REPLACE_NOTES: &str = "
    INSERT OR REPLACE INTO dormouse_session (id, user_id, notes, saved_at_ms)
    VALUES (?1, ?2, ?3, ?4)";
const SELECT_OLDEST: &str = "SELECT rowid, id FROM dormouse_session ORDER BY saved_at_ms LIMIT ?1";
const TOUCH_SESSION: &str = "UPDATE dormouse_session SET saved_at_ms = ?2 WHERE rowid = ?1";
const DELETE_SESSION: &str = "DELETE FROM dormouse_session WHERE rowid = ?1";

/// What was noted about a session that was here before.
pub(crate) fn find(
    connection: &Connection,
    session: &Session,
) -> Result<Option<SessionNotes>, Error> {
    if !SESSIONS.exists(connection)? {
        return Ok(None);
    }
    let found = Sql::new(connection).row(
        SELECT_NOTES,
        (session.id.to_bytes(), user_id(session).unwrap_or_default()),
        |row| row.get::<_, String>(0),
    )?;
    found.map(|json| serde_json::from_str(&json).map_err(Error::internal)).transpose()
}

/// Stores what was noted, and deletes the oldest of what belongs to sessions that are not
/// [known](crate::SessionTable::knows) any more.
pub(crate) fn save(
    connection: &Connection,
    now: Timestamp,
    notes: &[(Session, Arc<SessionNotes>)],
    knows: impl Fn(SessionId) -> bool,
) -> Result<(), Error> {
    SESSIONS.ensure(connection)?;
    let sql = Sql::new(connection);
    for (session, notes) in notes {
        let json = serde_json::to_string(&**notes).map_err(Error::internal)?;
        let row = (session.id.to_bytes(), user_id(session), json, now.as_ms());
        sql.execute(REPLACE_NOTES, row)?;
    }
    let oldest = sql.rows(SELECT_OLDEST, [LOOK_SESSIONS_MAX], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?))
    })?;
    for (row, id) in oldest {
        if knows(SessionId::from_random(id)) {
            // So that others are looked at the next time.
            sql.execute(TOUCH_SESSION, (row, now.as_ms()))?;
        } else {
            sql.execute(DELETE_SESSION, [row])?;
        }
    }
    Ok(())
}

fn user_id(session: &Session) -> Option<&str> {
    session.user.as_deref().map(|user| user.id.as_str())
}

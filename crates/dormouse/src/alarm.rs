//! Alarms: an object asks to be called at a time, and is, awake or asleep.
//!
//! Each alarm is a row in the object's own file, written in the transaction of the handler that
//! set it. The earliest time stands in the catalog, where the node finds what is due without
//! opening an object.
//!
//! # Invariants
//!
//! * **At least once.** The row goes in the transaction of the handler it called. A handler that
//!   fails leaves the row, with a later time.
//! * **Bounded retries.** After the first try and [`RETRIES_MAX`] more the alarm is given up, and
//!   the log says so.

use std::time::Duration;

use dormouse_store::Timestamp;
use rusqlite::Connection;

use crate::error::Error;
use crate::late_table::LateTable;
use crate::random::Random;

/// The table of an object's alarms, with an index that finds the earliest.
const ALARMS: LateTable = LateTable {
    name: "dormouse_alarm",
    create: &[
        "CREATE TABLE dormouse_alarm (
            name TEXT PRIMARY KEY,
            due_ms INTEGER NOT NULL,
            attempts INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID",
        "CREATE INDEX dormouse_alarm_by_due ON dormouse_alarm (due_ms)",
    ],
};

const UPSERT_ALARM: &str = "
    INSERT INTO dormouse_alarm (name, due_ms, attempts) VALUES (?1, ?2, ?3)
    ON CONFLICT (name) DO UPDATE SET due_ms = ?2, attempts = ?3";
const DELETE_ALARM: &str = "DELETE FROM dormouse_alarm WHERE name = ?1";
const COUNT_ALARMS: &str = "SELECT count(*) FROM dormouse_alarm";
const SELECT_ALARM: &str = "SELECT due_ms FROM dormouse_alarm WHERE name = ?1";
const SELECT_EARLIEST: &str =
    "SELECT name, due_ms, attempts FROM dormouse_alarm ORDER BY due_ms LIMIT 1";

/// Tries after the first one.
pub(crate) const RETRIES_MAX: u32 = 6;

/// The wait before the first retry; it doubles with each.
const RETRY_FIRST: Duration = Duration::from_secs(2);

/// Most alarms that one object may have pending.
const ALARMS_MAX: i64 = 1_000;

/// Most bytes of an alarm's name.
const NAME_BYTES_MAX: usize = 256;

/// An alarm that has come due, as the kind's handler sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The name it was set under.
    pub name: String,
    /// When it was to come. It comes later if the server was down, busy, or is trying again.
    pub due: Timestamp,
    /// How many tries have failed before this one.
    pub attempts: u32,
}

/// Sets an alarm, or moves it.
pub(crate) fn set(connection: &Connection, name: &str, due: Timestamp) -> Result<(), Error> {
    if name.len() > NAME_BYTES_MAX {
        let bytes = name.len();
        return Err(Error::internal(format!(
            "an alarm's name of {bytes} bytes is over the limit of {NAME_BYTES_MAX}"
        )));
    }
    write(connection, name, due, 0)?;
    let pending: i64 = connection.prepare_cached(COUNT_ALARMS)?.query_row([], |row| row.get(0))?;
    if pending > ALARMS_MAX {
        return Err(Error::internal(format!("an object has at most {ALARMS_MAX} alarms")));
    }
    Ok(())
}

/// Takes an alarm back; `false` if there was none of that name.
pub(crate) fn cancel(connection: &Connection, name: &str) -> Result<bool, Error> {
    Ok(ALARMS.exists(connection)? && connection.prepare_cached(DELETE_ALARM)?.execute([name])? > 0)
}

/// When an alarm is to come.
pub(crate) fn get(connection: &Connection, name: &str) -> Result<Option<Timestamp>, Error> {
    if !ALARMS.exists(connection)? {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(SELECT_ALARM)?;
    let mut rows = statement.query([name])?;
    Ok(match rows.next()? {
        Some(row) => Some(Timestamp::from_ms(row.get(0)?)),
        None => None,
    })
}

/// The alarm that comes first.
pub(crate) fn earliest(connection: &Connection) -> Result<Option<Alarm>, Error> {
    if !ALARMS.exists(connection)? {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(SELECT_EARLIEST)?;
    let mut rows = statement.query([])?;
    Ok(match rows.next()? {
        Some(row) => Some(Alarm {
            name: row.get(0)?,
            due: Timestamp::from_ms(row.get(1)?),
            attempts: row.get(2)?,
        }),
        None => None,
    })
}

/// Notes that a try of `alarm` has failed at `now`: sets it again, later.
///
/// `Ok(false)` if it has been tried often enough: it is gone.
pub(crate) fn fail(
    connection: &Connection,
    alarm: &Alarm,
    now: Timestamp,
    random: &mut Random,
) -> Result<bool, Error> {
    if alarm.attempts >= RETRIES_MAX {
        cancel(connection, &alarm.name)?;
        return Ok(false);
    }
    let due = now.checked_add(retry_wait(alarm.attempts, random)).unwrap_or(now);
    write(connection, &alarm.name, due, alarm.attempts + 1)?;
    Ok(true)
}

fn write(connection: &Connection, name: &str, due: Timestamp, attempts: u32) -> Result<(), Error> {
    ALARMS.ensure(connection)?;
    connection.prepare_cached(UPSERT_ALARM)?.execute((name, due.as_ms(), attempts))?;
    Ok(())
}

/// The wait after `failed` failures before this one: doubling, and up to half as long again so that
/// objects which failed together do not come back together.
pub(crate) fn retry_wait(failed: u32, random: &mut Random) -> Duration {
    let wait = RETRY_FIRST * 2_u32.saturating_pow(failed);
    wait + wait * u32::from(random.bytes::<1>()[0]) / 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_two_seconds_with_up_to_half_on_top() {
        let mut random = Random::seeded(3);

        for failed in 0..RETRIES_MAX {
            let base = RETRY_FIRST * 2_u32.pow(failed);
            let wait = retry_wait(failed, &mut random);
            assert!(wait >= base && wait < base * 3 / 2, "{failed}: {wait:?}");
        }
    }

    #[test]
    fn an_object_that_sets_no_alarm_has_no_table_and_no_alarm() {
        let connection = Connection::open_in_memory().unwrap();

        assert_eq!(earliest(&connection).unwrap(), None);
        assert_eq!(get(&connection, "any").unwrap(), None);
        assert!(!cancel(&connection, "any").unwrap());
        assert!(!ALARMS.exists(&connection).unwrap());

        set(&connection, "any", Timestamp::from_ms(7)).unwrap();

        assert_eq!(get(&connection, "any").unwrap(), Some(Timestamp::from_ms(7)));
        assert_eq!(earliest(&connection).unwrap().map(|alarm| alarm.name).as_deref(), Some("any"));
        assert!(cancel(&connection, "any").unwrap());
    }

    /// The earliest alarm is read at every commit that changed one, and whenever one has fired.
    #[test]
    fn the_earliest_alarm_is_found_by_the_index() {
        let connection = Connection::open_in_memory().unwrap();
        ALARMS.ensure(&connection).unwrap();
        let mut statement =
            connection.prepare(&format!("EXPLAIN QUERY PLAN {SELECT_EARLIEST}")).unwrap();
        let plan: Vec<String> =
            statement.query_map([], |row| row.get(3)).and_then(Iterator::collect).unwrap();

        assert_eq!(plan, ["SCAN dormouse_alarm USING INDEX dormouse_alarm_by_due"]);
    }
}

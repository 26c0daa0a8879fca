//! The object's own ordered list of events, in its SQLite file, written in the transaction of the
//! state they describe.
//!
//! # Invariants
//!
//! * **Gap-free log.** Offsets start at 1 and rise by exactly 1. Trimming removes from the old
//!   end only, and never the newest event: the tail is known as long as the object exists.

use rusqlite::Connection;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::event_types::EventTypes;

/// The log's table. `bytes_before` is the sum of all bodies before this one since the object
/// began, so the size of what is kept is one subtraction and never a scan.
///
/// The text has no needless blanks: every object's file contains it.
pub(crate) const EVENT_LOG_MIGRATIONS: &[&str] = &["\
    CREATE TABLE dormouse_event (\
        offset INTEGER PRIMARY KEY, \
        type TEXT NOT NULL, \
        bytes_before INTEGER NOT NULL, \
        body TEXT NOT NULL\
    ) STRICT"];

const INSERT_EVENT: &str =
    "INSERT INTO dormouse_event (offset, type, bytes_before, body) VALUES (?1, ?2, ?3, ?4)";
pub(crate) const SELECT_FIRST: &str =
    "SELECT offset, bytes_before FROM dormouse_event ORDER BY offset LIMIT 1";
pub(crate) const SELECT_LAST: &str = "SELECT offset, bytes_before + octet_length(body) FROM dormouse_event ORDER BY offset DESC LIMIT 1";
const SELECT_AFTER: &str =
    "SELECT offset, type, body FROM dormouse_event WHERE offset > ?1 ORDER BY offset";
const SELECT_BEFORE: &str =
    "SELECT offset, body FROM dormouse_event WHERE offset < ?1 ORDER BY offset DESC LIMIT ?2";
const COUNT_BY_TYPE: &str =
    "SELECT type, count(*) FROM dormouse_event WHERE offset > ?1 GROUP BY type";
const DELETE_UP_TO: &str = "DELETE FROM dormouse_event WHERE offset <= ?1";

/// A place in an object's event log. The first event has offset 1; [`Offset::ZERO`] is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// Before the first event.
    pub const ZERO: Offset = Offset(0);

    /// The place after `events` events.
    pub const fn new(events: u64) -> Offset {
        Offset(events)
    }

    /// The number on the wire.
    pub const fn get(self) -> u64 {
        self.0
    }

    const fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl rusqlite::ToSql for Offset {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        // An offset above i64::MAX can only come from a client; nothing is stored there.
        Ok(i64::try_from(self.0).unwrap_or(i64::MAX).into())
    }
}

impl rusqlite::types::FromSql for Offset {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        <u64 as rusqlite::types::FromSql>::column_result(value).map(Offset)
    }
}

/// How much history an object keeps; whichever bound is met first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Most events.
    pub events_max: u64,
    /// Most bytes of their JSON.
    pub bytes_max: u64,
}

impl LogLimits {
    /// 100,000 events or 64 MiB.
    pub const DEFAULT: LogLimits = LogLimits { events_max: 100_000, bytes_max: 64 << 20 };
}

/// An event read back from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent<E> {
    /// Its place.
    pub offset: Offset,
    /// The event as it was broadcast.
    pub event: E,
}

/// Reads the log of the object whose handler runs now.
#[derive(Clone, Copy, Debug)]
pub struct EventLog<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) bounds: LogBounds,
}

impl EventLog<'_> {
    /// The offset of the newest event; [`Offset::ZERO`] if there is none.
    pub fn tail(self) -> Offset {
        self.bounds.tail
    }

    /// At most `limit` events older than `before`, newest first; all there are when `before` is
    /// `None`.
    ///
    /// # Errors
    ///
    /// INTERNAL_SERVER_ERROR if the log holds an event that `E` cannot read: event types must
    /// stay readable for as long as the log keeps them.
    pub fn before<E: DeserializeOwned>(
        self,
        before: Option<Offset>,
        limit: u32,
    ) -> Result<Vec<LoggedEvent<E>>, Error> {
        let before = before.unwrap_or(Offset(u64::MAX));
        let mut statement = self.connection.prepare_cached(SELECT_BEFORE)?;
        let mut rows = statement.query((before, limit))?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            let event = serde_json::from_str(body).map_err(Error::internal)?;
            events.push(LoggedEvent { offset: row.get(0)?, event });
        }
        Ok(events)
    }
}

/// What is known of the log without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogBounds {
    /// The newest event's offset.
    pub(crate) tail: Offset,
    /// The oldest kept event's offset; meaningless while `tail` is zero.
    first: Offset,
    /// Bytes of all bodies ever written, up to the tail.
    bytes_total: u64,
    /// Bytes of all bodies before the oldest kept one.
    bytes_trimmed: u64,
}

/// One stored event, as the log gives it for replay.
pub(crate) struct StoredEvent<'a> {
    pub(crate) offset: Offset,
    pub(crate) event_type: &'a str,
    pub(crate) body: &'a str,
}

impl LogBounds {
    /// Reads both ends of the log.
    pub(crate) fn read(connection: &Connection) -> Result<LogBounds, Error> {
        let first = end(connection, SELECT_FIRST)?;
        let last = end(connection, SELECT_LAST)?;
        let (Some((first, bytes_trimmed)), Some((tail, bytes_total))) = (first, last) else {
            return Ok(LogBounds::default());
        };
        Ok(LogBounds { tail, first, bytes_total, bytes_trimmed })
    }

    /// Writes the next event. Its offset is the one right after the tail.
    pub(crate) fn append(
        &mut self,
        connection: &Connection,
        event_type: &str,
        body: &str,
    ) -> Result<Offset, Error> {
        let offset = self.tail.next();
        connection.prepare_cached(INSERT_EVENT)?.execute((
            offset,
            event_type,
            self.bytes_total,
            body,
        ))?;
        if self.tail == Offset::ZERO {
            self.first = offset;
        }
        self.tail = offset;
        self.bytes_total += body.len() as u64;
        Ok(offset)
    }

    /// Whether every event after `since` is still there, and `since` is not in the future.
    pub(crate) fn covers(&self, since: Offset) -> bool {
        since == self.tail || (since < self.tail && self.first <= since.next())
    }

    /// Calls `each` with the events after `since`, oldest first, until it returns `false`.
    pub(crate) fn replay(
        connection: &Connection,
        since: Offset,
        mut each: impl FnMut(StoredEvent<'_>) -> bool,
    ) -> Result<(), Error> {
        let mut statement = connection.prepare_cached(SELECT_AFTER)?;
        let mut rows = statement.query([since])?;
        while let Some(row) = rows.next()? {
            let event = StoredEvent {
                offset: row.get(0)?,
                event_type: row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?,
                body: row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?,
            };
            if !each(event) {
                break;
            }
        }
        Ok(())
    }

    /// How many events after `since` a filter lets pass. A type that the kind no longer has
    /// passes, as it does when it is sent.
    pub(crate) fn count_passing(
        connection: &Connection,
        since: Offset,
        types: &EventTypes,
        mask: u128,
    ) -> Result<u64, Error> {
        let mut statement = connection.prepare_cached(COUNT_BY_TYPE)?;
        let mut rows = statement.query([since])?;
        let mut passing = 0;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            let passes = types.index(name).is_none_or(|index| mask & (1 << index) != 0);
            if passes {
                passing += row.get::<_, u64>(1)?;
            }
        }
        Ok(passing)
    }

    /// By how many events the log is over its limits, as far as that is known without reading.
    pub(crate) fn excess(&self, limits: LogLimits) -> u64 {
        let kept = self.kept();
        let over_count = kept.saturating_sub(limits.events_max);
        let bytes = self.bytes_total - self.bytes_trimmed;
        let over_bytes = if bytes > limits.bytes_max {
            // At the average size; the next step looks again.
            ((bytes - limits.bytes_max) / (bytes / kept.max(1)).max(1)).max(1)
        } else {
            0
        };
        over_count.max(over_bytes).min(kept.saturating_sub(1))
    }

    /// Deletes the `events` oldest events, but never the newest one.
    pub(crate) fn trim(&mut self, connection: &Connection, events: u64) -> Result<(), Error> {
        self.trim_to(connection, Offset((self.first.0 + events).saturating_sub(1)))
    }

    /// Deletes the events up to this one, but never the newest one.
    pub(crate) fn trim_to(&mut self, connection: &Connection, up_to: Offset) -> Result<(), Error> {
        let up_to = up_to.min(Offset(self.tail.0.saturating_sub(1)));
        if self.tail == Offset::ZERO || up_to < self.first {
            return Ok(());
        }
        connection.prepare_cached(DELETE_UP_TO)?.execute([up_to])?;
        if let Some((first, bytes_trimmed)) = end(connection, SELECT_FIRST)? {
            self.first = first;
            self.bytes_trimmed = bytes_trimmed;
        }
        Ok(())
    }

    /// Number of events in the log.
    fn kept(&self) -> u64 {
        if self.tail == Offset::ZERO { 0 } else { self.tail.0 - self.first.0 + 1 }
    }
}

fn end(connection: &Connection, sql: &str) -> Result<Option<(Offset, u64)>, Error> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    match rows.next()? {
        Some(row) => Ok(Some((row.get(0)?, row.get(1)?))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(bodies: &[&str]) -> (Connection, LogBounds) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(EVENT_LOG_MIGRATIONS[0]).unwrap();
        let mut bounds = LogBounds::default();
        for body in bodies {
            bounds.append(&connection, "changed", body).unwrap();
        }
        (connection, bounds)
    }

    fn offsets_after(connection: &Connection, since: u64) -> Vec<u64> {
        let mut offsets = Vec::new();
        LogBounds::replay(connection, Offset(since), |event| {
            offsets.push(event.offset.get());
            true
        })
        .unwrap();
        offsets
    }

    #[test]
    fn offsets_have_no_holes_and_both_ends_are_read_back() {
        let (connection, bounds) = log_of(&["{}", "{\"a\":1}", "{}"]);

        assert_eq!(offsets_after(&connection, 0), [1, 2, 3]);
        assert_eq!(offsets_after(&connection, 2), [3]);
        assert_eq!(LogBounds::read(&connection).unwrap(), bounds);
    }

    #[test]
    fn a_resume_is_covered_only_without_a_gap_and_not_from_the_future() {
        let (connection, mut bounds) = log_of(&["{}"; 10]);
        bounds.trim(&connection, 4).unwrap();

        assert!(!bounds.covers(Offset(3)), "event 4 is gone");
        assert!(bounds.covers(Offset(4)));
        assert!(bounds.covers(Offset(10)));
        assert!(!bounds.covers(Offset(11)));
        assert!(!bounds.covers(Offset(u64::MAX)));
    }

    #[test]
    fn trimming_keeps_the_newest_event_so_the_tail_survives() {
        let (connection, mut bounds) = log_of(&["{}"; 5]);

        bounds.trim(&connection, 1_000).unwrap();

        assert_eq!(offsets_after(&connection, 0), [5]);
        assert_eq!(LogBounds::read(&connection).unwrap(), bounds);
    }

    #[test]
    fn excess_counts_events_and_bytes() {
        let (_connection, bounds) = log_of(&["12345678"; 10]);

        let by = |events_max, bytes_max| bounds.excess(LogLimits { events_max, bytes_max });
        assert_eq!(by(10, 80), 0);
        assert_eq!(by(7, 80), 3);
        assert_eq!(by(10, 60), 2);
        assert_eq!(by(0, 0), 9, "the newest stays");
    }

    /// Every socket that comes back replays. A scan or a sort here would make coming back cost as
    /// much as the object is old.
    #[test]
    fn every_read_of_a_client_path_walks_the_primary_key() {
        let (connection, _) = log_of(&[]);
        let plan = |sql: &str| -> Vec<String> {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let parameters = statement.parameter_count();
            statement
                .query_map(rusqlite::params_from_iter(vec![1; parameters]), |row| row.get(3))
                .and_then(Iterator::collect)
                .unwrap()
        };

        let after = "SEARCH dormouse_event USING INTEGER PRIMARY KEY (rowid>?)";
        assert_eq!(plan(SELECT_AFTER), [after]);
        assert_eq!(
            plan(SELECT_BEFORE),
            ["SEARCH dormouse_event USING INTEGER PRIMARY KEY (rowid<?)"]
        );
        assert_eq!(plan(SELECT_FIRST), ["SCAN dormouse_event"], "of one row, by LIMIT 1");
        assert_eq!(plan(SELECT_LAST), ["SCAN dormouse_event"], "of one row, by LIMIT 1");
    }
}

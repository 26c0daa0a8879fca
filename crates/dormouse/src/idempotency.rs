//! Calls that may be repeated: a mutation with a key runs once, and whoever repeats it gets the first
//! answer.
//!
//! The answer is recorded in the object's own file, in the transaction of the mutation itself, so
//! there is no moment at which one is stored without the other. It counts towards what a call may
//! store at once.
//!
//! # Invariants
//!
//! * **Successes only.** A call that was refused or failed records nothing: it may be repeated with
//!   the same key and is tried again.
//! * **A replay changes nothing.** It runs no handler, writes nothing and tells nobody.
//! * **Nobody else pays.** A call without a key runs no statement of this module, and an object
//!   that was never called with one has no table of it.

use std::fmt;
use std::time::Duration;

use dormouse_store::Timestamp;
use rusqlite::Connection;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::Error;
use crate::late_table::LateTable;
use crate::session::Caller;
use crate::sql::Sql;

/// Most characters of a key that a client sends.
const KEY_CHARS_MAX: usize = 255;

/// How long an answer is kept, in the object's time.
const RECORD_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Most answers that an object keeps; the oldest goes for the newest.
const RECORDS_MAX: i64 = 1_000;

/// Most old answers that one call deletes. More than one, so that what has expired goes faster than
/// new ones come; few, so that no call pays for the keys of a whole day.
const TRIM_RECORDS_MAX: i64 = 2;

/// The table of an object's answers. A later form of it gets a new name: what is in the old one is
/// worth nothing after a day.
///
/// `sequence` is the age: answers are deleted from its low end. `id` stands for user, method and
/// key, `input` for the input; both are hashes, so nothing that a client sent is kept here but what
/// it was answered.
const ANSWERS: LateTable = LateTable {
    name: "dormouse_answer",
    create: &["CREATE TABLE dormouse_answer (
            sequence INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE,
            input BLOB NOT NULL,
            created_ms INTEGER NOT NULL,
            answer TEXT NOT NULL
        ) STRICT"],
};
const SELECT_ANSWER: &str =
    "SELECT input, answer FROM dormouse_answer WHERE id = ?1 AND created_ms > ?2";
/// An answer under the same id has expired. The new one gets a new place at the end.
const REPLACE_ANSWER: &str = "
    INSERT OR REPLACE INTO dormouse_answer (id, input, created_ms, answer)
    VALUES (?1, ?2, ?3, ?4)";
const DELETE_OLDEST: &str = "
    DELETE FROM dormouse_answer
    WHERE sequence IN (SELECT sequence FROM dormouse_answer ORDER BY sequence LIMIT ?1)
    AND (created_ms <= ?2 OR sequence <= ?3)";

/// What a client calls a mutation that it may have to repeat: 1 to 255 visible ASCII characters.
///
/// The same key on another object, of another user or for another method is another key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// Names one keyed call within its object: what was asked by whom under which key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fingerprint {
    /// Of user, method and key.
    id: [u8; HASH_BYTES],
    /// Of the input.
    input: [u8; HASH_BYTES],
}

/// Bytes of a hash: nobody finds two inputs with the same 128 bits.
const HASH_BYTES: usize = 16;

impl IdempotencyKey {
    /// A key as a client sent it.
    ///
    /// # Errors
    ///
    /// BAD_REQUEST that says what a key may be.
    pub fn new(text: impl Into<String>) -> Result<IdempotencyKey, Error> {
        let text = text.into();
        if text.is_empty()
            || text.len() > KEY_CHARS_MAX
            || !text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(Error::bad_request(format!(
                "an idempotency key has 1 to {KEY_CHARS_MAX} visible ASCII characters"
            )));
        }
        Ok(IdempotencyKey(text))
    }

    /// The key of one call of a batch: `<key>/<index>`, counted from 0.
    #[must_use]
    pub fn of_batch(&self, index: usize) -> IdempotencyKey {
        IdempotencyKey(format!("{self}/{index}"))
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Fingerprint {
    pub(crate) fn of(
        caller: &Caller,
        method: &str,
        key: &IdempotencyKey,
        params: &Map<String, Value>,
    ) -> Fingerprint {
        let mut id = Hash::new("dormouse call 1");
        id.caller(caller);
        id.text(method);
        id.text(&key.0);
        let mut input = Hash::new("dormouse input 1");
        input.object(params);
        Fingerprint { id: id.finish(), input: input.finish() }
    }

    /// The answer that this call was given before; `None` if it was not called, or too long ago.
    ///
    /// # Errors
    ///
    /// CONFLICT if the key was used with another input.
    pub(crate) fn find(
        &self,
        connection: &Connection,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        if !ANSWERS.exists(connection)? {
            return Ok(None);
        }
        let found = Sql::new(connection).row(SELECT_ANSWER, (self.id, expired(now)), |row| {
            let input: [u8; HASH_BYTES] = row.get(0)?;
            Ok((input, row.get(1)?))
        })?;
        match found {
            None => Ok(None),
            Some((input, answer)) if input == self.input => Ok(Some(answer)),
            Some(_) => {
                Err(Error::conflict("this idempotency key was used before, with another input"))
            }
        }
    }

    /// Records the answer to this call, and deletes some that are too old or too many.
    pub(crate) fn record(
        &self,
        connection: &Connection,
        now: Timestamp,
        answer: &str,
    ) -> Result<(), Error> {
        ANSWERS.ensure(connection)?;
        let sql = Sql::new(connection);
        sql.execute(REPLACE_ANSWER, (self.id, self.input, now.as_ms(), answer))?;
        // The only holes between places are where an expired answer was replaced, and what is before
        // such a hole has expired too. So counting places finds no more than it may.
        let newest_surplus = connection.last_insert_rowid() - RECORDS_MAX;
        sql.execute(DELETE_OLDEST, (TRIM_RECORDS_MAX, expired(now), newest_surplus))?;
        Ok(())
    }
}

/// The id of an object that is created with a key and without an id: whoever repeats the call finds
/// the same object.
///
/// A UUIDv8, which is the version for ids that are made in a way of one's own.
pub(crate) fn derived_id(caller: &Caller, kind: &str, method: &str, key: &IdempotencyKey) -> Uuid {
    let mut hash = Hash::new("dormouse id 1");
    hash.caller(caller);
    hash.text(kind);
    hash.text(method);
    hash.text(&key.0);
    uuid::Builder::from_custom_bytes(hash.finish()).into_uuid()
}

/// When an answer was given that is too old at `now`; in milliseconds since 1970.
fn expired(now: Timestamp) -> i64 {
    let age_max_ms = i64::try_from(RECORD_AGE_MAX.as_millis()).unwrap_or(i64::MAX);
    now.as_ms().saturating_sub(age_max_ms)
}

/// A hash in which no two different sequences of parts look alike: each part says how long it is.
struct Hash(blake3::Hasher);

impl Hash {
    /// `purpose` keeps hashes for different purposes apart.
    fn new(purpose: &str) -> Hash {
        let mut hash = Hash(blake3::Hasher::new());
        hash.text(purpose);
        hash
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.update(text.as_bytes());
    }

    fn length(&mut self, length: usize) {
        self.0.update(&(length as u64).to_le_bytes());
    }

    /// No user is another one than the user whose id is empty.
    fn caller(&mut self, caller: &Caller) {
        match &caller.user {
            Some(user) => {
                self.0.update(b"u");
                self.text(&user.id);
            }
            None => _ = self.0.update(b"-"),
        }
    }

    /// An object whose fields may come in any order.
    fn object(&mut self, fields: &Map<String, Value>) {
        let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        self.0.update(b"{");
        self.length(sorted.len());
        for (name, value) in sorted {
            self.text(name);
            self.value(value);
        }
    }

    /// `1` and `1.0` are different: a method that takes a whole number refuses the second.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => _ = self.0.update(b"n"),
            Value::Bool(false) => _ = self.0.update(b"f"),
            Value::Bool(true) => _ = self.0.update(b"t"),
            Value::Number(number) => {
                self.0.update(b"0");
                self.text(&number.to_string());
            }
            Value::String(text) => {
                self.0.update(b"\"");
                self.text(text);
            }
            Value::Array(values) => {
                self.0.update(b"[");
                self.length(values.len());
                for value in values {
                    self.value(value);
                }
            }
            Value::Object(fields) => self.object(fields),
        }
    }

    fn finish(self) -> [u8; HASH_BYTES] {
        let mut bytes = [0; HASH_BYTES];
        self.0.finalize_xof().fill(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests;

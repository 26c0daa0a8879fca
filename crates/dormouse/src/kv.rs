//! Key-value storage for handlers, beside SQL and in the same transaction.
//!
//! Values are stored as JSON text in the object's own file, so that a kind's SQL, and a person with
//! the `sqlite3` shell, can read them: the table is `dormouse_kv (key, value)`.
//!
//! ```
//! use dormouse::{Cx, Error, Keys};
//! # use dormouse::{Methods, Object, Session};
//! # struct Poll;
//! # #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
//! # #[serde(tag = "type")]
//! # enum PollEvent { Voted }
//! # impl Object for Poll {
//! #     const KIND: &'static str = "poll";
//! #     type Event = PollEvent;
//! #     const MIGRATIONS: &'static [&'static str] = &[];
//! #     fn methods() -> Methods<Self> { Methods::new() }
//! #     fn wake(_: &Cx<Self>) -> Result<Self, Error> { Ok(Poll) }
//! #     fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<PollEvent>, Error> { Ok(None) }
//! # }
//!
//! fn vote(cx: &mut Cx<Poll>, voter: &str, choice: &str) -> Result<(), Error> {
//!     let key = format!("vote/{voter}");
//!     if cx.kv().get::<String>(&key)?.is_some() {
//!         return Err(Error::conflict("voted already"));
//!     }
//!     cx.kv_mut().put(&key, choice)
//! }
//!
//! fn first_ten(cx: &Cx<Poll>) -> Result<Vec<(String, String)>, Error> {
//!     Ok(cx.kv().list(Keys::prefix("vote/").limit(10))?.entries)
//! }
//! ```

use std::ops::{Bound, Deref, RangeBounds};

use rusqlite::Connection;
use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorCode};
use crate::sql::Sql;

/// Most bytes of a key, in UTF-8.
pub const KV_KEY_BYTES_MAX: usize = 2_048;

/// Most bytes of a value, as JSON.
pub const KV_VALUE_BYTES_MAX: usize = 128 << 10;

/// Most entries that one listing reads.
pub const KV_LIST_ENTRIES_MAX: usize = 1_000;

/// Most bytes of JSON that one listing reads. The first entry is always read.
pub const KV_LIST_BYTES_MAX: usize = 4 << 20;

/// `WITHOUT ROWID`: every object has this table, and with a table of its own for the keys each
/// would be a page larger. What it costs is an overflow page for values past some 200 bytes. The
/// text has no needless blanks: every object's file contains it.
pub(crate) const KV_MIGRATIONS: &[&str] = &["\
    CREATE TABLE dormouse_kv (\
        key TEXT PRIMARY KEY, \
        value TEXT NOT NULL\
    ) STRICT, WITHOUT ROWID"];

const SELECT_VALUE: &str = "SELECT value FROM dormouse_kv WHERE key = ?1";
const UPSERT_VALUE: &str = "
    INSERT INTO dormouse_kv (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = ?2";
const DELETE_VALUE: &str = "DELETE FROM dormouse_kv WHERE key = ?1";
const SELECT_ASCENDING: &str =
    "SELECT key, value FROM dormouse_kv WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3";
const SELECT_DESCENDING: &str =
    "SELECT key, value FROM dormouse_kv WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3";

/// Reads the key-value storage of the object whose handler runs now.
///
/// It sees what the handler itself has put. Keys have 1 to [`KV_KEY_BYTES_MAX`] bytes and are
/// ordered by their bytes, which for UTF-8 is the order of code points.
#[derive(Clone, Copy, Debug)]
pub struct Kv<'a> {
    connection: &'a Connection,
}

/// Changes the key-value storage of the object whose handler runs now; reads it too.
///
/// What it writes is stored with everything else that the handler does, or not at all.
#[derive(Debug)]
pub struct KvMut<'a> {
    kv: Kv<'a>,
}

/// Which keys a listing reads, in which direction, and how many.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The first key.
    from: String,
    /// The first key past the end; `None` if there is no end.
    to: Option<String>,
    limit: usize,
    is_reverse: bool,
}

/// What [`Kv::list`] read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvPage<T> {
    /// The entries, in the order that was asked for.
    pub entries: Vec<(String, T)>,
    /// Whether there is more: go on with [`Keys::after`] the last key, or [`Keys::before`] it when
    /// the listing was reversed.
    pub has_more: bool,
}

impl<'a> Kv<'a> {
    pub(crate) fn new(connection: &'a Connection) -> Kv<'a> {
        Kv { connection }
    }

    /// The value of a key; `None` if there is none.
    ///
    /// # Errors
    ///
    /// BAD_REQUEST if the key is empty or longer than [`KV_KEY_BYTES_MAX`]; INTERNAL_SERVER_ERROR if
    /// what is stored is not a `T`.
    pub fn get<T: DeserializeOwned>(self, key: &str) -> Result<Option<T>, Error> {
        check_key(key)?;
        let json: Option<String> =
            Sql::new(self.connection).row(SELECT_VALUE, [key], |row| row.get(0))?;
        json.map(|json| serde_json::from_str(&json)).transpose().map_err(Error::internal)
    }

    /// The entries of these keys, in order.
    ///
    /// Stops at the limit of `keys`, at [`KV_LIST_ENTRIES_MAX`] entries and at [`KV_LIST_BYTES_MAX`]
    /// bytes, whichever comes first; [`KvPage::has_more`] says whether something was left.
    ///
    /// # Errors
    ///
    /// INTERNAL_SERVER_ERROR if what is stored is not a `T`.
    pub fn list<T: DeserializeOwned>(self, keys: Keys) -> Result<KvPage<T>, Error> {
        let limit = keys.limit.min(KV_LIST_ENTRIES_MAX);
        // One more than asked for: it says whether there are more.
        let rows_max = i64::try_from(limit + 1).map_err(Error::internal)?;
        let sql = if keys.is_reverse { SELECT_DESCENDING } else { SELECT_ASCENDING };
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query((&keys.from, End(keys.to.as_deref()), rows_max))?;
        let mut page = KvPage { entries: Vec::new(), has_more: false };
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let json = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            let is_full = page.entries.len() == limit
                || (bytes > 0 && bytes + json.len() > KV_LIST_BYTES_MAX);
            if is_full {
                page.has_more = true;
                break;
            }
            bytes += json.len();
            let value = serde_json::from_str(json).map_err(Error::internal)?;
            page.entries.push((row.get(0)?, value));
        }
        Ok(page)
    }
}

impl<'a> KvMut<'a> {
    pub(crate) fn new(connection: &'a Connection) -> KvMut<'a> {
        KvMut { kv: Kv::new(connection) }
    }

    /// Stores a value under a key, in place of any that it had.
    ///
    /// # Errors
    ///
    /// Let it pass with `?`, which undoes the handler. BAD_REQUEST if the key is empty or longer than
    /// [`KV_KEY_BYTES_MAX`]; PAYLOAD_TOO_LARGE if the value's JSON is longer than
    /// [`KV_VALUE_BYTES_MAX`]; INTERNAL_SERVER_ERROR if the value is nothing that JSON can say.
    pub fn put<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        check_key(key)?;
        let json = serde_json::to_string(value).map_err(Error::internal)?;
        if json.len() > KV_VALUE_BYTES_MAX {
            let bytes = json.len();
            return Err(Error::new(
                ErrorCode::PayloadTooLarge,
                format!("a stored value has at most {KV_VALUE_BYTES_MAX} bytes, not {bytes}"),
            ));
        }
        Sql::new(self.connection).execute(UPSERT_VALUE, (key, json))?;
        Ok(())
    }

    /// Deletes a key and its value; `Ok` says whether there was one.
    ///
    /// # Errors
    ///
    /// BAD_REQUEST if the key is empty or longer than [`KV_KEY_BYTES_MAX`].
    pub fn delete(&mut self, key: &str) -> Result<bool, Error> {
        check_key(key)?;
        Ok(Sql::new(self.connection).execute(DELETE_VALUE, [key])? > 0)
    }
}

impl<'a> Deref for KvMut<'a> {
    type Target = Kv<'a>;

    fn deref(&self) -> &Kv<'a> {
        &self.kv
    }
}

impl Keys {
    /// All keys.
    pub fn all() -> Keys {
        Keys { from: String::new(), to: None, limit: KV_LIST_ENTRIES_MAX, is_reverse: false }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &str) -> Keys {
        Keys { from: prefix.to_owned(), to: first_past(prefix), ..Keys::all() }
    }

    /// All keys of a range: `Keys::range("a".."c")`, `Keys::range("a"..="c")`, `Keys::range("a"..)`.
    pub fn range<'k>(range: impl RangeBounds<&'k str>) -> Keys {
        let from = match range.start_bound() {
            Bound::Included(key) => (*key).to_owned(),
            Bound::Excluded(key) => successor(key),
            Bound::Unbounded => String::new(),
        };
        let to = match range.end_bound() {
            Bound::Included(key) => Some(successor(key)),
            Bound::Excluded(key) => Some((*key).to_owned()),
            Bound::Unbounded => None,
        };
        Keys { from, to, ..Keys::all() }
    }

    /// Of these keys only those after `key`: where the last page ended.
    #[must_use]
    pub fn after(mut self, key: &str) -> Keys {
        self.from = self.from.max(successor(key));
        self
    }

    /// Of these keys only those before `key`: where the last page of a reversed listing ended.
    #[must_use]
    pub fn before(mut self, key: &str) -> Keys {
        if self.to.as_deref().is_none_or(|to| key < to) {
            self.to = Some(key.to_owned());
        }
        self
    }

    /// At most so many entries; [`KV_LIST_ENTRIES_MAX`] if this is not called, and at most that.
    #[must_use]
    pub fn limit(mut self, entries: usize) -> Keys {
        self.limit = entries;
        self
    }

    /// From the last key to the first.
    #[must_use]
    pub fn reverse(mut self) -> Keys {
        self.is_reverse = !self.is_reverse;
        self
    }
}

/// The end of a range of keys for SQLite, in whose order any blob comes after every text.
struct End<'a>(Option<&'a str>);

impl ToSql for End<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Some(key) => ToSqlOutput::Borrowed(ValueRef::from(key)),
            None => ToSqlOutput::Owned(Value::Blob(Vec::new())),
        })
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > KV_KEY_BYTES_MAX {
        let bytes = key.len();
        return Err(Error::bad_request(format!(
            "a storage key has 1 to {KV_KEY_BYTES_MAX} bytes, not {bytes}"
        )));
    }
    Ok(())
}

/// The very next key: nothing sorts between a text and the same text with a zero at its end.
fn successor(key: &str) -> String {
    format!("{key}\0")
}

/// The first text after all that begin with `prefix`; `None` if no text is.
fn first_past(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // The range of characters knows that there are none between U+D7FF and U+E000.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests;

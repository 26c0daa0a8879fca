use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::{Cx, Empty, ErrorCode, Methods, Object, Session, TestObject};

fn storage() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(KV_MIGRATIONS[0]).unwrap();
    connection
}

fn holding(keys: &[&str]) -> Connection {
    let connection = storage();
    for key in keys {
        KvMut::new(&connection).put(key, key).unwrap();
    }
    connection
}

fn listed(connection: &Connection, keys: Keys) -> Vec<String> {
    let page = Kv::new(connection).list::<String>(keys).unwrap();
    assert!(page.entries.iter().all(|(key, value)| key == value));
    page.entries.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn a_value_is_read_back_as_it_was_put_until_it_is_deleted() {
    let connection = storage();
    let mut kv = KvMut::new(&connection);

    kv.put("a", &json!({"n": [1, null, "ö"]})).unwrap();
    kv.put("b", "text").unwrap();
    kv.put("b", &7_u8).unwrap();
    kv.put("none", &None::<u8>).unwrap();

    assert_eq!(kv.get("a").unwrap(), Some(json!({"n": [1, null, "ö"]})));
    assert_eq!(kv.get("b").unwrap(), Some(7_u8));
    assert_eq!(kv.get("none").unwrap(), Some(None::<u8>), "null is a value");
    assert_eq!(kv.get::<u8>("c").unwrap(), None);
    assert!(kv.delete("a").unwrap());
    assert!(!kv.delete("a").unwrap());
    assert_eq!(kv.get::<serde_json::Value>("a").unwrap(), None);
}

#[test]
fn a_value_of_another_type_is_a_fault_and_not_none() {
    let connection = holding(&["a"]);

    let err = Kv::new(&connection).get::<u8>("a").unwrap_err();

    assert_eq!(err.code(), ErrorCode::InternalServerError);
    assert!(Kv::new(&connection).list::<u8>(Keys::all()).unwrap_err().is_fault());
}

#[test]
fn keys_and_values_are_taken_up_to_their_bounds_and_not_past_them() {
    let connection = storage();
    let mut kv = KvMut::new(&connection);
    let longest = "k".repeat(KV_KEY_BYTES_MAX);
    // The quotes are part of the JSON.
    let largest = "v".repeat(KV_VALUE_BYTES_MAX - 2);

    kv.put(&longest, &largest).unwrap();

    assert_eq!(kv.get::<String>(&longest).unwrap(), Some(largest.clone()));
    for key in ["", &format!("{longest}k")] {
        assert_eq!(kv.put(key, &1).unwrap_err().code(), ErrorCode::BadRequest);
        assert_eq!(kv.get::<u8>(key).unwrap_err().code(), ErrorCode::BadRequest);
        assert_eq!(kv.delete(key).unwrap_err().code(), ErrorCode::BadRequest);
    }
    let too_large = format!("{largest}v");
    assert_eq!(kv.put("k", &too_large).unwrap_err().code(), ErrorCode::PayloadTooLarge);
    assert_eq!(kv.get::<String>("k").unwrap(), None);
}

#[test]
fn a_prefix_finds_all_that_begin_with_it_and_nothing_else() {
    let connection = holding(&["a", "a/", "a/1", "a/\u{10ffff}x", "a0", "b", "\u{10ffff}z"]);

    assert_eq!(listed(&connection, Keys::prefix("a/")), ["a/", "a/1", "a/\u{10ffff}x"]);
    assert_eq!(listed(&connection, Keys::prefix("a/\u{10ffff}")), ["a/\u{10ffff}x"]);
    assert_eq!(listed(&connection, Keys::prefix("\u{10ffff}")), ["\u{10ffff}z"]);
    assert_eq!(listed(&connection, Keys::prefix("")).len(), 7);
    assert_eq!(listed(&connection, Keys::prefix("c")), Vec::<String>::new());
}

#[test]
fn a_prefix_that_ends_before_the_surrogates_has_an_end() {
    assert_eq!(first_past("\u{d7ff}").as_deref(), Some("\u{e000}"));
    assert_eq!(first_past("a\u{10ffff}").as_deref(), Some("b"));
    assert_eq!(first_past("\u{10ffff}\u{10ffff}"), None);
}

#[test]
fn a_range_has_the_ends_that_it_says() {
    let connection = holding(&["a", "b", "b\0", "c", "d"]);

    assert_eq!(listed(&connection, Keys::range("b".."d")), ["b", "b\0", "c"]);
    assert_eq!(listed(&connection, Keys::range("b"..="d")), ["b", "b\0", "c", "d"]);
    assert_eq!(listed(&connection, Keys::range(.."b")), ["a"]);
    assert_eq!(listed(&connection, Keys::range("c"..)), ["c", "d"]);
    assert_eq!(listed(&connection, Keys::range(..)).len(), 5);
    assert_eq!(listed(&connection, Keys::range("d".."b")), Vec::<String>::new());
    let open = (Bound::Excluded("b"), Bound::Included("c"));
    assert_eq!(listed(&connection, Keys::range(open)), ["b\0", "c"]);
}

#[test]
fn pages_in_both_directions_give_every_key_once() {
    let keys: Vec<String> = (0..25).map(|n| format!("p/{n:02}")).collect();
    let connection = holding(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    KvMut::new(&connection).put("q", "q").unwrap();
    let kv = Kv::new(&connection);

    let mut forward = Vec::new();
    let mut rest = Keys::prefix("p/").limit(10);
    let mut backward = Vec::new();
    let mut earlier = rest.clone().reverse();
    for is_last in [false, false, true] {
        let page = kv.list::<String>(rest.clone()).unwrap();
        assert_eq!(page.has_more, !is_last);
        forward.extend(page.entries);
        rest = rest.after(&forward.last().unwrap().0);
        let page = kv.list::<String>(earlier.clone()).unwrap();
        assert_eq!(page.has_more, !is_last);
        backward.extend(page.entries);
        earlier = earlier.before(&backward.last().unwrap().0);
    }

    assert_eq!(forward.iter().map(|(key, _)| key).collect::<Vec<_>>(), Vec::from_iter(&keys));
    backward.reverse();
    assert_eq!(backward, forward);
}

#[test]
fn a_page_never_leaves_what_it_was_given() {
    let connection = holding(&["a", "b", "c", "d"]);

    assert_eq!(listed(&connection, Keys::range("b".."d").after("a")), ["b", "c"]);
    assert_eq!(listed(&connection, Keys::range("b".."d").before("x")), ["b", "c"]);
    assert_eq!(listed(&connection, Keys::all().after("a").before("d").reverse()), ["c", "b"]);
}

#[test]
fn a_listing_stops_at_its_bounds_and_says_so() {
    let connection = storage();
    let mut kv = KvMut::new(&connection);
    for n in 0..=KV_LIST_ENTRIES_MAX {
        kv.put(&format!("small/{n:04}"), &n).unwrap();
    }
    let large = "v".repeat(KV_VALUE_BYTES_MAX - 2);
    for n in 0..40 {
        kv.put(&format!("large/{n:04}"), &large).unwrap();
    }

    let small = kv.list::<usize>(Keys::prefix("small/").limit(usize::MAX)).unwrap();
    let large = kv.list::<String>(Keys::prefix("large/")).unwrap();
    let none = kv.list::<usize>(Keys::prefix("small/").limit(0)).unwrap();

    assert_eq!((small.entries.len(), small.has_more), (KV_LIST_ENTRIES_MAX, true));
    assert_eq!(large.entries.len(), KV_LIST_BYTES_MAX / KV_VALUE_BYTES_MAX);
    assert!(large.has_more);
    assert_eq!((none.entries.len(), none.has_more), (0, true));
}

/// A scan or a sort here would make every read cost as much as the object stores.
#[test]
fn every_statement_walks_the_primary_key() {
    let connection = storage();
    let plan = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = statement.parameter_count();
        statement
            .query_map(rusqlite::params_from_iter(vec!["1"; parameters]), |row| row.get(3))
            .and_then(Iterator::collect)
            .unwrap()
    };

    let one = "SEARCH dormouse_kv USING PRIMARY KEY (key=?)";
    let many = "SEARCH dormouse_kv USING PRIMARY KEY (key>? AND key<?)";
    assert_eq!(plan(SELECT_VALUE), [one]);
    assert_eq!(plan(DELETE_VALUE), [one]);
    assert_eq!(plan(SELECT_ASCENDING), [many]);
    assert_eq!(plan(SELECT_DESCENDING), [many]);
    assert_eq!(plan(UPSERT_VALUE), Vec::<String>::new(), "it goes to its one place");
}

/// Keeps all that it knows in key-value storage.
struct Shelf;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum ShelfEvent {
    Put,
}

#[derive(Deserialize, JsonSchema)]
struct Entry {
    key: String,
    value: serde_json::Value,
    #[serde(default)]
    then_fail: bool,
}

impl Object for Shelf {
    const KIND: &'static str = "shelf";
    type Event = ShelfEvent;
    const MIGRATIONS: &'static [&'static str] = &[];

    fn methods() -> Methods<Self> {
        Methods::new().mutation("put", Self::put).query("all", Self::all).query(
            "putWhileReading",
            |_, cx, entry: Entry| {
                // What a kind cannot write down: the types keep `kv_mut` from queries.
                KvMut::new(cx.file.connection()).put(&entry.key, &entry.value)
            },
        )
    }

    fn wake(_: &Cx<Self>) -> Result<Self, Error> {
        Ok(Shelf)
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<ShelfEvent>, Error> {
        Ok(None)
    }
}

impl Shelf {
    fn put(&mut self, cx: &mut Cx<Self>, entry: Entry) -> Result<(), Error> {
        cx.kv_mut().put(&entry.key, &entry.value)?;
        assert_eq!(cx.kv().get(&entry.key)?, Some(entry.value), "a handler sees what it has put");
        if entry.then_fail { Err(Error::conflict("as told")) } else { Ok(()) }
    }

    fn all(&self, cx: &Cx<Self>, _: Empty) -> Result<Vec<(String, serde_json::Value)>, Error> {
        Ok(cx.kv().list(Keys::all())?.entries)
    }
}

#[test]
fn what_a_handler_puts_survives_sleep_and_crash_and_goes_when_it_fails() {
    let mut shelf = TestObject::<Shelf>::new("a");

    assert_eq!(shelf.call("all", json!({})).unwrap(), json!([]));
    assert!(!shelf.has_file(), "reading creates nothing");
    shelf.call("put", json!({"key": "a", "value": 1})).unwrap();
    shelf.sleep();
    shelf.call("put", json!({"key": "b", "value": {"x": 2}})).unwrap();
    shelf.crash();
    let failing = json!({"key": "a", "value": 3, "then_fail": true});
    shelf.call("put", failing).unwrap_err();

    assert_eq!(shelf.call("all", json!({})).unwrap(), json!([["a", 1], ["b", {"x": 2}]]));
}

#[test]
fn a_query_cannot_put() {
    let mut shelf = TestObject::<Shelf>::new("a");

    shelf.call("putWhileReading", json!({"key": "a", "value": 1})).unwrap_err();

    assert_eq!(shelf.call("all", json!({})).unwrap(), json!([]));
}

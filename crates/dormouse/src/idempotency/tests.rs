use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::{
    Answer, Cx, Empty, ErrorCode, Kinds, Methods, Object, Random, Request, Resolved, Session,
    TestObject, User,
};

const DAY: Duration = RECORD_AGE_MAX;

/// A sum that can be added to, with and without success.
struct Sum {
    sum: i64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
enum SumEvent {
    Added { sum: i64 },
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Add {
    amount: i64,
    #[serde(default)]
    comment: Option<String>,
}

impl Object for Sum {
    const KIND: &'static str = "sum";
    type Event = SumEvent;
    const MIGRATIONS: &'static [&'static str] =
        &["CREATE TABLE sum (n INTEGER NOT NULL) STRICT; INSERT INTO sum VALUES (0);"];

    fn methods() -> Methods<Self> {
        Methods::new()
            .creation("add", Self::add)
            .mutation("addAgain", Self::add)
            .mutation("addUpTo", |sum, cx, input: Add| {
                let answer = sum.add(cx, Add { amount: 1, comment: None })?;
                if answer > input.amount {
                    return Err(Error::conflict("the sum is large enough"));
                }
                Ok(answer)
            })
            .mutation("addAndPanic", |sum, cx, input: Add| -> Result<i64, Error> {
                sum.add(cx, input)?;
                panic!("on demand");
            })
            .mutation("touch", |sum, _, _: Empty| Ok(sum.sum))
            .query("get", |sum, _, _: Empty| Ok(sum.sum))
            .query("hasAnswers", |_, cx, _: Empty| ANSWERS.exists(cx.file.connection()))
    }

    fn wake(cx: &Cx<Self>) -> Result<Self, Error> {
        let sum = cx.sql().row("SELECT n FROM sum", [], |row| row.get(0))?;
        Ok(Sum { sum: sum.unwrap_or(0) })
    }

    fn initial(&self, _: &Cx<Self>, _: &Session) -> Result<Option<SumEvent>, Error> {
        Ok(None)
    }
}

impl Sum {
    fn add(&mut self, cx: &mut Cx<Self>, input: Add) -> Result<i64, Error> {
        drop(input.comment);
        self.sum += input.amount;
        cx.sql().execute("UPDATE sum SET n = ?1", [self.sum])?;
        cx.broadcast(&SumEvent::Added { sum: self.sum })?;
        Ok(self.sum)
    }
}

fn add(sum: &mut TestObject<Sum>, key: &str, amount: i64) -> Result<Answer, Error> {
    sum.call_with_key(key, "add", json!({ "amount": amount }))
}

fn first(json: &str) -> Answer {
    Answer { json: json.to_owned(), is_replay: false }
}

fn replay(json: &str) -> Answer {
    Answer { json: json.to_owned(), is_replay: true }
}

fn value(sum: &mut TestObject<Sum>) -> i64 {
    sum.call("get", json!({})).unwrap().as_i64().unwrap()
}

#[test]
fn a_repeated_call_gets_the_first_answer_and_changes_and_tells_nothing() {
    let mut sum = TestObject::<Sum>::new("a");

    assert_eq!(add(&mut sum, "k", 2).unwrap(), first("2"));
    add(&mut sum, "other", 3).unwrap();
    assert_eq!(sum.take_events().len(), 2);

    assert_eq!(add(&mut sum, "k", 2).unwrap(), replay("2"));
    assert_eq!(value(&mut sum), 5);
    assert!(sum.take_events().is_empty());
}

#[test]
fn an_answer_survives_sleep_and_crash() {
    let mut sum = TestObject::<Sum>::new("a");
    add(&mut sum, "k", 2).unwrap();

    sum.sleep();
    assert_eq!(add(&mut sum, "k", 2).unwrap(), replay("2"));
    sum.crash();
    assert_eq!(add(&mut sum, "k", 2).unwrap(), replay("2"));

    assert_eq!(value(&mut sum), 2);
}

#[test]
fn another_input_under_the_same_key_is_a_conflict_and_the_first_answer_stays() {
    let mut sum = TestObject::<Sum>::new("a");
    add(&mut sum, "k", 2).unwrap();

    let err = add(&mut sum, "k", 3).unwrap_err();

    assert_eq!(err.code(), ErrorCode::Conflict);
    assert_eq!(value(&mut sum), 2);
    assert_eq!(add(&mut sum, "k", 2).unwrap(), replay("2"));
}

#[test]
fn the_order_of_fields_makes_no_other_input_and_everything_else_does() {
    let mut sum = TestObject::<Sum>::new("a");
    let mut call = |json: &str| {
        let input = serde_json::from_str(json).unwrap();
        sum.call_with_key("k", "add", input).map(|answer| answer.is_replay)
    };

    assert!(!call(r#"{"amount":1,"comment":"x"}"#).unwrap());
    assert!(call(r#"{"comment":"x",  "amount":1}"#).unwrap());
    for other in
        [r#"{"amount":1}"#, r#"{"amount":1,"comment":null}"#, r#"{"amount":1,"comment":"x "}"#]
    {
        assert_eq!(call(other).unwrap_err().code(), ErrorCode::Conflict, "{other}");
    }
}

#[test]
fn another_method_and_another_user_have_keys_of_their_own() {
    let mut sum = TestObject::<Sum>::new("a");
    let user = |id: &str| Some(User::new(id, "same"));
    add(&mut sum, "k", 1).unwrap();

    let other_method = sum.call_with_key("k", "addAgain", json!({"amount": 1})).unwrap();
    assert_eq!(other_method, first("2"));
    for (id, answer) in [("", "3"), ("ann", "4"), ("bob", "5")] {
        sum.set_user(user(id));
        assert_eq!(add(&mut sum, "k", 1).unwrap(), first(answer), "{id:?}");
    }

    sum.set_user(user("ann"));
    assert_eq!(add(&mut sum, "k", 1).unwrap(), replay("4"));
    sum.set_user(None);
    assert_eq!(add(&mut sum, "k", 1).unwrap(), replay("1"));
}

#[test]
fn a_refusal_and_a_panic_record_nothing() {
    let mut sum = TestObject::<Sum>::new("a");
    let input = json!({"amount": 0});

    for _ in 0..2 {
        let refused = sum.call_with_key("k", "addUpTo", input.clone()).unwrap_err();
        let panicked = sum.call_with_key("p", "addAndPanic", input.clone()).unwrap_err();
        let malformed = sum.call_with_key("m", "add", json!({"amount": "x"})).unwrap_err();

        assert_eq!(refused.message(), "the sum is large enough", "it was tried again");
        assert_eq!(panicked.code(), ErrorCode::InternalServerError);
        assert_eq!(malformed.code(), ErrorCode::BadRequest);
    }
    assert!(!sum.has_file(), "nothing was stored");
    let later = sum.call_with_key("k", "addUpTo", json!({"amount": 9})).unwrap();
    assert_eq!(later, first("1"), "a key is free for another input until it succeeds");
}

#[test]
fn a_mutation_that_stores_nothing_is_recorded_too() {
    let mut sum = TestObject::<Sum>::new("a");

    assert_eq!(sum.call_with_key("k", "touch", json!({})).unwrap(), first("0"));
    sum.call("add", json!({"amount": 7})).unwrap();

    assert_eq!(sum.call_with_key("k", "touch", json!({})).unwrap(), replay("0"));
}

#[test]
fn an_object_has_no_table_of_answers_before_the_first_success_with_a_key() {
    let mut sum = TestObject::<Sum>::new("a");
    let has_answers = |sum: &mut TestObject<Sum>| sum.call("hasAnswers", json!({})).unwrap();

    sum.call("add", json!({"amount": 1})).unwrap();
    sum.call_with_key("k", "addUpTo", json!({"amount": 0})).unwrap_err();
    sum.call_with_key("k", "addAndPanic", json!({"amount": 1})).unwrap_err();
    assert_eq!(has_answers(&mut sum), json!(false));

    assert_eq!(add(&mut sum, "k", 1).unwrap(), first("2"));
    assert_eq!(has_answers(&mut sum), json!(true));
    sum.crash();
    assert_eq!(add(&mut sum, "k", 1).unwrap(), replay("2"));
}

#[test]
fn a_query_ignores_the_key() {
    let mut sum = TestObject::<Sum>::new("a");

    assert_eq!(sum.call_with_key("k", "get", json!({})).unwrap(), first("0"));
    assert!(!sum.has_file());
    sum.call("add", json!({"amount": 7})).unwrap();

    assert_eq!(sum.call_with_key("k", "get", json!({})).unwrap(), first("7"));
}

#[test]
fn an_answer_is_kept_for_a_day_and_then_the_call_runs_again() {
    let mut sum = TestObject::<Sum>::new("a");
    add(&mut sum, "k", 1).unwrap();

    sum.advance(DAY - Duration::from_millis(1));
    assert_eq!(add(&mut sum, "k", 1).unwrap(), replay("1"));
    sum.advance(Duration::from_millis(1));
    assert_eq!(add(&mut sum, "k", 1).unwrap(), first("2"));

    assert_eq!(add(&mut sum, "k", 1).unwrap(), replay("2"));
    sum.advance(DAY);
    assert_eq!(add(&mut sum, "k", 5).unwrap(), first("7"), "its input is forgotten too");
}

#[test]
fn the_thousand_and_first_key_takes_the_place_of_the_oldest() {
    let mut sum = TestObject::<Sum>::new("a");
    for n in 1..=1_000 {
        add(&mut sum, &n.to_string(), 1).unwrap();
    }

    assert_eq!(add(&mut sum, "1", 1).unwrap(), replay("1"));
    assert_eq!(add(&mut sum, "1001", 1).unwrap(), first("1001"));

    assert_eq!(add(&mut sum, "2", 1).unwrap(), replay("2"));
    assert_eq!(add(&mut sum, "1000", 1).unwrap(), replay("1000"));
    assert_eq!(add(&mut sum, "1", 1).unwrap(), first("1002"));
}

#[test]
fn a_key_is_visible_ascii_and_not_too_long() {
    let longest = "k".repeat(KEY_CHARS_MAX);

    for right in ["k", "~!/\"", "0b9a3c5e-1f7d-4b1e-9d3a-2c4f6a8e0d12", &longest] {
        assert!(IdempotencyKey::new(right).is_ok(), "{right}");
    }
    for wrong in ["", " ", "a b", "a\n", "ö", "\u{7f}", &format!("{longest}k")] {
        assert_eq!(IdempotencyKey::new(wrong).unwrap_err().code(), ErrorCode::BadRequest);
    }
    let last = IdempotencyKey::new(longest.clone()).unwrap().of_batch(99);
    assert_eq!(last.to_string(), format!("{longest}/99"));
}

/// The id of the object that a call of `add` without one is for.
fn created(user: Option<&str>, method: &str, key: &str) -> String {
    let kinds = Kinds::new().register::<Sum>().unwrap();
    let user = user.map(|id| User::new(id, ""));
    let caller = Caller { user: user.map(std::sync::Arc::new), session: None };
    let key = Some(IdempotencyKey::new(key).unwrap());
    let params = Some(json!({"amount": 1}));
    let request = Request { method, params, bound: None, caller, key };
    let mut new_id = (Timestamp::EPOCH, Random::system());
    match kinds.get("sum").unwrap().resolve(request, &mut new_id).unwrap() {
        Resolved::Object { key, .. } => key.id().to_owned(),
        Resolved::Listing(_) => panic!("it is no listing"),
    }
}

#[test]
fn a_repeated_creation_finds_the_same_object_by_a_uuid_of_user_and_key() {
    let id = created(None, "add", "k");

    let uuid = Uuid::parse_str(&id).unwrap();
    assert_eq!((uuid.get_version_num(), uuid.get_variant()), (8, uuid::Variant::RFC4122));
    assert_eq!(created(None, "add", "k"), id);
    let ids = [
        id,
        created(None, "add", "l"),
        created(Some(""), "add", "k"),
        created(Some("a"), "add", "k"),
    ];
    for (n, id) in ids.iter().enumerate() {
        assert!(!ids[..n].contains(id), "{ids:?}");
    }
}

/// Ids and hashes are on disk: another way to make them would forget every key at an update.
#[test]
fn ids_and_hashes_are_what_they_were_in_the_first_version() {
    let caller = Caller::default();
    let key = IdempotencyKey::new("k").unwrap();
    let Value::Object(params) = json!({"b": [1, -2.5, "x", null, true, false], "a": {"c": {}}})
    else {
        panic!("it is an object");
    };

    let fingerprint = Fingerprint::of(&caller, "create", &key, &params);

    let hex = |bytes: [u8; HASH_BYTES]| format!("{:032x}", u128::from_be_bytes(bytes));
    assert_eq!(hex(fingerprint.id), "b924bb1a9e35a591fdc5541e1a854cf9");
    assert_eq!(hex(fingerprint.input), "20e076f76c5fe4c74edf6d2ba2f6e9c9");
    assert_eq!(
        derived_id(&caller, "note", "create", &key).to_string(),
        "29641f9e-edc5-852b-9517-f9f3db7e66fb"
    );
}

fn storage() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    ANSWERS.ensure(&connection).unwrap();
    connection
}

fn fingerprint(key: &str) -> Fingerprint {
    let key = IdempotencyKey::new(key).unwrap();
    Fingerprint::of(&Caller::default(), "m", &key, &Map::new())
}

fn count(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM dormouse_answer", [], |row| row.get(0)).unwrap()
}

#[test]
fn what_has_expired_goes_in_small_steps_faster_than_new_answers_come() {
    let connection = storage();
    for n in 0..10 {
        fingerprint(&n.to_string()).record(&connection, Timestamp::EPOCH, "1").unwrap();
    }
    let tomorrow = Timestamp::from_ms(i64::try_from(DAY.as_millis()).unwrap());

    let mut counts = Vec::new();
    for n in 100..112 {
        fingerprint(&n.to_string()).record(&connection, tomorrow, "2").unwrap();
        counts.push(count(&connection));
    }

    assert_eq!(counts, [9, 8, 7, 6, 5, 6, 7, 8, 9, 10, 11, 12]);
}

#[test]
fn there_are_never_more_answers_than_allowed_whatever_the_clock_does() {
    let connection = storage();

    for n in 0..3 * RECORDS_MAX {
        // Some keys come again after a day; the clock jumps forth and back.
        let key = (n % 1_700).to_string();
        let now = Timestamp::from_ms((n * 7_919_113) % (3 * 24 * 3_600_000));
        fingerprint(&key).record(&connection, now, "1").unwrap();
        assert!(count(&connection) <= RECORDS_MAX);
    }
}

/// Every keyed call runs these. A scan or a sort would make each cost as much as a day of keys.
#[test]
fn every_statement_finds_its_rows_by_an_index() {
    let connection = storage();
    let plan = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = statement.parameter_count();
        statement
            .query_map(rusqlite::params_from_iter(vec![1; parameters]), |row| row.get(3))
            .and_then(Iterator::collect)
            .unwrap()
    };

    assert_eq!(
        plan(SELECT_ANSWER),
        ["SEARCH dormouse_answer USING INDEX sqlite_autoindex_dormouse_answer_1 (id=?)"]
    );
    assert_eq!(plan(REPLACE_ANSWER), Vec::<String>::new(), "it goes to its one place");
    assert_eq!(
        plan(DELETE_OLDEST),
        [
            "SEARCH dormouse_answer USING INTEGER PRIMARY KEY (rowid=?)",
            "LIST SUBQUERY 1",
            "SCAN dormouse_answer",
        ],
        "the scan ends after two rows, by LIMIT"
    );
}

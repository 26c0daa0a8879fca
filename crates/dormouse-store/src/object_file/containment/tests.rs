//! Handlers that try to get out.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::CatalogEntry;
use crate::clock::TestClock;
use crate::error::StoreError;
use crate::harness::{add, add_text, entries, entry, key, open, options, tally};
use crate::object_file::Access;
use crate::store::Store;
use crate::template::{MigrationSet, Template};

#[test]
fn handlers_cannot_end_their_transaction_or_leave_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    let forbidden = [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "END",
        "SAVEPOINT s",
        "ATTACH 'x.db' AS x",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA wal_checkpoint",
        "PRAGMA wal_autocheckpoint = 1",
        "PRAGMA synchronous",
        "CREATE TEMP TABLE t (x)",
        "VACUUM",
    ];

    object.begin(Access::Write).unwrap();
    for sql in forbidden {
        assert!(object.connection().execute_batch(sql).is_err(), "{sql}");
        assert!(!object.connection().is_autocommit(), "{sql}");
    }
    object.connection().execute("INSERT INTO entry VALUES (2, 'x')", []).unwrap();
    object.commit(entry(&object)).unwrap();

    assert_eq!(entries(&mut object), [1, 2]);
}

#[test]
fn full_text_search_works_inside_of_a_handler() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let search = MigrationSet { name: "s", steps: &["CREATE VIRTUAL TABLE s USING fts5(text)"] };
    let template = Arc::new(Template::build("tally", vec![search], &[]).unwrap());
    let mut object = store.open_object(&key("a"), &template).unwrap();

    for _ in 0..2 {
        object.begin(Access::Write).unwrap();
        object.connection().execute("INSERT INTO s VALUES ('a dormouse sleeps')", []).unwrap();
        object.commit(entry(&object)).unwrap();
    }

    object.begin(Access::Read).unwrap();
    let sql = "SELECT count(*) FROM s WHERE s MATCH 'sleeps'";
    let found: i64 = object.connection().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(found, 2);
}

#[test]
fn a_read_transaction_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    // First as an object that does not exist, then as one that does.
    for n in [1, 2] {
        let writes = [
            "INSERT INTO entry VALUES (9, 'x')",
            "DELETE FROM entry WHERE n = 1000",
            "CREATE TABLE other (n)",
        ];
        for sql in writes {
            object.begin(Access::Read).unwrap();
            object.connection().prepare_cached(sql).unwrap().execute([]).unwrap();
            let result = object.commit(entry(&object));
            assert!(matches!(result, Err(StoreError::ReadOnly)), "{sql}: {result:?}");
            assert_eq!(object.exists(), n > 1, "{sql}");
        }
        add(&mut object, n).unwrap();
    }
    assert_eq!(entries(&mut object), [1, 2]);
    object.begin(Access::Read).unwrap();
    assert!(!object.connection().table_exists(None, "other").unwrap());
}

#[test]
fn a_transaction_that_sqlite_rolled_back_by_itself_cannot_go_on_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();

    object.begin(Access::Write).unwrap();
    let conn = object.connection();
    conn.execute("INSERT INTO entry VALUES (2, 'x')", []).unwrap();
    assert!(conn.execute("INSERT OR ROLLBACK INTO entry VALUES (1, 'x')", []).is_err());
    assert!(conn.execute("INSERT INTO entry VALUES (3, 'x')", []).is_err());
    let result = object.commit(entry(&object));

    assert!(matches!(result, Err(StoreError::RolledBack)), "{result:?}");
    assert_eq!(entries(&mut object), [1]);
}

#[test]
fn sql_that_runs_too_long_is_interrupted_and_undone() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock::new());
    let (mut options, _) = options(dir.path());
    options.clock = Arc::clone(&clock) as _;
    let store = Store::open(options).unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();

    object.begin(Access::Write).unwrap();
    clock.advance(Duration::from_secs(2));
    let sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000000)
               INSERT INTO entry SELECT x + 10, 'x' FROM c";
    assert!(object.connection().execute(sql, []).is_err());
    assert!(object.sql_timed_out());
    let result = object.commit(entry(&object));

    assert!(matches!(result, Err(StoreError::SqlTimeout)), "{result:?}");
    assert_eq!(entries(&mut object), [1]);
    add(&mut object, 2).unwrap();
}

#[test]
fn a_transaction_over_the_limit_is_refused_and_undone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    for n in [1, 2] {
        object.begin(Access::Write).unwrap();
        let sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 100)
                   INSERT INTO entry SELECT x + 10, hex(zeroblob(500)) FROM c";
        object.connection().execute(sql, []).unwrap();
        let result = object.commit(entry(&object));
        assert!(matches!(result, Err(StoreError::TransactionTooLarge { .. })), "{result:?}");
        assert_eq!(entries(&mut object).len(), n - 1);
        add(&mut object, u32::try_from(n).unwrap()).unwrap();
    }

    assert_eq!(entries(&mut object), [1, 2]);
}

#[test]
fn a_value_that_no_transaction_can_hold_is_not_even_built() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    let result = add_text(&mut object, 1, &"x".repeat(100_000));

    assert!(matches!(result, Err(StoreError::Sqlite(_))), "{result:?}");
    assert!(!object.exists());
}

#[test]
fn a_summary_over_the_limit_is_refused_and_undone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    object.begin(Access::Write).unwrap();
    object.connection().execute("INSERT INTO entry VALUES (1, 'x')", []).unwrap();
    let long = CatalogEntry { summary: Some("x".repeat(1025)), ..entry(&object) };
    let result = object.commit(long);

    assert!(matches!(result, Err(StoreError::SummaryTooLarge { bytes: 1025 })), "{result:?}");
    assert!(!object.exists());
    assert!(entries(&mut object).is_empty());
}

//! What the store promises, with real files and without crashes of the disk.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Store;
use crate::catalog::CatalogEntry;
use crate::clock::{TestClock, Timestamp};
use crate::commit_log::{CommitLog as _, HeldLog, Position, Unavailable};
use crate::error::{OpenError, StoreError};
use crate::folder::beside;
use crate::harness::{
    add, add_text, entries, entry, integrity, key, open, options, settle, tally, wait_durable,
};
use crate::object_file::{Access, ObjectFile};
use crate::template::{MigrationSet, Template};

fn files_of(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("objects")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.file_name().into_string().unwrap());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn reading_an_object_that_does_not_exist_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    assert!(entries(&mut object).is_empty());
    object.begin(Access::Write).unwrap();
    object.connection().execute("DELETE FROM entry WHERE n = 1", []).unwrap();
    let commit = object.commit(entry(&object)).unwrap();

    assert_eq!(commit.position, None);
    assert!(!object.exists() && object.created_at().is_none());
    object.hibernate().unwrap();
    assert_eq!(files_of(dir.path()), Vec::<String>::new());
}

#[test]
fn the_first_write_creates_the_file_and_hibernation_leaves_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    let commit = add(&mut object, 1).unwrap();

    assert_eq!(commit.position, Some(Position::new(1)));
    assert!(object.exists());
    assert_eq!(object.created_at(), Some(Timestamp::from_ms(1_000)));
    assert_eq!(integrity(&object), "ok");
    settle(&store, &object);
    object.hibernate().unwrap();
    let files = files_of(dir.path());
    assert_eq!(files.len(), 1, "{files:?}");
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    assert!(object.exists());
    assert_eq!(entries(&mut object), [1]);
}

#[test]
fn a_rolled_back_transaction_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    for n in [1, 2] {
        object.begin(Access::Write).unwrap();
        object.connection().execute("INSERT INTO entry VALUES (9, 'x')", []).unwrap();
        assert_eq!(object.changes(), 1);
        object.rollback().unwrap();
        assert_eq!(entries(&mut object).len(), n - 1);
        add(&mut object, u32::try_from(n).unwrap()).unwrap();
    }

    assert_eq!(entries(&mut object), [1, 2]);
    assert_eq!(object.newest_position(), Position::new(2));
}

#[test]
fn what_is_not_durable_is_not_backfilled() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(HeldLog::new());
    let store = Store::open_with_log(options(dir.path()).0, Arc::clone(&log) as _).unwrap();
    let template = tally();
    let mut object = store.open_object(&key("a"), &template).unwrap();
    add(&mut object, 1).unwrap();
    add(&mut object, 2).unwrap();

    log.release_next().unwrap();
    assert!(matches!(object.backfill(), Err(StoreError::NotDurable)));
    assert_eq!(fs::read(object.path()).unwrap(), template.file_image());

    log.release_all();
    object.backfill().unwrap();
    assert_ne!(fs::read(object.path()).unwrap(), template.file_image());
    assert_eq!(fs::metadata(beside(object.path(), "-wal")).unwrap().len(), 0);
    assert_eq!(store.stats().objects_to_backfill, 0);
}

#[test]
fn transactions_after_a_backfill_are_captured_with_the_new_salts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    for n in 0..30 {
        add(&mut object, n).unwrap();
        if n % 7 == 0 {
            settle(&store, &object);
            object.backfill().unwrap();
        }
    }
    assert_eq!(entries(&mut object), (0..30).collect::<Vec<_>>());
    assert_eq!(object.newest_position(), Position::new(30));
}

#[test]
fn an_object_dropped_without_hibernation_is_whole_when_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(HeldLog::new());
    let store = Store::open_with_log(options(dir.path()).0, Arc::clone(&log) as _).unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    add(&mut object, 2).unwrap();
    object.begin(Access::Write).unwrap();
    object.connection().execute("INSERT INTO entry VALUES (9, 'x')", []).unwrap();
    drop(object);

    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    assert_eq!(object.newest_position(), Position::new(2), "its readers have to wait for it");
    assert_eq!(entries(&mut object), [1, 2]);
    add(&mut object, 3).unwrap();
    log.release_all();
    object.hibernate().unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    assert_eq!(entries(&mut object), [1, 2, 3]);
    assert_eq!(store.stats().objects_to_backfill, 0);
}

#[test]
fn a_leftover_wal_of_an_earlier_process_is_never_opened() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(HeldLog::new());
    let store = Store::open_with_log(options(dir.path()).0, Arc::clone(&log) as _).unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    log.release_all();
    object.backfill().unwrap();
    add(&mut object, 2).unwrap();
    let wal = beside(object.path(), "-wal");
    drop((object, store));
    assert!(fs::metadata(&wal).unwrap().len() > 0);

    // The log that had the second transaction is gone: it was never durable.
    let store = Store::open_with_log(options(dir.path()).0, Arc::new(HeldLog::new())).unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    assert_eq!(entries(&mut object), [1]);
}

#[test]
fn the_file_of_an_object_that_was_never_committed_is_removed_by_the_wake() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(HeldLog::new());
    let store = Store::open_with_log(options(dir.path()).0, log).unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    let path = object.path().to_path_buf();
    drop((object, store));

    let store = Store::open_with_log(options(dir.path()).0, Arc::new(HeldLog::new())).unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    assert!(!object.exists() && !path.exists());
    assert!(entries(&mut object).is_empty());
    // Torn by a loss of power, it is no database at all.
    fs::write(&path, [7; 3000]).unwrap();
    drop(object);
    assert!(!store.open_object(&key("a"), &tally()).unwrap().exists());
}

#[test]
fn a_deleted_object_starts_anew_with_another_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let template = tally();
    let mut object = store.open_object(&key("a"), &template).unwrap();
    let epoch = object.epoch();
    add(&mut object, 1).unwrap();
    assert_eq!(object.epoch(), epoch, "creating is not resetting");

    let deleted = object.delete().unwrap();

    assert!(!object.exists());
    assert_eq!((deleted, object.newest_position()), (Position::new(2), Position::new(2)));
    assert_ne!(object.epoch(), epoch);
    assert_eq!(object.epoch(), store.epoch(&key("a"), 1));
    assert!(entries(&mut object).is_empty());
    wait_durable(store.commit_log(), deleted);
    assert_eq!(store.catalog().get(&key("a")).unwrap(), None);
    object.hibernate().unwrap();
    store.shut_down().unwrap();
    drop(store);
    assert_eq!(files_of(dir.path()), Vec::<String>::new());
    let store = open(dir.path());
    let object = store.open_object(&key("a"), &template).unwrap();
    assert_eq!(object.epoch(), store.epoch(&key("a"), 1));
}

#[test]
fn an_object_deleted_and_written_again_before_the_deletion_is_durable_keeps_only_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(HeldLog::new());
    let store = Store::open_with_log(options(dir.path()).0, Arc::clone(&log) as _).unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    log.release_all();
    object.backfill().unwrap();
    let before = fs::read(object.path()).unwrap();
    object.delete().unwrap();
    drop(object);
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    assert!(!object.exists());

    add(&mut object, 2).unwrap();

    assert_eq!(fs::read(object.path()).unwrap(), before, "a crash now brings the old one back");
    assert_eq!(entries(&mut object), [2]);
    log.release_all();
    object.hibernate().unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    assert_eq!(entries(&mut object), [2]);
    assert_eq!(object.epoch(), store.epoch(&key("a"), 1));
    assert_eq!(store.stats().objects_to_backfill, 0);
}

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
    let template = Arc::new(Template::build("tally", vec![search]).unwrap());
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
    for n in [1, 2] {
        object.begin(Access::Read).unwrap();
        let sql = "INSERT INTO entry VALUES (9, 'x')";
        assert!(object.connection().execute(sql, []).is_err());
        assert_eq!(object.commit(entry(&object)).unwrap().position, None);
        add(&mut object, n).unwrap();
    }
    assert_eq!(entries(&mut object), [1, 2]);
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
        let result = add_text(&mut object, 9, &"x".repeat(100_000));
        assert!(matches!(result, Err(StoreError::TransactionTooLarge { .. })), "{result:?}");
        assert_eq!(entries(&mut object).len(), n - 1);
        add(&mut object, u32::try_from(n).unwrap()).unwrap();
    }

    assert_eq!(entries(&mut object), [1, 2]);
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

#[test]
fn without_room_nothing_that_may_write_begins_and_reading_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(HeldLog::new());
    let store = Store::open_with_log(options(dir.path()).0, Arc::clone(&log) as _).unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();

    log.refuse(Some(Unavailable::NoRoom));

    assert!(matches!(add(&mut object, 2), Err(StoreError::Unavailable(Unavailable::NoRoom))));
    assert!(matches!(object.delete(), Err(StoreError::Unavailable(Unavailable::NoRoom))));
    assert_eq!(entries(&mut object), [1]);
    log.refuse(None);
    add(&mut object, 2).unwrap();
}

#[test]
fn an_older_file_is_migrated_by_the_wake_and_a_newer_one_is_refused() {
    const TWO: MigrationSet = MigrationSet {
        name: "tally",
        steps: &[
            "CREATE TABLE entry (n INTEGER PRIMARY KEY, text TEXT NOT NULL)",
            "ALTER TABLE entry ADD COLUMN color TEXT",
        ],
    };
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let newer = Arc::new(Template::build("tally", vec![TWO]).unwrap());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    settle(&store, &object);
    object.hibernate().unwrap();

    let mut object = store.open_object(&key("a"), &newer).unwrap();

    assert_eq!(object.newest_position(), Position::new(2), "a migration is journalled");
    object.begin(Access::Read).unwrap();
    object.connection().query_row("SELECT color FROM entry", [], |_| Ok(())).unwrap();
    object.rollback().unwrap();
    settle(&store, &object);
    object.hibernate().unwrap();
    let result = store.open_object(&key("a"), &tally());
    let is_refused = matches!(
        result,
        Err(StoreError::NewerSchema { ref set, found: 2, supported: 1, .. }) if set == "tally"
    );
    assert!(is_refused, "{result:?}");
}

#[test]
fn a_file_that_belongs_to_another_object_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    settle(&store, &object);
    let path = object.path().to_path_buf();
    object.hibernate().unwrap();
    let other = store.open_object(&key("b"), &tally()).unwrap().path().to_path_buf();
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::copy(&path, &other).unwrap();

    let result = store.open_object(&key("b"), &tally());

    assert!(matches!(result, Err(StoreError::ForeignFile { .. })), "{result:?}");
}

#[test]
fn an_object_whose_file_is_gone_is_not_taken_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    settle(&store, &object);
    let path = object.path().to_path_buf();
    object.hibernate().unwrap();
    store.catalog().get(&key("a")).unwrap().unwrap();
    fs::remove_file(path).unwrap();

    let result = store.open_object(&key("a"), &tally());

    assert!(matches!(result, Err(StoreError::Io { action: "find", .. })), "{result:?}");
}

#[test]
fn the_catalog_has_everything_that_was_durable_when_it_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let template = tally();
    for (index, id) in ["b", "a", "ü", "c"].into_iter().enumerate() {
        let mut object = store.open_object(&key(id), &template).unwrap();
        object.begin(Access::Write).unwrap();
        object.connection().execute("INSERT INTO entry VALUES (1, 'x')", []).unwrap();
        let due = Timestamp::from_ms(100 - i64::try_from(index).unwrap());
        let entry = CatalogEntry {
            next_due: (id != "a").then_some(due),
            summary: (id != "c").then(|| id.to_owned()),
            ..entry(&object)
        };
        object.commit(entry).unwrap();
        settle(&store, &object);
        let seen = store.catalog().get(&key(id)).unwrap().unwrap();
        assert!(seen.size_bytes >= 4096 && seen.size_bytes.is_multiple_of(1024));
    }
    let catalog = store.catalog();
    let ids = |after, limit, with_summary_only| -> Vec<String> {
        let rows = catalog.list("tally", after, limit, with_summary_only).unwrap();
        rows.into_iter().map(|row| row.id).collect()
    };

    assert_eq!(ids(None, 10, false), ["a", "b", "c", "ü"]);
    assert_eq!(ids(Some("a"), 2, false), ["b", "c"]);
    assert_eq!(ids(None, 10, true), ["a", "b", "ü"]);
    assert_eq!(catalog.count("tally").unwrap(), 4);
    assert_eq!(catalog.count("note").unwrap(), 0);
    let due = catalog.due(Timestamp::from_ms(99), 10).unwrap();
    let due: Vec<_> = due.iter().map(|it| (it.key.id(), it.due.as_ms())).collect();
    assert_eq!(due, [("c", 97), ("ü", 98)]);
}

#[test]
fn the_catalog_never_shows_what_is_not_durable() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(HeldLog::new());
    let store = Store::open_with_log(options(dir.path()).0, Arc::clone(&log) as _).unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();

    assert_eq!(store.catalog().get(&key("a")).unwrap(), None);
    log.release_all();
    assert!(store.catalog().get(&key("a")).unwrap().is_some());
}

#[test]
fn a_clean_shutdown_leaves_nothing_to_redo() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    for n in 0..10 {
        add(&mut object, n).unwrap();
    }
    assert!(matches!(store.shut_down(), Err(StoreError::NotDurable)), "an object is open");
    object.hibernate().unwrap();
    store.shut_down().unwrap();
    drop(store);
    // Without the journal everything is still there.
    fs::remove_dir_all(dir.path().join("journal")).unwrap();

    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    assert_eq!(entries(&mut object), (0..10).collect::<Vec<_>>());
    assert_eq!(add(&mut object, 10).unwrap().position, Some(Position::new(11)));
}

#[test]
fn objects_dropped_without_hibernation_are_backfilled_by_a_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    drop(object);

    store.shut_down().unwrap();
    drop(store);

    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let store = open(dir.path());
    assert_eq!(entries(&mut store.open_object(&key("a"), &tally()).unwrap()), [1]);
}

#[test]
fn a_store_that_was_not_shut_down_is_recovered_by_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let template = tally();
    let mut expected = Vec::new();
    for round in 0..5_u32 {
        let store = open(dir.path());
        let mut object = store.open_object(&key("a"), &template).unwrap();
        assert_eq!(entries(&mut object), expected, "round {round}");
        for n in round * 10..round * 10 + 10 {
            add(&mut object, n).unwrap();
            expected.push(n);
        }
        settle(&store, &object);
        assert_eq!(object.newest_position(), Position::new(u64::from(round) * 10 + 10));
    }
}

/// Adds an entry of 10 KB, waits for it, and backfills if that is due.
fn add_much(store: &Store, object: &mut ObjectFile, n: u32) {
    let text = "x".repeat(10_000);
    while let Err(err) = add_text(object, n, &text) {
        // The preparer's thread may be slower than the test.
        assert!(matches!(err, StoreError::Unavailable(Unavailable::NoRoom)), "{err}");
        store.step_preparer().unwrap();
    }
    settle(store, object);
    if object.backfill_due() {
        object.backfill().unwrap();
    }
    store.step_checkpointer().unwrap();
}

#[test]
fn segments_are_released_when_objects_backfill_and_hold_on_when_they_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let template = tally();
    let mut busy = store.open_object(&key("busy"), &template).unwrap();
    let mut idle = store.open_object(&key("idle"), &template).unwrap();
    add(&mut idle, 1).unwrap();
    let mut n = 0;
    while !idle.backfill_due() {
        add_much(&store, &mut busy, n);
        n += 1;
    }
    assert_eq!(store.stats().checkpointed, Position::ZERO);

    idle.backfill().unwrap();
    let files_before = fs::read_dir(dir.path().join("journal")).unwrap().count();
    for _ in 0..200 {
        add_much(&store, &mut busy, n);
        n += 1;
    }

    let stats = store.stats();
    assert!(stats.checkpointed > Position::ZERO, "{stats:?}");
    let files = fs::read_dir(dir.path().join("journal")).unwrap().count();
    assert!(files <= 8 && files <= files_before + 1, "{files} of {files_before}");
    drop((busy, idle, store));
    let store = open(dir.path());
    let mut busy = store.open_object(&key("busy"), &template).unwrap();
    assert_eq!(entries(&mut busy), (0..n).collect::<Vec<_>>());
    assert_eq!(integrity(&busy), "ok");
    assert_eq!(entries(&mut store.open_object(&key("idle"), &template).unwrap()), [1]);
}

#[test]
fn a_folder_that_is_open_cannot_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());

    let second = Store::open(options(dir.path()).0);

    assert!(matches!(second, Err(OpenError::InUse { pid: Some(_), .. })), "{second:?}");
    drop(store);
    Store::open(options(dir.path()).0).unwrap();
}

#[test]
fn a_watcher_hears_of_every_rise_in_order() {
    let log = HeldLog::new();
    let heard = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let noted = Arc::clone(&heard);
    log.watch(Box::new(move |durable| noted.lock().push(durable.get())));
    let entry = CatalogEntry {
        created_at: Timestamp::EPOCH,
        last_active_at: Timestamp::EPOCH,
        size_bytes: 0,
        next_due: None,
        summary: None,
    };
    let key = key("a");
    for _ in 0..3 {
        let change = crate::commit_log::Change::Delete;
        log.append(crate::commit_log::Record { key: &key, generation: 0, entry: &entry, change });
    }

    log.release_next();
    log.release_all();

    assert_eq!(*heard.lock(), [1, 3]);
    assert_eq!((log.durable(), log.appended()), (Position::new(3), Position::new(3)));
}

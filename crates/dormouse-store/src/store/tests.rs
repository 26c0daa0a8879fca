//! What the store promises as a whole, with real files and without crashes of the disk.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::Store;
use crate::catalog::CatalogEntry;
use crate::clock::Timestamp;
use crate::commit_log::{HeldLog, Position, Unavailable};
use crate::error::{OpenError, StoreError};
use crate::folder::beside;
use crate::harness::{add, add_text, entries, entry, integrity, key, open, options, settle, tally};
use crate::object_file::{Access, ObjectFile};
use crate::template::{MigrationSet, Template};

#[test]
fn a_leftover_wal_of_an_earlier_process_is_never_opened() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(HeldLog::new());
    let store = Store::open_with_log(options(dir.path()).0, Arc::clone(&log) as _).unwrap();
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    log.release_all();
    let path = object.path().to_path_buf();
    object.hibernate().unwrap();
    leave_wal_with_entry_2(&path);
    assert!(fs::metadata(beside(&path, "-wal")).unwrap().len() > 0);

    let mut object = store.open_object(&key("a"), &tally()).unwrap();

    assert_eq!(entries(&mut object), [1]);
    add(&mut object, 3).unwrap();
    assert_eq!(entries(&mut object), [1, 3]);
}

/// Writes to a database without the store, and leaves what was written in its WAL.
#[expect(clippy::disallowed_methods, reason = "somebody else opens the file")]
fn leave_wal_with_entry_2(path: &Path) {
    let other = Connection::open(path).unwrap();
    other.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    other.execute("INSERT INTO entry VALUES (2, 'x')", []).unwrap();
    let count = other.query_row("SELECT count(*) FROM entry", [], |row| row.get::<_, u32>(0));
    assert_eq!(count, Ok(2));
}

#[test]
fn a_file_that_a_loss_of_power_in_mode_os_left_of_a_new_object_is_removed_by_the_wake() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let path = store.object_path(&key("a"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // The template alone, or torn: no database at all.
    for bytes in [tally().image(), &[7; 3000]] {
        fs::write(&path, bytes).unwrap();

        let mut object = store.open_object(&key("a"), &tally()).unwrap();

        assert!(!object.exists() && !path.exists());
        assert!(entries(&mut object).is_empty());
    }
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
    let newer = Arc::new(Template::build("tally", vec![TWO], &[]).unwrap());
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
        assert!(n < 1_000, "an old segment is asked for");
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
fn a_checkpoint_that_comes_late_does_not_take_a_newer_one_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    let older = add(&mut object, 1).unwrap().position.unwrap();
    let newer = add(&mut object, 2).unwrap().position.unwrap();
    settle(&store, &object);
    object.backfill().unwrap();

    for upto in [newer, older] {
        assert!(store.shared.checkpointer.checkpoint(upto).unwrap());
    }

    assert_eq!(store.shared.follower.checkpointed(), Ok(newer));
    assert_eq!(store.stats().checkpointed, newer);
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

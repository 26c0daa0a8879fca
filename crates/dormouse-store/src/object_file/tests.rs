//! The life of one object: created, written, backfilled, dropped, deleted.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::commit_log::{HeldLog, Position, Unavailable};
use crate::disk::RealDisk;
use crate::error::StoreError;
use crate::harness::{
    TALLY, add, add_text, entries, entry, integrity, key, open, options, settle, tally,
    wait_durable,
};
use crate::journal::Background;
use crate::object_file::{Access, ObjectFile, connection};
use crate::store::{Ground, Store};
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
    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    add(&mut object, 1).unwrap();
    add(&mut object, 2).unwrap();

    log.release_next().unwrap();
    assert!(matches!(object.backfill(), Err(StoreError::NotDurable)));
    assert!(!object.path().exists());

    log.release_all();
    object.backfill().unwrap();
    let backfilled = fs::read(object.path()).unwrap();
    assert_eq!(store.stats().objects_to_backfill, 0);

    add(&mut object, 3).unwrap();
    assert!(matches!(object.backfill(), Err(StoreError::NotDurable)));
    assert_eq!(fs::read(object.path()).unwrap(), backfilled);
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

/// A store whose spare connections are opened by the test.
fn open_by_hand(folder: &Path) -> (Store, Arc<HeldLog>) {
    let log = Arc::new(HeldLog::new());
    let ground = Ground {
        disk: Arc::new(RealDisk),
        log: Some(Arc::clone(&log) as _),
        background: Background::ByHand,
        too_early: None,
    };
    (Store::open_standing_on(ground, options(folder).0).unwrap(), log)
}

/// Opens spare connections until there are enough; gives how many that took.
fn refill(store: &Store) -> usize {
    (0..).take_while(|_| store.step_connections().unwrap()).count()
}

#[test]
fn objects_that_wake_on_connections_opened_ahead_have_their_own_data() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = open_by_hand(dir.path());
    let template = tally();
    let ids = ["a", "b", "c"];
    for (n, id) in (1..).zip(ids) {
        let mut object = store.open_object(&key(id), &template).unwrap();
        // More than one page, so that the tables of these objects differ in size.
        for entry in 0..n * 20 {
            add_text(&mut object, 1_000 * n + entry, &id.repeat(200)).unwrap();
        }
        log.release_all();
        object.hibernate().unwrap();
    }
    assert!(refill(&store) > ids.len());

    let mut objects = ids.map(|id| store.open_object(&key(id), &template).unwrap());
    let mut new = store.open_object(&key("new"), &template).unwrap();

    assert_eq!(refill(&store), ids.len() + 1, "each of them took one");
    assert!(entries(&mut new).is_empty());
    for (n, object) in (1..).zip(&mut objects) {
        let mut expected: Vec<u32> = (0..n * 20).map(|entry| 1_000 * n + entry).collect();
        assert_eq!(entries(object), expected);
        add(object, 9_000).unwrap();
        expected.push(9_000);
        assert_eq!(entries(object), expected);
        assert_eq!(integrity(object), "ok");
    }
    add(&mut new, 1).unwrap();
    log.release_all();
    for object in objects.into_iter().chain([new]) {
        object.hibernate().unwrap();
    }
    for (id, len) in [("a", 21), ("b", 41), ("c", 61), ("new", 1)] {
        let mut object = store.open_object(&key(id), &template).unwrap();
        assert_eq!((entries(&mut object).len(), integrity(&object).as_str()), (len, "ok"));
    }
}

#[test]
fn what_half_of_the_objects_use_is_prepared_for_those_that_wake_as_long_as_they_do() {
    const OFTEN: &str = "SELECT count(*) FROM entry";
    const SELDOM: &str = "SELECT max(n) FROM entry";
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = open_by_hand(dir.path());
    let template = tally();
    // Gives what was prepared when it woke.
    let live = |id: &str, used: &[&str]| {
        let mut object = store.open_object(&key(id), &template).unwrap();
        let prepared = prepared_of([OFTEN, SELDOM], &object);
        add(&mut object, 1).unwrap();
        for sql in used {
            let mut statement = object.connection().prepare_cached(sql).unwrap();
            statement.query_row([], |row| row.get::<_, i64>(0)).unwrap();
        }
        log.release_all();
        object.hibernate().unwrap();
        refill(&store);
        prepared
    };

    for n in 0..20 {
        live(&format!("old {n}"), if n % 4 == 0 { &[OFTEN, SELDOM] } else { &[OFTEN] });
    }
    assert_eq!(live("both", &[OFTEN]), [true, false]);

    for n in 0..200 {
        live(&format!("new {n}"), &[]);
    }
    assert_eq!(live("neither", &[]), [false, false], "to have it prepared is not to use it");
}

#[test]
fn full_text_search_that_was_prepared_ahead_finds_what_the_object_has() {
    const SEARCH: MigrationSet =
        MigrationSet { name: "search", steps: &["CREATE VIRTUAL TABLE word USING fts5(text)"] };
    const INSERT: &str = "INSERT INTO word (text) VALUES (?1)";
    const COUNT: &str = "SELECT count(*) FROM word WHERE word MATCH ?1";
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = open_by_hand(dir.path());
    let template = Arc::new(Template::build("tally", vec![SEARCH], &[]).unwrap());
    let ids = ["a", "b", "c", "d", "e", "f"];
    // Gives what was prepared when it woke, and how many of its words are its own.
    let live = |id: &str, words: usize| {
        let mut object = store.open_object(&key(id), &template).unwrap();
        let prepared = prepared_of([INSERT, COUNT], &object);
        object.begin(Access::Write).unwrap();
        for _ in 0..words {
            object.connection().prepare_cached(INSERT).unwrap().execute([id]).unwrap();
        }
        let found = ids.map(|id| {
            let mut statement = object.connection().prepare_cached(COUNT).unwrap();
            statement.query_row([id], |row| row.get::<_, usize>(0)).unwrap()
        });
        object.commit(entry(&object)).unwrap();
        log.release_all();
        object.hibernate().unwrap();
        refill(&store);
        (prepared, found)
    };
    for (n, id) in ids.iter().enumerate() {
        live(id, 10 * (n + 1));
    }

    for (n, id) in ids.iter().enumerate() {
        let (prepared, found) = live(id, 1);

        let mut expected = [0; 6];
        expected[n] = 10 * (n + 1) + 1;
        assert_eq!((prepared, found), ([true; 2], expected), "{id}");
    }
}

/// Which of these are prepared on an object's connection.
fn prepared_of<const N: usize>(statements: [&str; N], object: &ObjectFile) -> [bool; N] {
    let prepared = connection::statements(object.connection());
    statements.map(|wanted| prepared.iter().any(|(sql, _)| sql == wanted))
}

#[test]
fn an_object_with_a_schema_of_its_own_gets_no_connection_opened_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = open_by_hand(dir.path());
    let template = tally();
    let mut object = store.open_object(&key("a"), &template).unwrap();
    add(&mut object, 1).unwrap();
    object.begin(Access::Write).unwrap();
    object
        .connection()
        .execute_batch("CREATE TABLE late (n); INSERT INTO late VALUES (7)")
        .unwrap();
    object.commit(entry(&object)).unwrap();
    log.release_all();
    object.hibernate().unwrap();
    refill(&store);

    let mut object = store.open_object(&key("a"), &template).unwrap();

    assert_eq!(refill(&store), 0, "it took none");
    assert_eq!(entries(&mut object), [1]);
    object.begin(Access::Read).unwrap();
    let late = object.connection().query_row("SELECT n FROM late", [], |row| row.get(0));
    assert_eq!(late, Ok(7));
    object.rollback().unwrap();
}

#[test]
fn one_of_the_same_version_whose_tables_lie_elsewhere_gets_none_either() {
    const FIRST: MigrationSet = MigrationSet { name: "tally", steps: &[TALLY.steps[0]] };
    const SECOND: MigrationSet =
        MigrationSet { name: "tally", steps: &[TALLY.steps[0], "CREATE TABLE more (n)"] };
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = open_by_hand(dir.path());
    let older = Arc::new(Template::build("tally", vec![FIRST], &[]).unwrap());
    let newer = Arc::new(Template::build("tally", vec![SECOND], &[]).unwrap());
    let mut object = store.open_object(&key("a"), &older).unwrap();
    // So many that the table that is added later cannot be where the template has it.
    for n in 0..50 {
        add_text(&mut object, n, &"x".repeat(300)).unwrap();
    }
    log.release_all();
    object.hibernate().unwrap();
    let mut object = store.open_object(&key("a"), &newer).unwrap();
    add(&mut object, 50).unwrap();
    log.release_all();
    object.hibernate().unwrap();
    refill(&store);

    let mut object = store.open_object(&key("a"), &newer).unwrap();

    assert_eq!(refill(&store), 0, "it took none");
    assert_eq!(entries(&mut object), (0..51).collect::<Vec<_>>());
    assert_eq!(integrity(&object), "ok");
}

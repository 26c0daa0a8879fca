//! Crashes at every operation, and what is left after them.

mod first_start;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::clock::{Clock as _, SystemClock};
use crate::commit_log::{Position, Unavailable};
use crate::disk::faulty::{Fault, FaultyDisk, Loss};
use crate::error::{OpenError, StoreError};
use crate::harness::{add, add_text, entries, entry, fast_folder, integrity, key, options, tally};
use crate::object_file::{Access, ObjectFile};
use crate::options::Durability;
use crate::store::Store;
use crate::template::Template;

const NAMES: [&str; 2] = ["a", "b"];

/// How long room is made before the disk is taken for broken.
const ROOM_TIME_MAX: Duration = Duration::from_secs(10);

/// What an object held after each of its transactions; `None` where it did not exist.
type History = Vec<Option<Vec<u32>>>;

/// A run of the store on a faulty disk, and what it was told is safe.
struct Run {
    disk: FaultyDisk,
    store: Store,
    template: Arc<Template>,
    news: Receiver<News>,
    objects: BTreeMap<&'static str, Option<ObjectFile>>,
    histories: BTreeMap<&'static str, History>,
    /// For each object how much of its history is acknowledged.
    acknowledged: BTreeMap<&'static str, usize>,
    /// Whether segments were used again.
    was_released: bool,
}

enum News {
    Durable,
    Fatal,
}

/// The store has failed: the run is over.
struct Over;

impl Run {
    fn start(disk: &FaultyDisk, folder: &Path, durability: Durability) -> Result<Run, OpenError> {
        let (sender, news) = channel();
        let (mut options, _) = options(folder);
        let fatal = sender.clone();
        options.durability = durability;
        options.journal_bytes_max = 4 * options.segment_bytes;
        options.on_fatal = Box::new(move |_| _ = fatal.send(News::Fatal));
        let store = Store::open_on(Arc::new(disk.clone()), options, None)?;
        store.commit_log().watch(Box::new(move |_| _ = sender.send(News::Durable)));
        let mut run = Run {
            disk: disk.clone(),
            store,
            template: tally(),
            news,
            objects: NAMES.iter().map(|name| (*name, None)).collect(),
            histories: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            was_released: false,
        };
        for name in NAMES {
            let now = run.read(name).ok();
            run.histories.insert(name, vec![now.unwrap_or_default()]);
            run.acknowledged.insert(name, 0);
        }
        Ok(run)
    }

    fn object(&mut self, name: &'static str) -> Result<&mut ObjectFile, Over> {
        let slot = self.objects.get_mut(name).expect("the name is one of ours");
        if slot.is_none() {
            *slot = Some(self.store.open_object(&key(name), &self.template).map_err(|_| Over)?);
        }
        Ok(slot.as_mut().expect("it was just filled"))
    }

    fn read(&mut self, name: &'static str) -> Result<Option<Vec<u32>>, Over> {
        let object = self.object(name)?;
        Ok(object.exists().then(|| entries(object)))
    }

    fn add(&mut self, name: &'static str, n: u32) -> Result<(), Over> {
        // Of several pages, so that a record can be torn.
        let text = format!("{n} ").repeat(2_000);
        let mut added = add_text(self.object(name)?, n, &text);
        let clock = SystemClock::new();
        while matches!(added, Err(StoreError::Unavailable(Unavailable::NoRoom))) {
            if self.disk.is_dead() || clock.monotonic() > ROOM_TIME_MAX {
                return Err(Over);
            }
            self.make_room()?;
            // The preparer's thread may be at work on a segment.
            std::thread::yield_now();
            added = add_text(self.object(name)?, n, &text);
        }
        self.note(name, added.map(|commit| commit.position), |state| {
            state.get_or_insert_default().push(n);
        })
    }

    /// Does what the node and the threads do when the journal is full.
    fn make_room(&mut self) -> Result<(), Over> {
        for name in NAMES {
            // The writer's thread may not have had its turn yet.
            self.wait(name)?;
            if self.object(name)?.backfill_due() {
                self.backfill(name)?;
            }
        }
        self.store.catalog().catch_up().map_err(|_| Over)?;
        self.store.step_checkpointer().map_err(|_| Over)?;
        self.store.step_preparer().map_err(|_| Over)
    }

    fn delete(&mut self, name: &'static str) -> Result<(), Over> {
        let deleted = self.object(name)?.delete();
        self.note(name, deleted.map(Some), |state| *state = None)
    }

    fn note(
        &mut self,
        name: &'static str,
        result: Result<Option<Position>, StoreError>,
        change: impl FnOnce(&mut Option<Vec<u32>>),
    ) -> Result<(), Over> {
        let history = self.histories.get_mut(name).expect("the name is one of ours");
        let mut state = history.last().expect("it begins with a state").clone();
        change(&mut state);
        if result.is_ok_and(|position| position.is_some()) {
            history.push(state);
            Ok(())
        } else {
            Err(Over)
        }
    }

    /// Waits until the object's last transaction is durable, and takes it as acknowledged.
    fn wait(&mut self, name: &'static str) -> Result<(), Over> {
        let position = self.object(name)?.newest_position();
        while self.store.commit_log().durable() < position {
            match self.news.recv() {
                Ok(News::Durable) => {}
                Ok(News::Fatal) | Err(_) => return Err(Over),
            }
        }
        self.acknowledged.insert(name, self.histories[name].len() - 1);
        Ok(())
    }

    fn backfill(&mut self, name: &'static str) -> Result<(), Over> {
        self.wait(name)?;
        self.object(name)?.backfill().map_err(|_| Over)
    }

    fn hibernate(&mut self, name: &'static str) -> Result<(), Over> {
        self.wait(name)?;
        let slot = self.objects.get_mut(name).expect("the name is one of ours");
        slot.take().map_or(Ok(()), ObjectFile::hibernate).map_err(|_| Over)
    }

    fn drop_object(&mut self, name: &'static str) {
        *self.objects.get_mut(name).expect("the name is one of ours") = None;
    }

    /// A bit of everything. Ends early when the disk does.
    fn work(&mut self) -> Result<(), Over> {
        self.add("a", 1)?;
        self.add("b", 1)?;
        self.wait("a")?;
        self.add("a", 2)?;
        self.backfill("a")?;
        self.add("a", 3)?;
        self.hibernate("b")?;
        self.add("b", 2)?;
        self.drop_object("b");
        self.add("b", 3)?;
        self.wait("b")?;
        self.delete("a")?;
        self.add("a", 4)?;
        self.add("b", 4)?;
        self.backfill("b")?;
        self.wait("a")?;
        // Enough for several segments, so that some are released and used again.
        for n in 100..190 {
            let name = NAMES[n as usize % 2];
            self.add(name, n)?;
            if n % 5 == 0 {
                self.wait(name)?;
            }
            if self.object(name)?.backfill_due() || n % 16 == 0 {
                self.backfill(name)?;
            }
            self.store.step_checkpointer().map_err(|_| Over)?;
        }
        self.was_released = self.store.stats().checkpointed > Position::ZERO;
        self.delete("b")?;
        self.wait("b")?;
        self.store.step_checkpointer().map_err(|_| Over)?;
        self.hibernate("a")?;
        self.hibernate("b")?;
        self.add("a", 900)?;
        self.hibernate("a")?;
        self.store.shut_down().map_err(|_| Over)
    }
}

/// Checks the promises after a crash: what was acknowledged is there, what is there is a state that
/// the object was in, and everything fits together.
fn verify(folder: &Path, disk: &FaultyDisk, run: &Outcome, context: &str) {
    let store = match Store::open_on(Arc::new(disk.clone()), options(folder).0, None) {
        Ok(store) => store,
        Err(err) => panic!("{context}: {err}: {:?}", std::error::Error::source(&err)),
    };
    let template = tally();
    for name in NAMES {
        let opened = store.open_object(&key(name), &template);
        let mut object = opened.unwrap_or_else(|err| panic!("{context}: {name}: {err}"));
        let found = object.exists().then(|| entries(&mut object));
        let allowed = &run.histories[name][run.acknowledged[name]..];
        assert!(allowed.contains(&found), "{context}: {name} is {found:?}, not one of {allowed:?}");
        assert_eq!(integrity(&object), "ok", "{context}: {name}");
        let row = store.catalog().get(&key(name)).unwrap();
        assert_eq!(row.is_some(), found.is_some(), "{context}: {name} in the catalog: {row:?}");
        // And it goes on.
        add(&mut object, 5_000).unwrap_or_else(|err| panic!("{context}: {name}: {err}"));
        object.begin(Access::Write).unwrap();
        object.connection().execute("DELETE FROM entry WHERE n = 5000", []).unwrap();
        object.commit(entry(&object)).unwrap();
    }
}

/// What a run has told its clients.
struct Outcome {
    histories: BTreeMap<&'static str, History>,
    acknowledged: BTreeMap<&'static str, usize>,
    was_released: bool,
}

/// Runs the work on a disk that has planned a fault, until one of them ends.
fn run_until_fault(disk: &FaultyDisk, folder: &Path) -> Outcome {
    let nothing = || Outcome {
        histories: NAMES.iter().map(|name| (*name, vec![None])).collect(),
        acknowledged: NAMES.iter().map(|name| (*name, 0)).collect(),
        was_released: false,
    };
    let Ok(mut run) = Run::start(disk, folder, Durability::Fsync) else { return nothing() };
    // How far it came does not matter: what it acknowledged is noted.
    let _over = run.work();
    let Run { histories, acknowledged, was_released, .. } = run;
    Outcome { histories, acknowledged, was_released }
}

fn object_bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = crate::check::databases(&folder.join("objects")).unwrap();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_at_any_operation() {
    let dir = fast_folder();
    let dry = FaultyDisk::new(dir.path(), 1);
    let outcome = run_until_fault(&dry, dir.path());
    assert_eq!(
        outcome.histories["a"].last(),
        outcome.histories["a"].get(outcome.acknowledged["a"])
    );
    let operations = dry.operations();
    assert!(outcome.was_released && operations > 150, "the work is worth it: {operations}");
    for at in 1..=operations {
        // Most operations are pages that SQLite writes: neighbours differ by a page.
        let losses = [Loss::Nothing, Loss::Everything, Loss::Some];
        let loss = losses[usize::try_from(at).unwrap() % losses.len()];
        let dir = fast_folder();
        let disk = FaultyDisk::new(dir.path(), at);
        disk.plan(Fault::Crash { at });

        let outcome = run_until_fault(&disk, dir.path());
        disk.crash(loss);

        let healthy = FaultyDisk::new(dir.path(), at);
        verify(dir.path(), &healthy, &outcome, &format!("crash at {at}, {loss:?} lost"));
    }
}

#[test]
fn recovery_survives_a_crash_at_any_of_its_own_operations() {
    for seed in 0..8_u64 {
        let origin = fast_folder();
        let disk = FaultyDisk::new(origin.path(), seed);
        disk.plan(Fault::Crash { at: 60 + seed * 27 });
        let outcome = run_until_fault(&disk, origin.path());
        disk.crash(Loss::Some);
        let recover = |folder: &Path, at: Option<u64>| {
            let disk = FaultyDisk::new(folder, seed + 100);
            if let Some(at) = at {
                disk.plan(Fault::Crash { at });
            }
            drop(Store::open_on(Arc::new(disk.clone()), options(folder).0, None));
            disk
        };
        let copy = fast_folder();
        copy_folder(origin.path(), copy.path());
        let operations = recover(copy.path(), None).operations();
        for at in 1..operations {
            let dir = fast_folder();
            copy_folder(origin.path(), dir.path());

            recover(dir.path(), Some(at)).crash(Loss::Some);

            let healthy = FaultyDisk::new(dir.path(), at);
            let context = format!("seed {seed}, crash at {at} of the recovery");
            verify(dir.path(), &healthy, &outcome, &context);
        }
    }
}

/// The process dies, and while the next one recovers, the machine does. What the first one left in
/// the page cache must not get into a database file and be lost from the journal.
#[test]
fn recovery_redoes_nothing_that_the_machine_may_still_lose() {
    for after in 1..=4 {
        let origin = fast_folder();
        // What the journal does not have any more, so that no redo covers up for another.
        let store = crate::harness::open(origin.path());
        let mut object = store.open_object(&key("a"), &tally()).unwrap();
        add_text(&mut object, 1, &"old ".repeat(2_000)).unwrap();
        crate::harness::settle(&store, &object);
        object.hibernate().unwrap();
        store.shut_down().unwrap();
        drop(store);
        let disk = FaultyDisk::new(origin.path(), after);
        let Ok(mut run) = Run::start(&disk, origin.path(), Durability::Fsync) else { panic!() };
        disk.plan(Fault::Crash { at: disk.operations() + after });
        let _over = run.add("a", 2).and_then(|()| run.wait("a"));
        let Run { histories, acknowledged, was_released, .. } = run;
        let outcome = Outcome { histories, acknowledged, was_released };
        disk.crash(Loss::Nothing);
        for (at, seed) in (5..45).flat_map(|at| (1..=6).map(move |seed| (at, seed))) {
            let dir = fast_folder();
            copy_folder(origin.path(), dir.path());
            let next = disk.restart_in(dir.path(), seed);
            next.plan(Fault::Crash { at });
            drop(crate::harness::open_on(Arc::new(next.clone()), dir.path()));

            next.crash(Loss::Some);

            let healthy = FaultyDisk::new(dir.path(), seed);
            let context = format!("crash {after} after, and at {at} of the recovery, seed {seed}");
            verify(dir.path(), &healthy, &outcome, &context);
        }
    }
}

/// A process that dies while it wipes what it has redone leaves headers that are gone from the page
/// cache only. If they come back, they must not be newer than those written since.
#[test]
fn a_header_that_a_recovery_has_wiped_does_not_come_back() {
    let origin = fast_folder();
    let disk = FaultyDisk::new(origin.path(), 1);
    disk.plan(Fault::Crash { at: 200 });
    run_until_fault(&disk, origin.path());
    disk.crash(Loss::Nothing);
    let copy = fast_folder();
    copy_folder(origin.path(), copy.path());
    let dry = disk.restart_in(copy.path(), 1);
    drop(crate::harness::open_on(Arc::new(dry.clone()), copy.path()).unwrap());
    for at in 1..dry.operations() {
        let dir = fast_folder();
        copy_folder(origin.path(), dir.path());
        let cut_short = disk.restart_in(dir.path(), 1);
        cut_short.plan(Fault::Crash { at });
        drop(crate::harness::open_on(Arc::new(cut_short.clone()), dir.path()));
        cut_short.crash(Loss::Nothing);
        let next = cut_short.restart(1);
        let Ok(mut run) = Run::start(&next, dir.path(), Durability::Fsync) else { panic!() };
        assert!(run.add("a", 1_000).is_ok() && run.wait("a").is_ok());
        next.kill();
        let Run { store, objects, histories, acknowledged, was_released, .. } = run;
        drop((objects, store));
        next.crash(Loss::Everything);

        let healthy = FaultyDisk::new(dir.path(), 1);
        let outcome = Outcome { histories, acknowledged, was_released };
        verify(dir.path(), &healthy, &outcome, &format!("crash at {at} of the recovery"));
    }
}

#[test]
fn a_recovery_of_a_recovery_gives_the_same_bytes() {
    for at in (20..260).step_by(20) {
        let dir = fast_folder();
        let disk = FaultyDisk::new(dir.path(), at);
        disk.plan(Fault::Crash { at });
        run_until_fault(&disk, dir.path());
        disk.crash(Loss::Some);

        let open = || Store::open(options(dir.path()).0);
        if open().is_err() {
            panic!("the folder opens after a crash at {at}");
        }
        let once = object_bytes(dir.path());
        drop(open().unwrap());

        assert_eq!(object_bytes(dir.path()), once, "crash at {at}");
    }
}

#[test]
fn a_failed_sync_is_fatal_and_acknowledges_nothing() {
    let dir = fast_folder();
    let disk = FaultyDisk::new(dir.path(), 1);
    let Ok(mut run) = Run::start(&disk, dir.path(), Durability::Fsync) else { panic!("it opens") };
    assert!(run.add("a", 1).is_ok() && run.wait("a").is_ok());

    disk.plan(Fault::SyncError { at: disk.operations() + 1 });
    assert!(run.add("a", 2).is_ok(), "the commit itself needs no sync");
    assert!(run.wait("a").is_err());

    assert_eq!(run.store.commit_log().durable(), Position::new(1));
    assert_eq!(run.store.commit_log().admit(), Err(Unavailable::Stopped));
    assert!(matches!(
        run.object("a").unwrap_or_else(|_| panic!("open")).backfill(),
        Err(StoreError::NotDurable)
    ));
}

#[test]
fn a_full_disk_refuses_writes_before_they_begin_and_recovers_by_itself() {
    let dir = fast_folder();
    let disk = FaultyDisk::new(dir.path(), 1);
    let Ok(mut run) = Run::start(&disk, dir.path(), Durability::Fsync) else { panic!("it opens") };
    assert!(run.add("a", 1).is_ok() && run.wait("a").is_ok());
    disk.set_full(true);
    let mut n = 2;
    let refused = loop {
        match add(run.object("a").unwrap_or_else(|_| panic!("open")), n) {
            Ok(_) => n += 1,
            Err(err) => break err,
        }
        assert!(n < 10_000, "space ends");
        assert!(run.wait("a").is_ok(), "what began is durable");
    };
    assert!(matches!(refused, StoreError::Unavailable(Unavailable::NoRoom)), "{refused:?}");
    let all: Vec<u32> = (1..n).collect();
    assert_eq!(entries(run.object("a").unwrap_or_else(|_| panic!("open"))), all);

    disk.set_full(false);
    run.store.step_preparer().unwrap();
    assert!(run.add("a", n).is_ok() && run.wait("a").is_ok());
}

#[test]
fn a_journal_of_another_folder_is_not_redone() {
    let mine = fast_folder();
    let other = fast_folder();
    for (dir, n) in [(&mine, 1), (&other, 2)] {
        let store = crate::harness::open(dir.path());
        let mut object = store.open_object(&key("a"), &tally()).unwrap();
        add(&mut object, n).unwrap();
        crate::harness::settle(&store, &object);
        object.hibernate().unwrap();
        store.shut_down().unwrap();
    }
    copy_folder(&other.path().join("journal"), &mine.path().join("journal"));

    let store = crate::harness::open(mine.path());

    assert_eq!(entries(&mut store.open_object(&key("a"), &tally()).unwrap()), [1]);
}

#[test]
fn in_mode_os_a_new_boot_ends_the_journal_where_it_is_torn_and_changes_every_epoch() {
    let dir = fast_folder();
    let open = || {
        let (mut options, _) = options(dir.path());
        options.durability = Durability::Os;
        Store::open(options)
    };
    let epoch = {
        let store = open().unwrap();
        let mut object = store.open_object(&key("a"), &tally()).unwrap();
        for n in 1..=3 {
            add(&mut object, n).unwrap();
            crate::harness::settle(&store, &object);
        }
        object.epoch()
    };
    let segment = dir.path().join("journal/segment-000000");
    let mut bytes = fs::read(&segment).unwrap();
    let first_bytes = u32::from_le_bytes(bytes[4100..4104].try_into().unwrap()) as usize;
    bytes[4096 + first_bytes + 200] ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert!(matches!(open(), Err(OpenError::Damaged { .. })), "the page cache was not lost");
    let state = dir.path().join("dormouse.json");
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, text.replace(&crate::folder::boot_id(), "another-boot")).unwrap();

    for _ in 0..2 {
        let store = open().unwrap();
        let mut object = store.open_object(&key("a"), &tally()).unwrap();
        assert_eq!(entries(&mut object), [1]);
        assert_ne!(object.epoch(), epoch);
    }
}

#[test]
fn in_mode_os_a_crash_of_the_process_alone_loses_nothing() {
    let dir = fast_folder();
    let open = || {
        let (mut options, _) = options(dir.path());
        options.durability = Durability::Os;
        Store::open(options).unwrap()
    };
    let epoch = {
        let store = open();
        let mut object = store.open_object(&key("a"), &tally()).unwrap();
        add(&mut object, 1).unwrap();
        crate::harness::settle(&store, &object);
        object.epoch()
    };

    let store = open();

    let mut object = store.open_object(&key("a"), &tally()).unwrap();
    assert_eq!((object.epoch(), entries(&mut object)), (epoch, vec![1]));
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

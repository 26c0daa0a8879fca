//! One process: from a store that is open to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::model::{Entry, State};
use super::recovery::Opened;
use super::{Broken, Simulation};
use crate::clock::TestClock;
use crate::commit_log::{Position, Unavailable};
use crate::disk::faulty::FaultyDisk;
use crate::error::StoreError;
use crate::harness::{entry, key};
use crate::object_file::{Access, BACKFILL_RETRY_AFTER, ObjectFile};
use crate::store::Store;
use crate::template::Template;

/// After so many rounds of all the work that a full journal waits for, it must have room.
const ROOM_TRIES_MAX: u32 = 40;

/// How long a step takes.
const STEP_TIME: Duration = Duration::from_millis(50);

/// Past this many entries an object drops its older half.
const ENTRIES_MAX: usize = 30;

/// A running store, and what it is told to do.
pub(super) struct Life<'a, 'b> {
    simulation: &'a mut Simulation<'b>,
    disk: &'a FaultyDisk,
    // Before the store: objects are closed first.
    objects: Vec<Option<ObjectFile>>,
    store: Store,
    clock: Arc<TestClock>,
    template: Arc<Template>,
    is_fatal: Arc<AtomicBool>,
    /// Steps for which the disk still takes no writes of the journal.
    stalled_for: u64,
    /// Steps for which the disk is still full.
    full_for: u64,
}

/// Why a life is over.
#[derive(Debug)]
pub(super) enum End {
    /// The process died, as planned.
    Died,
    /// A promise was not kept.
    Violation(String),
}

/// What a step comes to: `None` if it was refused for a reason that there was.
type Step<T = ()> = Result<Option<T>, End>;

impl<'a, 'b> Life<'a, 'b> {
    pub(super) fn new(
        simulation: &'a mut Simulation<'b>,
        disk: &'a FaultyDisk,
        opened: Opened,
    ) -> Life<'a, 'b> {
        let Opened { store, clock, is_fatal } = opened;
        let objects = simulation.model.names.iter().map(|_| None).collect();
        let template = Arc::clone(&simulation.template);
        let (stalled_for, full_for) = (0, 0);
        Life { simulation, disk, objects, store, clock, template, is_fatal, stalled_for, full_for }
    }

    /// Takes over the WALs of the process before, to break the rule that nobody does.
    pub(super) fn inherit(&mut self) {
        for (key, left) in self.simulation.leftover.drain(..) {
            self.store.ledger().leave_open(key, left);
        }
    }

    /// Lives until the plan or a fault ends it.
    pub(super) fn work(&mut self) -> Result<(), End> {
        for _ in 0..self.simulation.plan.steps {
            self.step()?;
            self.work_in_background()?;
            let seen = self.disk.operations();
            let Simulation { random, summary, .. } = &mut *self.simulation;
            random.note(&mut summary.trace, seen);
        }
        if self.simulation.random.chance(30) { self.shut_down() } else { Ok(()) }
    }

    /// Notes what came of it, and ends the process.
    pub(super) fn note_end(&mut self) {
        // What the disk has done by now was done by a living process.
        self.note_durable();
        self.disk.kill();
        self.simulation.summary.errors_survived += u64::from(self.disk.has_failed());
        if self.simulation.broken == Some(Broken::LeftoverWalOpened) {
            self.objects.clear();
            self.simulation.leftover = self.store.ledger().all_left_open();
        }
    }

    fn step(&mut self) -> Result<(), End> {
        let index = self.simulation.random.index(self.objects.len());
        let done = match self.simulation.random.below(100) {
            0..50 => self.write(index),
            50..55 => self.roll_back(index),
            55..60 => self.read(index),
            60..68 => self.backfill(index),
            68..76 => self.hibernate(index),
            76..81 => {
                self.objects[index] = None;
                Ok(None)
            }
            81..85 => self.delete(index),
            85..88 => {
                self.stalled_for = self.simulation.random.below(15);
                Ok(None)
            }
            88..90 => {
                self.full_for = self.simulation.random.below(20);
                self.disk.set_full(true);
                Ok(None)
            }
            90..95 => self.check_catalog(index),
            _ => Ok(None),
        };
        done.map(drop)
    }

    fn write(&mut self, index: usize) -> Step {
        let mut state = self.simulation.model.newest_of(index).clone();
        let random = &mut self.simulation.random;
        let next = state.next_n();
        let size = [40, 900, 6_000][random.index(3)];
        let added: Vec<Entry> = (0..1 + u32::try_from(random.below(3)).expect("it is below 3"))
            .map(|more| Entry { n: next + more, tag: random.next(), bytes: random.index(size) })
            .collect();
        let entries = state.entries.get_or_insert_default();
        let changed = random.chance(20).then(|| random.index(entries.len().max(1)));
        let changed = changed.and_then(|at| entries.get_mut(at)).map(|entry| {
            entry.tag = random.next();
            *entry
        });
        let dropped = if entries.len() > ENTRIES_MAX { entries.len() / 2 } else { 0 };
        entries.drain(..dropped);
        let first = entries.first().map_or(next, |entry| entry.n);
        entries.extend(&added);
        let Some(()) = self.begin(index)? else { return Ok(None) };
        let Some(object) = self.objects[index].as_mut() else { return Ok(None) };
        let run = |object: &ObjectFile| -> rusqlite::Result<()> {
            let conn = object.connection();
            let mut upsert = conn.prepare_cached(
                "INSERT INTO entry (n, text) VALUES (?1, ?2)
                 ON CONFLICT (n) DO UPDATE SET text = ?2",
            )?;
            for entry in added.iter().chain(&changed) {
                upsert.execute((entry.n, entry.text()))?;
            }
            conn.prepare_cached("DELETE FROM entry WHERE n < ?1")?.execute([first]).map(drop)
        };
        let done = match run(object) {
            Ok(()) => object.commit(entry(object)),
            Err(err) => object.rollback().and(Err(err.into())),
        };
        match done.map(|commit| commit.position) {
            Ok(Some(position)) => self.committed(index, position, state).map(Some),
            Ok(None) => Err(End::Violation("a transaction that wrote has no position".to_owned())),
            // Nothing of it is left.
            Err(StoreError::TransactionTooLarge { .. }) => self.refused(),
            Err(err) => {
                self.objects[index] = None;
                self.excuse("commit", err)
            }
        }
    }

    fn delete(&mut self, index: usize) -> Step {
        let Some(object) = self.open(index)? else { return Ok(None) };
        let existed = object.exists();
        match object.delete() {
            Ok(position) if existed => {
                let resets = self.simulation.model.newest_of(index).resets + 1;
                self.simulation.summary.deletions += 1;
                self.committed(index, position, State { resets, entries: None }).map(Some)
            }
            Ok(_) => Ok(None),
            Err(StoreError::Unavailable(Unavailable::NoRoom)) => self.refused(),
            Err(err) => self.excuse("delete", err),
        }
    }

    fn committed(&mut self, index: usize, position: Position, state: State) -> Result<(), End> {
        self.simulation.summary.transactions += 1;
        let done = self.simulation.model.commit(index, position, state);
        let unwritten = position.get() - self.store.commit_log().durable().get();
        let most = &mut self.simulation.summary.most_unwritten;
        *most = unwritten.max(*most);
        done.map_err(End::Violation)
    }

    fn roll_back(&mut self, index: usize) -> Step {
        let Some(()) = self.begin(index)? else { return Ok(None) };
        let Some(object) = self.objects[index].as_mut() else { return Ok(None) };
        let text = "x".repeat(3_000);
        let added = object.connection().execute("INSERT INTO entry VALUES (?1, ?2)", (0, text));
        let undone = added.map_err(StoreError::from).and_then(|_| object.rollback());
        match undone {
            Ok(()) => self.read(index),
            Err(err) => self.excuse("roll back", err),
        }
    }

    fn read(&mut self, index: usize) -> Step {
        let Some(object) = self.open(index)? else { return Ok(None) };
        match rows(object) {
            Ok(rows) => {
                let compared = self.simulation.model.newest_of(index).compare(rows.as_deref());
                compared.map(Some).map_err(|what| End::Violation(format!("while open: {what}")))
            }
            Err(err) => self.excuse("read", err),
        }
    }

    fn backfill(&mut self, index: usize) -> Step {
        let backfills = Arc::clone(&self.simulation.backfills);
        let Some(object) = self.open(index)? else { return Ok(None) };
        backfills.store(true, Ordering::Relaxed);
        let done = object.backfill();
        backfills.store(false, Ordering::Relaxed);
        match done {
            Ok(()) => Ok(Some(())),
            Err(StoreError::NotDurable) => Ok(None),
            Err(err) => self.excuse("backfill", err),
        }
    }

    fn hibernate(&mut self, index: usize) -> Step {
        let backfills = Arc::clone(&self.simulation.backfills);
        backfills.store(true, Ordering::Relaxed);
        let done = self.objects[index].take().map_or(Ok(()), ObjectFile::hibernate);
        backfills.store(false, Ordering::Relaxed);
        match done {
            Ok(()) => Ok(Some(())),
            // It is closed with its WAL, which the next wake opens.
            Err(StoreError::NotDurable) => Ok(None),
            Err(err) => self.excuse("hibernate", err),
        }
    }

    fn check_catalog(&mut self, index: usize) -> Step {
        let durable = self.store.commit_log().durable();
        let exists = self.simulation.model.at(index, durable).entries.is_some();
        match self.store.catalog().get(&key(&self.simulation.model.names[index])) {
            Ok(row) if row.is_some() == exists => Ok(Some(())),
            Ok(row) => {
                Err(End::Violation(format!("at {durable} the catalog has {row:?} of {index}")))
            }
            Err(err) => self.excuse("ask the catalog", err),
        }
    }

    fn open(&mut self, index: usize) -> Step<&mut ObjectFile> {
        if self.objects[index].is_none() {
            let key = key(&self.simulation.model.names[index]);
            match self.store.open_object(&key, &self.template) {
                Ok(object) => self.objects[index] = Some(object),
                Err(err) => return self.excuse("open", err),
            }
            let object = self.objects[index].as_mut().expect("it was just filled");
            let found = match rows(object) {
                Ok(found) => found,
                Err(err) => {
                    self.objects[index] = None;
                    return self.excuse("read what wakes", err);
                }
            };
            let compared = self.simulation.model.newest_of(index).compare(found.as_deref());
            compared.map_err(|what| End::Violation(format!("as it wakes: {what}")))?;
        }
        Ok(self.objects[index].as_mut())
    }

    /// Begins a transaction, making room for it if there is none.
    fn begin(&mut self, index: usize) -> Step {
        for _ in 0..ROOM_TRIES_MAX {
            let Some(object) = self.open(index)? else { return Ok(None) };
            match object.begin(Access::Write) {
                Ok(()) => return Ok(Some(())),
                Err(StoreError::Unavailable(Unavailable::NoRoom)) => self.make_room()?,
                Err(err) => return self.excuse("begin", err),
            }
        }
        if self.full_for > 0 || self.disk.has_failed() {
            return self.refused();
        }
        Err(End::Violation("a full journal has no room again".to_owned()))
    }

    /// Does what a full journal waits for.
    fn make_room(&mut self) -> Result<(), End> {
        self.simulation.summary.refusals += 1;
        self.stalled_for = 0;
        self.clock.advance(BACKFILL_RETRY_AFTER);
        self.write_journal()?;
        for index in 0..self.objects.len() {
            if self.open(index)?.is_some_and(|object| object.backfill_due()) {
                self.backfill(index)?;
            }
        }
        self.step_catalog()?;
        self.step_checkpointer()?;
        self.step_preparer()
    }

    fn work_in_background(&mut self) -> Result<(), End> {
        let eagerness = self.simulation.plan.eagerness;
        self.clock.advance(STEP_TIME);
        self.stalled_for = self.stalled_for.saturating_sub(1);
        self.full_for = self.full_for.saturating_sub(1);
        self.disk.set_full(self.full_for > 0);
        if self.stalled_for == 0 && self.simulation.random.chance(eagerness.writer) {
            self.write_journal()?;
        }
        if self.simulation.random.chance(eagerness.catalog) {
            self.step_catalog()?;
        }
        if self.simulation.random.chance(eagerness.checkpointer) {
            self.step_checkpointer()?;
        }
        if self.simulation.random.chance(eagerness.preparer) {
            self.step_preparer()?;
        }
        if self.simulation.random.chance(30) {
            let opened = self.store.step_connections();
            opened.map_err(|err| End::Violation(format!("cannot open ahead: {err}")))?;
        }
        if self.is_over() { Err(End::Died) } else { Ok(()) }
    }

    fn write_journal(&mut self) -> Result<(), End> {
        self.store.step_writer();
        if self.is_over() {
            return Err(End::Died);
        }
        self.note_durable();
        Ok(())
    }

    fn step_catalog(&mut self) -> Result<(), End> {
        let done = self.store.step_catalog();
        done.or_else(|err| self.excuse::<()>("follow", err.into()).map(drop))
    }

    fn step_checkpointer(&mut self) -> Result<(), End> {
        let before = self.store.stats().checkpointed;
        match self.store.step_checkpointer() {
            Ok(_) => {
                let is_news = self.store.stats().checkpointed > before;
                self.simulation.summary.checkpoints += u64::from(is_news);
                Ok(())
            }
            // What a failed sync leaves is unknown: the thread would end the process.
            Err(_) if self.is_over() || self.disk.has_failed() => Err(End::Died),
            Err(err) => Err(End::Violation(format!("cannot checkpoint: {err}"))),
        }
    }

    fn step_preparer(&mut self) -> Result<(), End> {
        match self.store.step_preparer() {
            _ if self.is_over() => Err(End::Died),
            Err(err) if self.full_for == 0 && !self.disk.has_failed() => {
                Err(End::Violation(format!("cannot prepare a segment: {err}")))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn shut_down(&mut self) -> Result<(), End> {
        self.full_for = 0;
        self.disk.set_full(false);
        self.write_journal()?;
        for index in 0..self.objects.len() {
            self.hibernate(index)?;
            // One that could not is left to the store.
            self.objects[index] = None;
        }
        match self.store.shut_down() {
            Ok(()) => {
                self.simulation.model.acknowledged = self.simulation.model.newest;
                self.simulation.summary.clean_stops += 1;
                Ok(())
            }
            Err(err) => self.excuse::<()>("shut down", err).map(drop),
        }
    }

    /// Takes everything as acknowledged that the store calls durable.
    fn note_durable(&mut self) {
        let durable = self.store.commit_log().durable();
        let acknowledged = &mut self.simulation.model.acknowledged;
        *acknowledged = durable.max(*acknowledged);
    }

    fn is_over(&self) -> bool {
        self.disk.is_dead() || self.is_fatal.load(Ordering::Relaxed)
    }

    /// An error has a reason, or it is one too many.
    fn excuse<T>(&mut self, action: &str, err: StoreError) -> Step<T> {
        if self.is_over() {
            return Err(End::Died);
        }
        if self.full_for > 0 || self.disk.has_failed() {
            return self.refused();
        }
        let source = std::error::Error::source(&err).map(ToString::to_string);
        Err(End::Violation(format!("cannot {action}: {err}: {}", source.unwrap_or_default())))
    }

    fn refused<T>(&mut self) -> Step<T> {
        self.simulation.summary.refusals += 1;
        Ok(None)
    }
}

/// All entries of an object; `None` if it does not exist.
pub(super) fn rows(object: &mut ObjectFile) -> Result<Option<Vec<(u32, String)>>, StoreError> {
    object.begin(Access::Read)?;
    let read = |object: &ObjectFile| -> rusqlite::Result<Vec<(u32, String)>> {
        let mut statement =
            object.connection().prepare_cached("SELECT n, text FROM entry ORDER BY n")?;
        let rows = statement.query_map([], |row| row.try_into())?;
        rows.collect()
    };
    let found = read(object);
    object.rollback()?;
    Ok(object.exists().then_some(found?))
}

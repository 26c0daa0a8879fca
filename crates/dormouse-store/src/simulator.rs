//! Whole lives of a store on a disk that fails, each derived from one number.
//!
//! A seed decides everything: how large journal and WALs are, what is done to which object, when the
//! background work is done, where the disk fails or the process dies, and which un-synced sectors
//! survive. Nothing runs on a thread of its own, so a seed that fails fails again. Two things are
//! random all the same, and nothing depends on them but bytes: the identity of the folder, and the
//! salts of SQLite's WALs.
//!
//! # What is checked
//!
//! After every recovery, however often it was itself cut short:
//!
//! * Everything that was acknowledged is in the journal: [`recovery`] compares positions.
//! * Each object is what it was at the end of the journal, entry by entry: neither less nor more, so
//!   nothing of a lost transaction is left, and numbers have no holes. Its epoch fits.
//! * Files pass SQLite's own check and are as long as the catalog says; the catalog lists the
//!   objects that exist and no other.
//! * Files are the same bytes, whether the recovery was cut short or not, and after another one.
//!
//! While the store runs: an object reads back what it committed, positions rise by 1, the catalog
//! shows what is durable, and a journal that is full has room again after the work that it waits for.

mod life;
mod model;
mod plan;
mod recovery;
mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::life::{End, Life};
use self::model::Model;
use self::plan::{Plan, Random};
use crate::commit_log::{CommitLog, DurableWatcher, Position, Record, Unavailable};
use crate::disk::faulty::{FaultyDisk, Loss, Skipped};
use crate::harness::{fast_folder, tally};
use crate::journal::Journal;
use crate::key::Key;
use crate::ledger::LeftOpen;
use crate::options::Durability;
use crate::template::Template;

/// A rule of the store that a simulation breaks on purpose, to show that it would be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Objects backfill what is not durable.
    CheckpointBeforeDurable,
    /// Transactions are acknowledged before they are written.
    ReleaseBeforeDurable,
    /// Transactions are acknowledged when they are written, without a sync.
    NoSyncOfSegments,
    /// Segments are released although the database files were not synced.
    NoSyncOfDatabases,
    /// A WAL that an earlier process left is opened by the wake.
    LeftoverWalOpened,
    /// Recovery leaves database files as long as they are.
    NoSetLenInRedo,
}

/// Who takes transactions for durable that are only queued.
#[derive(Clone, Debug)]
pub(crate) enum TooEarly {
    /// The store itself, while this is true.
    Ledger(Arc<AtomicBool>),
    /// Those who wait to release what they promised.
    Callers,
}

/// What a simulation went through. Equal for equal seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub lives: u64,
    pub operations: u64,
    pub transactions: u64,
    pub lost_transactions: u64,
    pub deletions: u64,
    pub refusals: u64,
    pub errors_survived: u64,
    pub most_unwritten: u64,
    pub clean_stops: u64,
    pub recoveries_cut_short: u64,
    /// How often segments were released.
    pub checkpoints: u64,
    /// Hash of everything that was done.
    pub trace: u64,
}

/// A promise that was not kept.
#[derive(Debug)]
pub(crate) struct Violation {
    pub seed: u64,
    pub what: String,
}

/// Runs the simulation of one seed.
///
/// # Errors
///
/// [`Violation`]: what it found, and how to see it again.
pub(crate) fn run(seed: u64, broken: Option<Broken>) -> Result<Summary, Violation> {
    let dir = fast_folder();
    let mut random = Random::new(seed);
    let plan = Plan::new(&mut random);
    let model = Model::new(plan.objects);
    let summary = Summary::default();
    let backfills = Arc::default();
    let root = dir.path();
    let (template, still_running) = (tally(), None);
    let mut simulation = Simulation {
        root,
        random,
        plan,
        model,
        broken,
        still_running,
        template,
        backfills,
        leftover: Vec::new(),
        summary,
    };
    // A panic is a finding like any other, and needs its seed as much.
    match catch_unwind(AssertUnwindSafe(|| simulation.live())) {
        Ok(Ok(())) => Ok(simulation.summary),
        Ok(Err(what)) => Err(Violation { seed, what }),
        Err(_) => Err(Violation { seed, what: "it panicked, see above".to_owned() }),
    }
}

/// A folder, what ought to be in it, and what is still to happen to it.
struct Simulation<'a> {
    root: &'a Path,
    random: Random,
    plan: Plan,
    model: Model,
    broken: Option<Broken>,
    /// The disk of the last process, if the machine did not go down with it.
    still_running: Option<FaultyDisk>,
    template: Arc<Template>,
    /// Whether an object is told to backfill right now.
    backfills: Arc<AtomicBool>,
    /// The WALs that the last process had, if the next one is to open them.
    leftover: Vec<(Key, LeftOpen)>,
    summary: Summary,
}

impl Simulation<'_> {
    fn live(&mut self) -> Result<(), String> {
        for number in 0..self.plan.lives {
            let (disk, store) = self.recover(number > 0, false)?;
            self.plan_fault(&disk);
            let mut life = Life::new(self, &disk, store);
            life.inherit();
            let end = life.work();
            life.note_end();
            drop(life);
            self.summary.lives += 1;
            self.summary.operations += disk.operations();
            self.random.note(&mut self.summary.trace, disk.operations());
            self.crash(disk);
            if let Err(End::Violation(what)) = end {
                return Err(format!("life {number}: {what}"));
            }
        }
        // The last word has a recovery.
        let (disk, store) = self.recover(true, true)?;
        disk.kill();
        drop(store);
        Ok(())
    }

    /// Ends a process, and perhaps the machine with it. Nobody may have a file open.
    fn crash(&mut self, disk: FaultyDisk) {
        let loss = match self.random.below(10) {
            // In mode `os` a machine that goes down may lose anything: only the process dies here.
            _ if self.plan.durability == Durability::Os => Loss::Nothing,
            0..3 => Loss::Nothing,
            3..5 => Loss::Everything,
            _ => Loss::Some,
        };
        disk.crash(loss);
        self.still_running = (loss == Loss::Nothing).then_some(disk);
    }
}

impl Broken {
    fn too_early(self, backfills: &Arc<AtomicBool>) -> Option<TooEarly> {
        match self {
            Broken::CheckpointBeforeDurable => Some(TooEarly::Ledger(Arc::clone(backfills))),
            Broken::ReleaseBeforeDurable => Some(TooEarly::Callers),
            Broken::NoSyncOfSegments
            | Broken::NoSyncOfDatabases
            | Broken::LeftoverWalOpened
            | Broken::NoSetLenInRedo => None,
        }
    }

    /// What the disk leaves out during a recovery.
    fn skipped_in_recovery(self) -> Option<Skipped> {
        match self {
            Broken::NoSyncOfDatabases => Some(Skipped::SyncEverything),
            Broken::NoSetLenInRedo => Some(Skipped::SetDatabaseLen),
            Broken::CheckpointBeforeDurable
            | Broken::ReleaseBeforeDurable
            | Broken::NoSyncOfSegments
            | Broken::LeftoverWalOpened => None,
        }
    }

    /// What the disk leaves out once the store is open.
    fn skipped_in_life(self) -> Option<Skipped> {
        match self {
            Broken::NoSyncOfSegments => Some(Skipped::SyncSegment),
            Broken::NoSyncOfDatabases => Some(Skipped::SyncEverything),
            Broken::CheckpointBeforeDurable
            | Broken::ReleaseBeforeDurable
            | Broken::LeftoverWalOpened
            | Broken::NoSetLenInRedo => None,
        }
    }
}

/// A journal that calls durable what is queued, while `is_early` is true.
#[derive(Debug)]
pub(crate) struct EarlyLog {
    pub journal: Arc<Journal>,
    pub is_early: Arc<AtomicBool>,
}

impl CommitLog for EarlyLog {
    fn admit(&self) -> Result<(), Unavailable> {
        self.journal.admit()
    }

    fn append(&self, record: Record<'_>) -> Position {
        self.journal.append(record)
    }

    fn durable(&self) -> Position {
        let is_early = self.is_early.load(Ordering::Relaxed);
        if is_early { self.journal.appended() } else { self.journal.durable() }
    }

    fn watch(&self, watcher: DurableWatcher) {
        self.journal.watch(watcher);
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { seed, what } = self;
        write!(f, "seed {seed}: {what}\nto see it again: just sim {seed} 1")
    }
}

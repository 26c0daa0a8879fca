//! From a folder on disk to a running store.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tracing::warn;

use super::{Store, StoreShared};
use crate::catalog::{Catalog, CatalogFollower};
use crate::checkpoint::{Checkpointer, Signal};
use crate::commit_log::CommitLog;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::folder::{Folder, FolderState, boot_id, io_error, random_bytes};
use crate::journal::scan::{BadRecord, survey};
use crate::journal::segment::SegmentFile;
use crate::journal::{self, Background, Journal, JournalOptions};
use crate::ledger::Ledger;
use crate::object_file::{self, Connections};
use crate::options::{Durability, StoreOptions};
use crate::recovery::{Recovered, recover};
#[cfg(test)]
use crate::simulator::{EarlyLog, TooEarly};

/// What a store stands on, besides its options: a test may exchange each part.
pub(crate) struct Ground {
    pub disk: Arc<dyn Disk>,
    /// `None` for a journal.
    pub log: Option<Arc<dyn CommitLog>>,
    pub background: Background,
    /// Who takes what is queued for durable.
    #[cfg(test)]
    pub too_early: Option<TooEarly>,
}

impl Store {
    /// As [`open`](Self::open), on any disk.
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        options: StoreOptions,
        log: Option<Arc<dyn CommitLog>>,
    ) -> Result<Store, OpenError> {
        let ground = Ground {
            disk,
            log,
            background: Background::Threads,
            #[cfg(test)]
            too_early: None,
        };
        Store::open_standing_on(ground, options)
    }

    /// As [`open`](Self::open), on anything.
    pub(crate) fn open_standing_on(
        ground: Ground,
        options: StoreOptions,
    ) -> Result<Store, OpenError> {
        options.check()?;
        let disk = Arc::clone(&ground.disk);
        object_file::configure_sqlite();
        let folder = Folder::lock(&options.folder)?;
        let (mut state, is_new) = match folder.read_state(&*disk)? {
            Some(state) => (state, false),
            None => (make_folder(&*disk, &folder, options.durability)?, true),
        };
        for path in [folder.journal_folder(), folder.objects_folder()] {
            disk.create_folder(&path).map_err(|err| io_error("create", &path, err))?;
        }
        if options.durability == Durability::Fsync {
            sync_names(&*disk, &folder, is_new)
                .map_err(|err| io_error("sync", folder.root(), err))?;
        }
        if !folder.catalog_path().exists() {
            let what = "there is no catalog";
            return Err(OpenError::DamagedFile { path: folder.catalog_path(), what });
        }
        let follower = Arc::new(CatalogFollower::open(&*disk, &folder.catalog_path())?);
        let recovered = bring_up_to_date(&*disk, &folder, &mut state, &follower)?;
        state.clean = false;
        state.durability = options.durability;
        state.boot_id = boot_id();
        let written = folder.write_state(&*disk, &state);
        written.map_err(|err| io_error("write", &folder.state_path(), err))?;
        start(ground, options, folder, state, follower, recovered)
    }
}

/// Makes a folder that did not exist. Its state comes last: without one it is made again.
fn make_folder(
    disk: &dyn Disk,
    folder: &Folder,
    durability: Durability,
) -> Result<FolderState, OpenError> {
    CatalogFollower::create(disk, &folder.catalog_path())?;
    // Names reach the disk in any order, and a folder with a state is taken to be complete.
    disk.sync_folder(folder.root()).map_err(|err| io_error("sync", folder.root(), err))?;
    let state = FolderState::new(durability);
    let written = folder.write_state(disk, &state);
    written.map_err(|err| io_error("write", &folder.state_path(), err))?;
    Ok(state)
}

/// Makes the names durable on the way to what the journal will promise. A new folder may be in
/// folders that are new as well.
fn sync_names(disk: &dyn Disk, folder: &Folder, is_new: bool) -> io::Result<()> {
    if is_new {
        return disk.sync_everything(folder.root());
    }
    disk.sync_folder(folder.root())?;
    folder.root().parent().map_or(Ok(()), |parent| {
        // A relative path of one part has an empty parent.
        let here = Path::new(".");
        disk.sync_folder(if parent.as_os_str().is_empty() { here } else { parent })
    })
}

fn bring_up_to_date(
    disk: &dyn Disk,
    folder: &Folder,
    state: &mut FolderState,
    follower: &CatalogFollower,
) -> Result<Recovered, OpenError> {
    if state.clean {
        let failed = |source| OpenError::Catalog { path: folder.catalog_path(), source };
        let last = follower.checkpointed().map_err(failed)?;
        let scan = survey(disk, &folder.journal_folder(), state.folder_id(), last)?;
        return Ok(Recovered {
            end: scan.end,
            segments: scan.unused,
            next_number: scan.next_number,
            redone: Vec::new(),
        });
    }
    // In mode `os` the page cache was all there was, and it is gone with the machine.
    let is_lost = state.durability == Durability::Os && state.boot_id != boot_id();
    if is_lost {
        warn!("the machine went down in mode os: acknowledged transactions may be lost");
        state.losses += 1;
    }
    let bad_record = if is_lost { BadRecord::EndThere } else { BadRecord::Refuse };
    recover(disk, folder, state, follower, bad_record)
}

fn start(
    ground: Ground,
    options: StoreOptions,
    folder: Folder,
    state: FolderState,
    follower: Arc<CatalogFollower>,
    recovered: Recovered,
) -> Result<Store, OpenError> {
    let disk = Arc::clone(&ground.disk);
    let segments_max = options.segments_max();
    let failed = |err| io_error("start the journal in", folder.root(), err);
    let spare =
        reusable(&*disk, &folder.journal_folder(), recovered.segments, &options).map_err(failed)?;
    let on_fatal: Arc<dyn Fn(&str) + Send + Sync> = Arc::from(options.on_fatal);
    let end = recovered.end;
    let (log, journal) = match ground.log {
        Some(log) => {
            let started = follower.start_at(log.durable());
            started.map_err(|source| OpenError::Catalog { path: folder.catalog_path(), source })?;
            (log, None)
        }
        None => {
            let seed = random_bytes();
            let journal = Arc::new(
                Journal::start(JournalOptions {
                    disk: Arc::clone(&disk),
                    folder: folder.journal_folder(),
                    folder_id: state.folder_id(),
                    durability: options.durability,
                    segment_bytes: options.segment_bytes,
                    segments_max,
                    transaction_bytes_max: options.transaction_bytes_max,
                    writers_max: options.writers_max,
                    clock: Arc::clone(&options.clock),
                    on_fatal: Arc::clone(&on_fatal),
                    spare,
                    next_number: recovered.next_number,
                    end,
                    nonce_seed: u64::from_le_bytes(std::array::from_fn(|index| seed[index])),
                    background: ground.background,
                })
                .map_err(failed)?,
            );
            (Arc::clone(&journal) as Arc<dyn CommitLog>, Some(journal))
        }
    };
    let log_for_ledger = Arc::clone(&log);
    #[cfg(test)]
    let (log, log_for_ledger) = match (ground.too_early, journal.clone()) {
        (Some(TooEarly::Callers), Some(journal)) => {
            let is_early = Arc::new(AtomicBool::new(true));
            (Arc::new(EarlyLog { journal, is_early }) as _, log_for_ledger)
        }
        (Some(TooEarly::Ledger(is_early)), Some(journal)) => {
            (log, Arc::new(EarlyLog { journal, is_early }) as _)
        }
        _ => (log, log_for_ledger),
    };
    let ledger = Arc::new(Ledger::new(log_for_ledger));
    let checkpointer = Arc::new(Checkpointer {
        disk: Arc::clone(&disk),
        root: folder.root().to_path_buf(),
        ledger: Arc::clone(&ledger),
        follower: Arc::clone(&follower),
        journal: journal.clone(),
        on_fatal: Arc::clone(&on_fatal),
        checkpointed: AtomicU64::new(end.position.get()),
        checkpointing: Mutex::new(()),
        signal: Signal::default(),
    });
    let connections = Arc::new(Connections::new(
        Arc::clone(&options.clock),
        options.sql_time_max,
        // A value that does not fit into a transaction need not be built first.
        options.transaction_bytes_max,
    ));
    let threads = match ground.background {
        Background::Threads => {
            start_threads(&ledger, &follower, &checkpointer, &connections).map_err(failed)?
        }
        #[cfg(test)]
        Background::ByHand => Vec::new(),
    };
    let progress = Arc::clone(follower.progress());
    let catalog = Catalog::new(folder.catalog_path(), Arc::clone(&ledger), progress);
    #[cfg(test)]
    let catalog = match ground.background {
        Background::Threads => catalog,
        Background::ByHand => catalog.without_thread(Arc::clone(&follower)),
    };
    let shared = StoreShared {
        disk,
        clock: options.clock,
        on_fatal,
        transaction_bytes_max: options.transaction_bytes_max,
        wal_bytes_max: options.wal_bytes_max,
        connections,
        ledger,
        catalog,
        log,
        journal,
        follower,
        checkpointer,
        threads: Mutex::new(threads),
        is_shut_down: AtomicBool::new(false),
        state,
        folder,
    };
    Ok(Store { shared: Arc::new(shared) })
}

fn start_threads(
    ledger: &Arc<Ledger>,
    follower: &Arc<CatalogFollower>,
    checkpointer: &Arc<Checkpointer>,
    connections: &Arc<Connections>,
) -> io::Result<Vec<JoinHandle<()>>> {
    if let Some(journal) = &checkpointer.journal {
        let weak = Arc::downgrade(checkpointer);
        // A weak one: the checkpointer has the journal.
        journal.watch_sealed(Box::new(move || {
            if let Some(checkpointer) = weak.upgrade() {
                checkpointer.signal.raise();
            }
        }));
    }
    let (followed, following) = (Arc::clone(ledger), Arc::clone(follower));
    let checkpointing = Arc::clone(checkpointer);
    let connecting = Arc::clone(connections);
    Ok(vec![
        journal::spawn("catalog", move || following.follow(&followed))?,
        journal::spawn("checkpointer", move || checkpointing.run())?,
        journal::spawn("connections", move || connecting.refill_until_stopped())?,
    ])
}

/// Of the segments that an earlier process left, those of the right size. Others are removed.
fn reusable(
    disk: &dyn Disk,
    folder: &Path,
    segments: Vec<SegmentFile>,
    options: &StoreOptions,
) -> io::Result<Vec<SegmentFile>> {
    let mut reusable = Vec::new();
    for SegmentFile { path, file } in segments {
        if file.len()? == options.segment_bytes {
            reusable.push(SegmentFile::create(disk, &path, options.durability)?);
        } else {
            disk.remove(&path)?;
        }
    }
    // The process that made one may have died before its name was durable.
    disk.sync_folder(folder)?;
    Ok(reusable)
}

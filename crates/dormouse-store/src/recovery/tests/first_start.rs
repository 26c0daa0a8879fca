//! Starts that make a folder and are cut short.

use std::path::Path;
use std::sync::Arc;

use crate::disk::faulty::{Fault, FaultyDisk, Loss};
use crate::harness::{add_text, entries, fast_folder, key, open, open_on, options, tally};
use crate::journal::Background;
use crate::store::{Ground, Store};

/// Names reach the disk in any order: one that says that the folder is complete comes after the rest.
#[test]
fn a_first_start_that_is_cut_short_anywhere_is_done_again() {
    let dir = fast_folder();
    let dry = FaultyDisk::new(dir.path(), 1);
    drop(open_on(Arc::new(dry.clone()), dir.path()).unwrap());
    for at in 1..=dry.operations() {
        for seed in 1..=12 {
            let dir = fast_folder();
            let disk = FaultyDisk::new(dir.path(), seed);
            disk.plan(Fault::Crash { at });
            drop(open_on(Arc::new(disk.clone()), dir.path()));

            disk.crash(Loss::Some);

            let again = FaultyDisk::new(dir.path(), seed);
            let opened = open_on(Arc::new(again), dir.path());
            assert!(opened.is_ok(), "crash at {at}, seed {seed}: {:?}", opened.err());
        }
    }
}

/// A segment that another process made has a name that only the page cache may know.
#[test]
fn what_is_written_after_a_first_start_that_was_cut_short_is_kept() {
    let open_by_hand = |disk: &FaultyDisk, folder: &Path| {
        let disk = Arc::new(disk.clone());
        let (log, background, too_early) = (None, Background::ByHand, None);
        let ground = Ground { disk, log, background, too_early };
        Store::open_standing_on(ground, options(folder).0)
    };
    let start = |disk: &FaultyDisk, folder: &Path| {
        let Ok(store) = open_by_hand(disk, folder) else { return };
        _ = store.step_preparer();
    };
    let dir = fast_folder();
    let dry = FaultyDisk::new(dir.path(), 1);
    start(&dry, dir.path());
    for at in 1..=dry.operations() {
        let dir = fast_folder();
        let cut_short = FaultyDisk::new(dir.path(), 1);
        cut_short.plan(Fault::Crash { at });
        start(&cut_short, dir.path());
        cut_short.crash(Loss::Nothing);
        let disk = cut_short.restart(1);
        let store = open_by_hand(&disk, dir.path()).unwrap();
        let mut object = store.open_object(&key("a"), &tally()).unwrap();
        // Into the second segment, if there is one: nobody makes another.
        let mut written = 0;
        while store.stats().segments_in_use == 0
            && add_text(&mut object, written, &"x".repeat(10_000)).is_ok()
        {
            assert!(store.step_writer());
            written += 1;
        }
        assert!(written > 0 && object.newest_position() == store.commit_log().durable());
        disk.kill();
        drop((object, store));
        disk.crash(Loss::Everything);

        let store = open(dir.path());
        let mut object = store.open_object(&key("a"), &tally()).unwrap();
        assert_eq!(entries(&mut object), (0..written).collect::<Vec<_>>(), "crash at {at}");
    }
}

//! Seeds that hold, seeds that anybody may ask for, and rules that are missed when they are broken.

use std::env;
use std::io::Write as _;

use super::{Broken, Summary, run};

/// How many seeds a broken rule may survive.
const SEEDS_UNTIL_CAUGHT_MAX: u64 = 100;

fn hold(seeds: std::ops::RangeInclusive<u64>) -> Vec<Summary> {
    seeds.map(|seed| run(seed, None).unwrap_or_else(|violation| panic!("{violation}"))).collect()
}

fn is_caught(broken: Broken) -> bool {
    (1..=SEEDS_UNTIL_CAUGHT_MAX).any(|seed| run(seed, Some(broken)).is_err())
}

#[test]
fn seeds_1_to_100_hold() {
    hold(1..=100);
}

#[test]
fn seeds_101_to_200_hold() {
    hold(101..=200);
}

#[test]
fn seeds_201_to_300_hold() {
    hold(201..=300);
}

/// `just sim SEED RUNS`. Without the two numbers in the environment there is nothing to do.
#[test]
fn the_seeds_of_the_environment_hold() {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (Some(first), Some(runs)) = (number("SIM_SEED"), number("SIM_RUNS")) else { return };
    let mut failed = 0;
    let mut out = std::io::stdout();
    for (done, seed) in (1_u64..).zip(first..first + runs) {
        if let Err(violation) = run(seed, None) {
            failed += 1;
            writeln!(out, "{violation}").unwrap();
        }
        if done % 1_000 == 0 || done == runs {
            writeln!(out, "{done} of {runs} seeds, {failed} failed").unwrap();
        }
    }
    assert_eq!(failed, 0, "some seeds failed; see above");
}

#[test]
fn a_seed_is_the_same_simulation_every_time() {
    for seed in 1..=10 {
        let first = hold(seed..=seed);
        assert_eq!(hold(seed..=seed), first, "seed {seed}");
    }
}

#[test]
fn the_seeds_reach_what_they_are_for() {
    let all = hold(1..=60);
    let sum = |of: fn(&Summary) -> u64| all.iter().map(of).sum::<u64>();

    assert!(sum(|it| it.transactions) > 1_000);
    assert!(sum(|it| it.lost_transactions) > 50);
    assert!(sum(|it| it.deletions) > 20);
    assert!(sum(|it| it.refusals) > 20);
    assert!(sum(|it| it.checkpoints) > 20);
    assert!(sum(|it| it.clean_stops) > 5);
    assert!(sum(|it| it.recoveries_cut_short) > 20);
    assert!(sum(|it| it.errors_survived) > 5);
    assert!(all.iter().any(|it| it.most_unwritten > 10), "many pile up behind a slow sync");
}

#[test]
fn a_checkpoint_before_it_is_durable_is_caught() {
    assert!(is_caught(Broken::CheckpointBeforeDurable));
}

#[test]
fn a_release_before_it_is_durable_is_caught() {
    assert!(is_caught(Broken::ReleaseBeforeDurable));
}

#[test]
fn a_journal_that_is_not_synced_is_caught() {
    assert!(is_caught(Broken::NoSyncOfSegments));
}

#[test]
fn database_files_that_are_not_synced_are_caught() {
    assert!(is_caught(Broken::NoSyncOfDatabases));
}

#[test]
fn a_leftover_wal_that_is_opened_is_caught() {
    assert!(is_caught(Broken::LeftoverWalOpened));
}

#[test]
fn a_database_that_recovery_leaves_too_long_is_caught() {
    assert!(is_caught(Broken::NoSetLenInRedo));
}

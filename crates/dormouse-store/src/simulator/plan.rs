//! What a seed decides once, and the numbers that decide the rest.

use super::Simulation;
use crate::disk::faulty::{Fault, FaultyDisk};
use crate::options::{Durability, StoreOptions};

/// The smallest segments that take the largest transaction, and larger ones.
const SEGMENT_BYTES: [u64; 2] = [64 << 10, 128 << 10];

/// A sequence of numbers that a seed determines (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

/// What stays the same through all lives of a folder.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub durability: Durability,
    pub segment_bytes: u64,
    pub segments_max: u64,
    pub wal_bytes_max: u64,
    pub objects: usize,
    pub lives: u32,
    /// Steps of a life that nothing ends before.
    pub steps: u64,
    pub eagerness: Eagerness,
}

/// How often background work is done, in percent of the steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Eagerness {
    pub writer: u64,
    pub catalog: u64,
    pub checkpointer: u64,
    pub preparer: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// An index below `count`.
    pub(super) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).expect("it is below a usize")
    }

    /// True in `percent` of 100 cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Mixes into `trace` how far the sequence has come, and `seen`.
    pub(super) fn note(&self, trace: &mut u64, seen: u64) {
        *trace = (trace.rotate_left(17) ^ self.0).wrapping_add(seen.wrapping_mul(31));
    }
}

impl Plan {
    pub(super) fn new(random: &mut Random) -> Plan {
        let is_os = random.chance(12);
        Plan {
            durability: if is_os { Durability::Os } else { Durability::Fsync },
            segment_bytes: SEGMENT_BYTES[random.index(2)],
            segments_max: 4 + random.below(4),
            wal_bytes_max: if random.chance(50) { 24 << 10 } else { 4 << 20 },
            objects: 1 + random.index(4),
            lives: 2 + u32::try_from(random.below(4)).expect("it is below 4"),
            steps: 20 + random.below(200),
            eagerness: Eagerness {
                writer: 5 + random.below(90),
                catalog: 5 + random.below(60),
                checkpointer: 5 + random.below(60),
                preparer: 5 + random.below(60),
            },
        }
    }

    /// The options of a store under this plan.
    pub(super) fn apply(&self, options: &mut StoreOptions) {
        options.durability = self.durability;
        options.segment_bytes = self.segment_bytes;
        options.journal_bytes_max = self.segments_max * self.segment_bytes;
        options.wal_bytes_max = self.wal_bytes_max;
    }
}

impl Simulation<'_> {
    /// Decides whether the next process has other options.
    pub(super) fn plan_options(&mut self) {
        if self.random.chance(10) {
            self.plan.segment_bytes = SEGMENT_BYTES[self.random.index(2)];
        }
    }

    /// Decides what happens to a life that begins now.
    pub(super) fn plan_fault(&mut self, disk: &FaultyDisk) {
        let at = disk.operations() + 1 + self.random.below(self.plan.steps * 3);
        match self.random.below(10) {
            0..5 => disk.plan(Fault::Crash { at }),
            5 => disk.plan(Fault::SyncError { at }),
            6..8 => disk.plan(Fault::Error { at }),
            _ => {}
        }
    }

    /// Decides what happens to a recovery that is not to end well.
    pub(super) fn plan_fault_of_recovery(&mut self, disk: &FaultyDisk) {
        let at = 1 + self.random.below(80);
        match self.random.below(4) {
            0..3 => disk.plan(Fault::Crash { at }),
            _ => disk.plan(Fault::Error { at }),
        }
    }
}

//! What a segment's tombstones are still for.

use std::collections::{BTreeMap, BTreeSet};

/// Targets told apart; tombstones of further ones are counted together.
const TARGETS: usize = 512;

/// Bytes of tombstones by the segment that holds the records they remove. A tombstone is needed as long as that exists.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tombstones {
    pub by_target: BTreeMap<u64, u64>,
    pub others: u64,
    /// How many segments had been freed in the drive's life when the last of `others` was written.
    pub others_at: u64,
}

impl Tombstones {
    pub fn is_empty(&self) -> bool {
        self.by_target.is_empty() && self.others == 0
    }

    pub fn add(&mut self, target: u64, bytes: u64, freed: u64) {
        if self.by_target.len() < TARGETS || self.by_target.contains_key(&target) {
            *self.by_target.entry(target).or_default() += bytes;
        } else {
            self.others += bytes;
            self.others_at = freed;
        }
    }

    /// Bytes that would have to be kept if the segment `own` were emptied now. Of those that are not told apart: all, until as
    /// many segments have been freed as there are.
    pub fn needed(&self, own: u64, existing: &BTreeSet<u64>, freed: u64) -> u64 {
        let told = self
            .by_target
            .iter()
            .filter(|(target, _)| **target != own && existing.contains(target));
        let others = if freed - self.others_at >= existing.len() as u64 {
            0
        } else {
            self.others
        };
        told.map(|(_, bytes)| bytes).sum::<u64>() + others
    }
}

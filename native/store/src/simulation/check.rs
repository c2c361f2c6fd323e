//! The comparison with the model.

use std::collections::BTreeSet;

use super::drive::Simulation;
use super::model::Content;
use super::step::Target;
use crate::types::{ShardKey, StoreError};

impl Simulation {
    /// One shard as the drive gives it: `None` if there is none.
    fn read(&self, key: &ShardKey) -> Result<Option<Content>, StoreError> {
        let Some(entry) = self.core().entry_of(key) else {
            return Ok(None);
        };
        let blocks = 0..entry.blocks;
        blocks
            .map(|block| {
                self.core()
                    .read(key, u64::MAX, block, 0, entry.block_len(block))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Compares everything, and settles what was open.
    pub fn check(&mut self) {
        let keys: Vec<ShardKey> = self.model.shards.keys().copied().collect();
        let mut present = BTreeSet::new();
        for key in keys {
            let found = match self.read(&key) {
                Ok(found) => found,
                Err(StoreError::Corrupt { .. }) if self.model.damaged.contains_key(&key) => {
                    present.insert(key);
                    continue;
                }
                Err(error) => panic!("shard {key:?}: {error}"),
            };
            let possible = &self.model.shards[&key];
            // Without its header a record is lost once the index has been rebuilt; an older one of the shard may count again.
            let lost_by_rot = self.model.damaged.get(&key).is_some_and(|target| {
                found.is_none()
                    || (*target == Target::Header
                        && found
                            .as_ref()
                            .is_some_and(|found| self.model.older[&key].contains(found)))
            });
            assert!(
                possible.0.contains(&found) || lost_by_rot,
                "shard {key:?} is {:?}, not of {:?}",
                short(&found),
                possible.0.iter().map(short).collect::<Vec<_>>()
            );
            if found.is_some() {
                present.insert(key);
                assert!(
                    !self.model.damaged.contains_key(&key) || possible.0.len() > 1 || lost_by_rot,
                    "damaged shard {key:?} was served"
                );
            }
            self.model.damaged.remove(&key);
            self.model
                .shards
                .get_mut(&key)
                .expect("there")
                .acknowledged(found);
        }
        for (pg, (low, high)) in &mut self.model.generations {
            let known = self.core.as_ref().expect("open").generation(*pg);
            assert!(
                (*low..=*high).contains(&known),
                "generation {known} of {pg}, not {low}..={high}"
            );
            (*low, *high) = (known, known);
        }
        for (name, possible) in &mut self.model.marks {
            let found = self.core.as_ref().expect("open").mark(name);
            assert!(
                possible.0.contains(&found),
                "mark {name} is {found:?}, not of {possible:?}"
            );
            possible.acknowledged(found);
        }
        let (mut cursor, mut listed) = (None, BTreeSet::new());
        loop {
            let (page, next) = self
                .core()
                .list(cursor.as_deref(), 3, u64::MAX)
                .expect("a page");
            for record in page.iter().filter(|record| record.sealed) {
                assert!(listed.insert(record.key), "listed twice");
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(listed, present, "listing");
        assert_eq!(self.core().stats().shards, present.len() as u64);
        let (mut cursor, mut damaged) = (None, BTreeSet::new());
        loop {
            let step = self
                .core()
                .scrub(cursor.as_deref(), 5000)
                .expect("scrubbed");
            damaged.extend(step.damaged.iter().map(|(key, _)| *key));
            cursor = step.cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(
            damaged,
            self.model.damaged.keys().copied().collect(),
            "scrub"
        );
    }
}

fn short(content: &Option<Content>) -> Option<Vec<(usize, Vec<u8>)>> {
    let blocks = content.as_ref()?.iter();
    Some(
        blocks
            .map(|block| (block.len(), block[..block.len().min(4)].to_vec()))
            .collect(),
    )
}

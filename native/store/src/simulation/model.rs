//! What a drive must hold: a map of what was acknowledged, and of what a crash leaves open.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::step::Target;
use crate::disk::sim::Rng;
use crate::types::{Block, ShardKey};

/// The blocks of a shard.
pub type Content = Vec<Bytes>;

pub fn random_block(rng: &mut Rng, len: u64) -> Block {
    let bytes: Vec<u8> = std::iter::repeat_with(|| rng.word().to_le_bytes())
        .flatten()
        .take(len as usize)
        .collect();
    Block::new(Bytes::from(bytes))
}

/// All states that are right; one unless an operation ended without an answer.
#[derive(Clone, Debug)]
pub struct Possible<T>(pub Vec<Option<T>>);

impl<T> Default for Possible<T> {
    fn default() -> Self {
        Self(vec![None])
    }
}

impl<T: PartialEq> Possible<T> {
    pub fn acknowledged(&mut self, state: Option<T>) {
        self.0 = vec![state];
    }

    pub fn unanswered(&mut self, state: Option<T>) {
        if !self.0.contains(&state) {
            self.0.push(state);
        }
    }
}

#[derive(Default)]
pub struct Model {
    pub shards: BTreeMap<ShardKey, Possible<Content>>,
    /// Lowest and highest value that the generation may have.
    pub generations: BTreeMap<u64, (u64, u64)>,
    pub marks: BTreeMap<String, Possible<String>>,
    /// Shards of which a bit was turned, and where.
    pub damaged: BTreeMap<ShardKey, Target>,
    /// All that ever was in a shard.
    pub older: BTreeMap<ShardKey, Vec<Content>>,
}

impl Model {
    pub fn generation(&self, pg: u64) -> u64 {
        self.generations.get(&pg).map_or(0, |(low, _)| *low)
    }

    pub fn told_generation(&mut self, pg: u64, generation: u64, acknowledged: bool) {
        let (low, high) = self.generations.entry(pg).or_default();
        *high = (*high).max(generation);
        if acknowledged {
            *low = (*low).max(generation);
        }
    }
}

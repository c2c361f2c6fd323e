//! From operations to records: what each writes, given the index and the operations before it in the same batch.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::Core;
use super::stream::check_block;
use crate::format::record::{Header, Kind, checksums_len, encode_mark};
use crate::index::Index;
use crate::index::entry::Loc;
use crate::limits::{
    MAX_DELETE_KEYS, MAX_MARK_NAME_BYTES, MAX_MARK_VALUE_BYTES, SHARED_SHARD_BYTES,
};
use crate::types::{Block, Result, ShardKey, StoreError};

/// A change that goes through the log.
#[derive(Clone, Debug)]
pub enum Op {
    /// A whole shard of one block.
    Put {
        key: ShardKey,
        generation: u64,
        block: Block,
    },
    /// A shard whose blocks are durable in their segment becomes known.
    Seal {
        generation: u64,
        stream: SealedStream,
    },
    /// All of them, or, if one generation is too low, none.
    Delete {
        keys: Vec<(ShardKey, u64)>,
    },
    /// From now on lower generations are refused.
    Generation {
        pg: u64,
        generation: u64,
    },
    Mark {
        name: String,
        value: String,
    },
    /// Compaction: a record moves, if it still counts where it lies.
    Move(Box<Moved>),
}

#[derive(Clone, Copy, Debug)]
pub struct SealedStream {
    pub key: ShardKey,
    pub id: u64,
    pub salt: u64,
    pub blocks: u32,
    pub block_bytes: u32,
    pub bytes: u64,
}

#[derive(Clone, Debug)]
pub struct Moved {
    pub from: Loc,
    pub header: Header,
    /// Checksums without the mask of the old place (Shard), or the payload (Mark).
    pub tail: Vec<u8>,
    pub crcs: Box<[u32]>,
    pub data: Bytes,
}

/// A record to be written. Number, batch and place are still missing.
pub struct Planned {
    pub header: Header,
    pub tail: Tail,
    pub data: Bytes,
}

pub enum Tail {
    None,
    /// To be masked with the place.
    Crcs(Box<[u32]>),
    Bytes(Vec<u8>),
}

impl Planned {
    fn bare(header: Header) -> Self {
        Self {
            header,
            tail: Tail::None,
            data: Bytes::new(),
        }
    }
}

/// The index as it will be after the operations planned so far.
pub struct View<'a> {
    index: &'a Index,
    /// Epoch of the segment that the batch goes to.
    epoch: u64,
    /// Of shards that the batch touches: the epoch of the segment that holds their record.
    shards: HashMap<ShardKey, Option<u64>>,
    generations: HashMap<u64, u64>,
    /// Keys that the batch removes, whether there is a record or not.
    pub removed: HashSet<ShardKey>,
    /// Streams that the batch seals.
    pub seals: Vec<u64>,
}

impl<'a> View<'a> {
    pub fn new(index: &'a Index, epoch: u64) -> Self {
        Self {
            index,
            epoch,
            shards: HashMap::new(),
            generations: HashMap::new(),
            removed: HashSet::new(),
            seals: Vec::new(),
        }
    }

    fn segment_of(&self, key: &ShardKey) -> Result<Option<u64>> {
        match self.shards.get(key) {
            Some(epoch) => Ok(*epoch),
            None => Ok(self.index.lookup(key)?.map(|entry| entry.log.epoch)),
        }
    }

    fn generation(&self, pg: u64) -> u64 {
        self.generations
            .get(&pg)
            .copied()
            .unwrap_or_else(|| self.index.generation(pg))
    }

    fn check_generation(&self, pg: u64, generation: u64) -> Result<()> {
        let current = self.generation(pg);
        if generation < current {
            Err(StoreError::StaleGeneration { current })
        } else {
            Ok(())
        }
    }

    fn raise_generation(&mut self, pg: u64, generation: u64, out: &mut Vec<Planned>) {
        if generation > self.generation(pg) {
            self.generations.insert(pg, generation);
            let mut header = Header::new(
                Kind::Generation,
                ShardKey {
                    bucket: 0,
                    blob: [0; 16],
                    pg,
                    index: 0,
                },
            );
            header.generation = generation;
            out.push(Planned::bare(header));
        }
    }

    /// The record of `key` that there is, if any, counts no more.
    fn bury(
        &mut self,
        key: ShardKey,
        generation: u64,
        now: u64,
        out: &mut Vec<Planned>,
    ) -> Result<()> {
        if let Some(target) = self.segment_of(&key)? {
            let mut header = Header::new(Kind::Tombstone, key);
            (header.generation, header.written_ms, header.target) = (generation, now, target);
            out.push(Planned::bare(header));
            self.shards.insert(key, None);
        }
        Ok(())
    }
}

impl Core {
    /// The records of one operation; none if there is nothing to do. On an error the view has not changed.
    pub(super) fn plan(&self, op: &Op, view: &mut View<'_>) -> Result<Vec<Planned>> {
        let mut out = Vec::new();
        let now = self.disk.now_ms();
        match op {
            Op::Put {
                key,
                generation,
                block,
            } => {
                check_block(block, self.shared_shard_bytes())?;
                view.check_generation(key.pg, *generation)?;
                self.admit(0)?;
                view.raise_generation(key.pg, *generation, &mut out);
                let mut header = Header::new(Kind::Shard, *key);
                (header.generation, header.written_ms) = (*generation, now);
                header.data_len = block.data.len() as u32;
                header.tail_len = checksums_len(block.data.len()) as u32;
                out.push(Planned {
                    header,
                    tail: Tail::Crcs(block.crcs.clone()),
                    data: block.data.clone(),
                });
                view.shards.insert(*key, Some(view.epoch));
            }
            Op::Seal { generation, stream } => {
                view.check_generation(stream.key.pg, *generation)?;
                // Removed by an earlier batch, or earlier in this one.
                match self.streams.lock().get_mut(&stream.id) {
                    Some(open) if !open.removed && !view.removed.contains(&stream.key) => {
                        open.sealing = true;
                    }
                    _ => return Err(StoreError::NotFound),
                }
                view.seals.push(stream.id);
                view.raise_generation(stream.key.pg, *generation, &mut out);
                let mut header = Header::new(Kind::Sealed, stream.key);
                (header.generation, header.written_ms) = (*generation, now);
                (header.block, header.data_len, header.total) =
                    (stream.blocks, stream.block_bytes, stream.bytes);
                (header.target, header.salt) = (stream.id, stream.salt);
                out.push(Planned::bare(header));
                view.shards.insert(stream.key, Some(view.epoch));
            }
            Op::Delete { keys } => {
                if keys.len() > MAX_DELETE_KEYS {
                    return Err(StoreError::Invalid(format!(
                        "{} keys in one removal",
                        keys.len()
                    )));
                }
                keys.iter()
                    .try_for_each(|(key, generation)| view.check_generation(key.pg, *generation))?;
                for (key, generation) in keys {
                    view.raise_generation(key.pg, *generation, &mut out);
                    view.bury(*key, *generation, now, &mut out)?;
                }
                view.removed.extend(keys.iter().map(|(key, _)| *key));
            }
            Op::Generation { pg, generation } => {
                view.check_generation(*pg, *generation)?;
                view.raise_generation(*pg, *generation, &mut out);
            }
            Op::Mark { name, value } => {
                if name.len() > MAX_MARK_NAME_BYTES || value.len() > MAX_MARK_VALUE_BYTES {
                    return Err(StoreError::Invalid(format!("mark {name:.40} is too long")));
                }
                out.push(planned_mark(name, value));
            }
            Op::Move(moved) => out.extend(plan_move(moved, view)?),
        }
        Ok(out)
    }

    /// The largest one-block shard that goes to a shared segment.
    pub fn shared_shard_bytes(&self) -> usize {
        SHARED_SHARD_BYTES.min(self.options.segment_bytes as usize / 4)
    }
}

fn planned_mark(name: &str, value: &str) -> Planned {
    let tail = encode_mark(name, value);
    let mut header = Header::new(
        Kind::Mark,
        ShardKey {
            bucket: 0,
            blob: [0; 16],
            pg: 0,
            index: 0,
        },
    );
    header.tail_len = tail.len() as u32;
    Planned {
        header,
        tail: Tail::Bytes(tail),
        data: Bytes::new(),
    }
}

/// The record in its new place, unless it stopped to count in the meantime.
fn plan_move(moved: &Moved, view: &mut View<'_>) -> Result<Option<Planned>> {
    let mut header = moved.header;
    let tail = match header.kind {
        Kind::Shard | Kind::Sealed => {
            let key = header.key;
            let untouched = !view.shards.contains_key(&key);
            if !untouched
                || view
                    .index
                    .lookup(&key)?
                    .is_none_or(|entry| entry.log != moved.from)
            {
                return Ok(None);
            }
            header.moved_from = moved.from.epoch;
            view.shards.insert(key, Some(view.epoch));
            if header.kind == Kind::Shard {
                Tail::Crcs(moved.crcs.clone())
            } else {
                Tail::None
            }
        }
        Kind::Tombstone => Tail::None,
        Kind::Generation => {
            let pg = header.key.pg;
            let current = view
                .index
                .generations
                .get(&pg)
                .is_some_and(|(_, log)| *log == moved.from);
            if !current || view.generations.contains_key(&pg) {
                return Ok(None);
            }
            Tail::None
        }
        Kind::Mark => {
            if !view.index.marks.values().any(|mark| mark.log == moved.from) {
                return Ok(None);
            }
            Tail::Bytes(moved.tail.clone())
        }
        Kind::Block => return Ok(None),
    };
    Ok(Some(Planned {
        header,
        tail,
        data: moved.data.clone(),
    }))
}

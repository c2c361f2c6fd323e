//! Compaction: what still counts in a mostly dead segment is written again, and the segment is used for something else.
//!
//! The order makes it safe: copies durable in the log, index on the drive without the old places, then the old segment is
//! marked free, then it may be reused. A crash anywhere in between leaves two copies, of which the index knows one.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Core;
use super::files::FileId;
use super::plan::{Moved, Op};
use super::read::units_match;
use super::rollover::Log;
use super::scan::Scan;
use crate::disk::read_exact_at;
use crate::format::checksum::Masks;
use crate::format::record::{Header, Kind, encode_mark};
use crate::format::segment::SHARED_START;
use crate::index::Shared;
use crate::index::entry::Loc;
use crate::limits::COMPACT_DEAD_PERCENT;
use crate::stats::add;
use crate::types::{CompactStep, Result, ShardKey};

/// Bytes moved with one commit: small, because foreground writes wait for it.
const MOVE_BYTES: u64 = 1024 * 1024;

#[derive(Default)]
pub struct Progress {
    /// The segment that is being emptied, and how far its records have been looked at.
    current: Option<(u64, u64)>,
    /// Segments that could not be emptied, because of damaged headers, with their live bytes then.
    stuck: Vec<(u64, u64)>,
}

impl Core {
    /// One step: frees what is wholly dead, else moves about `max_bytes` out of the segment with the most dead bytes.
    pub fn compact(&self, max_bytes: u64) -> Result<CompactStep> {
        self.check_working()?;
        let mut progress = self.compaction.lock();
        let mut step = CompactStep {
            freed_bytes: self.free_dead()?,
            ..CompactStep::default()
        };
        if step.freed_bytes == 0
            && let Some((epoch, from)) = progress
                .current
                .take()
                .or_else(|| Some((self.candidate(&progress)?, SHARED_START)))
        {
            let (moved, position) = self.empty_segment(epoch, from, max_bytes)?;
            step.moved_bytes = moved;
            match position {
                Some(position) => progress.current = Some((epoch, position)),
                None => {
                    step.freed_bytes = self.free_emptied(epoch)?;
                    let live = self
                        .index
                        .read()
                        .segments
                        .get(&epoch)
                        .map(|shared| shared.live);
                    progress.stuck.retain(|(stuck, _)| *stuck != epoch);
                    progress.stuck.extend(live.map(|live| (epoch, live)));
                }
            }
        }
        step.more = progress.current.is_some() || self.candidate(&progress).is_some();
        Ok(step)
    }

    /// Segments in which nothing counts, not even tombstones.
    fn free_dead(&self) -> Result<u64> {
        let is_dead = |shared: &Shared| {
            shared.live == 0 && shared.tombstones.is_empty() && shared.sources.is_empty()
        };
        let dead: Vec<u64> = {
            // With the log's lock: a segment that became the active one in between would seem to be dead.
            let log = self.log.lock();
            let active = active_epoch(&log);
            let index = self.index.read();
            index
                .segments
                .iter()
                .filter(|(epoch, shared)| **epoch != active && is_dead(shared))
                .map(|(epoch, _)| *epoch)
                .collect()
        };
        if dead.is_empty() {
            return Ok(0);
        }
        self.checkpoint()?;
        dead.into_iter().map(|epoch| self.free_segment(epoch)).sum()
    }

    /// After all that counts has been moved out.
    fn free_emptied(&self, epoch: u64) -> Result<u64> {
        let empty = self
            .index
            .read()
            .segments
            .get(&epoch)
            .is_some_and(|shared| shared.live == 0 && shared.sources.is_empty());
        if !empty {
            return Ok(0);
        }
        self.checkpoint()?;
        self.free_segment(epoch)
    }

    /// The segment that gives most; none if nothing is worth it.
    fn candidate(&self, progress: &Progress) -> Option<u64> {
        let threshold = if self.is_full() {
            COMPACT_DEAD_PERCENT / 2
        } else {
            COMPACT_DEAD_PERCENT
        };
        let log = self.log.lock();
        let active = active_epoch(&log);
        let index = self.index.read();
        let existing: BTreeSet<u64> = index.segments.keys().copied().collect();
        let dead_percent = |epoch: u64, shared: &Shared| {
            let used = shared.used - SHARED_START;
            let kept = shared.live + shared.tombstones.needed(epoch, &existing, index.freed);
            (used.saturating_sub(kept) * 100)
                .checked_div(used)
                .unwrap_or(100)
        };
        let is_stuck = |epoch: u64, shared: &Shared| {
            progress.stuck.contains(&(epoch, shared.live)) && shared.live > 0
        };
        let best = index
            .segments
            .iter()
            .filter(|(epoch, shared)| **epoch != active && !is_stuck(**epoch, shared))
            .map(|(epoch, shared)| (dead_percent(*epoch, shared), *epoch))
            .filter(|(percent, _)| *percent >= threshold)
            .max()?;
        // What holds older records of the same shards goes first.
        let mut epoch = best.1;
        while let Some(source) = index
            .segments
            .get(&epoch)
            .and_then(|shared| shared.sources.first())
        {
            epoch = *source;
        }
        let shared = index.segments.get(&epoch)?;
        (epoch != active && !is_stuck(epoch, shared)).then_some(epoch)
    }

    /// Moves what counts, from `from` on. Gives the bytes moved and where to go on.
    fn empty_segment(&self, epoch: u64, from: u64, max_bytes: u64) -> Result<(u64, Option<u64>)> {
        let (slot, salt, used) = match self.index.read().segments.get(&epoch) {
            Some(shared) => (shared.slot, shared.salt, shared.used),
            None => return Ok((0, None)),
        };
        let place = self.place(epoch, salt);
        let file = self.files.file(FileId::Shared(slot))?;
        let mut scan = Scan::new(file.clone(), place, from)?;
        let (mut moved, mut ops, mut waiting) = (0, Vec::new(), 0);
        while scan.position < used {
            if moved + waiting >= max_bytes {
                let position = scan.position;
                moved += self.commit_moves(&mut ops)?;
                return Ok((moved, Some(position)));
            }
            let Some((header, tail, loc)) = scan.next()? else {
                break;
            };
            if !self.counts(&header, loc, epoch)? {
                continue;
            }
            let mut data = Vec::new();
            let mut crcs: Box<[u32]> = Box::default();
            if header.kind == Kind::Shard {
                data = vec![0; header.data_len as usize];
                read_exact_at(
                    file.as_ref(),
                    &mut data,
                    u64::from(loc.offset) + header.data_offset(),
                )?;
                let masks = Masks::new(&place, &header.key, 0);
                if !units_match(&masks, 0, &data, &tail) {
                    // It moves as it is, with the checksums that say that it is damaged.
                    add(&self.stats.crc_errors, 1);
                    tracing::warn!(?header.key, "a damaged shard is being moved");
                }
                let stored = tail
                    .chunks_exact(4)
                    .map(|crc| u32::from_le_bytes(crc.try_into().expect("four bytes")));
                crcs = stored
                    .enumerate()
                    .map(|(unit, crc)| crc ^ masks.of(unit))
                    .collect();
            }
            ops.push(Op::Move(Box::new(Moved {
                from: loc,
                header,
                tail,
                crcs,
                data: Bytes::from(data),
            })));
            waiting += u64::from(loc.len);
            if waiting >= MOVE_BYTES {
                moved += self.commit_moves(&mut ops)?;
                waiting = 0;
            }
        }
        ops.extend(self.small_records_of(epoch));
        moved += self.commit_moves(&mut ops)?;
        Ok((moved, None))
    }

    /// Whether a shard, a seal or a tombstone must be kept.
    fn counts(&self, header: &Header, loc: Loc, epoch: u64) -> Result<bool> {
        self.indexed(|index| {
            Ok(match header.kind {
                Kind::Shard | Kind::Sealed => index
                    .lookup(&header.key)?
                    .is_some_and(|entry| entry.log == loc),
                // As long as a recovery could find the record that it removes.
                Kind::Tombstone => {
                    header.target != epoch && index.segments.contains_key(&header.target)
                }
                Kind::Generation | Kind::Mark | Kind::Block => false,
            })
        })
    }

    /// Generations and marks are written again from what the index knows of them.
    fn small_records_of(&self, epoch: u64) -> Vec<Op> {
        let index = self.index.read();
        let nobody = ShardKey {
            bucket: 0,
            blob: [0; 16],
            pg: 0,
            index: 0,
        };
        let generations = index
            .generations
            .iter()
            .filter(|(_, (_, log))| log.epoch == epoch)
            .map(|(pg, (generation, log))| {
                let mut header = Header::new(Kind::Generation, ShardKey { pg: *pg, ..nobody });
                header.generation = *generation;
                Moved {
                    from: *log,
                    header,
                    tail: Vec::new(),
                    crcs: Box::default(),
                    data: Bytes::new(),
                }
            });
        let marks = index
            .marks
            .iter()
            .filter(|(_, mark)| mark.log.epoch == epoch)
            .map(|(name, mark)| {
                let tail = encode_mark(name, &mark.value);
                let mut header = Header::new(Kind::Mark, nobody);
                (header.lsn, header.tail_len) = (mark.lsn, tail.len() as u32);
                Moved {
                    from: mark.log,
                    header,
                    tail,
                    crcs: Box::default(),
                    data: Bytes::new(),
                }
            });
        let mut moves: Vec<Moved> = generations.chain(marks).collect();
        moves.sort_by_key(|moved| moved.from.offset);
        moves
            .into_iter()
            .map(|moved| Op::Move(Box::new(moved)))
            .collect()
    }

    fn commit_moves(&self, ops: &mut Vec<Op>) -> Result<u64> {
        let bytes = ops
            .iter()
            .map(|op| {
                if let Op::Move(moved) = op {
                    u64::from(moved.from.len)
                } else {
                    0
                }
            })
            .sum();
        for answer in self.commit(&std::mem::take(ops)) {
            answer?;
        }
        Ok(bytes)
    }
}

/// To be compared while the log's lock is held: once a segment is not active it never is again.
fn active_epoch(log: &Log) -> u64 {
    log.active.as_ref().map_or(0, |active| active.place.epoch)
}

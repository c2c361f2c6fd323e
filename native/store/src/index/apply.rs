//! What a record of the log does to the index. The same for a commit and for recovery, so that the index is always what the
//! log says.

use super::entry::{Dedicated, Entry, Loc, key_bytes};
use super::{Index, Mark, Position};
use crate::format::record::{Header, Kind, decode_mark};
use crate::types::Result;

impl Index {
    /// Applies the record at `log`. Records are applied in the order of the log, each once.
    pub fn apply(&mut self, header: &Header, tail: &[u8], log: Loc) -> Result<()> {
        let end = u64::from(log.offset) + u64::from(log.len);
        if let Some(segment) = self.segments.get_mut(&log.epoch) {
            segment.used = segment.used.max(end);
            if header.moved_from != 0 {
                segment.sources.insert(header.moved_from);
            }
        }
        self.dirty.segments.insert(log.epoch);
        if header.moved_from != 0 && !self.segments.contains_key(&header.moved_from) {
            // Recovery: the segment it came from has been freed in the meantime.
            self.forget_source(log.epoch, header.moved_from);
        }
        match header.kind {
            Kind::Shard | Kind::Sealed => self.apply_shard(header, log)?,
            Kind::Tombstone => self.apply_tombstone(header, log)?,
            Kind::Generation => self.apply_generation(header.key.pg, header.generation, log),
            Kind::Mark => self.apply_mark(header.lsn, tail, log),
            Kind::Block => {}
        }
        self.next_lsn = self.next_lsn.max(header.lsn.max(header.batch) + 1);
        self.applied = self.applied.max(Position {
            epoch: log.epoch,
            offset: end,
        });
        Ok(())
    }

    fn apply_shard(&mut self, header: &Header, log: Loc) -> Result<()> {
        let sealed = header.kind == Kind::Sealed;
        let entry = Entry {
            log,
            lsn: header.lsn,
            written_ms: header.written_ms,
            blocks: if sealed { header.block } else { 1 },
            block_bytes: header.data_len,
            bytes: if sealed {
                header.total
            } else {
                u64::from(header.data_len)
            },
            dedicated: sealed.then_some(Dedicated {
                id: header.target,
                salt: header.salt,
            }),
        };
        let old = self.lookup(&header.key)?;
        if old.is_some_and(|old| old.lsn > entry.lsn || old == entry) {
            return Ok(());
        }
        let moved = old.is_some_and(|old| old.lsn == entry.lsn);
        if let Some(old) = old {
            self.count(old.log, false);
            if !moved {
                self.drop_shard(&old);
                // The older record must go first, or nothing would outlive this one to say that the shard was removed.
                if let Some(segment) = self
                    .segments
                    .get_mut(&log.epoch)
                    .filter(|_| old.log.epoch != log.epoch)
                {
                    segment.sources.insert(old.log.epoch);
                }
            }
        }
        self.count(log, true);
        if !moved {
            self.shards += 1;
            if let Some(dedicated) = entry.dedicated {
                self.dedicated_bytes += entry.bytes;
                self.dirty.dedicated.insert(dedicated.id, true);
                self.last_epoch = self.last_epoch.max(dedicated.id);
            }
        }
        self.recent.insert(key_bytes(&header.key), Some(entry));
        Ok(())
    }

    fn apply_tombstone(&mut self, header: &Header, log: Loc) -> Result<()> {
        let freed = self.freed;
        if let Some(segment) = self.segments.get_mut(&log.epoch) {
            segment
                .tombstones
                .add(header.target, u64::from(log.len), freed);
        }
        if let Some(old) = self.lookup(&header.key)?.filter(|old| old.lsn < header.lsn) {
            self.count(old.log, false);
            self.drop_shard(&old);
            self.recent.insert(key_bytes(&header.key), None);
        }
        Ok(())
    }

    fn apply_generation(&mut self, pg: u64, generation: u64, log: Loc) {
        match self.generations.get(&pg).copied() {
            Some((known, old)) if known > generation || old == log => return,
            Some((_, old)) => self.count(old, false),
            None => {}
        }
        self.count(log, true);
        self.generations.insert(pg, (generation, log));
        self.dirty.generations.insert(pg);
    }

    fn apply_mark(&mut self, lsn: u64, tail: &[u8], log: Loc) {
        let Some((name, value)) = decode_mark(tail) else {
            return;
        };
        match self.marks.get(&name) {
            Some(old) if old.lsn > lsn || old.log == log => return,
            Some(old) => self.count(old.log, false),
            None => {}
        }
        self.count(log, true);
        self.dirty.marks.insert(name.clone());
        self.marks.insert(name, Mark { value, lsn, log });
    }

    /// The shard is gone; its record has been counted off already.
    fn drop_shard(&mut self, old: &Entry) {
        self.shards -= 1;
        if let Some(dedicated) = old.dedicated {
            self.dedicated_bytes -= old.bytes;
            self.dirty.dedicated.insert(dedicated.id, false);
            self.unlinks.push(dedicated.id);
        }
    }

    fn count(&mut self, log: Loc, live: bool) {
        if let Some(segment) = self.segments.get_mut(&log.epoch) {
            segment.live = if live {
                segment.live + u64::from(log.len)
            } else {
                segment.live - u64::from(log.len)
            };
            self.dirty.segments.insert(log.epoch);
        }
    }

    fn forget_source(&mut self, epoch: u64, source: u64) {
        if let Some(segment) = self.segments.get_mut(&epoch) {
            segment.sources.remove(&source);
        }
    }
}

//! Reading: every byte that leaves has been verified.

use std::io;

use bytes::Bytes;

use super::Core;
use super::files::FileId;
use super::stream::block_data_offset;
use crate::buffers;
use crate::format::checksum::{Masks, Place, crc32c};
use crate::format::record::{HEADER_BYTES, Header, Kind, block_stride, checksums_len};
use crate::format::segment::DEDICATED_START;
use crate::index::entry::Entry;
use crate::limits::UNIT_BYTES;
use crate::stats::add;
use crate::types::{DamageReason, Result, ShardKey, StoreError};

/// Up to this distance between a header and the range that is wanted both are read at once.
const READ_THROUGH_BYTES: u64 = 64 * 1024;

/// Where a block lies.
struct Site {
    file: FileId,
    place: Place,
    offset: u64,
    data_offset: u64,
    kind: Kind,
}

/// Why a read gave nothing.
enum Missed {
    Damaged(DamageReason),
    /// Only the drive has it.
    NotCached,
    /// A valid record lies there, and it is not the one.
    OtherRecord,
}

/// A record, for those who damage it: offsets and lengths.
#[cfg(test)]
pub struct RecordSite {
    pub path: String,
    pub dedicated: bool,
    pub header: (u64, u64),
    pub data: (u64, u64),
}

impl Core {
    /// Verified bytes `[offset, offset + len)` of one block. A generation that is higher than what the drive was told must
    /// have been told to it before (see [`super::Op::Generation`]).
    pub fn read(
        &self,
        key: &ShardKey,
        generation: u64,
        block: u32,
        offset: u32,
        len: u32,
    ) -> Result<Bytes> {
        let read = self.try_read(key, generation, block, offset, len, false)?;
        Ok(read.expect("a read that waits gives all or an error"))
    }

    /// The same, but `None` if it would have to wait for the drive.
    pub fn read_cached(
        &self,
        key: &ShardKey,
        generation: u64,
        block: u32,
        offset: u32,
        len: u32,
    ) -> Result<Option<Bytes>> {
        self.try_read(key, generation, block, offset, len, true)
    }

    fn try_read(
        &self,
        key: &ShardKey,
        generation: u64,
        block: u32,
        offset: u32,
        len: u32,
        cached: bool,
    ) -> Result<Option<Bytes>> {
        loop {
            self.check_index()?;
            let (entry, site, _pin) = {
                let index = self.index.read();
                let current = index.generation(key.pg);
                if generation < current {
                    return Err(StoreError::StaleGeneration { current });
                }
                let entry = self.trusted(index.lookup(key))?;
                let entry = entry.ok_or(StoreError::NotFound)?;
                let salt = index
                    .segments
                    .get(&entry.log.epoch)
                    .map(|shared| (shared.salt, shared.slot));
                (
                    entry,
                    self.site(&entry, block, salt),
                    self.files.pin(entry.log.epoch),
                )
            };
            let end = u64::from(offset) + u64::from(len);
            if block >= entry.blocks || end > u64::from(entry.block_len(block)) {
                return Err(StoreError::Invalid(format!(
                    "bytes {offset}..{end} of block {block} of a shard of {} blocks",
                    entry.blocks
                )));
            }
            let result = match site {
                Some(site) => {
                    self.read_site(key, &entry, block, &site, offset..offset + len, cached)
                }
                None => Err(Missed::Damaged(DamageReason::Missing)),
            };
            match result {
                Ok(bytes) => {
                    add(&self.stats.reads, 1);
                    add(&self.stats.read_bytes, u64::from(len));
                    return Ok(Some(bytes));
                }
                Err(Missed::NotCached) => return Ok(None),
                // Not damage if the shard was moved, replaced or removed in the meantime.
                Err(_) if self.indexed(|index| index.lookup(key))? != Some(entry) => {}
                // The checksum binds the header to its place: no other record can lie there.
                Err(Missed::OtherRecord) => {
                    return Err(self.index_lost("an entry names the record of another shard"));
                }
                Err(Missed::Damaged(reason)) => {
                    let counter = if reason == DamageReason::Io {
                        &self.stats.io_errors
                    } else {
                        &self.stats.crc_errors
                    };
                    add(counter, 1);
                    return Err(StoreError::Corrupt {
                        key: *key,
                        block,
                        reason,
                    });
                }
            }
        }
    }

    #[cfg(test)]
    pub fn entry_of(&self, key: &ShardKey) -> Option<Entry> {
        self.index
            .read()
            .lookup(key)
            .expect("the index is readable")
    }

    /// Where the record with the first block lies.
    #[cfg(test)]
    pub fn data_of(&self, key: &ShardKey) -> Option<RecordSite> {
        let entry = self.entry_of(key)?;
        let salt = self
            .index
            .read()
            .segments
            .get(&entry.log.epoch)
            .map(|shared| (shared.salt, shared.slot));
        let site = self.site(&entry, 0, salt)?;
        let len = entry.block_len(0);
        Some(RecordSite {
            path: site.file.path(),
            dedicated: entry.dedicated.is_some(),
            header: (
                site.offset,
                (HEADER_BYTES + checksums_len(len as usize)) as u64,
            ),
            data: (site.offset + site.data_offset, u64::from(len)),
        })
    }

    fn site(&self, entry: &Entry, block: u32, shared: Option<(u64, u64)>) -> Option<Site> {
        if let Some(dedicated) = entry.dedicated {
            return Some(Site {
                file: FileId::Dedicated(dedicated.id),
                place: self.place(dedicated.id, dedicated.salt),
                offset: DEDICATED_START + block_stride(entry.block_bytes) * u64::from(block),
                data_offset: block_data_offset(entry.block_bytes),
                kind: Kind::Block,
            });
        }
        let (salt, slot) = shared?;
        let mut header = Header::new(
            Kind::Shard,
            ShardKey {
                bucket: 0,
                blob: [0; 16],
                pg: 0,
                index: 0,
            },
        );
        header.tail_len = checksums_len(entry.bytes as usize) as u32;
        Some(Site {
            file: FileId::Shared(slot),
            place: self.place(entry.log.epoch, salt),
            offset: u64::from(entry.log.offset),
            data_offset: header.data_offset(),
            kind: Kind::Shard,
        })
    }

    fn read_site(
        &self,
        key: &ShardKey,
        entry: &Entry,
        block: u32,
        site: &Site,
        range: std::ops::Range<u32>,
        cached: bool,
    ) -> Result<Bytes, Missed> {
        let (offset, len) = (range.start, range.end - range.start);
        let file = self
            .files
            .file(site.file)
            .map_err(|error| Missed::Damaged(damage_of(&error)))?;
        let block_len = entry.block_len(block) as usize;
        let head_len = HEADER_BYTES + checksums_len(block_len);
        let first = offset as usize / UNIT_BYTES;
        let from = first * UNIT_BYTES;
        let to = (offset as usize + len as usize)
            .next_multiple_of(UNIT_BYTES)
            .min(block_len)
            .max(from);
        let fill = |bytes: usize, at: u64| {
            let mut buffer = self.options.buffers.take(buffers::size(bytes));
            let read = match cached {
                true => file.read_cached_at(&mut buffer[..bytes], at),
                false => crate::disk::read_exact_at(file.as_ref(), &mut buffer[..bytes], at)
                    .map(|()| true),
            };
            match read {
                Ok(true) => Ok(Bytes::from_owner(buffer).slice(..bytes)),
                Ok(false) => Err(Missed::NotCached),
                Err(error) => Err(Missed::Damaged(damage_of(&error))),
            }
        };

        let data_at = site.data_offset as usize;
        let (head, data) = if from as u64 <= READ_THROUGH_BYTES {
            let buffer = fill(data_at + to, site.offset)?;
            (buffer.slice(..head_len), buffer.slice(data_at + from..))
        } else {
            let at = site.offset + site.data_offset + from as u64;
            (fill(head_len, site.offset)?, fill(to - from, at)?)
        };

        let (header, crcs) = Header::decode(&site.place, site.offset, &head)
            .ok_or(Missed::Damaged(DamageReason::Crc))?;
        if header.kind != site.kind
            || header.key != *key
            || header.block != block
            || header.data_len as usize != block_len
        {
            return Err(Missed::OtherRecord);
        }
        let wanted = &crcs[first * 4..];
        if !units_match(&Masks::new(&site.place, key, block), first, &data, wanted) {
            return Err(Missed::Damaged(DamageReason::Crc));
        }
        let start = offset as usize - from;
        Ok(data.slice(start..start + len as usize))
    }
}

/// Whether `data`, which begins with unit `first`, has the masked checksums that begin `crcs`.
pub fn units_match(masks: &Masks, first: usize, data: &[u8], crcs: &[u8]) -> bool {
    let units = data.chunks(UNIT_BYTES).enumerate();
    crcs.len() >= checksums_len(data.len())
        && units.zip(crcs.chunks_exact(4)).all(|((at, unit), stored)| {
            let stored = u32::from_le_bytes(stored.try_into().expect("four bytes"));
            crc32c(unit) ^ masks.of(first + at) == stored
        })
}

fn damage_of(error: &io::Error) -> DamageReason {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => DamageReason::Missing,
        _ => DamageReason::Io,
    }
}

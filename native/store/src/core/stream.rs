//! Shards of many blocks: each in a segment of its own, written as the blocks come, made durable at the end, and made known
//! by a Sealed record in the log.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;

use super::Core;
use super::files::FileId;
use super::plan::SealedStream;
use crate::disk::File;
use crate::format::checksum::{Masks, Place};
use crate::format::record::{Header, Kind, block_stride, checksums_len};
use crate::format::segment::{DEDICATED_START, SegmentHeader, SegmentKind};
use crate::limits::{MAX_BLOCK_BYTES, MAX_SHARD_BLOCKS, PAGE_BYTES, UNIT_BYTES};
use crate::stats::add;
use crate::types::{Block, Result, ShardKey, StoreError};

/// What others may know of a shard that is being written.
#[derive(Clone, Copy, Debug)]
pub struct OpenStream {
    pub key: ShardKey,
    pub written_ms: u64,
    pub blocks: u32,
    pub bytes: u64,
    /// The shard was deleted while it was being written: it must not be sealed.
    pub removed: bool,
    /// Its Sealed record is on its way to the log: until that has come to its end, nobody can say whether the file is needed.
    pub sealing: bool,
    /// Given up in that time; who writes the record sees to the file.
    pub dropped: bool,
}

/// A shard that is being written. Forget it with [`Core::drop_stream`] unless it was sealed.
pub struct Stream {
    pub key: ShardKey,
    pub generation: u64,
    pub block_bytes: u32,
    pub id: u64,
    place: Place,
    written_ms: u64,
    blocks_hint: u32,
    file: Mutex<Option<(Arc<dyn File>, u64)>>,
}

impl Core {
    /// Registers a shard that will be written; nothing reaches the drive yet.
    pub fn begin_stream(
        &self,
        key: ShardKey,
        generation: u64,
        blocks_hint: Option<u32>,
        block_bytes: usize,
    ) -> Result<Stream> {
        self.check_working()?;
        if block_bytes == 0 || block_bytes > MAX_BLOCK_BYTES {
            return Err(StoreError::Invalid(format!(
                "blocks of {block_bytes} bytes"
            )));
        }
        let current = self.generation(key.pg);
        if generation < current {
            return Err(StoreError::StaleGeneration { current });
        }
        let blocks_hint = blocks_hint.unwrap_or(1).clamp(1, MAX_SHARD_BLOCKS);
        self.admit(block_stride(block_bytes as u32) * u64::from(blocks_hint))?;
        let id = self.next_epoch.fetch_add(1, Relaxed);
        let written_ms = self.disk.now_ms();
        self.streams.lock().insert(
            id,
            OpenStream {
                key,
                written_ms,
                blocks: 0,
                bytes: 0,
                removed: false,
                sealing: false,
                dropped: false,
            },
        );
        let place = self.place(id, self.disk.random());
        Ok(Stream {
            key,
            generation,
            block_bytes: block_bytes as u32,
            id,
            place,
            written_ms,
            blocks_hint,
            file: Mutex::default(),
        })
    }

    /// Writes one block to its place; in any order, from any thread. Not durable yet.
    pub fn append(&self, stream: &Stream, number: u32, block: &Block) -> Result<()> {
        self.check_working()?;
        check_block(block, stream.block_bytes as usize)?;
        if number >= MAX_SHARD_BLOCKS {
            return Err(StoreError::Invalid("too many blocks".into()));
        }
        if number >= stream.blocks_hint {
            self.admit(block_stride(stream.block_bytes))?;
        }
        let written = self
            .stream_file(stream)
            .and_then(|file| write_block(file.as_ref(), stream, number, block));
        let bytes = written.map_err(|error| self.write_failed("writing a block", &error))?;
        add(&self.stats.writes, 1);
        add(&self.stats.written_bytes, bytes);
        if let Some(open) = self.streams.lock().get_mut(&stream.id) {
            open.blocks += 1;
            open.bytes += block.data.len() as u64;
        }
        Ok(())
    }

    /// Makes the blocks durable. The shard is not known yet: that takes a commit of [`super::Op::Seal`] with what this gives.
    /// `blocks` and `bytes` are those of the whole shard.
    pub fn sync_stream(&self, stream: &Stream, blocks: u32, bytes: u64) -> Result<SealedStream> {
        self.check_working()?;
        let synced = self.stream_file(stream).and_then(|file| {
            self.timed_sync(file.as_ref())?;
            let number = stream.file.lock().as_ref().map_or(0, |(_, number)| *number);
            self.dir.sync(self.disk.as_ref(), number)?;
            Ok(file)
        });
        let file = synced.map_err(|error| self.fail("fsync of a shard", &error))?;
        self.check_in_place(file.as_ref())?;
        Ok(SealedStream {
            key: stream.key,
            id: stream.id,
            salt: stream.place.salt,
            blocks,
            block_bytes: stream.block_bytes,
            bytes,
        })
    }

    /// The end of a stream, sealed or not: if it is not sealed its file goes.
    pub fn drop_stream(&self, stream: &Stream) {
        {
            let mut streams = self.streams.lock();
            match streams.get_mut(&stream.id) {
                Some(open) if open.sealing => {
                    open.dropped = true;
                    return;
                }
                _ => drop(streams.remove(&stream.id)),
            }
        }
        let written = stream.file.lock().take().is_some();
        if written {
            self.remove_unless_sealed(stream.id);
        }
    }

    /// The record of a seal that [`super::Op::Seal`] planned is in the log and the index, or it has failed.
    pub(super) fn seal_ended(&self, id: u64) {
        let dropped = {
            let mut streams = self.streams.lock();
            match streams.get_mut(&id) {
                Some(open) if open.dropped => streams.remove(&id).is_some(),
                Some(open) => {
                    open.sealing = false;
                    false
                }
                None => false,
            }
        };
        if dropped {
            self.remove_unless_sealed(id);
        }
    }

    fn remove_unless_sealed(&self, id: u64) {
        let needed = self.indexed(|index| index.holds_dedicated(id));
        if !needed.unwrap_or(true) && self.check_working().is_ok() {
            let path = FileId::Dedicated(id).path();
            if let Err(error) = self.disk.remove(&path) {
                tracing::warn!(%error, path, "cannot remove an aborted shard");
            }
        }
    }

    fn stream_file(&self, stream: &Stream) -> std::io::Result<Arc<dyn File>> {
        let mut slot = stream.file.lock();
        if let Some((file, _)) = slot.as_ref() {
            return Ok(file.clone());
        }
        let file = self.disk.create(&FileId::Dedicated(stream.id).path())?;
        let number = self.dir.created();
        *slot = Some((file.clone(), number));
        if stream.blocks_hint > 1
            && let Err(error) = file.reserve(
                DEDICATED_START + block_stride(stream.block_bytes) * u64::from(stream.blocks_hint),
            )
            && crate::disk::is_no_space(&error)
        {
            return Err(error);
        }
        let header = SegmentHeader {
            kind: SegmentKind::Dedicated,
            place: stream.place,
            size: 0,
            created_ms: stream.written_ms,
        };
        file.write_at(&[IoSlice::new(&header.encode())], 0)?;
        Ok(file)
    }

    pub(super) fn timed_sync(&self, file: &dyn File) -> std::io::Result<()> {
        let start = std::time::Instant::now();
        let result = file.sync();
        self.stats.fsync.record(start.elapsed());
        add(&self.stats.fsyncs, 1);
        result
    }
}

fn write_block(
    file: &dyn File,
    stream: &Stream,
    number: u32,
    block: &Block,
) -> std::io::Result<u64> {
    let offset = DEDICATED_START + block_stride(stream.block_bytes) * u64::from(number);
    let mut header = Header::new(Kind::Block, stream.key);
    header.generation = stream.generation;
    header.written_ms = stream.written_ms;
    header.block = number;
    header.data_len = block.data.len() as u32;
    header.tail_len = checksums_len(block.data.len()) as u32;
    let tail = mask(&stream.place, &stream.key, number, &block.crcs);
    let mut head = Vec::with_capacity(PAGE_BYTES as usize);
    header.encode(&stream.place, offset, &tail, &mut head);
    // A block that is shorter than the others lies where theirs lie: behind a header of the same length.
    let data_offset = block_data_offset(stream.block_bytes);
    head.resize(data_offset as usize, 0);
    let padding = vec![
        0u8;
        (block.data.len() as u64).next_multiple_of(PAGE_BYTES) as usize
            - block.data.len()
    ];
    file.write_at(
        &[
            IoSlice::new(&head),
            IoSlice::new(&block.data),
            IoSlice::new(&padding),
        ],
        offset,
    )?;
    Ok(data_offset + (block.data.len() + padding.len()) as u64)
}

/// Where the data of a block begins in its record, in a segment whose blocks have `block_bytes`.
pub fn block_data_offset(block_bytes: u32) -> u64 {
    block_stride(block_bytes) - u64::from(block_bytes).next_multiple_of(PAGE_BYTES)
}

/// The unit checksums as they are stored.
pub fn mask(place: &Place, key: &ShardKey, block: u32, crcs: &[u32]) -> Vec<u8> {
    let masks = Masks::new(place, key, block);
    crcs.iter()
        .enumerate()
        .flat_map(|(unit, crc)| (crc ^ masks.of(unit)).to_le_bytes())
        .collect()
}

pub fn check_block(block: &Block, max_bytes: usize) -> Result<()> {
    let len = block.data.len();
    if len > max_bytes {
        return Err(StoreError::Invalid(format!(
            "a block of {len} bytes where {max_bytes} are the most"
        )));
    }
    if block.crcs.len() != len.div_ceil(UNIT_BYTES) {
        return Err(StoreError::Invalid(format!(
            "{} checksums for a block of {len} bytes",
            block.crcs.len()
        )));
    }
    Ok(())
}

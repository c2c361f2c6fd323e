//! The store of one drive: a folder that holds shards of blobs, strictly durable, found again after any crash.
//!
//! [`DriveStore`] is the store with its threads; [`core::Core`] is the same without any, for tests and simulation; below it
//! everything is asked of a [`disk::Disk`].
//!
//! # The folder, format version 1
//!
//! | name | what |
//! |---|---|
//! | `anvil-drive.json` | `format` (`anvil-drive`), `formatVersion`, `deploymentId`, `driveId` (32 hex digits each) |
//! | `lock` | flock'ed by the process that has the drive open |
//! | `failed` | only after a failed write or fsync: why. The drive is not opened again until a person has removed it |
//! | `segments/s-XXXXXXXX.seg` | shared segment number X: the log |
//! | `segments/d-XXXXXXXXXXXXXXXX.seg` | dedicated segment with id X: the blocks of one streamed shard |
//! | `index.redb` | the index; a cache that is rebuilt from the segments if it is lost |
//!
//! All integers are little-endian.
//!
//! # Checksums
//!
//! A *place* is (drive id, epoch, salt): one use of one file. Epochs rise over the life of the drive (a dedicated segment's id
//! is one), the salt is random. Two kinds of checksums are bound to it, so that bytes of another drive, of an earlier use of
//! the file or of another offset never look valid:
//!
//! - *Header checksum*: CRC-64/NVME over drive id (16 bytes), epoch, salt, offset in the file (8 each), then the header's bytes.
//! - *Unit checksum*: CRC-32C of each 32 KiB of a block's data (the last unit may be shorter), XORed with a mask. With
//!   `mix(x)` = SplitMix64's step (add 0x9e3779b97f4a7c15, then its finalizer), `s = 0`, and for each word w of
//!   [drive id low, high, epoch, salt, blob low, high, bucket, pg, index << 32 | block]: `s = mix(s ^ w)`; the mask of unit u is
//!   the upper half of `mix(s + u + 1)`. CRCs thus come from whoever had the bytes first, and no byte is hashed twice.
//!
//! # Segment header (one page of 4096 bytes)
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 4 | `ANVS` |
//! | 4 | 4 | format version |
//! | 8 | 8 | 1 shared, 2 dedicated, 3 free (a shared one whose records count no more) |
//! | 16 | 16 | drive id |
//! | 32 | 8 | epoch |
//! | 40 | 8 | salt |
//! | 48 | 8 | length of the file (shared), 0 (dedicated) |
//! | 56 | 8 | time of this use, ms since the epoch |
//! | 64 | 8 | header checksum with epoch, salt and offset 0 as seed |
//! | 72 | | zeros |
//!
//! A shared segment has two copies, at 0 and 4096 (the one with the higher epoch, then kind, counts), and records from 8192 on;
//! it is 64 MiB long and used again; a new one reads as zeros. A dedicated one has one copy and blocks from 4096 on.
//!
//! # Record
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 4 | `ANVR` |
//! | 4 | 2 | version of the record, 1 |
//! | 6 | 1 | kind: 1 Shard, 2 Sealed, 3 Tombstone, 4 Generation, 5 Mark, 6 Block |
//! | 7 | 1 | shard index |
//! | 8 | 8 | bucket |
//! | 16 | 16 | blob |
//! | 32 | 8 | placement group |
//! | 40 | 8 | its generation |
//! | 48 | 8 | lsn: number of the operation; kept when compaction moves the record |
//! | 56 | 8 | batch: first lsn of the group commit that wrote this copy |
//! | 64 | 8 | written (of a shard: sealed), ms since the epoch |
//! | 72 | 4 | block number; Sealed: number of blocks |
//! | 76 | 4 | bytes of data; Sealed: length of all blocks but the last |
//! | 80 | 8 | Tombstone: epoch of the segment with the record it removes; Sealed: id of the dedicated segment |
//! | 88 | 8 | Sealed: salt of the dedicated segment |
//! | 96 | 8 | epoch of the segment this was moved from, 0 if none |
//! | 104 | 8 | Sealed: bytes of all blocks |
//! | 112 | 4 | length of the tail |
//! | 116 | 4 | zeros |
//! | 120 | 8 | header checksum over bytes 0..120 and the tail |
//! | 128 | | tail: masked unit checksums (4 bytes each); Mark: length of the name (4), name, value |
//!
//! The data of a Shard follows at the next multiple of 64, the next record at the next multiple of 64 behind it. A group commit
//! begins and ends at a multiple of 4096: no write touches a page with acknowledged bytes. In a dedicated segment block n lies
//! at `4096 + n * stride`, header and data each beginning on a page, with the stride of a block of full length.
//!
//! # The log
//!
//! Records in shared segments in order of (epoch, offset) are the log, and the log is the truth. A group commit is one write
//! and one fdatasync. A streamed shard is made durable in its own file (fdatasync, fsync of the folder), then a Sealed record
//! makes it known; a dedicated file that no Sealed record names is removed at the next start. A Shard or Sealed record
//! replaces an older one of its key; a Tombstone removes one with a lower lsn. The highest generation of each placement group
//! is a Generation record.
//!
//! **Recovery** applies the records behind the position that the index stands for. It looks for headers in steps of 64 bytes,
//! so a damaged header hides one record only. Of the last batch, which may be torn, records whose data does not match are
//! wiped out (their header is zeroed); in earlier batches they were acknowledged and are reported as damage. What rots in the
//! very last batch between write and crash is therefore taken for torn.
//!
//! **The index file** is read whole at each open and every page of it compared with its checksum; if one does not match it is
//! rebuilt from the segments, before anything is concluded from what it does not name. Each pass of scrubbing begins with the
//! same look at it. An index that is found to be unreadable or wrong takes the drive out until it is opened again; its file is
//! removed then.
//!
//! **Freeing a segment**: what counts is written again; the index is brought up to date durably; the header says free, durably;
//! only then is the file used again, and not while someone reads it. A tombstone counts as long as the segment of the record
//! it removes exists. A segment that holds newer copies of records of another one (moved, or replaced) is not freed before
//! that one. So even a recovery without index never brings a removed shard back.
//!
//! **Failure**: after a failed write or fsync nothing more is written to the drive, apart from the word in `failed`. ENOSPC is
//! no failure: the segment is cut behind its last acknowledged record, and shards are refused until there is room.

pub mod buffers;
pub mod core;
pub mod disk;
mod driver;
mod folder;
pub mod format;
mod index;
pub mod limits;
#[cfg(test)]
mod simulation;
mod stats;
mod types;

pub use driver::{DriveStore, ShardWriter};
pub use types::*;

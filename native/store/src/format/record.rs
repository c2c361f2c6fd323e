//! The header of a record.

use super::checksum::{Place, header_checksum};
use super::{Fields, align};
use crate::limits::{self, RECORD_ALIGN_BYTES, UNIT_BYTES};
use crate::types::ShardKey;

/// Length of the fixed part; unit checksums (or the payload of a mark) follow it.
pub const HEADER_BYTES: usize = 128;
const MAGIC: u32 = 0x5256_4e41; // "ANVR"
const VERSION: u16 = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A whole one-block shard, its data behind the header.
    Shard = 1,
    /// A shard in a dedicated segment is complete.
    Sealed = 2,
    /// The shard written before this is gone.
    Tombstone = 3,
    /// The highest generation of a placement group.
    Generation = 4,
    /// A small value by name.
    Mark = 5,
    /// One block of a shard, in a dedicated segment.
    Block = 6,
}

impl Kind {
    fn from(value: u8) -> Option<Self> {
        [
            Self::Shard,
            Self::Sealed,
            Self::Tombstone,
            Self::Generation,
            Self::Mark,
            Self::Block,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == value)
    }
}

/// The fixed part of a record. What a field means for each kind stands in the documentation of the crate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub kind: Kind,
    pub key: ShardKey,
    pub generation: u64,
    /// Number of the operation, never used again; kept when the record is moved.
    pub lsn: u64,
    /// The first lsn of the group commit that wrote this copy of the record.
    pub batch: u64,
    pub written_ms: u64,
    /// Block number; of a Sealed record the number of blocks.
    pub block: u32,
    /// Bytes of data behind the header; of a Sealed record the length of all its blocks but the last.
    pub data_len: u32,
    /// Tombstone: epoch of the segment that holds the record it removes. Sealed: id of the dedicated segment.
    pub target: u64,
    /// Sealed: salt of the dedicated segment.
    pub salt: u64,
    /// Epoch of the segment that the record was moved from; 0 if it was never moved.
    pub moved_from: u64,
    /// Sealed: bytes of all blocks.
    pub total: u64,
    /// Bytes between the fixed part and the data.
    pub tail_len: u32,
}

impl Header {
    pub fn new(kind: Kind, key: ShardKey) -> Self {
        Self {
            kind,
            key,
            generation: 0,
            lsn: 0,
            batch: 0,
            written_ms: 0,
            block: 0,
            data_len: 0,
            target: 0,
            salt: 0,
            moved_from: 0,
            total: 0,
            tail_len: 0,
        }
    }

    fn has_data(&self) -> bool {
        matches!(self.kind, Kind::Shard | Kind::Block)
    }

    /// Where the data begins, from the beginning of the record.
    pub fn data_offset(&self) -> u64 {
        let to = if self.kind == Kind::Block {
            limits::PAGE_BYTES
        } else {
            RECORD_ALIGN_BYTES
        };
        align(HEADER_BYTES as u64 + u64::from(self.tail_len), to)
    }

    /// Length of the whole record with its padding.
    pub fn record_len(&self) -> u64 {
        let to = if self.kind == Kind::Block {
            limits::PAGE_BYTES
        } else {
            RECORD_ALIGN_BYTES
        };
        self.data_offset()
            + if self.has_data() {
                align(u64::from(self.data_len), to)
            } else {
                0
            }
    }

    /// Appends the fixed part and the tail, without padding, as it must lie at `offset` of `place`.
    pub fn encode(&self, place: &Place, offset: u64, tail: &[u8], out: &mut Vec<u8>) {
        debug_assert_eq!(tail.len(), self.tail_len as usize);
        let start = out.len();
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, self.key.index]);
        out.extend_from_slice(&self.key.bucket.to_le_bytes());
        out.extend_from_slice(&self.key.blob);
        for word in [
            self.key.pg,
            self.generation,
            self.lsn,
            self.batch,
            self.written_ms,
        ] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.block.to_le_bytes());
        out.extend_from_slice(&self.data_len.to_le_bytes());
        for word in [self.target, self.salt, self.moved_from, self.total] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.tail_len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        debug_assert_eq!(out.len() - start, HEADER_BYTES - 8);
        let checksum = header_checksum(place, offset, &[&out[start..], tail]);
        out.extend_from_slice(&checksum.to_le_bytes());
        out.extend_from_slice(tail);
    }

    /// The length of the tail that a header seems to have, before anything is verified: how much must be read to verify it.
    /// `None` if this is no header at all.
    pub fn peek(bytes: &[u8]) -> Option<usize> {
        let word =
            |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if bytes.len() < HEADER_BYTES || word(0) != MAGIC {
            return None;
        }
        let tail = word(112) as usize;
        (tail <= limits::MAX_MARK_VALUE_BYTES + limits::MAX_MARK_NAME_BYTES + 8).then_some(tail)
    }

    /// The header and its tail at the beginning of `bytes`, if they are valid at `offset` of `place`.
    pub fn decode<'a>(place: &Place, offset: u64, bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let tail_len = Self::peek(bytes)?;
        let tail = bytes.get(HEADER_BYTES..HEADER_BYTES + tail_len)?;
        let stored = u64::from_le_bytes(
            bytes[HEADER_BYTES - 8..HEADER_BYTES]
                .try_into()
                .expect("eight bytes"),
        );
        if header_checksum(place, offset, &[&bytes[..HEADER_BYTES - 8], tail]) != stored {
            return None;
        }
        let mut fields = Fields(&bytes[4..]);
        if fields.u16() != VERSION {
            return None;
        }
        let kind = Kind::from(fields.u8())?;
        let index = fields.u8();
        let key = ShardKey {
            bucket: fields.u64(),
            blob: fields.bytes(),
            pg: fields.u64(),
            index,
        };
        let header = Self {
            kind,
            key,
            generation: fields.u64(),
            lsn: fields.u64(),
            batch: fields.u64(),
            written_ms: fields.u64(),
            block: fields.u32(),
            data_len: fields.u32(),
            target: fields.u64(),
            salt: fields.u64(),
            moved_from: fields.u64(),
            total: fields.u64(),
            tail_len: tail_len as u32,
        };
        Some((header, tail))
    }
}

/// Bytes of the unit checksums of a block.
pub fn checksums_len(data_len: usize) -> usize {
    data_len.div_ceil(UNIT_BYTES) * 4
}

/// The bytes that one block of `block_bytes` takes in a dedicated segment.
pub fn block_stride(block_bytes: u32) -> u64 {
    let mut header = Header::new(
        Kind::Block,
        ShardKey {
            bucket: 0,
            blob: [0; 16],
            pg: 0,
            index: 0,
        },
    );
    header.data_len = block_bytes;
    header.tail_len = checksums_len(block_bytes as usize) as u32;
    header.record_len()
}

/// Payload of a Mark record: length of the name (u32), name, value.
pub fn encode_mark(name: &str, value: &str) -> Vec<u8> {
    [
        &(name.len() as u32).to_le_bytes(),
        name.as_bytes(),
        value.as_bytes(),
    ]
    .concat()
}

pub fn decode_mark(tail: &[u8]) -> Option<(String, String)> {
    let (len, rest) = tail.split_at_checked(4)?;
    let (name, value) = rest.split_at_checked(u32::from_le_bytes(len.try_into().ok()?) as usize)?;
    Some((
        String::from_utf8(name.to_vec()).ok()?,
        String::from_utf8(value.to_vec()).ok()?,
    ))
}

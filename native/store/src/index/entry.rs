//! What the index keeps for a shard, and the bytes of it.

use crate::format::Fields;
use crate::types::ShardKey;

pub const KEY_BYTES: usize = 33;
pub const ENTRY_BYTES: usize = 80;
pub type KeyBytes = [u8; KEY_BYTES];

/// Bucket, blob, PG and index, big-endian: their order is the order of [`ShardKey`].
pub fn key_bytes(key: &ShardKey) -> KeyBytes {
    let mut out = [0; KEY_BYTES];
    out[..8].copy_from_slice(&key.bucket.to_be_bytes());
    out[8..24].copy_from_slice(&key.blob);
    out[24..32].copy_from_slice(&key.pg.to_be_bytes());
    out[32] = key.index;
    out
}

pub fn key_of(bytes: &KeyBytes) -> ShardKey {
    let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    ShardKey {
        bucket: word(0),
        blob: bytes[8..24].try_into().expect("sixteen bytes"),
        pg: word(24),
        index: bytes[32],
    }
}

/// A place in the log: a record of `len` bytes at `offset` of the shared segment `epoch`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Loc {
    pub epoch: u64,
    pub offset: u32,
    pub len: u32,
}

/// The segment of its own that a shard has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dedicated {
    /// Names the file, and is the epoch of its checksums.
    pub id: u64,
    pub salt: u64,
}

/// A sealed shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its Shard or Sealed record.
    pub log: Loc,
    pub lsn: u64,
    pub written_ms: u64,
    pub blocks: u32,
    /// Length of all blocks but the last.
    pub block_bytes: u32,
    /// Of all blocks.
    pub bytes: u64,
    pub dedicated: Option<Dedicated>,
}

impl Entry {
    /// Length of one block; 0 beyond the last.
    pub fn block_len(&self, block: u32) -> u32 {
        let start = u64::from(block) * u64::from(self.block_bytes);
        if block >= self.blocks {
            0
        } else if block + 1 == self.blocks {
            (self.bytes - start) as u32
        } else {
            self.block_bytes
        }
    }

    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        let dedicated = self.dedicated.unwrap_or(Dedicated { id: 0, salt: 0 });
        let sizes = u64::from(self.log.offset) | u64::from(self.log.len) << 32;
        let blocks = u64::from(self.blocks) | u64::from(self.block_bytes) << 32;
        let words = [
            self.log.epoch,
            sizes,
            self.lsn,
            self.written_ms,
            blocks,
            self.bytes,
            dedicated.id,
            dedicated.salt,
        ];
        for (at, word) in words.iter().enumerate() {
            out[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        let check = crate::format::checksum::crc32c(&out[..64]);
        out[64..68].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// `None` if the bytes have been damaged.
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let entry = Self {
            log: Loc {
                epoch: fields.u64(),
                offset: fields.u32(),
                len: fields.u32(),
            },
            lsn: fields.u64(),
            written_ms: fields.u64(),
            blocks: fields.u32(),
            block_bytes: fields.u32(),
            bytes: fields.u64(),
            dedicated: Some(Dedicated {
                id: fields.u64(),
                salt: fields.u64(),
            })
            .filter(|dedicated| dedicated.id != 0),
        };
        (fields.u32() == crate::format::checksum::crc32c(&bytes[..64])).then_some(entry)
    }
}

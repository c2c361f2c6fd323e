//! Checksums that hold only in one place: of the drive, of the segment's present use, of the shard.

use crc_fast::{CrcAlgorithm, Digest, checksum};

use crate::types::ShardKey;

pub fn crc32c(data: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, data) as u32
}

/// One use of one segment of one drive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub drive: [u8; 16],
    pub epoch: u64,
    pub salt: u64,
}

/// CRC-64/NVME over the drive id, the epoch, the salt and the offset of a header, and then the header's bytes.
pub fn header_checksum(place: &Place, offset: u64, parts: &[&[u8]]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    let mut seed = [0u8; 40];
    seed[..16].copy_from_slice(&place.drive);
    seed[16..24].copy_from_slice(&place.epoch.to_le_bytes());
    seed[24..32].copy_from_slice(&place.salt.to_le_bytes());
    seed[32..].copy_from_slice(&offset.to_le_bytes());
    digest.update(&seed);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// The masks of the unit CRCs of one block: `stored = crc32c(unit) ^ masks.of(unit)`.
#[derive(Clone, Copy)]
pub struct Masks(u64);

impl Masks {
    pub fn new(place: &Place, key: &ShardKey, block: u32) -> Self {
        let half = |bytes: &[u8; 16], from: usize| {
            u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight bytes"))
        };
        let words = [
            half(&place.drive, 0),
            half(&place.drive, 8),
            place.epoch,
            place.salt,
            half(&key.blob, 0),
            half(&key.blob, 8),
            key.bucket,
            key.pg,
            u64::from(key.index) << 32 | u64::from(block),
        ];
        Self(words.iter().fold(0, |state, word| mix(state ^ word)))
    }

    pub fn of(self, unit: usize) -> u32 {
        (mix(self.0.wrapping_add(unit as u64 + 1)) >> 32) as u32
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014), with its increment.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

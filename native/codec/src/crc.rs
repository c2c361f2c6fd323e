//! Cyclic redundancy checks: CRC-32C for blocks on drives, and the three CRCs that S3 clients may ask for.
//!
//! Parameters as in the catalogue of parametrised CRC algorithms: CRC-32/ISO-HDLC, CRC-32/ISCSI and CRC-64/NVME.

use crc_fast::{CrcAlgorithm, Digest};

use crate::UNIT_BYTES;

/// A checksum of S3's `x-amz-checksum-crc*` family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
}

impl Algorithm {
    /// Bytes of a value: 4 or 8.
    pub const fn value_bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
        }
    }

    const fn parameters(self) -> CrcAlgorithm {
        match self {
            Algorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
            Algorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
            Algorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        }
    }
}

/// A checksum under way.
#[derive(Clone)]
pub struct State {
    algorithm: Algorithm,
    digest: Digest,
}

impl State {
    pub fn new(algorithm: Algorithm) -> State {
        State {
            algorithm,
            digest: Digest::new(algorithm.parameters()),
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn update(&mut self, data: &[u8]) {
        self.digest.update(data);
    }

    /// The checksum of what has been fed so far; more may follow.
    pub fn finish(&self) -> u64 {
        self.digest.finalize()
    }
}

/// The checksum of `data`. 32-bit values are in the low half.
pub fn checksum(algorithm: Algorithm, data: &[u8]) -> u64 {
    crc_fast::checksum(algorithm.parameters(), data)
}

/// CRC-32C of `data`.
pub fn crc32c(data: &[u8]) -> u32 {
    checksum(Algorithm::Crc32c, data) as u32
}

/// CRC-32C of each [`UNIT_BYTES`] of `block`; the last unit may be shorter. Empty for an empty block.
pub fn crc32c_units(block: &[u8]) -> Box<[u32]> {
    block.chunks(UNIT_BYTES).map(crc32c).collect()
}

/// The checksum of a concatenation, from the checksums of its two parts and the length of the second one in bytes.
pub fn combine(algorithm: Algorithm, first: u64, second: u64, second_len: u64) -> u64 {
    crc_fast::checksum_combine(algorithm.parameters(), first, second, second_len)
}

/// A value as S3 encodes it before base64: big-endian, 4 or 8 bytes.
pub fn to_be_bytes(algorithm: Algorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - algorithm.value_bytes()..].to_vec()
}

/// The reverse of [`to_be_bytes`]; `None` if the length is wrong.
pub fn from_be_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<u64> {
    (bytes.len() == algorithm.value_bytes()).then(|| {
        bytes
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Algorithm; 3] = [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme];

    /// Bit by bit, from the definition: reflected polynomial, all-ones start, complemented result.
    fn reference(algorithm: Algorithm, data: &[u8]) -> u64 {
        let (polynomial, ones) = match algorithm {
            Algorithm::Crc32 => (0xedb8_8320, 0xffff_ffff),
            Algorithm::Crc32c => (0x82f6_3b78, 0xffff_ffff),
            Algorithm::Crc64Nvme => (0x9a6c_9329_ac4b_c9b5, u64::MAX),
        };
        let mut crc: u64 = ones;
        for &byte in data {
            crc ^= u64::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ polynomial
                } else {
                    crc >> 1
                };
            }
        }
        crc ^ ones
    }

    #[test]
    fn catalogue_check_values() {
        let check = ALL.map(|algorithm| checksum(algorithm, b"123456789"));
        assert_eq!(check, [0xcbf4_3926, 0xe306_9283, 0xae8b_1486_0a79_9888]);
    }

    #[test]
    fn big_endian_bytes_of_s3() {
        assert_eq!(
            to_be_bytes(Algorithm::Crc32c, 0xe306_9283),
            [0xe3, 0x06, 0x92, 0x83]
        );
        assert_eq!(
            to_be_bytes(Algorithm::Crc64Nvme, 1),
            [0, 0, 0, 0, 0, 0, 0, 1]
        );
        assert_eq!(from_be_bytes(Algorithm::Crc32, &[1, 2, 3]), None);
    }

    #[test]
    fn units_of_a_block() {
        let block: Vec<u8> = (0..UNIT_BYTES * 2 + 5).map(|i| i as u8).collect();
        let units = crc32c_units(&block);
        assert_eq!(units.len(), 3);
        assert_eq!(units[2], crc32c(&block[UNIT_BYTES * 2..]));
        assert!(crc32c_units(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_the_definition(data in prop::collection::vec(any::<u8>(), 0..3000), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(data.len() + 1);
            for algorithm in ALL {
                let expected = reference(algorithm, &data);
                prop_assert_eq!(checksum(algorithm, &data), expected);
                let mut state = State::new(algorithm);
                state.update(&data[..cut]);
                state.update(&data[cut..]);
                prop_assert_eq!(state.finish(), expected);
                let (first, second) = (checksum(algorithm, &data[..cut]), checksum(algorithm, &data[cut..]));
                prop_assert_eq!(combine(algorithm, first, second, (data.len() - cut) as u64), expected);
                prop_assert_eq!(from_be_bytes(algorithm, &to_be_bytes(algorithm, expected)), Some(expected));
            }
        }
    }
}

//! Small things that run on the caller's thread: digests of bytes in hand, and bodies that live in a metadata row.

use anvil_codec::aead::{AEAD_UNIT_BYTES, BlobKey, DataKey, TAG_BYTES};
use anvil_codec::crc;
use anvil_codec::hash::{self, FastDigest};

use crate::error::{Error, Kind, Result};
use crate::id::Id128;
use crate::layout;

/// What [`digest`] can compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmallDigest {
    Hash(hash::Algorithm),
    Crc(crc::Algorithm),
    Fast,
}

impl SmallDigest {
    /// Reads `md5`, `sha1`, `sha256`, `crc32`, `crc32c`, `crc64nvme` or `fast`.
    pub fn parse(name: &str) -> Option<SmallDigest> {
        Some(match name {
            "md5" => SmallDigest::Hash(hash::Algorithm::Md5),
            "sha1" => SmallDigest::Hash(hash::Algorithm::Sha1),
            "sha256" => SmallDigest::Hash(hash::Algorithm::Sha256),
            "crc32" => SmallDigest::Crc(crc::Algorithm::Crc32),
            "crc32c" => SmallDigest::Crc(crc::Algorithm::Crc32c),
            "crc64nvme" => SmallDigest::Crc(crc::Algorithm::Crc64Nvme),
            "fast" => SmallDigest::Fast,
            _ => return None,
        })
    }
}

/// The raw digest; CRCs big-endian, as S3 encodes them.
pub fn digest(algorithm: SmallDigest, data: &[u8]) -> Vec<u8> {
    match algorithm {
        SmallDigest::Hash(algorithm) => hash::digest(algorithm, data).to_vec(),
        SmallDigest::Crc(algorithm) => crc::to_be_bytes(algorithm, crc::checksum(algorithm, data)),
        SmallDigest::Fast => {
            let mut fast = FastDigest::new();
            fast.update(data);
            fast.finish().to_vec()
        }
    }
}

/// CRC of a concatenation, from and to big-endian bytes.
pub fn crc_combine(
    algorithm: crc::Algorithm,
    first: &[u8],
    second: &[u8],
    second_len: u64,
) -> Result<Vec<u8>> {
    let parse = |bytes| {
        crc::from_be_bytes(algorithm, bytes)
            .ok_or_else(|| Error::internal("a CRC of another length"))
    };
    Ok(crc::to_be_bytes(
        algorithm,
        crc::combine(algorithm, parse(first)?, parse(second)?, second_len),
    ))
}

/// Encrypts a small body as an upload would: ciphertext, then a tag for each 64 KiB unit. An empty body stays empty.
pub fn seal_inline(data_key: &[u8; 32], blob: &Id128, data: &[u8]) -> Vec<u8> {
    let key = DataKey::from_bytes(data_key).blob_key(blob);
    let mut payload = vec![0; layout::payload_bytes(data.len(), true)];
    let (sealed, tags) = payload.split_at_mut(data.len());
    sealed.copy_from_slice(data);
    seal_units(sealed, tags, &key, 0);
    payload
}

/// Encrypts in place, unit by unit; `tags` has room for the tag of each.
pub(crate) fn seal_units(data: &mut [u8], tags: &mut [u8], key: &BlobKey, first_unit: u64) {
    let units = (first_unit..).zip(data.chunks_mut(AEAD_UNIT_BYTES));
    for ((number, unit), tag) in units.zip(tags.chunks_exact_mut(TAG_BYTES)) {
        tag.copy_from_slice(&key.seal(number, unit));
    }
}

/// Opens what [`seal_inline`] or an upload sealed.
pub fn open_inline(data_key: &[u8; 32], blob: &Id128, sealed: &[u8]) -> Result<Vec<u8>> {
    let wrong = || {
        Error::new(
            Kind::WrongEncryptionKey,
            "the body does not open with this key",
        )
    };
    let units = sealed.len().div_ceil(AEAD_UNIT_BYTES + TAG_BYTES);
    let plain_bytes = sealed
        .len()
        .checked_sub(units * TAG_BYTES)
        .ok_or_else(wrong)?;
    if layout::payload_bytes(plain_bytes, true) != sealed.len() {
        return Err(wrong());
    }
    let key = DataKey::from_bytes(data_key).blob_key(blob);
    let (data, tags) = sealed.split_at(plain_bytes);
    let mut data = data.to_vec();
    for ((number, unit), tag) in (0..)
        .zip(data.chunks_mut(AEAD_UNIT_BYTES))
        .zip(tags.chunks_exact(TAG_BYTES))
    {
        let tag = tag.try_into().map_err(|_| wrong())?;
        key.open(number, unit, tag).map_err(|_| wrong())?;
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bodies_open_with_their_key_and_blob_only() {
        let (key, blob) = ([7; 32], [3; 16]);
        for len in [
            0,
            1,
            4096,
            AEAD_UNIT_BYTES,
            AEAD_UNIT_BYTES + 1,
            3 * AEAD_UNIT_BYTES,
        ] {
            let plain: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let sealed = seal_inline(&key, &blob, &plain);
            assert_eq!(sealed.len(), layout::payload_bytes(len, true));
            assert_eq!(open_inline(&key, &blob, &sealed), Ok(plain));
            if len > 0 {
                assert!(open_inline(&[8; 32], &blob, &sealed).is_err());
                assert!(open_inline(&key, &[4; 16], &sealed).is_err());
                assert!(open_inline(&key, &blob, &sealed[1..]).is_err());
            }
        }
    }

    #[test]
    fn crcs_combine() {
        for name in ["crc32", "crc32c", "crc64nvme"] {
            let Some(SmallDigest::Crc(algorithm)) = SmallDigest::parse(name) else {
                panic!("{name}")
            };
            let of = |data: &[u8]| digest(SmallDigest::Crc(algorithm), data);
            assert_eq!(
                crc_combine(algorithm, &of(b"hello "), &of(b"world"), 5),
                Ok(of(b"hello world"))
            );
            assert!(crc_combine(algorithm, b"", b"", 0).is_err());
        }
    }
}

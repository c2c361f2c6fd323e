//! AES-256-GCM (NIST SP 800-38D) of blobs, unit by unit, under a key that HKDF-SHA-256 (RFC 5869) derives per blob.
//!
//! A unit's nonce is its number within the blob, and the blob id is part of both the derived key and the associated data:
//! units cannot be swapped, dropped in the middle or moved to another blob without the tag failing. A nonce repeats only if
//! the same unit of the same blob is sealed twice under one data key; blobs are written once, so that happens only for
//! identical bytes.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};

/// Plaintext bytes under one tag; the last unit of a blob may be shorter.
pub const AEAD_UNIT_BYTES: usize = 64 * 1024;
/// Bytes of a unit's authentication tag. Ciphertext is as long as plaintext.
pub const TAG_BYTES: usize = 16;

const SALT: &[u8] = b"anvil blob key v1";
const BLOB_BYTES: usize = 16;
const AAD_BYTES: usize = BLOB_BYTES + 8;

/// The tag does not fit the data: another key, another blob, another unit, or changed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongKeyOrTampered;

impl fmt::Display for WrongKeyOrTampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong encryption key, or the data were changed")
    }
}

impl std::error::Error for WrongKeyOrTampered {}

/// The data key of one object, from which the key of each of its blobs is derived.
#[derive(Clone)]
pub struct DataKey {
    extracted: Prk,
}

impl DataKey {
    pub fn from_bytes(bytes: &[u8; 32]) -> DataKey {
        DataKey {
            extracted: Salt::new(HKDF_SHA256, SALT).extract(bytes),
        }
    }

    /// The key of one blob. Deriving it costs a quarter of what sealing a unit does: keep it for the
    /// units of a stripe.
    pub fn blob_key(&self, blob: &[u8; BLOB_BYTES]) -> BlobKey {
        let info: [&[u8]; 1] = [blob];
        let key = self
            .extracted
            .expand(&info, &AES_256_GCM)
            .expect("32 bytes are within HKDF's bound");
        BlobKey {
            key: LessSafeKey::new(UnboundKey::from(key)),
            blob: *blob,
        }
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// Seals and opens the units of one blob. `Send + Sync`: units may be worked on in parallel.
pub struct BlobKey {
    key: LessSafeKey,
    blob: [u8; BLOB_BYTES],
}

impl BlobKey {
    /// Encrypts `data` in place and returns its tag. `unit` counts over the whole blob.
    ///
    /// # Panics
    /// If `data` is longer than [`AEAD_UNIT_BYTES`].
    pub fn seal(&self, unit: u64, data: &mut [u8]) -> [u8; TAG_BYTES] {
        assert!(
            data.len() <= AEAD_UNIT_BYTES,
            "a unit holds at most {AEAD_UNIT_BYTES} bytes"
        );
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(unit), self.associated_data(unit), data)
            .expect("a unit is far below the length limit of GCM");
        tag.as_ref().try_into().expect("a GCM tag has 16 bytes")
    }

    /// Decrypts `data` in place. On error `data` holds nothing of use.
    pub fn open(
        &self,
        unit: u64,
        data: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), WrongKeyOrTampered> {
        self.key
            .open_in_place_separate_tag(nonce(unit), self.associated_data(unit), tag, data)
            .map(|_| ())
            .map_err(|_| WrongKeyOrTampered)
    }

    fn associated_data(&self, unit: u64) -> Aad<[u8; AAD_BYTES]> {
        let mut bytes = [0; AAD_BYTES];
        bytes[..BLOB_BYTES].copy_from_slice(&self.blob);
        bytes[BLOB_BYTES..].copy_from_slice(&unit.to_be_bytes());
        Aad::from(bytes)
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobKey(..)")
    }
}

/// [`BlobKey::seal`] for a single unit; derives the blob's key each time.
pub fn seal(key: &DataKey, blob: &[u8; 16], unit: u64, data: &mut [u8]) -> [u8; TAG_BYTES] {
    key.blob_key(blob).seal(unit, data)
}

/// [`BlobKey::open`] for a single unit; derives the blob's key each time.
pub fn open(
    key: &DataKey,
    blob: &[u8; 16],
    unit: u64,
    data: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> Result<(), WrongKeyOrTampered> {
    key.blob_key(blob).open(unit, data, tag)
}

/// 96 bits: the unit's number, big-endian, in the low 64.
fn nonce(unit: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&unit.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_that_names_a_unit_is_bound() {
        let (key, other) = (DataKey::from_bytes(&[7; 32]), DataKey::from_bytes(&[8; 32]));
        let plain = b"the quick brown fox".to_vec();
        let mut sealed = plain.clone();
        let tag = seal(&key, &[1; 16], 3, &mut sealed);
        assert_ne!(sealed, plain);
        assert_eq!(
            open(&other, &[1; 16], 3, &mut sealed.clone(), &tag),
            Err(WrongKeyOrTampered)
        );
        assert_eq!(
            open(&key, &[2; 16], 3, &mut sealed.clone(), &tag),
            Err(WrongKeyOrTampered)
        );
        assert_eq!(
            open(&key, &[1; 16], 4, &mut sealed.clone(), &tag),
            Err(WrongKeyOrTampered)
        );
        assert_eq!(
            open(&key, &[1; 16], 3, &mut sealed[..5].to_vec(), &tag),
            Err(WrongKeyOrTampered)
        );
        assert_eq!(open(&key, &[1; 16], 3, &mut sealed, &tag), Ok(()));
        assert_eq!(sealed, plain);
    }

    #[test]
    fn keys_do_not_show_in_debug_output() {
        let key = DataKey::from_bytes(&[7; 32]);
        assert_eq!(
            format!("{key:?} {:?}", key.blob_key(&[0; 16])),
            "DataKey(..) BlobKey(..)"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn opens_what_was_sealed_and_nothing_else(
            plain in prop::collection::vec(any::<u8>(), 0..2000), key in any::<[u8; 32]>(), blob in any::<[u8; 16]>(),
            unit in any::<u64>(), flip in any::<prop::sample::Index>(), bit in 0..8u32,
        ) {
            let key = DataKey::from_bytes(&key).blob_key(&blob);
            let mut whole = plain.clone();
            let tag = key.seal(unit, &mut whole);
            whole.extend_from_slice(&tag);
            let mut bad = whole.clone();
            bad[flip.index(whole.len())] ^= 1 << bit;
            for (bytes, expected) in [(whole, Ok(())), (bad, Err(WrongKeyOrTampered))] {
                let (data, tag) = bytes.split_at(plain.len());
                let mut data = data.to_vec();
                prop_assert_eq!(key.open(unit, &mut data, tag.try_into().unwrap()), expected);
                if expected.is_ok() {
                    prop_assert_eq!(&data, &plain);
                }
            }
        }
    }
}

//! The plaintext of a range of one stripe.

use std::ops::Range;
use std::sync::Arc;

use anvil_codec::aead::{AEAD_UNIT_BYTES, BlobKey, TAG_BYTES};
use bytes::Bytes;

use super::fetch::fetch;
use super::source::Source;
use crate::error::{Error, Kind, Result};
use crate::layout::{self, Piece};

/// Verified plaintext `range` of a stripe, in order, in as many slices as it came in.
pub(super) async fn plain(
    source: &Arc<Source>,
    stripe: u64,
    range: Range<usize>,
) -> Result<Vec<Bytes>> {
    match &source.blob_key {
        None => {
            let pieces = source.layout.pieces(stripe, range).collect();
            fetch(source, stripe, pieces, 0).await
        }
        Some(key) => Ok(vec![decrypted(source, key, stripe, range).await?]),
    }
}

/// Reads the AEAD units that hold the range, and their tags.
async fn decrypted(
    source: &Arc<Source>,
    key: &BlobKey,
    stripe: u64,
    range: Range<usize>,
) -> Result<Bytes> {
    let plain_bytes = source.layout.plain_bytes(stripe);
    let units = range.start / AEAD_UNIT_BYTES..range.end.div_ceil(AEAD_UNIT_BYTES);
    let cipher = units.start * AEAD_UNIT_BYTES..(units.end * AEAD_UNIT_BYTES).min(plain_bytes);
    let tags = plain_bytes + units.start * TAG_BYTES..plain_bytes + units.end * TAG_BYTES;
    let pieces: Vec<Piece> = if cipher.end == tags.start {
        source
            .layout
            .pieces(stripe, cipher.start..tags.end)
            .collect()
    } else {
        let layout = &source.layout;
        layout
            .pieces(stripe, cipher.clone())
            .chain(layout.pieces(stripe, tags.clone()))
            .collect()
    };
    let mut payload = Vec::with_capacity(cipher.len() + tags.len());
    for bytes in fetch(source, stripe, pieces, 0).await? {
        payload.extend_from_slice(&bytes);
    }
    let (data, tags) = payload.split_at_mut(cipher.len());
    let first = layout::first_unit(stripe, source.layout.stripe_bytes) + units.start as u64;
    for ((number, unit), tag) in (first..)
        .zip(data.chunks_mut(AEAD_UNIT_BYTES))
        .zip(tags.chunks_exact(TAG_BYTES))
    {
        let tag = tag
            .try_into()
            .map_err(|_| Error::internal("a tag of another length"))?;
        key.open(number, unit, tag).map_err(|_| {
            Error::new(
                Kind::WrongEncryptionKey,
                "the blob does not open with this key",
            )
        })?;
    }
    Ok(Bytes::from(payload).slice(range.start - cipher.start..range.end - cipher.start))
}

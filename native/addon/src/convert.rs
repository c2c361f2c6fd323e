//! Values as they cross: ids as hex, sizes as numbers, keys as bytes.

use anvil_engine::Error;
use anvil_engine::target::ShardKey;
use napi_derive::napi;

use crate::guard::Fallible;

/// Largest integer that a JavaScript number holds exactly.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// A number that counts something.
pub(crate) fn size(what: &str, value: f64) -> Fallible<u64> {
    if (0.0..=MAX_SAFE_INTEGER).contains(&value) && value.fract() == 0.0 {
        Ok(value as u64)
    } else {
        Err(Error::internal(format!("{what} is no size: {value}")))
    }
}

/// 32 bytes, or none.
pub(crate) fn key(what: &str, bytes: &[u8]) -> Fallible<Option<[u8; 32]>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let key = bytes
        .try_into()
        .map_err(|_| Error::internal(format!("{what} has {} bytes, not 32", bytes.len())))?;
    Ok(Some(key))
}

/// 32 bytes.
pub(crate) fn full_key(what: &str, bytes: &[u8]) -> Fallible<[u8; 32]> {
    key(what, bytes)?.ok_or_else(|| Error::internal(format!("{what} is empty")))
}

/// Names one shard.
#[napi(object)]
pub struct ShardName {
    pub bucket_id: f64,
    pub blob_id: String,
    pub pg_id: f64,
    pub index: u32,
}

impl ShardName {
    pub(crate) fn key(&self) -> Fallible<ShardKey> {
        Ok(ShardKey {
            bucket: size("bucketId", self.bucket_id)?,
            blob: anvil_engine::id::parse("blobId", &self.blob_id)?,
            pg: size("pgId", self.pg_id)?,
            index: u8::try_from(self.index).map_err(|_| Error::internal("index is above 255"))?,
        })
    }
}

impl From<ShardKey> for ShardName {
    fn from(key: ShardKey) -> ShardName {
        ShardName {
            bucket_id: key.bucket as f64,
            blob_id: anvil_engine::id::hex(&key.blob),
            pg_id: key.pg as f64,
            index: key.index.into(),
        }
    }
}

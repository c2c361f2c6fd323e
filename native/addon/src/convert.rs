//! Values as they cross: ids as hex, sizes as numbers, keys as bytes.

use anvil_engine::target::ShardKey;
use anvil_engine::{Error, RequestId};
use napi::bindgen_prelude::{
    FromNapiValue, ToNapiValue, TypeName, Uint8ArraySlice, ValidateNapiValue, ValueType,
};
use napi::{check_status, sys};
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

/// The id of a client's request, or none.
pub(crate) fn request(id: Option<&str>) -> Fallible<Option<RequestId>> {
    let Some(id) = id else { return Ok(None) };
    let request = RequestId::parse(id);
    request
        .map(Some)
        .ok_or_else(|| Error::internal(format!("requestId is no request id: {id:?}")))
}

/// A few bytes taken out of a Uint8Array, without a reference to it that would have to be collected.
pub struct Bytes(pub(crate) Vec<u8>);

impl TypeName for Bytes {
    fn type_name() -> &'static str {
        "Uint8Array"
    }

    fn value_type() -> ValueType {
        ValueType::Object
    }
}

impl ValidateNapiValue for Bytes {}

impl FromNapiValue for Bytes {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> napi::Result<Bytes> {
        // SAFETY: by the caller.
        let slice = unsafe { Uint8ArraySlice::from_napi_value(env, value)? };
        Ok(Bytes(slice.to_vec()))
    }
}

/// A Buffer in JavaScript's own memory: for small bodies cheaper than one that refers to ours.
pub struct Copied(pub(crate) Vec<u8>);

impl TypeName for Copied {
    fn type_name() -> &'static str {
        "Buffer"
    }

    fn value_type() -> ValueType {
        ValueType::Object
    }
}

impl ToNapiValue for Copied {
    unsafe fn to_napi_value(env: sys::napi_env, bytes: Copied) -> napi::Result<sys::napi_value> {
        let (mut data, mut buffer) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: `env` is good by the caller; pointer and length are those of the vector, which is only read.
        let status = unsafe {
            let from = bytes.0.as_ptr().cast();
            sys::napi_create_buffer_copy(env, bytes.0.len(), from, &mut data, &mut buffer)
        };
        check_status!(status, "cannot make a Buffer")?;
        Ok(buffer)
    }
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

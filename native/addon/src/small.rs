//! Small things on the calling thread.

use anvil_engine::{Error, SmallDigest};
use napi::bindgen_prelude::{Buffer, Uint8Array};
use napi_derive::napi;

use crate::convert::{full_key, size};
use crate::guard;

#[napi(
    ts_args_type = "algorithm: 'md5' | 'sha1' | 'sha256' | 'crc32' | 'crc32c' | 'crc64nvme' | 'fast', data: Uint8Array"
)]
pub fn digest(algorithm: String, data: Uint8Array) -> napi::Result<Buffer> {
    guard::now(|| Ok(anvil_engine::digest(parse(&algorithm)?, &data).into()))
}

/// CRC of a concatenation from the CRCs of its parts. Big-endian bytes as S3 encodes them.
#[napi(
    ts_args_type = "algorithm: 'crc32' | 'crc32c' | 'crc64nvme', first: Uint8Array, second: Uint8Array, secondLength: number"
)]
pub fn crc_combine(
    algorithm: String,
    first: Uint8Array,
    second: Uint8Array,
    second_length: f64,
) -> napi::Result<Buffer> {
    guard::now(|| {
        let SmallDigest::Crc(crc) = parse(&algorithm)? else {
            return Err(Error::internal(format!("{algorithm} is no CRC")));
        };
        let length = size("secondLength", second_length)?;
        Ok(anvil_engine::crc_combine(crc, &first, &second, length)?.into())
    })
}

/// Opens an inline body that an upload encrypted.
#[napi]
pub fn open_inline(
    data_key: Uint8Array,
    blob_id: String,
    data: Uint8Array,
) -> napi::Result<Buffer> {
    guard::now(|| {
        let blob = anvil_engine::id::parse("blobId", &blob_id)?;
        Ok(anvil_engine::open_inline(&full_key("dataKey", &data_key)?, &blob, &data)?.into())
    })
}

/// The reverse. One body per blob id and key: a second, different one under the same would share its nonces.
#[napi]
pub fn seal_inline(
    data_key: Uint8Array,
    blob_id: String,
    data: Uint8Array,
) -> napi::Result<Buffer> {
    guard::now(|| {
        let blob = anvil_engine::id::parse("blobId", &blob_id)?;
        Ok(anvil_engine::seal_inline(&full_key("dataKey", &data_key)?, &blob, &data).into())
    })
}

fn parse(algorithm: &str) -> guard::Fallible<SmallDigest> {
    SmallDigest::parse(algorithm)
        .ok_or_else(|| Error::internal(format!("no such algorithm: {algorithm}")))
}

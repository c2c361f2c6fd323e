//! Reads.

use anvil_engine::{BlobSource as Source, Error, ReadOptions};
use napi::Env;
use napi::bindgen_prelude::{Buffer, PromiseRaw, Uint8ArraySlice};
use napi_derive::napi;

use crate::convert::{Bytes, key, request, size};
use crate::guard::{self, Fallible};
use crate::process::engine;

/// Longest range that `readAll` takes.
const READ_ALL_MAX_BYTES: u64 = 1 << 20;

#[napi(object, object_to_js = false)]
pub struct BlobSource {
    pub bucket_id: f64,
    pub blob_id: String,
    pub pg_id: f64,
    pub size: f64,
    pub stripe_bytes: f64,
    pub encrypted: bool,
    #[napi(ts_type = "Uint8Array")]
    pub data_key: Bytes,
    pub request_id: Option<String>,
}

impl BlobSource {
    pub(crate) fn source(&self) -> Fallible<Source> {
        Ok(Source {
            bucket: size("bucketId", self.bucket_id)?,
            blob: anvil_engine::id::parse("blobId", &self.blob_id)?,
            pg: size("pgId", self.pg_id)?,
            size: size("size", self.size)?,
            stripe_bytes: size("stripeBytes", self.stripe_bytes)? as usize,
            encrypted: self.encrypted,
            data_key: key("dataKey", &self.data_key.0)?,
            request: request(self.request_id.as_deref())?,
        })
    }
}

#[napi(object, object_to_js = false)]
pub struct ReadOpen {
    pub offset: f64,
    pub length: f64,
    pub bucket_id: f64,
    pub blob_id: String,
    pub pg_id: f64,
    pub size: f64,
    pub stripe_bytes: f64,
    pub encrypted: bool,
    #[napi(ts_type = "Uint8Array")]
    pub data_key: Bytes,
    pub request_id: Option<String>,
}

impl ReadOpen {
    fn options(self) -> Fallible<ReadOptions> {
        let (offset, length) = (size("offset", self.offset)?, size("length", self.length)?);
        let source = BlobSource {
            bucket_id: self.bucket_id,
            blob_id: self.blob_id,
            pg_id: self.pg_id,
            size: self.size,
            stripe_bytes: self.stripe_bytes,
            encrypted: self.encrypted,
            data_key: self.data_key,
            request_id: self.request_id,
        };
        Ok(ReadOptions {
            source: source.source()?,
            offset,
            length,
        })
    }
}

#[napi]
pub fn open_read(options: ReadOpen) -> napi::Result<f64> {
    guard::now(|| Ok(engine()?.open_read(options.options()?)? as f64))
}

/// Resolves with the number of verified plaintext bytes that wait in native memory; 0 at the end.
#[napi]
pub fn read_ready<'env>(env: &'env Env, handle: f64) -> napi::Result<PromiseRaw<'env, f64>> {
    guard::begun(
        env,
        async move { engine()?.read(handle as u64)?.ready().await },
        |bytes| bytes as f64,
    )
}

/// Copies at most target.length of the bytes that wait; how many.
#[napi]
pub fn read_copy(handle: f64, mut target: Uint8ArraySlice<'_>) -> napi::Result<f64> {
    guard::now(|| {
        let read = engine()?.read(handle as u64)?;
        // Safety: the array is JavaScript's, and this is its thread: nobody else reads or writes it during the call.
        let target = unsafe { target.as_mut() };
        Ok(read.copy(target) as f64)
    })
}

/// No-op for a handle that is gone.
#[napi]
pub fn read_close(handle: f64) -> napi::Result<()> {
    guard::now(|| {
        engine()?.close_read(handle as u64);
        Ok(())
    })
}

/// For small ranges: open, read and close in one.
#[napi]
pub fn read_all<'env>(env: &'env Env, options: ReadOpen) -> napi::Result<PromiseRaw<'env, Buffer>> {
    let options = guard::now(|| options.options());
    let reading = async move {
        let options = options.map_err(|error| Error::internal(error.reason.clone()))?;
        if options.length > READ_ALL_MAX_BYTES {
            return Err(Error::internal(format!(
                "readAll of {} bytes",
                options.length
            )));
        }
        engine()?.read_all(options).await
    };
    guard::later(env, reading, Buffer::from)
}

/// Reads the k others and writes the shard of `index` to its member, durably.
#[napi]
pub fn rebuild_shard<'env>(
    env: &'env Env,
    blob: BlobSource,
    index: u32,
) -> napi::Result<PromiseRaw<'env, ()>> {
    let source = guard::now(|| blob.source())?;
    guard::later(
        env,
        async move { engine()?.rebuild_shard(source, index as usize).await },
        |()| (),
    )
}

/// The same on a drive that is about to take the member's place.
#[napi]
pub fn rebuild_shard_on<'env>(
    env: &'env Env,
    blob: BlobSource,
    index: u32,
    drive_id: String,
) -> napi::Result<PromiseRaw<'env, ()>> {
    let source = guard::now(|| blob.source())?;
    let drive = guard::now(|| anvil_engine::id::parse("driveId", &drive_id))?;
    guard::later(
        env,
        async move {
            engine()?
                .rebuild_shard_on(source, index as usize, drive)
                .await
        },
        |()| (),
    )
}

/// Writes the stored bytes of a blob into another group with that group's code, durably; answers the indexes left out.
#[napi]
pub fn reencode_blob<'env>(
    env: &'env Env,
    blob: BlobSource,
    to_pg_id: f64,
) -> napi::Result<PromiseRaw<'env, Vec<u32>>> {
    let source = guard::now(|| blob.source());
    let reencoding = async move {
        let source = source.map_err(|error| Error::internal(error.reason.clone()))?;
        engine()?
            .reencode_blob(source, size("toPgId", to_pg_id)?)
            .await
    };
    guard::later(env, reencoding, |missing| {
        missing.into_iter().map(|index| index as u32).collect()
    })
}

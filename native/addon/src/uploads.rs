//! Uploads.

use anvil_body::{AwsChunked as Decoder, AwsChunkedOptions, ChunkSigning};
use anvil_engine::id::decode_hex;
use anvil_engine::{Checksum, Error, Flow, UploadOptions, UploadResult as Finished};
use napi::Env;
use napi::bindgen_prelude::{Either, Null, PromiseRaw, Uint8ArraySlice};
use napi_derive::napi;

use crate::convert::{Bytes, Copied, key, request, size};
use crate::guard::{self, Fallible};
use crate::process::engine;

const UPLOAD_CONTINUE: u32 = 0;
const UPLOAD_PAUSE: u32 = 1;

#[napi(object, object_to_js = false)]
pub struct AwsChunked {
    pub signed: bool,
    pub trailer: bool,
    pub trailer_names: Vec<String>,
    pub seed_signature: String,
    #[napi(ts_type = "Uint8Array")]
    pub signing_key: Bytes,
    pub amz_date: String,
    pub scope: String,
}

#[napi(object, object_to_js = false)]
pub struct UploadOpen {
    pub bucket_id: f64,
    pub blob_id: String,
    pub pg_id: f64,
    pub content_length: f64,
    pub max_bytes: f64,
    pub aws_chunked: Either<AwsChunked, Null>,
    pub inline_bytes: f64,
    pub md5: bool,
    pub fast_digest: bool,
    pub sha256: bool,
    #[napi(ts_type = "('crc32' | 'crc32c' | 'crc64nvme' | 'sha1' | 'sha256')[]")]
    pub checksums: Vec<String>,
    pub expect_md5: String,
    pub expect_sha256: String,
    pub expect_checksum: String,
    #[napi(ts_type = "'crc32' | 'crc32c' | 'crc64nvme' | 'sha1' | 'sha256' | ''")]
    pub expect_checksum_algorithm: String,
    pub checksum_trailer: String,
    #[napi(ts_type = "Uint8Array")]
    pub data_key: Bytes,
    pub request_id: Option<String>,
}

#[napi(object, object_from_js = false)]
pub struct UploadResult {
    pub size: f64,
    pub stripe_bytes: f64,
    pub md5: String,
    pub fast_digest: String,
    pub sha256: String,
    pub checksums: Vec<String>,
    pub trailers: Vec<String>,
    #[napi(ts_type = "Buffer | null")]
    pub inline: Either<Copied, Null>,
    pub missing: Vec<u32>,
    pub below_quorum: bool,
}

/// Reserves one stripe; SlowDown when the memory is not to be had.
#[napi]
pub fn open_upload(options: UploadOpen) -> napi::Result<f64> {
    guard::now(|| Ok(engine()?.open_upload(options.options()?)? as f64))
}

/// Copies the chunk; it is free again when this returns. 0: go on; 1: stop until `uploadDrained` resolves.
#[napi]
pub fn upload_write(handle: f64, chunk: Uint8ArraySlice<'_>) -> napi::Result<u32> {
    guard::now(|| match engine()?.upload(handle as u64)?.write(&chunk)? {
        Flow::Continue => Ok(UPLOAD_CONTINUE),
        Flow::Pause => Ok(UPLOAD_PAUSE),
    })
}

/// Resolves when the upload takes more bytes again, rejects when it failed.
#[napi]
pub fn upload_drained<'env>(env: &'env Env, handle: f64) -> napi::Result<PromiseRaw<'env, ()>> {
    guard::later(
        env,
        async move { engine()?.upload(handle as u64)?.drained().await },
        |()| (),
    )
}

/// The body is complete: resolves when enough members have their shard on stable storage.
#[napi]
pub fn upload_finish<'env>(
    env: &'env Env,
    handle: f64,
) -> napi::Result<PromiseRaw<'env, UploadResult>> {
    guard::later(
        env,
        async move { engine()?.finish_upload(handle as u64).await },
        UploadResult::from,
    )
}

/// The same for a body that fits `inlineBytes`, done when this returns; null: it does not fit, use `uploadFinish`.
#[napi(ts_return_type = "UploadResult | null")]
pub fn upload_finish_inline(handle: f64) -> napi::Result<Either<UploadResult, Null>> {
    guard::now(|| {
        let finished = engine()?.finish_inline(handle as u64)?;
        Ok(finished.map_or(Either::B(Null), |result| Either::A(result.into())))
    })
}

impl From<Finished> for UploadResult {
    fn from(result: Finished) -> UploadResult {
        UploadResult {
            size: result.size as f64,
            stripe_bytes: result.stripe_bytes as f64,
            md5: result.md5,
            fast_digest: result.fast_digest,
            sha256: result.sha256,
            checksums: result.checksums,
            trailers: result
                .trailers
                .into_iter()
                .flat_map(|(name, value)| [name, value])
                .collect(),
            inline: result
                .inline
                .map_or(Either::B(Null), |body| Either::A(Copied(body))),
            missing: result
                .missing
                .into_iter()
                .map(|index| index as u32)
                .collect(),
            below_quorum: result.below_quorum,
        }
    }
}

/// Gives the upload up and removes what was written. No error if it is gone.
#[napi]
pub fn upload_abort(handle: f64) -> napi::Result<()> {
    guard::now(|| {
        engine()?.abort_upload(handle as u64);
        Ok(())
    })
}

/// Moves bytes from a read into an upload; resolves at the read's end, and closes the read.
#[napi]
pub fn upload_from<'env>(
    env: &'env Env,
    upload: f64,
    read: f64,
) -> napi::Result<PromiseRaw<'env, ()>> {
    guard::later(
        env,
        async move { engine()?.upload_from(upload as u64, read as u64).await },
        |()| (),
    )
}

impl UploadOpen {
    fn options(self) -> Fallible<UploadOptions> {
        let blob = anvil_engine::id::parse("blobId", &self.blob_id)?;
        let mut options = UploadOptions::new(
            size("bucketId", self.bucket_id)?,
            blob,
            size("pgId", self.pg_id)?,
        );
        options.content_length = if self.content_length < 0.0 {
            None
        } else {
            Some(size("contentLength", self.content_length)?)
        };
        options.max_bytes = size("maxBytes", self.max_bytes)?;
        options.decoder = match self.aws_chunked {
            Either::A(chunked) => Some(chunked.decoder()?),
            Either::B(Null) => None,
        };
        options.inline_bytes = size("inlineBytes", self.inline_bytes)? as usize;
        options.md5 = self.md5;
        options.fast_digest = self.fast_digest;
        options.sha256 = self.sha256;
        options.checksums = self
            .checksums
            .iter()
            .map(|name| checksum(name))
            .collect::<Fallible<_>>()?;
        options.expect_md5 = expected("expectMd5", &self.expect_md5)?;
        options.expect_sha256 = expected("expectSha256", &self.expect_sha256)?;
        if !self.expect_checksum_algorithm.is_empty() && !self.expect_checksum.is_empty() {
            options.expect_checksum = Some((
                checksum(&self.expect_checksum_algorithm)?,
                self.expect_checksum,
            ));
        }
        if !self.checksum_trailer.is_empty() {
            let algorithm = self
                .checksum_trailer
                .strip_prefix("x-amz-checksum-")
                .unwrap_or_default();
            let algorithm = checksum(algorithm)?;
            options.checksum_trailer = Some((self.checksum_trailer, algorithm));
        }
        options.data_key = key("dataKey", &self.data_key.0)?;
        options.request = request(self.request_id.as_deref())?;
        Ok(options)
    }
}

impl AwsChunked {
    fn decoder(self) -> Fallible<Decoder> {
        let signing = if self.signed {
            Some(ChunkSigning {
                signing_key: self.signing_key.0,
                seed_signature: expected("seedSignature", &self.seed_signature)?
                    .ok_or_else(|| Error::internal("seedSignature is empty"))?,
                amz_date: self.amz_date,
                scope: self.scope,
            })
        } else {
            None
        };
        Ok(Decoder::new(AwsChunkedOptions {
            signing,
            trailers: self.trailer.then_some(self.trailer_names),
        }))
    }
}

fn checksum(name: &str) -> Fallible<Checksum> {
    Checksum::parse(name).ok_or_else(|| Error::internal(format!("no such checksum: {name:?}")))
}

/// Hex digits of a known length, or nothing.
fn expected<const N: usize>(what: &str, text: &str) -> Fallible<Option<[u8; N]>> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut bytes = [0; N];
    if !decode_hex(text, &mut bytes) {
        return Err(Error::internal(format!(
            "{what} is not {} hex digits",
            2 * N
        )));
    }
    Ok(Some(bytes))
}

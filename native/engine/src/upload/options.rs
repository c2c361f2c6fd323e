//! What an upload is told at its opening.

use anvil_body::AwsChunked;
use anvil_codec::crc;
use anvil_codec::hash;

use crate::id::Id128;
use crate::request::RequestId;

/// The algorithms of S3's `x-amz-checksum-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checksum {
    Crc(crc::Algorithm),
    Sha1,
    Sha256,
}

impl Checksum {
    /// Reads `crc32`, `crc32c`, `crc64nvme`, `sha1` or `sha256`.
    pub fn parse(name: &str) -> Option<Checksum> {
        Some(match name {
            "crc32" => Checksum::Crc(crc::Algorithm::Crc32),
            "crc32c" => Checksum::Crc(crc::Algorithm::Crc32c),
            "crc64nvme" => Checksum::Crc(crc::Algorithm::Crc64Nvme),
            "sha1" => Checksum::Sha1,
            "sha256" => Checksum::Sha256,
            _ => return None,
        })
    }

    /// The stream hash behind it; None for CRCs.
    pub fn hash(self) -> Option<hash::Algorithm> {
        match self {
            Checksum::Crc(_) => None,
            Checksum::Sha1 => Some(hash::Algorithm::Sha1),
            Checksum::Sha256 => Some(hash::Algorithm::Sha256),
        }
    }
}

/// See `UploadOpen` in src/shared/native.ts.
pub struct UploadOptions {
    pub bucket: u64,
    pub blob: Id128,
    /// 0: none; only for a body that is known to be inline.
    pub pg: u64,
    /// Of the decoded body, if known.
    pub content_length: Option<u64>,
    pub max_bytes: u64,
    /// None: the body is the bytes as they come.
    pub decoder: Option<AwsChunked>,
    /// Longest body that comes back in the result; 0: none.
    pub inline_bytes: usize,
    pub md5: bool,
    pub fast_digest: bool,
    pub sha256: bool,
    pub checksums: Vec<Checksum>,
    pub expect_md5: Option<[u8; 16]>,
    pub expect_sha256: Option<[u8; 32]>,
    /// Algorithm and base64 value.
    pub expect_checksum: Option<(Checksum, String)>,
    /// Lower-case trailer name and the algorithm that it carries.
    pub checksum_trailer: Option<(String, Checksum)>,
    pub data_key: Option<[u8; 32]>,
    /// The client's request whose body it is, if it is one.
    pub request: Option<RequestId>,
}

impl UploadOptions {
    /// Nothing asked for, nothing checked, at most 5 GiB.
    pub fn new(bucket: u64, blob: Id128, pg: u64) -> UploadOptions {
        UploadOptions {
            bucket,
            blob,
            pg,
            content_length: None,
            max_bytes: 5 << 30,
            decoder: None,
            inline_bytes: 0,
            md5: false,
            fast_digest: false,
            sha256: false,
            checksums: Vec::new(),
            expect_md5: None,
            expect_sha256: None,
            expect_checksum: None,
            checksum_trailer: None,
            data_key: None,
            request: None,
        }
    }
}

/// See `UploadResult` in src/shared/native.ts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadResult {
    pub size: u64,
    /// 0 when inline.
    pub stripe_bytes: usize,
    pub md5: String,
    pub fast_digest: String,
    pub sha256: String,
    /// Base64, in the order asked for.
    pub checksums: Vec<String>,
    pub trailers: Vec<(String, String)>,
    pub inline: Option<Vec<u8>>,
    /// Indexes whose shard is not durable.
    pub missing: Vec<usize>,
    /// Fewer members than the quorum have their shard, k at least: the blob must be written into another group before it is
    /// acknowledged.
    pub below_quorum: bool,
}

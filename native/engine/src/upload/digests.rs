//! The digests of one body: which are computed, and what they are compared with.

use anvil_body::{AwsChunked, ChunkHashes};
use anvil_codec::hash::{Algorithm, FastDigest, Hasher};
use anvil_codec::{crc, hash};

use super::body_error;
use super::options::{Checksum, UploadOptions, UploadResult};
use crate::error::{Error, Kind, Result};
use crate::id::{base64, hex};

/// The running state. It leaves the upload while a job works on it.
pub(super) struct Digests {
    /// At most one per algorithm; these go through the hash lanes.
    hashers: Vec<Hasher>,
    crcs: Vec<crc::State>,
    fast: Option<FastDigest>,
    /// Of a body whose chunks are signed.
    chunks: Option<ChunkHashes>,
}

/// Signed chunks from this size on are hashed with everything else; AWS's clients send no smaller ones but at the end.
const LEAST_DEFERRED_BYTES: u64 = 8 * 1024;

/// What a body digested to.
pub(super) struct Digested {
    hashes: Vec<(Algorithm, hash::Digest)>,
    crcs: Vec<(crc::Algorithm, u64)>,
    fast: Option<[u8; 16]>,
}

impl Digests {
    pub(super) fn new(options: &UploadOptions, decoder: Option<&mut AwsChunked>) -> Digests {
        let mut hashes = Vec::new();
        let mut crcs = Vec::new();
        if options.md5 || options.expect_md5.is_some() {
            hashes.push(Algorithm::Md5);
        }
        if options.sha256 || options.expect_sha256.is_some() {
            hashes.push(Algorithm::Sha256);
        }
        let expected = options
            .expect_checksum
            .iter()
            .map(|(checksum, _)| *checksum);
        let trailer = options
            .checksum_trailer
            .iter()
            .map(|(_, checksum)| *checksum);
        for checksum in options
            .checksums
            .iter()
            .copied()
            .chain(expected)
            .chain(trailer)
        {
            match checksum {
                Checksum::Crc(algorithm) if !crcs.contains(&algorithm) => crcs.push(algorithm),
                Checksum::Sha1 if !hashes.contains(&Algorithm::Sha1) => {
                    hashes.push(Algorithm::Sha1)
                }
                Checksum::Sha256 if !hashes.contains(&Algorithm::Sha256) => {
                    hashes.push(Algorithm::Sha256)
                }
                _ => {}
            }
        }
        Digests {
            hashers: hashes.into_iter().map(Hasher::new).collect(),
            crcs: crcs.into_iter().map(crc::State::new).collect(),
            fast: options.fast_digest.then(FastDigest::new),
            chunks: decoder.and_then(|decoder| decoder.defer(LEAST_DEFERRED_BYTES)),
        }
    }

    /// Takes note of the chunks that the decoder has come upon; to be called before their payload is hashed.
    pub(super) fn look_at(&mut self, decoder: Option<&mut AwsChunked>) {
        if let (Some(chunks), Some(decoder)) = (&mut self.chunks, decoder) {
            chunks.add(decoder.take_deferred());
        }
    }

    /// What goes through the hash lanes: hashers, and what each is to be fed of `plain`.
    pub(super) fn lanes<'a>(
        &'a mut self,
        plain: &'a [u8],
    ) -> impl Iterator<Item = (&'a mut Hasher, &'a [u8])> {
        let chunks = self.chunks.iter_mut().flat_map(|chunks| chunks.cut(plain));
        let hashers = self.hashers.iter_mut();
        hashers.map(move |hasher| (hasher, plain)).chain(chunks)
    }

    /// Whether the signed chunks that were hashed to their end are what was signed.
    pub(super) fn verify_chunks(&mut self) -> Result<()> {
        self.chunks
            .as_mut()
            .map_or(Ok(()), ChunkHashes::verify)
            .map_err(body_error)
    }

    /// Those that are fast enough to go alone: CRCs and the fast digest.
    pub(super) fn update_fast_ones(&mut self, plain: &[u8]) {
        for state in &mut self.crcs {
            state.update(plain);
        }
        if let Some(fast) = &mut self.fast {
            fast.update(plain);
        }
    }

    /// All of them, on this thread: for bodies of a few KiB.
    pub(super) fn update(&mut self, plain: &[u8]) {
        for (hasher, piece) in self.lanes(plain) {
            hasher.update(piece);
        }
        self.update_fast_ones(plain);
    }

    /// At the end of the body; an error if a signed chunk is not what was signed.
    pub(super) fn finish(mut self) -> Result<Digested> {
        if let Some(chunks) = &mut self.chunks {
            chunks.finish().map_err(body_error)?;
        }
        Ok(Digested {
            hashes: self
                .hashers
                .into_iter()
                .map(|hasher| (hasher.algorithm(), hasher.finish()))
                .collect(),
            crcs: self
                .crcs
                .into_iter()
                .map(|state| (state.algorithm(), state.finish()))
                .collect(),
            fast: self.fast.map(|fast| fast.finish()),
        })
    }
}

impl Digested {
    fn hash(&self, wanted: Algorithm) -> Option<&[u8]> {
        self.hashes
            .iter()
            .find(|(algorithm, _)| *algorithm == wanted)
            .map(|(_, digest)| &**digest)
    }

    fn checksum(&self, checksum: Checksum) -> Option<String> {
        match (checksum, checksum.hash()) {
            (Checksum::Crc(wanted), _) => self
                .crcs
                .iter()
                .find(|(algorithm, _)| *algorithm == wanted)
                .map(|(algorithm, value)| base64(&crc::to_be_bytes(*algorithm, *value))),
            (_, Some(algorithm)) => self.hash(algorithm).map(base64),
            (_, None) => None,
        }
    }

    /// Compares with everything that the request promised.
    pub(super) fn verify(
        &self,
        options: &UploadOptions,
        trailers: &[(String, String)],
    ) -> Result<()> {
        if let Some(expected) = &options.expect_sha256
            && self.hash(Algorithm::Sha256) != Some(expected.as_slice())
        {
            return Err(Error::new(
                Kind::ContentSha256Mismatch,
                "the body does not match x-amz-content-sha256",
            ));
        }
        if let Some(expected) = &options.expect_md5
            && self.hash(Algorithm::Md5) != Some(expected.as_slice())
        {
            return Err(Error::new(
                Kind::BadDigest,
                "the body does not match Content-MD5",
            ));
        }
        if let Some((checksum, expected)) = &options.expect_checksum
            && self.checksum(*checksum).as_ref() != Some(expected)
        {
            return Err(Error::new(
                Kind::BadDigest,
                "the body does not match its checksum",
            ));
        }
        if let Some((name, checksum)) = &options.checksum_trailer {
            let Some((_, sent)) = trailers.iter().find(|(sent, _)| sent == name) else {
                return Err(Error::new(
                    Kind::MalformedTrailer,
                    format!("the trailer {name} is missing"),
                ));
            };
            if self.checksum(*checksum).as_deref() != Some(sent.trim()) {
                return Err(Error::new(
                    Kind::BadDigest,
                    format!("the body does not match the trailer {name}"),
                ));
            }
        }
        Ok(())
    }

    /// Fills in what was asked for.
    pub(super) fn report(&self, options: &UploadOptions, result: &mut UploadResult) {
        if options.md5 {
            result.md5 = self.hash(Algorithm::Md5).map(hex).unwrap_or_default();
        }
        if options.sha256 {
            result.sha256 = self.hash(Algorithm::Sha256).map(hex).unwrap_or_default();
        }
        if let Some(fast) = &self.fast {
            result.fast_digest = hex(fast);
        }
        result.checksums = options
            .checksums
            .iter()
            .map(|checksum| self.checksum(*checksum).unwrap_or_default())
            .collect();
    }
}

//! The payload hashes of signed chunks, computed away from the decoder: by a scheduler that hashes chunks of many bodies side
//! by side. The decoder says which chunks there are; the hashes follow the decoded payload, in pieces of any size.

use std::collections::VecDeque;

use anvil_codec::hash::{Algorithm, Hasher};

use crate::BodyError;
use crate::signature::{ChunkSigning, Signature, matches_chunk};

/// A run of decoded payload, as the decoder tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// So many bytes whose signatures are verified already.
    Verified(u64),
    Chunk {
        bytes: u64,
        /// What the chunk claims, and the signature that it builds on.
        signature: Signature,
        previous: Signature,
    },
}

/// What a decoder has come upon since it was asked last.
#[derive(Debug, Default)]
pub struct DeferredChunks {
    pub(crate) runs: VecDeque<Run>,
}

impl DeferredChunks {
    pub(crate) fn verified(&mut self, bytes: u64) {
        match self.runs.back_mut() {
            Some(Run::Verified(before)) => *before += bytes,
            _ => self.runs.push_back(Run::Verified(bytes)),
        }
    }
}

/// The chunks of one body whose payload has not been hashed to its end.
pub struct ChunkHashes {
    signing: ChunkSigning,
    chunks: VecDeque<Chunk>,
}

struct Chunk {
    /// Payload still to come.
    left: u64,
    /// None: verified already.
    claim: Option<Claim>,
}

struct Claim {
    signature: Signature,
    previous: Signature,
    payload: Hasher,
}

impl ChunkHashes {
    pub(crate) fn new(signing: ChunkSigning) -> ChunkHashes {
        ChunkHashes {
            signing,
            chunks: VecDeque::new(),
        }
    }

    /// The decoder's news. Payload must not be given to [`ChunkHashes::cut`] before what the decoder said of it.
    pub fn add(&mut self, news: DeferredChunks) {
        self.chunks
            .extend(news.runs.into_iter().map(|run| match run {
                Run::Verified(bytes) => Chunk {
                    left: bytes,
                    claim: None,
                },
                Run::Chunk {
                    bytes,
                    signature,
                    previous,
                } => Chunk {
                    left: bytes,
                    claim: Some(Claim {
                        signature,
                        previous,
                        payload: Hasher::new(Algorithm::Sha256),
                    }),
                },
            }));
    }

    /// Cuts the next decoded bytes into the pieces that belong to one chunk each. Every hasher must be updated with its piece
    /// before [`ChunkHashes::verify`].
    pub fn cut<'a>(
        &'a mut self,
        mut payload: &'a [u8],
    ) -> impl Iterator<Item = (&'a mut Hasher, &'a [u8])> {
        self.chunks.iter_mut().filter_map(move |chunk| {
            let length =
                usize::try_from(chunk.left).map_or(payload.len(), |left| left.min(payload.len()));
            let (piece, rest) = payload.split_at(length);
            payload = rest;
            chunk.left -= length as u64;
            let claim = chunk.claim.as_mut()?;
            (length > 0).then_some((&mut claim.payload, piece))
        })
    }

    /// Verifies the chunks that are complete.
    pub fn verify(&mut self) -> Result<(), BodyError> {
        while self.chunks.front().is_some_and(|chunk| chunk.left == 0) {
            if let Some(Claim {
                signature,
                previous,
                payload,
            }) = self.chunks.pop_front().and_then(|chunk| chunk.claim)
                && !matches_chunk(&self.signing, &previous, &payload.finish(), &signature)
            {
                return Err(BodyError::SignatureMismatch);
            }
        }
        Ok(())
    }

    /// At the end of the body: whether every chunk is complete and verified.
    pub fn finish(&mut self) -> Result<(), BodyError> {
        self.verify()?;
        if self.chunks.is_empty() {
            Ok(())
        } else {
            Err(BodyError::Incomplete)
        }
    }
}

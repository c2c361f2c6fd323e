use anvil_codec::hash::{Algorithm, Hasher};

use crate::BodyError;
use crate::deferred::{ChunkHashes, DeferredChunks, Run};
use crate::header::{ChunkHeader, HeaderLine};
use crate::signature::{ChunkSigning, Signature, SignatureChain};
use crate::trailer::TrailerSection;

/// Which of the four kinds a body is.
#[derive(Clone, Debug, Default)]
pub struct AwsChunkedOptions {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD…`: each chunk is signed with this. `None`: `STREAMING-UNSIGNED-PAYLOAD…`.
    pub signing: Option<ChunkSigning>,
    /// `…-TRAILER`: a trailer section follows, with the lower-case names that `x-amz-trailer` announced. Exactly these must
    /// come, in any order; with an empty list any may. `None`: no trailer section.
    pub trailers: Option<Vec<String>>,
}

/// Decoder of one `aws-chunked` body.
pub struct AwsChunked {
    state: State,
    header: HeaderLine,
    /// Of the chunk under way.
    signed_chunk: Option<SignedChunk>,
    chain: Option<SignatureChain>,
    trailers: Option<TrailerSection>,
    deferred: Option<Deferred>,
}

struct Deferred {
    /// Chunks of fewer bytes are hashed here.
    least_bytes: u64,
    news: DeferredChunks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    /// `left` bytes of payload are to come, more than none.
    Payload {
        left: u64,
    },
    /// The line end behind a chunk's payload: `missing` of its two bytes are to come.
    PayloadEnd {
        missing: u8,
    },
    /// The same behind the final chunk of a body without trailers.
    FinalEnd {
        missing: u8,
    },
    Trailers,
    /// Nothing more may come.
    End,
    Failed(BodyError),
}

struct SignedChunk {
    signature: Signature,
    payload: Hasher,
}

impl AwsChunked {
    pub fn new(options: AwsChunkedOptions) -> AwsChunked {
        AwsChunked {
            state: State::Header,
            header: HeaderLine::new(),
            signed_chunk: None,
            chain: options.signing.map(SignatureChain::new),
            trailers: options.trailers.map(TrailerSection::new),
            deferred: None,
        }
    }

    /// Leaves the payload hashes of chunks of at least `least_bytes` to the caller; to be called before the first byte. None
    /// if the chunks are not signed. Smaller chunks are verified here, or a body of tiny ones would be a long list of hashes.
    ///
    /// From here on, [`AwsChunked::finish`] vouches for the body only together with [`ChunkHashes::finish`].
    pub fn defer(&mut self, least_bytes: u64) -> Option<ChunkHashes> {
        let chain = self.chain.as_ref()?;
        self.deferred = Some(Deferred {
            least_bytes: least_bytes.max(1),
            news: DeferredChunks::default(),
        });
        Some(ChunkHashes::new(chain.signing().clone()))
    }

    /// The chunks whose headers have come since the last call: to be given to [`ChunkHashes::add`] before the payload.
    pub fn take_deferred(&mut self) -> DeferredChunks {
        self.deferred
            .as_mut()
            .map_or_else(DeferredChunks::default, |deferred| {
                std::mem::take(&mut deferred.news)
            })
    }

    /// Decodes the next bytes of the body, and calls `out` with the payload in them, as slices of `input`, in order.
    ///
    /// The payload of a signed chunk is given out before its signature has been verified: what was written must not count
    /// until [`AwsChunked::finish`] has succeeded. After an error every call returns that error.
    pub fn feed(&mut self, mut input: &[u8], out: &mut dyn FnMut(&[u8])) -> Result<(), BodyError> {
        while !input.is_empty() {
            self.state = match self.step(&mut input, out) {
                Ok(state) => state,
                Err(error) => State::Failed(error),
            };
            if let State::Failed(error) = self.state {
                return Err(error);
            }
        }
        Ok(())
    }

    /// To be called at the end of the body. The trailers, with lower-case names, in the order sent, without their
    /// signature.
    pub fn finish(&mut self) -> Result<Vec<(String, String)>, BodyError> {
        match (self.state, &mut self.trailers) {
            (State::End, _) => Ok(Vec::new()),
            (State::Trailers, Some(section)) => section.finish(self.chain.is_some()),
            (State::Failed(error), _) => Err(error),
            _ => Err(BodyError::Incomplete),
        }
    }

    /// Takes some bytes off the front of `input`, which is not empty.
    fn step(&mut self, input: &mut &[u8], out: &mut dyn FnMut(&[u8])) -> Result<State, BodyError> {
        match self.state {
            State::Header => match self.header.feed(input)? {
                None => Ok(State::Header),
                Some(header) => self.begin_chunk(header),
            },
            State::Payload { left } => {
                let length =
                    usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                let (payload, rest) = input.split_at(length);
                *input = rest;
                if let Some(chunk) = &mut self.signed_chunk {
                    chunk.payload.update(payload);
                }
                out(payload);
                match left - length as u64 {
                    0 => self.end_chunk().map(|()| State::PayloadEnd { missing: 2 }),
                    left => Ok(State::Payload { left }),
                }
            }
            State::PayloadEnd { missing: 0 } => unreachable!("the next header follows"),
            State::PayloadEnd { missing } => match line_end(input, missing)? {
                0 => Ok(State::Header),
                missing => Ok(State::PayloadEnd { missing }),
            },
            State::FinalEnd { missing } => match line_end(input, missing)? {
                0 => Ok(State::End),
                missing => Ok(State::FinalEnd { missing }),
            },
            State::Trailers => {
                let section = self
                    .trailers
                    .as_mut()
                    .expect("a body without trailers has no trailer section");
                section.feed(std::mem::take(input), &mut self.chain)?;
                Ok(State::Trailers)
            }
            State::End => Err(BodyError::MalformedChunk),
            State::Failed(error) => Err(error),
        }
    }

    fn begin_chunk(&mut self, header: ChunkHeader) -> Result<State, BodyError> {
        if let Some(chain) = &mut self.chain {
            let signature = header.signature.ok_or(BodyError::MalformedChunk)?;
            let bytes = header.payload_bytes;
            match &mut self.deferred {
                Some(deferred) if bytes >= deferred.least_bytes => {
                    deferred.news.runs.push_back(Run::Chunk {
                        bytes,
                        signature,
                        previous: chain.go_on_from(signature),
                    });
                }
                deferred => {
                    if let Some(deferred) = deferred {
                        deferred.news.verified(bytes);
                    }
                    self.signed_chunk = Some(SignedChunk {
                        signature,
                        payload: Hasher::new(Algorithm::Sha256),
                    });
                }
            }
        }
        if header.payload_bytes > 0 {
            return Ok(State::Payload {
                left: header.payload_bytes,
            });
        }
        self.end_chunk()?;
        Ok(if self.trailers.is_some() {
            State::Trailers
        } else {
            State::FinalEnd { missing: 2 }
        })
    }

    fn end_chunk(&mut self) -> Result<(), BodyError> {
        if let (Some(chain), Some(chunk)) = (&mut self.chain, self.signed_chunk.take())
            && !chain.chunk(&chunk.payload.finish(), &chunk.signature)
        {
            return Err(BodyError::SignatureMismatch);
        }
        Ok(())
    }
}

/// Takes one byte of a `\r\n` of which `missing` are to come; how many are to come then.
fn line_end(input: &mut &[u8], missing: u8) -> Result<u8, BodyError> {
    let expected = if missing == 2 { b'\r' } else { b'\n' };
    match input.split_first() {
        Some((&byte, rest)) if byte == expected => {
            *input = rest;
            Ok(missing - 1)
        }
        _ => Err(BodyError::MalformedChunk),
    }
}

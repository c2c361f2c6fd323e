use std::fmt;

/// Why a body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// A chunk's header or its delimiters are not of the coding, or bytes follow the end.
    MalformedChunk,
    /// A chunk's or the trailer's signature is not what the signing key gives.
    SignatureMismatch,
    /// The trailer section is not of the coding, or not what was announced.
    MalformedTrailer,
    /// The body ended before its final chunk, or before its trailers.
    Incomplete,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyError::MalformedChunk => "a chunk of the body is malformed",
            BodyError::SignatureMismatch => {
                "the signature of a chunk or of the trailer does not match"
            }
            BodyError::MalformedTrailer => "the trailer of the body is malformed",
            BodyError::Incomplete => "the body ended early",
        })
    }
}

impl std::error::Error for BodyError {}

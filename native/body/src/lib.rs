//! Decoding of request bodies in S3's `aws-chunked` coding, as a state machine without I/O.
//!
//! The coding, its signatures and its trailers are described in AWS's "Signature Calculations for the Authorization Header:
//! Transferring Payload in Multiple Chunks" and "…: Including Trailing Headers". The four kinds of body that
//! `x-amz-content-sha256: STREAMING-…` announces are signed or unsigned chunks, with or without trailers.
//!
//! Memory is constant: a chunk header line and a trailer section are bounded, payload is passed on as slices of the input.

mod decoder;
mod deferred;
mod error;
mod header;
mod signature;
mod trailer;

pub use decoder::{AwsChunked, AwsChunkedOptions};
pub use deferred::{ChunkHashes, DeferredChunks};
pub use error::BodyError;
pub use signature::ChunkSigning;

/// Most bytes of a chunk's header line, its line end included.
pub const CHUNK_HEADER_MAX_BYTES: usize = 256;
/// Most payload bytes of one chunk: that of a whole upload by PUT.
pub const CHUNK_MAX_BYTES: u64 = 5 << 30;
/// Most bytes of the trailer section, line ends included.
pub const TRAILER_SECTION_MAX_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests;

//! The frames of the protocol: bytes to values and back, without I/O. What they mean is told in the crate's documentation.
//!
//! A frame is a length (u32, of what follows) and a body: its kind (u8), then its fields. Integers are little-endian, texts
//! and lists carry their length or count (u32) in front. Bulk data is not part of a frame; it follows it, as many bytes as
//! the frame says.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::fmt;

use anvil_engine::RequestId;
use anvil_engine::id::Id128;
use anvil_engine::target::{ShardError, ShardKey};

pub(crate) use decode::body_len;

use crate::proof::Proof;

/// Spoken by this build, and the oldest that it still understands.
pub(crate) const VERSION: u16 = 2;
pub(crate) const OLDEST_VERSION: u16 = 1;
/// From this version on [`Frame::Request`] is understood.
pub(crate) const REQUEST_VERSION: u16 = 2;

/// Why the listening side refuses a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Version = 1,
    Deployment = 2,
    Region = 3,
    Secret = 4,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Version => "it speaks another version of the shard plane",
            Refusal::Deployment => "it belongs to another deployment",
            Refusal::Region => "it belongs to another region",
            Refusal::Secret => "wrong cluster secret",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    // connection
    Hello {
        version: u16,
        oldest: u16,
        deployment: String,
        region: String,
        process: String,
        proof: Proof,
    },
    Welcome {
        /// The one that both speak from now on.
        version: u16,
        process: String,
        proof: Proof,
    },
    Refused(Refusal),

    // requests
    /// Names the client's request that the next frame of the stream is for.
    Request(RequestId),
    Begin {
        drive: Id128,
        key: ShardKey,
        generation: u64,
        blocks: Option<u32>,
        block_bytes: u32,
    },
    /// A block of the shard that was begun; its data follows.
    Block(Sums),
    Seal,
    /// Announces shards of one block for this drive, each in a [`Frame::Put`].
    Puts {
        drive: Id128,
    },
    /// Its data follows.
    Put {
        number: u64,
        key: ShardKey,
        generation: u64,
        sums: Sums,
    },
    Read {
        drive: Id128,
        key: ShardKey,
        generation: u64,
        block: u32,
        offset: u32,
        len: u32,
    },
    Delete {
        drive: Id128,
        shards: Vec<(ShardKey, u64)>,
    },
    Has {
        drive: Id128,
        shards: Vec<ShardKey>,
    },

    // answers
    Done(Result<(), ShardError>),
    /// To the put of that number.
    PutDone(u64, Result<(), ShardError>),
    /// To a read: `len` bytes follow, which have this CRC-32C.
    Bytes {
        len: u32,
        crc: u32,
    },
    Held(Vec<bool>),
}

/// Length of a block and the CRC-32C of each of its units of 32 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) len: u32,
    pub(crate) crcs: Box<[u32]>,
}

/// Bytes that are no frame of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    TooLong(usize),
    /// The body ends before its fields, or goes on behind them.
    Length,
    Kind(u8),
    /// A field has a value that it must not have.
    Value(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::TooLong(bytes) => write!(f, "a frame of {bytes} bytes"),
            Malformed::Length => f.write_str("a frame of another length than its fields"),
            Malformed::Kind(kind) => write!(f, "a frame of unknown kind {kind}"),
            Malformed::Value(what) => write!(f, "a frame with a bad {what}"),
        }
    }
}

/// The kinds of frames.
mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const WELCOME: u8 = 2;
    pub(super) const REFUSED: u8 = 3;
    pub(super) const BEGIN: u8 = 16;
    pub(super) const BLOCK: u8 = 17;
    pub(super) const SEAL: u8 = 18;
    pub(super) const PUTS: u8 = 19;
    pub(super) const PUT: u8 = 20;
    pub(super) const READ: u8 = 21;
    pub(super) const DELETE: u8 = 22;
    pub(super) const HAS: u8 = 23;
    pub(super) const REQUEST: u8 = 24;
    pub(super) const DONE: u8 = 32;
    pub(super) const PUT_DONE: u8 = 33;
    pub(super) const BYTES: u8 = 34;
    pub(super) const HELD: u8 = 35;
}

/// A number of blocks that is not known.
const UNKNOWN: u32 = u32::MAX;

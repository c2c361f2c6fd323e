//! What the engine asks of a drive, wherever it is. The local drive is one implementation, a peer's drive another.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

pub use anvil_store::{Block, ShardKey};

use crate::request::RequestId;

/// Why a drive did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardError {
    NotFound,
    /// The bytes do not match their checksum.
    Corrupt,
    /// The drive knows a higher generation of the placement group.
    Stale {
        current: u64,
    },
    Full,
    /// The drive is out until a person looks.
    Failed(String),
    Io(String),
    /// The drive is not open here.
    Closed,
    /// No progress for too long.
    Stalled,
    /// The drive's node does not answer, or refuses us.
    Unreachable(String),
}

impl fmt::Display for ShardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShardError::NotFound => write!(f, "no such shard"),
            ShardError::Corrupt => write!(f, "checksum mismatch"),
            ShardError::Stale { current } => write!(f, "the drive knows generation {current}"),
            ShardError::Full => write!(f, "drive full"),
            ShardError::Failed(why) => write!(f, "drive failed: {why}"),
            ShardError::Io(why) => write!(f, "I/O error: {why}"),
            ShardError::Closed => write!(f, "drive not open"),
            ShardError::Stalled => write!(f, "no progress"),
            ShardError::Unreachable(why) => write!(f, "node out of reach: {why}"),
        }
    }
}

impl std::error::Error for ShardError {}

pub type ShardResult<T> = Result<T, ShardError>;
/// An operation under way. Dropping it gives up waiting, not necessarily the operation.
pub type Operation<T> = Pin<Box<dyn Future<Output = ShardResult<T>> + Send + 'static>>;

/// A drive that holds shards.
pub trait ShardTarget: Send + Sync {
    /// Starts a shard of several blocks of `block_bytes`, the last one perhaps shorter; `blocks_hint` if their number is known.
    fn begin(
        &self,
        key: ShardKey,
        generation: u64,
        blocks_hint: Option<u32>,
        block_bytes: usize,
    ) -> ShardResult<Box<dyn ShardSink>>;

    /// Writes a shard of one block, durably.
    fn put(&self, key: ShardKey, generation: u64, block: Block) -> Operation<()>;

    /// Bytes `offset..offset + len` of one block, verified.
    fn read(
        &self,
        key: ShardKey,
        generation: u64,
        block: u32,
        offset: u32,
        len: u32,
    ) -> Operation<Bytes>;

    /// Removes shards, each under its generation, durably; those that are not there are no error.
    fn delete(&self, shards: Vec<(ShardKey, u64)>) -> Operation<()>;

    /// Whether each shard lies there sealed and whole, by the index and without a read of its data.
    fn has(&self, shards: Vec<ShardKey>) -> Operation<Vec<bool>>;

    /// The same drive, asked on behalf of a client's request: its node names the request where it logs what went wrong or
    /// took long. None: it makes no difference.
    fn for_request(&self, _request: &RequestId) -> Option<Arc<dyn ShardTarget>> {
        None
    }

    /// Whether the drive is one of this process, and so the quickest to ask.
    fn is_local(&self) -> bool {
        true
    }
}

/// A shard that is being written. Dropping it without a seal removes it.
pub trait ShardSink: Send {
    /// The next block. Resolves when its memory is released.
    fn append(&mut self, block: Block) -> Operation<()>;
    /// Makes the shard durable and visible.
    fn seal(self: Box<Self>) -> Operation<()>;
    fn abort(self: Box<Self>);
}

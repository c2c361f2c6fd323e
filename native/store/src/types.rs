//! What callers of the store see: names, blocks, errors, reports.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::buffers::Buffers;
use crate::limits;

/// Names one shard: member `index` of blob `blob` of placement group `pg`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardKey {
    pub bucket: u64,
    pub blob: [u8; 16],
    pub pg: u64,
    pub index: u8,
}

/// One block of a shard with the plain CRC-32C of each [`limits::UNIT_BYTES`] unit of `data`. The store trusts the CRCs it
/// is given (they were computed where the bytes were last known to be right) and stores them masked with the block's place.
#[derive(Clone, Debug)]
pub struct Block {
    pub data: Bytes,
    pub crcs: Box<[u32]>,
}

impl Block {
    /// Computes the CRCs; for callers that have none yet.
    pub fn new(data: Bytes) -> Self {
        let crcs = data
            .chunks(limits::UNIT_BYTES)
            .map(crate::format::checksum::crc32c)
            .collect();
        Self { data, crcs }
    }
}

/// What the index knows of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardState {
    pub sealed: bool,
    pub blocks: u32,
    /// Bytes of data.
    pub bytes: u64,
}

/// One line of a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardRecord {
    pub key: ShardKey,
    /// Bytes of data.
    pub bytes: u64,
    /// When it was sealed, or begun while it is not, by this host's clock; milliseconds since the epoch.
    pub written_ms: u64,
    pub sealed: bool,
}

/// Why a shard does not read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DamageReason {
    /// A checksum does not match.
    Crc,
    /// The segment is gone, or shorter than it must be.
    Missing,
    /// The drive answered with an error.
    Io,
}

#[derive(Clone, Debug)]
pub enum StoreError {
    NotFound,
    /// The shard is known and does not verify; nothing of it is served.
    Corrupt {
        key: ShardKey,
        block: u32,
        reason: DamageReason,
    },
    /// The drive was told a higher generation of the placement group.
    StaleGeneration {
        current: u64,
    },
    /// No room for new shards; removals and compaction go on.
    Full,
    /// A write or an fsync failed; the drive is out until a person looks.
    Failed(String),
    Io(std::sync::Arc<std::io::Error>),
    /// The index cannot be read, or is not what the log says: nothing may be concluded from what it does not name. The drive
    /// is out until it is opened again, with an index that is rebuilt; what users of the drive see is [`Self::Failed`].
    Index(String),
    /// Another drive, or one of another deployment, lies there.
    Mismatch(String),
    /// Another process has the drive open.
    Locked,
    Closed,
    /// The caller broke the contract (a block of the wrong length, a range outside of its block…).
    Invalid(String),
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such shard"),
            Self::Corrupt { key, block, reason } => {
                write!(f, "block {block} of shard {} of blob ", key.index)?;
                key.blob
                    .iter()
                    .try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(match reason {
                    DamageReason::Crc => " does not match its checksum",
                    DamageReason::Missing => " is missing on the drive",
                    DamageReason::Io => " cannot be read",
                })
            }
            Self::StaleGeneration { current } => {
                write!(f, "generation too low, the drive knows {current}")
            }
            Self::Full => f.write_str("no room for new shards"),
            Self::Failed(reason) => write!(f, "drive failed: {reason}"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Index(why) => write!(f, "index: {why}"),
            Self::Mismatch(text) => f.write_str(text),
            Self::Locked => f.write_str("another process has the drive open"),
            Self::Closed => f.write_str("drive is closed"),
            Self::Invalid(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        if error.raw_os_error() == Some(libc::ENOSPC) {
            Self::Full
        } else {
            Self::Io(std::sync::Arc::new(error))
        }
    }
}

/// What a look at a folder finds, without locking or changing it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    Missing,
    /// A folder without a drive in it (`lost+found` does not count).
    Empty,
    /// Something else lies there; what, in words.
    Foreign {
        found: String,
    },
    Drive {
        drive: [u8; 16],
        deployment: [u8; 16],
        format_version: u32,
    },
}

#[derive(Clone, Debug)]
pub struct OpenOptions {
    pub path: PathBuf,
    pub deployment: [u8; 16],
    /// The drive that must lie at `path`; `None` accepts any drive of the deployment.
    pub drive: Option<[u8; 16]>,
    /// Free space of the file system that stays free of shards.
    pub reserve_bytes: u64,
    /// @default [`limits::SEGMENT_BYTES`]
    pub segment_bytes: u64,
    /// @default [`limits::IO_THREADS`]
    pub io_threads: usize,
    /// Reads of what is not in memory that are under way at once. @default [`limits::READ_DEPTH`]
    pub read_depth: usize,
    /// Where the buffers of reads come from. @default none are kept
    pub buffers: Arc<Buffers>,
}

impl OpenOptions {
    pub fn new(path: impl Into<PathBuf>, deployment: [u8; 16]) -> Self {
        Self {
            path: path.into(),
            deployment,
            drive: None,
            reserve_bytes: 0,
            segment_bytes: limits::SEGMENT_BYTES,
            io_threads: limits::IO_THREADS,
            read_depth: limits::READ_DEPTH,
            buffers: Buffers::new(0),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpenReport {
    pub drive: [u8; 16],
    pub format_version: u32,
    /// `pwrite`.
    pub io: &'static str,
    /// Records replayed from the log since the last checkpoint of the index.
    pub recovered_records: u64,
    pub recovery_ms: u64,
    /// The index was lost or unreadable and has been rebuilt from the segments.
    pub index_rebuilt: bool,
    /// Streaming shards that were never sealed and have been dropped.
    pub dropped_unsealed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DriveState {
    #[default]
    Online,
    /// Takes no new shards.
    Full,
    /// A write or fsync failed.
    Failed,
}

#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub drive: [u8; 16],
    pub state: DriveState,
    /// Why it failed.
    pub reason: String,
    pub total_bytes: u64,
    pub free_bytes: u64,
    /// Bytes of records of live shards (headers and padding included), and of records that compaction will free.
    pub live_bytes: u64,
    pub dead_bytes: u64,
    pub shards: u64,
    pub writes: u64,
    pub written_bytes: u64,
    pub reads: u64,
    pub read_bytes: u64,
    pub fsyncs: u64,
    pub fsync_p50_ms: f64,
    pub fsync_p99_ms: f64,
    pub io_errors: u64,
    pub crc_errors: u64,
    /// Operations that wait for the log or for an I/O thread.
    pub queue_depth: u64,
}

#[derive(Clone, Debug, Default)]
pub struct ScrubStep {
    pub bytes: u64,
    pub shards: u64,
    pub damaged: Vec<(ShardKey, DamageReason)>,
    /// Pass it to go on; `None` when the drive has been read to its end.
    pub cursor: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CompactStep {
    /// Bytes of records moved, and of segments given back or made reusable.
    pub moved_bytes: u64,
    pub freed_bytes: u64,
    /// False when nothing is worth compacting now.
    pub more: bool,
}

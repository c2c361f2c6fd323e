//! Every limit of the drive store, in one place.

/// Bytes of a block that one CRC-32C covers; the last unit of a block may be shorter.
pub const UNIT_BYTES: usize = 32 * 1024;

/// Page of the drive: batches of the log and the parts of a dedicated segment begin on one, so that no write ever touches
/// a page that holds acknowledged bytes.
pub const PAGE_BYTES: u64 = 4096;

/// Records within a batch begin at multiples of this.
pub const RECORD_ALIGN_BYTES: u64 = 64;

/// Default size of a shared segment. 64 MiB is zeroed in well under a second, holds about a thousand 64 KiB shards, keeps
/// the table of segments small (160 thousand for 10 TB), and bounds what a start scans and what compaction has to move.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Smallest segment that may be configured (simulation uses small ones).
pub const MIN_SEGMENT_BYTES: u64 = 64 * 1024;

/// Largest segment: offsets within a shared segment are 32-bit.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 31;

/// A one-block shard up to this size goes to a shared segment; anything else gets a dedicated one.
pub const SHARED_SHARD_BYTES: usize = 1024 * 1024;

/// Largest block.
pub const MAX_BLOCK_BYTES: usize = 64 * 1024 * 1024;

/// Blocks of one shard.
pub const MAX_SHARD_BLOCKS: u32 = 1 << 24;

/// Keys of one call of `delete`; their tombstones must fit one segment.
pub const MAX_DELETE_KEYS: usize = 10_000;

/// Name and value of a mark.
pub const MAX_MARK_NAME_BYTES: usize = 256;
pub const MAX_MARK_VALUE_BYTES: usize = 16 * 1024;

/// A new shared segment is filled with zeros ahead of its use while batches are usually smaller than this. With batches of
/// 1 MiB a drive takes a third more when it is not (zeroing included); with batches of 64 KiB it waits twice as long for each.
pub const ZEROED_BELOW_BYTES: u64 = 256 * 1024;

/// Bytes that one group commit writes at most; what is queued beyond it waits for the next.
pub const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of data that may wait in the queues of a drive; beyond it `put` and `append` wait.
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Operations that may wait for the log.
pub const QUEUE_OPS: usize = 4096;

/// Changes held in memory before the index is brought up to date in the background.
pub const RECENT_ENTRIES: usize = 32 * 1024;

/// Age after which the index is brought up to date even if few changes wait.
pub const RECENT_AGE_MS: u64 = 5_000;

/// Cache of the index.
pub const INDEX_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// The same of the look at all of it, while it is in use.
pub const INDEX_CHECK_CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Open files kept for reading.
pub const OPEN_FILES: usize = 256;

/// Free shared segments kept for reuse; further ones are given back to the file system.
pub const FREE_SEGMENTS: usize = 4;

/// A shared segment is rewritten when at least this share of its used bytes is dead.
pub const COMPACT_DEAD_PERCENT: u64 = 50;

/// Threads that read and stream, per drive.
pub const IO_THREADS: usize = 4;

/// Reads of what is not in memory that are under way at once, per drive, each on a thread of its own. Sixteen give twice what
/// four give; if they served what is in memory as well, they would halve that.
pub const READ_DEPTH: usize = 16;

/// How long a look at the free space of the file system is believed.
pub const SPACE_CACHE_MS: u64 = 500;

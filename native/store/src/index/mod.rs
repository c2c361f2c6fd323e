//! The index: where each shard lies. It is a function of the log ([`Index::apply`]); what the last checkpoint does not hold
//! yet is in memory and is applied again when the drive is opened.

mod apply;
mod backend;
mod check;
mod checkpoint;
pub mod entry;
mod scan;
mod tombstones;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use backend::Unreadable;
use entry::{ENTRY_BYTES, Entry, KEY_BYTES, KeyBytes, Loc, key_bytes};
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use crate::disk::File;
use crate::types::{Result, ShardKey, StoreError};

pub use check::check_file;
pub use tombstones::Tombstones;

/// File of the index in the drive's folder.
pub const INDEX_FILE: &str = "index.redb";

const SHARDS: TableDefinition<&[u8; KEY_BYTES], &[u8; ENTRY_BYTES]> =
    TableDefinition::new("shards");
/// Ids of dedicated segments that belong to a sealed shard.
const DEDICATED: TableDefinition<u64, ()> = TableDefinition::new("dedicated");
const SEGMENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("segments");
const GENERATIONS: TableDefinition<u64, (u64, u64, u32, u32)> = TableDefinition::new("generations");
const MARKS: TableDefinition<&str, (&str, u64, u64, u32, u32)> = TableDefinition::new("marks");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// How far the log has been applied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    pub epoch: u64,
    pub offset: u64,
}

/// A shared segment that holds records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shared {
    /// Number in the file's name.
    pub slot: u64,
    pub salt: u64,
    /// End of the last record.
    pub used: u64,
    /// Bytes of records that count: shards, seals, newest generations and marks.
    pub live: u64,
    /// Segments that hold older records of shards that lie here (moved, or written again). While one of them exists this one is not freed: a tombstone may go when
    /// the segment of the record it removes is gone, and then no older copy of that record may be left anywhere.
    pub sources: BTreeSet<u64>,
    pub tombstones: Tombstones,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    pub value: String,
    pub lsn: u64,
    pub log: Loc,
}

/// What has changed since the last checkpoint and is not part of the shards' table.
#[derive(Clone, Default)]
struct Dirty {
    generations: BTreeSet<u64>,
    marks: BTreeSet<String>,
    segments: BTreeSet<u64>,
    /// Dedicated segments that came (true) or went.
    dedicated: BTreeMap<u64, bool>,
}

type Recent = BTreeMap<KeyBytes, Option<Entry>>;

pub struct Index {
    /// Its file, which changes in a checkpoint only.
    pub file: Arc<dyn File>,
    db: Arc<Database>,
    /// The shards' table as of the last checkpoint.
    table: ReadOnlyTable<&'static [u8; KEY_BYTES], &'static [u8; ENTRY_BYTES]>,
    /// Changes after that, in front of it: first those that a checkpoint is writing, then the newest.
    flushing: Arc<Recent>,
    flushing_dedicated: Arc<BTreeMap<u64, bool>>,
    recent: Recent,
    dirty: Dirty,
    pub generations: HashMap<u64, (u64, Loc)>,
    pub marks: BTreeMap<String, Mark>,
    pub segments: BTreeMap<u64, Shared>,
    /// Dedicated segments whose shard is gone: to be removed from the folder once the log says so durably.
    pub unlinks: Vec<u64>,
    pub shards: u64,
    pub dedicated_bytes: u64,
    /// Segments freed in the life of the drive.
    pub freed: u64,
    pub applied: Position,
    /// Checkpoints in the life of the drive, as the file counts them.
    pub checkpoints: u64,
    /// Log position that the checkpoint on the drive stands for.
    pub checkpointed: Position,
    pub next_lsn: u64,
    /// Highest epoch or id of a dedicated segment that is known to have been used.
    pub last_epoch: u64,
}

impl Index {
    pub fn lookup(&self, key: &ShardKey) -> Result<Option<Entry>> {
        let key = key_bytes(key);
        if let Some(entry) = self.recent.get(&key).or_else(|| self.flushing.get(&key)) {
            return Ok(*entry);
        }
        guarded(|| match self.table.get(&key).map_err(index_error)? {
            Some(value) => Entry::decode(value.value())
                .map(Some)
                .ok_or_else(|| damaged("an entry")),
            None => Ok(None),
        })
    }

    pub fn generation(&self, pg: u64) -> u64 {
        self.generations
            .get(&pg)
            .map_or(0, |(generation, _)| *generation)
    }

    /// Changes that wait for the next checkpoint.
    pub fn pending(&self) -> usize {
        self.recent.len()
            + self.dirty.generations.len()
            + self.dirty.marks.len()
            + self.dirty.segments.len()
    }

    /// Whether a dedicated segment belongs to a sealed shard.
    pub fn holds_dedicated(&self, id: u64) -> Result<bool> {
        if let Some(live) = self
            .dirty
            .dedicated
            .get(&id)
            .or_else(|| self.flushing_dedicated.get(&id))
        {
            return Ok(*live);
        }
        guarded(|| {
            let read = self.db.begin_read().map_err(index_error)?;
            let table = read.open_table(DEDICATED).map_err(index_error)?;
            Ok(table.get(id).map_err(index_error)?.is_some())
        })
    }

    /// A new, empty shared segment takes part.
    pub fn add_segment(&mut self, epoch: u64, shared: Shared) {
        self.last_epoch = self.last_epoch.max(epoch);
        self.segments.insert(epoch, shared);
        self.dirty.segments.insert(epoch);
    }

    pub fn remove_segment(&mut self, epoch: u64) {
        self.freed += 1;
        self.segments.remove(&epoch);
        self.dirty.segments.insert(epoch);
        for (other, shared) in &mut self.segments {
            if shared.sources.remove(&epoch) {
                self.dirty.segments.insert(*other);
            }
        }
    }
}

/// Writes fail as they fail for any file; everything else means that the index cannot be trusted.
fn index_error(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) => match error.get_ref() {
            Some(reading) if reading.is::<Unreadable>() => StoreError::Index(reading.to_string()),
            _ => error.into(),
        },
        // Of an error that somebody else was told.
        error @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed) => {
            StoreError::Io(Arc::new(std::io::Error::other(format!("index: {error}"))))
        }
        error => StoreError::Index(error.to_string()),
    }
}

/// The database may panic over a page that is not what it was: that is an error like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "without a message".to_owned());
        Err(StoreError::Index(format!("a panic over it: {text}")))
    })
}

fn damaged(what: &str) -> StoreError {
    StoreError::Index(format!("{what} is damaged"))
}

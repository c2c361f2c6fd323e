//! The index on the drive: opening it, and bringing it up to date.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable};

use super::backend::Backend;
use super::entry::{Entry, KeyBytes, Loc};
use super::{
    DEDICATED, Dirty, GENERATIONS, INDEX_FILE, Index, MARKS, META, Mark, Position, Recent,
    SEGMENTS, SHARDS, Shared, Tombstones, damaged, guarded, index_error,
};
use crate::disk::{Disk, File};
use crate::format::{FORMAT_VERSION, Fields};
use crate::limits::INDEX_CACHE_BYTES;
use crate::types::Result;

/// Changes on their way into the index on the drive.
pub struct Checkpoint {
    db: Arc<Database>,
    recent: Arc<Recent>,
    dirty: Dirty,
    generations: Vec<(u64, (u64, Loc))>,
    marks: Vec<(String, Mark)>,
    segments: Vec<(u64, Option<Shared>)>,
    meta: [(&'static str, u64); 9],
    position: Position,
    number: u64,
}

impl Index {
    /// Opens the index, or makes an empty one if there is none. An error means that it is unreadable: remove the file and
    /// rebuild it from the log.
    pub fn open(disk: &dyn Disk) -> Result<Self> {
        let file = match disk.open(INDEX_FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let file = disk.create(INDEX_FILE)?;
                disk.sync_dir("")?;
                file
            }
            Err(error) => return Err(error.into()),
        };
        let db = Database::builder()
            .set_cache_size(INDEX_CACHE_BYTES)
            // Reads the whole file and compares every page with its checksum. Without it a bit that turned makes shards seem to
            // be missing, and files of shards that are acknowledged seem to be left over from a crash.
            .set_check_integrity_on_open(true)
            .create_with_backend(Backend(file.clone()))
            .map_err(index_error)?;
        Self::load(file, Arc::new(db))
    }

    fn load(file: Arc<dyn File>, db: Arc<Database>) -> Result<Self> {
        let write = db.begin_write().map_err(index_error)?;
        {
            write.open_table(SHARDS).map_err(index_error)?;
            write.open_table(DEDICATED).map_err(index_error)?;
            write.open_table(SEGMENTS).map_err(index_error)?;
            write.open_table(GENERATIONS).map_err(index_error)?;
            write.open_table(MARKS).map_err(index_error)?;
            let mut meta = write.open_table(META).map_err(index_error)?;
            let version = meta
                .get("version")
                .map_err(index_error)?
                .map(|version| version.value());
            match version {
                None => drop(
                    meta.insert("version", u64::from(FORMAT_VERSION))
                        .map_err(index_error)?,
                ),
                Some(version) if version == u64::from(FORMAT_VERSION) => {}
                Some(_) => return Err(damaged("its version")),
            }
        }
        write.commit().map_err(index_error)?;

        let read = db.begin_read().map_err(index_error)?;
        let meta = read.open_table(META).map_err(index_error)?;
        let number = |name: &str| -> Result<u64> {
            Ok(meta
                .get(name)
                .map_err(index_error)?
                .map_or(0, |value| value.value()))
        };
        let applied = Position {
            epoch: number("epoch")?,
            offset: number("offset")?,
        };
        let mut index = Self {
            table: read.open_table(SHARDS).map_err(index_error)?,
            db: db.clone(),
            file,
            flushing: Arc::default(),
            flushing_dedicated: Arc::default(),
            recent: BTreeMap::new(),
            dirty: Dirty::default(),
            generations: HashMap::new(),
            marks: BTreeMap::new(),
            segments: BTreeMap::new(),
            unlinks: Vec::new(),
            shards: number("shards")?,
            dedicated_bytes: number("dedicated_bytes")?,
            freed: number("freed")?,
            checkpoints: number("checkpoints")?,
            applied,
            checkpointed: applied,
            next_lsn: number("next_lsn")?.max(1),
            last_epoch: number("last_epoch")?,
        };
        for row in read
            .open_table(SEGMENTS)
            .map_err(index_error)?
            .iter()
            .map_err(index_error)?
        {
            let (epoch, shared) = row.map_err(index_error)?;
            index.segments.insert(
                epoch.value(),
                decode_shared(shared.value()).ok_or_else(|| damaged("a segment"))?,
            );
        }
        for row in read
            .open_table(GENERATIONS)
            .map_err(index_error)?
            .iter()
            .map_err(index_error)?
        {
            let (pg, value) = row.map_err(index_error)?;
            let (generation, epoch, offset, len) = value.value();
            index
                .generations
                .insert(pg.value(), (generation, Loc { epoch, offset, len }));
        }
        for row in read
            .open_table(MARKS)
            .map_err(index_error)?
            .iter()
            .map_err(index_error)?
        {
            let (name, value) = row.map_err(index_error)?;
            let (value, lsn, epoch, offset, len) = value.value();
            let mark = Mark {
                value: value.to_owned(),
                lsn,
                log: Loc { epoch, offset, len },
            };
            index.marks.insert(name.value().to_owned(), mark);
        }
        Ok(index)
    }

    /// First step of a checkpoint, short: takes what has changed. Only one at a time.
    pub fn begin_checkpoint(&mut self) -> Checkpoint {
        assert!(self.flushing.is_empty(), "one checkpoint at a time");
        let dirty = std::mem::take(&mut self.dirty);
        self.flushing = Arc::new(std::mem::take(&mut self.recent));
        self.flushing_dedicated = Arc::new(dirty.dedicated.clone());
        Checkpoint {
            db: self.db.clone(),
            recent: self.flushing.clone(),
            generations: dirty
                .generations
                .iter()
                .filter_map(|pg| Some((*pg, *self.generations.get(pg)?)))
                .collect(),
            marks: dirty
                .marks
                .iter()
                .filter_map(|name| Some((name.clone(), self.marks.get(name)?.clone())))
                .collect(),
            segments: dirty
                .segments
                .iter()
                .map(|epoch| (*epoch, self.segments.get(epoch).cloned()))
                .collect(),
            meta: [
                ("epoch", self.applied.epoch),
                ("offset", self.applied.offset),
                ("shards", self.shards),
                ("dedicated_bytes", self.dedicated_bytes),
                ("next_lsn", self.next_lsn),
                ("last_epoch", self.last_epoch),
                ("freed", self.freed),
                ("checkpoints", self.checkpoints + 1),
                ("version", u64::from(FORMAT_VERSION)),
            ],
            position: self.applied,
            number: self.checkpoints + 1,
            dirty,
        }
    }

    /// Last step, short: what was written is read from the drive from now on.
    pub fn end_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.table = guarded(|| {
            let read = self.db.begin_read().map_err(index_error)?;
            read.open_table(SHARDS).map_err(index_error)
        })?;
        self.flushing = Arc::default();
        self.flushing_dedicated = Arc::default();
        self.checkpointed = checkpoint.position;
        self.checkpoints = checkpoint.number;
        Ok(())
    }

    /// Opens the file anew, after an error has made the database unusable. What is in memory stays.
    pub fn reopen(&mut self, disk: &dyn Disk) -> Result<()> {
        let fresh = guarded(|| Self::open(disk))?;
        self.table = fresh.table;
        self.db = fresh.db;
        self.file = fresh.file;
        self.checkpoints = fresh.checkpoints;
        Ok(())
    }

    /// Takes the changes back after a checkpoint that failed.
    pub fn abandon_checkpoint(&mut self, checkpoint: Checkpoint) {
        for (key, entry) in checkpoint.recent.iter() {
            self.recent.entry(*key).or_insert(*entry);
        }
        self.flushing = Arc::default();
        self.flushing_dedicated = Arc::default();
        self.dirty.generations.extend(checkpoint.dirty.generations);
        self.dirty.marks.extend(checkpoint.dirty.marks);
        self.dirty.segments.extend(checkpoint.dirty.segments);
        for (id, live) in checkpoint.dirty.dedicated {
            self.dirty.dedicated.entry(id).or_insert(live);
        }
    }
}

impl Checkpoint {
    /// Second step, long, without any lock: durable when it returns.
    pub fn write(&self) -> Result<()> {
        guarded(|| self.write_all())
    }

    fn write_all(&self) -> Result<()> {
        let write = self.db.begin_write().map_err(index_error)?;
        {
            let mut shards = write.open_table(SHARDS).map_err(index_error)?;
            for (key, entry) in self.recent.iter() {
                write_entry(&mut shards, key, entry.as_ref())?;
            }
            let mut dedicated = write.open_table(DEDICATED).map_err(index_error)?;
            for (id, live) in &self.dirty.dedicated {
                if *live {
                    dedicated.insert(id, ()).map_err(index_error)?;
                } else {
                    dedicated.remove(id).map_err(index_error)?;
                }
            }
            let mut segments = write.open_table(SEGMENTS).map_err(index_error)?;
            for (epoch, shared) in &self.segments {
                match shared {
                    Some(shared) => drop(
                        segments
                            .insert(epoch, encode_shared(shared).as_slice())
                            .map_err(index_error)?,
                    ),
                    None => drop(segments.remove(epoch).map_err(index_error)?),
                }
            }
            let mut generations = write.open_table(GENERATIONS).map_err(index_error)?;
            for (pg, (generation, log)) in &self.generations {
                generations
                    .insert(pg, (*generation, log.epoch, log.offset, log.len))
                    .map_err(index_error)?;
            }
            let mut marks = write.open_table(MARKS).map_err(index_error)?;
            for (name, mark) in &self.marks {
                let value = (
                    mark.value.as_str(),
                    mark.lsn,
                    mark.log.epoch,
                    mark.log.offset,
                    mark.log.len,
                );
                marks.insert(name.as_str(), value).map_err(index_error)?;
            }
            let mut meta = write.open_table(META).map_err(index_error)?;
            for (name, value) in self.meta {
                meta.insert(name, value).map_err(index_error)?;
            }
        }
        write.commit().map_err(index_error)
    }
}

type ShardsTable<'txn> = redb::Table<'txn, &'static KeyBytes, &'static [u8; super::ENTRY_BYTES]>;

fn write_entry(shards: &mut ShardsTable<'_>, key: &KeyBytes, entry: Option<&Entry>) -> Result<()> {
    match entry {
        Some(entry) => drop(shards.insert(key, &entry.encode()).map_err(index_error)?),
        None => drop(shards.remove(key).map_err(index_error)?),
    }
    Ok(())
}

fn encode_shared(shared: &Shared) -> Vec<u8> {
    let tombstones = &shared.tombstones;
    let counts = [
        shared.sources.len() as u64,
        tombstones.by_target.len() as u64,
        tombstones.others,
        tombstones.others_at,
    ];
    let words = [shared.slot, shared.salt, shared.used, shared.live]
        .into_iter()
        .chain(counts);
    let targets = tombstones
        .by_target
        .iter()
        .flat_map(|(target, bytes)| [*target, *bytes]);
    words
        .chain(shared.sources.iter().copied())
        .chain(targets)
        .flat_map(u64::to_le_bytes)
        .collect()
}

fn decode_shared(bytes: &[u8]) -> Option<Shared> {
    if bytes.len() < 64 {
        return None;
    }
    let mut fields = Fields(bytes);
    let (slot, salt, used, live) = (fields.u64(), fields.u64(), fields.u64(), fields.u64());
    let (sources, targets) = (fields.u64() as usize, fields.u64() as usize);
    let (others, others_at) = (fields.u64(), fields.u64());
    if fields.0.len() != (sources + targets * 2) * 8 {
        return None;
    }
    let sources: BTreeSet<u64> = (0..sources).map(|_| fields.u64()).collect();
    let by_target = (0..targets).map(|_| (fields.u64(), fields.u64())).collect();
    Some(Shared {
        slot,
        salt,
        used,
        live,
        sources,
        tombstones: Tombstones {
            by_target,
            others,
            others_at,
        },
    })
}

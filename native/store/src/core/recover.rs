//! Opening a drive: the index as it was at its last checkpoint, brought up to date from the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::IoSlice;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::{Mutex, RwLock};

use super::files::{FileId, Files, SEGMENTS_DIR};
use super::read::units_match;
use super::rollover::{Active, Log};
use super::scan::Scan;
use super::{Core, CoreOptions, failure};
use crate::disk::{Disk, File};
use crate::format::align;
use crate::format::checksum::{Masks, Place};
use crate::format::identity::Identity;
use crate::format::record::{HEADER_BYTES, Header, Kind};
use crate::format::segment::{SHARED_START, SegmentHeader, SegmentKind};
use crate::index::entry::Loc;
use crate::index::{INDEX_FILE, Index, Shared};
use crate::limits::PAGE_BYTES;
use crate::types::{OpenReport, Result, StoreError};

/// What lies in the folder of segments.
struct Found {
    /// Slot and header (`None` if both copies are damaged) of each shared segment.
    shared: Vec<(u64, Option<SegmentHeader>)>,
    dedicated: Vec<u64>,
}

/// A record that has been read and not applied yet.
struct Pending {
    header: Header,
    tail: Vec<u8>,
    loc: Loc,
    place: Place,
    file: Arc<dyn File>,
}

impl Core {
    pub fn open(
        disk: Arc<dyn Disk>,
        identity: Identity,
        options: CoreOptions,
    ) -> Result<(Self, OpenReport)> {
        let start = disk.now_ms();
        failure::refuse_failed(disk.as_ref())?;
        let mut report = OpenReport {
            drive: identity.drive,
            format_version: identity.format_version,
            io: disk.name(),
            ..OpenReport::default()
        };
        let found = look(disk.as_ref(), &identity)?;
        let fresh = disk.open(INDEX_FILE).is_err();
        let recovered = open_index(disk.as_ref())
            .and_then(|index| recover(&disk, &identity, index, &found, &mut report));
        let (index, log) = match recovered {
            Ok(recovered) => recovered,
            Err(error) if is_of_the_drive(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "index is unreadable, rebuilding it from the log");
                disk.remove(INDEX_FILE)?;
                report.recovered_records = 0;
                report.index_rebuilt = true;
                let index = Index::open(disk.as_ref())?;
                recover(&disk, &identity, index, &found, &mut report)?
            }
        };
        report.index_rebuilt |= fresh && report.recovered_records > 0;
        report.dropped_unsealed = drop_unsealed(disk.as_ref(), &index, &found)?;

        let epochs = found
            .shared
            .iter()
            .filter_map(|(_, header)| Some(header.as_ref()?.place.epoch));
        let last_epoch = epochs
            .chain(found.dedicated.iter().copied())
            .chain([index.last_epoch])
            .max()
            .unwrap_or(0);
        let core = Self {
            files: Files::new(disk.clone()),
            disk,
            identity,
            options,
            index: RwLock::new(index),
            log: Mutex::new(log),
            streams: Mutex::new(HashMap::new()),
            next_epoch: AtomicU64::new(last_epoch + 1),
            failure: Mutex::new(None),
            index_lost: AtomicBool::new(false),
            full: AtomicBool::new(false),
            space: Mutex::default(),
            dir: Default::default(),
            checkpointing: Mutex::new(()),
            compaction: Mutex::default(),
            stats: Default::default(),
        };
        if report.recovered_records > 0 {
            core.checkpoint()?;
        }
        core.reap();
        core.release_retired(&mut core.log.lock());
        report.recovery_ms = core.disk.now_ms().saturating_sub(start);
        Ok((core, report))
    }
}

fn is_of_the_drive(error: &StoreError) -> bool {
    match error {
        StoreError::Io(error) => error.raw_os_error().is_some(),
        StoreError::Index(_) => false,
        _ => true,
    }
}

fn open_index(disk: &dyn Disk) -> Result<Index> {
    // A damaged file may also make the database panic; the log has everything, so any way to fail means the same.
    std::panic::catch_unwind(AssertUnwindSafe(|| Index::open(disk)))
        .unwrap_or_else(|_| Err(StoreError::Index("a panic while opening it".into())))
}

fn look(disk: &dyn Disk, identity: &Identity) -> Result<Found> {
    let mut found = Found {
        shared: Vec::new(),
        dedicated: Vec::new(),
    };
    for name in disk.list(SEGMENTS_DIR)? {
        match FileId::parse(&name) {
            Some(FileId::Shared(slot)) => {
                let file = disk.open(&FileId::Shared(slot).path())?;
                let mut pages = vec![0; SHARED_START as usize];
                let read = file.read_at(&mut pages, 0)?;
                let (first, second) = pages[..read].split_at(read.min(PAGE_BYTES as usize));
                let copies =
                    [first, second].map(|page| SegmentHeader::decode(&identity.drive, page));
                let header = copies
                    .into_iter()
                    .flatten()
                    .max_by_key(|header| (header.place.epoch, header.kind as u8));
                found.shared.push((slot, header));
            }
            Some(FileId::Dedicated(id)) => found.dedicated.push(id),
            None => tracing::warn!(name, "a file that is no segment"),
        }
    }
    Ok(found)
}

/// Applies what the log holds beyond the index.
fn recover(
    disk: &Arc<dyn Disk>,
    identity: &Identity,
    mut index: Index,
    found: &Found,
    report: &mut OpenReport,
) -> Result<(Index, Log)> {
    let mut log = Log::default();
    let mut to_scan: BTreeMap<u64, (u64, Place)> = BTreeMap::new();
    let checkpointed = index.checkpointed;
    // Freed and given back to the file system after the last checkpoint. A lost file that shards lay in stays known, so that
    // they are reported; its number is not used again.
    let files: BTreeSet<u64> = found.shared.iter().map(|(slot, _)| *slot).collect();
    let gone = index
        .segments
        .iter()
        .filter(|(_, shared)| shared.live == 0 && !files.contains(&shared.slot));
    let gone: Vec<u64> = gone.map(|(epoch, _)| *epoch).collect();
    gone.into_iter()
        .for_each(|epoch| index.remove_segment(epoch));
    let slots = files
        .iter()
        .copied()
        .chain(index.segments.values().map(|shared| shared.slot));
    log.next_slot = slots.max().map_or(0, |slot| slot + 1);
    for (slot, header) in &found.shared {
        let Some(header) = header else {
            let known = index
                .segments
                .iter()
                .find(|(_, shared)| shared.slot == *slot)
                .map(|(epoch, shared)| (*epoch, shared.salt));
            match known {
                // The index knows what the file says no more.
                Some((epoch, salt)) if epoch >= checkpointed.epoch => {
                    to_scan.insert(
                        epoch,
                        (
                            *slot,
                            Place {
                                drive: identity.drive,
                                epoch,
                                salt,
                            },
                        ),
                    );
                }
                Some(_) => {}
                // A file that was not finished, or one whose header is lost: not touched, for it may hold shards.
                None => tracing::warn!(slot, "a segment without a valid header"),
            }
            continue;
        };
        let epoch = header.place.epoch;
        let stale: Vec<u64> = index
            .segments
            .iter()
            .filter(|(_, shared)| shared.slot == *slot)
            .map(|(epoch, _)| *epoch)
            .collect();
        for old in stale
            .into_iter()
            .filter(|old| *old != epoch || header.kind == SegmentKind::Free)
        {
            index.remove_segment(old);
        }
        if header.kind == SegmentKind::Free
            || (epoch < checkpointed.epoch && !index.segments.contains_key(&epoch))
        {
            log.retired.push((epoch, *slot));
        } else if epoch >= checkpointed.epoch {
            to_scan.insert(epoch, (*slot, header.place));
        }
    }
    for (epoch, (slot, place)) in &to_scan {
        if !index.segments.contains_key(epoch) {
            let shared = Shared {
                slot: *slot,
                salt: place.salt,
                used: SHARED_START,
                ..Shared::default()
            };
            index.add_segment(*epoch, shared);
        }
    }

    let mut pending: Vec<Pending> = Vec::new();
    let mut last: Option<Active> = None;
    for (epoch, (slot, place)) in &to_scan {
        let file = disk.open(&FileId::Shared(*slot).path())?;
        let from = if *epoch == checkpointed.epoch {
            checkpointed.offset.max(SHARED_START)
        } else {
            SHARED_START
        };
        let mut scan = Scan::new(file.clone(), *place, from)?;
        let mut tail = index
            .segments
            .get(epoch)
            .map_or(SHARED_START, |shared| shared.used);
        let mut records = 0;
        while let Some((header, bytes, loc)) = scan.next()? {
            if pending
                .first()
                .is_some_and(|first| first.header.batch != header.batch)
            {
                // A later batch was begun only after these were durable.
                apply_all(&mut index, pending.drain(..), report)?;
            }
            tail = tail.max(u64::from(loc.offset) + u64::from(loc.len));
            records += 1;
            pending.push(Pending {
                header,
                tail: bytes,
                loc,
                place: *place,
                file: file.clone(),
            });
        }
        if records > 0 {
            // Another process may have died between write and fsync.
            file.sync()
                .map_err(|error| StoreError::Failed(format!("fsync of the log: {error}")))?;
        }
        if tail > SHARED_START {
            let active = Active {
                place: *place,
                slot: *slot,
                size: file.len()?,
                file,
                tail: align(tail, PAGE_BYTES),
            };
            last = Some(active);
        }
    }
    let whole = drop_torn(pending, &index)?;
    apply_all(&mut index, whole.into_iter(), report)?;

    let newest = last.as_ref().map_or(0, |active| active.place.epoch);
    for (epoch, (slot, _)) in to_scan.range(newest + 1..) {
        index.remove_segment(*epoch);
        log.retired.push((*epoch, *slot));
    }
    log.active = last;
    log.next_lsn = index.next_lsn;
    Ok((index, log))
}

fn apply_all(
    index: &mut Index,
    records: impl Iterator<Item = Pending>,
    report: &mut OpenReport,
) -> Result<()> {
    for record in records {
        index.apply(&record.header, &record.tail, record.loc)?;
        report.recovered_records += 1;
    }
    Ok(())
}

/// Of the last batch, which may have been torn by a crash, the records that are whole. The headers of the others are wiped
/// out: once there are later batches, they would seem to be acknowledged shards that went bad.
fn drop_torn(pending: Vec<Pending>, index: &Index) -> Result<Vec<Pending>> {
    let mut whole = Vec::new();
    for record in pending {
        // A shard that was damaged already when it was moved, from a segment that has been freed since: that was acknowledged.
        let moved = record.header.moved_from;
        if is_whole(&record)? || (moved != 0 && !index.segments.contains_key(&moved)) {
            whole.push(record);
            continue;
        }
        let offset = u64::from(record.loc.offset);
        let wiped = record
            .file
            .write_at(&[IoSlice::new(&[0; HEADER_BYTES])], offset)
            .and_then(|()| record.file.sync());
        wiped.map_err(|error| StoreError::Failed(format!("wiping out a torn record: {error}")))?;
    }
    Ok(whole)
}

fn is_whole(record: &Pending) -> Result<bool> {
    if record.header.kind != Kind::Shard {
        return Ok(true);
    }
    let mut data = vec![0; record.header.data_len as usize];
    crate::disk::read_exact_at(
        record.file.as_ref(),
        &mut data,
        u64::from(record.loc.offset) + record.header.data_offset(),
    )?;
    Ok(units_match(
        &Masks::new(&record.place, &record.header.key, 0),
        0,
        &data,
        &record.tail,
    ))
}

/// Removes dedicated segments that no sealed shard has.
fn drop_unsealed(disk: &dyn Disk, index: &Index, found: &Found) -> Result<u64> {
    let mut dropped = 0;
    for id in &found.dedicated {
        if !index.holds_dedicated(*id)? {
            disk.remove(&FileId::Dedicated(*id).path())?;
            dropped += 1;
        }
    }
    Ok(dropped)
}

//! The shared segments as files: the one that is written, the next one, those that wait to be used again.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Core;
use super::files::FileId;
use crate::disk::{File, is_no_space};
use crate::format::checksum::Place;
use crate::format::segment::{SHARED_START, SegmentHeader, SegmentKind};
use crate::index::Shared;
use crate::limits::{FREE_SEGMENTS, ZEROED_BELOW_BYTES};
use crate::types::{Result, StoreError};

/// The writing end of the log.
#[derive(Default)]
pub struct Log {
    pub active: Option<Active>,
    /// Ready to become the active one.
    pub spare: Option<Active>,
    /// Slots of shared segments whose records count no more.
    pub free: Vec<u64>,
    /// The same, but perhaps still being read: epoch and slot.
    pub retired: Vec<(u64, u64)>,
    pub next_slot: u64,
    pub next_lsn: u64,
    /// Running mean of the bytes of a batch.
    pub usual_batch: u64,
}

#[derive(Clone)]
pub struct Active {
    pub place: Place,
    pub slot: u64,
    pub file: Arc<dyn File>,
    /// Where the next batch goes.
    pub tail: u64,
    pub size: u64,
}

impl Core {
    /// Makes the next segment ready ahead of its time. Called in the background.
    pub fn prepare_spare(&self) -> Result<()> {
        self.check_working()?;
        let needed = {
            let log = self.log.lock();
            // What is left of the reserve is for removals and compaction, which make their segment when they need it.
            let room = !log.free.is_empty()
                || self.space_seen().free
                    >= self.options.reserve_bytes + self.options.segment_bytes;
            room && log.spare.is_none()
                && log
                    .active
                    .as_ref()
                    .is_none_or(|active| active.tail >= active.size / 4)
        };
        if !needed {
            return Ok(());
        }
        // Not under the log's lock: zeroing takes its time. Only this call and a rollover make segments; a rollover that
        // comes in between makes its own, and then this one is free for the next time.
        let ((slot, known), zeroed) = {
            let mut log = self.log.lock();
            (self.take_slot(&mut log), self.wants_zeros(&log))
        };
        match self.format_segment(slot, known, zeroed) {
            Ok(spare) => {
                let mut log = self.log.lock();
                let newest = log.active.as_ref().map_or(0, |active| active.place.epoch);
                if log.spare.is_none() && newest < spare.place.epoch {
                    log.spare = Some(spare);
                } else {
                    log.free.push(slot);
                }
                Ok(())
            }
            Err(error) => {
                self.log.lock().free.extend(known.then_some(slot));
                Err(error)
            }
        }
    }

    /// A new active segment. The reserve may be used for it unless it is a shard that wants it.
    pub(super) fn roll(&self, log: &mut Log, for_shard: bool) -> Result<()> {
        self.release_retired(log);
        if for_shard && log.spare.is_none() && log.free.is_empty() {
            self.admit(self.options.segment_bytes)?;
        }
        log.active = None;
        let next = match log.spare.take() {
            Some(spare) => spare,
            None => {
                let (slot, known) = self.take_slot(log);
                let zeroed = self.wants_zeros(log);
                self.format_segment(slot, known, zeroed)
                    .inspect_err(|_| log.free.extend(known.then_some(slot)))?
            }
        };
        let shared = Shared {
            slot: next.slot,
            salt: next.place.salt,
            used: SHARED_START,
            ..Shared::default()
        };
        self.index.write().add_segment(next.place.epoch, shared);
        log.active = Some(next);
        Ok(())
    }

    /// A slot to write, and whether its file is there already.
    fn take_slot(&self, log: &mut Log) -> (u64, bool) {
        if let Some(slot) = log.free.pop() {
            return (slot, true);
        }
        log.next_slot += 1;
        (log.next_slot - 1, false)
    }

    /// Whether a new file is worth filling with zeros: an fdatasync of small batches takes half the time then, while large
    /// ones would only wait for twice the bytes.
    fn wants_zeros(&self, log: &Log) -> bool {
        log.usual_batch < ZEROED_BELOW_BYTES.min(self.options.segment_bytes / 16)
    }

    /// Gives a slot a new epoch; durable when it returns. A new file gets its room and its length first.
    fn format_segment(&self, slot: u64, known: bool, zeroed: bool) -> Result<Active> {
        let id = FileId::Shared(slot);
        let made = self.try_format_segment(id, known, zeroed);
        made.map(|(place, file)| Active {
            place,
            slot,
            file,
            tail: SHARED_START,
            size: self.options.segment_bytes,
        })
        .map_err(|error| {
            if !known {
                self.files.forget(id);
                let _ = self.disk.remove(&id.path());
            }
            self.write_failed("preparing a segment", &error)
        })
    }

    fn try_format_segment(
        &self,
        id: FileId,
        known: bool,
        zeroed: bool,
    ) -> std::io::Result<(Place, Arc<dyn File>)> {
        let size = self.options.segment_bytes;
        let file = if known {
            self.files.file(id)?
        } else {
            self.disk.create(&id.path())?
        };
        let mut len = file.len()?;
        if len < size {
            match file.reserve(size) {
                Ok(()) if !zeroed => {
                    file.set_len(size)?;
                    len = size;
                }
                Err(error) if is_no_space(&error) => return Err(error),
                _ => {}
            }
        }
        let zeros = vec![0u8; 1 << 20];
        while len < size {
            let part = (size - len).min(zeros.len() as u64);
            file.write_at(&[IoSlice::new(&zeros[..part as usize])], len)?;
            len += part;
        }
        let place = self.place(self.next_epoch.fetch_add(1, Relaxed), self.disk.random());
        let header = SegmentHeader {
            kind: SegmentKind::Shared,
            place,
            size,
            created_ms: self.disk.now_ms(),
        };
        self.write_segment_header(file.as_ref(), &header)?;
        if !known {
            self.disk.sync_dir(super::SEGMENTS_DIR)?;
        }
        Ok((place, file))
    }

    /// Both copies, durable when it returns.
    pub(super) fn write_segment_header(
        &self,
        file: &dyn File,
        header: &SegmentHeader,
    ) -> std::io::Result<()> {
        let page = header.encode();
        file.write_at(&[IoSlice::new(&page), IoSlice::new(&page)], 0)?;
        self.timed_sync(file)
    }

    /// Says on the drive that the records of a segment count no more, and lets it be used again once nobody reads it. The
    /// index on the drive must not refer to it any more.
    pub(super) fn free_segment(&self, epoch: u64) -> Result<u64> {
        let Some(shared) = self.index.read().segments.get(&epoch).cloned() else {
            return Ok(0);
        };
        let freed = || -> std::io::Result<()> {
            let file = self.files.file(FileId::Shared(shared.slot))?;
            let header = SegmentHeader {
                kind: SegmentKind::Free,
                place: self.place(epoch, shared.salt),
                size: self.options.segment_bytes,
                created_ms: self.disk.now_ms(),
            };
            self.write_segment_header(file.as_ref(), &header)
        };
        match freed() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // Lost with all that lay in it; there is nothing to use again.
                self.index.write().remove_segment(epoch);
                return Ok(0);
            }
            freed => freed.map_err(|error| self.write_failed("freeing a segment", &error))?,
        }
        self.index.write().remove_segment(epoch);
        let mut log = self.log.lock();
        log.retired.push((epoch, shared.slot));
        self.release_retired(&mut log);
        Ok(self.options.segment_bytes)
    }

    /// Makes retired segments that nobody reads available; those beyond the number to keep go back to the file system.
    pub(super) fn release_retired(&self, log: &mut Log) {
        let (pinned, idle): (Vec<_>, Vec<_>) = std::mem::take(&mut log.retired)
            .into_iter()
            .partition(|(epoch, _)| self.files.is_pinned(*epoch));
        log.retired = pinned;
        for (_, slot) in idle {
            if log.free.len() < FREE_SEGMENTS {
                log.free.push(slot);
                continue;
            }
            let id = FileId::Shared(slot);
            self.files.forget(id);
            if let Err(error) = self.disk.remove(&id.path()) {
                tracing::warn!(%error, path = id.path(), "cannot remove a free segment");
            }
        }
    }

    /// Ends the active segment where its records end, after a write that found no room: nothing of that write may stay.
    pub(super) fn cut_active(&self, log: &mut Log) -> Result<(), StoreError> {
        let Some(active) = log.active.take() else {
            return Ok(());
        };
        active
            .file
            .set_len(active.tail)
            .and_then(|()| active.file.sync())
            .map_err(|error| self.fail("cutting a segment", &error))
    }
}

//! Group commit: many operations, one write, one fdatasync.

use super::Core;
use super::batch::Batch;
use super::plan::{Op, View};
use super::rollover::{Active, Log};
use crate::format::align;
use crate::format::segment::SHARED_START;
use crate::limits::{MAX_BATCH_BYTES, PAGE_BYTES};
use crate::stats::add;
use crate::types::{Result, StoreError};

impl Core {
    /// Carries the operations out, in order. What succeeds is durable when this returns; the answers are in the order of the
    /// operations.
    pub fn commit(&self, ops: &[Op]) -> Vec<Result<()>> {
        let mut log = self.log.lock();
        let mut answers: Vec<Result<()>> = Vec::with_capacity(ops.len());
        let mut refused = false;
        while answers.len() < ops.len() {
            let before = answers.len();
            let result = self
                .check_working()
                .and_then(|()| self.commit_some(&mut log, &ops[before..], &mut answers));
            match result {
                Ok(()) if answers.len() > before => refused = false,
                // The next operation does not fit the segment: go on in a new one.
                Ok(()) if !refused => {
                    refused = true;
                    if let Err(error) = self.roll(&mut log, matches!(ops[before], Op::Put { .. })) {
                        answers.push(Err(error));
                        refused = false;
                    }
                }
                Ok(()) => {
                    answers.push(Err(StoreError::Invalid("larger than a segment".into())));
                    refused = false;
                }
                Err(error) => answers.resize_with(ops.len(), || Err(error.clone())),
            }
        }
        answers
    }

    /// As many of the operations as fit the active segment, in one batch. Pushes one answer for each of them.
    fn commit_some(&self, log: &mut Log, ops: &[Op], answers: &mut Vec<Result<()>>) -> Result<()> {
        let Some(active) = log.active.clone() else {
            return Ok(());
        };
        let limit = (active.size - active.tail).min(MAX_BATCH_BYTES as u64);
        let mut batch = Batch::new(active.place, active.tail);
        let first_lsn = log.next_lsn;
        let mut planned_answers: Vec<Result<()>> = Vec::new();
        let (removed, seals) = {
            let index = self.index.read();
            let mut view = View::new(&index, active.place.epoch);
            for op in ops {
                // An upper bound, before the operation changes the view.
                if batch.len + upper_bound(op) > limit
                    && (batch.len > 0 || active.tail > SHARED_START)
                {
                    break;
                }
                let planned = self.plan(op, &mut view);
                match self.trusted(planned) {
                    Ok(records) => {
                        for mut planned in records {
                            if planned.header.lsn == 0 {
                                planned.header.lsn = log.next_lsn;
                                log.next_lsn += 1;
                            }
                            planned.header.batch = first_lsn;
                            batch.push(planned);
                        }
                        planned_answers.push(Ok(()));
                    }
                    Err(error) => planned_answers.push(Err(error)),
                }
            }
            (view.removed, view.seals)
        };
        let written = self.write_planned(log, &active, batch, first_lsn);
        if let Err(error) = &written {
            for answer in &mut planned_answers {
                // A refusal may rest on a generation or a removal that was part of the batch.
                if matches!(
                    answer,
                    Ok(()) | Err(StoreError::StaleGeneration { .. } | StoreError::NotFound)
                ) {
                    *answer = Err(error.clone());
                }
            }
        }
        if written.is_ok() && !removed.is_empty() {
            let mut streams = self.streams.lock();
            streams
                .values_mut()
                .for_each(|open| open.removed |= removed.contains(&open.key));
        }
        seals.into_iter().for_each(|id| self.seal_ended(id));
        answers.append(&mut planned_answers);
        Ok(())
    }

    fn write_planned(
        &self,
        log: &mut Log,
        active: &Active,
        mut batch: Batch,
        first_lsn: u64,
    ) -> Result<()> {
        if batch.records.is_empty() {
            return Ok(());
        }
        // Planning looked at the drive, too: what it found may mean that nothing may be written any more.
        self.check_working()?;
        // A moved record keeps its number; the batch must have one of its own all the same.
        log.next_lsn = log.next_lsn.max(first_lsn + 1);
        batch.finish();
        if batch.len > active.size - active.tail {
            return Err(StoreError::Invalid("larger than a segment".into()));
        }
        self.write_batch(log, active, &batch)
    }

    fn write_batch(&self, log: &mut Log, active: &Active, batch: &Batch) -> Result<()> {
        if let Err(error) = active.file.write_at(&batch.slices(), active.tail) {
            let failed = self.write_failed("writing the log", &error);
            self.cut_active(log)?;
            return Err(failed);
        }
        self.timed_sync(active.file.as_ref())
            .map_err(|error| self.fail("fsync of the log", &error))?;
        self.check_in_place(active.file.as_ref())?;
        log.usual_batch = (log.usual_batch * 7 + batch.len) / 8;
        add(&self.stats.writes, batch.records.len() as u64);
        add(&self.stats.written_bytes, batch.len);
        if let Some(active) = log.active.as_mut() {
            active.tail += align(batch.len, PAGE_BYTES);
        }
        let mut index = self.index.write();
        for (header, tail, loc) in &batch.records {
            // The log holds it: an index that cannot follow must not answer any more.
            index
                .apply(header, tail, *loc)
                .map_err(|error| self.index_failed(error))?;
        }
        index.next_lsn = index.next_lsn.max(log.next_lsn);
        Ok(())
    }
}

/// The most that the records of an operation take, to the end of their page.
fn upper_bound(op: &Op) -> u64 {
    let bytes = match op {
        Op::Put { block, .. } => 128 + 192 + block.data.len() + block.crcs.len() * 4 + 64,
        Op::Seal { .. } => 256,
        Op::Delete { keys } => keys.len() * 256,
        Op::Generation { .. } => 128,
        Op::Mark { name, value } => 128 + 4 + name.len() + value.len() + 64,
        Op::Move(moved) => moved.from.len as usize + 64,
    };
    align(bytes as u64, PAGE_BYTES)
}

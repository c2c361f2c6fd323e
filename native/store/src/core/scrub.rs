//! Reading everything, to find what went bad while nobody looked.

use super::Core;
use super::list::parse_cursor;
use crate::index::entry::{Entry, KEY_BYTES, KeyBytes, key_of};
use crate::types::{Result, ScrubStep, StoreError};

/// Shards taken from the index at a time.
const PAGE: usize = 64;

impl Core {
    /// Reads shards in index order from `cursor` on until at least `max_bytes` have been read. A cursor names the shard and
    /// the block to go on with. A pass begins with the index itself: what it does not name would never be read.
    pub fn scrub(&self, cursor: Option<&[u8]>, max_bytes: u64) -> Result<ScrubStep> {
        if cursor.is_none() {
            self.check_index_file()?;
        }
        let mut step = ScrubStep::default();
        let mut after = cursor.map(parse_cursor).transpose()?;
        if let (Some(key), Some(block)) = (
            after,
            cursor.and_then(|cursor| cursor.get(KEY_BYTES..KEY_BYTES + 4)),
        ) {
            let block = u32::from_be_bytes(block.try_into().expect("four bytes"));
            let entry = self.indexed(|index| index.lookup(&key_of(&key)))?;
            if let Some(entry) = entry
                && let Some(next) = self.scrub_shard(&key, &entry, block, max_bytes, &mut step)?
            {
                step.cursor = Some(cursor_at(&key, next));
                return Ok(step);
            }
        }
        loop {
            let page = self.indexed(|index| index.page(after.as_ref(), PAGE))?;
            for (key, entry) in &page {
                if step.bytes >= max_bytes && step.bytes > 0 {
                    step.cursor = after.map(|key| key.to_vec());
                    return Ok(step);
                }
                if let Some(next) = self.scrub_shard(key, entry, 0, max_bytes, &mut step)? {
                    step.cursor = Some(cursor_at(key, next));
                    return Ok(step);
                }
                after = Some(*key);
            }
            if page.len() < PAGE {
                return Ok(step);
            }
        }
    }

    /// The block to go on with, if the budget ended within the shard.
    fn scrub_shard(
        &self,
        key: &KeyBytes,
        entry: &Entry,
        from: u32,
        max_bytes: u64,
        step: &mut ScrubStep,
    ) -> Result<Option<u32>> {
        let name = key_of(key);
        for block in from..entry.blocks {
            if block > from && step.bytes >= max_bytes {
                return Ok(Some(block));
            }
            match self.read(&name, u64::MAX, block, 0, entry.block_len(block)) {
                Ok(bytes) => step.bytes += bytes.len() as u64,
                Err(StoreError::Corrupt { reason, .. }) => {
                    step.damaged.push((name, reason));
                    break;
                }
                // Removed or replaced while we looked.
                Err(StoreError::NotFound | StoreError::Invalid(_)) => break,
                // Of the drive or its index, and no word of the shard.
                Err(error) => return Err(error),
            }
        }
        step.shards += 1;
        Ok(None)
    }
}

fn cursor_at(key: &KeyBytes, block: u32) -> Vec<u8> {
    [key.as_slice(), &block.to_be_bytes()].concat()
}

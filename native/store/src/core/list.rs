//! Listings: sealed shards from the index, and those that are being written.

use std::collections::BTreeMap;

use super::Core;
use crate::index::entry::{KEY_BYTES, KeyBytes, key_bytes, key_of};
use crate::types::{Result, ShardKey, ShardRecord, ShardState, StoreError};

/// Shards looked at for one page; those that are too young are passed over.
const LOOKED_AT: usize = 4096;

impl Core {
    /// What there is of a shard, by the index. An error is no word of whether it is there.
    pub fn has(&self, key: &ShardKey) -> Result<Option<ShardState>> {
        if let Some(entry) = self.indexed(|index| index.lookup(key))? {
            return Ok(Some(ShardState {
                sealed: true,
                blocks: entry.blocks,
                bytes: entry.bytes,
            }));
        }
        let streams = self.streams.lock();
        let open = streams
            .values()
            .find(|open| open.key == *key && !open.removed);
        Ok(open.map(|open| ShardState {
            sealed: false,
            blocks: open.blocks,
            bytes: open.bytes,
        }))
    }

    /// At most `limit` shards behind `cursor` in key order that were sealed before `before_ms`, or begun before it and are being
    /// written, and where to go on.
    /// A page may be short, or empty, before the end.
    #[allow(clippy::type_complexity)]
    pub fn list(
        &self,
        cursor: Option<&[u8]>,
        limit: usize,
        before_ms: u64,
    ) -> Result<(Vec<ShardRecord>, Option<Vec<u8>>)> {
        let after = cursor.map(parse_cursor).transpose()?;
        let limit = limit.clamp(1, LOOKED_AT);
        let sealed = self.indexed(|index| index.page(after.as_ref(), LOOKED_AT.min(limit * 4)))?;
        let end = (sealed.len() == LOOKED_AT.min(limit * 4))
            .then(|| sealed.last().map(|(key, _)| *key))
            .flatten();

        let mut found: BTreeMap<KeyBytes, ShardRecord> = BTreeMap::new();
        for open in self.streams.lock().values() {
            let key = key_bytes(&open.key);
            if after.is_none_or(|after| key > after)
                && end.is_none_or(|end| key <= end)
                && !open.removed
            {
                found.insert(
                    key,
                    ShardRecord {
                        key: open.key,
                        bytes: open.bytes,
                        written_ms: open.written_ms,
                        sealed: false,
                    },
                );
            }
        }
        for (key, entry) in sealed {
            let record = ShardRecord {
                key: key_of(&key),
                bytes: entry.bytes,
                written_ms: entry.written_ms,
                sealed: true,
            };
            found.insert(key, record);
        }
        let mut page: Vec<ShardRecord> = found
            .into_values()
            .filter(|record| record.written_ms < before_ms)
            .collect();
        let next = if page.len() > limit {
            page.truncate(limit);
            page.last().map(|record| key_bytes(&record.key))
        } else {
            end
        };
        Ok((page, next.map(|key| key.to_vec())))
    }
}

pub fn parse_cursor(cursor: &[u8]) -> Result<KeyBytes> {
    cursor
        .get(..KEY_BYTES)
        .and_then(|key| key.try_into().ok())
        .ok_or_else(|| StoreError::Invalid("a cursor of another kind".into()))
}

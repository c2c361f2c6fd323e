//! Pages of the index in key order.

use std::ops::Bound;

use super::entry::{Entry, KeyBytes};
use super::{Index, damaged, guarded, index_error};
use crate::types::Result;

impl Index {
    /// At most `limit` sealed shards behind `after` in key order.
    pub fn page(&self, after: Option<&KeyBytes>, limit: usize) -> Result<Vec<(KeyBytes, Entry)>> {
        guarded(|| self.page_of(after, limit))
    }

    fn page_of(&self, after: Option<&KeyBytes>, limit: usize) -> Result<Vec<(KeyBytes, Entry)>> {
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(*key));
        let from_ref = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut table = self
            .table
            .range::<&KeyBytes>((from_ref, Bound::Unbounded))
            .map_err(index_error)?;
        let mut next_of_table = || -> Result<Option<(KeyBytes, Option<Entry>)>> {
            match table.next().transpose().map_err(index_error)? {
                None => Ok(None),
                Some((key, value)) => {
                    let entry = Entry::decode(value.value()).ok_or_else(|| damaged("an entry"))?;
                    Ok(Some((*key.value(), Some(entry))))
                }
            }
        };
        let mut flushing = self
            .flushing
            .range::<KeyBytes, _>((from, Bound::Unbounded))
            .map(|(key, entry)| (*key, *entry));
        let mut recent = self
            .recent
            .range::<KeyBytes, _>((from, Bound::Unbounded))
            .map(|(key, entry)| (*key, *entry));

        // Newest layer first: of equal keys the first one counts, all are passed.
        let mut heads = [recent.next(), flushing.next(), next_of_table()?];
        let mut page = Vec::new();
        while page.len() < limit {
            let Some(key) = heads.iter().flatten().map(|(key, _)| *key).min() else {
                break;
            };
            let is_at = |head: &Option<(KeyBytes, Option<Entry>)>| {
                head.as_ref().is_some_and(|(at, _)| *at == key)
            };
            let newest = heads
                .iter()
                .find(|head| is_at(head))
                .and_then(|head| head.as_ref())
                .and_then(|(_, entry)| *entry);
            page.extend(newest.map(|entry| (key, entry)));
            let passed = [is_at(&heads[0]), is_at(&heads[1]), is_at(&heads[2])];
            if passed[0] {
                heads[0] = recent.next();
            }
            if passed[1] {
                heads[1] = flushing.next();
            }
            if passed[2] {
                heads[2] = next_of_table()?;
            }
        }
        Ok(page)
    }
}

//! The bound of the memory that bodies take: every stripe buffer holds a [`Reservation`] for as long as it lives.
//!
//! Four levels keep the parts out of each other's way. Reading ahead is welcome while little is used ([`Level::Ahead`]):
//! readers that stop taking what was read for them keep it, and must leave room for many more to be admitted. So are further
//! stripes of an upload ([`Level::Optional`]); a new upload or read needs more pressure to be refused
//! ([`Level::Admission`]); what is kept above that is for reads that need blocks beyond their range ([`Level::Extra`]), and for chunks that had to be taken
//! although their upload's stripe was full ([`Budget::take`]). An upload that was admitted keeps one stripe until it ends,
//! so it can always go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How far the budget may be filled for a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Up to 3/8 of the limit.
    Ahead,
    /// Up to 5/8.
    Optional,
    /// Up to 3/4.
    Admission,
    /// All of it.
    Extra,
}

/// A bound in bytes and what is taken of it.
pub struct Budget {
    limit: u64,
    used: AtomicU64,
    peak: AtomicU64,
}

impl Budget {
    pub fn new(limit_bytes: u64) -> Arc<Budget> {
        Arc::new(Budget {
            limit: limit_bytes,
            used: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        })
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// The most that was ever taken.
    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }

    /// Bytes that a purpose of this level may still take.
    pub fn free(&self, level: Level) -> u64 {
        self.ceiling(level).saturating_sub(self.used())
    }

    fn ceiling(&self, level: Level) -> u64 {
        match level {
            Level::Ahead => self.limit / 8 * 3,
            Level::Optional => self.limit / 8 * 5,
            Level::Admission => self.limit / 4 * 3,
            Level::Extra => self.limit,
        }
    }

    /// Takes `bytes`, or None if that would go above the level's ceiling.
    pub fn reserve(self: &Arc<Self>, bytes: u64, level: Level) -> Option<Reservation> {
        let ceiling = self.ceiling(level);
        let before = self
            .used
            .fetch_update(Relaxed, Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= ceiling)
            })
            .ok()?;
        Some(self.taken(before, bytes))
    }

    /// Takes `bytes` whatever is used, for what is in memory already and cannot be refused.
    pub fn take(self: &Arc<Self>, bytes: u64) -> Reservation {
        let before = self.used.fetch_add(bytes, Relaxed);
        self.taken(before, bytes)
    }

    /// Gives back bytes of a reservation that was forgotten.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    fn taken(self: &Arc<Self>, before: u64, bytes: u64) -> Reservation {
        self.peak.fetch_max(before + bytes, Relaxed);
        Reservation {
            budget: self.clone(),
            bytes,
        }
    }
}

/// Bytes taken of a [`Budget`]; dropping gives them back.
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_ends_at_its_ceiling_and_drops_give_back() {
        let budget = Budget::new(800);
        let ahead = budget.reserve(300, Level::Ahead).unwrap();
        assert!(budget.reserve(1, Level::Ahead).is_none());
        let optional = budget.reserve(200, Level::Optional).unwrap();
        assert!(budget.reserve(1, Level::Optional).is_none());
        let admitted = budget.reserve(100, Level::Admission).unwrap();
        assert!(budget.reserve(1, Level::Admission).is_none());
        let extra = budget.reserve(200, Level::Extra).unwrap();
        assert!(budget.reserve(1, Level::Extra).is_none());
        let beyond = budget.take(50);
        assert_eq!(budget.free(Level::Extra), 0);
        drop((ahead, optional, admitted, extra, beyond));
        assert_eq!((budget.used(), budget.peak()), (0, 850));
    }
}

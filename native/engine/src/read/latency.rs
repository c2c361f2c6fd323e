//! When to overtake a slow member: an estimate of the 95th percentile of block reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A stochastic quantile estimate: it goes up by 19 steps for a sample above it and down by one for a sample below, which
/// balances where one of twenty is above. The step follows the estimate, so that it adapts over orders of magnitude.
pub(crate) struct Latency {
    p95_micros: AtomicU64,
}

const UP_STEPS: u64 = 19;
const STEP_SHARE: u64 = 256;
const CEILING: Duration = Duration::from_millis(500);

impl Default for Latency {
    fn default() -> Latency {
        Latency {
            p95_micros: AtomicU64::new(2_000),
        }
    }
}

impl Latency {
    pub(crate) fn record(&self, took: Duration) {
        let sample = took.as_micros() as u64;
        let estimate = self.p95_micros.load(Relaxed);
        let step = (estimate / STEP_SHARE).max(1);
        let next = if sample > estimate {
            estimate + step * UP_STEPS
        } else {
            estimate.saturating_sub(step).max(1)
        };
        // A lost update is one sample of many.
        self.p95_micros
            .store(next.min(CEILING.as_micros() as u64), Relaxed);
    }

    /// How long to wait for a member before asking another: twice the estimate, at least `min`.
    pub(crate) fn hedge_after(&self, min: Duration) -> Duration {
        Duration::from_micros(self.p95_micros.load(Relaxed) * 2).max(min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_settles_at_the_95th_percentile() {
        let latency = Latency::default();
        for round in 0..40_000u64 {
            let slow = round.is_multiple_of(33);
            latency.record(Duration::from_micros(if slow {
                40_000
            } else {
                300 + round * 7919 % 100
            }));
        }
        let hedge = latency.hedge_after(Duration::ZERO);
        assert!(
            (600..2_000).contains(&(hedge.as_micros() as u64)),
            "{hedge:?}"
        );
        assert_eq!(
            latency.hedge_after(Duration::from_millis(10)),
            Duration::from_millis(10)
        );
    }
}

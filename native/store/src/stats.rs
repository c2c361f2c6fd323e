//! Counters of a drive.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::types::Stats;

/// Buckets of a quarter of a power of two, from 1 µs up.
const BUCKETS: usize = 128;

/// A histogram of the latest latencies: halved when it holds [`Histogram::KEEP`], so that old ones fade.
pub struct Histogram {
    counts: [AtomicU64; BUCKETS],
    total: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            total: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    const KEEP: u64 = 4096;

    pub fn record(&self, latency: Duration) {
        let micros = latency.as_secs_f64() * 1e6;
        let bucket = ((micros.max(1.0).log2() * 4.0) as usize).min(BUCKETS - 1);
        self.counts[bucket].fetch_add(1, Relaxed);
        if self.total.fetch_add(1, Relaxed) >= Self::KEEP {
            self.total.store(0, Relaxed);
            for count in &self.counts {
                let half = count.load(Relaxed) / 2;
                count.store(half, Relaxed);
                self.total.fetch_add(half, Relaxed);
            }
        }
    }

    /// Milliseconds below which `share` of the latencies lie; 0 without any.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let counts: Vec<u64> = self
            .counts
            .iter()
            .map(|count| count.load(Relaxed))
            .collect();
        let wanted = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let bucket = counts.iter().position(|count| {
            seen += count;
            wanted > 0 && seen >= wanted
        });
        bucket.map_or(0.0, |bucket| ((bucket + 1) as f64 / 4.0).exp2() / 1e3)
    }
}

#[derive(Default)]
pub struct Counters {
    pub writes: AtomicU64,
    pub written_bytes: AtomicU64,
    pub reads: AtomicU64,
    pub read_bytes: AtomicU64,
    pub fsyncs: AtomicU64,
    pub io_errors: AtomicU64,
    pub crc_errors: AtomicU64,
    pub fsync: Histogram,
}

pub fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Relaxed);
}

impl Counters {
    pub fn snapshot(&self) -> Stats {
        Stats {
            writes: self.writes.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            reads: self.reads.load(Relaxed),
            read_bytes: self.read_bytes.load(Relaxed),
            fsyncs: self.fsyncs.load(Relaxed),
            fsync_p50_ms: self.fsync.quantile_ms(0.5),
            fsync_p99_ms: self.fsync.quantile_ms(0.99),
            io_errors: self.io_errors.load(Relaxed),
            crc_errors: self.crc_errors.load(Relaxed),
            ..Stats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_close() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), 0.0);
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        assert!((0.4..0.7).contains(&histogram.quantile_ms(0.5)));
        assert!((0.9..1.3).contains(&histogram.quantile_ms(0.99)));
    }
}

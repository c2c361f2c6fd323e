//! The lane scheduler: many streams of one hash, side by side in vector registers.

use super::stream::{Block, BlockHash};

/// Whole blocks that wait to be folded into a stream's chaining value.
pub(super) struct Job<'a, const W: usize> {
    pub(super) state: &'a mut [u32; W],
    pub(super) blocks: &'a [Block],
}

/// A kernel that advances several streams at once.
pub(super) struct LaneKernel<const W: usize> {
    pub(super) name: &'static str,
    /// How many streams it takes.
    pub(super) lanes: usize,
    /// With fewer streams than this a narrower kernel, or one stream after the other, is faster.
    pub(super) from: usize,
    /// Folds the first `blocks` blocks of each job into its state; the jobs keep the rest. At most `lanes` jobs, each with
    /// at least `blocks` blocks.
    pub(super) run: fn(jobs: &mut [Job<'_, W>], blocks: usize),
}

/// Runs every job to its end with the kernels of this processor.
pub(super) fn run<H: BlockHash<W>, const W: usize>(jobs: Vec<Job<'_, W>>) {
    run_with::<H, W>(H::lane_kernels(), jobs);
}

/// Name of the widest kernel.
pub(super) fn widest<H: BlockHash<W>, const W: usize>() -> &'static str {
    H::lane_kernels()
        .last()
        .map_or("scalar", |kernel| kernel.name)
}

/// [`run`] with given kernels, narrowest first. Longest jobs start first, so that the lanes end at about the same time.
pub(super) fn run_with<H: BlockHash<W>, const W: usize>(
    kernels: &[LaneKernel<W>],
    mut jobs: Vec<Job<'_, W>>,
) {
    jobs.sort_unstable_by_key(|job| job.blocks.len()); // the longest ones wait at the end
    let width = kernels.last().map_or(0, |kernel| kernel.lanes);
    let mut active: Vec<Job<'_, W>> = Vec::with_capacity(width);
    loop {
        let free = width - active.len();
        active.extend(jobs.drain(jobs.len() - free.min(jobs.len())..));
        let Some(kernel) = kernels
            .iter()
            .rev()
            .find(|kernel| active.len() >= kernel.from.max(1))
        else {
            break;
        };
        let taken = active.len().min(kernel.lanes);
        let taken = &mut active[..taken];
        let blocks = taken
            .iter()
            .map(|job| job.blocks.len())
            .min()
            .expect("at least one job is active");
        (kernel.run)(taken, blocks);
        active.retain(|job| !job.blocks.is_empty());
    }
    for job in active.into_iter().chain(jobs) {
        H::compress(job.state, job.blocks);
    }
}

//! The lane scheduler: many streams of one hash, side by side in vector registers.

#[cfg(target_arch = "x86_64")]
use std::array;

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
    pub(super) run: RunLanes<W>,
}

pub(super) type RunLanes<const W: usize> = fn(jobs: &mut [Job<'_, W>], blocks: usize);

/// The name of the widest kernel.
pub(super) fn widest<const W: usize>(kernels: &[LaneKernel<W>]) -> &'static str {
    kernels.last().map_or("scalar", |kernel| kernel.name)
}

/// Only the kernel of that name, for any number of streams.
pub(super) fn forced<const W: usize>(kernels: &[LaneKernel<W>], name: &str) -> Vec<LaneKernel<W>> {
    let kernels = kernels.iter().filter(|kernel| kernel.name == name);
    kernels
        .map(|kernel| LaneKernel { from: 1, ..*kernel })
        .collect()
}

/// Runs every job to its end with the given kernels, narrowest first. Longest jobs start first, so that the lanes end at
/// about the same time.
pub(super) fn run<H: BlockHash<W>, const W: usize>(
    kernels: &[LaneKernel<W>],
    mut jobs: Vec<Job<'_, W>>,
) {
    jobs.sort_unstable_by_key(|job| job.blocks.len()); // the longest ones wait at the end
    let width = kernels.last().map_or(0, |kernel| kernel.lanes);
    let mut active: Vec<Job<'_, W>> = Vec::with_capacity(width);
    loop {
        while active.len() < width
            && let Some(job) = jobs.pop()
        {
            active.push(job);
        }
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

/// Hands jobs to a kernel that has its N lanes side by side: `state[word][lane]`, and as many blocks for each lane. Lanes
/// without a job go along with the first job, and what they compute is dropped.
#[cfg(target_arch = "x86_64")]
pub(super) fn gather<const W: usize, const N: usize>(
    jobs: &mut [Job<'_, W>],
    blocks: usize,
    kernel: impl FnOnce(&mut [[u32; N]; W], &[&[Block]; N]),
) {
    assert!((1..=N).contains(&jobs.len()));
    let job_of = |lane: usize| if lane < jobs.len() { lane } else { 0 };
    let lanes: [&[Block]; N] = array::from_fn(|lane| &jobs[job_of(lane)].blocks[..blocks]);
    let mut state: [[u32; N]; W] =
        array::from_fn(|word| array::from_fn(|lane| jobs[job_of(lane)].state[word]));
    kernel(&mut state, &lanes);
    for (lane, job) in jobs.iter_mut().enumerate() {
        for (word, state) in job.state.iter_mut().zip(&state) {
            *word = state[lane];
        }
        job.blocks = &job.blocks[blocks..];
    }
}

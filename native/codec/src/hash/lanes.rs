//! The lane scheduler: many streams of one hash, side by side in vector registers.

use std::array;
use std::cmp::Reverse;

use super::stream::{BLOCK_BYTES, Block, BlockHash};

/// Blocks per lane and turn.
const TURN_BLOCKS: usize = 128;
/// Blocks per lane that are copied at a time: for 32 lanes they take a third of a first-level cache.
const STAGED_BLOCKS: usize = 8;

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

/// Runs every job to its end with the given kernels, narrowest first. While there are more jobs than lanes, those that have
/// most left take turns, so that the lanes stay full to the end.
pub(super) fn run<H: BlockHash<W>, const W: usize>(
    kernels: &[LaneKernel<W>],
    mut jobs: Vec<Job<'_, W>>,
) {
    while let Some(kernel) = kernels
        .iter()
        .rfind(|kernel| jobs.len() >= kernel.from.max(1))
    {
        if jobs.len() > kernel.lanes {
            jobs.sort_unstable_by_key(|job| Reverse(job.blocks.len()));
        }
        let turn = if jobs.len() > kernel.lanes {
            TURN_BLOCKS
        } else {
            usize::MAX
        };
        let lanes = jobs.len().min(kernel.lanes);
        let shortest = jobs[..lanes].iter().map(|job| job.blocks.len()).min();
        (kernel.run)(
            &mut jobs[..lanes],
            shortest.map_or(0, |blocks| blocks.min(turn)),
        );
        jobs.retain(|job| !job.blocks.is_empty());
    }
    for job in jobs {
        H::compress(job.state, job.blocks);
    }
}

/// Advances two streams of different hashes, block by block in turn, until one is at its end. Both wait for their own chains
/// of dependent steps, so the processor overlaps them: a lone upload that needs MD5 and SHA-256 gains a sixth.
pub(super) fn alternate<A: BlockHash<V>, B: BlockHash<W>, const V: usize, const W: usize>(
    a: &mut Job<'_, V>,
    b: &mut Job<'_, W>,
) {
    let both = a.blocks.len().min(b.blocks.len());
    for (block_of_a, block_of_b) in a.blocks[..both].chunks(1).zip(b.blocks[..both].chunks(1)) {
        A::compress(a.state, block_of_a);
        B::compress(b.state, block_of_b);
    }
    a.blocks = &a.blocks[both..];
    b.blocks = &b.blocks[both..];
}

/// Hands jobs to a kernel that has its N lanes side by side: `state[word][lane]`, and as many blocks for each lane. Lanes
/// without a job go along with the first job, and what they compute is dropped.
///
/// The blocks are copied first, some of each lane at a time: streams tend to lie at equal offsets within pages, where their
/// lines would drive each other out of the cache's sets before they are used.
pub(super) fn gather<const W: usize, const N: usize>(
    jobs: &mut [Job<'_, W>],
    blocks: usize,
    kernel: impl Fn(&mut [[u32; N]; W], &[&[Block]; N]),
) {
    assert!((1..=N).contains(&jobs.len()));
    let job_of = |lane: usize| if lane < jobs.len() { lane } else { 0 };
    let mut state: [[u32; N]; W] =
        array::from_fn(|word| array::from_fn(|lane| jobs[job_of(lane)].state[word]));
    let mut staged = [[[0; BLOCK_BYTES]; STAGED_BLOCKS]; N];
    for from in (0..blocks).step_by(STAGED_BLOCKS) {
        let count = STAGED_BLOCKS.min(blocks - from);
        for (staged, job) in staged.iter_mut().zip(&*jobs) {
            staged[..count].copy_from_slice(&job.blocks[from..from + count]);
        }
        kernel(
            &mut state,
            &array::from_fn(|lane| &staged[job_of(lane)][..count]),
        );
    }
    for (lane, job) in jobs.iter_mut().enumerate() {
        for (word, state) in job.state.iter_mut().zip(&state) {
            *word = state[lane];
        }
        job.blocks = &job.blocks[blocks..];
    }
}

/// Each lane's block of that index.
pub(super) fn blocks_at<'a, const N: usize>(
    lanes: &[&'a [Block]; N],
    index: usize,
) -> [&'a Block; N] {
    lanes.map(|blocks| &blocks[index])
}

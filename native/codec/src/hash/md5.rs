//! MD5 (RFC 1321): the portable kernels, for one stream and for a few interleaved.

use std::array;
use std::hint::black_box;
use std::sync::OnceLock;

use super::lanes::{LaneKernel, RunLanes, blocks_at, gather};
use super::stream::{Block, BlockHash};
#[cfg(target_arch = "x86_64")]
use super::{md5_avx2, md5_avx512};

pub(super) struct Md5;

impl BlockHash<4> for Md5 {
    const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    const BIG_ENDIAN: bool = false;

    fn compress(state: &mut [u32; 4], blocks: &[Block]) {
        let mut words = state.map(|word| [word]);
        compress_lanes(&mut words, &[blocks]);
        *state = words.map(|[word]| word);
    }

    fn lane_kernels() -> &'static [LaneKernel<4>] {
        static KERNELS: OnceLock<Vec<LaneKernel<4>>> = OnceLock::new();
        KERNELS.get_or_init(detect_kernels)
    }
}

/// The kernels of this processor. `from` is where each begins to pay on Zen 5.
fn detect_kernels() -> Vec<LaneKernel<4>> {
    let x2: RunLanes<4> = |jobs, blocks| gather(jobs, blocks, compress_lanes::<2>);
    let x3: RunLanes<4> = |jobs, blocks| gather(jobs, blocks, compress_lanes::<3>);
    let mut kernels = Vec::with_capacity(4);
    kernels.extend([
        LaneKernel {
            name: "scalar-x2",
            lanes: 2,
            from: 2,
            run: x2,
        },
        LaneKernel {
            name: "scalar-x3",
            lanes: 3,
            from: 3,
            run: x3,
        },
    ]);
    #[cfg(target_arch = "x86_64")]
    if md5_avx2::is_available() {
        // SAFETY: the processor has AVX2.
        let run: RunLanes<4> = |jobs, blocks| {
            gather(jobs, blocks, |state, lanes| unsafe {
                md5_avx2::compress(state, lanes)
            })
        };
        kernels.push(LaneKernel {
            name: "avx2-x8",
            lanes: md5_avx2::LANES,
            from: 7,
            run,
        });
    }
    #[cfg(target_arch = "x86_64")]
    if md5_avx512::is_available() {
        // SAFETY: the processor has AVX-512F.
        let run: RunLanes<4> = |jobs, blocks| {
            gather(jobs, blocks, |state, lanes| unsafe {
                md5_avx512::compress(state, lanes)
            })
        };
        kernels.push(LaneKernel {
            name: "avx512-2x16",
            lanes: md5_avx512::LANES,
            from: 5,
            run,
        });
    }
    kernels
}

/// T[i] = floor(2^32 * |sin(i + 1)|) (RFC 1321, section 3.4).
#[rustfmt::skip]
pub(super) static T: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// The 64 steps. `$step!(round, a, b, c, d, message word, index into T, rotation)` with round F, G, H or I performs one:
/// the scalar and the vector kernels differ only in that step.
macro_rules! md5_rounds {
    ($step:ident, $a:ident, $b:ident, $c:ident, $d:ident) => {
        md5_rounds!(@round $step, F, $a, $b, $c, $d, 0, [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15], 7, 12, 17, 22);
        md5_rounds!(@round $step, G, $a, $b, $c, $d, 16, [1 6 11 0 5 10 15 4 9 14 3 8 13 2 7 12], 5, 9, 14, 20);
        md5_rounds!(@round $step, H, $a, $b, $c, $d, 32, [5 8 11 14 1 4 7 10 13 0 3 6 9 12 15 2], 4, 11, 16, 23);
        md5_rounds!(@round $step, I, $a, $b, $c, $d, 48, [0 7 14 5 12 3 10 1 8 15 6 13 4 11 2 9], 6, 10, 15, 21);
    };
    (@round $step:ident, $f:ident, $a:ident, $b:ident, $c:ident, $d:ident, $t:expr,
     [$m0:literal $m1:literal $m2:literal $m3:literal $($m:literal)*], $s0:literal, $s1:literal, $s2:literal, $s3:literal) => {
        $step!($f, $a, $b, $c, $d, $m0, $t, $s0);
        $step!($f, $d, $a, $b, $c, $m1, $t + 1, $s1);
        $step!($f, $c, $d, $a, $b, $m2, $t + 2, $s2);
        $step!($f, $b, $c, $d, $a, $m3, $t + 3, $s3);
        md5_rounds!(@round $step, $f, $a, $b, $c, $d, $t + 4, [$($m)*], $s0, $s1, $s2, $s3);
    };
    (@round $step:ident, $f:ident, $a:ident, $b:ident, $c:ident, $d:ident, $t:expr, [], $($s:literal),*) => {};
}
#[cfg(target_arch = "x86_64")]
pub(super) use md5_rounds;

/// Folds the blocks of N lanes, all of one length, into the chaining values `state[word][lane]`. For N = 2 and 3 the
/// lanes' steps fill each other's waiting times at next to no cost; four would not fit the registers.
///
/// The critical path of a step is what depends on `b`, the word just computed; everything else is written so that it can
/// be added before (in G the two halves share no set bit, so an addition joins them).
fn compress_lanes<const N: usize>(state: &mut [[u32; N]; 4], lanes: &[&[Block]; N]) {
    // Not known to the compiler, which would move additions of known constants behind those that a step waits for.
    let constants = black_box(&T);
    let [mut a, mut b, mut c, mut d] = *state;
    for block in 0..lanes[0].len() {
        let blocks = blocks_at(lanes, block);
        let word = |lane: usize, i: usize| u32::from_le_bytes(blocks[lane].as_chunks::<4>().0[i]);
        let before = [a, b, c, d];
        macro_rules! step {
            ($f:ident, $a:ident, $b:ident, $c:ident, $d:ident, $m:literal, $t:expr, $s:literal) => {
                for i in 0..N {
                    let early = $a[i].wrapping_add(word(i, $m)).wrapping_add(constants[$t]);
                    let sum = step!(@$f early, $b[i], $c[i], $d[i]);
                    $a[i] = sum.rotate_left($s).wrapping_add($b[i]);
                }
            };
            (@F $early:ident, $b:expr, $c:expr, $d:expr) => { $early.wrapping_add($d ^ ($b & ($c ^ $d))) };
            (@G $early:ident, $b:expr, $c:expr, $d:expr) => { $early.wrapping_add($c & !$d).wrapping_add($b & $d) };
            (@H $early:ident, $b:expr, $c:expr, $d:expr) => { $early.wrapping_add($b ^ ($c ^ $d)) };
            (@I $early:ident, $b:expr, $c:expr, $d:expr) => { $early.wrapping_add($c ^ ($b | !$d)) };
        }
        md5_rounds!(step, a, b, c, d);
        for (word, before) in [&mut a, &mut b, &mut c, &mut d].into_iter().zip(before) {
            *word = array::from_fn(|lane| word[lane].wrapping_add(before[lane]));
        }
    }
    *state = [a, b, c, d];
}

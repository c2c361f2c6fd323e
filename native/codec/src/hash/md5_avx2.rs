//! MD5 of 8 streams in a 256-bit register.

use std::arch::x86_64::*;

use super::lanes::blocks_at;
use super::md5::{T, md5_rounds};
use super::ordering::summed_256;
use super::stream::Block;
use super::transpose::words_of_8;

pub(super) const LANES: usize = 8;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Folds the blocks of the lanes, all of one length, into the chaining values `state[word][lane]`.
#[target_feature(enable = "avx2")]
pub(super) fn compress(state: &mut [[u32; LANES]; 4], lanes: &[&[Block]; LANES]) {
    let mut words = [
        load(&state[0]),
        load(&state[1]),
        load(&state[2]),
        load(&state[3]),
    ];
    let ones = _mm256_set1_epi32(-1);
    for block in 0..lanes[0].len() {
        let message = words_of_8(blocks_at(lanes, block));
        let [mut a, mut b, mut c, mut d] = words;
        macro_rules! step {
            (F, $a:ident, $b:ident, $c:ident, $d:ident, $($rest:tt)*) => {
                step!(@ $a, $b, _mm256_xor_si256($d, _mm256_and_si256($b, _mm256_xor_si256($c, $d))), $($rest)*)
            };
            (G, $a:ident, $b:ident, $c:ident, $d:ident, $($rest:tt)*) => {
                step!(@ $a, $b, _mm256_xor_si256($c, _mm256_and_si256($d, _mm256_xor_si256($b, $c))), $($rest)*)
            };
            (H, $a:ident, $b:ident, $c:ident, $d:ident, $($rest:tt)*) => {
                step!(@ $a, $b, _mm256_xor_si256($b, _mm256_xor_si256($c, $d)), $($rest)*)
            };
            (I, $a:ident, $b:ident, $c:ident, $d:ident, $($rest:tt)*) => {
                step!(@ $a, $b, _mm256_xor_si256($c, _mm256_or_si256($b, _mm256_xor_si256($d, ones))), $($rest)*)
            };
            (@ $a:ident, $b:ident, $mixed:expr, $m:literal, $t:expr, $s:literal) => {
                let constant = _mm256_set1_epi32(T[$t].cast_signed());
                let early = summed_256(_mm256_add_epi32(_mm256_add_epi32(message[$m], constant), $a));
                let sum = _mm256_add_epi32(early, $mixed);
                let turned = _mm256_or_si256(_mm256_slli_epi32::<$s>(sum), _mm256_srli_epi32::<{ 32 - $s }>(sum));
                $a = _mm256_add_epi32(turned, $b);
            };
        }
        md5_rounds!(step, a, b, c, d);
        for (word, new) in words.iter_mut().zip([a, b, c, d]) {
            *word = _mm256_add_epi32(*word, new);
        }
    }
    for (state, word) in state.iter_mut().zip(words) {
        store(state, word);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: &[u32; LANES]) -> __m256i {
    // SAFETY: 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(lanes: &mut [u32; LANES], value: __m256i) {
    // SAFETY: 32 writable bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), value) }
}

//! Loads a block of each lane and transposes: register i then holds the i-th 32-bit word of every lane.

use std::arch::x86_64::*;
use std::array;

use super::stream::Block;

/// 16 lanes, 16 words each.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn words_of_16(lanes: [&Block; 16]) -> [__m512i; 16] {
    // SAFETY: a block is 64 readable bytes; the load needs no alignment.
    let rows = lanes.map(|block| unsafe { _mm512_loadu_si512(block.as_ptr().cast()) });
    let mut pairs = rows;
    for i in (0..16).step_by(2) {
        pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    let mut fours = pairs; // fours[4 * g + i]: word i of each 128-bit quarter, for the lanes 4g..4g+4
    for i in (0..16).step_by(4) {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // What is left is the transposition of a 4x4 matrix of quarters for each i. 0x88 picks even, 0xdd odd quarters.
    let mut words = fours;
    for i in 0..4 {
        let even = [
            _mm512_shuffle_i32x4::<0x88>(fours[i], fours[4 + i]),
            _mm512_shuffle_i32x4::<0x88>(fours[8 + i], fours[12 + i]),
        ];
        let odd = [
            _mm512_shuffle_i32x4::<0xdd>(fours[i], fours[4 + i]),
            _mm512_shuffle_i32x4::<0xdd>(fours[8 + i], fours[12 + i]),
        ];
        words[i] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        words[4 + i] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        words[8 + i] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        words[12 + i] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
    words
}

/// 8 lanes, 16 words each.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn words_of_8(lanes: [&Block; 8]) -> [__m256i; 16] {
    let halves: [[__m256i; 8]; 2] = array::from_fn(|half| {
        // SAFETY: half a block is 32 readable bytes; the load needs no alignment.
        lanes.map(|block| unsafe { _mm256_loadu_si256(block.as_ptr().cast::<__m256i>().add(half)) })
    });
    let [low, high] = halves.map(|half| transpose_8(half));
    array::from_fn(|i| if i < 8 { low[i] } else { high[i - 8] })
}

#[inline]
#[target_feature(enable = "avx2")]
fn transpose_8(rows: [__m256i; 8]) -> [__m256i; 8] {
    let mut pairs = rows;
    for i in (0..8).step_by(2) {
        pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    let mut fours = pairs;
    for i in (0..8).step_by(4) {
        fours[i] = _mm256_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm256_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm256_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm256_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    let mut words = fours;
    for i in 0..4 {
        words[i] = _mm256_permute2x128_si256::<0x20>(fours[i], fours[4 + i]);
        words[4 + i] = _mm256_permute2x128_si256::<0x31>(fours[i], fours[4 + i]);
    }
    words
}

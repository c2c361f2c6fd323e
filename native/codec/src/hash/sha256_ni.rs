//! SHA-256 of two streams in turn with the SHA instructions: each round waits for the one before, so a second stream fits
//! in between.

use std::arch::x86_64::*;

use super::sha256::K;
use super::stream::Block;

pub(super) const LANES: usize = 2;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse4.1")
        && is_x86_feature_detected!("ssse3")
}

/// A chaining value as SHA256RNDS2 wants it: words (a, b, e, f) and (c, d, g, h), the first one highest.
#[derive(Clone, Copy)]
struct Halves {
    abef: __m128i,
    cdgh: __m128i,
}

/// Folds the blocks of the lanes, all of one length, into the chaining values `state[word][lane]`.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn compress(state: &mut [[u32; LANES]; 8], lanes: &[&[Block]; LANES]) {
    let mut first = halves_of(state, 0);
    let mut second = halves_of(state, 1);
    for (block0, block1) in lanes[0].iter().zip(lanes[1]) {
        let (before0, before1) = (first, second);
        let mut w0 = schedule_start(block0);
        let mut w1 = schedule_start(block1);
        macro_rules! four_rounds {
            ($($i:literal)*) => { $(
                rounds(&mut first, &w0, $i);
                rounds(&mut second, &w1, $i);
                if $i < 12 {
                    extend(&mut w0, $i);
                    extend(&mut w1, $i);
                }
            )* };
        }
        four_rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        first = sum(first, before0);
        second = sum(second, before1);
    }
    for (lane, halves) in [first, second].into_iter().enumerate() {
        let words = words_of(halves);
        for (state, word) in state.iter_mut().zip(words) {
            state[lane] = word;
        }
    }
}

/// Rounds 4i..4i+4; `w[i % 4]` holds their words of the message schedule.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn rounds(halves: &mut Halves, w: &[__m128i; 4], i: usize) {
    let [k0, k1, k2, k3] = K.as_chunks::<4>().0[i].map(u32::cast_signed);
    let sums = _mm_add_epi32(w[i % 4], _mm_set_epi32(k3, k2, k1, k0));
    halves.cdgh = _mm_sha256rnds2_epu32(halves.cdgh, halves.abef, sums);
    halves.abef = _mm_sha256rnds2_epu32(halves.abef, halves.cdgh, _mm_shuffle_epi32::<0x0e>(sums));
}

/// Replaces the words 4i.. of the schedule by the words 4i+16..
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn extend(w: &mut [__m128i; 4], i: usize) {
    let sigma0 = _mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]);
    let seven_back = _mm_alignr_epi8::<4>(w[(i + 3) % 4], w[(i + 2) % 4]);
    w[i % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(sigma0, seven_back), w[(i + 3) % 4]);
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn schedule_start(block: &Block) -> [__m128i; 4] {
    let swap_bytes = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let mut w = [_mm_setzero_si128(); 4];
    for (word, bytes) in w.iter_mut().zip(block.as_chunks::<16>().0) {
        // SAFETY: 16 readable bytes; the load needs no alignment.
        *word = _mm_shuffle_epi8(
            unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) },
            swap_bytes,
        );
    }
    w
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn sum(a: Halves, b: Halves) -> Halves {
    Halves {
        abef: _mm_add_epi32(a.abef, b.abef),
        cdgh: _mm_add_epi32(a.cdgh, b.cdgh),
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn halves_of(state: &[[u32; LANES]; 8], lane: usize) -> Halves {
    let word = |i: usize| state[i][lane].cast_signed();
    Halves {
        abef: _mm_set_epi32(word(0), word(1), word(4), word(5)),
        cdgh: _mm_set_epi32(word(2), word(3), word(6), word(7)),
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn words_of(halves: Halves) -> [u32; 8] {
    let abef = [
        _mm_extract_epi32::<3>(halves.abef),
        _mm_extract_epi32::<2>(halves.abef),
        _mm_extract_epi32::<1>(halves.abef),
        _mm_extract_epi32::<0>(halves.abef),
    ];
    let cdgh = [
        _mm_extract_epi32::<3>(halves.cdgh),
        _mm_extract_epi32::<2>(halves.cdgh),
        _mm_extract_epi32::<1>(halves.cdgh),
        _mm_extract_epi32::<0>(halves.cdgh),
    ];
    [
        abef[0], abef[1], cdgh[0], cdgh[1], abef[2], abef[3], cdgh[2], cdgh[3],
    ]
    .map(i32::cast_unsigned)
}

//! MD5 of 32 streams, in two groups of 16 lanes of a 512-bit register. A step waits for the one before, so that one group
//! alone leaves half of the machine idle.

use std::arch::x86_64::*;
use std::array;

use super::lanes::blocks_at;
use super::md5::{T, md5_rounds};
use super::ordering::summed_512;
use super::stream::Block;
use super::transpose::words_of_16;

/// Lanes of one register.
const GROUP_LANES: usize = 16;
const GROUPS: usize = 2;
pub(super) const LANES: usize = GROUPS * GROUP_LANES;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// Folds the blocks of the lanes, all of one length, into the chaining values `state[word][lane]`.
#[target_feature(enable = "avx512f")]
pub(super) fn compress(state: &mut [[u32; LANES]; 4], lanes: &[&[Block]; LANES]) {
    let mut words: [[__m512i; GROUPS]; 4] = array::from_fn(|word| {
        array::from_fn(|group| load(&state[word].as_chunks::<GROUP_LANES>().0[group]))
    });
    for block in 0..lanes[0].len() {
        let blocks = blocks_at(lanes, block);
        let (groups, _) = blocks.as_chunks::<GROUP_LANES>();
        let message: [[__m512i; 16]; GROUPS] = array::from_fn(|group| words_of_16(groups[group]));
        let [mut a, mut b, mut c, mut d] = words;
        // The round functions as truth tables of (b, c, d).
        macro_rules! step {
            (F, $($rest:tt)*) => { step!(@ 0xca, $($rest)*) };
            (G, $($rest:tt)*) => { step!(@ 0xe4, $($rest)*) };
            (H, $($rest:tt)*) => { step!(@ 0x96, $($rest)*) };
            (I, $($rest:tt)*) => { step!(@ 0x39, $($rest)*) };
            (@ $truth:literal, $a:ident, $b:ident, $c:ident, $d:ident, $m:literal, $t:expr, $s:literal) => {
                let constant = _mm512_set1_epi32(T[$t].cast_signed());
                for group in 0..GROUPS {
                    let mixed = _mm512_ternarylogic_epi32::<$truth>($b[group], $c[group], $d[group]);
                    let early = summed_512(_mm512_add_epi32(_mm512_add_epi32(message[group][$m], constant), $a[group]));
                    let turned = _mm512_rol_epi32::<$s>(_mm512_add_epi32(early, mixed));
                    $a[group] = _mm512_add_epi32(turned, $b[group]);
                }
            };
        }
        md5_rounds!(step, a, b, c, d);
        for (word, new) in words.iter_mut().zip([a, b, c, d]) {
            for group in 0..GROUPS {
                word[group] = _mm512_add_epi32(word[group], new[group]);
            }
        }
    }
    for (state, word) in state.iter_mut().zip(words) {
        for (lanes, value) in state.as_chunks_mut::<GROUP_LANES>().0.iter_mut().zip(word) {
            store(lanes, value);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(lanes: &[u32; GROUP_LANES]) -> __m512i {
    // SAFETY: 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(lanes: &mut [u32; GROUP_LANES], value: __m512i) {
    // SAFETY: 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), value) }
}

//! SHA-256 of 16 streams in 512-bit registers.

use std::arch::x86_64::*;

use super::lanes::blocks_at;
use super::md5_avx512::{load, store};
use super::ordering::summed_512;
use super::sha256::K;
use super::stream::Block;
use super::transpose::words_of_16;

pub(super) const LANES: usize = 16;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Folds the blocks of the lanes, all of one length, into the chaining values `state[word][lane]`.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(state: &mut [[u32; LANES]; 8], lanes: &[&[Block]; LANES]) {
    /// Truth tables of three operands.
    const XOR: i32 = 0x96;
    const CHOOSE: i32 = 0xca;
    const MAJORITY: i32 = 0xe8;
    let swap_bytes =
        _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    let mut words = [_mm512_setzero_si512(); 8];
    for (word, lanes) in words.iter_mut().zip(&*state) {
        *word = load(lanes);
    }
    for block in 0..lanes[0].len() {
        let mut w = words_of_16(blocks_at(lanes, block));
        for word in &mut w {
            *word = _mm512_shuffle_epi8(*word, swap_bytes);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = words;
        macro_rules! round {
            ($t:literal) => {
                let big_sigma1 = _mm512_ternarylogic_epi32::<XOR>(
                    _mm512_ror_epi32::<6>(e),
                    _mm512_ror_epi32::<11>(e),
                    _mm512_ror_epi32::<25>(e),
                );
                let choose = _mm512_ternarylogic_epi32::<CHOOSE>(e, f, g);
                let scheduled =
                    _mm512_add_epi32(w[$t % 16], _mm512_set1_epi32(K[$t].cast_signed()));
                let early = summed_512(_mm512_add_epi32(h, scheduled));
                let t1 = _mm512_add_epi32(summed_512(_mm512_add_epi32(early, choose)), big_sigma1);
                let big_sigma0 = _mm512_ternarylogic_epi32::<XOR>(
                    _mm512_ror_epi32::<2>(a),
                    _mm512_ror_epi32::<13>(a),
                    _mm512_ror_epi32::<22>(a),
                );
                let t2 =
                    _mm512_add_epi32(big_sigma0, _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c));
                (h, g, f, e) = (g, f, e, _mm512_add_epi32(d, t1));
                (d, c, b, a) = (c, b, a, _mm512_add_epi32(t1, t2));
                if $t < 48 {
                    let (early, late) = (w[($t + 1) % 16], w[($t + 14) % 16]);
                    let sigma0 = _mm512_ternarylogic_epi32::<XOR>(
                        _mm512_ror_epi32::<7>(early),
                        _mm512_ror_epi32::<18>(early),
                        _mm512_srli_epi32::<3>(early),
                    );
                    let sigma1 = _mm512_ternarylogic_epi32::<XOR>(
                        _mm512_ror_epi32::<17>(late),
                        _mm512_ror_epi32::<19>(late),
                        _mm512_srli_epi32::<10>(late),
                    );
                    let sum = _mm512_add_epi32(w[($t + 9) % 16], sigma1);
                    w[$t % 16] = _mm512_add_epi32(_mm512_add_epi32(w[$t % 16], sigma0), sum);
                }
            };
        }
        macro_rules! rounds { ($($t:literal)*) => { $( round!($t); )* } }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
        rounds!(32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
        for (word, new) in words.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = _mm512_add_epi32(*word, new);
        }
    }
    for (lanes, word) in state.iter_mut().zip(words) {
        store(lanes, word);
    }
}

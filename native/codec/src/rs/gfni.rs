//! GFNI with 512-bit vectors: one GF2P8AFFINEQB multiplies 64 bytes by a coefficient.

use std::arch::x86_64::*;

use super::kernel::{Coefficients, ROWS_AT_ONCE};

const VECTOR_BYTES: usize = 64;
/// Two vectors a step hide the latency of the accumulation.
const STEP_BYTES: usize = 2 * VECTOR_BYTES;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("gfni")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
}

/// See [`Coefficients::multiply`], which has checked counts and lengths.
#[target_feature(enable = "avx512f,avx512bw,gfni")]
pub(super) fn multiply(coefficients: &Coefficients, sources: &[&[u8]], out: &mut [&mut [u8]]) {
    let rows = coefficients
        .affine
        .chunks(ROWS_AT_ONCE * coefficients.columns);
    for (affine, out) in rows.zip(out.chunks_mut(ROWS_AT_ONCE)) {
        match out {
            [a, b, c, d] => multiply_rows(affine, sources, [a, b, c, d]),
            [a, b, c] => multiply_rows(affine, sources, [a, b, c]),
            [a, b] => multiply_rows(affine, sources, [a, b]),
            [a] => multiply_rows(affine, sources, [a]),
            _ => unreachable!("chunks hold one to {ROWS_AT_ONCE} rows"),
        }
    }
}

/// `affine` holds R rows, one after the other.
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn multiply_rows<const R: usize>(affine: &[u64], sources: &[&[u8]], mut out: [&mut [u8]; R]) {
    let columns = sources.len();
    let length = out[0].len();
    let mut at = 0;
    while at + STEP_BYTES <= length {
        let mut sums = [[_mm512_setzero_si512(); 2]; R];
        for (column, source) in sources.iter().enumerate() {
            let (low, high) = (load(source, at), load(source, at + VECTOR_BYTES));
            for (row, sum) in sums.iter_mut().enumerate() {
                let matrix = _mm512_set1_epi64(affine[row * columns + column] as i64);
                sum[0] = _mm512_xor_si512(sum[0], _mm512_gf2p8affine_epi64_epi8::<0>(low, matrix));
                sum[1] = _mm512_xor_si512(sum[1], _mm512_gf2p8affine_epi64_epi8::<0>(high, matrix));
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            store(out, at, sum[0]);
            store(out, at + VECTOR_BYTES, sum[1]);
        }
        at += STEP_BYTES;
    }
    while at < length {
        let mask = u64::MAX >> (VECTOR_BYTES - VECTOR_BYTES.min(length - at));
        let mut sums = [_mm512_setzero_si512(); R];
        for (column, source) in sources.iter().enumerate() {
            let bytes = load_masked(source, at, mask);
            for (row, sum) in sums.iter_mut().enumerate() {
                let matrix = _mm512_set1_epi64(affine[row * columns + column] as i64);
                *sum = _mm512_xor_si512(*sum, _mm512_gf2p8affine_epi64_epi8::<0>(bytes, matrix));
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            store_masked(out, at, mask, sum);
        }
        at += VECTOR_BYTES;
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(block: &[u8], at: usize) -> __m512i {
    let bytes = &block[at..at + VECTOR_BYTES];
    // SAFETY: `bytes` is 64 readable bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(block: &mut [u8], at: usize, value: __m512i) {
    let bytes = &mut block[at..at + VECTOR_BYTES];
    // SAFETY: `bytes` is 64 writable bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), value) }
}

/// Bits of `mask` stand for bytes from `at` on; the highest one set must lie within the block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_masked(block: &[u8], at: usize, mask: u64) -> __m512i {
    let bytes = &block[at..];
    assert!(mask.leading_zeros() as usize + bytes.len() >= VECTOR_BYTES);
    // SAFETY: bytes whose mask bit is zero are not accessed; the others lie within `bytes`, by the assertion.
    unsafe { _mm512_maskz_loadu_epi8(mask, bytes.as_ptr().cast()) }
}

/// As [`load_masked`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_masked(block: &mut [u8], at: usize, mask: u64, value: __m512i) {
    let bytes = &mut block[at..];
    assert!(mask.leading_zeros() as usize + bytes.len() >= VECTOR_BYTES);
    // SAFETY: bytes whose mask bit is zero are not accessed; the others lie within `bytes`, by the assertion.
    unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().cast(), mask, value) }
}

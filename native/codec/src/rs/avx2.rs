//! AVX2: two table lookups in registers (VPSHUFB) multiply 32 bytes by a coefficient, one for their low and one for their
//! high nibbles (Plank, Greenan, Miller: "Screaming Fast Galois Field Arithmetic Using Intel SIMD Instructions", 2013).

use std::arch::x86_64::*;

use super::field::NibbleTable;
use super::kernel::{Coefficients, ROWS_AT_ONCE};
use super::scalar;

const VECTOR_BYTES: usize = 32;
/// Two vectors a step share the loads of the tables.
const STEP_BYTES: usize = 2 * VECTOR_BYTES;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
}

/// See [`Coefficients::multiply`], which has checked counts and lengths.
#[target_feature(enable = "avx2")]
pub(super) fn multiply(coefficients: &Coefficients, sources: &[&[u8]], out: &mut [&mut [u8]]) {
    let rows = coefficients
        .nibbles
        .chunks(ROWS_AT_ONCE * coefficients.columns);
    for (tables, out) in rows.zip(out.chunks_mut(ROWS_AT_ONCE)) {
        match out {
            [a, b, c, d] => multiply_rows(tables, sources, [a, b, c, d]),
            [a, b, c] => multiply_rows(tables, sources, [a, b, c]),
            [a, b] => multiply_rows(tables, sources, [a, b]),
            [a] => multiply_rows(tables, sources, [a]),
            _ => unreachable!("chunks hold one to {ROWS_AT_ONCE} rows"),
        }
    }
    let whole_steps = sources[0].len() / STEP_BYTES * STEP_BYTES;
    scalar::multiply(coefficients, sources, out, whole_steps);
}

/// `tables` holds R rows, one after the other. Leaves what is behind the last whole step.
#[target_feature(enable = "avx2")]
fn multiply_rows<const R: usize>(
    tables: &[NibbleTable],
    sources: &[&[u8]],
    mut out: [&mut [u8]; R],
) {
    let columns = sources.len();
    let nibble = _mm256_set1_epi8(0x0f);
    let mut at = 0;
    while at + STEP_BYTES <= out[0].len() {
        let mut sums = [[_mm256_setzero_si256(); 2]; R];
        for (column, source) in sources.iter().enumerate() {
            let halves = [load(source, at), load(source, at + VECTOR_BYTES)];
            let low = halves.map(|bytes| _mm256_and_si256(bytes, nibble));
            let high = halves.map(|bytes| _mm256_and_si256(_mm256_srli_epi64::<4>(bytes), nibble));
            for (row, sum) in sums.iter_mut().enumerate() {
                let table = &tables[row * columns + column];
                let (of_low, of_high) = (broadcast(&table.low), broadcast(&table.high));
                for half in 0..2 {
                    let of_low = _mm256_shuffle_epi8(of_low, low[half]);
                    let of_high = _mm256_shuffle_epi8(of_high, high[half]);
                    sum[half] = _mm256_xor_si256(sum[half], _mm256_xor_si256(of_low, of_high));
                }
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            store(out, at, sum[0]);
            store(out, at + VECTOR_BYTES, sum[1]);
        }
        at += STEP_BYTES;
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(block: &[u8], at: usize) -> __m256i {
    let bytes = &block[at..at + VECTOR_BYTES];
    // SAFETY: `bytes` is 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(block: &mut [u8], at: usize, value: __m256i) {
    let bytes = &mut block[at..at + VECTOR_BYTES];
    // SAFETY: `bytes` is 32 writable bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) }
}

/// The 16 bytes in both halves.
#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(bytes: &[u8; 16]) -> __m256i {
    // SAFETY: 16 readable bytes; the load needs no alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

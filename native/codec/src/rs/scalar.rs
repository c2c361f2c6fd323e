//! The portable kernel, which also does the tails of AVX2: the bits of a coefficient one by one, with plain byte operations
//! on short arrays that compilers turn into whatever vectors the target has (SSE2, NEON).

use super::field::double;
use super::kernel::{Coefficients, ROWS_AT_ONCE};

/// Bytes worked on at a time.
const STEP_BYTES: usize = 64;

/// See [`Coefficients::multiply`]; only from byte `start` on.
pub(super) fn multiply(
    coefficients: &Coefficients,
    sources: &[&[u8]],
    out: &mut [&mut [u8]],
    start: usize,
) {
    let rows = coefficients
        .bytes
        .chunks(ROWS_AT_ONCE * coefficients.columns);
    for (factors, out) in rows.zip(out.chunks_mut(ROWS_AT_ONCE)) {
        match out {
            [a, b, c, d] => multiply_rows(factors, sources, [a, b, c, d], start),
            [a, b, c] => multiply_rows(factors, sources, [a, b, c], start),
            [a, b] => multiply_rows(factors, sources, [a, b], start),
            [a] => multiply_rows(factors, sources, [a], start),
            _ => unreachable!("chunks hold one to {ROWS_AT_ONCE} rows"),
        }
    }
}

/// `factors` holds R rows, one after the other.
fn multiply_rows<const R: usize>(
    factors: &[u8],
    sources: &[&[u8]],
    mut out: [&mut [u8]; R],
    start: usize,
) {
    let length = out[0].len();
    for from in (start..length).step_by(STEP_BYTES) {
        let range = from..length.min(from + STEP_BYTES);
        let mut sums = [[0; STEP_BYTES]; R];
        for (column, source) in sources.iter().enumerate() {
            let mut power = [0; STEP_BYTES];
            power[..range.len()].copy_from_slice(&source[range.clone()]);
            for bit in 0..8 {
                for (row, sum) in sums.iter_mut().enumerate() {
                    let factor = factors[row * sources.len() + column];
                    let all_ones_if_set = 0u8.wrapping_sub(factor >> bit & 1);
                    for (sum, byte) in sum.iter_mut().zip(&power) {
                        *sum ^= byte & all_ones_if_set;
                    }
                }
                for byte in &mut power {
                    *byte = double(*byte);
                }
            }
        }
        for (out, sum) in out.iter_mut().zip(&sums) {
            out[range.clone()].copy_from_slice(&sum[..range.len()]);
        }
    }
}

//! The portable kernel, which also does the tails of AVX2.

use super::kernel::Coefficients;

/// Bytes worked on at a time, so that an output stays in the nearest cache while all sources are added to it.
const STEP_BYTES: usize = 4096;

/// See [`Coefficients::multiply`]; only from byte `start` on.
pub(super) fn multiply(
    coefficients: &Coefficients,
    sources: &[&[u8]],
    out: &mut [&mut [u8]],
    start: usize,
) {
    let length = sources[0].len();
    for from in (start..length).step_by(STEP_BYTES) {
        let range = from..length.min(from + STEP_BYTES);
        for (row, out) in out.iter_mut().enumerate() {
            let out = &mut out[range.clone()];
            out.fill(0);
            for (column, source) in sources.iter().enumerate() {
                let table = &coefficients.nibbles[row * coefficients.columns + column];
                for (out, &byte) in out.iter_mut().zip(&source[range.clone()]) {
                    *out ^= table.low[usize::from(byte & 15)] ^ table.high[usize::from(byte >> 4)];
                }
            }
        }
    }
}

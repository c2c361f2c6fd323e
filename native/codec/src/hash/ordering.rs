//! Keeps the order of additions as written.
//!
//! The compiler may reorder a chain of integer additions, and it moves constants to the end: behind the operand that is
//! ready last, where they lengthen the critical path of every step. These functions do nothing, but it cannot see that.

use std::arch::asm;
use std::arch::x86_64::*;

/// The sum, complete before anything is added to it.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn summed_512(mut sum: __m512i) -> __m512i {
    // SAFETY: a comment; no instruction, and no memory is touched.
    unsafe {
        asm!("/* {0} */", inout(zmm_reg) sum, options(pure, nomem, nostack, preserves_flags))
    };
    sum
}

/// As [`summed_512`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn summed_256(mut sum: __m256i) -> __m256i {
    // SAFETY: as above.
    unsafe {
        asm!("/* {0} */", inout(ymm_reg) sum, options(pure, nomem, nostack, preserves_flags))
    };
    sum
}

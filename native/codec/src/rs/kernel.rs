//! Which kernel multiplies a coefficient matrix with blocks, and its preparation.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::field::{NibbleTable, affine_matrix};
use super::matrix::Matrix;
use super::scalar;
#[cfg(target_arch = "x86_64")]
use super::{avx2, gfni};

/// Output rows that one pass over the sources computes.
pub(super) const ROWS_AT_ONCE: usize = 4;

/// An implementation of the multiplication of blocks by coefficients; slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Portable: plain byte operations, which compilers vectorize for the target.
    Scalar,
    /// 32 bytes at a time, by table lookups in registers.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 64 bytes at a time, by one instruction.
    #[cfg(target_arch = "x86_64")]
    GfniAvx512,
}

impl Kernel {
    const ALL: &[Kernel] = &[
        Kernel::Scalar,
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2,
        #[cfg(target_arch = "x86_64")]
        Kernel::GfniAvx512,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kernel::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kernel::GfniAvx512 => "gfni-avx512",
        }
    }

    pub fn is_available(self) -> bool {
        match self {
            Kernel::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => avx2::is_available(),
            #[cfg(target_arch = "x86_64")]
            Kernel::GfniAvx512 => gfni::is_available(),
        }
    }

    /// Those that this processor offers.
    pub fn available() -> impl Iterator<Item = Kernel> {
        Kernel::ALL
            .iter()
            .copied()
            .filter(|kernel| kernel.is_available())
    }

    /// The best one this processor offers; found out once.
    pub(super) fn detected() -> Kernel {
        static DETECTED: OnceLock<Kernel> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            Kernel::available()
                .last()
                .expect("the scalar kernel is always there")
        })
    }
}

/// A matrix of coefficients in the forms that the kernels want.
pub(super) struct Coefficients {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) bytes: Vec<u8>,
    #[cfg(target_arch = "x86_64")]
    pub(super) nibbles: Vec<NibbleTable>,
    #[cfg(target_arch = "x86_64")]
    pub(super) affine: Vec<u64>,
}

impl Coefficients {
    pub(super) fn new(matrix: &Matrix) -> Coefficients {
        let cells = || (0..matrix.rows()).flat_map(|row| matrix.row(row)).copied();
        Coefficients {
            rows: matrix.rows(),
            columns: matrix.columns(),
            bytes: cells().collect(),
            #[cfg(target_arch = "x86_64")]
            nibbles: cells().map(NibbleTable::of).collect(),
            #[cfg(target_arch = "x86_64")]
            affine: cells().map(affine_matrix).collect(),
        }
    }

    /// `out[r] = sum over j of coefficient[r][j] * sources[j]`, byte by byte.
    ///
    /// # Panics
    /// If the counts do not fit the matrix, lengths differ, or the processor lacks `kernel`.
    pub(super) fn multiply(&self, kernel: Kernel, sources: &[&[u8]], out: &mut [&mut [u8]]) {
        assert_eq!(sources.len(), self.columns);
        assert_eq!(out.len(), self.rows);
        let length = sources[0].len();
        assert!(
            sources.iter().all(|block| block.len() == length)
                && out.iter().all(|block| block.len() == length),
            "blocks of one stripe have one length"
        );
        match kernel {
            Kernel::Scalar => scalar::multiply(self, sources, out, 0),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => {
                assert!(avx2::is_available());
                // SAFETY: the processor has AVX2, by the assertion.
                unsafe { avx2::multiply(self, sources, out) }
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::GfniAvx512 => {
                assert!(gfni::is_available());
                // SAFETY: the processor has GFNI, AVX-512F and AVX-512BW, by the assertion.
                unsafe { gfni::multiply(self, sources, out) }
            }
        }
    }
}

//! Which kernel multiplies a coefficient matrix with blocks, and its preparation.

use std::sync::OnceLock;

use super::field::{NibbleTable, affine_matrix};
use super::matrix::Matrix;
use super::scalar;

/// Output rows that one pass over the sources computes.
pub(super) const ROWS_AT_ONCE: usize = 4;

/// An implementation of the product; narrowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// Portable; a table lookup per byte.
    Scalar,
}

impl Kernel {
    pub(super) const ALL: [Kernel; 1] = [Kernel::Scalar];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kernel::Scalar => "scalar",
        }
    }

    pub(super) fn is_available(self) -> bool {
        match self {
            Kernel::Scalar => true,
        }
    }

    /// The best one this processor offers; found out once.
    pub(super) fn detected() -> Kernel {
        static DETECTED: OnceLock<Kernel> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            Kernel::ALL
                .into_iter()
                .rfind(|kernel| kernel.is_available())
                .expect("the scalar kernel is always there")
        })
    }
}

/// A matrix of coefficients in the forms that the kernels want.
pub(super) struct Coefficients {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) nibbles: Vec<NibbleTable>,
    pub(super) affine: Vec<u64>,
}

impl Coefficients {
    pub(super) fn new(matrix: &Matrix) -> Coefficients {
        let cells = || (0..matrix.rows()).flat_map(|row| matrix.row(row)).copied();
        Coefficients {
            rows: matrix.rows(),
            columns: matrix.columns(),
            nibbles: cells().map(NibbleTable::of).collect(),
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
        }
    }
}

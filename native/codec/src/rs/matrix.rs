//! Matrices over GF(2^8), row by row.

use super::field::{inverse, mul};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matrix {
    rows: usize,
    columns: usize,
    cells: Vec<u8>,
}

impl Matrix {
    pub(super) fn new(rows: usize, columns: usize, cell: impl Fn(usize, usize) -> u8) -> Matrix {
        let cells = (0..rows * columns)
            .map(|i| cell(i / columns, i % columns))
            .collect();
        Matrix {
            rows,
            columns,
            cells,
        }
    }

    /// The generator of a systematic code: the identity for the k data blocks, above m parity rows.
    ///
    /// The parity rows are a Cauchy matrix 1 / (x_i + y_j) with x_i = k + i and y_j = j, its columns and then its rows
    /// scaled so that the first row and the first column are all ones. Every square submatrix of it is invertible (scaling
    /// keeps that), hence any k rows of the generator are: the code is maximum distance separable. The scaling makes the
    /// first parity block the XOR of the data, and for k = 1 each parity block a copy of it.
    ///
    /// This matrix is part of the stored format.
    pub(super) fn generator(k: usize, m: usize) -> Matrix {
        let cauchy = |i: usize, j: usize| inverse((k + i) as u8 ^ j as u8);
        let column_scaled = |i: usize, j: usize| mul(cauchy(i, j), inverse(cauchy(0, j)));
        Matrix::new(k + m, k, |row, j| match row.checked_sub(k) {
            None => u8::from(row == j),
            Some(i) => mul(column_scaled(i, j), inverse(column_scaled(i, 0))),
        })
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn row(&self, row: usize) -> &[u8] {
        &self.cells[row * self.columns..][..self.columns]
    }

    pub(super) fn select_rows(&self, rows: impl ExactSizeIterator<Item = usize>) -> Matrix {
        let count = rows.len();
        let cells = rows.flat_map(|row| self.row(row)).copied().collect();
        Matrix {
            rows: count,
            columns: self.columns,
            cells,
        }
    }

    pub(super) fn multiply(&self, right: &Matrix) -> Matrix {
        assert_eq!(self.columns, right.rows);
        Matrix::new(self.rows, right.columns, |i, j| {
            self.row(i)
                .iter()
                .enumerate()
                .fold(0, |sum, (l, &cell)| sum ^ mul(cell, right.row(l)[j]))
        })
    }

    /// Gauss-Jordan elimination. `None` for a singular matrix.
    pub(super) fn invert(&self) -> Option<Matrix> {
        assert_eq!(self.rows, self.columns);
        let n = self.rows;
        let mut left = self.clone();
        let mut right = Matrix::new(n, n, |i, j| u8::from(i == j));
        for column in 0..n {
            let pivot = (column..n).find(|&row| left.row(row)[column] != 0)?;
            let factor = inverse(left.row(pivot)[column]);
            for matrix in [&mut left, &mut right] {
                matrix.swap_rows(pivot, column);
                matrix.cells[column * n..][..n]
                    .iter_mut()
                    .for_each(|cell| *cell = mul(*cell, factor));
            }
            for row in (0..n).filter(|&row| row != column) {
                let factor = left.row(row)[column];
                left.add_row(row, column, factor);
                right.add_row(row, column, factor);
            }
        }
        Some(right)
    }

    fn swap_rows(&mut self, a: usize, b: usize) {
        for column in 0..self.columns {
            self.cells
                .swap(a * self.columns + column, b * self.columns + column);
        }
    }

    /// row += factor * other
    fn add_row(&mut self, row: usize, other: usize, factor: u8) {
        for column in 0..self.columns {
            self.cells[row * self.columns + column] ^=
                mul(factor, self.cells[other * self.columns + column]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_undoes() {
        let matrix = Matrix::generator(6, 4).select_rows([9, 1, 8, 3, 7, 6].into_iter());
        let product = matrix.multiply(&matrix.invert().unwrap());
        assert_eq!(product, Matrix::new(6, 6, |i, j| u8::from(i == j)));
        assert_eq!(Matrix::new(2, 2, |_, _| 1).invert(), None);
    }

    #[test]
    fn first_parity_is_the_xor_and_a_single_block_is_copied() {
        assert!(Matrix::generator(7, 3).row(7).iter().all(|&cell| cell == 1));
        let mirror = Matrix::generator(1, 16);
        assert!((0..17).all(|row| mirror.row(row) == [1]));
    }

    /// Any k of k + m rows are independent: exhaustively for the codes that placement chooses, which are small.
    #[test]
    fn generator_is_maximum_distance_separable() {
        for k in 1..=6usize {
            for m in 0..=4usize {
                let generator = Matrix::generator(k, m);
                for rows in (0u32..1 << (k + m)).filter(|rows| rows.count_ones() as usize == k) {
                    let chosen: Vec<usize> =
                        (0..k + m).filter(|row| rows >> row & 1 == 1).collect();
                    assert!(
                        generator.select_rows(chosen.into_iter()).invert().is_some(),
                        "{k}+{m}, rows {rows:b}"
                    );
                }
            }
        }
    }

    /// The stored format must not change.
    #[test]
    fn four_plus_two_is_pinned() {
        assert_eq!(Matrix::generator(4, 2).row(4), [1, 1, 1, 1]);
        assert_eq!(Matrix::generator(4, 2).row(5), [1, 217, 92, 172]);
    }
}

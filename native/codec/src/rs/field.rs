//! GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d), the field of most Reed-Solomon storage codes.

/// Low byte of the polynomial: what x^8 reduces to.
const REDUCTION: u8 = 0x1d;

/// The product with x, without a branch.
pub(super) const fn double(a: u8) -> u8 {
    a << 1 ^ ((a.cast_signed() >> 7).cast_unsigned() & REDUCTION)
}

/// The product of two elements.
pub(super) const fn mul(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a = double(a);
        b >>= 1;
    }
    product
}

/// The multiplicative inverse, a^254. Zero has none; this gives 0 for it.
pub(super) const fn inverse(a: u8) -> u8 {
    let mut power = 1;
    let mut i = 0;
    while i < 254 {
        power = mul(power, a);
        i += 1;
    }
    power
}

/// Products of one coefficient with all low and all high nibbles: c·x = `low[x & 15]` ^ `high[x >> 4]`.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct NibbleTable {
    pub(super) low: [u8; 16],
    pub(super) high: [u8; 16],
}

#[cfg(target_arch = "x86_64")]
impl NibbleTable {
    pub(super) fn of(coefficient: u8) -> NibbleTable {
        NibbleTable {
            low: std::array::from_fn(|i| mul(coefficient, i as u8)),
            high: std::array::from_fn(|i| mul(coefficient, (i as u8) << 4)),
        }
    }
}

/// Multiplication by `coefficient` as the 8x8 bit matrix that GF2P8AFFINEQB takes: byte 7 - i holds the row of output bit i.
#[cfg(target_arch = "x86_64")]
pub(super) fn affine_matrix(coefficient: u8) -> u64 {
    let products: [u8; 8] = std::array::from_fn(|bit| mul(coefficient, 1 << bit));
    let row = |out: usize| (0..8).fold(0u8, |row, bit| row | (products[bit] >> out & 1) << bit);
    u64::from_be_bytes(std::array::from_fn(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_field() {
        for a in 0..=255u8 {
            assert_eq!(mul(a, 1), a);
            assert_eq!(mul(a, inverse(a)), u8::from(a != 0));
            for b in 0..=255u8 {
                assert_eq!(mul(a, b), mul(b, a));
                assert_eq!(mul(a, b), rusty_erasure::gf::mul(a, b));
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn tables_hold_products() {
        for c in 0..=255u8 {
            let table = NibbleTable::of(c);

            for x in 0..=255u8 {
                assert_eq!(
                    table.low[usize::from(x & 15)] ^ table.high[usize::from(x >> 4)],
                    mul(c, x)
                );
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn affine_matrices_multiply() {
        for c in 0..=255u8 {
            let rows = affine_matrix(c).to_be_bytes();
            for x in 0..=255u8 {
                let bit = |out: usize| ((rows[out] & x).count_ones() & 1) as u8;
                assert_eq!(
                    (0..8).fold(0, |product, out| product | bit(out) << out),
                    mul(c, x)
                );
            }
        }
    }
}

//! Where the bytes of a blob lie: the one place that knows the stored form.
//!
//! Plaintext is cut into stripes of `stripe_bytes`. The payload of a stripe is its plaintext, or its ciphertext followed by
//! a 16-byte tag for each 64 KiB unit. A payload is cut into k blocks of `align64(ceil(payload / k))` bytes, the end padded
//! with zeros; the last stripe is shorter and so are its blocks.

use std::ops::Range;

use anvil_codec::aead::{AEAD_UNIT_BYTES, TAG_BYTES};

/// Blocks are multiples of this, so that kernels run without tails.
const BLOCK_ALIGN_BYTES: usize = 64;
/// Stripes are multiples of this: one AEAD unit, two CRC units.
pub const STRIPE_STEP_BYTES: usize = 64 * 1024;
pub const MAX_STRIPE_BYTES: usize = 4 * 1024 * 1024;

/// The shape of a blob. Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub size: u64,
    pub stripe_bytes: usize,
    pub k: usize,
    pub encrypted: bool,
}

/// A range of one member's block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub member: usize,
    pub range: Range<usize>,
}

impl Layout {
    pub fn stripes(&self) -> u64 {
        self.size.div_ceil(self.stripe_bytes as u64)
    }

    /// Plaintext bytes of a stripe.
    pub fn plain_bytes(&self, stripe: u64) -> usize {
        let start = stripe * self.stripe_bytes as u64;
        (self.size - start).min(self.stripe_bytes as u64) as usize
    }

    /// Length of each of the stripe's blocks.
    pub fn block_bytes(&self, stripe: u64) -> usize {
        block_bytes(
            payload_bytes(self.plain_bytes(stripe), self.encrypted),
            self.k,
        )
    }

    /// The pieces that hold `range` of a stripe's payload, in order.
    pub fn pieces(&self, stripe: u64, range: Range<usize>) -> impl Iterator<Item = Piece> + use<> {
        let block = self.block_bytes(stripe);
        let (first, end) = (range.start, range.end);
        let members = if range.is_empty() {
            0..0
        } else {
            first / block..(end - 1) / block + 1
        };
        members.map(move |member| Piece {
            member,
            range: first.saturating_sub(member * block)..(end - member * block).min(block),
        })
    }
}

/// Bytes of the payload of a stripe of `plain` bytes.
pub fn payload_bytes(plain: usize, encrypted: bool) -> usize {
    if encrypted {
        plain + tag_bytes(plain)
    } else {
        plain
    }
}

/// Bytes of the tags of a stripe of `plain` bytes.
pub fn tag_bytes(plain: usize) -> usize {
    plain.div_ceil(AEAD_UNIT_BYTES) * TAG_BYTES
}

pub fn block_bytes(payload: usize, k: usize) -> usize {
    payload.div_ceil(k).next_multiple_of(BLOCK_ALIGN_BYTES)
}

/// Bytes of a stripe's buffer: its k + m blocks.
pub fn stripe_buffer_bytes(plain: usize, encrypted: bool, k: usize, m: usize) -> usize {
    block_bytes(payload_bytes(plain, encrypted), k) * (k + m)
}

/// Number of a stripe's first AEAD unit, counted over the blob.
pub fn first_unit(stripe: u64, stripe_bytes: usize) -> u64 {
    stripe * (stripe_bytes / AEAD_UNIT_BYTES) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_range_once_and_in_order() {
        let layout = Layout {
            size: 1_000_000,
            stripe_bytes: 128 * 1024,
            k: 4,
            encrypted: true,
        };
        for stripe in 0..layout.stripes() {
            let block = layout.block_bytes(stripe);
            let payload = payload_bytes(layout.plain_bytes(stripe), true);
            assert!(block * 4 >= payload);
            for (start, end) in [
                (0, payload),
                (0, 1),
                (payload - 1, payload),
                (block - 1, block + 1),
                (5, 5),
            ] {
                let mut at = start;
                for piece in layout.pieces(stripe, start..end) {
                    assert_eq!(piece.member * block + piece.range.start, at);
                    assert!(!piece.range.is_empty() && piece.range.end <= block);
                    at += piece.range.len();
                }
                assert_eq!(at, end.max(start));
            }
        }
    }
}

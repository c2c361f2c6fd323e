//! Bytes that came when there was no memory for a further stripe. They cannot be refused: their upload was admitted, and the
//! socket has handed them over. So they are always taken and counted, also above the limit; whoever feeds uploads looks at
//! what is used and lets all sockets rest before that happens (`gateway/http/intake-gate.ts`).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::memory::{Budget, Reservation};
use anvil_store::buffers::{self, Buffer, Buffers};

/// Least size of a piece, so that a body of tiny chunks does not become a list of tiny pieces.
const LEAST_PIECE_BYTES: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Spill {
    pieces: VecDeque<Piece>,
}

struct Piece {
    bytes: Buffer,
    taken: usize,
    filled: usize,
    /// After `bytes`: the memory is free before the budget says so.
    _memory: Reservation,
}

impl Spill {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], buffers: &Arc<Buffers>, budget: &Arc<Budget>) {
        if let Some(last) = self.pieces.back_mut() {
            let (now, later) = bytes.split_at(bytes.len().min(last.bytes.len() - last.filled));
            last.bytes[last.filled..last.filled + now.len()].copy_from_slice(now);
            last.filled += now.len();
            bytes = later;
        }
        if bytes.is_empty() {
            return;
        }
        let size = buffers::size(bytes.len().max(LEAST_PIECE_BYTES));
        let memory = budget.take(size as u64);
        let mut piece = buffers.take(size);
        piece[..bytes.len()].copy_from_slice(bytes);
        self.pieces.push_back(Piece {
            bytes: piece,
            taken: 0,
            filled: bytes.len(),
            _memory: memory,
        });
    }

    /// Gives everything to `take`, which says how much it took, until it takes less than it was given.
    pub(super) fn drain<E>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        while let Some(piece) = self.pieces.front_mut() {
            piece.taken += take(&piece.bytes[piece.taken..piece.filled])?;
            if piece.taken < piece.filled {
                break;
            }
            self.pieces.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spilled_comes_back_in_order_and_is_counted_above_the_limit_too() {
        let (buffers, budget) = (Buffers::new(1 << 20), Budget::new(1 << 20));
        let sent: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let mut spill = Spill::default();
        let (mut rest, mut length) = (&sent[..], 1);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(length.min(rest.len()));
            spill.push(now, &buffers, &budget);
            (rest, length) = (later, (length * 3) % 700_001 + 1);
        }
        let used = budget.used();
        assert!((3_000_000..4_000_000).contains(&used), "{used} bytes");
        let mut back = Vec::new();
        while !spill.is_empty() {
            let result: Result<(), ()> = spill.drain(|bytes| {
                let taken = bytes.len().min(50_000);
                back.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            });
            result.unwrap();
        }
        assert!(back == sent);
        assert_eq!(budget.used(), 0);
    }
}

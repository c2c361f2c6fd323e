//! Merkle-Damgård streams of 64-byte blocks: what MD5 and SHA-256 have in common.

use std::marker::PhantomData;

use super::lanes::{Job, LaneKernel};

pub(super) const BLOCK_BYTES: usize = 64;
/// Padding is 0x80, zeros, and the message length in bits as the last eight bytes of a block.
const LENGTH_AT: usize = BLOCK_BYTES - 8;

pub(super) type Block = [u8; BLOCK_BYTES];

/// A compression function over a chaining value of `W` 32-bit words, and how its words are written as bytes.
pub(super) trait BlockHash<const W: usize>: 'static {
    const INITIAL: [u32; W];
    const BIG_ENDIAN: bool;

    /// Folds `blocks` into `state`, one after the other.
    fn compress(state: &mut [u32; W], blocks: &[Block]);

    /// Kernels for many streams that this processor offers, narrowest first.
    fn lane_kernels() -> &'static [LaneKernel<W>];
}

pub(super) struct Stream<H, const W: usize> {
    state: [u32; W],
    /// The last `buffered` bytes of the message, less than a block.
    buffer: Block,
    buffered: usize,
    message_bytes: u64,
    hash: PhantomData<fn() -> H>,
}

impl<H, const W: usize> Clone for Stream<H, W> {
    fn clone(&self) -> Self {
        Stream { ..*self }
    }
}

impl<H: BlockHash<W>, const W: usize> Stream<H, W> {
    pub(super) fn new() -> Self {
        Stream {
            state: H::INITIAL,
            buffer: [0; BLOCK_BYTES],
            buffered: 0,
            message_bytes: 0,
            hash: PhantomData,
        }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        let blocks = self.take(data);
        if !blocks.is_empty() {
            H::compress(&mut self.state, blocks);
        }
    }

    /// Takes `data` up as [`Stream::update`] does, but leaves its whole blocks to be compressed by whoever gets the job.
    pub(super) fn job<'a>(&'a mut self, data: &'a [u8]) -> Option<Job<'a, W>> {
        let blocks = self.take(data);
        (!blocks.is_empty()).then_some(Job {
            state: &mut self.state,
            blocks,
        })
    }

    /// Fills up and compresses the buffered block, buffers the rest behind the last whole block, and returns the whole
    /// blocks between, which have to be compressed next.
    fn take<'a>(&mut self, mut data: &'a [u8]) -> &'a [Block] {
        self.message_bytes = self.message_bytes.wrapping_add(data.len() as u64);
        if self.buffered > 0 {
            let (head, rest) = data.split_at(data.len().min(BLOCK_BYTES - self.buffered));
            self.buffer[self.buffered..self.buffered + head.len()].copy_from_slice(head);
            self.buffered += head.len();
            data = rest;
            if self.buffered < BLOCK_BYTES {
                return &[];
            }
            H::compress(&mut self.state, std::slice::from_ref(&self.buffer));
            self.buffered = 0;
        }
        let (blocks, tail) = data.as_chunks::<BLOCK_BYTES>();
        self.buffer[..tail.len()].copy_from_slice(tail);
        self.buffered = tail.len();
        blocks
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let bits = self.message_bytes.wrapping_mul(8);
        self.buffer[self.buffered] = 0x80;
        self.buffer[self.buffered + 1..].fill(0);
        if self.buffered >= LENGTH_AT {
            H::compress(&mut self.state, std::slice::from_ref(&self.buffer));
            self.buffer.fill(0);
        }
        let length = if H::BIG_ENDIAN {
            bits.to_be_bytes()
        } else {
            bits.to_le_bytes()
        };
        self.buffer[LENGTH_AT..].copy_from_slice(&length);
        H::compress(&mut self.state, std::slice::from_ref(&self.buffer));
        let word_bytes = if H::BIG_ENDIAN {
            u32::to_be_bytes
        } else {
            u32::to_le_bytes
        };
        self.state
            .iter()
            .flat_map(|&word| word_bytes(word))
            .collect()
    }
}

//! SHA-256 (FIPS 180-4), one stream.

use super::lanes::LaneKernel;
use super::stream::{Block, BlockHash};

pub(super) struct Sha256;

impl BlockHash<8> for Sha256 {
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    const BIG_ENDIAN: bool = true;

    /// The `sha2` crate: SHA-NI on x86-64 and the SHA-2 instructions on AArch64 where the processor has them.
    fn compress(state: &mut [u32; 8], blocks: &[Block]) {
        sha2::block_api::compress256(state, blocks);
    }

    fn lane_kernels() -> &'static [LaneKernel<8>] {
        &[]
    }
}

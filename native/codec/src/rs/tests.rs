use super::*;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

/// Bytes without a pattern, from a seed (SplitMix64).
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as u8
    })
    .take(length)
    .collect()
}

fn stripe(code: &Code, seed: u64, length: usize) -> Vec<Vec<u8>> {
    let mut blocks: Vec<Vec<u8>> = (0..code.k())
        .map(|i| bytes(seed ^ (i as u64) << 32, length))
        .collect();
    let mut parity = vec![vec![0xee; length]; code.m()]; // not zero: encode must overwrite
    let data: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
    code.encode(
        &data,
        &mut parity.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
    );
    blocks.extend(parity);
    blocks
}

/// What an independent implementation makes of the same generator matrix.
fn reference_parity(code: &Code, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (k, m) = (code.k(), code.m());
    let cells = (0..k + m)
        .flat_map(|row| code.shared.generator.row(row))
        .copied()
        .collect();
    let matrix = rusty_erasure::Matrix::from_bytes(k + m, k, cells).unwrap();
    let coder = rusty_erasure::Coder::new(matrix).unwrap();
    let mut parity = vec![vec![0; data[0].len()]; m];
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    coder
        .encode(
            &data,
            &mut parity.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
        )
        .unwrap();
    parity
}

#[test]
fn every_length_around_the_vector_widths() {
    for kernel in Kernel::available() {
        let code = Code::with_kernel(3, 5, kernel);
        for length in 1..=200 {
            let blocks = stripe(&code, 7, length);
            assert_eq!(
                blocks[3..],
                reference_parity(&code, &blocks[..3]),
                "{kernel:?}, {length} bytes"
            );
        }
    }
}

#[test]
fn empty_blocks_and_codes_without_parity() {
    for kernel in Kernel::available() {
        assert!(
            stripe(&Code::with_kernel(4, 2, kernel), 1, 0)
                .iter()
                .all(Vec::is_empty)
        );
        let blocks = stripe(&Code::with_kernel(2, 0, kernel), 1, 100);
        let mut out = vec![0; 100];
        let present = [(1, &blocks[1][..]), (0, &blocks[0][..])];
        Code::with_kernel(2, 0, kernel)
            .reconstruct(&present, &mut [(1, &mut out)])
            .unwrap();
        assert_eq!(out, blocks[1]);
    }
}

#[test]
fn too_few_blocks_are_an_error() {
    let code = Code::new(4, 2);
    let block = [1u8; 8];
    let present = [(0, &block[..]), (1, &block), (2, &block), (2, &block)];
    let mut out = [0; 8];
    assert_eq!(
        code.reconstruct(&present, &mut [(3, &mut out)]),
        Err(NotEnough {
            present: 3,
            needed: 4
        })
    );
}

#[test]
fn codes_are_cached() {
    assert!(Arc::ptr_eq(
        &Code::new(5, 3).shared,
        &Code::new(5, 3).shared
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_k_blocks_give_back_the_others(
        (k, m, chosen) in (1..=MAX_K, 0..=MAX_M)
            .prop_flat_map(|(k, m)| (Just(k), Just(m), subsequence((0..k + m).collect::<Vec<_>>(), k).prop_shuffle())),
        length in prop_oneof![0..300usize, 4000..9000usize], seed in any::<u64>(), offset in 0..64usize, extra in any::<Index>(),
    ) {
        for kernel in Kernel::available() {
            let code = Code::with_kernel(k, m, kernel);
            // Blocks at odd addresses.
            let blocks: Vec<Vec<u8>> = stripe(&code, seed, length + offset);
            if m > 0 && length + offset > 0 {
                prop_assert_eq!(&blocks[k..], reference_parity(&code, &blocks[..k]));
            }
            let present: Vec<(usize, &[u8])> = chosen.iter().map(|&i| (i, &blocks[i][offset..])).collect();
            let mut wanted: Vec<usize> = (0..k + m).filter(|i| !chosen.contains(i)).collect();
            wanted.push(*extra.get(&chosen)); // a block that is there may be wanted too
            let mut out = vec![vec![0xee; length + offset]; wanted.len()];
            let mut pairs: Vec<(usize, &mut [u8])> =
                wanted.iter().rev().zip(&mut out).map(|(&i, block)| (i, &mut block[offset..])).collect();
            code.reconstruct(&present, &mut pairs).unwrap();
            for (i, block) in pairs {
                prop_assert_eq!(&*block, &blocks[i][offset..], "{:?} {}+{} block {}", kernel, k, m, i);
            }
        }
    }
}

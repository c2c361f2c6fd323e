//! Every frame reads back; nothing else does any harm.

use anvil_engine::RequestId;
use anvil_engine::target::{ShardError, ShardKey};
use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Frame, Malformed, Refusal, Sums, body_len};
use crate::limits::{BATCH, DATA_BYTES, FRAME_BYTES};

fn keys() -> impl Strategy<Value = ShardKey> {
    (any::<u64>(), any::<[u8; 16]>(), any::<u64>(), any::<u8>()).prop_map(
        |(bucket, blob, pg, index)| ShardKey {
            bucket,
            blob,
            pg,
            index,
        },
    )
}

fn sums() -> impl Strategy<Value = Sums> {
    (1u32..200_000).prop_flat_map(|len| {
        let units = len.div_ceil(32 * 1024) as usize;
        vec(any::<u32>(), units).prop_map(move |crcs| Sums {
            len,
            crcs: crcs.into(),
        })
    })
}

fn results() -> impl Strategy<Value = Result<(), ShardError>> {
    prop_oneof![
        Just(Ok(())),
        Just(Err(ShardError::NotFound)),
        Just(Err(ShardError::Corrupt)),
        any::<u64>().prop_map(|current| Err(ShardError::Stale { current })),
        Just(Err(ShardError::Full)),
        "\\PC{0,50}".prop_map(|why| Err(ShardError::Failed(why))),
        "\\PC{0,50}".prop_map(|why| Err(ShardError::Io(why))),
        Just(Err(ShardError::Closed)),
        Just(Err(ShardError::Stalled)),
        "\\PC{0,50}".prop_map(|why| Err(ShardError::Unreachable(why))),
    ]
}

fn frames() -> impl Strategy<Value = Frame> {
    let drive = any::<[u8; 16]>();
    prop_oneof![
        "[!-~]{1,64}".prop_map(|id| Frame::Request(RequestId::parse(&id).unwrap())),
        (
            any::<u16>(),
            any::<u16>(),
            "\\PC{0,40}",
            "\\PC{0,40}",
            "\\PC{0,40}",
            any::<[u8; 32]>()
        )
            .prop_map(|(version, oldest, deployment, region, process, proof)| {
                Frame::Hello {
                    version,
                    oldest,
                    deployment,
                    region,
                    process,
                    proof,
                }
            }),
        (any::<u16>(), "\\PC{0,40}", any::<[u8; 32]>()).prop_map(|(version, process, proof)| {
            Frame::Welcome {
                version,
                process,
                proof,
            }
        }),
        Just(Frame::Refused(Refusal::Version)),
        Just(Frame::Refused(Refusal::Deployment)),
        Just(Frame::Refused(Refusal::Region)),
        Just(Frame::Refused(Refusal::Secret)),
        (
            drive,
            keys(),
            any::<u64>(),
            any::<Option<u32>>(),
            0..=DATA_BYTES as u32
        )
            .prop_map(
                |(drive, key, generation, blocks, block_bytes)| Frame::Begin {
                    drive,
                    key,
                    generation,
                    blocks: blocks.filter(|blocks| *blocks != u32::MAX),
                    block_bytes,
                }
            ),
        sums().prop_map(Frame::Block),
        Just(Frame::Seal),
        any::<[u8; 16]>().prop_map(|drive| Frame::Puts { drive }),
        (any::<u64>(), keys(), any::<u64>(), sums()).prop_map(|(number, key, generation, sums)| {
            Frame::Put {
                number,
                key,
                generation,
                sums,
            }
        }),
        (
            any::<[u8; 16]>(),
            keys(),
            any::<u64>(),
            any::<u32>(),
            any::<u32>(),
            0..=DATA_BYTES as u32
        )
            .prop_map(|(drive, key, generation, block, offset, len)| Frame::Read {
                drive,
                key,
                generation,
                block,
                offset,
                len
            }),
        (any::<[u8; 16]>(), vec((keys(), any::<u64>()), 0..20))
            .prop_map(|(drive, shards)| Frame::Delete { drive, shards }),
        (any::<[u8; 16]>(), vec(keys(), 0..20))
            .prop_map(|(drive, shards)| Frame::Has { drive, shards }),
        results().prop_map(Frame::Done),
        (any::<u64>(), results()).prop_map(|(number, result)| Frame::PutDone(number, result)),
        (0..=DATA_BYTES as u32, any::<u32>()).prop_map(|(len, crc)| Frame::Bytes { len, crc }),
        vec(any::<bool>(), 0..50).prop_map(Frame::Held),
    ]
}

fn encoded(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn frames_read_back(frame in frames()) {
        let bytes = encoded(&frame);
        let (prefix, body) = bytes.split_first_chunk().expect("a length");
        prop_assert_eq!(body_len(*prefix), Ok(body.len()));
        prop_assert_eq!(Frame::decode(body), Ok(frame));
    }

    #[test]
    fn a_frame_that_is_cut_or_goes_on_is_refused(frame in frames(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(&frame);
        let body = &bytes[4..];
        prop_assert!(Frame::decode(&body[..cut.index(body.len())]).is_err());
        prop_assert!(Frame::decode(&[body, &[0]].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(&encoded(&frame)[4..], &bytes[..]);
        }
    }

    #[test]
    fn flipped_bits_do_no_harm(frame in frames(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = encoded(&frame);
        let place = 4 + at.index(bytes.len() - 4);
        bytes[place] ^= 1 << bit;
        // A frame, perhaps another one, or an error.
        let _ = Frame::decode(&bytes[4..]);
    }
}

#[test]
fn lengths_and_counts_have_bounds() {
    assert_eq!(body_len([0; 4]), Err(Malformed::Length));
    let over = FRAME_BYTES as u32 + 1;
    assert_eq!(
        body_len(over.to_le_bytes()),
        Err(Malformed::TooLong(FRAME_BYTES + 1))
    );
    let key = ShardKey {
        bucket: 1,
        blob: [2; 16],
        pg: 3,
        index: 4,
    };
    let most = Frame::Delete {
        drive: [0; 16],
        shards: vec![(key, 1); BATCH],
    };
    assert!(
        encoded(&most).len() <= FRAME_BYTES,
        "a full batch fits a frame"
    );
    let more = Frame::Has {
        drive: [0; 16],
        shards: vec![key; BATCH + 1],
    };
    assert_eq!(
        Frame::decode(&encoded(&more)[4..]),
        Err(Malformed::Value("count"))
    );
    let mut empty = encoded(&Frame::Block(Sums {
        len: 1,
        crcs: Box::new([1]),
    }));
    empty[5..9].fill(0);
    assert_eq!(
        Frame::decode(&empty[4..]),
        Err(Malformed::Value("block length"))
    );
}

#[test]
fn a_long_text_is_cut_between_characters() {
    let long = "ü".repeat(5000);
    let frame = Frame::Done(Err(ShardError::Io(long)));
    let Ok(Frame::Done(Err(ShardError::Io(text)))) = Frame::decode(&encoded(&frame)[4..]) else {
        panic!("it does not read back")
    };
    assert!(text.len() <= 512 && text.chars().all(|character| character == 'ü'));
}

//! Bodies whose chunks are signed (`STREAMING-AWS4-HMAC-SHA256-PAYLOAD`): nothing of one that is not what was signed stays.

mod support;

use anvil_body::{AwsChunked, AwsChunkedOptions, ChunkSigning};
use anvil_codec::hash::{self, Algorithm};
use anvil_engine::id::hex;
use anvil_engine::{Kind, UploadOptions};
use support::{Cluster, blob_id, body, source, until};

const TIGHT: u64 = 24 << 20;
const SEED: [u8; 32] = [7; 32];

fn signing() -> ChunkSigning {
    ChunkSigning {
        signing_key: vec![3; 32],
        seed_signature: SEED,
        amz_date: "20130524T000000Z".into(),
        scope: "20130524/us-east-1/s3/aws4_request".into(),
    }
}

/// Where a chunk's header and payload begin in the wire form, and where it ends.
struct Chunk {
    header: usize,
    payload: usize,
    end: usize,
}

fn sign(payload: &[u8], chunk_bytes: usize) -> (Vec<u8>, Vec<Chunk>) {
    let (mut wire, mut chunks, mut previous) = (Vec::new(), Vec::new(), hex(&SEED));
    let signing = signing();
    for chunk in payload.chunks(chunk_bytes).chain([&[][..]]) {
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{}\n{}",
            signing.amz_date,
            signing.scope,
            hash::digest(Algorithm::Sha256, b""),
            hash::digest(Algorithm::Sha256, chunk),
        );
        previous = hex(&hash::hmac_sha256(&signing.signing_key, text.as_bytes()));
        let header = wire.len();
        wire.extend_from_slice(
            format!("{:x};chunk-signature={previous}\r\n", chunk.len()).as_bytes(),
        );
        let payload = wire.len();
        wire.extend_from_slice(chunk);
        let end = wire.len();
        wire.extend_from_slice(b"\r\n");
        chunks.push(Chunk {
            header,
            payload,
            end,
        });
    }
    (wire, chunks)
}

fn options(number: u64, length: usize) -> UploadOptions {
    let mut options = UploadOptions::new(1, blob_id(number), 1);
    options.decoder = Some(AwsChunked::new(AwsChunkedOptions {
        signing: Some(signing()),
        trailers: None,
    }));
    options.content_length = Some(length as u64);
    options.inline_bytes = 4096;
    options.md5 = true;
    options
}

/// Inline, one stripe, many; chunks that are hashed at once, and in the lanes, and larger than a stripe.
const SHAPES: [(usize, usize); 7] = [
    (3000, 1000),
    (60_000, 1000),
    (60_000, 16_384),
    (1_000_000, 5000),
    (1_000_000, 65_536),
    (1_000_000, 9000),
    (2_000_000, 1_500_000),
];

#[test]
fn what_was_signed_is_stored() {
    for (number, (length, chunk_bytes)) in (0..).zip(SHAPES) {
        let cluster = Cluster::new(4, 2, TIGHT);
        let sent = body(length, number);
        let (wire, _) = sign(&sent, chunk_bytes);
        let result = cluster.put(options(number, length), &wire, 33_333).unwrap();
        assert_eq!(result.md5, hex(&hash::digest(Algorithm::Md5, &sent)));
        match &result.inline {
            Some(stored) => assert!(*stored == sent),
            None => {
                let blob = source(blob_id(number), &result, None);
                assert!(cluster.get(&blob, 0, length as u64).unwrap() == sent);
            }
        }
    }
}

#[test]
fn nothing_stays_of_what_was_not_signed() {
    for (number, (length, chunk_bytes)) in (0..).zip(SHAPES) {
        let cluster = Cluster::new(4, 2, TIGHT);
        // A blob's id is never used twice: what was given up may still be removed while the next one is written.
        let blobs = std::cell::Cell::new(number * 1000);
        let fresh = |length| options(blobs.replace(blobs.get() + 1), length);
        let (wire, chunks) = sign(&body(length, number), chunk_bytes);
        let signature = |chunk: &Chunk| chunk.payload - 10;
        let (middle, last) = (&chunks[chunks.len() / 2], &chunks[chunks.len() - 2]);
        let end = &chunks[chunks.len() - 1];
        let spots = [
            signature(&chunks[0]),
            signature(middle),
            signature(last),
            signature(end),
            chunks[0].payload,
            (last.payload + last.end) / 2,
            last.end - 1,
        ];
        for at in spots {
            let mut bad = wire.clone();
            // Another digit where it is one of a signature.
            bad[at] = if bad[at] == b'1' { b'2' } else { b'1' };
            if bad == wire {
                continue;
            }
            let refused = cluster.put(fresh(length), &bad, 33_333);
            assert_eq!(refused.unwrap_err().kind, Kind::SignatureDoesNotMatch);
        }
        for cut in [end.header, end.payload, last.end, last.end - 1, 10] {
            let refused = cluster.put(fresh(length), &wire[..cut], 33_333);
            let kind = refused.unwrap_err().kind;
            assert!(
                matches!(kind, Kind::IncompleteBody | Kind::SignatureDoesNotMatch),
                "{kind:?}"
            );
        }
        // A chunk is left out, and one comes twice, with the length as announced.
        let without = [&wire[..last.header], &wire[last.end + 2..]].concat();
        let twice = [&wire[..last.end + 2], &wire[last.header..]].concat();
        for (wrong, less) in [(without, true), (twice, false)] {
            let chunk = last.end - last.payload;
            let length = if less { length - chunk } else { length + chunk };
            let refused = cluster.put(fresh(length), &wrong, 33_333);
            assert_eq!(refused.unwrap_err().kind, Kind::SignatureDoesNotMatch);
        }
        assert!(cluster.becomes_empty());
        assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
    }
}

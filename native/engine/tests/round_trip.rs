//! What goes in comes out: sizes, codes, encryption, ranges, chunk borders.

mod support;

use anvil_engine::id::hex;
use anvil_engine::{Checksum, Kind, SmallDigest, UploadOptions, digest};
use proptest::prelude::*;
use support::{Cluster, blob_id, body, source, until};

const MEMORY: u64 = 256 << 20;
/// A budget that makes stripes 64 KiB, so that small bodies have many.
const TIGHT: u64 = 24 << 20;

fn options(number: u64) -> UploadOptions {
    UploadOptions::new(1, blob_id(number), 1)
}

#[test]
fn bodies_of_all_sizes_come_back_whole() {
    let cluster = Cluster::new(4, 2, TIGHT);
    let sizes = [
        1,
        63,
        64,
        4096,
        65_535,
        65_536,
        65_537,
        131_072,
        1_000_003,
        3 << 20,
    ];
    for (number, size) in (0..).zip(sizes) {
        for (known, key) in [
            (true, None),
            (false, None),
            (true, Some([9; 32])),
            (false, Some([9; 32])),
        ] {
            let number = number * 10 + u64::from(known) + 2 * u64::from(key.is_some());
            let sent = body(size, number);
            let mut options = options(number);
            options.content_length = known.then_some(size as u64);
            options.data_key = key;
            options.md5 = true;
            let result = cluster.put(options, &sent, 50_000).unwrap();
            assert_eq!(
                result.md5,
                hex(&digest(SmallDigest::parse("md5").unwrap(), &sent))
            );
            assert!(result.missing.is_empty() && result.inline.is_none());
            let blob = source(blob_id(number), &result, key);
            assert_eq!(cluster.get(&blob, 0, size as u64).unwrap(), sent, "{size}");
        }
    }
}

#[test]
fn every_digest_is_right() {
    let cluster = Cluster::new(2, 1, TIGHT);
    let sent = body(500_000, 3);
    let mut options = options(1);
    options.md5 = true;
    options.sha256 = true;
    options.fast_digest = true;
    let names = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];
    options.checksums = names
        .iter()
        .map(|name| Checksum::parse(name).unwrap())
        .collect();
    let result = cluster.put(options, &sent, 9_999).unwrap();
    let of = |name| digest(SmallDigest::parse(name).unwrap(), &sent);
    assert_eq!(result.md5, hex(&of("md5")));
    assert_eq!(result.sha256, hex(&of("sha256")));
    assert_eq!(result.fast_digest, hex(&of("fast")));
    for (name, checksum) in names.iter().zip(&result.checksums) {
        assert_eq!(*checksum, anvil_engine::id::base64(&of(name)));
    }
}

#[test]
fn small_bodies_stay_inline_and_touch_no_drive() {
    let cluster = Cluster::new(4, 2, MEMORY);
    for (size, known, key) in [
        (0, true, None),
        (0, false, Some([1; 32])),
        (4096, true, Some([1; 32])),
        (4096, false, None),
    ] {
        let sent = body(size, 5);
        let mut options = options(1);
        options.inline_bytes = 4096;
        options.content_length = known.then_some(size as u64);
        options.data_key = key;
        options.md5 = true;
        let result = cluster.put(options, &sent, 1000).unwrap();
        assert_eq!((result.size, result.stripe_bytes), (size as u64, 0));
        assert_eq!(
            result.md5,
            hex(&digest(SmallDigest::parse("md5").unwrap(), &sent))
        );
        let inline = result.inline.unwrap();
        let plain = match key {
            Some(key) => anvil_engine::open_inline(&key, &blob_id(1), &inline).unwrap(),
            None => inline,
        };
        assert_eq!(plain, sent);
    }
    assert!(cluster.drives.iter().all(|drive| drive.count() == 0));
    let mut above = options(2);
    above.inline_bytes = 4096;
    assert!(
        cluster
            .put(above, &body(4097, 1), 4097)
            .unwrap()
            .inline
            .is_none()
    );
}

#[test]
fn a_copy_through_the_engine_is_the_same_body() {
    let cluster = Cluster::new(3, 2, TIGHT);
    let sent = body(2_500_000, 8);
    let first = cluster.put(options(1), &sent, 70_000).unwrap();
    let mut second = options(2);
    second.data_key = Some([4; 32]);
    second.content_length = Some(1_000_000);
    let copied = cluster.block_on(async {
        let read = anvil_engine::ReadOptions {
            source: source(blob_id(1), &first, None),
            offset: 5,
            length: 1_000_000,
        };
        let read = cluster.engine.open_read(read)?;
        let upload = cluster.engine.open_upload(second)?;
        cluster.engine.upload_from(upload, read).await?;
        cluster.engine.finish_upload(upload).await
    });
    let blob = source(blob_id(2), &copied.unwrap(), Some([4; 32]));
    assert_eq!(
        cluster.get(&blob, 0, 1_000_000).unwrap(),
        sent[5..1_000_005]
    );
    assert_eq!(cluster.engine.stats().memory_used_bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_range_of_any_body(
        k in 1usize..6,
        m in 0usize..4,
        size in 1usize..400_000,
        chunk in 1usize..200_000,
        encrypted: bool,
        known: bool,
        ranges in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0), 4),
    ) {
        let cluster = Cluster::new(k, m, TIGHT);
        let sent = body(size, size as u64);
        let key = encrypted.then_some([2; 32]);
        let mut options = options(1);
        options.data_key = key;
        options.content_length = known.then_some(size as u64);
        let result = cluster.put(options, &sent, chunk).unwrap();
        let blob = source(blob_id(1), &result, key);
        for (from, to) in ranges {
            let start = (size as f64 * from) as usize;
            let len = ((size - start) as f64 * to) as usize;
            prop_assert_eq!(cluster.get(&blob, start as u64, len as u64).unwrap(), &sent[start..start + len]);
        }
        prop_assert_eq!(cluster.engine.stats().memory_used_bytes, 0);
    }
}

#[test]
fn inline_bodies_can_be_finished_without_waiting() {
    let cluster = Cluster::new(2, 1, 24 << 20);
    for (announced, size) in [
        (Some(3000), 3000),
        (None, 3000),
        (Some(3001), 3000),
        (None, 5000),
    ] {
        let mut options = UploadOptions::new(1, blob_id(1), 1);
        (options.content_length, options.inline_bytes, options.md5) = (announced, 4096, true);
        let handle = cluster.engine.open_upload(options).unwrap();
        let sent = body(size, 3);
        cluster.engine.upload(handle).unwrap().write(&sent).unwrap();
        match cluster.engine.finish_inline(handle) {
            Ok(Some(result)) => assert_eq!(result.inline.as_ref(), Some(&sent)),
            Ok(None) => {
                assert_eq!(size, 5000);
                let result = cluster.block_on(cluster.engine.finish_upload(handle));
                assert_eq!(result.unwrap().inline, None);
            }
            Err(error) => assert_eq!((error.kind, announced), (Kind::IncompleteBody, Some(3001))),
        }
        assert!(cluster.engine.upload(handle).is_err());
    }
    assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
}

//! The rule of the quorum, refused bodies, aborts, and the bound of the memory.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anvil_body::{AwsChunked, AwsChunkedOptions};
use anvil_engine::target::ShardError;
use anvil_engine::{BlobSource, Checksum, Flow, Kind, Limits, Pg, UploadOptions};
use support::{Cluster, MemoryDrive, blob_id, body, drive_id, limits, source, until};

const TIGHT: u64 = 24 << 20;
const SIZES: [usize; 2] = [10_000, 1_000_000];

fn options(number: u64) -> UploadOptions {
    UploadOptions::new(1, blob_id(number), 1)
}

#[test]
fn members_that_fail_are_left_out_above_the_quorum() {
    for size in SIZES {
        let cluster = Cluster::new(4, 2, TIGHT);
        let sent = body(size, 1);
        cluster.drives[3].fail(Some(ShardError::Failed("dead".into())));
        let result = cluster.put(options(1), &sent, 50_000).unwrap();
        assert_eq!(result.missing, [3]);
        cluster.engine.registry.remove_target(&drive_id(3));
        assert_eq!(cluster.put(options(2), &sent, 50_000).unwrap().missing, [3]);
        let blob = source(blob_id(2), &result, None);
        assert_eq!(cluster.get(&blob, 0, size as u64).unwrap(), sent);
    }
}

#[test]
fn with_fewer_than_k_nothing_stays() {
    for size in SIZES {
        for (error, kind) in [
            (
                ShardError::Failed("dead".into()),
                Kind::InsufficientRedundancy,
            ),
            (ShardError::Full, Kind::InsufficientStorage),
            (ShardError::Stale { current: 9 }, Kind::StaleGeneration),
        ] {
            let cluster = Cluster::new(4, 2, TIGHT);
            for drive in &cluster.drives[..3] {
                drive.fail(Some(error.clone()));
            }
            let refused = cluster.put(options(1), &body(size, 1), 50_000).unwrap_err();
            assert_eq!(refused.kind, kind);
            for drive in &cluster.drives {
                drive.fail(None);
            }
            assert!(cluster.becomes_empty());
            assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
        }
    }
}

#[test]
fn too_few_reachable_members_are_refused_before_the_first_byte() {
    let cluster = Cluster::new(4, 2, TIGHT);
    for index in 0..2 {
        cluster.engine.registry.remove_target(&drive_id(index));
    }
    assert_eq!(
        cluster.engine.open_upload(options(1)).unwrap_err().kind,
        Kind::InsufficientRedundancy
    );
}

#[test]
fn below_the_quorum_the_body_can_be_written_into_another_group() {
    for size in SIZES {
        let cluster = Cluster::new(4, 2, TIGHT);
        let sent = body(size, 1);
        let failing = [ShardError::Failed("dead".into()), ShardError::Full];
        for (drive, error) in cluster.drives[1..].iter().zip(failing) {
            drive.fail(Some(error));
        }
        let result = cluster.put(options(1), &sent, 50_000).unwrap();
        assert_eq!(
            (&result.missing[..], result.below_quorum),
            (&[1, 2][..], true)
        );
        // A group of those that live.
        let living = [0, 3, 4, 5].map(drive_id).to_vec();
        let registry = &cluster.engine.registry;
        registry
            .set_pg(Pg {
                id: 2,
                k: 2,
                m: 2,
                members: living,
                ..support::group(4, 2)
            })
            .unwrap();
        let blob = source(blob_id(1), &result, None);
        let left = cluster.block_on(cluster.engine.reencode_blob(blob.clone(), 2));
        assert!(left.unwrap().is_empty());
        let moved = BlobSource { pg: 2, ..blob };
        assert_eq!(cluster.get(&moved, 0, size as u64).unwrap(), sent);
        assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
    }
}

/// Two nodes may set about the same blob: the one that fails must not take back what the other one has committed by now.
#[test]
fn a_re_encoding_that_fails_leaves_another_one_of_the_same_blob_alone() {
    for size in SIZES {
        let cluster = Cluster::new(2, 1, TIGHT);
        let sent = body(size, 1);
        let result = cluster.put(options(1), &sent, 50_000).unwrap();
        let registry = &cluster.engine.registry;
        let others: Vec<MemoryDrive> = (3..9).map(|_| MemoryDrive::default()).collect();
        for (index, drive) in (3..).zip(&others) {
            registry.add_target(drive_id(index), Arc::new(drive.clone()));
        }
        let members = (3..9).map(drive_id).collect();
        registry
            .set_pg(Pg {
                id: 2,
                members,
                ..support::group(4, 2)
            })
            .unwrap();
        let blob = source(blob_id(1), &result, None);
        let again = || cluster.block_on(cluster.engine.reencode_blob(blob.clone(), 2));
        assert!(again().unwrap().is_empty());

        // two members fail the second one: that is too few for it
        for drive in &others[..2] {
            drive.fail(Some(ShardError::Unreachable("a partition".into())));
        }
        assert_eq!(again().unwrap_err().kind, Kind::InsufficientRedundancy);
        // and here one member is late as well, and done when the write has failed
        others[2].stall(true);
        assert_eq!(again().unwrap_err().kind, Kind::InsufficientRedundancy);
        others[2].stall(false);
        assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
        std::thread::sleep(Duration::from_millis(100));
        for drive in &others {
            assert_eq!(drive.sealed(), 1);
        }
        let moved = BlobSource { pg: 2, ..blob };
        assert_eq!(cluster.get(&moved, 0, size as u64).unwrap(), sent);
    }
}

#[test]
fn members_that_fail_in_the_middle_of_a_body_do_not_end_it_while_k_are_left() {
    for (failing, readable) in [(2, true), (3, false)] {
        let cluster = Cluster::new(4, 2, TIGHT);
        let sent = body(2_000_000, 1);
        let ended = cluster.block_on(async {
            let handle = cluster.engine.open_upload(options(1))?;
            support::feed(&cluster.engine, handle, &sent[..900_000], 50_000).await?;
            for drive in &cluster.drives[..failing] {
                drive.fail(Some(ShardError::Io("gone".into())));
            }
            // It may be refused here or at its end.
            support::feed(&cluster.engine, handle, &sent[900_000..], 50_000).await?;
            cluster.engine.finish_upload(handle).await
        });
        if readable {
            let result = ended.unwrap();
            assert_eq!(
                (&result.missing[..], result.below_quorum),
                (&[0, 1][..], true)
            );
            let blob = source(blob_id(1), &result, None);
            assert_eq!(cluster.get(&blob, 0, 2_000_000).unwrap(), sent);
        } else {
            assert_eq!(ended.unwrap_err().kind, Kind::InsufficientRedundancy);
        }
    }
}

#[test]
fn a_member_that_never_answers_holds_no_body_up_for_ever_when_two_others_have_failed() {
    let limits = Limits {
        stall: Duration::from_millis(20),
        ..support::limits()
    };
    let cluster = Cluster::with(4, 2, TIGHT, limits);
    for drive in &cluster.drives[..2] {
        drive.fail(Some(ShardError::Io("gone".into())));
    }
    cluster.drives[2].stall(true);
    // More than fits into the memory: what the third one holds must come back for the body to go on.
    let sent = body(30_000_000, 1);
    let written = async {
        let handle = cluster.engine.open_upload(options(1))?;
        support::feed(&cluster.engine, handle, &sent, 50_000).await?;
        cluster.engine.finish_upload(handle).await
    };
    let ended =
        cluster.block_on(async { tokio::time::timeout(Duration::from_secs(60), written).await });
    let error = ended.expect("an end").unwrap_err();
    assert_eq!(error.kind, Kind::InsufficientRedundancy);
}

#[test]
fn without_parity_all_must_answer() {
    for (k, m) in [(1, 0), (2, 0)] {
        let cluster = Cluster::new(k, m, TIGHT);
        cluster.put(options(1), &body(100_000, 1), 50_000).unwrap();
        cluster.drives[0].fail(Some(ShardError::Io("no".into())));
        let refused = cluster
            .put(options(2), &body(100_000, 1), 50_000)
            .unwrap_err();
        assert_eq!(refused.kind, Kind::InsufficientRedundancy);
    }
}

#[test]
fn a_member_that_stalls_is_left_out_and_holds_nothing_up() {
    for size in SIZES {
        let cluster = Cluster::new(4, 2, TIGHT);
        let sent = body(size, 4);
        cluster.drives[5].stall(true);
        let started = Instant::now();
        let result = cluster.put(options(1), &sent, 50_000).unwrap();
        assert_eq!(result.missing, [5]);
        let took = started.elapsed();
        assert!(
            took >= Duration::from_millis(200) && took < Duration::from_secs(3),
            "{took:?}"
        );
        cluster.drives[5].stall(false);
        let blob = source(blob_id(1), &result, None);
        assert_eq!(cluster.get(&blob, 0, size as u64).unwrap(), sent);
        assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
    }
}

#[test]
fn what_a_stalled_member_writes_late_goes_if_the_upload_failed() {
    let cluster = Cluster::new(2, 1, TIGHT);
    for drive in &cluster.drives[..2] {
        drive.fail(Some(ShardError::Io("no".into())));
    }
    cluster.drives[2].stall(true);
    let refused = cluster.put(options(1), &body(1000, 4), 50_000).unwrap_err();
    assert_eq!(refused.kind, Kind::InsufficientRedundancy);
    cluster.drives[2].stall(false);
    std::thread::sleep(Duration::from_millis(20));
    assert!(cluster.becomes_empty());
}

#[test]
fn bodies_that_are_not_what_was_promised_leave_nothing() {
    type Change = fn(&mut UploadOptions);
    let cases: [(Kind, Change); 7] = [
        (Kind::BadDigest, |options| {
            options.expect_md5 = Some([1; 16])
        }),
        (Kind::ContentSha256Mismatch, |options| {
            options.expect_sha256 = Some([1; 32])
        }),
        (Kind::BadDigest, |options| {
            options.expect_checksum =
                Checksum::parse("crc32c").map(|checksum| (checksum, "AAAAAA==".into()));
        }),
        (Kind::MalformedTrailer, |options| {
            options.checksum_trailer =
                Checksum::parse("sha1").map(|checksum| ("x-amz-checksum-sha1".into(), checksum));
        }),
        (Kind::IncompleteBody, |options| {
            options.content_length = Some(2_000_000)
        }),
        (Kind::IncompleteBody, |options| {
            options.content_length = Some(5_000)
        }),
        (Kind::EntityTooLarge, |options| options.max_bytes = 9_999),
    ];
    let cluster = Cluster::new(4, 2, TIGHT);
    for (number, (kind, change)) in (0..).zip(cases) {
        for (size, inline) in [(10_000, 0), (10_000, 64 * 1024), (1_000_000, 0)] {
            let mut options = options(number);
            options.inline_bytes = inline;
            change(&mut options);
            assert_eq!(
                cluster
                    .put(options, &body(size, 1), 7_000)
                    .unwrap_err()
                    .kind,
                kind
            );
        }
    }
    assert!(cluster.becomes_empty());
    assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
    assert_eq!(cluster.engine.stats().uploads, 0);
}

#[test]
fn chunked_bodies_are_decoded_and_their_trailers_compared() {
    let cluster = Cluster::new(2, 1, TIGHT);
    let sent = body(300_000, 2);
    let mut wire = Vec::new();
    for chunk in sent.chunks(70_000) {
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    let crc = anvil_engine::digest(anvil_engine::SmallDigest::parse("crc32c").unwrap(), &sent);
    let good = anvil_engine::id::base64(&crc);
    for (value, kind) in [(good.as_str(), None), ("AAAAAA==", Some(Kind::BadDigest))] {
        let wire = [
            &wire[..],
            format!("0\r\nx-amz-checksum-crc32c:{value}\r\n\r\n").as_bytes(),
        ]
        .concat();
        let chunked = |number| {
            let mut options = options(number);
            let name = "x-amz-checksum-crc32c".to_owned();
            let trailers = Some(vec![name.clone()]);
            options.decoder = Some(AwsChunked::new(AwsChunkedOptions {
                signing: None,
                trailers,
            }));
            options.checksum_trailer = Checksum::parse("crc32c").map(|checksum| (name, checksum));
            options.content_length = Some(300_000);
            options
        };
        let answer = cluster.put(chunked(1), &wire, 33_333);
        match kind {
            None => {
                let result = answer.unwrap();
                assert_eq!(
                    result.trailers,
                    [("x-amz-checksum-crc32c".to_owned(), good.clone())]
                );
                let blob = source(blob_id(1), &result, None);
                assert_eq!(cluster.get(&blob, 0, 300_000).unwrap(), sent);
            }
            Some(kind) => assert_eq!(answer.unwrap_err().kind, kind),
        }
        let cut = cluster
            .put(chunked(2), &wire[..wire.len() - 5], 33_333)
            .unwrap_err();
        assert_eq!(cut.kind, Kind::IncompleteBody);
        let junk = cluster.put(chunked(3), b"zz\r\n", 33_333).unwrap_err();
        assert_eq!(junk.kind, Kind::MalformedChunk);
    }
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing_at_any_point() {
    let cluster = Cluster::new(4, 2, TIGHT);
    let sent = body(1_000_000, 2);
    for stop in [0, 1, 3, 8, 19] {
        let handle = cluster.engine.open_upload(options(stop)).unwrap();
        let upload = cluster.engine.upload(handle).unwrap();
        for chunk in sent.chunks(50_000).take(stop as usize) {
            if upload.write(chunk).unwrap() == Flow::Pause {
                cluster.block_on(upload.drained()).unwrap();
            }
        }
        cluster.engine.abort_upload(handle);
        cluster.engine.abort_upload(handle);
        assert_eq!(upload.write(b"more").unwrap_err().kind, Kind::Aborted);
        assert_eq!(
            cluster.block_on(upload.drained()).unwrap_err().kind,
            Kind::Aborted
        );
        assert_eq!(
            cluster
                .block_on(cluster.engine.finish_upload(handle))
                .unwrap_err()
                .kind,
            Kind::Aborted
        );
        drop(upload);
        assert!(cluster.becomes_empty(), "stopped at {stop}");
        assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
    }
}

#[test]
fn a_thousand_uploads_of_unknown_length_share_a_small_budget() {
    let limit = 256 << 20;
    let patient = Limits {
        stall: Duration::from_secs(20),
        ..support::limits()
    };
    let cluster = Cluster::with(4, 2, limit, patient);
    let handles: Vec<u64> = (0..1000)
        .map(|number| {
            cluster
                .engine
                .open_upload(options(number))
                .expect("all are admitted")
        })
        .collect();
    let sent = Arc::new(body(400_000, 9));
    cluster.block_on(async {
        let mut tasks = Vec::new();
        for handle in handles {
            let (engine, sent) = (cluster.engine.clone(), sent.clone());
            tasks.push(tokio::spawn(async move {
                support::feed(&engine, handle, &sent, 64 * 1024).await?;
                engine.finish_upload(handle).await
            }));
        }
        for task in tasks {
            let result = task.await.unwrap().unwrap();
            assert_eq!((result.size, result.missing.len()), (400_000, 0));
        }
    });
    let stats = cluster.engine.stats();
    assert!(
        stats.memory_peak_bytes <= limit,
        "{} MiB",
        stats.memory_peak_bytes >> 20
    );
    assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
}

#[test]
fn who_cannot_be_admitted_is_told_to_slow_down() {
    let cluster = Cluster::new(4, 2, 1 << 20);
    let mut open = Vec::new();
    let refused = loop {
        match cluster.engine.open_upload(options(open.len() as u64)) {
            Ok(handle) => open.push(handle),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind, Kind::SlowDown);
    assert!(open.len() >= 7, "{}", open.len());
    // Every one that was admitted can end, although the others hold all the rest.
    for handle in open {
        let upload = cluster.engine.upload(handle).unwrap();
        for chunk in body(200_000, handle).chunks(16_000) {
            if upload.write(chunk).unwrap() == Flow::Pause {
                cluster.block_on(upload.drained()).unwrap();
            }
        }
        cluster
            .block_on(cluster.engine.finish_upload(handle))
            .unwrap();
    }
    assert!(cluster.engine.stats().memory_peak_bytes <= 1 << 20);
}

#[test]
fn a_write_that_fails_behind_its_seal_ends_at_once() {
    let slow = Limits {
        stall: Duration::from_secs(5),
        ..limits()
    };
    let cluster = Cluster::with(2, 1, TIGHT, slow);
    let sent = body(400_000, 9);
    let started = Instant::now();
    let refused = cluster.block_on(async {
        let engine = cluster.engine.clone();
        let handle = engine.open_upload(options(1))?;
        support::feed(&engine, handle, &sent[..200_000], 50_000).await?;
        cluster.drives[0].stall(true);
        cluster.drives[1].stall(true);
        support::feed(&engine, handle, &sent[200_000..], 50_000).await?;
        let ending = engine.clone();
        let ending = tokio::spawn(async move { ending.finish_upload(handle).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        for drive in &cluster.drives[..2] {
            drive.fail(Some(ShardError::Full));
            drive.stall(false);
        }
        ending.await.unwrap()
    });
    assert_eq!(refused.unwrap_err().kind, Kind::InsufficientStorage);
    assert!(started.elapsed() < Duration::from_secs(4));
    assert!(cluster.becomes_empty());
}

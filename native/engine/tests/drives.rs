//! The engine over real drives: what it stores survives their closing, and reads with drives away.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anvil_engine::target::ShardKey;
use anvil_engine::{Engine, Kind, ReadOptions, UploadOptions};
use anvil_store::{DriveState, OpenOptions, Probe};
use support::{blob_id, body, drive_id, engine, group, limits, source};

const DEPLOYMENT: [u8; 16] = [0xdd; 16];
const MEMORY: u64 = 24 << 20;

fn options(path: &Path) -> OpenOptions {
    let mut options = OpenOptions::new(path, DEPLOYMENT);
    options.segment_bytes = 16 << 20;
    options.io_threads = 1;
    options
}

/// Drives of a 4+2 group under `base`; made if they are not there.
async fn start(base: &Path) -> Arc<Engine> {
    let engine = engine(
        MEMORY,
        anvil_engine::Limits {
            stall: std::time::Duration::from_secs(10),
            ..limits()
        },
    );
    for index in 0..6 {
        let path = base.join(index.to_string());
        if engine.probe_drive(path.clone()).await.unwrap() == Probe::Missing {
            std::fs::create_dir(&path).unwrap();
            engine
                .create_drive(path.clone(), DEPLOYMENT, drive_id(index))
                .await
                .unwrap();
        }
        engine.open_drive(options(&path)).await.unwrap();
    }
    engine.registry.set_pg(group(4, 2)).unwrap();
    engine
}

async fn stop(engine: &Arc<Engine>) {
    for index in 0..6 {
        engine.close_drive(drive_id(index)).await;
    }
}

#[test]
fn blobs_survive_a_restart_and_the_loss_of_two_drives() {
    let base = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = start(base.path()).await;
        let mut blobs = Vec::new();
        for (number, (size, key)) in (0..).zip([
            (1000, None),
            (90_000, Some([3; 32])),
            (1_500_000, None),
            (1_500_000, Some([4; 32])),
        ]) {
            let sent = body(size, number);
            let mut options = UploadOptions::new(1, blob_id(number), 1);
            options.data_key = key;
            let result = support::put(&engine, options, &sent, 100_000)
                .await
                .unwrap();
            assert!(result.missing.is_empty());
            blobs.push((source(blob_id(number), &result, key), sent));
        }
        stop(&engine).await;
        drop(engine);

        let engine = start(base.path()).await;
        for away in [[0, 1], [2, 5], [4, 5]] {
            for index in away {
                engine.close_drive(drive_id(index)).await;
            }
            for (blob, sent) in &blobs {
                let all = ReadOptions {
                    source: blob.clone(),
                    offset: 0,
                    length: blob.size,
                };
                assert_eq!(engine.read_all(all).await.unwrap(), *sent);
            }
            for index in away {
                engine
                    .open_drive(options(&base.path().join(index.to_string())))
                    .await
                    .unwrap();
            }
        }

        // A shard that is gone is rebuilt on its drive.
        let key = anvil_engine::target::ShardKey {
            bucket: 1,
            blob: blob_id(2),
            pg: 1,
            index: 3,
        };
        engine
            .delete_shards(&drive_id(3), vec![(key, support::GENERATION)])
            .await
            .unwrap();
        let held = || engine.drive(&drive_id(3)).unwrap().has(&key).unwrap();
        assert!(held().is_none());
        engine.rebuild_shard(blobs[2].0.clone(), 3).await.unwrap();
        assert!(held().unwrap().sealed);
        // Over a shard that is still there, too: it may be rotten.
        engine.rebuild_shard(blobs[2].0.clone(), 3).await.unwrap();
        engine.rebuild_shard(blobs[0].0.clone(), 3).await.unwrap();
        for index in [0, 4] {
            engine.close_drive(drive_id(index)).await;
        }
        for number in [0, 2] {
            let (blob, sent) = &blobs[number];
            let all = ReadOptions {
                source: blob.clone(),
                offset: 0,
                length: blob.size,
            };
            assert_eq!(engine.read_all(all).await.unwrap(), *sent);
        }
        stop(&engine).await;
    });
}

#[test]
fn what_is_given_up_or_refused_is_on_no_list() {
    let base = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = start(base.path()).await;
        let sent = body(1_000_000, 1);
        let handle = engine
            .open_upload(UploadOptions::new(1, blob_id(1), 1))
            .unwrap();
        support::feed(&engine, handle, &sent, 100_000)
            .await
            .unwrap();
        engine.abort_upload(handle);
        for size in [1000, 1_000_000] {
            let mut options = UploadOptions::new(1, blob_id(2), 1);
            options.expect_md5 = Some([0; 16]);
            let refused = support::put(&engine, options, &sent[..size], 100_000)
                .await
                .unwrap_err();
            assert_eq!(refused.kind, Kind::BadDigest);
        }
        let empty = || {
            (0..6).all(|index| {
                let (shards, _) = engine
                    .drive(&drive_id(index))
                    .unwrap()
                    .list(None, 10, u64::MAX)
                    .unwrap();
                shards.is_empty()
            })
        };
        assert!(support::until(empty));
        stop(&engine).await;
    });
}

#[test]
fn a_drive_whose_index_is_damaged_while_it_is_open_is_opened_again_by_itself() {
    let base = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = start(base.path()).await;
        let sent = body(90_000, 1);
        let keys = |index: usize| -> Vec<ShardKey> {
            (0..100)
                .map(|number| ShardKey {
                    bucket: 1,
                    blob: blob_id(number),
                    pg: 1,
                    index: index as u8,
                })
                .collect()
        };
        for number in 0..100 {
            let options = UploadOptions::new(1, blob_id(number), 1);
            let put = support::put(&engine, options, &sent, 100_000).await;
            assert!(put.unwrap().missing.is_empty());
        }
        stop(&engine).await;
        drop(engine);

        let engine = start(base.path()).await;
        let index = base.path().join("0/index.redb");
        let file = std::fs::File::options().write(true).open(index).unwrap();
        file.set_len(4096).unwrap();
        let drive = drive_id(0);
        let asked = engine.has_shards(&drive, keys(0)).await;
        assert_eq!(asked.unwrap_err().kind, Kind::DriveFailed);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let asked = engine.has_shards(&drive, keys(0)).await;
            if let Ok(held) = asked {
                assert!(held.iter().all(|held| *held));
                break;
            }
            assert!(Instant::now() < deadline, "{asked:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let stats = engine.drive_stats();
        assert!(
            stats
                .iter()
                .all(|(_, stats)| stats.state == DriveState::Online)
        );
        // Closed for good while it may be opened again: its folder is free.
        let file = std::fs::File::options()
            .write(true)
            .open(base.path().join("0/index.redb"));
        file.unwrap().set_len(4096).unwrap();
        let scrubbed = engine.scrub_drive(drive, None, 1 << 30).await;
        assert_eq!(scrubbed.unwrap_err().kind, Kind::DriveFailed);
        engine.close_drive(drive).await;
        let deadline = Instant::now() + Duration::from_secs(60);
        while engine
            .open_drive(options(&base.path().join("0")))
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop(&engine).await;
    });
}

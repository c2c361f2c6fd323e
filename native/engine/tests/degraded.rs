//! Reads and repair when members are away, rotten, wrong or slow.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anvil_engine::target::ShardError;
use anvil_engine::{BlobSource, Damage, DamageReason, Kind, Pg, UploadOptions};
use parking_lot::Mutex;
use support::{Cluster, GENERATION, blob_id, body, drive_id, source, until};

const TIGHT: u64 = 24 << 20;
const KEY: [u8; 32] = [5; 32];

/// A cluster with one blob of a few stripes in it.
fn cluster_with_blob(
    k: usize,
    m: usize,
    size: usize,
    encrypted: bool,
) -> (Cluster, Vec<u8>, BlobSource) {
    let cluster = Cluster::new(k, m, TIGHT);
    let sent = body(size, 11);
    let key = encrypted.then_some(KEY);
    let mut options = UploadOptions::new(1, blob_id(1), 1);
    options.data_key = key;
    let result = cluster.put(options, &sent, 65_536).unwrap();
    let blob = source(blob_id(1), &result, key);
    (cluster, sent, blob)
}

fn reports(cluster: &Cluster) -> Arc<Mutex<Vec<Damage>>> {
    let damages = Arc::new(Mutex::new(Vec::new()));
    let heard = damages.clone();
    cluster
        .engine
        .set_damage_listener(Arc::new(move |damage| heard.lock().push(damage)));
    damages
}

/// All sets of at most `most` of `n` members.
fn choices(n: usize, most: usize) -> impl Iterator<Item = Vec<usize>> {
    (0u32..1 << n)
        .filter(move |set| set.count_ones() as usize <= most)
        .map(move |set| (0..n).filter(|member| set & 1 << member != 0).collect())
}

#[test]
fn any_m_members_may_be_away_or_rotten() {
    for (k, m) in [(4, 2), (2, 2), (1, 1), (3, 1)] {
        for encrypted in [false, true] {
            let (mut cluster, sent, blob) = cluster_with_blob(k, m, 300_000, encrypted);
            for lost in choices(k + m, m) {
                for how in 0..3 {
                    for member in &lost {
                        match how {
                            0 => drop(cluster.engine.registry.remove_target(&drive_id(*member))),
                            1 => cluster.drives[*member].fail(Some(ShardError::Corrupt)),
                            _ => cluster.drives[*member].fail(Some(ShardError::NotFound)),
                        }
                    }
                    assert_eq!(
                        cluster.get(&blob, 0, blob.size).unwrap(),
                        sent,
                        "{k}+{m} {lost:?} {how}"
                    );
                    assert_eq!(
                        cluster.get(&blob, 65_530, 70_000).unwrap(),
                        sent[65_530..135_530]
                    );
                    for member in &lost {
                        let drive = &mut cluster.drives[*member];
                        drive.fail(None);
                        cluster
                            .engine
                            .registry
                            .add_target(drive_id(*member), Arc::new(drive.clone()));
                    }
                }
            }
            assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
        }
    }
}

#[test]
fn one_loss_too_many_is_an_error_and_never_wrong_bytes() {
    let (cluster, _, blob) = cluster_with_blob(4, 2, 300_000, false);
    for drive in &cluster.drives[..3] {
        drive.rot();
    }
    assert_eq!(
        cluster.get(&blob, 0, blob.size).unwrap_err().kind,
        Kind::ShardsUnavailable
    );
    assert_eq!(
        cluster.get(&blob, 200_000, 10).unwrap_err().kind,
        Kind::ShardsUnavailable
    );
}

#[test]
fn rot_is_reported_once_a_read_and_repaired() {
    let (cluster, sent, blob) = cluster_with_blob(4, 2, 600_000, true);
    let damages = reports(&cluster);
    cluster.drives[2].rot();
    assert_eq!(cluster.get(&blob, 0, blob.size).unwrap(), sent);
    {
        let heard = damages.lock();
        let found: Vec<_> = heard
            .iter()
            .map(|damage| (damage.shard.index, damage.drive, damage.reason))
            .collect();
        assert_eq!(found, [(2, drive_id(2), DamageReason::Crc)]);
    }
    let keyless = BlobSource {
        data_key: None,
        ..blob.clone()
    };
    cluster
        .block_on(cluster.engine.rebuild_shard(keyless, 2))
        .unwrap();
    damages.lock().clear();
    for other in [0, 1] {
        cluster.drives[other].fail(Some(ShardError::NotFound));
    }
    assert_eq!(
        cluster.get(&blob, 0, blob.size).unwrap(),
        sent,
        "the rebuilt shard carries"
    );
    assert!(damages.lock().iter().all(|damage| damage.shard.index != 2));
}

#[test]
fn every_shard_can_be_rebuilt_from_any_k() {
    for size in [1000, 400_000] {
        let (cluster, sent, blob) = cluster_with_blob(3, 2, size, false);
        for index in 0..5 {
            cluster.drives[index].wipe();
            cluster.drives[(index + 1) % 5].fail(Some(ShardError::Failed("gone".into())));
            cluster
                .block_on(cluster.engine.rebuild_shard(blob.clone(), index))
                .unwrap();
            cluster.drives[(index + 1) % 5].fail(None);
            assert_eq!(cluster.drives[index].sealed(), 1);
        }
        assert_eq!(cluster.get(&blob, 0, blob.size).unwrap(), sent);
        assert!(cluster.engine.stats().degraded_reads > 0);
    }
}

#[test]
fn a_stalled_member_is_overtaken() {
    let (cluster, sent, blob) = cluster_with_blob(4, 2, 600_000, false);
    cluster.drives[1].stall(true);
    let started = Instant::now();
    assert_eq!(cluster.get(&blob, 0, blob.size).unwrap(), sent);
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    cluster.drives[4].stall(true);
    assert_eq!(
        cluster.get(&blob, 0, blob.size).unwrap(),
        sent,
        "a slow parity member is overtaken too"
    );
    cluster.drives[1].stall(false);
    cluster.drives[4].stall(false);
}

#[test]
fn a_higher_generation_means_moved() {
    let (cluster, _, blob) = cluster_with_blob(2, 1, 100_000, false);
    cluster.engine.registry.forget_pg(1);
    assert_eq!(
        cluster.get(&blob, 0, 1).unwrap_err().kind,
        Kind::Moved,
        "an unknown group is looked up again"
    );
    cluster
        .engine
        .registry
        .set_pg(Pg {
            generation: GENERATION - 1,
            ..support::group(2, 1)
        })
        .unwrap();
    assert_eq!(cluster.get(&blob, 0, 1).unwrap_err().kind, Kind::Moved);
}

#[test]
fn the_wrong_key_opens_nothing() {
    let (cluster, _, blob) = cluster_with_blob(2, 1, 100_000, true);
    for key in [Some([6; 32]), None] {
        let blob = BlobSource {
            data_key: key,
            ..blob.clone()
        };
        assert_eq!(
            cluster.get(&blob, 0, 10).unwrap_err().kind,
            Kind::WrongEncryptionKey
        );
    }
}

#[test]
fn a_blob_moves_into_another_code_without_its_key() {
    for size in [5, 70_000, 500_000] {
        for encrypted in [false, true] {
            let (cluster, sent, blob) = cluster_with_blob(4, 2, size, encrypted);
            let members = (0..3).map(drive_id).collect();
            cluster
                .engine
                .registry
                .set_pg(Pg {
                    id: 2,
                    generation: GENERATION,
                    k: 2,
                    m: 1,
                    members,
                })
                .unwrap();
            cluster.drives[3].fail(Some(ShardError::NotFound));
            let keyless = BlobSource {
                data_key: None,
                ..blob.clone()
            };
            let missing = cluster
                .block_on(cluster.engine.reencode_blob(keyless, 2))
                .unwrap();
            assert!(missing.is_empty());
            cluster.drives[1].fail(Some(ShardError::NotFound));
            let moved = BlobSource { pg: 2, ..blob };
            assert_eq!(cluster.get(&moved, 0, moved.size).unwrap(), sent);
            assert!(until(|| cluster.engine.stats().memory_used_bytes == 0));
        }
    }
}

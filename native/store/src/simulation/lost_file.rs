//! One file used as two segments, step by step: the fault behind `scripts/slot-of-a-removed-file-*.json`.

use std::sync::Arc;

use super::model::random_block;
use super::step::key_of;
use crate::buffers::Buffers;
use crate::core::{Core, CoreOptions, Op};
use crate::disk::Disk;
use crate::disk::sim::{Rng, SimDisk};
use crate::format::identity::Identity;
use crate::index::INDEX_FILE;
use crate::limits::MIN_SEGMENT_BYTES;

fn open(disk: &SimDisk) -> Core {
    let options = CoreOptions {
        reserve_bytes: 0,
        segment_bytes: MIN_SEGMENT_BYTES,
        buffers: Buffers::new(1 << 20),
    };
    let identity = Identity::new([1; 16], [2; 16]);
    Core::open(Arc::new(disk.clone()), identity, options)
        .expect("opens")
        .0
}

fn segments(disk: &SimDisk) -> Vec<String> {
    let mut names = disk.list("segments").expect("listed");
    names.sort();
    names
}

/// Shards of which four fill a segment.
fn put(core: &Core, keys: std::ops::Range<u8>) {
    for key in keys {
        let block = random_block(&mut Rng(key.into()), 13_000);
        let key = key_of(key);
        let generation = 1;
        let answers = core.commit(&[Op::Put {
            key,
            generation,
            block,
        }]);
        assert!(answers[0].is_ok());
    }
}

#[test]
fn the_name_of_a_lost_segment_is_not_used_again() {
    let disk = SimDisk::new(1);
    let core = open(&disk);
    put(&core, 0..12);
    core.checkpoint().expect("written");
    drop(core);
    disk.kill();
    // The newest segment's file is lost; the index still knows what lay in it.
    let before = segments(&disk);
    let lost = before.last().expect("segments");
    disk.remove(&format!("segments/{lost}")).expect("removed");

    let core = open(&disk);
    put(&core, 20..36);
    assert!(
        !segments(&disk).contains(lost),
        "{lost} is another segment now"
    );
    // The lost segment is given up, which must not hit a file with other shards.
    let keys = (0..12).map(|key| (key_of(key), 1)).collect();
    assert!(core.commit(&[Op::Delete { keys }])[0].is_ok());
    while core.compact(1 << 20).expect("compacted").freed_bytes > 0 {}
    core.close().expect("closed");
    drop(core);
    disk.crash(7);
    disk.remove(INDEX_FILE).expect("removed");
    let core = open(&disk);
    for key in 20..36 {
        let read = core.read(&key_of(key), 1, 0, 0, 13_000).expect("read");
        assert_eq!(read, random_block(&mut Rng(key.into()), 13_000).data);
    }
}

//! What needs two calls at a time or two operations in one batch, and so does not come up in the simulation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Core, CoreOptions, Op};
use crate::buffers::Buffers;
use crate::disk::sim::SimDisk;
use crate::format::identity::Identity;
use crate::format::record::{Header, Kind};
use crate::limits::MIN_SEGMENT_BYTES;
use crate::types::{Block, ShardKey, StoreError};

fn new_core() -> Core {
    let options = CoreOptions {
        reserve_bytes: 0,
        segment_bytes: MIN_SEGMENT_BYTES,
        buffers: Buffers::new(1 << 20),
    };
    let disk = Arc::new(SimDisk::new(1));
    let (core, _) = Core::open(disk, Identity::new([1; 16], [2; 16]), options).expect("opens");
    core
}

fn key(number: u64) -> ShardKey {
    let mut blob = [0; 16];
    blob[8..].copy_from_slice(&number.to_be_bytes());
    ShardKey {
        bucket: 7,
        blob,
        pg: 3,
        index: 1,
    }
}

fn put(number: u64, len: usize) -> Op {
    Op::Put {
        key: key(number),
        generation: 1,
        block: Block::new(Bytes::from(vec![number as u8; len])),
    }
}

fn delete(number: u64) -> Op {
    Op::Delete {
        keys: vec![(key(number), 1)],
    }
}

#[test]
fn a_removal_and_the_seal_of_the_same_shard_in_one_batch() {
    let core = new_core();
    let stream = core.begin_stream(key(1), 1, Some(2), 4096).expect("begun");
    let block = Block::new(Bytes::from(vec![1; 4096]));
    core.append(&stream, 0, &block).expect("written");
    let sealed = core.sync_stream(&stream, 1, 4096).expect("durable");
    let seal = Op::Seal {
        generation: 1,
        stream: sealed,
    };
    let answers = core.commit(&[delete(1), seal]);
    assert!(matches!(
        answers.as_slice(),
        [Ok(()), Err(StoreError::NotFound)]
    ));
    assert!(core.entry_of(&key(1)).is_none());
    core.drop_stream(&stream);
}

/// Were there a gap between asking for the active segment and looking at all of them, a rollover in it would make the new
/// segment, empty as it is, look like one that may be freed.
#[test]
fn compaction_looks_for_dead_segments_while_no_rollover_can_happen() {
    let core = new_core();
    core.commit(&[put(1, 1000)])
        .pop()
        .expect("an answer")
        .expect("written");
    std::thread::scope(|threads| {
        let index = core.index.write();
        threads.spawn(|| core.compact(1 << 20).expect("compacted"));
        let until = Instant::now() + Duration::from_secs(10);
        while core.log.try_lock().is_some() {
            assert!(Instant::now() < until, "the log's lock is not held");
            std::thread::sleep(Duration::from_millis(1));
        }
        // Still held: it was not the short look at the active segment.
        std::thread::sleep(Duration::from_millis(20));
        assert!(core.log.try_lock().is_none());
        drop(index);
    });
}

#[test]
fn an_entry_that_names_the_record_of_another_shard_is_damage_of_the_index_and_of_no_shard() {
    let core = new_core();
    for answer in core.commit(&[put(1, 1000), put(3, 1000)]) {
        answer.expect("written");
    }
    let there = core.entry_of(&key(1)).expect("there");
    let mut header = Header::new(Kind::Shard, key(2));
    (header.lsn, header.data_len) = (there.lsn, 1000);
    let applied = core.index.write().apply(&header, &[], there.log);
    applied.expect("the index says so now");
    let read = core.read(&key(2), 1, 0, 0, 1000);
    assert!(matches!(read, Err(StoreError::Failed(_))), "{read:?}");
    assert!(core.reopens());
    assert_eq!(core.stats.snapshot().crc_errors, 0);
    // Nothing is concluded from it any more.
    assert!(core.read(&key(3), 1, 0, 0, 1000).is_err());
    assert!(core.has(&key(4)).is_err());
}

//! Blobs over several nodes: what one writes, all read, whoever is away.

mod support;

use std::sync::Arc;

use anvil_engine::{ReadOptions, UploadOptions};
use parking_lot::Mutex;
use support::{Node, blob_id, body, cluster, group, put, source, until};

const BODY_BYTES: usize = 9 << 20;

fn options(blob: u64, len: usize) -> UploadOptions {
    let mut options = UploadOptions::new(1, blob_id(blob), 1);
    options.content_length = Some(len as u64);
    options
}

fn write(node: &Node, blob: u64, bytes: &[u8]) -> anvil_engine::Result<anvil_engine::UploadResult> {
    let options = options(blob, bytes.len());
    node.block_on(put(&node.engine, options, bytes, 64 << 10))
}

fn read(
    node: &Node,
    blob: u64,
    written: &anvil_engine::UploadResult,
) -> anvil_engine::Result<Vec<u8>> {
    node.block_on(node.engine.read_all(ReadOptions {
        source: source(blob_id(blob), written, None),
        offset: 0,
        length: written.size,
    }))
}

#[test]
fn what_one_node_writes_all_read() {
    let nodes = cluster(3, 2);
    group(&nodes, 4, 2);
    for (blob, len) in [(1, 1000), (2, 100_000), (3, BODY_BYTES)] {
        let bytes = body(len, blob);
        let written = write(&nodes[0], blob, &bytes).expect("written");
        assert_eq!(written.missing, Vec::<usize>::new());
        for node in &nodes {
            assert!(read(node, blob, &written).expect("read") == bytes);
        }
    }
    for node in &nodes {
        assert!(node.drives.iter().all(|(_, drive)| drive.sealed() == 3));
        node.stop();
    }
}

#[test]
fn a_node_that_is_away_is_left_out_and_its_blocks_are_rebuilt() {
    let nodes = cluster(3, 2);
    group(&nodes, 4, 2);
    let bytes = body(BODY_BYTES, 1);
    let written = write(&nodes[0], 1, &bytes).expect("written");
    nodes[1].stop();
    assert!(until(|| nodes[0].answers(nodes[1].id()) == Some(false)));
    assert!(read(&nodes[0], 1, &written).expect("read") == bytes);
    assert!(read(&nodes[2], 1, &written).expect("read") == bytes);
    // 4 + 2 wants five: what the four hold can be read, and is too little to acknowledge.
    let weak = write(&nodes[0], 2, &bytes).expect("k are left");
    assert!(weak.below_quorum);
    assert_eq!(weak.missing, [2, 3]);
    assert!(read(&nodes[2], 2, &weak).expect("read") == bytes);
    for node in &nodes {
        node.stop();
    }
}

#[test]
fn a_slow_member_is_overtaken_and_a_stalled_one_left_out() {
    let nodes = cluster(3, 2);
    group(&nodes, 4, 2);
    let bytes = body(BODY_BYTES, 1);
    let written = write(&nodes[0], 1, &bytes).expect("written");
    let slow = &nodes[1].drives[0].1;
    slow.stall(true);
    assert!(read(&nodes[0], 1, &written).expect("overtaken") == bytes);
    let again = write(&nodes[0], 2, &bytes).expect("left out");
    assert_eq!(again.missing, [2]);
    let small = write(&nodes[0], 3, &bytes[..5000]).expect("left out");
    assert_eq!(small.missing, [2]);
    slow.stall(false);
    assert!(read(&nodes[2], 2, &again).expect("read") == bytes);
    assert!(read(&nodes[2], 3, &small).expect("read") == bytes[..5000]);
    for node in &nodes {
        node.stop();
    }
}

#[test]
fn rot_on_a_peer_is_never_served_and_is_reported() {
    let nodes = cluster(3, 2);
    group(&nodes, 4, 2);
    let damaged: Arc<Mutex<Vec<u8>>> = Arc::default();
    let told = damaged.clone();
    nodes[0]
        .engine
        .set_damage_listener(Arc::new(move |damage| told.lock().push(damage.shard.index)));
    let bytes = body(BODY_BYTES, 1);
    let written = write(&nodes[0], 1, &bytes).expect("written");
    nodes[1].drives[0].1.rot();
    // A read that overtook the member on a busy machine has not seen the rot yet.
    assert!(until(|| {
        assert!(read(&nodes[0], 1, &written).expect("read") == bytes);
        !damaged.lock().is_empty()
    }));
    assert!(damaged.lock().iter().all(|index| *index == 2));
    // The lost shard is written again, over the network.
    nodes[1].drives[0].1.wipe();
    let blob = source(blob_id(1), &written, None);
    let rebuilt = nodes[0].block_on(nodes[0].engine.rebuild_shard(blob, 2));
    assert_eq!(rebuilt, Ok(()));
    nodes[0].drives[0].1.wipe();
    nodes[2].drives[1].1.wipe();
    assert!(read(&nodes[2], 1, &written).expect("read") == bytes);
    for node in &nodes {
        node.stop();
    }
}

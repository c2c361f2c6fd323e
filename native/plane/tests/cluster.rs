//! Blobs over several nodes: what one writes, all read, whoever is away.

mod support;

use anvil_engine::{ReadOptions, UploadOptions};
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
    // 4 + 2 wants five.
    let refused = write(&nodes[0], 2, &bytes).expect_err("too few");
    assert_eq!(refused.kind, anvil_engine::Kind::InsufficientRedundancy);
    assert!(until(|| nodes[2]
        .drives
        .iter()
        .all(|(_, drive)| drive.count() == 1)));
    for node in &nodes {
        node.stop();
    }
}

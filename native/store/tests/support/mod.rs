//! Drives in temporary folders, and blocks to put on them.
#![allow(dead_code)] // each test binary uses a part of it

use std::path::Path;

use anvil_store::{Block, DriveStore, OpenOptions, OpenReport, ShardKey};
use bytes::Bytes;

pub const DEPLOYMENT: [u8; 16] = [1; 16];
pub const DRIVE: [u8; 16] = [2; 16];

pub fn key(number: u64) -> ShardKey {
    let mut blob = [0; 16];
    blob[8..].copy_from_slice(&number.to_be_bytes());
    ShardKey {
        bucket: 7,
        blob,
        pg: 3,
        index: 1,
    }
}

pub fn block(seed: u64, len: usize) -> Block {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(len)
    .collect();
    Block::new(Bytes::from(bytes))
}

pub fn options(path: &Path) -> OpenOptions {
    OpenOptions {
        segment_bytes: 1 << 20,
        ..OpenOptions::new(path, DEPLOYMENT)
    }
}

pub fn open(path: &Path) -> (DriveStore, OpenReport) {
    DriveStore::open(options(path)).expect("opens")
}

pub fn new_drive() -> (tempfile::TempDir, DriveStore) {
    let folder = tempfile::tempdir().expect("a folder");
    DriveStore::create(folder.path(), DEPLOYMENT, DRIVE).expect("a drive");
    let (store, _) = open(folder.path());
    (folder, store)
}

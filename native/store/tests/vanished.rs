//! A drive whose folder is taken away while it is open.

use std::fs;
use std::path::Path;

use anvil_store::{Block, DriveState, DriveStore, OpenOptions, ShardKey, StoreError};
use bytes::Bytes;

const DEPLOYMENT: [u8; 16] = [1; 16];

fn key(number: u8) -> ShardKey {
    ShardKey {
        bucket: 7,
        blob: [number; 16],
        pg: 3,
        index: 1,
    }
}

fn block(number: u8) -> Block {
    Block::new(Bytes::from(vec![number; 5000]))
}

fn open(path: &Path) -> DriveStore {
    let options = OpenOptions {
        segment_bytes: 1 << 20,
        ..OpenOptions::new(path, DEPLOYMENT)
    };
    DriveStore::open(options).expect("opens").0
}

/// A drive with one shard, its folder in a folder of its own.
async fn drive() -> (tempfile::TempDir, std::path::PathBuf, DriveStore) {
    let outer = tempfile::tempdir().expect("a folder");
    let path = outer.path().join("drive");
    DriveStore::create(&path, DEPLOYMENT, [2; 16]).expect("a drive");
    let store = open(&path);
    store.put(key(1), 1, block(1)).await.expect("written");
    (outer, path, store)
}

async fn assert_refuses(store: &DriveStore) {
    match store.put(key(2), 1, block(2)).await {
        Err(StoreError::Failed(reason)) => assert!(reason.contains("gone"), "{reason}"),
        other => panic!("not refused: {other:?}"),
    }
    let stats = store.stats();
    assert_eq!(stats.state, DriveState::Failed);
    assert!(stats.reason.contains("gone"), "{}", stats.reason);
}

#[tokio::test]
async fn no_append_to_a_removed_folder_is_acknowledged() {
    let (_outer, path, store) = drive().await;
    fs::remove_dir_all(&path).expect("removed");
    assert_refuses(&store).await;
    store.close().await;
    assert!(!path.exists(), "nothing may be made anew");
}

#[tokio::test]
async fn no_append_to_a_removed_segment_is_acknowledged() {
    let (_outer, path, store) = drive().await;
    fs::remove_dir_all(path.join("segments")).expect("removed");
    assert_refuses(&store).await;
}

#[tokio::test]
async fn no_stream_into_a_removed_folder_is_sealed() {
    let (_outer, path, store) = drive().await;
    let mut writer = store.begin(key(2), 1, Some(2), 5000).expect("begun");
    writer.append(block(2)).await.expect("written");
    writer.append(block(2)).await.expect("written");
    fs::remove_dir_all(&path).expect("removed");
    assert!(matches!(writer.seal().await, Err(StoreError::Failed(_))));
    assert_refuses(&store).await;
}

#[tokio::test]
async fn an_idle_drive_says_that_its_folder_is_gone() {
    let (_outer, path, store) = drive().await;
    fs::rename(&path, path.with_extension("away")).expect("moved");
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    store.stats();
    assert_eq!(store.stats().state, DriveState::Failed);
}

#[tokio::test]
async fn a_drive_whose_folder_comes_back_opens_again() {
    let (_outer, path, store) = drive().await;
    let away = path.with_extension("away");
    fs::rename(&path, &away).expect("moved");
    // What an unmounted file system leaves: an empty folder.
    fs::create_dir(&path).expect("made");
    assert_refuses(&store).await;
    store.close().await;
    assert_eq!(fs::read_dir(&path).expect("there").count(), 0);
    fs::remove_dir(&path).expect("removed");
    fs::rename(&away, &path).expect("moved back");
    assert!(!path.join("failed").exists());
    let store = open(&path);
    let read = store.read(&key(1), 1, 0, 0, 5000).await.expect("read");
    assert_eq!(read, block(1).data);
    store.put(key(2), 1, block(2)).await.expect("written");
}

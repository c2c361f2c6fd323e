//! Bits of the index file that turn: the log is the truth, so nothing may be missing, or come back.

mod support;

use std::fs;

use anvil_store::{DriveState, DriveStore, StoreError};
use support::{block, key, new_drive, open};

const SMALL: std::ops::Range<u64> = 0..600;
const LARGE: std::ops::Range<u64> = 1000..1020;
const LARGE_BYTES: usize = 20_000;

fn is_removed(number: u64) -> bool {
    number % 5 == 4
}

async fn fill(store: &DriveStore) {
    for number in SMALL {
        store
            .put(key(number), 1, block(number, 100))
            .await
            .expect("put");
    }
    for number in LARGE {
        let mut shard = store
            .begin(key(number), 1, Some(2), LARGE_BYTES)
            .expect("begun");
        for _ in 0..2 {
            let appended = shard.append(block(number, LARGE_BYTES)).await;
            appended.expect("written");
        }
        shard.seal().await.expect("sealed");
    }
    let removed: Vec<_> = SMALL
        .chain(LARGE)
        .filter(|number| is_removed(*number))
        .map(|number| (key(number), 1))
        .collect();
    store.delete(&removed).await.expect("removed");
}

async fn check(store: &DriveStore, position: usize) {
    for number in SMALL.chain(LARGE) {
        let len = if SMALL.contains(&number) {
            100
        } else {
            LARGE_BYTES
        };
        let read = store.read(&key(number), 1, 0, 0, len as u32).await;
        match read {
            Ok(bytes) => {
                assert!(!is_removed(number), "{number} is back, byte {position}");
                assert_eq!(bytes, block(number, len).data);
            }
            Err(StoreError::NotFound) if is_removed(number) => {}
            Err(error) => panic!("shard {number}, byte {position} of the index turned: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_that_turned_anywhere_in_the_index_loses_nothing() {
    let (folder, store) = new_drive();
    fill(&store).await;
    // The last handle closes everything, so that the next open finds a file that was left in order.
    drop(store);
    let path = folder.path().join("index.redb");
    let whole = fs::read(&path).expect("read");
    // Much of the file is not in use: bytes that are zero are mostly passed over.
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut rebuilt = 0;
    let mut state = 0x9e37_79b9_u64;
    for _ in 0..60 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let position = used[(state >> 33) as usize % used.len()];
        let mut rotten = whole.clone();
        rotten[position] ^= 1 << (state % 8);
        fs::write(&path, rotten).expect("written");
        let (store, report) = open(folder.path());
        rebuilt += u32::from(report.index_rebuilt);
        check(&store, position).await;
        drop(store);
    }
    assert!(rebuilt > 0, "no flip hit what counts");
}

/// Of a file that is so short nothing but its header can be read.
const HEADER_BYTES: u64 = 4096;

/// The drive is out, may be opened again at once, and then has everything.
async fn mends(folder: &tempfile::TempDir, store: DriveStore) {
    let stats = store.stats();
    assert_eq!(stats.state, DriveState::Failed);
    assert!(store.reopens(), "{}", stats.reason);
    assert!(stats.reason.contains("index"), "{}", stats.reason);
    let refused = store.put(key(5000), 1, block(1, 100)).await;
    assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
    store.close().await;
    assert!(!folder.path().join("failed").exists());
    let (store, report) = open(folder.path());
    assert!(report.index_rebuilt);
    check(&store, 0).await;
    assert!(!store.reopens());
    store.scrub(None, u64::MAX).await.expect("scrubbed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_cannot_be_read_says_of_no_shard_that_it_is_not_there() {
    let (folder, store) = new_drive();
    fill(&store).await;
    drop(store);
    let (store, _) = open(folder.path());
    let path = folder.path().join("index.redb");
    let file = fs::File::options().write(true).open(&path).expect("opened");
    file.set_len(HEADER_BYTES).expect("cut off");
    for number in SMALL.chain(LARGE) {
        if let Ok(held) = store.has(&key(number)) {
            assert_eq!(held.is_none(), is_removed(number), "shard {number}");
        }
        let read = store.read(&key(number), 1, 0, 0, 100).await;
        assert!(!matches!(read, Err(StoreError::NotFound)) || is_removed(number));
    }
    let asked = store.has(&key(SMALL.start));
    assert!(asked.is_err(), "the index is read nowhere: {asked:?}");
    store.list(None, 10, u64::MAX).expect_err("no page of it");
    mends(&folder, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_turns_in_the_index_of_an_open_drive_is_found_by_scrubbing() {
    let (folder, store) = new_drive();
    fill(&store).await;
    drop(store);
    let (store, _) = open(folder.path());
    // A checkpoint in its life, so that the file is not as it was opened.
    store.set_mark("name", "value").await.expect("set");
    store.scrub(None, u64::MAX).await.expect("all is well");
    let path = folder.path().join("index.redb");
    let mut rotten = fs::read(&path).expect("read");
    // One bit in each half page that is used: some of them count, whichever pages are in use now.
    for half in rotten[HEADER_BYTES as usize..].chunks_mut(2048) {
        if let Some(byte) = half.iter_mut().rev().find(|byte| **byte != 0) {
            *byte ^= 4;
        }
    }
    fs::write(&path, rotten).expect("written");
    let scrubbed = store.scrub(None, u64::MAX).await;
    assert!(
        matches!(scrubbed, Err(StoreError::Failed(_))),
        "{scrubbed:?}"
    );
    mends(&folder, store).await;
}

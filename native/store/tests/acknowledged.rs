//! Acknowledged shards under everything at once: many writers of shards with files of their own, removals, writers given up
//! half way and while they are being sealed, small shards that come and go so that compaction and checkpoints never rest.
//! `ANVIL_STRESS_SECONDS=n` runs that long (default 2).

mod support;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use anvil_store::{DriveStore, StoreError};
use support::{block, key, new_drive, open};
use tokio::sync::Mutex;

const WRITERS: u64 = 12;
const BLOCK_BYTES: usize = 64 * 1024;
/// Acknowledged shards that a writer keeps; older ones are removed.
const KEPT: usize = 24;
/// Numbers of the small shards begin here.
const SMALL: u64 = 1 << 40;

/// Number and blocks of each shard that was acknowledged and not removed since.
type Kept = Arc<Mutex<BTreeMap<u64, u32>>>;

struct Stress {
    store: DriveStore,
    kept: Kept,
    over: AtomicBool,
    sealed: AtomicU64,
    given_up: AtomicU64,
    freed: AtomicU64,
}

fn seed(number: u64, block: u32) -> u64 {
    number << 8 | u64::from(block)
}

async fn check(store: &DriveStore, number: u64, blocks: u32) {
    for at in 0..blocks {
        let read = store.read(&key(number), 1, at, 0, BLOCK_BYTES as u32).await;
        match read {
            Ok(bytes) => assert_eq!(bytes, block(seed(number, at), BLOCK_BYTES).data, "{number}"),
            Err(error) => panic!("acknowledged shard {number}: {error}"),
        }
    }
}

async fn write(stress: Arc<Stress>, writer: u64) {
    let mut own: Vec<u64> = Vec::new();
    let mut number = writer << 24;
    while !stress.over.load(Relaxed) {
        number += 1;
        let blocks = 2 + (number % 3) as u32;
        let mut shard = stress
            .store
            .begin(key(number), 1, Some(blocks), BLOCK_BYTES)
            .expect("begun");
        for at in 0..blocks {
            let appended = shard.append(block(seed(number, at), BLOCK_BYTES)).await;
            appended.expect("written");
        }
        match number % 8 {
            0 => shard.abort(),
            // Given up while it is being sealed: it may be there or not, but if it is there it must be whole.
            1 => {
                let mut sealing = Box::pin(shard.seal());
                let wait = Duration::from_micros(number * 7919 % 20_000);
                tokio::select! {
                    biased;
                    sealed = &mut sealing => sealed.expect("sealed"),
                    () = tokio::time::sleep(wait) => {}
                }
                drop(sealing);
                stress.given_up.fetch_add(1, Relaxed);
                let state = stress.store.has(&key(number)).expect("asked");
                if state.is_some_and(|state| state.sealed) {
                    check(&stress.store, number, blocks).await;
                }
                let keys = [(key(number), 1)];
                stress.store.delete(&keys).await.expect("removed");
            }
            _ => {
                shard.seal().await.expect("sealed");
                stress.sealed.fetch_add(1, Relaxed);
                stress.kept.lock().await.insert(number, blocks);
                own.push(number);
                check(&stress.store, number, blocks).await;
            }
        }
        if own.len() > KEPT {
            let old = own.remove(number as usize % KEPT);
            let blocks = stress.kept.lock().await.remove(&old).expect("kept");
            check(&stress.store, old, blocks).await;
            stress
                .store
                .delete(&[(key(old), 1)])
                .await
                .expect("removed");
        }
    }
}

/// Small shards that fill segments and leave them dead.
async fn churn(stress: Arc<Stress>) {
    let mut number = SMALL;
    while !stress.over.load(Relaxed) {
        let numbers = number..number + 24;
        for number in numbers.clone() {
            stress
                .store
                .put(key(number), 1, block(number, 30_000))
                .await
                .expect("put");
        }
        let keys: Vec<_> = numbers.map(|number| (key(number), 1)).collect();
        stress.store.delete(&keys).await.expect("removed");
        number += 24;
    }
}

async fn compact(stress: Arc<Stress>) {
    while !stress.over.load(Relaxed) {
        let step = stress.store.compact(1 << 20).await.expect("compacted");
        stress.freed.fetch_add(step.freed_bytes >> 20, Relaxed);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_shards_stay_through_checkpoints_compaction_and_removals() {
    let (folder, store) = new_drive();
    let seconds = std::env::var("ANVIL_STRESS_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(2);
    let stress = Arc::new(Stress {
        store,
        kept: Kept::default(),
        over: AtomicBool::new(false),
        sealed: AtomicU64::new(0),
        given_up: AtomicU64::new(0),
        freed: AtomicU64::new(0),
    });
    let mut tasks: Vec<_> = (1..=WRITERS)
        .map(|writer| tokio::spawn(write(stress.clone(), writer)))
        .collect();
    tasks.push(tokio::spawn(churn(stress.clone())));
    tasks.push(tokio::spawn(compact(stress.clone())));
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end && !tasks.iter().any(|task| task.is_finished()) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stress.over.store(true, Relaxed);
    let mut panicked = 0;
    for task in tasks {
        panicked += u32::from(task.await.is_err());
    }
    println!(
        "{} sealed, {} given up while being sealed, {} MiB freed",
        stress.sealed.load(Relaxed),
        stress.given_up.load(Relaxed),
        stress.freed.load(Relaxed)
    );
    assert_eq!(panicked, 0);
    let kept = stress.kept.lock().await.clone();
    for (number, blocks) in &kept {
        check(&stress.store, *number, *blocks).await;
    }
    stress.store.close().await;
    let (store, _) = open(folder.path());
    for (number, blocks) in &kept {
        check(&store, *number, *blocks).await;
    }
    let files = std::fs::read_dir(folder.path().join("segments")).expect("listed");
    let dedicated = files
        .filter_map(|file| Some(file.ok()?.file_name().to_string_lossy().starts_with("d-")))
        .filter(|dedicated| *dedicated)
        .count();
    assert_eq!(dedicated, kept.len(), "files of shards that are gone");
}

/// A seal that is asked for and never waited for: dropped at every point of its way.
#[tokio::test]
async fn a_seal_that_nobody_waits_for_leaves_a_whole_shard_or_none() {
    let (_folder, store) = new_drive();
    'shards: for number in 1..100 {
        let mut shard = store
            .begin(key(number), 1, Some(2), BLOCK_BYTES)
            .expect("begun");
        for at in 0..2 {
            let appended = shard.append(block(seed(number, at), BLOCK_BYTES)).await;
            appended.expect("written");
        }
        let mut sealing = Box::pin(shard.seal());
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..number % 50 {
            if let Poll::Ready(sealed) = sealing.as_mut().poll(&mut context) {
                sealed.expect("sealed");
                continue 'shards;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        drop(sealing);
        // Whatever was under way is over once something behind it in the log is.
        store.set_mark("later", "now").await.expect("written");
        match store.read(&key(number), 1, 0, 0, 1).await {
            Ok(_) => check(&store, number, 2).await,
            Err(StoreError::NotFound) => {}
            Err(error) => panic!("shard {number}: {error}"),
        }
    }
}

//! What a drive does on this machine: `cargo run --release --example drive_bench -- FOLDER [SECONDS [CASE…]]`. The folder must
//! not exist; it is removed at the end. Cases: `put-4k-1`, `put-64k-32`, … (length and writers), `read`, `read-64k`, `stream`, `open`.

use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anvil_store::{Block, DriveStore, OpenOptions, ShardKey};
use bytes::Bytes;

fn key(number: u64) -> ShardKey {
    let mut blob = [0; 16];
    blob[..8].copy_from_slice(&number.to_be_bytes());
    ShardKey {
        bucket: 1,
        blob,
        pg: number % 64,
        index: 0,
    }
}

fn block(len: usize) -> Block {
    Block::new(Bytes::from(
        (0..len).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>(),
    ))
}

async fn puts(
    store: &DriveStore,
    next: &Arc<AtomicU64>,
    writers: usize,
    len: usize,
    time: Duration,
) {
    let (block, before, start) = (block(len), store.stats(), Instant::now());
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (store, block, next) = (store.clone(), block.clone(), next.clone());
            tokio::spawn(async move {
                let mut done = 0u64;
                while start.elapsed() < time {
                    store
                        .put(key(next.fetch_add(1, Relaxed)), 1, block.clone())
                        .await
                        .expect("written");
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("joined");
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = store.stats();
    println!(
        "put {:>4} KiB x {writers:<4} {:>8.0}/s {:>7.1} MB/s, {:.1} per fsync, fsync p50 {:.2} ms p99 {:.2} ms",
        len / 1024,
        done as f64 / seconds,
        done as f64 * len as f64 / seconds / 1e6,
        done as f64 / (after.fsyncs - before.fsyncs).max(1) as f64,
        after.fsync_p50_ms,
        after.fsync_p99_ms,
    );
}

async fn streams(
    store: &DriveStore,
    next: &Arc<AtomicU64>,
    writers: usize,
    blocks: u32,
    len: usize,
    time: Duration,
) {
    let (block, start) = (block(len), Instant::now());
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (store, block, next) = (store.clone(), block.clone(), next.clone());
            tokio::spawn(async move {
                let mut done = 0u64;
                while start.elapsed() < time {
                    let mut writer = store
                        .begin(key(next.fetch_add(1, Relaxed)), 1, Some(blocks), len)
                        .expect("begun");
                    for _ in 0..blocks {
                        writer.append(block.clone()).await.expect("written");
                    }
                    writer.seal().await.expect("sealed");
                    done += u64::from(blocks);
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("joined");
    }
    let rate = done as f64 * len as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!(
        "stream {blocks} x {} KiB, {writers} at once: {rate:.0} MB/s",
        len / 1024
    );
}

/// Reads shards of `keys`; without `cold` from the page cache, with it what lies in the folder leaves the page cache all the time.
async fn reads(
    store: &DriveStore,
    keys: Range<u64>,
    readers: usize,
    len: u32,
    time: Duration,
    cold: Option<&Path>,
) {
    let start = Instant::now();
    let count = keys.end - keys.start;
    let emptying = cold.map(|path| {
        let segments = path.join("segments");
        std::thread::spawn(move || {
            while start.elapsed() < time {
                for entry in std::fs::read_dir(&segments).expect("segments") {
                    let file = std::fs::File::open(entry.expect("a file").path()).expect("open");
                    // SAFETY: a plain system call on an open descriptor.
                    unsafe {
                        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED)
                    };
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        })
    });
    let tasks: Vec<_> = (0..readers as u64)
        .map(|reader| {
            let (store, keys) = (store.clone(), keys.clone());
            tokio::spawn(async move {
                let (mut done, mut at) = (0u64, reader * 7919);
                while start.elapsed() < time {
                    at = (at * 6_364_136_223 + 1_442_695) % count;
                    let wanted = key(keys.start + at);
                    store.read(&wanted, 1, 0, 0, len).await.expect("read");
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("joined");
    }
    if let Some(emptying) = emptying {
        emptying.join().expect("joined");
    }
    println!(
        "read {} KiB x {readers} ({}): {:.0}/s",
        len / 1024,
        if cold.is_some() {
            "not cached"
        } else {
            "cached"
        },
        done as f64 / start.elapsed().as_secs_f64()
    );
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(
        arguments
            .next()
            .expect("usage: drive_bench FOLDER [SECONDS]"),
    );
    let time = Duration::from_secs(
        arguments
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(3),
    );
    DriveStore::create(&path, [1; 16], [2; 16]).expect("the folder must not exist");
    let (store, report) = DriveStore::open(OpenOptions::new(&path, [1; 16])).expect("opens");
    println!("io: {}", report.io);
    let next = Arc::new(AtomicU64::new(0));
    let cases: Vec<String> = arguments.collect();
    let wanted = |case: &str| cases.is_empty() || cases.iter().any(|wanted| wanted == case);
    for (writers, kib) in [(1, 4), (32, 4), (256, 4)] {
        if wanted(&format!("put-{kib}k-{writers}")) || wanted("read") {
            puts(&store, &next, writers, kib << 10, time).await;
        }
    }
    if wanted("read") {
        let all = 0..next.load(Relaxed);
        reads(&store, all.clone(), 32, 4096, time, None).await;
        reads(&store, all, 32, 4096, time, Some(&path)).await;
    }
    for (writers, kib) in [(1, 64), (32, 64), (32, 1024)] {
        if wanted(&format!("put-{kib}k-{writers}")) {
            puts(&store, &next, writers, kib << 10, time).await;
        }
        if (writers, kib) == (32, 64) && wanted("read-64k") {
            let first = next.load(Relaxed);
            puts(&store, &next, writers, kib << 10, time).await;
            let new = first..next.load(Relaxed);
            reads(&store, new, 32, 65536, time, Some(&path)).await;
        }
    }
    if wanted("stream") {
        streams(&store, &next, 4, 32, 1 << 20, time).await;
    }
    if !wanted("open") {
        store.close().await;
        drop(store);
        std::fs::remove_dir_all(&path).expect("removed");
        return;
    }
    let start = Instant::now();
    store.close().await;
    drop(store);
    println!("close {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    let (store, report) = DriveStore::open(OpenOptions::new(&path, [1; 16])).expect("opens");
    println!(
        "open {:.0} ms with {} shards, {} replayed",
        start.elapsed().as_secs_f64() * 1e3,
        store.stats().shards,
        report.recovered_records
    );
    store.close().await;
    drop(store);
    std::fs::remove_file(path.join("index.redb")).expect("removed");
    let start = Instant::now();
    let (store, report) = DriveStore::open(OpenOptions::new(&path, [1; 16])).expect("opens");
    println!(
        "rebuild {:.0} ms, {} records",
        start.elapsed().as_secs_f64() * 1e3,
        report.recovered_records
    );
    store.close().await;
    drop(store);
    std::fs::remove_dir_all(&path).expect("removed");
}

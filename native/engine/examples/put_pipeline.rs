//! Throughput of the write path without disks: n uploads in parallel, with and without MD5, into a 4+2 group of drives that
//! forget what they are given. `cargo run --release --example put_pipeline -p anvil-engine [seconds per line]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use anvil_engine::target::{
    Block, Operation, ShardError, ShardKey, ShardResult, ShardSink, ShardTarget,
};
use anvil_engine::{Engine, EngineOptions, Flow, Limits, Pg, Result, UploadOptions};
use bytes::Bytes;

const CHUNK_BYTES: usize = 512 * 1024;
const UPLOAD_BYTES: u64 = 64 << 20;
const SMALL_BYTES: u64 = 64 << 10;

/// Takes everything, keeps nothing.
struct Forgetful;

impl ShardTarget for Forgetful {
    fn begin(
        &self,
        _: ShardKey,
        _: u64,
        _: Option<u32>,
        _: usize,
    ) -> ShardResult<Box<dyn ShardSink>> {
        Ok(Box::new(Forgetful))
    }

    fn put(&self, _: ShardKey, _: u64, _: Block) -> Operation<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn read(&self, _: ShardKey, _: u64, _: u32, _: u32, _: u32) -> Operation<Bytes> {
        Box::pin(std::future::ready(Err(ShardError::NotFound)))
    }

    fn delete(&self, _: Vec<(ShardKey, u64)>) -> Operation<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn has(&self, shards: Vec<ShardKey>) -> Operation<Vec<bool>> {
        Box::pin(std::future::ready(Ok(vec![false; shards.len()])))
    }
}

impl ShardSink for Forgetful {
    fn append(&mut self, _: Block) -> Operation<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn seal(self: Box<Self>) -> Operation<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn abort(self: Box<Self>) {}
}

fn main() -> Result<()> {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(2.0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let engine = Engine::new(EngineOptions {
        memory_limit_bytes: 2 << 30,
        runtime_threads: 2,
        limits: Limits::default(),
    })?;
    engine.set_worker_count(workers);
    let members: Vec<[u8; 16]> = (1..=6).map(|drive| [drive; 16]).collect();
    for drive in &members {
        engine.registry.add_target(*drive, Arc::new(Forgetful));
    }
    engine.registry.set_pg(Pg {
        id: 1,
        generation: 1,
        k: 4,
        m: 2,
        members,
    })?;
    println!("{workers} workers; {}", anvil_engine::features().join(" "));
    println!("MD5 of one stream alone: {:.2} GB/s", md5_alone());
    println!(
        "{:>8} {:>10} {:>7} {:>14} {:>16} {:>14}",
        "uploads", "MD5 GB/s", "lanes", "no hash GB/s", "encrypted GB/s", "64 KiB puts/s"
    );
    for uploads in [1, 2, 4, 8, 16, 32] {
        let run = |bytes: u64, md5: bool, encrypted: bool| {
            let spent = Duration::from_secs_f64(seconds);
            let handle = engine.handle();
            handle.block_on(parallel(&engine, uploads, bytes, md5, encrypted, spent))
        };
        let gigabytes = |(count, took): (u64, f64)| count as f64 * UPLOAD_BYTES as f64 / took / 1e9;
        let hashed = engine.stats();
        let md5 = gigabytes(run(UPLOAD_BYTES, true, false)?);
        let lanes = engine.stats().lanes_since(&hashed);
        let plain = gigabytes(run(UPLOAD_BYTES, false, false)?);
        let encrypted = gigabytes(run(UPLOAD_BYTES, false, true)?);
        let (count, took) = run(SMALL_BYTES, true, false)?;
        println!(
            "{uploads:>8} {md5:>10.2} {lanes:>7.1} {plain:>14.2} {encrypted:>16.2} {:>14.0}",
            count as f64 / took
        );
    }
    Ok(())
}

fn md5_alone() -> f64 {
    let data = vec![7; 256 << 20];
    let started = Instant::now();
    let algorithm = anvil_engine::SmallDigest::parse("md5").expect("md5 is known");
    std::hint::black_box(anvil_engine::digest(algorithm, &data));
    data.len() as f64 / started.elapsed().as_secs_f64() / 1e9
}

/// Uploads one after the other on each of `uploads` tasks. How many ended, and the seconds that took.
async fn parallel(
    engine: &Arc<Engine>,
    uploads: usize,
    bytes: u64,
    md5: bool,
    encrypted: bool,
    spent: Duration,
) -> Result<(u64, f64)> {
    let started = Instant::now();
    let tasks: Vec<_> = (0..uploads)
        .map(|task| {
            let engine = engine.clone();
            tokio::spawn(async move {
                let chunk = vec![task as u8; CHUNK_BYTES.min(bytes as usize)];
                let mut count = 0;
                while started.elapsed() < spent {
                    let mut options = UploadOptions::new(1, [task as u8; 16], 1);
                    options.content_length = Some(bytes);
                    options.md5 = md5;
                    options.data_key = encrypted.then_some([1; 32]);
                    let handle = engine.open_upload(options)?;
                    for _ in 0..bytes / chunk.len() as u64 {
                        if engine.upload(handle)?.write(&chunk)? == Flow::Pause {
                            engine.upload(handle)?.drained().await?;
                        }
                    }
                    engine.finish_upload(handle).await?;
                    count += 1;
                }
                Ok::<u64, anvil_engine::Error>(count)
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task
            .await
            .map_err(|error| anvil_engine::Error::internal(error.to_string()))??;
    }
    Ok((count, started.elapsed().as_secs_f64()))
}

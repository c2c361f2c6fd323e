//! What the shard plane costs between two processes on loopback, without disks: MB/s, and CPU seconds per GB on either side.
//! `cargo run --release --example shard_bench -p anvil-plane [GB per line]`

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anvil_engine::target::{Block, Operation, ShardKey, ShardResult, ShardSink, ShardTarget};
use anvil_engine::{Engine, EngineOptions, Limits};
use anvil_plane::limits::ReceiveLimits;
use anvil_plane::{Identity, PeerInfo, Plane, PlaneOptions};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

const DRIVE: [u8; 16] = [1; 16];
const BLOCK_BYTES: usize = 1 << 20;
const SMALL_BYTES: usize = 16 << 10;
const SMALL_READ_BYTES: u32 = 4096;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Takes everything, keeps nothing, and answers reads with zeros.
struct Forgetful(Bytes);

impl ShardTarget for Forgetful {
    fn begin(
        &self,
        _: ShardKey,
        _: u64,
        _: Option<u32>,
        _: usize,
    ) -> ShardResult<Box<dyn ShardSink>> {
        Ok(Box::new(Forgetful(Bytes::new())))
    }

    fn put(&self, _: ShardKey, _: u64, _: Block) -> Operation<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn read(&self, _: ShardKey, _: u64, _: u32, offset: u32, len: u32) -> Operation<Bytes> {
        let bytes = self.0.slice(offset as usize..(offset + len) as usize);
        Box::pin(std::future::ready(Ok(bytes)))
    }

    fn delete(&self, _: Vec<(ShardKey, u64)>) -> Operation<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn has(&self, shards: Vec<ShardKey>) -> Operation<Vec<bool>> {
        Box::pin(std::future::ready(Ok(vec![true; shards.len()])))
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

fn main() -> Result<(), Failure> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("receiver") {
        return receiver();
    }
    let gigabytes: f64 = argument.map_or(Ok(2.0), |text| text.parse())?;
    sender((gigabytes * 1e9) as u64)
}

fn plane(number: u8) -> Result<(Arc<Engine>, Plane), Failure> {
    let engine = Engine::new(EngineOptions {
        memory_limit_bytes: 1 << 30,
        runtime_threads: 2,
        limits: Limits::default(),
    })?;
    let options = PlaneOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        identity: Identity::from_seed([number; 32]).ok_or("no key")?,
        process: number.to_string(),
        deployment: "bench".into(),
        region: "bench".into(),
        secrets: vec!["bench".into()],
        receive: ReceiveLimits::of_memory(1 << 30),
    };
    let plane = Plane::start(&engine, options)?;
    Ok((engine, plane))
}

/// Says its port, and its CPU time for each line that it reads.
fn receiver() -> Result<(), Failure> {
    let (engine, plane) = plane(2)?;
    let zeros = Bytes::from(vec![0; BLOCK_BYTES]);
    engine
        .registry
        .add_target(DRIVE, Arc::new(Forgetful(zeros)));
    println!("{}", plane.address().port());
    for line in std::io::stdin().lines() {
        line?;
        println!("{}", cpu_seconds()?);
    }
    Ok(())
}

fn sender(bytes: u64) -> Result<(), Failure> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("receiver")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut to_child = child.stdin.take().ok_or("no pipe")?;
    let mut from_child = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    let mut heard = || from_child.next().ok_or("the receiver ended");
    let port: u16 = heard()??.parse()?;
    let mut theirs = || -> Result<f64, Failure> {
        writeln!(to_child, "cpu")?;
        Ok(heard()??.parse()?)
    };
    let (engine, plane) = plane(1)?;
    let node = Identity::from_seed([2; 32]).ok_or("no key")?.node;
    plane.set_peer(PeerInfo {
        node,
        process: "2".into(),
        addresses: vec![("127.0.0.1".into(), port)],
    });
    plane.set_remote_drive(DRIVE, Some(node));
    let drive = engine.registry.target(&DRIVE).ok_or("no drive")?;
    engine.handle().block_on(drive.has(vec![key(0)]))?;
    println!("work                          MB/s   CPU s/GB sender  receiver");
    let mut line = |name: &str, bytes: u64, work: Work<'_>| -> Result<(), Failure> {
        let (own, other, started) = (cpu_seconds()?, theirs()?, Instant::now());
        work()?;
        let seconds = started.elapsed().as_secs_f64();
        let (own, other) = (cpu_seconds()? - own, theirs()? - other);
        let gigabytes = bytes as f64 / 1e9;
        println!(
            "{name:<28} {:>5.0} {:>13.2} {:>13.2}",
            gigabytes * 1e3 / seconds,
            own / gigabytes,
            other / gigabytes
        );
        Ok(())
    };
    let run = |work: BoxedWork| engine.handle().block_on(work);
    for streams in [1, 8] {
        let name = format!("write, {streams} shards of 1 MiB blocks");
        let blocks = bytes / streams / BLOCK_BYTES as u64;
        line(&name, streams * blocks * BLOCK_BYTES as u64, &mut || {
            let drive = drive.clone();
            run(Box::pin(async move {
                let mut all = FuturesUnordered::new();
                for shard in 0..streams {
                    all.push(write(&*drive, shard, blocks));
                }
                while let Some(written) = all.next().await {
                    written?;
                }
                Ok(())
            }))
        })?;
    }
    let whole = BLOCK_BYTES as u32;
    for (name, share, len, at_a_time) in [
        ("read, 1 MiB, 4 at a time", 1, whole, 4),
        ("read, 4 KiB, 32 at a time", 40, SMALL_READ_BYTES, 32),
    ] {
        let reads = bytes / share / u64::from(len);
        line(name, reads * u64::from(len), &mut || {
            let drive = drive.clone();
            let read = move |number| drive.read(key(number), 1, 0, 0, len);
            run(Box::pin(side_by_side(reads, at_a_time, read)))
        })?;
    }
    let small = Block::new(Bytes::from(vec![7; SMALL_BYTES]));
    let puts = bytes / 8 / SMALL_BYTES as u64;
    line(
        "put, 16 KiB, 64 at a time",
        puts * SMALL_BYTES as u64,
        &mut || {
            let (drive, small) = (drive.clone(), small.clone());
            let put = move |number| drive.put(key(number), 1, small.clone());
            run(Box::pin(side_by_side(puts, 64, put)))
        },
    )?;
    for stats in plane.stats() {
        println!("MTU {}, round trip {:?}", stats.mtu, stats.rtt);
    }
    drop(to_child);
    child.wait()?;
    Ok(())
}

type Work<'a> = &'a mut dyn FnMut() -> Result<(), Failure>;
type BoxedWork = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

async fn write(drive: &dyn ShardTarget, shard: u64, blocks: u64) -> ShardResult<()> {
    let block = Block::new(Bytes::from(vec![5; BLOCK_BYTES]));
    let mut sink = drive.begin(key(shard), 1, None, BLOCK_BYTES)?;
    let mut appends = FuturesUnordered::new();
    for _ in 0..blocks {
        if appends.len() == 4
            && let Some(appended) = appends.next().await
        {
            let () = appended?;
        }
        appends.push(sink.append(block.clone()));
    }
    while let Some(appended) = appends.next().await {
        let () = appended?;
    }
    sink.seal().await
}

async fn side_by_side<T>(
    count: u64,
    at_a_time: usize,
    work: impl Fn(u64) -> Operation<T>,
) -> Result<(), Failure> {
    let mut running = FuturesUnordered::new();
    for number in 0..count {
        if running.len() == at_a_time
            && let Some(done) = running.next().await
        {
            done?;
        }
        running.push(work(number));
    }
    while let Some(done) = running.next().await {
        done?;
    }
    Ok(())
}

fn key(blob: u64) -> ShardKey {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&blob.to_be_bytes());
    ShardKey {
        bucket: 1,
        blob: id,
        pg: 1,
        index: 0,
    }
}

/// Of all threads of this process, in user and kernel mode (proc(5), fields 14 and 15 of stat, in hundredths of a second).
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<f64>().unwrap_or(0.0))
        .sum();
    Ok(ticks / 100.0)
}

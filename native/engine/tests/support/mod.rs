//! What the engine's tests share: a cluster of drives in memory that can be made to fail, stall and rot, and bodies.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anvil_engine::target::{
    Block, Operation, ShardError, ShardKey, ShardResult, ShardSink, ShardTarget,
};
use anvil_engine::{
    BlobSource, Engine, EngineOptions, Flow, Limits, Pg, ReadOptions, Result, UploadOptions,
    UploadResult,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

pub const GENERATION: u64 = 7;

/// A drive in memory. Clones are the same drive.
#[derive(Clone)]
pub struct MemoryDrive {
    shards: Arc<Mutex<HashMap<Name, Shard>>>,
    /// Those that are being written; of one name there may be several, and a sealed one beside them.
    open: Arc<Mutex<HashMap<(Name, u64), Shard>>>,
    fault: Arc<Mutex<Option<ShardError>>>,
    stalled: Arc<watch::Sender<bool>>,
    pub reads: Arc<Mutex<u64>>,
}

#[derive(Clone, Default)]
struct Shard {
    blocks: BTreeMap<usize, Block>,
}

impl Default for MemoryDrive {
    fn default() -> MemoryDrive {
        MemoryDrive {
            shards: Arc::default(),
            open: Arc::default(),
            fault: Arc::default(),
            stalled: Arc::new(watch::Sender::new(false)),
            reads: Arc::default(),
        }
    }
}

/// Bucket, blob, placement group, index.
type Name = (u64, [u8; 16], u64, u8);

fn name(key: &ShardKey) -> Name {
    (key.bucket, key.blob, key.pg, key.index)
}

impl MemoryDrive {
    /// Every operation ends with this error from now on; None: the drive is well.
    pub fn fail(&self, error: Option<ShardError>) {
        *self.fault.lock() = error;
    }

    /// Operations wait until the drive is let go.
    pub fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// Flips a bit in every block.
    pub fn rot(&self) {
        for shard in self.shards.lock().values_mut() {
            for block in shard.blocks.values_mut() {
                let mut bytes = block.data.to_vec();
                bytes[0] ^= 1;
                block.data = bytes.into();
            }
        }
    }

    pub fn wipe(&self) {
        self.shards.lock().clear();
    }

    /// Shards, sealed or not.
    pub fn count(&self) -> usize {
        self.shards.lock().len() + self.open.lock().len()
    }

    pub fn sealed(&self) -> usize {
        self.shards.lock().len()
    }

    fn operation<T: Send + 'static>(
        &self,
        work: impl FnOnce(&MemoryDrive) -> ShardResult<T> + Send + 'static,
    ) -> Operation<T> {
        let drive = self.clone();
        Box::pin(async move {
            let mut stalled = drive.stalled.subscribe();
            stalled
                .wait_for(|stalled| !*stalled)
                .await
                .map_err(|_| ShardError::Closed)?;
            if let Some(error) = drive.fault.lock().clone() {
                return Err(error);
            }
            work(&drive)
        })
    }
}

impl ShardTarget for MemoryDrive {
    fn begin(
        &self,
        key: ShardKey,
        _: u64,
        _: Option<u32>,
        block_bytes: usize,
    ) -> ShardResult<Box<dyn ShardSink>> {
        if let Some(error) = self.fault.lock().clone() {
            return Err(error);
        }
        let mut open = self.open.lock();
        let number = (0..).find(|number| !open.contains_key(&(name(&key), *number)));
        let place = (name(&key), number.expect("a free number"));
        open.insert(place, Shard::default());
        Ok(Box::new(MemorySink {
            drive: self.clone(),
            place,
            block_bytes,
            appended: 0,
            short: false,
            sealed: false,
        }))
    }

    fn put(&self, key: ShardKey, _: u64, block: Block) -> Operation<()> {
        check(&block);
        self.operation(move |drive| {
            let copy = Block {
                data: Bytes::copy_from_slice(&block.data),
                crcs: block.crcs.clone(),
            };
            drive.shards.lock().insert(
                name(&key),
                Shard {
                    blocks: BTreeMap::from([(0, copy)]),
                },
            );
            Ok(())
        })
    }

    fn read(
        &self,
        key: ShardKey,
        generation: u64,
        block: u32,
        offset: u32,
        len: u32,
    ) -> Operation<Bytes> {
        self.operation(move |drive| {
            *drive.reads.lock() += 1;
            if generation < GENERATION {
                return Err(ShardError::Stale {
                    current: GENERATION,
                });
            }
            let shards = drive.shards.lock();
            let shard = shards.get(&name(&key)).ok_or(ShardError::NotFound)?;
            let block = shard
                .blocks
                .get(&(block as usize))
                .ok_or(ShardError::NotFound)?;
            if anvil_codec::crc::crc32c_units(&block.data) != block.crcs {
                return Err(ShardError::Corrupt);
            }
            let (start, end) = (offset as usize, (offset + len) as usize);
            if end > block.data.len() {
                return Err(ShardError::Io(format!("{end} of {}", block.data.len())));
            }
            Ok(block.data.slice(start..end))
        })
    }

    fn delete(&self, keys: Vec<(ShardKey, u64)>) -> Operation<()> {
        self.operation(move |drive| {
            for (key, _) in keys {
                drive.shards.lock().remove(&name(&key));
                drive.open.lock().retain(|(open, _), _| *open != name(&key));
            }
            Ok(())
        })
    }

    fn has(&self, keys: Vec<ShardKey>) -> Operation<Vec<bool>> {
        self.operation(move |drive| {
            let shards = drive.shards.lock();
            Ok(keys
                .iter()
                .map(|key| shards.contains_key(&name(key)))
                .collect())
        })
    }
}

fn check(block: &Block) {
    assert!(block.data.len().is_multiple_of(64));
    assert_eq!(anvil_codec::crc::crc32c_units(&block.data), block.crcs);
}

struct MemorySink {
    drive: MemoryDrive,
    place: (Name, u64),
    block_bytes: usize,
    appended: usize,
    short: bool,
    sealed: bool,
}

impl ShardSink for MemorySink {
    fn append(&mut self, block: Block) -> Operation<()> {
        check(&block);
        assert!(
            block.data.len() <= self.block_bytes,
            "no block is longer than announced"
        );
        assert!(
            !std::mem::replace(&mut self.short, block.data.len() < self.block_bytes),
            "only the last block may be shorter"
        );
        let (place, number) = (self.place, self.appended);
        self.appended += 1;
        self.drive.operation(move |drive| {
            let mut open = drive.open.lock();
            let shard = open.get_mut(&place).ok_or(ShardError::NotFound)?;
            let block = Block {
                data: Bytes::copy_from_slice(&block.data),
                crcs: block.crcs.clone(),
            };
            shard.blocks.insert(number, block);
            Ok(())
        })
    }

    fn seal(mut self: Box<Self>) -> Operation<()> {
        let place = self.place;
        self.sealed = true;
        self.drive.operation(move |drive| {
            let written = drive.open.lock().remove(&place);
            let shard = written.ok_or(ShardError::NotFound)?;
            drive.shards.lock().insert(place.0, shard);
            Ok(())
        })
    }

    fn abort(self: Box<Self>) {}
}

impl Drop for MemorySink {
    fn drop(&mut self) {
        if !self.sealed {
            self.drive.open.lock().remove(&self.place);
        }
    }
}

/// An engine with k + m drives in memory, all members of group 1.
pub struct Cluster {
    pub engine: Arc<Engine>,
    pub drives: Vec<MemoryDrive>,
    pub k: usize,
    pub m: usize,
}

pub fn limits() -> Limits {
    Limits {
        stall: Duration::from_millis(200),
        hedge_min: Duration::from_millis(10),
        read: Duration::from_secs(10),
    }
}

pub fn engine(memory_limit_bytes: u64, limits: Limits) -> Arc<Engine> {
    Engine::new(EngineOptions {
        memory_limit_bytes,
        runtime_threads: 2,
        limits,
    })
    .expect("an engine")
}

pub fn drive_id(index: usize) -> [u8; 16] {
    [index as u8 + 1; 16]
}

impl Cluster {
    pub fn new(k: usize, m: usize, memory_limit_bytes: u64) -> Cluster {
        Cluster::with(k, m, memory_limit_bytes, limits())
    }

    pub fn with(k: usize, m: usize, memory_limit_bytes: u64, limits: Limits) -> Cluster {
        let cluster = Cluster {
            engine: engine(memory_limit_bytes, limits),
            drives: Vec::new(),
            k,
            m,
        };
        let drives: Vec<MemoryDrive> = (0..k + m).map(|_| MemoryDrive::default()).collect();
        for (index, drive) in drives.iter().enumerate() {
            cluster
                .engine
                .registry
                .add_target(drive_id(index), Arc::new(drive.clone()));
        }
        cluster
            .engine
            .registry
            .set_pg(group(k, m))
            .expect("a group");
        Cluster { drives, ..cluster }
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.engine.handle().block_on(future)
    }

    pub fn put(
        &self,
        options: UploadOptions,
        body: &[u8],
        chunk_bytes: usize,
    ) -> Result<UploadResult> {
        self.block_on(put(&self.engine, options, body, chunk_bytes))
    }

    pub fn get(&self, blob: &BlobSource, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.block_on(self.engine.read_all(ReadOptions {
            source: blob.clone(),
            offset,
            length,
        }))
    }

    /// Waits until no drive holds anything; removal happens in the background.
    pub fn becomes_empty(&self) -> bool {
        until(|| self.drives.iter().all(|drive| drive.count() == 0))
    }
}

pub fn until(condition: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

pub fn group(k: usize, m: usize) -> Pg {
    Pg {
        id: 1,
        generation: GENERATION,
        k,
        m,
        members: (0..k + m).map(drive_id).collect(),
    }
}

/// Uploads as the gateway would: with pauses, and given up after an error.
pub async fn put(
    engine: &Arc<Engine>,
    options: UploadOptions,
    body: &[u8],
    chunk_bytes: usize,
) -> Result<UploadResult> {
    let handle = engine.open_upload(options)?;
    if let Err(error) = feed(engine, handle, body, chunk_bytes).await {
        engine.abort_upload(handle);
        return Err(error);
    }
    engine.finish_upload(handle).await
}

pub async fn feed(
    engine: &Arc<Engine>,
    handle: u64,
    body: &[u8],
    chunk_bytes: usize,
) -> Result<()> {
    for chunk in body.chunks(chunk_bytes) {
        if engine.upload(handle)?.write(chunk)? == Flow::Pause {
            engine.upload(handle)?.drained().await?;
        }
    }
    Ok(())
}

/// Bytes that differ by place and seed.
pub fn body(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub fn blob_id(number: u64) -> [u8; 16] {
    let mut id = [0xab; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}

/// The source of what an upload with these options and result stored.
pub fn source(blob: [u8; 16], result: &UploadResult, data_key: Option<[u8; 32]>) -> BlobSource {
    BlobSource {
        bucket: 1,
        blob,
        pg: 1,
        size: result.size,
        stripe_bytes: result.stripe_bytes,
        encrypted: data_key.is_some(),
        data_key,
        request: None,
    }
}

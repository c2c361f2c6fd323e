//! A drive of this host as a [`ShardTarget`].

use anvil_store::{DriveStore, ShardWriter, StoreError};
use bytes::Bytes;

use crate::target::{Block, Operation, ShardError, ShardKey, ShardResult, ShardSink, ShardTarget};

/// Cheap to clone: it is a handle on the open drive.
#[derive(Clone)]
pub struct LocalTarget(pub DriveStore);

impl ShardTarget for LocalTarget {
    fn begin(
        &self,
        key: ShardKey,
        generation: u64,
        blocks_hint: Option<u32>,
        block_bytes: usize,
    ) -> ShardResult<Box<dyn ShardSink>> {
        let writer = self.0.begin(key, generation, blocks_hint, block_bytes)?;
        Ok(Box::new(LocalSink(writer)))
    }

    fn put(&self, key: ShardKey, generation: u64, block: Block) -> Operation<()> {
        let writing = self.0.put(key, generation, block);
        Box::pin(async move { Ok(writing.await?) })
    }

    fn read(
        &self,
        key: ShardKey,
        generation: u64,
        block: u32,
        offset: u32,
        len: u32,
    ) -> Operation<Bytes> {
        let reading = self.0.read(&key, generation, block, offset, len);
        Box::pin(async move { Ok(reading.await?) })
    }

    fn delete(&self, shards: Vec<(ShardKey, u64)>) -> Operation<()> {
        let deleting = self.0.delete(&shards);
        Box::pin(async move { Ok(deleting.await?) })
    }

    fn has(&self, shards: Vec<ShardKey>) -> Operation<Vec<bool>> {
        let store = self.0.clone();
        Box::pin(async move {
            // The index may have to be read from the drive.
            let looking = tokio::task::spawn_blocking(move || {
                let sealed = |key| Ok(store.has(key)?.is_some_and(|state| state.sealed));
                shards.iter().map(sealed).collect::<ShardResult<_>>()
            });
            looking
                .await
                .map_err(|error| ShardError::Io(error.to_string()))?
        })
    }
}

struct LocalSink(ShardWriter);

impl ShardSink for LocalSink {
    fn append(&mut self, block: Block) -> Operation<()> {
        let appending = self.0.append(block);
        Box::pin(async move { Ok(appending.await?) })
    }

    fn seal(self: Box<Self>) -> Operation<()> {
        let sealing = self.0.seal();
        Box::pin(async move { Ok(sealing.await?) })
    }

    fn abort(self: Box<Self>) {
        self.0.abort();
    }
}

impl From<StoreError> for ShardError {
    fn from(error: StoreError) -> ShardError {
        match error {
            StoreError::NotFound => ShardError::NotFound,
            StoreError::Corrupt { reason, .. } => match reason {
                anvil_store::DamageReason::Crc => ShardError::Corrupt,
                anvil_store::DamageReason::Missing => ShardError::NotFound,
                anvil_store::DamageReason::Io => ShardError::Io(error.to_string()),
            },
            StoreError::StaleGeneration { current } => ShardError::Stale { current },
            StoreError::Full => ShardError::Full,
            StoreError::Failed(why) => ShardError::Failed(why),
            StoreError::Closed => ShardError::Closed,
            StoreError::Io(_)
            | StoreError::Index(_)
            | StoreError::Mismatch(_)
            | StoreError::Locked
            | StoreError::Invalid(_) => ShardError::Io(error.to_string()),
        }
    }
}

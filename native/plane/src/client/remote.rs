//! A drive of a peer as the engine's [`ShardTarget`].

use std::sync::Arc;

use anvil_engine::id::Id128;
use anvil_engine::target::{
    Block, Operation, ShardError, ShardKey, ShardResult, ShardSink, ShardTarget,
};
use bytes::Bytes;

use super::peer::Peer;
use super::puts::put_alone;
use super::sink::{RemoteSink, Shard};
use crate::limits::{COALESCED_BYTES, DATA_BYTES};

pub(crate) struct RemoteDrive {
    pub(crate) peer: Arc<Peer>,
    pub(crate) drive: Id128,
}

impl ShardTarget for RemoteDrive {
    fn begin(
        &self,
        key: ShardKey,
        generation: u64,
        blocks_hint: Option<u32>,
        block_bytes: usize,
    ) -> ShardResult<Box<dyn ShardSink>> {
        self.peer.check_answering()?;
        if block_bytes > DATA_BYTES {
            return Err(ShardError::Io(format!(
                "blocks of {block_bytes} bytes cannot be sent"
            )));
        }
        self.peer.counters.request();
        let shard = Shard {
            drive: self.drive,
            key,
            generation,
            blocks: blocks_hint,
            block_bytes: block_bytes as u32,
        };
        Ok(Box::new(RemoteSink::start(&self.peer, shard)))
    }

    fn put(&self, key: ShardKey, generation: u64, block: Block) -> Operation<()> {
        let (peer, drive) = (self.peer.clone(), self.drive);
        Box::pin(async move {
            peer.request(async |link| {
                let bytes = block.data.len();
                let credit = link.credit(drive, bytes).await?;
                if bytes <= COALESCED_BYTES {
                    link.puts(drive).put(key, generation, block, credit).await
                } else {
                    put_alone(&link, drive, (key, generation, block), credit).await
                }
            })
            .await
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
        let (peer, drive) = (self.peer.clone(), self.drive);
        Box::pin(async move {
            peer.request(async |link| link.read(drive, key, generation, block, offset, len).await)
                .await
        })
    }

    fn delete(&self, shards: Vec<(ShardKey, u64)>) -> Operation<()> {
        let (peer, drive) = (self.peer.clone(), self.drive);
        Box::pin(async move {
            peer.request(async |link| link.delete(drive, shards).await)
                .await
        })
    }

    fn has(&self, shards: Vec<ShardKey>) -> Operation<Vec<bool>> {
        let (peer, drive) = (self.peer.clone(), self.drive);
        Box::pin(async move {
            peer.request(async |link| link.has(drive, shards).await)
                .await
        })
    }

    fn is_local(&self) -> bool {
        false
    }
}

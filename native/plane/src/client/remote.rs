//! A drive of a peer as the engine's [`ShardTarget`].

use std::sync::Arc;

use anvil_engine::RequestId;
use anvil_engine::id::Id128;
use anvil_engine::target::{
    Block, Operation, ShardError, ShardKey, ShardResult, ShardSink, ShardTarget,
};
use bytes::Bytes;

use super::peer::Peer;
use super::puts::put_alone;
use super::sink::{RemoteSink, Shard};
use crate::limits::{COALESCED_BYTES, DATA_BYTES};
use crate::wire::Frame;

pub(crate) struct RemoteDrive {
    pub(crate) peer: Arc<Peer>,
    pub(crate) drive: Id128,
    /// The client's request that it is asked for, if it is one.
    pub(crate) request: Option<RequestId>,
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
            request: self.request.clone(),
        };
        Ok(Box::new(RemoteSink::start(&self.peer, shard)))
    }

    fn put(&self, key: ShardKey, generation: u64, block: Block) -> Operation<()> {
        let (peer, drive, request) = (self.peer.clone(), self.drive, self.request.clone());
        Box::pin(async move {
            peer.request(async |link| {
                let bytes = block.data.len();
                let naming = link.naming(request.as_ref());
                let credit = link.credit(drive, bytes).await?;
                if bytes <= COALESCED_BYTES {
                    let puts = link.puts(drive);
                    puts.put(key, generation, block, naming, credit).await
                } else {
                    put_alone(&link, drive, (key, generation, block), naming, credit).await
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
        let (peer, request) = (self.peer.clone(), self.request.clone());
        let read = Frame::Read {
            drive: self.drive,
            key,
            generation,
            block,
            offset,
            len,
        };
        Box::pin(async move {
            peer.request(async |link| link.read(read, request.as_ref(), len).await)
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

    fn for_request(&self, request: &RequestId) -> Option<Arc<dyn ShardTarget>> {
        Some(Arc::new(RemoteDrive {
            peer: self.peer.clone(),
            drive: self.drive,
            request: Some(request.clone()),
        }))
    }

    fn is_local(&self) -> bool {
        false
    }
}

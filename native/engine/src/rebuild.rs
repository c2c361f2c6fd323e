//! Rebuilding one shard of a blob from any k others.

use std::sync::Arc;

use anvil_codec::crc;
use bytes::Bytes;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::id::Id128;
use crate::layout::Piece;
use crate::memory::Level;
use crate::read::{BlobSource, Source, fetch};
use crate::target::{Block, ShardError};

impl Engine {
    /// Reads k others and writes the shard of `index` to its member, durable when it resolves. Replaces what the member
    /// had under that name.
    pub async fn rebuild_shard(self: &Arc<Self>, blob: BlobSource, index: usize) -> Result<()> {
        self.rebuild(blob, index, None).await
    }

    /// The same on a drive that is about to take the member's place (a move, DESIGN §7).
    pub async fn rebuild_shard_on(
        self: &Arc<Self>,
        blob: BlobSource,
        index: usize,
        drive: Id128,
    ) -> Result<()> {
        self.rebuild(blob, index, Some(drive)).await
    }

    async fn rebuild(
        self: &Arc<Self>,
        blob: BlobSource,
        index: usize,
        drive: Option<Id128>,
    ) -> Result<()> {
        if blob.size == 0 {
            return Err(Error::internal("an empty blob has no shards"));
        }
        let source = Arc::new(Source::open(self, &blob)?);
        if index >= source.pg.members.len() {
            return Err(Error::internal(format!(
                "placement group {} has no member {index}",
                source.pg.id
            )));
        }
        let drive = drive.unwrap_or(source.pg.members[index]);
        let target = self.registry.target(&drive);
        let target = target.ok_or_else(|| write_error(index, &ShardError::Closed))?;
        let (key, generation) = (source.shard_key(index), source.pg.generation);
        let stripes = source.layout.stripes();
        let failed = |error: ShardError| write_error(index, &error);
        // The block, and the k blocks that it is computed from.
        let bytes = source.layout.block_bytes(0) * (source.pg.k + 1);
        let _memory = self
            .budget
            .reserve(bytes as u64, Level::Admission)
            .ok_or_else(|| Error::new(Kind::SlowDown, "no memory for a rebuild now"))?;
        if stripes == 1 {
            let block = rebuilt_block(&source, 0, index).await?;
            return target.put(key, generation, block).await.map_err(failed);
        }
        let begun = target.begin(
            key,
            generation,
            Some(stripes as u32),
            source.layout.block_bytes(0),
        );
        let mut sink = begun.map_err(failed)?;
        for stripe in 0..stripes {
            let block = match rebuilt_block(&source, stripe, index).await {
                Ok(block) => block,
                Err(error) => {
                    sink.abort();
                    return Err(error);
                }
            };
            if let Err(error) = sink.append(block).await {
                sink.abort();
                return Err(failed(error));
            }
        }
        sink.seal().await.map_err(failed)
    }
}

async fn rebuilt_block(source: &Arc<Source>, stripe: u64, index: usize) -> Result<Block> {
    let range = 0..source.layout.block_bytes(stripe);
    let pieces = vec![Piece {
        member: index,
        range,
    }];
    let blocks = fetch(source, stripe, pieces, 1 << index).await?;
    let data: Bytes = blocks
        .into_iter()
        .next()
        .ok_or_else(|| Error::internal("a rebuild without a block"))?;
    let crcs = crc::crc32c_units(&data);
    Ok(Block { data, crcs })
}

fn write_error(index: usize, error: &ShardError) -> Error {
    let kind = match error {
        ShardError::Stale { .. } => Kind::StaleGeneration,
        ShardError::Full => Kind::InsufficientStorage,
        _ => Kind::DriveFailed,
    };
    Error::new(
        kind,
        format!("member {index} does not take its shard: {error}"),
    )
}

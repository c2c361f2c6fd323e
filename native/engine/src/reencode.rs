//! Writing a blob's stored bytes into another placement group, with that group's code. No key is needed: the payload of a
//! stripe does not depend on the code.

use std::sync::Arc;

use anvil_codec::rs::Code;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::layout;
use crate::memory::Level;
use crate::read::{BlobSource, Source, fetch};
use crate::target::Block;
use crate::write::{BlobWriter, Floor, Home, Lease, Message, OnFailure, Shards, Stripe};
use anvil_store::buffers;

impl Engine {
    /// Resolves with the indexes left out once enough members of `to_pg` hold their shard durably. Two nodes may set about one
    /// blob, into the same group: one that fails leaves what is sealed to the orphan collector, which asks the rows.
    pub async fn reencode_blob(
        self: &Arc<Self>,
        blob: BlobSource,
        to_pg: u64,
    ) -> Result<Vec<usize>> {
        if blob.size == 0 {
            return Err(Error::internal("an empty blob has no shards"));
        }
        let source = Arc::new(Source::open(self, &blob)?);
        let pg = self.registry.pg(to_pg)?;
        if pg.id == source.pg.id {
            return Err(Error::internal(format!(
                "placement group {to_pg} holds the blob already"
            )));
        }
        let code = Code::new(pg.k, pg.m);
        let capacity =
            layout::stripe_buffer_bytes(source.layout.plain_bytes(0), blob.encrypted, pg.k, pg.m);
        let capacity = buffers::size(capacity);
        let writer = BlobWriter::open(
            self,
            pg,
            blob.bucket,
            blob.blob,
            blob.request,
            OnFailure::Leave,
        )?;
        // The stripe being written, and the one being read.
        let memory = self
            .budget
            .reserve(capacity as u64, Level::Admission)
            .zip(self.budget.reserve(capacity as u64, Level::Admission));
        let (memory, _reading) =
            memory.ok_or_else(|| Error::new(Kind::SlowDown, "no memory for a re-encoding now"))?;
        let home = Home::new(&self.buffers, memory);
        let stripes = source.layout.stripes();
        if stripes == 1 {
            let blocks = self
                .encoded(&source, 0, &code, capacity, home.wait().await)
                .await?;
            return writer.durable(Shards::Single(blocks), Floor::Quorum).await;
        }
        let payload = layout::payload_bytes(source.layout.plain_bytes(0), blob.encrypted);
        let block_bytes = layout::block_bytes(payload, writer.pg.k);
        let members = writer.start_members(Some(stripes as u32), block_bytes);
        for stripe in 0..stripes {
            // A member that stalls may have the memory, and never give it back.
            let lease = loop {
                let waited = tokio::time::timeout(self.limits.stall, home.wait()).await;
                if let Some(error) = writer.hopeless(&members, Floor::Quorum) {
                    return Err(error);
                }
                if let Ok(lease) = waited {
                    break lease;
                }
            };
            let blocks = self
                .encoded(&source, stripe, &code, capacity, lease)
                .await?;
            for (member, block) in members.iter().zip(blocks) {
                member.send(Message::Append(block));
            }
        }
        writer
            .durable(Shards::Streamed(members), Floor::Quorum)
            .await
    }

    /// Reads one stripe's payload and encodes it on a worker.
    async fn encoded(
        &self,
        source: &Arc<Source>,
        stripe: u64,
        code: &Code,
        capacity: usize,
        lease: Lease,
    ) -> Result<Vec<Block>> {
        let payload =
            layout::payload_bytes(source.layout.plain_bytes(stripe), source.layout.encrypted);
        let pieces = source.layout.pieces(stripe, 0..payload).collect();
        let slices = fetch(source, stripe, pieces, 0).await?;
        let code = code.clone();
        self.job(move || Stripe::of_payload(capacity, lease, &slices).encode(&code, None, 0))
            .await
    }
}

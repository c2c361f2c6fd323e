//! One blob as a source of blocks: its members, and what this read has learnt about them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anvil_codec::aead::{BlobKey, DataKey};
use anvil_codec::rs::Code;
use parking_lot::Mutex;

use crate::engine::{Damage, DamageReason, Engine};
use crate::error::Result;
use crate::id::Id128;
use crate::layout::Layout;
use crate::registry::Pg;
use crate::request::RequestId;
use crate::target::{ShardError, ShardKey, ShardTarget};

/// How to find and decode a blob. See `BlobSource` in src/shared/native.ts.
#[derive(Clone, Debug)]
pub struct BlobSource {
    pub bucket: u64,
    pub blob: Id128,
    pub pg: u64,
    /// Plaintext length.
    pub size: u64,
    pub stripe_bytes: usize,
    /// Whether stripes carry AEAD tags. Rebuilding and re-encoding work on the stored bytes and need no key.
    pub encrypted: bool,
    pub data_key: Option<[u8; 32]>,
    /// The client's request that it is read for, if it is one.
    pub request: Option<RequestId>,
}

pub(crate) struct Source {
    pub(crate) engine: Arc<Engine>,
    pub(crate) pg: Arc<Pg>,
    pub(crate) layout: Layout,
    pub(crate) code: Code,
    pub(super) blob_key: Option<BlobKey>,
    pub(super) targets: Vec<Option<Arc<dyn ShardTarget>>>,
    bucket: u64,
    blob: Id128,
    pub(super) request: Option<RequestId>,
    /// Members that failed or were overtaken: not asked again where others can be. Bit i is member i.
    avoided: AtomicU64,
    reported: Mutex<HashSet<u8>>,
}

impl Source {
    pub(crate) fn open(engine: &Arc<Engine>, blob: &BlobSource) -> Result<Source> {
        let pg = engine.registry.pg(blob.pg)?;
        let targets = engine.registry.members(&pg, blob.request.as_ref());
        Ok(Source {
            layout: Layout {
                size: blob.size,
                stripe_bytes: blob.stripe_bytes,
                k: pg.k,
                encrypted: blob.encrypted,
            },
            code: Code::new(pg.k, pg.m),
            blob_key: blob
                .data_key
                .map(|key| DataKey::from_bytes(&key).blob_key(&blob.blob)),
            engine: engine.clone(),
            targets,
            pg,
            bucket: blob.bucket,
            blob: blob.blob,
            request: blob.request.clone(),
            avoided: AtomicU64::new(0),
            reported: Mutex::default(),
        })
    }

    pub(crate) fn shard_key(&self, member: usize) -> ShardKey {
        ShardKey {
            bucket: self.bucket,
            blob: self.blob,
            pg: self.pg.id,
            index: member as u8,
        }
    }

    pub(crate) fn avoid(&self, member: usize) {
        self.avoided.fetch_or(1 << member, Relaxed);
    }

    pub(super) fn is_local(&self, member: usize) -> bool {
        let target = self.targets[member].as_ref();
        target.is_some_and(|target| target.is_local())
    }

    pub(super) fn avoids(&self, member: usize) -> bool {
        self.avoided.load(Relaxed) & 1 << member != 0
    }

    /// Takes note of a member that did not answer with good bytes, and reports its shard once if it is damaged.
    pub(super) fn failed(&self, member: usize, error: &ShardError) {
        self.avoid(member);
        let reason = match error {
            ShardError::Corrupt => DamageReason::Crc,
            ShardError::NotFound => DamageReason::Missing,
            ShardError::Io(_) => DamageReason::Io,
            // The drive as a whole is away, which is known without us.
            ShardError::Failed(_)
            | ShardError::Closed
            | ShardError::Stalled
            | ShardError::Unreachable(_)
            | ShardError::Full
            | ShardError::Stale { .. } => return,
        };
        if self.reported.lock().insert(member as u8) {
            self.engine.report_damage(Damage {
                shard: self.shard_key(member),
                drive: self.pg.members[member],
                reason,
            });
        }
    }
}

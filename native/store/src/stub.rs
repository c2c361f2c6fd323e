//! The interface, until the store itself stands.
#![allow(clippy::missing_panics_doc)]
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::types::*;

#[derive(Clone)]
pub struct DriveStore(Arc<()>);

macro_rules! later {
    () => {
        std::future::ready(Err(StoreError::Closed))
    };
}

impl DriveStore {
    pub fn probe(_path: &Path) -> Result<Probe> {
        Err(StoreError::Closed)
    }
    pub fn create(_path: &Path, _deployment: [u8; 16], _drive: [u8; 16]) -> Result<()> {
        Err(StoreError::Closed)
    }
    pub fn open(_options: OpenOptions) -> Result<(Self, OpenReport)> {
        Ok((Self(Arc::new(())), OpenReport::default()))
    }
    pub fn close(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        std::future::ready(())
    }
    pub fn drive(&self) -> [u8; 16] {
        [0; 16]
    }
    pub fn begin(&self, _key: ShardKey, _generation: u64, _blocks_hint: Option<u32>, _block_bytes: usize) -> Result<ShardWriter> {
        Err(StoreError::Closed)
    }
    pub fn put(&self, _key: ShardKey, _generation: u64, _block: Block) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        later!()
    }
    pub fn read(&self, _key: &ShardKey, _generation: u64, _block: u32, _offset: u32, _len: u32) -> impl Future<Output = Result<Bytes>> + Send + 'static + use<> {
        later!()
    }
    pub fn has(&self, _key: &ShardKey) -> Option<ShardState> {
        None
    }
    pub fn delete(&self, _keys: &[(ShardKey, u64)]) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        later!()
    }
    pub fn raise_generation(&self, _pg: u64, _generation: u64) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        later!()
    }
    #[allow(clippy::type_complexity)]
    pub fn list(&self, _cursor: Option<Vec<u8>>, _limit: usize, _before_ms: u64) -> Result<(Vec<ShardRecord>, Option<Vec<u8>>)> {
        Err(StoreError::Closed)
    }
    pub fn mark(&self, _name: &str) -> Option<String> {
        None
    }
    pub fn set_mark(&self, _name: &str, _value: &str) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        later!()
    }
    pub fn scrub(&self, _cursor: Option<Vec<u8>>, _max_bytes: u64) -> impl Future<Output = Result<ScrubStep>> + Send + 'static + use<> {
        later!()
    }
    pub fn compact(&self, _max_bytes: u64) -> impl Future<Output = Result<CompactStep>> + Send + 'static + use<> {
        later!()
    }
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}

pub struct ShardWriter(());

impl ShardWriter {
    pub fn append(&mut self, _block: Block) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        later!()
    }
    pub fn seal(self) -> impl Future<Output = Result<()>> + Send + 'static + use<> {
        later!()
    }
    pub fn abort(self) {}
}

//! The answering side: connections of peers are proven, then their requests go to the drives of this process.

mod accept;
mod asked;
mod memory;
mod puts;
mod requests;
mod shard;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use anvil_engine::Engine;
use anvil_engine::id::Id128;
use anvil_engine::target::{ShardError, ShardResult, ShardTarget};
use parking_lot::Mutex;
use quinn::Connection;
use tokio::sync::Semaphore;

pub(crate) use accept::accept;
use memory::Memory;

use crate::PeerStats;
use crate::identity::NodeId;
use crate::limits::{CONNECTIONS_PER_PEER, ReceiveLimits, UNPROVEN};
use crate::local::{Local, code};

pub(crate) struct Server {
    local: Arc<Local>,
    engine: Weak<Engine>,
    memory: Arc<Memory>,
    /// Connections that are not proven yet.
    unproven: Arc<Semaphore>,
    served: Mutex<HashMap<NodeId, Vec<Served>>>,
}

/// A proven connection.
struct Served {
    process: String,
    connection: Connection,
    since: Instant,
}

impl Server {
    pub(crate) fn new(
        local: &Arc<Local>,
        engine: &Arc<Engine>,
        limits: ReceiveLimits,
    ) -> Arc<Server> {
        Arc::new(Server {
            local: local.clone(),
            engine: Arc::downgrade(engine),
            memory: Memory::new(limits),
            unproven: Arc::new(Semaphore::new(UNPROVEN * 4)),
            served: Mutex::default(),
        })
    }

    /// A drive of this process; those of others are not passed on.
    fn drive(&self, drive: &Id128) -> ShardResult<Arc<dyn ShardTarget>> {
        let engine = self.engine.upgrade().ok_or(ShardError::Closed)?;
        engine
            .registry
            .local_target(drive)
            .ok_or(ShardError::Closed)
    }

    fn add(&self, node: NodeId, process: &str, connection: &Connection) {
        let mut served = self.served.lock();
        let of_node = served.entry(node).or_default();
        of_node.retain(|served| served.connection.close_reason().is_none());
        if of_node.len() >= CONNECTIONS_PER_PEER
            && let Some(oldest) = of_node
                .iter()
                .enumerate()
                .min_by_key(|(_, served)| served.since)
                .map(|(place, _)| place)
        {
            let oldest = of_node.swap_remove(oldest);
            oldest
                .connection
                .close(code::REPLACED, b"too many connections");
        }
        of_node.push(Served {
            process: process.to_owned(),
            connection: connection.clone(),
            since: Instant::now(),
        });
    }

    fn remove(&self, node: NodeId, connection: &Connection) {
        let mut served = self.served.lock();
        if let Some(of_node) = served.get_mut(&node) {
            of_node.retain(|served| served.connection.stable_id() != connection.stable_id());
            if of_node.is_empty() {
                served.remove(&node);
            }
        }
    }

    /// Closes the connections of a node; only those of one process, if it is named.
    pub(crate) fn close(&self, node: NodeId, process: Option<&str>) {
        let served = self.served.lock();
        for served in served.get(&node).into_iter().flatten() {
            if process.is_none_or(|process| served.process == process) {
                served
                    .connection
                    .close(code::REPLACED, b"its process is another one now");
            }
        }
    }

    /// Adds what came from and went to a node on connections that it made.
    pub(crate) fn add_stats(&self, stats: &mut PeerStats) {
        let served = self.served.lock();
        for served in served.get(&stats.node).into_iter().flatten() {
            stats.add(&served.connection);
        }
    }

    /// Bytes of blocks and answers that are held now.
    pub(crate) fn held_bytes(&self) -> usize {
        self.memory.held_bytes()
    }
}

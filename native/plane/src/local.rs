//! What a node brings to each of its connections: its endpoint, its keys and what it belongs to.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use quinn::{Endpoint, MtuDiscoveryConfig, TransportConfig, VarInt};
use tokio::runtime::Handle;

use crate::identity::NodeId;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, IDLE, KEEP_ALIVE, MTU_UPPER_BOUND, UNPROVEN_WINDOW_BYTES,
};
use crate::proof::{Secrets, Shared};
use crate::tls::Tls;

pub(crate) struct Local {
    /// None once it was closed; the socket is free when the last connection is gone.
    pub(crate) endpoint: RwLock<Option<Endpoint>>,
    pub(crate) tls: Tls,
    pub(crate) secrets: Secrets,
    pub(crate) node: NodeId,
    pub(crate) process: String,
    pub(crate) deployment: String,
    pub(crate) region: String,
    pub(crate) runtime: Handle,
    /// Of connections that this node dials.
    pub(crate) transport: Arc<TransportConfig>,
}

impl Local {
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        self.endpoint.read().clone()
    }

    /// Closes all connections. Answers the endpoint if it was open.
    pub(crate) fn close(&self) -> Option<Endpoint> {
        let endpoint = self.endpoint.write().take()?;
        endpoint.close(code::STOPPED, b"stopped");
        Some(endpoint)
    }

    /// What a proof by `process` on a connection is bound to.
    pub(crate) fn shared<'a>(
        &'a self,
        exported: [u8; 32],
        dialler: NodeId,
        listener: NodeId,
        process: &'a str,
    ) -> Shared<'a> {
        Shared {
            exported,
            dialler,
            listener,
            deployment: &self.deployment,
            region: &self.region,
            process,
        }
    }
}

/// Application error codes of connections.
pub(crate) mod code {
    use quinn::VarInt;

    pub(crate) const STOPPED: VarInt = VarInt::from_u32(1);
    pub(crate) const REFUSED: VarInt = VarInt::from_u32(2);
    pub(crate) const PROTOCOL: VarInt = VarInt::from_u32(3);
    /// Of a process that is gone, by what gossip says.
    pub(crate) const REPLACED: VarInt = VarInt::from_u32(4);
}

/// Of connections that are dialled: the dialler pings, and nothing is asked of it.
pub(crate) fn dialling() -> TransportConfig {
    let mut config = common();
    config.keep_alive_interval(Some(KEEP_ALIVE));
    config.max_concurrent_bidi_streams(VarInt::from_u32(0));
    config
}

/// Of connections that are accepted: one stream and a few bytes, until both sides are proven.
pub(crate) fn accepting() -> TransportConfig {
    let mut config = common();
    config.max_concurrent_bidi_streams(VarInt::from_u32(1));
    config.receive_window(VarInt::from_u32(UNPROVEN_WINDOW_BYTES));
    config
}

fn common() -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(MTU_UPPER_BOUND);
    config
        .mtu_discovery_config(Some(mtu))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        // Between hosts of one site; what is lost in a handshake is sent again well within its limit.
        .initial_rtt(Duration::from_millis(50))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    // Fails for durations above 2^62 ms only.
    if let Ok(idle) = IDLE.try_into() {
        config.max_idle_timeout(Some(idle));
    }
    config
}

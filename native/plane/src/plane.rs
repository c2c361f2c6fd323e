//! The plane of one process: its socket, its peers and their drives.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anvil_engine::id::Id128;
use anvil_engine::{Engine, Error, Result};
use parking_lot::{Mutex, RwLock};
use quinn::{Connection, Endpoint, EndpointConfig, Runtime, ServerConfig, TokioRuntime};

use crate::client::{Listener, Peer, RemoteDrive};
use crate::identity::{Identity, NodeId};
use crate::limits::{MTU_UPPER_BOUND, ReceiveLimits, UNPROVEN};
use crate::local::{Local, accepting, dialling};
use crate::proof::Secrets;
use crate::serve::{Server, accept};
use crate::socket::{MarkedIds, PlaneSocket, Relay};
use crate::tls::Tls;

/// How long a stop waits for peers to hear of it.
const FAREWELL: Duration = Duration::from_secs(1);

pub struct PlaneOptions {
    /// The one UDP address for peers; port 0 picks one.
    pub listen: SocketAddr,
    pub identity: Identity,
    /// Random per process.
    pub process: String,
    pub deployment: String,
    pub region: String,
    /// The first is proven, any is accepted.
    pub secrets: Vec<String>,
    pub receive: ReceiveLimits,
}

/// A peer as membership knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    pub node: NodeId,
    pub process: String,
    /// Host and UDP port, best first.
    pub addresses: Vec<(String, u16)>,
}

/// Whether a peer's shard plane answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerState {
    pub node: NodeId,
    pub answering: bool,
    /// Why it does not.
    pub reason: String,
}

/// See `PlanePeerStats` in src/shared/native-plane.ts.
#[derive(Clone, Debug)]
pub struct PeerStats {
    pub node: NodeId,
    pub answering: bool,
    pub connections: u32,
    pub rtt: Duration,
    pub mtu: u16,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub requests: u64,
    pub failures: u64,
}

impl PeerStats {
    pub(crate) fn add(&mut self, connection: &Connection) {
        let stats = connection.stats();
        if self.connections == 0 {
            self.rtt = stats.path.rtt;
            self.mtu = stats.path.current_mtu;
        }
        self.connections += 1;
        self.sent_bytes += stats.udp_tx.bytes;
        self.received_bytes += stats.udp_rx.bytes;
    }
}

pub struct Plane {
    engine: Weak<Engine>,
    local: Arc<Local>,
    server: Arc<Server>,
    relay: Arc<Relay>,
    address: SocketAddr,
    listener: Listener,
    routes: Mutex<Routes>,
}

/// Who is known, and which drives lie where. A drive may be named before its node is.
#[derive(Default)]
struct Routes {
    peers: HashMap<NodeId, Arc<Peer>>,
    drives: HashMap<Id128, NodeId>,
    stopped: bool,
}

impl Plane {
    /// Binds the address; from then on the local drives are served to peers that prove themselves.
    pub fn start(engine: &Arc<Engine>, options: PlaneOptions) -> Result<Plane> {
        let _runtime = engine.handle().enter();
        let failed = |error: &dyn std::fmt::Display| {
            Error::internal(format!("the shard plane cannot start: {error}"))
        };
        let secrets = Secrets::new(&options.secrets)
            .ok_or_else(|| failed(&"a cluster secret must not be empty"))?;
        let tls = Tls::new(&options.identity).map_err(|error| failed(&error))?;
        let socket = PlaneSocket::bind(options.listen)
            .map_err(|error| failed(&format!("{}: {error}", options.listen)))?;
        let relay = socket.relay();
        let mut server = ServerConfig::with_crypto(tls.server().map_err(|error| failed(&error))?);
        server
            .transport_config(Arc::new(accepting()))
            .max_incoming(UNPROVEN * 4);
        let mut config = EndpointConfig::default();
        config.cid_generator(|| Box::new(MarkedIds));
        config
            .max_udp_payload_size(MTU_UPPER_BOUND)
            .map_err(|error| failed(&error))?;
        let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime);
        let endpoint =
            Endpoint::new_with_abstract_socket(config, Some(server), Arc::new(socket), runtime)
                .map_err(|error| failed(&error))?;
        let address = endpoint.local_addr().map_err(|error| failed(&error))?;
        let local = Arc::new(Local {
            endpoint: RwLock::new(Some(endpoint)),
            tls,
            secrets,
            node: options.identity.node,
            process: options.process,
            deployment: options.deployment,
            region: options.region,
            runtime: engine.handle().clone(),
            transport: Arc::new(dialling()),
        });
        let server = Server::new(&local, engine, options.receive);
        engine.spawn(accept(server.clone()));
        Ok(Plane {
            engine: Arc::downgrade(engine),
            local,
            server,
            relay,
            address,
            listener: Listener::default(),
            routes: Mutex::default(),
        })
    }

    pub fn node(&self) -> NodeId {
        self.local.node
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The loopback port of the libp2p listener; None: what is not the plane's is dropped.
    pub fn set_relay(&self, port: Option<u16>) {
        self.relay.set_listener(port);
    }

    /// Remote addresses that are relayed now.
    pub fn relayed(&self) -> usize {
        self.relay.entries()
    }

    /// Bytes of blocks and answers that peers make this process hold now.
    pub fn held_bytes(&self) -> usize {
        self.server.held_bytes()
    }

    /// Makes a peer known, or its addresses and process.
    pub fn set_peer(&self, info: PeerInfo) {
        let mut routes = self.routes.lock();
        if routes.stopped || info.node == self.local.node {
            return;
        }
        let node = info.node;
        if let Some(known) = routes.peers.get(&node) {
            if let Some(replaced) = known.update(info) {
                self.server.close(node, Some(&replaced));
            }
            return;
        }
        let peer = Peer::start(&self.local, info, self.listener.clone());
        routes.peers.insert(node, peer.clone());
        if let Some(engine) = self.engine.upgrade() {
            for (drive, _) in routes.drives.iter().filter(|(_, on)| **on == node) {
                add(&engine, &peer, *drive);
            }
        }
    }

    /// Its connections are closed, its drives are out of reach.
    pub fn remove_peer(&self, node: NodeId) {
        let mut routes = self.routes.lock();
        let Some(peer) = routes.peers.remove(&node) else {
            return;
        };
        if let Some(engine) = self.engine.upgrade() {
            for (drive, _) in routes.drives.iter().filter(|(_, on)| **on == node) {
                engine.registry.remove_remote(drive);
            }
        }
        drop(routes);
        peer.stop();
        self.server.close(node, None);
    }

    /// Says on which peer a drive lies; None forgets it.
    pub fn set_remote_drive(&self, drive: Id128, node: Option<NodeId>) {
        let mut routes = self.routes.lock();
        let Some(engine) = self.engine.upgrade() else {
            return;
        };
        if routes.stopped {
            return;
        }
        let before = match node {
            Some(node) => routes.drives.insert(drive, node),
            None => routes.drives.remove(&drive),
        };
        if before == node {
            return;
        }
        match node.and_then(|node| routes.peers.get(&node)) {
            Some(peer) => add(&engine, peer, drive),
            None => engine.registry.remove_remote(&drive),
        }
    }

    /// Is told of each change from then on, on a thread of the engine's runtime.
    pub fn set_listener(&self, listener: Arc<dyn Fn(PeerState) + Send + Sync>) {
        *self.listener.lock() = Some(listener);
    }

    pub fn stats(&self) -> Vec<PeerStats> {
        let peers: Vec<Arc<Peer>> = self.routes.lock().peers.values().cloned().collect();
        let with_served = |peer: Arc<Peer>| {
            let mut stats = peer.stats();
            self.server.add_stats(&mut stats);
            stats
        };
        peers.into_iter().map(with_served).collect()
    }

    /// Closes the connections and the socket; the drives of peers are out of reach from then on.
    pub async fn stop(&self) {
        let Some(endpoint) = self.end() else { return };
        // Who does not hear of it sees silence.
        let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
        drop(endpoint);
        // Quinn closes the socket in a task of its own.
        let waiting = Instant::now();
        while self.relay.has_socket() && waiting.elapsed() < FAREWELL {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn end(&self) -> Option<Endpoint> {
        let (peers, drives) = {
            let mut routes = self.routes.lock();
            routes.stopped = true;
            (
                std::mem::take(&mut routes.peers),
                std::mem::take(&mut routes.drives),
            )
        };
        self.relay.set_listener(None);
        if let Some(engine) = self.engine.upgrade() {
            for drive in drives.keys() {
                engine.registry.remove_remote(drive);
            }
        }
        for peer in peers.into_values() {
            peer.stop();
        }
        self.local.close()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        drop(self.end());
    }
}

fn add(engine: &Engine, peer: &Arc<Peer>, drive: Id128) {
    let remote = RemoteDrive {
        peer: peer.clone(),
        drive,
        request: None,
    };
    engine.registry.add_remote(drive, Arc::new(remote));
}

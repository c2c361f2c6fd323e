//! The shard plane of the process: see src/shared/native-plane.ts.

use std::net::SocketAddr;
use std::sync::Arc;

use anvil_engine::Error;
use anvil_plane::limits::ReceiveLimits;
use anvil_plane::{Identity, NodeId, PeerInfo, PeerState, Plane, PlaneOptions};
use napi::Env;
use napi::bindgen_prelude::{Either, Function, Null, PromiseRaw};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use parking_lot::{Mutex, RwLock};

use crate::convert::{Bytes, full_key};
use crate::guard::{self, Fallible};
use crate::jobs::{WeakListener, weak_listener};
use crate::process::engine;

static PLANE: Mutex<Option<Arc<Plane>>> = Mutex::new(None);
static LISTENER: RwLock<Option<Arc<WeakListener<PlanePeerState>>>> = RwLock::new(None);

#[napi(object, object_to_js = false)]
pub struct PlaneOpen {
    pub host: String,
    pub port: u32,
    pub identity_seed: Bytes,
    pub node_id: String,
    pub process_id: String,
    pub deployment_id: String,
    pub region: String,
    pub cluster_secrets: Vec<String>,
}

/// A host and a UDP port of it.
#[napi(object)]
pub struct PlaneAddress {
    pub host: String,
    pub port: u32,
}

#[napi(object)]
pub struct PlanePeer {
    pub node_id: String,
    pub process_id: String,
    pub addrs: Vec<PlaneAddress>,
}

#[napi(object)]
pub struct PlanePeerState {
    pub node_id: String,
    pub answering: bool,
    pub reason: String,
}

#[napi(object)]
pub struct PlanePeerStats {
    pub node_id: String,
    pub answering: bool,
    pub connections: u32,
    pub rtt_ms: f64,
    pub mtu: u32,
    pub sent_bytes: f64,
    pub received_bytes: f64,
    pub requests: f64,
    pub failures: f64,
}

/// The running plane; an error before `startPlane` and after `stopPlane`.
fn plane() -> Fallible<Arc<Plane>> {
    let plane = PLANE.lock().clone();
    plane.ok_or_else(|| Error::internal("the shard plane is not running"))
}

/// Binds the address and serves the local drives to peers. Resolves with the bound address.
#[napi]
pub fn start_plane<'env>(
    env: &'env Env,
    options: PlaneOpen,
) -> napi::Result<PromiseRaw<'env, PlaneAddress>> {
    let starting = async move {
        let options = plane_options(options)?;
        let mut running = PLANE.lock();
        if running.is_some() {
            return Err(Error::internal("the shard plane is running"));
        }
        let plane = Plane::start(engine()?, options)?;
        plane.set_listener(Arc::new(tell));
        let address = plane.address();
        *running = Some(Arc::new(plane));
        Ok(address)
    };
    guard::later(env, starting, |address: SocketAddr| PlaneAddress {
        host: address.ip().to_string(),
        port: address.port().into(),
    })
}

fn plane_options(options: PlaneOpen) -> Fallible<PlaneOptions> {
    let seed = full_key("identitySeed", &options.identity_seed.0)?;
    let identity =
        Identity::from_seed(seed).ok_or_else(|| Error::internal("identitySeed is no key"))?;
    if identity.node != node("nodeId", &options.node_id)? {
        return Err(Error::internal(
            "nodeId is not the peer id of identitySeed's key",
        ));
    }
    let ip = options
        .host
        .parse()
        .map_err(|_| Error::internal(format!("host is no IP address: {:?}", options.host)))?;
    Ok(PlaneOptions {
        listen: SocketAddr::new(ip, port("port", options.port)?),
        identity,
        process: options.process_id,
        deployment: options.deployment_id,
        region: options.region,
        secrets: options.cluster_secrets,
        receive: ReceiveLimits::of_memory(engine()?.stats().memory_limit_bytes),
    })
}

fn node(what: &str, text: &str) -> Fallible<NodeId> {
    NodeId::parse(text)
        .ok_or_else(|| Error::internal(format!("{what} is no peer id of an Ed25519 key: {text:?}")))
}

fn port(what: &str, port: u32) -> Fallible<u16> {
    u16::try_from(port).map_err(|_| Error::internal(format!("{what} is no port: {port}")))
}

/// Port of the libp2p listener on 127.0.0.1; 0: what is not the plane's is dropped.
#[napi]
pub fn set_plane_relay(port: u32) -> napi::Result<()> {
    guard::now(|| {
        let port = self::port("port", port)?;
        plane()?.set_relay((port != 0).then_some(port));
        Ok(())
    })
}

/// Makes a peer known, or its addresses and process.
#[napi]
pub fn set_peer(peer: PlanePeer) -> napi::Result<()> {
    guard::now(|| {
        let address = |address: PlaneAddress| Ok((address.host, port("port", address.port)?));
        let addresses = peer.addrs.into_iter().map(address);
        plane()?.set_peer(PeerInfo {
            node: node("nodeId", &peer.node_id)?,
            process: peer.process_id,
            addresses: addresses.collect::<Fallible<_>>()?,
        });
        Ok(())
    })
}

#[napi]
pub fn remove_peer(node_id: String) -> napi::Result<()> {
    guard::now(|| {
        plane()?.remove_peer(node("nodeId", &node_id)?);
        Ok(())
    })
}

/// The drive lies on this peer; null forgets it.
#[napi(ts_args_type = "driveId: string, nodeId: string | null")]
pub fn set_remote_drive(drive_id: String, node_id: Either<String, Null>) -> napi::Result<()> {
    guard::now(|| {
        let drive = anvil_engine::id::parse("driveId", &drive_id)?;
        let on = match node_id {
            Either::A(id) => Some(node("nodeId", &id)?),
            Either::B(Null) => None,
        };
        plane()?.set_remote_drive(drive, on);
        Ok(())
    })
}

/// `listener(state)` on the calling thread whenever a peer begins or stops to answer.
#[napi]
pub fn set_peer_listener(listener: Function<'_, PlanePeerState, ()>) -> napi::Result<()> {
    let listener = weak_listener(&listener)?;
    *LISTENER.write() = Some(Arc::new(listener));
    Ok(())
}

fn tell(state: PeerState) {
    let listener = LISTENER.read().clone();
    if let Some(listener) = listener {
        // A thread that has ended needs to know no more.
        let _ = listener.call(
            PlanePeerState {
                node_id: state.node.to_string(),
                answering: state.answering,
                reason: state.reason,
            },
            ThreadsafeFunctionCallMode::NonBlocking,
        );
    }
}

#[napi]
pub fn plane_stats() -> napi::Result<Vec<PlanePeerStats>> {
    guard::now(|| {
        let plane = PLANE.lock().clone();
        let stats = plane.map_or_else(Vec::new, |plane| plane.stats());
        let stats = stats.into_iter().map(|stats| PlanePeerStats {
            node_id: stats.node.to_string(),
            answering: stats.answering,
            connections: stats.connections,
            rtt_ms: stats.rtt.as_secs_f64() * 1000.0,
            mtu: stats.mtu.into(),
            sent_bytes: stats.sent_bytes as f64,
            received_bytes: stats.received_bytes as f64,
            requests: stats.requests as f64,
            failures: stats.failures as f64,
        });
        Ok(stats.collect())
    })
}

/// Closes the connections and the socket. No error if it is not running.
#[napi]
pub fn stop_plane(env: &Env) -> napi::Result<PromiseRaw<'_, ()>> {
    let stopping = async {
        let plane = PLANE.lock().take();
        if let Some(plane) = plane {
            plane.stop().await;
        }
        Ok::<(), Error>(())
    };
    guard::later(env, stopping, |()| ())
}

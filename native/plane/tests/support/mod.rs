//! What the plane's tests share: nodes in one process, each with an engine, drives in memory and a plane on loopback.
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

mod proxy;

#[path = "../../../engine/tests/support/mod.rs"]
mod engine;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anvil_engine::target::{ShardKey, ShardTarget};
use anvil_engine::{Engine, Pg};
use anvil_plane::limits::ReceiveLimits;
use anvil_plane::{Identity, NodeId, PeerInfo, PeerState, Plane, PlaneOptions};
pub use engine::{GENERATION, MemoryDrive, blob_id, body, limits, put, source};
use parking_lot::Mutex;
pub use proxy::Proxy;

pub struct Node {
    pub engine: Arc<Engine>,
    pub plane: Plane,
    pub process: String,
    pub drives: Vec<(anvil_engine::id::Id128, MemoryDrive)>,
    pub states: Arc<Mutex<Vec<PeerState>>>,
}

/// How a node is set up.
#[derive(Clone)]
pub struct Setup {
    pub number: u8,
    pub process: String,
    pub ip: IpAddr,
    pub port: u16,
    pub drives: usize,
    pub deployment: String,
    pub region: String,
    pub secrets: Vec<String>,
    pub receive: ReceiveLimits,
}

impl Setup {
    pub fn new(number: u8, drives: usize) -> Setup {
        Setup {
            number,
            process: format!("process-{number}"),
            ip: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            drives,
            deployment: "deployment".into(),
            region: "region".into(),
            secrets: vec!["a secret of the cluster".into()],
            receive: ReceiveLimits::of_memory(256 << 20),
        }
    }

    pub fn start(self) -> Node {
        let engine = engine::engine(256 << 20, limits());
        let drives: Vec<_> = (0..self.drives)
            .map(|drive| ([self.number * 16 + drive as u8; 16], MemoryDrive::default()))
            .collect();
        for (id, drive) in &drives {
            engine.registry.add_target(*id, Arc::new(drive.clone()));
        }
        let plane = Plane::start(
            &engine,
            PlaneOptions {
                listen: (self.ip, self.port).into(),
                identity: identity(self.number),
                process: self.process.clone(),
                deployment: self.deployment,
                region: self.region,
                secrets: self.secrets,
                receive: self.receive,
            },
        )
        .expect("a plane");
        let states: Arc<Mutex<Vec<PeerState>>> = Arc::default();
        let told = states.clone();
        plane.set_listener(Arc::new(move |state| told.lock().push(state)));
        Node {
            engine,
            plane,
            process: self.process,
            drives,
            states,
        }
    }
}

pub fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32]).expect("an identity")
}

impl Node {
    pub fn id(&self) -> NodeId {
        self.plane.node()
    }

    pub fn info(&self) -> PeerInfo {
        PeerInfo {
            node: self.id(),
            process: self.process.clone(),
            addresses: vec![("127.0.0.1".into(), self.plane.address().port())],
        }
    }

    /// Makes the other node and its drives known here.
    pub fn knows(&self, other: &Node) {
        self.plane.set_peer(other.info());
        for (drive, _) in &other.drives {
            self.plane.set_remote_drive(*drive, Some(other.id()));
        }
    }

    pub fn remote(&self, drive: &anvil_engine::id::Id128) -> Arc<dyn ShardTarget> {
        let target = self.engine.registry.target(drive).expect("a drive");
        assert!(!target.is_local());
        target
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.engine.handle().block_on(future)
    }

    pub fn stop(&self) {
        self.block_on(self.plane.stop());
    }

    /// The last thing that was said of a node.
    pub fn last_state(&self, node: NodeId) -> Option<PeerState> {
        let states = self.states.lock();
        states
            .iter()
            .rev()
            .find(|state| state.node == node)
            .cloned()
    }

    pub fn answers(&self, node: NodeId) -> Option<bool> {
        self.last_state(node).map(|state| state.answering)
    }
}

/// Nodes that all know each other, each with so many drives.
pub fn cluster(nodes: u8, drives: usize) -> Vec<Node> {
    let nodes: Vec<Node> = (1..=nodes)
        .map(|number| Setup::new(number, drives).start())
        .collect();
    for node in &nodes {
        for other in nodes.iter().filter(|other| other.id() != node.id()) {
            node.knows(other);
        }
    }
    nodes
}

/// A group over the first drives of all nodes, known to all of them.
pub fn group(nodes: &[Node], k: usize, m: usize) -> Pg {
    let all = nodes
        .iter()
        .flat_map(|node| node.drives.iter().map(|(id, _)| *id));
    let pg = Pg {
        id: 1,
        generation: GENERATION,
        k,
        m,
        members: all.take(k + m).collect(),
    };
    assert_eq!(pg.members.len(), k + m);
    for node in nodes {
        node.engine.registry.set_pg(pg.clone()).expect("a group");
    }
    pg
}

/// Waits generously; false if it did not come true.
pub fn until(condition: impl Fn() -> bool) -> bool {
    for _ in 0..2000 {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

pub fn key(blob: u64, index: u8) -> ShardKey {
    ShardKey {
        bucket: 1,
        blob: blob_id(blob),
        pg: 1,
        index,
    }
}

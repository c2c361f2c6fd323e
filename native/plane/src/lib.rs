//! The shard plane.

mod client;
mod identity;
pub mod limits;
mod local;
mod plane;
mod proof;
mod serve;
mod socket;
mod stream;
mod tls;
mod wire;

pub use identity::{Identity, NodeId};
pub use plane::{PeerInfo, PeerState, PeerStats, Plane, PlaneOptions};

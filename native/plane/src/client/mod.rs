//! The asking side: peers, the connections to them, and their drives as targets of the engine.

mod dial;
mod link;
mod peer;
mod puts;
mod remote;
mod sink;

pub(crate) use peer::{Listener, Peer};
pub(crate) use remote::RemoteDrive;

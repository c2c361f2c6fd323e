//! Reaching a peer: its addresses are tried side by side, the best ones first, and both sides prove who they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::{ClientConfig, Connection, ConnectionError};
use tokio::time::Instant;

use super::link::Link;
use crate::PeerInfo;
use crate::identity::NodeId;
use crate::limits::{ADDRESSES, CONNECT, RESOLVED};
use crate::local::{Local, code};
use crate::proof::{self, Role};
use crate::socket::marked_id;
use crate::stream::{read_frame, write_frame};
use crate::wire::{Frame, OLDEST_VERSION, VERSION};

/// Head start of each address over the next.
const HEAD_START: Duration = Duration::from_millis(100);
/// For each address to say by itself how it failed.
const GRACE: Duration = Duration::from_millis(50);
/// Asked for in the handshake and looked at by nobody: who answers is known by its key.
const SERVER_NAME: &str = "anvil";

/// Why a peer could not be had.
pub(super) struct Failure {
    pub(super) reason: String,
    /// It answered, and it or we said no.
    refused: bool,
}

impl Failure {
    fn new(reason: impl Into<String>) -> Failure {
        Failure {
            reason: reason.into(),
            refused: false,
        }
    }

    fn refused(reason: impl Into<String>) -> Failure {
        Failure {
            reason: reason.into(),
            refused: true,
        }
    }
}

/// Takes [`CONNECT`] at most, and a moment.
pub(super) async fn dial(local: &Arc<Local>, peer: &PeerInfo) -> Result<Link, Failure> {
    let deadline = Instant::now() + CONNECT;
    let attempts = peer.addresses.iter().take(ADDRESSES);
    let attempts = attempts.map(|(host, port)| async move {
        match tokio::time::timeout_at(deadline, resolve(host, *port)).await {
            Ok(Ok(found)) => {
                let attempts = found.into_iter();
                first_of(
                    attempts.map(|address| connect(local, peer.node, address)),
                    deadline,
                )
                .await
            }
            Ok(Err(error)) => Err(Failure::new(format!("{host} has no address: {error}"))),
            Err(_) => Err(Failure::new(format!("{host} is not looked up in time"))),
        }
    });
    first_of(attempts, deadline + GRACE).await
}

/// All that a name stands for, since of an IPv6 and an IPv4 address this host may have a way to one only.
async fn resolve(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port))
        .await?
        .take(RESOLVED)
        .collect())
}

/// The first that succeeds; each has a head start over the next.
async fn first_of<A: Future<Output = Result<Link, Failure>>>(
    attempts: impl Iterator<Item = A>,
    deadline: Instant,
) -> Result<Link, Failure> {
    let mut attempts: FuturesUnordered<_> = attempts
        .enumerate()
        .map(|(place, attempt)| async move {
            tokio::time::sleep(HEAD_START * place as u32).await;
            attempt.await
        })
        .collect();
    let mut failure = Failure::new("it has no address");
    loop {
        match tokio::time::timeout_at(deadline, attempts.next()).await {
            Ok(Some(Ok(link))) => return Ok(link),
            // A refusal says more than silence.
            Ok(Some(Err(other))) if failure.refused && !other.refused => {}
            Ok(Some(Err(other))) => failure = other,
            Ok(None) => return Err(failure),
            Err(_) if failure.refused => return Err(failure),
            Err(_) => return Err(Failure::new("no answer")),
        }
    }
}

async fn connect(local: &Arc<Local>, peer: NodeId, address: SocketAddr) -> Result<Link, Failure> {
    let crypto = local
        .tls
        .client(peer)
        .map_err(|error| Failure::new(error.to_string()))?;
    let mut config = ClientConfig::new(crypto);
    config.transport_config(local.transport.clone());
    config.initial_dst_cid_provider(Arc::new(marked_id));
    let endpoint = local.endpoint();
    let connecting = endpoint
        .ok_or_else(|| Failure::new("the shard plane is stopped"))?
        .connect_with(config, address, SERVER_NAME)
        .map_err(|error| Failure::new(format!("{address}: {error}")))?;
    let connection = connecting
        .await
        .map_err(|error| lost(address, peer, &error))?;
    match prove(local, peer, &connection).await {
        Ok((process, version)) => Ok(Link::new(local.clone(), connection, process, version)),
        Err(reason) => {
            connection.close(code::REFUSED, b"");
            Err(Failure::refused(format!("{address}: {reason}")))
        }
    }
}

fn lost(address: SocketAddr, peer: NodeId, error: &ConnectionError) -> Failure {
    match error {
        ConnectionError::TransportError(error) => {
            Failure::refused(format!("{address} does not prove to be {peer}: {error}"))
        }
        error => Failure::new(format!("{address}: {error}")),
    }
}

/// Both sides prove the cluster's secret, the dialler first. Answers the id of the peer's process and
/// the version that both speak.
async fn prove(
    local: &Arc<Local>,
    peer: NodeId,
    connection: &Connection,
) -> Result<(String, u16), String> {
    let exported = proof::exported(connection).ok_or("the handshake gives no keys")?;
    let (mut send, mut receive) = connection
        .open_bi()
        .await
        .map_err(|error| error.to_string())?;
    let shared = local.shared(exported, local.node, peer, &local.process);
    let hello = Frame::Hello {
        version: VERSION,
        oldest: OLDEST_VERSION,
        deployment: local.deployment.clone(),
        region: local.region.clone(),
        process: local.process.clone(),
        proof: local.secrets.prove(Role::Dialler, &shared),
    };
    let failed = |error: crate::stream::StreamError| error.to_string();
    write_frame(&mut send, &hello).await.map_err(failed)?;
    match read_frame(&mut receive).await.map_err(failed)? {
        Some(Frame::Welcome {
            version,
            process,
            proof,
        }) => {
            if !(OLDEST_VERSION..=VERSION).contains(&version) {
                return Err(format!("it wants to speak version {version}"));
            }
            let shared = local.shared(exported, local.node, peer, &process);
            if local.secrets.accept(Role::Listener, &shared, &proof) {
                Ok((process, version))
            } else {
                Err("it does not know the cluster secret".to_owned())
            }
        }
        Some(Frame::Refused(refusal)) => Err(format!("refused: {refusal}")),
        _ => Err("it ended the conversation".to_owned()),
    }
}

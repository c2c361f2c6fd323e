//! Connections of peers: their proof, then their streams.

use std::sync::Arc;

use quinn::{Connection, Incoming, VarInt};

use super::Server;
use super::memory::Share;
use super::requests::serve;
use crate::identity::NodeId;
use crate::limits::{ACCEPT, CONNECTION_WINDOW_BYTES, HELLO_BYTES, STREAMS_PER_PEER, UNPROVEN};
use crate::local::code;
use crate::proof::{self, Role};
use crate::stream::{StreamError, read_short_frame, write_frame};
use crate::tls::proven_node;
use crate::wire::{Frame, OLDEST_VERSION, Refusal, VERSION};

/// A peer's connection, as its requests see it.
pub(super) struct Context {
    pub(super) server: Arc<Server>,
    pub(super) node: NodeId,
    pub(super) share: Share,
}

/// Until the endpoint is closed.
pub(crate) async fn accept(server: Arc<Server>) {
    let Some(endpoint) = server.local.endpoint() else {
        return;
    };
    while let Some(incoming) = endpoint.accept().await {
        let Ok(slot) = server.unproven.clone().try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        if server.unproven.available_permits() < UNPROVEN * 3
            && !incoming.remote_address_validated()
            && incoming.may_retry()
        {
            // Who is there has to show that the address is its own.
            drop(incoming.retry());
            continue;
        }
        let server = server.clone();
        let runtime = server.local.runtime.clone();
        runtime.spawn(async move {
            let from = incoming.remote_address();
            let proven = tokio::time::timeout(ACCEPT, prove(&server, incoming)).await;
            drop(slot);
            match proven {
                Ok(Ok((connection, node, process))) => {
                    converse(&server, connection, node, &process).await;
                }
                Ok(Err(reason)) => tracing::warn!(%from, reason, "a connection is refused"),
                Err(_) => tracing::debug!(%from, "a connection did not prove itself in time"),
            }
        });
    }
}

/// Answers who it is once both sides have proven the cluster's secret.
async fn prove(
    server: &Arc<Server>,
    incoming: Incoming,
) -> Result<(Connection, NodeId, String), String> {
    let local = &server.local;
    let text = |error: quinn::ConnectionError| error.to_string();
    let connection = incoming.await.map_err(text)?;
    let node = proven_node(&connection).ok_or("no identity key")?;
    let exported = proof::exported(&connection).ok_or("the handshake gives no keys")?;
    let (mut send, mut receive) = connection.accept_bi().await.map_err(text)?;
    let text = |error: StreamError| error.to_string();
    let Some(Frame::Hello {
        version,
        oldest,
        deployment,
        region,
        process,
        proof,
    }) = read_short_frame(&mut receive, HELLO_BYTES)
        .await
        .map_err(text)?
    else {
        connection.close(code::PROTOCOL, b"no hello");
        return Err(format!("{node} did not say hello"));
    };
    let shared = local.shared(exported, node, local.node, &process);
    let refusal = if version < OLDEST_VERSION || oldest > VERSION {
        Some(Refusal::Version)
    } else if deployment != local.deployment {
        Some(Refusal::Deployment)
    } else if region != local.region {
        Some(Refusal::Region)
    } else if !local.secrets.accept(Role::Dialler, &shared, &proof) {
        Some(Refusal::Secret)
    } else {
        None
    };
    if let Some(refusal) = refusal {
        write_frame(&mut send, &Frame::Refused(refusal))
            .await
            .map_err(text)?;
        let _ = send.finish();
        // The answer arrives before the connection goes: the dialler closes it.
        let _ = send.stopped().await;
        connection.close(code::REFUSED, b"");
        return Err(format!("{node}: {refusal}"));
    }
    let shared = local.shared(exported, node, local.node, &local.process);
    let welcome = Frame::Welcome {
        version: version.min(VERSION),
        process: local.process.clone(),
        proof: local.secrets.prove(Role::Listener, &shared),
    };
    // Before the answer: the dialler asks as soon as it has it.
    connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(STREAMS_PER_PEER));
    server.add(node, &process, &connection);
    if let Err(error) = write_frame(&mut send, &welcome).await {
        server.remove(node, &connection);
        return Err(error.to_string());
    }
    let _ = send.finish();
    Ok((connection, node, process))
}

/// Serves requests until the connection is gone. What is under way then sees its stream end.
async fn converse(server: &Arc<Server>, connection: Connection, node: NodeId, process: &str) {
    tracing::debug!(%node, process, from = %connection.remote_address(), "a peer asks for shards");
    let context = Arc::new(Context {
        server: server.clone(),
        node,
        share: server.memory.share(),
    });
    let ended = loop {
        match connection.accept_bi().await {
            Ok((send, receive)) => {
                server
                    .local
                    .runtime
                    .spawn(serve(context.clone(), send, receive));
            }
            Err(ended) => break ended,
        }
    };
    server.remove(node, &connection);
    tracing::debug!(%node, process, %ended, "a peer asks no more");
}

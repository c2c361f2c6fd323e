/** The libp2p node under the transport: QUIC alone, nothing that acts by itself. */
import { quic } from '@chainsafe/libp2p-quic'
import type { Libp2p } from '@libp2p/interface'
import { createLibp2p } from 'libp2p'
import { formatAddress } from './addresses.ts'
import type { NodeIdentity } from './identity.ts'
import { DIAL_TIMEOUT_MS, IDLE_TIMEOUT_MS, KEEP_ALIVE_MS, MAX_CONNECTIONS, MAX_UNPROVEN_CONNECTIONS, PROOF_TIMEOUT_MS } from './limits.ts'

export interface Libp2pNodeOptions {
  identity: NodeIdentity
  listen: { host: string; port: number }
}

export async function startLibp2p({ identity, listen }: Libp2pNodeOptions): Promise<Libp2p> {
  return createLibp2p({
    privateKey: identity.privateKey,
    // says nothing of this host to those who have not proven themselves
    nodeInfo: { name: 'anvil', version: '', userAgent: 'anvil' },
    // what peers dial travels in the signed member record
    addresses: { listen: [formatAddress(listen.host, listen.port)] },
    transports: [quic({
      handshakeTimeout: DIAL_TIMEOUT_MS,
      maxIdleTimeout: IDLE_TIMEOUT_MS,
      keepAliveInterval: KEEP_ALIVE_MS,
      maxConcurrentStreamLimit: 256,
      // what a stalled peer may owe: gossip is small, and beyond this the sender drops instead of buffering
      maxStreamData: 1024 * 1024,
      maxConnectionData: 8 * 1024 * 1024,
    })],
    connectionManager: {
      maxConnections: MAX_CONNECTIONS,
      maxParallelDials: 256,
      dialTimeout: 4 * DIAL_TIMEOUT_MS,
      addressDialTimeout: DIAL_TIMEOUT_MS + 500,
      inboundUpgradeTimeout: PROOF_TIMEOUT_MS,
      // Behind the addon's relay every peer comes from 127.0.0.1: limits per address are the relay's (DESIGN §8).
      inboundConnectionThreshold: 100_000,
      maxIncomingPendingConnections: MAX_UNPROVEN_CONNECTIONS,
      reconnectRetries: 0,
    },
    // SWIM decides who is alive: a ping of libp2p's own would cut the connections of a busy host.
    connectionMonitor: { enabled: false },
  })
}

/**
 * Authenticated messages between the nodes of one region. A peer exists here once it has proven the cluster secret;
 * before that nothing of it is accepted but the handshake (DESIGN §8).
 */
import type { NodeId } from '../../shared/ids.ts'

export type RefusalKind =
  | 'unreachable' | 'wrong-secret' | 'wrong-deployment' | 'wrong-region' | 'clock' | 'duplicate-node' | 'own-address' | 'protocol'

/** Why a peer could not be had. */
export class PeerRefusal extends Error {
  override readonly name = 'PeerRefusal'
  readonly kind: RefusalKind

  constructor(kind: RefusalKind, text: string, options?: ErrorOptions) {
    super(text, options)
    this.kind = kind
  }
}

/** A peer that has proven itself. */
export interface PeerIdentity {
  nodeId: NodeId
  /** Random per process. */
  processId: string
  /** Version of the protocol that both speak. */
  protocolVersion: number
  /** How far its wall clock is ahead of ours; the way of the messages makes it uncertain by about `uncertaintyMs`. */
  clockAheadMs: number
  uncertaintyMs: number
}

/** How many connections a node holds on to. */
export interface ConnectionBounds {
  /** Peers. Beyond it the least recently used are parted with, and dialled again when there is something to say. */
  kept: number
  /** For so long after it was last used a peer is not parted with, a tenth of it when there are twice as many as are kept. */
  unusedMs: number
}

export interface TransportStats {
  /** Peers with a live, proven connection. */
  peers: number
  sentBytes: number
  receivedBytes: number
  sentPackets: number
  receivedPackets: number
  /** Packets that a slow or absent peer did not take in time. */
  droppedPackets: number
  requests: number
  failedRequests: number
  dials: number
  failedDials: number
  /** Peers parted with because there were too many and this one had not been used. */
  partings: number
}

/** Answers a request of a proven peer; what it throws reaches the peer as a failure with that message. */
export type RequestHandler = (from: NodeId, body: Uint8Array) => Promise<Uint8Array> | Uint8Array

export interface RequestOptions {
  /** @default 5000 */
  timeoutMs?: number
  signal?: AbortSignal
}

export interface TransportEvents {
  /** A gossip packet; the buffer is the receiver's. */
  packet: [from: NodeId, bytes: Uint8Array]
  /** A peer has proven itself, on its first or on a further connection. */
  connected: [peer: PeerIdentity]
  /** The last connection to it is gone: its process ended, the way to it, or either side had too many. Says nothing about its health. */
  disconnected: [nodeId: NodeId]
  /** `peer`: the multiaddr or node id that it is about. */
  problem: [peer: string, refusal: PeerRefusal]
  /** Found on the local network, not dialled yet. */
  discovered: [addrs: string[]]
}

export interface Transport {
  readonly nodeId: NodeId
  /** What the libp2p listener is bound to. */
  readonly listening: { host: string; port: number }
  readonly peers: ReadonlyMap<NodeId, PeerIdentity>
  isConnected(nodeId: NodeId): boolean
  /**
   * Dials an address, or finds the connection that exists, and resolves when the peer has proven itself.
   * @throws PeerRefusal
   */
  connect(addr: string, signal?: AbortSignal): Promise<PeerIdentity>
  /** Where a node can be dialled, best first; null forgets it. */
  setAddrs(nodeId: NodeId, addrs: readonly string[] | null): void
  /** Connects ahead of the first message, so that it need not wait; fails silently but for `problem`. */
  open(nodeId: NodeId): void
  /** A packet that may be lost: connects when needed, drops the oldest waiting ones when the peer is slow. */
  send(nodeId: NodeId, packet: Uint8Array): void
  /** @throws PeerRefusal when the peer cannot be had, Error when it fails or answers too late */
  request(nodeId: NodeId, protocol: string, body: Uint8Array, options?: RequestOptions): Promise<Uint8Array>
  /** `protocol`: a short name, the same on both sides. */
  handle(protocol: string, handler: RequestHandler): Promise<void>
  stats(): TransportStats
  on<E extends keyof TransportEvents>(event: E, listener: (...args: TransportEvents[E]) => void): this
  off<E extends keyof TransportEvents>(event: E, listener: (...args: TransportEvents[E]) => void): this
  close(): Promise<void>
}

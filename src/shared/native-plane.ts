/**
 * The shard plane of the addon: shards to and from the drives of other nodes over QUIC, without a byte through JavaScript
 * (DESIGN §8). One UDP socket serves it and, by relaying what does not carry the plane's mark, the libp2p listener.
 */

export interface PlaneOpen {
  /** The one UDP address of this node for peers; port 0 picks one. */
  host: string
  port: number
  /** Of this node: 32-byte seed of its Ed25519 identity key (libp2p), and the peer id that belongs to it. */
  identitySeed: Uint8Array
  nodeId: string
  /** Of this process (MemberRecord.processId). */
  processId: string
  deploymentId: string
  region: string
  /** ANVIL_CLUSTER_SECRET: the first is proven, any is accepted. */
  clusterSecrets: string[]
}

export interface PlanePeer {
  nodeId: string
  /** A changed process id closes the connections to the process before. */
  processId: string
  /** UDP addresses to dial, best first. */
  addrs: { host: string; port: number }[]
}

/** Whether a peer's shard plane answers; reported when it changes. */
export interface PlanePeerState {
  nodeId: string
  /** false: silent for a second, refused, or unreachable. */
  answering: boolean
  reason: string
}

export interface PlanePeerStats {
  nodeId: string
  answering: boolean
  connections: number
  rttMs: number
  mtu: number
  sentBytes: number
  receivedBytes: number
  requests: number
  failures: number
}

export interface NativePlane {
  /** Once per process, after `init`. Local drives are served to peers from then on. Resolves with the bound address. */
  startPlane(options: PlaneOpen): Promise<{ host: string; port: number }>
  /** Loopback port of the libp2p listener that gets every datagram without the mark; 0: they are dropped. */
  setPlaneRelay(port: number): void
  /** Makes a peer known, or its addresses and process; connections are made when needed and kept. */
  setPeer(peer: PlanePeer): void
  removePeer(nodeId: string): void
  /** The drive lies on this peer: groups that name it reach it there. A drive that is open locally stays local. null forgets it. */
  setRemoteDrive(driveId: string, nodeId: string | null): void
  setPeerListener(listener: (state: PlanePeerState) => void): void
  planeStats(): PlanePeerStats[]
  /** Closes the connections and the socket. */
  stopPlane(): Promise<void>
}

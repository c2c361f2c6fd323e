/** What a member process is told at its start, and what it tells its parent. */
import type { ClusterEvent, MemberState, PeerProblem } from '../../src/main/membership/contract.ts'

export interface MemberSettings {
  /** Hex: the same seed is the same node. */
  seed: string
  host: string
  port: number
  /** Empty: what it listens on. */
  publicAddrs: string[]
  bootstrapAddrs: string[]
  clusterSecret: string
  /** As in a node: the addon owns host and port, and relays what is not the shard plane's to libp2p. */
  behindPlane: boolean
  region: string
  logFile: string
}

export interface View {
  nodeId: string
  processId: string
  members: { nodeId: string; state: MemberState; incarnation: number; processId: string; addrs: string[]; seen: MemberState[] }[]
  problems: PeerProblem[]
  events: ClusterEvent[]
  health: number
  sentBytes: number
  receivedBytes: number
}

export type ToMember = { kind: 'broadcast'; event: ClusterEvent }

/**
 * Who is in the cluster of this region, as this node sees it: what gossip knows, for everyone else in the process. The
 * database is the truth about data; membership only says whom to ask and where new shards may go.
 */
import type { DriveId, NodeId, PgId } from '../../shared/ids.ts'

/** alive and suspect members are asked; dead ones are not; left ones said goodbye (SIGTERM). */
export type MemberState = 'alive' | 'suspect' | 'dead' | 'left'

/** A drive as its node announces it. */
export interface MemberDrive {
  driveId: DriveId
  /** Only `online` ones take new shards; `full` ones are read. Absent drives are not announced. */
  state: 'online' | 'full'
  totalBytes: number
  freeBytes: number
}

/** What a node says of itself; signed by its identity key. A higher incarnation replaces a lower one. */
export interface MemberRecord {
  nodeId: NodeId
  /** Random per process: tells a restarted node from the one before (DESIGN §8). */
  processId: string
  incarnation: number
  region: string
  /** '' when ANVIL_ZONE is not set. */
  zone: string
  /** PUBLIC_ADDRS: multiaddrs without /p2p. */
  addrs: string[]
  grpcAddr: string
  version: string
  /** By the node's own clock. */
  startedMs: number
  drives: MemberDrive[]
}

export interface Member extends MemberRecord {
  state: MemberState
  /** When this node last saw the state change, by its own clock. */
  changedMs: number
  self: boolean
}

/** What a node tells all others at once; a lost one costs at most a cache's lifetime. */
export type ClusterEvent =
  | { kind: 'app'; key: string }
  | { kind: 'bucket'; key: string }
  /** The group's row changed: sealed, closed, moved, deleted. */
  | { kind: 'group'; pgId: PgId }

/** Why a peer could not be had: a line for the log and for `anvil cluster status`. */
export interface PeerProblem {
  /** The multiaddr or node id it is about. */
  peer: string
  kind: 'unreachable' | 'wrong-secret' | 'wrong-deployment' | 'wrong-region' | 'clock' | 'duplicate-node' | 'own-address' | 'protocol'
  text: string
  sinceMs: number
}

export interface MembershipEvents {
  /** A member came, went, changed state or record. */
  change: []
  /** From another node. */
  event: [ClusterEvent]
}

/** Implemented by src/main/membership; an EventEmitter. */
export interface Membership {
  readonly self: Member
  /** All known ones with this node among them, ordered by node id. */
  readonly members: readonly Member[]
  readonly problems: readonly PeerProblem[]
  /** Lifeguard's local health, for metrics: 0 is well; the higher, the less this node trusts its own verdicts about others. */
  readonly health: number
  /** This node's drives, as they are now: goes out with the next messages. */
  announceDrives(drives: MemberDrive[]): void
  /** To all members of the region. */
  broadcast(event: ClusterEvent): void
  on<E extends keyof MembershipEvents>(event: E, listener: (...args: MembershipEvents[E]) => void): this
  off<E extends keyof MembershipEvents>(event: E, listener: (...args: MembershipEvents[E]) => void): this
  /** Says goodbye and ends. */
  leave(): Promise<void>
}

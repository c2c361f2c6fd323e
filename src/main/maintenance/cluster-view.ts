/** What background work knows of the cluster. One host alone is a cluster of one. */
import type { DriveId, NodeId } from '../../shared/ids.ts'
import type { PlacementDrive } from '../placement/erasure-code.ts'

export interface ClusterView {
  /** This process, in leases. */
  processId: string
  self: NodeId
  /** Drives of this node that can be read. */
  local(): DriveId[]
  /** Drives of all nodes that can be read and written now, those of this node among them. */
  reachable(): DriveId[]
  /** Drives that take new shards. */
  placeable(): readonly PlacementDrive[]
  /** Free bytes of a drive that takes new shards, as its node last announced them. */
  freeBytes(driveId: DriveId): number
  /** Nodes that answer, this one among them. */
  nodes(): readonly NodeId[]
  /** Whether gossip has given a node up: dead, gone with a goodbye, or never heard of. */
  isGone(nodeId: NodeId): boolean
}

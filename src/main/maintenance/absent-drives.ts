/** Drives that take no new shards: those that are gone for good, and those that are only away (DESIGN §7). */
import type { DriveId } from '../../shared/ids.ts'
import { monotonicMs } from '../../shared/monotonic.ts'
import type { NodeRecord, ObjectMetadata } from '../metadata/contract.ts'
import type { PlacementDrive } from '../placement/erasure-code.ts'
import type { ClusterView } from './cluster-view.ts'

export interface AbsenceOptions {
  metadata: Pick<ObjectMetadata, 'nodes' | 'drives'>
  cluster: ClusterView
  /** How long a node must have been gone before its data is rebuilt elsewhere: a reboot costs nothing. */
  delayMs: number
  /** This process's monotonic clock, in milliseconds. @default monotonicMs */
  nowMs?: () => number
}

/** What the database and gossip know of the drives at one moment. */
export interface DriveLook {
  /** Of nodes that are gone for good. */
  gone: ReadonlySet<DriveId>
  /** That an operator declared lost. */
  lost: ReadonlySet<DriveId>
  /** All of them, with their places. */
  known: readonly PlacementDrive[]
}

/**
 * Gone are drives of nodes that gossip has given up and whose lease ended longer ago than the delay, by the database's
 * clock: two halves of a partition that both reach Postgres must not move each other's data.
 */
export async function lookAtDrives({ metadata, cluster, delayMs }: AbsenceOptions): Promise<DriveLook> {
  const nodes = new Map((await metadata.nodes()).map((node) => [node.nodeId, node]))
  const drives = await metadata.drives()
  const isGone = (node: NodeRecord | undefined): boolean =>
    node !== undefined && node.lease !== 'held' && node.awayMs >= delayMs && cluster.isGone(node.nodeId)
  return {
    gone: new Set(drives.filter(({ nodeId }) => isGone(nodes.get(nodeId))).map(({ driveId }) => driveId)),
    lost: new Set(drives.filter(({ state }) => state === 'lost').map(({ driveId }) => driveId)),
    known: drives.map(({ driveId, nodeId, totalBytes }) => ({ driveId, nodeId, zone: nodes.get(nodeId)?.zone ?? '', totalBytes })),
  }
}

/**
 * Which drives would take new shards if none were away for a while only. A node that is suspect, silent or dead counts until
 * it is gone for good. A node that answers says itself which of its drives are full or offline: those count for the delay,
 * since this process saw them last.
 */
export class StandingDrives {
  readonly #options: AbsenceOptions
  readonly #nowMs: () => number
  readonly #startedMs: number
  /** Drives as they were when they were last seen to take shards, and when that was. */
  readonly #seen = new Map<string, { drive: PlacementDrive; ms: number }>()

  constructor(options: AbsenceOptions) {
    this.#options = options
    this.#nowMs = options.nowMs ?? monotonicMs
    this.#startedMs = this.#nowMs()
  }

  /** Notes which drives take shards now. To be called now and then. */
  note(): void {
    for (const drive of this.#options.cluster.placeable()) this.#seen.set(drive.driveId, { drive, ms: this.#nowMs() })
  }

  /** They among `look.known`, and those that take shards now. */
  of({ gone, lost, known }: DriveLook): PlacementDrive[] {
    const { cluster, delayMs } = this.#options
    const placeable = cluster.placeable()
    const here = new Set(placeable.map(({ driveId }) => driveId))
    const answering = new Set<string>(cluster.nodes())
    const away = known.filter(({ driveId, nodeId }) => {
      if (here.has(driveId) || gone.has(driveId as DriveId) || lost.has(driveId as DriveId)) return false
      return !answering.has(nodeId) || this.#nowMs() - (this.#seen.get(driveId)?.ms ?? this.#startedMs) < delayMs
    })
    // what it announced last is what its slots were chosen by; the row may be older
    return [...placeable, ...away.map((drive) => this.#seen.get(drive.driveId)?.drive ?? drive)].toSorted((a, b) => (a.driveId < b.driveId ? -1 : 1))
  }
}

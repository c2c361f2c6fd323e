/**
 * Nodes that place blobs in groups, on one real database: each has a view of the drives of its own, writes rows as a gateway
 * does, says what its slots want with its lease, and does its part of the upkeep. No byte is written: the rows are the matter.
 */
import assert from 'node:assert/strict'
import type { BackgroundTask } from '../../../src/main/maintenance/background.ts'
import { groupUpkeep } from '../../../src/main/maintenance/groups-upkeep.ts'
import type { PlacementGroup } from '../../../src/main/metadata/contract.ts'
import type { PlacementDrive } from '../../../src/main/placement/erasure-code.ts'
import { PlacementGroups, type DriveView } from '../../../src/main/placement/groups.ts'
import { newBlobId, randomId, type BlobId, type BucketId, type DriveId, type NodeId, type PgId } from '../../../src/shared/ids.ts'
import { GIB } from '../../../src/shared/limits.ts'
import { blobRecord, type TestMetadata } from '../../support/metadata.ts'

const LEASE_MS = 600_000
/** Enough for any two views to differ in some, and quickly written. */
export const SLOTS = 24

/** The slot is the last 16 bits of the first 112. */
export const blobOfSlot = (slot: number): BlobId => {
  const id = newBlobId()
  return `${id.slice(0, 24)}${slot.toString(16).padStart(4, '0')}${id.slice(28)}` as BlobId
}

export interface PlacingOptions {
  t: TestMetadata
  bucketId: BucketId
  /** ANVIL_REPAIR_DELAY_SECS in milliseconds. */
  delayMs: number
  /** @default 0 */
  emptyForMs?: number
}

export class PlacingNode {
  readonly nodeId: NodeId
  readonly drives: readonly PlacementDrive[]
  readonly groups: PlacementGroups
  readonly upkeep: BackgroundTask
  readonly #options: PlacingOptions
  #view: DriveView = { version: 0, drives: [], everTwoDrives: true }
  /** Nodes that it sees; itself among them. */
  #sees: readonly PlacingNode[] = []
  #keys = 0

  constructor(options: PlacingOptions, name: string, driveCount: number) {
    const { t } = options
    this.#options = options
    this.nodeId = name as NodeId
    this.drives = Array.from({ length: driveCount }, () => ({ driveId: randomId<DriveId>(), nodeId: name, zone: '', totalBytes: GIB }))
    this.groups = new PlacementGroups({
      metadata: t.metadata, native: { setPg() {}, forgetPg() {} }, view: () => this.#view, erasureCode: 'auto', allowUnprotectedWrites: false,
    })
    this.upkeep = groupUpkeep({
      metadata: t.metadata, groups: this.groups, delayMs: options.delayMs, groupSealed() {}, changed() {}, emptyForMs: options.emptyForMs ?? 0, database: () => t.metadata.identity(),
      inUse: () => Promise.resolve(new Set(this.groups.inUse)),
      cluster: {
        processId: this.process, self: this.nodeId, freeBytes: () => 0, local: () => this.drives.map(({ driveId }) => driveId as DriveId), reachable: () => [], placeable: () => this.#view.drives,
        nodes: () => this.#sees.map(({ nodeId }) => nodeId), isGone: (nodeId) => !this.#sees.some((node) => node.nodeId === nodeId),
      },
    })
  }

  get process(): string {
    return `process of ${this.nodeId}`
  }

  async join(): Promise<void> {
    const { metadata } = this.#options.t
    await metadata.registerNode({ nodeId: this.nodeId, addrs: [], grpcAddr: '', zone: '', version: '' }, LEASE_MS)
    for (const { driveId, totalBytes } of this.drives) {
      await metadata.registerDrive({ driveId: driveId as DriveId, nodeId: this.nodeId, path: `/${driveId}`, totalBytes })
    }
    await this.renew()
  }

  /** From now on it sees these nodes alive, and of their drives all take shards but those that are `offline`. */
  sees(nodes: readonly PlacingNode[], offline: readonly string[] = []): void {
    this.#sees = nodes
    const drives = nodes.flatMap((node) => node.drives).filter(({ driveId }) => !offline.includes(driveId))
    this.#view = { version: this.#view.version + 1, drives, everTwoDrives: true }
  }

  async renew(): Promise<void> {
    const report = { askedMs: Date.now(), inUse: this.groups.inUse, wanted: [...this.groups.wanted()] }
    assert.ok(await this.#options.t.metadata.renewLease(this.nodeId, this.process, LEASE_MS, null, report))
  }

  /** Writes the row of a new blob in each of the first slots; the groups that they went to. */
  async write(slots = SLOTS): Promise<PgId[]> {
    const { t, bucketId } = this.#options
    const used = new Set<PgId>()
    await Promise.all(Array.from({ length: slots }, async (_, slot) => {
      const blobId = blobOfSlot(slot)
      const { group, release } = await this.groups.take(blobId)
      await t.metadata.put(blobRecord(bucketId, `${this.nodeId}/${this.#keys++}`, group.id, { blobId }), {}, [])
      release()
      used.add(group.id)
    }))
    return [...used].toSorted((a, b) => a - b)
  }
}

/** What all of these do within five seconds: leases are renewed, then groups are looked after. Twice, as a close follows a report. */
export async function upkeepOf(nodes: readonly PlacingNode[]): Promise<void> {
  const progress = { now: '', counters: {} }
  for (let times = 0; times < 2; times++) {
    for (const node of nodes) await node.renew()
    for (const node of nodes) await node.upkeep.round(progress, new AbortController().signal)
  }
}

export const idsOf = (groups: readonly PlacementGroup[]): PgId[] => groups.map(({ id }) => id).toSorted((a, b) => a - b)

/**
 * A group whose member dies and comes back, over real drives and a real Postgres, with background work of several nodes on
 * it: each node has a view of the cluster and a connection of its own, and stops where a test wants it to.
 */
import assert from 'node:assert/strict'
import pino from 'pino'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import type { BackgroundTask, Progress } from '../../../src/main/maintenance/background.ts'
import type { ClusterView } from '../../../src/main/maintenance/cluster-view.ts'
import { shardMoves, type MoveOptions } from '../../../src/main/maintenance/moves.ts'
import { orphanCollection, type OrphanOptions } from '../../../src/main/maintenance/orphans.ts'
import { RemovalGuard } from '../../../src/main/maintenance/removal-guard.ts'
import type { PlacementGroup } from '../../../src/main/metadata/contract.ts'
import type { DriveId, NodeId, PgId } from '../../../src/shared/ids.ts'
import { GIB } from '../../../src/shared/limits.ts'
import type { ShardRecord } from '../../../src/shared/native.ts'
import { bytes } from '../../support/bytes.ts'
import type { StorageRig } from '../../support/storage.ts'

export const silent = pino({ level: 'silent' })
/** Where all drives are that no test has taken to another node. */
export const HERE = 'node' as NodeId

export interface MaintenanceStage {
  rig: StorageRig
  bucket: Bucket
  /** Closed; all objects lie in groups of the first three drives, 1+2. */
  group: PlacementGroup
  groups: PlacementGroup[]
  /** The drive is one of this node, which has a lease or has lost it. */
  ofNode(driveId: DriveId, nodeId: NodeId, lease: 'held' | 'ended'): Promise<void>
  cluster(processId: string, gone: readonly NodeId[]): ClusterView
  moveOptions(processId: string, gone: readonly NodeId[]): MoveOptions
  moves(processId: string, gone: readonly NodeId[], more?: Partial<MoveOptions>): BackgroundTask
  orphans(more?: Partial<OrphanOptions>): BackgroundTask
  now(id?: PgId): Promise<PlacementGroup>
  shardsOn(driveId: DriveId): Promise<ShardRecord[]>
  readAll(): Promise<void>
}

/** @param rig whose drives and rows of earlier stages go: the addon, and with it what it knows of groups, is one of the process */
export async function setStage(rig: StorageRig, objectCount: number): Promise<MaintenanceStage> {
  const { native, metadata, groups } = rig
  for (const driveId of rig.online()) await rig.closeDrive(driveId)
  for (const table of ['objects', 'blobs', 'placement_groups', 'drives', 'nodes', 'repair_queue', 'condemned', 'leases']) await rig.database.sql(`DELETE FROM ${table}`)
  for (let i = 0; i < 3; i++) await rig.addDrive()
  const bucket = await rig.bucket()
  const objects = new Map(Array.from({ length: objectCount }, (_, i) => [`object${i}`, bytes(100_000 + i, i + 1)]))
  for (const [key, data] of objects) await rig.put(bucket, key, data)
  const made = await metadata.placementGroups()
  for (const { id } of made) {
    await metadata.closePlacementGroup(id)
    await groups.reload(id)
  }
  const now = async (id = made[0]!.id): Promise<PlacementGroup> => (await metadata.placementGroup(id))!
  const cluster = (processId: string, gone: readonly NodeId[]): ClusterView => ({
    processId, self: HERE, local: rig.online, reachable: rig.online, nodes: () => [HERE], isGone: (nodeId) => gone.includes(nodeId),
    placeable: () => rig.online().map((driveId) => ({ driveId, nodeId: HERE, zone: '', totalBytes: GIB })),
    freeBytes: () => GIB,
  })
  const moveOptions = (processId: string, gone: readonly NodeId[]): MoveOptions =>
    ({ native, metadata, groups, logger: silent, cluster: cluster(processId, gone), delayMs: 0, moved: () => {} })
  return {
    rig, bucket, moveOptions, group: await now(), groups: await metadata.placementGroups({ states: ['closed'] }), now, cluster,
    async ofNode(driveId, nodeId, lease) {
      await metadata.registerNode({ nodeId, addrs: [], grpcAddr: '', zone: '', version: '' }, 0)
      await metadata.registerDrive({ driveId, nodeId, path: `/${nodeId}`, totalBytes: GIB })
      if (lease === 'held') assert.ok(await metadata.renewLease(nodeId, 'the other process', 600_000, null))
      else await metadata.releaseLease(nodeId, 'the other process')
    },
    moves: (processId, gone, more = {}) => shardMoves({ ...moveOptions(processId, gone), ...more }),
    orphans: (more = {}) => orphanCollection({
      native, metadata, groups, drives: rig.online, reachable: rig.online, processId: 'collector', minAgeMs: -1000,
      guard: new RemovalGuard({ native, metadata, drives: rig.online }), ...more,
    }),
    shardsOn: async (driveId) => (await native.listShards(driveId, null, 10_000, Date.now() + 1000)).shards,
    async readAll() {
      for (const [key, data] of objects) assert.deepEqual(await rig.get(bucket, key), data, key)
    },
  }
}

/** Rounds until there is nothing more to do. */
export async function run(task: BackgroundTask): Promise<Record<string, number>> {
  const progress: Progress = { now: '', counters: {} }
  for (let rounds = 0; await task.round(progress, new AbortController().signal); rounds++) assert.ok(rounds < 100, `${task.name} finds no end`)
  return progress.counters
}

/** Something that gets to a certain point, and goes on when it is let. */
export class Gate {
  readonly #reached = Promise.withResolvers<void>()
  readonly #open = Promise.withResolvers<void>()

  /** Resolves when the work waits at it. @throws Error if it ended without */
  async reachedBy(work: Promise<unknown>): Promise<void> {
    const passedBy = work.then((outcome) => Promise.reject(new Error(`it never came there: ${String(outcome)}`)))
    await Promise.race([this.#reached.promise, passedBy])
    passedBy.catch(() => undefined) // once somebody waits here, whoever awaits the work hears of its end
  }

  pass(): Promise<void> {
    this.#reached.resolve()
    return this.#open.promise
  }

  open(): void {
    this.#open.resolve()
  }
}

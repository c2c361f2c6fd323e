/**
 * Re-encodes what lies in groups that protect less than the drives now allow (DESIGN §7): written with fewer drives, or with
 * members that are gone for good and that no other drive can stand in for (`remedyFor` decides). New shards in an open
 * group, then a compare-and-set of the group in the blob's row.
 */
import type { Logger } from 'pino'
import type { BlobId, BucketId, DriveId, NodeId, PgId } from '../../shared/ids.ts'
import type { Native } from '../../shared/native.ts'
import type { BlobRow, DatabaseIdentity, ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { remedyFor } from '../placement/remedy.ts'
import { count, type BackgroundTask, type Progress } from './background.ts'
import type { ClusterView } from './cluster-view.ts'
import { DriveSituations, type Situation } from './drive-situation.ts'
import { storedBytes } from './repair.ts'
import { Room } from './room.ts'
import { isMine } from './shares.ts'

export interface ReencodingOptions {
  native: Pick<Native, 'reencodeBlob'>
  metadata: Pick<ObjectMetadata, 'identity' | 'nodes' | 'drives' | 'placementGroups' | 'blobsOfGroup' | 'blob' | 'moveBlob'>
  groups: PlacementGroups
  cluster: ClusterView
  logger: Logger
  /** How long a node must have been gone before its data is re-encoded without it: a reboot costs nothing. */
  delayMs: number
  /** Blobs of one round. @default 100 */
  batch?: number
}

export interface Reencoding extends BackgroundTask {
  /** Groups that would be protected better, if the drives had room for it, and a drive that has none; for a while after it was tried. */
  readonly noRoom: ReadonlyMap<PgId, DriveId>
}

const IDLE_MS = 5000
const BATCH = 100
const CONCURRENCY = 4
/** Room comes back as old shards are collected: how soon a group is tried again that found none. */
const ROOM_AGAIN_MS = 30_000
/** Groups of other nodes that one round looks at for room: each node asks the database about them. */
const OTHERS_LOOKED_AT = 20

/** A pass looks at each blob once, so that those which cannot be moved now do not stand before the others. */
class Pass {
  readonly reached = new Map<PgId, { bucketId: BucketId; blobId: BlobId }>()
  readonly done = new Set<PgId>()
  readonly room: Room

  constructor(cluster: ClusterView) {
    this.room = new Room(cluster)
  }
}

export function reencoding(options: ReencodingOptions): Reencoding {
  const { metadata, groups, cluster, batch = BATCH } = options
  const noRoom = new Map<PgId, DriveId>()
  /** Groups that were looked at for room, and when. */
  const roomSeenMs = new Map<PgId, number>()
  const situations = new DriveSituations(options)
  /** Closed groups that hold nothing: they are deleted. */
  const emptied = new Set<PgId>()
  let pass = new Pass(cluster)

  const needy = async (situation: Situation): Promise<PlacementGroup[]> => {
    const reachable = new Set(cluster.reachable())
    const closed = await metadata.placementGroups({ states: ['closed'] })
    const there = new Set(closed.map(({ id }) => id))
    for (const id of emptied) if (!there.has(id)) emptied.delete(id)
    return closed
      .filter((group) => !emptied.has(group.id) && remedyFor(group, situation).kind === 're-encode' && group.members.filter((driveId) => reachable.has(driveId)).length >= group.k)
      .sort((a, b) => shardsToSpare(a, situation) - shardsToSpare(b, situation))
  }
  /** Every node says of the neediest groups which find no room, whoever re-encodes them: people ask any of them. */
  const lookForRoom = async (group: PlacementGroup): Promise<void> => {
    roomSeenMs.set(group.id, performance.now())
    const [row] = (await metadata.blobsOfGroup(group.id, null, batch)).filter(({ references }) => references > 0)
    const full = row === undefined ? null : await fullDrive(options, new Room(cluster), row)
    if (full === null) noRoom.delete(group.id)
    else noRoom.set(group.id, full)
  }

  return {
    name: 're-encoding',
    idleMs: IDLE_MS,
    noRoom,
    async round(progress, signal) {
      if (groups.code === null) return false
      const database = await metadata.identity()
      const situation = await situations.now()
      const candidates = await needy(situation)
      const ids = new Set(candidates.map(({ id }) => id))
      for (const id of [...roomSeenMs.keys()].filter((one) => !ids.has(one))) {
        roomSeenMs.delete(id)
        noRoom.delete(id)
      }
      let more = false
      let others = 0
      for (const group of candidates) {
        if (pass.done.has(group.id)) continue
        const mine = isMine(cluster, group.id)
        const due = performance.now() - (roomSeenMs.get(group.id) ?? -Infinity) > ROOM_AGAIN_MS
        if (due && (mine || others++ < OTHERS_LOOKED_AT)) await lookForRoom(group)
        if (noRoom.has(group.id) || !mine) continue
        await groups.ensure(group.id)
        const rows = await metadata.blobsOfGroup(group.id, pass.reached.get(group.id) ?? null, batch)
        const last = rows.at(-1)
        if (last === undefined && !pass.reached.has(group.id)) emptied.add(group.id)
        if (rows.length < batch || last === undefined) pass.done.add(group.id)
        else pass.reached.set(group.id, last)
        // what has no reference waits for the garbage collector
        const wanted = rows.filter((row) => row.references > 0)
        more ||= !pass.done.has(group.id)
        if (wanted.length === 0) continue
        progress.now = `group ${group.id} (${group.k}+${group.m}) into ${situation.code!.k}+${situation.code!.m}: ${candidates.length} groups are to be re-encoded`
        const full = await new Batch({ options, room: pass.room, from: group, situation, database, progress, signal }).run(wanted)
        if (full !== null) {
          pass.done.add(group.id)
          noRoom.set(group.id, full)
        }
        return true
      }
      if (more) return true
      pass = new Pass(cluster)
      return false
    },
  }
}

/** How many more drives the group may lose: the least first. */
const shardsToSpare = (group: PlacementGroup, { gone, lost }: Situation): number =>
  group.m - group.members.filter((driveId) => gone.has(driveId) || lost.has(driveId)).length

/** A drive that has no room for a shard of this blob, in the group that it would go to. */
async function fullDrive({ groups }: ReencodingOptions, room: Room, row: BlobRow): Promise<DriveId | null> {
  const { group, release } = await groups.take(row.blobId)
  release()
  return room.take(group.members, row.size / group.k)
}

interface BatchInput {
  options: ReencodingOptions
  room: Room
  from: PlacementGroup
  /** What it was decided on. */
  situation: Situation
  database: DatabaseIdentity
  progress: Progress
  signal: AbortSignal
}

/** Some blobs of one group. */
class Batch {
  readonly #input: BatchInput
  /** The nodes of the group's dead members. */
  readonly #goneNodes: readonly NodeId[]
  #full: DriveId | null = null

  constructor(input: BatchInput) {
    this.#input = input
    const { gone, known } = input.situation
    this.#goneNodes = input.from.members.filter((driveId) => gone.has(driveId)).map((driveId) => known.get(driveId)!.nodeId as NodeId)
  }

  /** Resolves with a drive that had no room: then not all was tried. */
  async run(rows: readonly BlobRow[]): Promise<DriveId | null> {
    const { options, progress } = this.#input
    const queue = [...rows]
    const worker = async (): Promise<void> => {
      for (let row = queue.shift(); row !== undefined && this.#goesOn(); row = queue.shift()) {
        try {
          if (!(await this.#reencode(row))) continue
          count(progress, 'blobs')
          count(progress, 'bytes', row.size)
        } catch (error) {
          count(progress, 'failures')
          options.logger.warn({ err: error, blob: row.blobId, pg: row.pgId }, 'a blob could not be re-encoded, trying again later')
        }
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, worker))
    return this.#full
  }

  /** A batch may take hours: a node that is back meanwhile keeps what it has. */
  #goesOn(): boolean {
    const { options: { cluster }, signal } = this.#input
    return !signal.aborted && this.#full === null && this.#goneNodes.every((nodeId) => cluster.isGone(nodeId))
  }

  async #reencode(row: BlobRow): Promise<boolean> {
    const { options: { native, metadata, groups }, situation: { code }, database, room } = this.#input
    const { bucketId, blobId, pgId } = row
    const { group, release } = await groups.take(blobId)
    try {
      // the code may have changed since the batch began: then it is decided anew
      if (group.id === pgId || group.k !== code?.k || group.m !== code.m) return false
      this.#full ??= room.take(group.members, row.size / group.k)
      if (this.#full !== null) return false
      const left = await native.reencodeBlob(storedBytes(row), group.id)
      const missing = left.map((index) => ({ blobId, pgId: group.id, index }))
      if (await metadata.moveBlob(bucketId, blobId, pgId, group.id, missing, database)) return true
      // The new shards are orphans now and collected as such. Either the blob is gone, or its new group does not take it:
      // closed, or the pair condemned after an earlier try that was cut. Then only another group will.
      const now = await metadata.blob(bucketId, blobId)
      if (now !== null && now.references > 0 && now.pgId === pgId) await groups.retire(group.id)
      return false
    } finally {
      release()
    }
  }
}

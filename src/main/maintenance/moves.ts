/**
 * Moves shards of closed groups away from drives whose node is gone for good (DESIGN §7, §13 rules 5 and 6): the intent is
 * written into the group's row before the first byte, the work list is taken after that, each shard is rebuilt on the
 * newcomer under the new generation, and only then the member is replaced by compare-and-set. What the old drive holds
 * is its own business when it comes back: it is no member any more (orphans.ts).
 */
import type { Logger } from 'pino'
import type { BlobId, BucketId, DriveId, PgId } from '../../shared/ids.ts'
import { nativeErrorKind, type Native } from '../../shared/native.ts'
import type { BlobRow, DatabaseIdentity, DriveRecord, NodeRecord, ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { replacementFor } from '../placement/replacement.ts'
import { count, type BackgroundTask, type Progress } from './background.ts'
import type { ClusterView } from './cluster-view.ts'
import { storedBytes } from './repair.ts'
import { isMine } from './shares.ts'

export interface MoveOptions {
  native: Pick<Native, 'rebuildShardOn' | 'hasShard'>
  metadata: Pick<ObjectMetadata,
    'identity' | 'nodes' | 'drives' | 'placementGroups' | 'placementGroup' | 'beginMove' | 'replaceMember' | 'blobsOfGroup' | 'lease' | 'reportDamage'>
  groups: Pick<PlacementGroups, 'reload'>
  cluster: ClusterView
  logger: Logger
  /** How long a node must have been gone before its data is rebuilt elsewhere: a reboot costs nothing. */
  delayMs: number
  /** Called when a group has another member: others are told. */
  moved(pgId: PgId): void
  /** Blobs of one page of a work list. @default 200 */
  batch?: number
}

const IDLE_MS = 5000
const BATCH = 200
const CONCURRENCY = 4
const LEASE_MS = 30_000

/** One member of a group that is to be replaced. */
interface Move {
  group: PlacementGroup
  index: number
  from: DriveId
  to: DriveId
}

export function shardMoves(options: MoveOptions): BackgroundTask {
  const { metadata, cluster, logger, delayMs } = options
  return {
    name: 'moves',
    idleMs: IDLE_MS,
    async round(progress, signal) {
      const database = await metadata.identity()
      const gone = await goneDrives(metadata, cluster, delayMs)
      if (gone.size === 0) return false
      const waiting = (await metadata.placementGroups({ states: ['closed'] })).filter((group) => group.members.some((driveId) => gone.has(driveId)))
      let moved = false
      let left = 0
      for (const group of waiting) {
        if (signal.aborted) return false
        const move = planMove(group, gone, cluster)
        if (move === null) {
          left++
          continue
        }
        if (!isMine(cluster, group.id)) continue
        progress.now = `group ${group.id}, shard ${move.index}: ${waiting.length} groups have members on drives that are gone`
        try {
          moved = (await moveShards(options, move, database, progress, signal)) || moved
        } catch (error) {
          count(progress, 'failures')
          logger.warn({ err: error, pg: group.id, index: move.index }, 'a shard could not be moved, trying again later')
        }
      }
      if (left > 0) progress.now = `${left} groups have a member on a drive that is gone, and there is no other drive for it`
      return moved
    },
  }
}

/**
 * Drives of nodes that gossip has given up and whose lease ended longer ago than the delay, by the database's clock: two
 * halves of a partition that both reach Postgres must not move each other's data.
 */
async function goneDrives(
  metadata: Pick<ObjectMetadata, 'nodes' | 'drives'>, cluster: Pick<ClusterView, 'isGone'>, delayMs: number,
): Promise<ReadonlyMap<DriveId, DriveRecord>> {
  const isGone = (node: NodeRecord): boolean => node.lease !== 'held' && node.awayMs >= delayMs && cluster.isGone(node.nodeId)
  const nodes = new Set((await metadata.nodes()).filter(isGone).map((node) => node.nodeId))
  if (nodes.size === 0) return new Map()
  return new Map((await metadata.drives()).filter((drive) => nodes.has(drive.nodeId)).map((drive) => [drive.driveId, drive]))
}

function planMove(group: PlacementGroup, gone: ReadonlyMap<DriveId, DriveRecord>, cluster: ClusterView): Move | null {
  const placeable = cluster.placeable()
  // a move that somebody began goes on to the same drive, as long as that takes shards
  const { incoming } = group
  if (incoming !== null && gone.has(group.members[incoming.index]!) && placeable.some((drive) => drive.driveId === incoming.drive)) {
    return { group, index: incoming.index, from: group.members[incoming.index]!, to: incoming.drive }
  }
  const index = group.members.findIndex((driveId) => gone.has(driveId))
  const to = replacementFor(group, index, placeable, placeable)
  return to === null ? null : { group, index, from: group.members[index]!, to: to as DriveId }
}

/** One member of one group; true when it was replaced. */
async function moveShards(options: MoveOptions, { group, index, from, to }: Move, database: DatabaseIdentity, progress: Progress, signal: AbortSignal): Promise<boolean> {
  const { metadata, groups, cluster, logger, batch = BATCH } = options
  const renew = (): Promise<boolean> => metadata.lease(`move of group ${group.id}`, cluster.processId, LEASE_MS)
  if (!(await renew())) return false
  const begun = await metadata.beginMove(group.id, index, to, group.generation)
  if (begun === null) return false
  // from here on this node's requests carry the new generation, and so does the first write to the newcomer
  await groups.reload(group.id)
  for (let after: { bucketId: BucketId; blobId: BlobId } | null = null; ;) {
    const rows: BlobRow[] = await metadata.blobsOfGroup(group.id, after, batch)
    await rebuildAll(options, rows.filter((row) => row.references > 0), index, to, progress, signal)
    if (signal.aborted || !(await renew())) return false
    if (rows.length < batch) break
    after = rows.at(-1)!
  }
  if (!(await metadata.replaceMember(group.id, index, from, to, begun.generation, database))) return false
  await groups.reload(group.id)
  options.moved(group.id)
  count(progress, 'members replaced')
  logger.info({ pg: group.id, index, from, to }, 'a member of a placement group was replaced')
  return true
}

async function rebuildAll(
  { native, metadata }: MoveOptions, rows: readonly BlobRow[], index: number, to: DriveId, progress: Progress, signal: AbortSignal,
): Promise<void> {
  const queue = [...rows]
  const worker = async (): Promise<void> => {
    for (let row = queue.shift(); row !== undefined && !signal.aborted; row = queue.shift()) {
      const { bucketId, blobId, pgId } = row
      try {
        if (await native.hasShard(to, { bucketId, blobId, pgId, index })) continue
        await native.rebuildShardOn(storedBytes(row), index, to)
        count(progress, 'shards')
        count(progress, 'bytes', row.size)
      } catch (error) {
        if (nativeErrorKind(error) !== 'ShardsUnavailable') {
          // the others stop: the move begins again later
          queue.length = 0
          throw error
        }
        // fewer than k are left of this one, for now: it must not keep the others from being protected again
        await metadata.reportDamage([{ bucketId, blobId, pgId, index, reason: 'drive-lost' }])
        count(progress, 'shards left to repair')
      }
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
}

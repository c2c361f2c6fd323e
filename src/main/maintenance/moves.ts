/**
 * Moves shards of closed groups away from drives whose node is gone for good (DESIGN §7, §13 rules 5 and 6): the intent is
 * written into the group's row and told to the newcomer before the first byte, the work list is taken after that, each
 * shard is rebuilt on the newcomer under the new generation, and only then the member is replaced by compare-and-set. An
 * intent whose member is back is given up. A group that holds nothing does not move, it is deleted (empty-groups.ts). What
 * the old drive holds is its own business when it comes back: it is no member any more (orphans.ts).
 */
import type { Logger } from 'pino'
import type { BlobId, BucketId, DriveId, PgId } from '../../shared/ids.ts'
import { nativeErrorKind, type Native } from '../../shared/native.ts'
import type { BlobRow, DatabaseIdentity, ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { remedyFor } from '../placement/remedy.ts'
import { count, type BackgroundTask, type Progress } from './background.ts'
import type { ClusterView } from './cluster-view.ts'
import { DriveSituations, type Situation } from './drive-situation.ts'
import { EmptyClosedGroups } from './empty-groups.ts'
import { storedBytes } from './repair.ts'
import { isMine } from './shares.ts'
import { tellGeneration } from './shard-removal.ts'

export interface MoveOptions {
  native: Pick<Native, 'rebuildShardOn' | 'hasShards' | 'deleteShards'>
  metadata: Pick<ObjectMetadata,
    'identity' | 'nodes' | 'drives' | 'placementGroups' | 'beginMove' | 'giveUpMove' | 'replaceMember' | 'blobsOfGroup' | 'lease' | 'reportDamage'>
  groups: Pick<PlacementGroups, 'reload' | 'code' | 'codeOf' | 'winners'>
  cluster: ClusterView
  logger: Logger
  /** How long a node must have been gone before its data is rebuilt elsewhere: a reboot costs nothing. */
  delayMs: number
  /** Whether re-encoding has lately found no room for what lies in a group. @default it has not been tried */
  noRoom?(pgId: PgId): boolean
  /** Called when a group has another member: others are told. */
  moved(pgId: PgId): void
  /** Blobs of one page of a work list. @default 200 */
  batch?: number
  /** How long one node is the only mover of a group, renewed while it works. @default 30 s */
  leaseMs?: number
}

const IDLE_MS = 5000
const BATCH = 200
const CONCURRENCY = 4
const LEASE_MS = 30_000

/** One member of a group that is to be replaced. */
export interface Move {
  group: PlacementGroup
  index: number
  from: DriveId
  to: DriveId
}

export function shardMoves(options: MoveOptions): BackgroundTask {
  const { metadata, cluster, logger } = options
  const situations = new DriveSituations(options)
  const emptied = new EmptyClosedGroups(metadata)
  return {
    name: 'moves',
    idleMs: IDLE_MS,
    async round(progress, signal) {
      const database = await metadata.identity()
      await giveUpNeedless(options, emptied, progress)
      const first = await situations.now()
      const { gone } = first
      if (gone.size === 0) {
        emptied.clear()
        return false
      }
      const waiting = (await metadata.placementGroups({ states: ['closed'] })).filter((group) => group.members.some((driveId) => gone.has(driveId)))
      let moved = false
      let left = 0
      for (const group of waiting) {
        if (signal.aborted) return false
        if (planMove(options, group, first) === null) {
          if (remedyFor(group, first, options.noRoom?.(group.id)).kind === 'none') left++
          continue
        }
        if (!isMine(cluster, group.id) || (await emptied.has(group.id))) continue
        // anew for each group: the ones before may have taken hours, and a node that is back keeps what it has
        const move = planMove(options, group, await situations.now())
        if (move === null) continue
        progress.now = `group ${group.id}, shard ${move.index}: ${waiting.length} groups have members on drives that are gone`
        try {
          moved = (await moveShards(options, move, database, progress, signal)) || moved
        } catch (error) {
          count(progress, 'failures')
          logger.warn({ err: error, pg: group.id, index: move.index }, 'a shard could not be moved, trying again later')
        }
      }
      if (left > 0) progress.now = `${left} groups have a member on a drive that is gone, and the drives that are left can do no better`
      return moved
    },
  }
}

/** Ends moves that were begun and are not needed any more: what lies on the drive that was to come is collected then. */
async function giveUpNeedless({ metadata, groups, cluster, logger, moved }: MoveOptions, emptied: EmptyClosedGroups, progress: Progress): Promise<void> {
  const begun = (await metadata.placementGroups({ states: ['closed'], incoming: true })).filter(({ id }) => isMine(cluster, id))
  if (begun.length === 0) return
  const back = new Set((await metadata.nodes()).filter((node) => node.lease === 'held' && !cluster.isGone(node.nodeId)).map(({ nodeId }) => nodeId))
  const there = new Set((await metadata.drives()).filter(({ nodeId, state }) => state === 'active' && back.has(nodeId)).map(({ driveId }) => driveId))
  for (const { id, generation, members, incoming } of begun) {
    const needless = there.has(members[incoming!.index]!) || (await emptied.has(id))
    if (!needless || !(await metadata.giveUpMove(id, generation))) continue
    await groups.reload(id)
    moved(id)
    count(progress, 'moves given up')
    logger.info({ pg: id, ...incoming }, 'a move was given up: the member is back, or the group holds nothing')
  }
}

/** The move that a group wants; null when it wants none, or is better re-encoded (`remedyFor`). */
function planMove(options: MoveOptions, group: PlacementGroup, situation: Situation): Move | null {
  const { gone, placeable } = situation
  // a move that somebody began goes on to the same drive, as long as that takes shards
  const { incoming } = group
  if (incoming !== null && gone.has(group.members[incoming.index]!) && placeable.some((drive) => drive.driveId === incoming.drive)) {
    return { group, index: incoming.index, from: group.members[incoming.index]!, to: incoming.drive }
  }
  const remedy = remedyFor(group, situation, options.noRoom?.(group.id))
  if (remedy.kind !== 'move') return null
  return { group, index: remedy.index, from: group.members[remedy.index]!, to: remedy.to as DriveId }
}

/** One member of one group; true when it was replaced. */
export async function moveShards(options: MoveOptions, move: Move, database: DatabaseIdentity, progress: Progress, signal: AbortSignal): Promise<boolean> {
  const { metadata, cluster, leaseMs = LEASE_MS } = options
  const renew = (): Promise<boolean> => metadata.lease(`move of group ${move.group.id}`, cluster.processId, leaseMs)
  if (!(await renew())) return false
  // large blobs take longer than the lease; a renewal that fails costs nothing but economy
  const renewal = setInterval(() => void renew().catch(() => false), leaseMs / 3)
  try {
    return await replaceMember(options, move, database, progress, signal)
  } finally {
    clearInterval(renewal)
  }
}

async function replaceMember(
  options: MoveOptions, { group, index, from, to }: Move, database: DatabaseIdentity, progress: Progress, signal: AbortSignal,
): Promise<boolean> {
  const { native, metadata, groups, logger, batch = BATCH } = options
  const begun = await metadata.beginMove(group.id, index, to, group.generation)
  if (begun === null) return false
  // From here on this node's requests carry the new generation. The newcomer is told before it is asked what it has: it may
  // have been a member once, and a collector that judged it before the intent must not remove what is counted on now.
  await groups.reload(group.id)
  await tellGeneration(native, to, begun)
  for (let after: { bucketId: BucketId; blobId: BlobId } | null = null; ;) {
    const rows: BlobRow[] = await metadata.blobsOfGroup(group.id, after, batch)
    await rebuildAll(options, { group, index, from, to }, rows.filter((row) => row.references > 0), progress, signal)
    if (signal.aborted) return false
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
  { native, metadata, cluster }: MoveOptions, { group, index, to }: Move, rows: readonly BlobRow[], progress: Progress, signal: AbortSignal,
): Promise<void> {
  const held = await native.hasShards(to, rows.map(({ bucketId, blobId, pgId }) => ({ bucketId, blobId, pgId, index })))
  const queue = rows.filter((_, i) => !held[i])
  const others = group.members.filter((_, at) => at !== index)
  const enoughAnswer = (): boolean => {
    const reachable = new Set(cluster.reachable())
    return others.filter((driveId) => reachable.has(driveId)).length >= group.k
  }
  const worker = async (): Promise<void> => {
    for (let row = queue.shift(); row !== undefined && !signal.aborted; row = queue.shift()) {
      const { bucketId, blobId, pgId } = row
      try {
        await native.rebuildShardOn(storedBytes(row), index, to)
        count(progress, 'shards')
        count(progress, 'bytes', row.size)
      } catch (error) {
        if (nativeErrorKind(error) !== 'ShardsUnavailable' || !enoughAnswer()) {
          // The others stop: the move begins again later. While fewer than k members answer, the one that is gone may be
          // what is needed when it comes back.
          queue.length = 0
          throw error
        }
        // fewer than k are left of this one alone: it must not keep the others from being protected again
        await metadata.reportDamage([{ bucketId, blobId, pgId, index, reason: 'drive-lost' }])
        count(progress, 'shards left to repair')
      }
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
}

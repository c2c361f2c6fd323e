/**
 * Collects what no row names: shards of writes whose commit never came, or of blobs that were re-encoded (DESIGN §13,
 * rule 2). Each drive asks for its own old records by primary key; suspects are condemned first, judged after every
 * transaction that could still commit them has ended, and only then removed.
 */
import type { BlobId, BucketId, DriveId, PgId } from '../../shared/ids.ts'
import type { Native, ShardRecord } from '../../shared/native.ts'
import type { BlobRow, ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { count, type BackgroundTask } from './background.ts'
import type { RemovalGuard } from './removal-guard.ts'
import { lostDrives } from './shard-removal.ts'

export interface OrphanOptions {
  native: Native
  metadata: ObjectMetadata
  groups: PlacementGroups
  guard: RemovalGuard
  drives(): DriveId[]
  /** Only records older than this are looked at. It decides when to try, never whether to remove. */
  minAgeMs: number
}

const PAGE = 1000
const IDLE_MS = 60_000

interface Pair {
  bucketId: BucketId
  blobId: BlobId
  pgId: PgId
}

const pairKey = (pair: { blobId: string; pgId: number }): string => `${pair.blobId}/${pair.pgId}`

export function orphanCollection(options: OrphanOptions): BackgroundTask {
  const { native, metadata, groups, guard, drives } = options
  const cursors = new Map<DriveId, string | null>()
  return {
    name: 'orphan collection',
    idleMs: IDLE_MS,
    async round(progress) {
      const database = await guard.database()
      if (database === null) {
        progress.now = `paused: ${guard.reason}`
        return false
      }
      let more = false
      for (const driveId of drives()) {
        progress.now = `drive ${driveId}`
        const page = await native.listShards(driveId, cursors.get(driveId) ?? null, PAGE, Date.now() - options.minAgeMs)
        cursors.set(driveId, page.cursor)
        more ||= page.cursor !== null
        count(progress, 'records looked at', page.shards.length)
        const suspects = await suspectsOf(metadata, page.shards)
        if (suspects.length === 0) continue
        const pairs = uniquePairs(suspects)
        await metadata.condemn(pairs)
        const removable = new Set((await metadata.judgeCondemned(pairs, database)).map(pairKey))
        const shards: ShardRecord[] = []
        const generations: number[] = []
        for (const shard of suspects.filter((suspect) => removable.has(pairKey(suspect)))) {
          const group = await groups.find(shard.pgId as PgId)
          if (group === null) {
            // of a database that this one does not know: for people to look at
            count(progress, 'shards of unknown groups')
            continue
          }
          shards.push(shard)
          generations.push(group.generation)
        }
        await native.deleteShards(driveId, shards.map(({ bucketId, blobId, pgId, index }) => ({ bucketId, blobId, pgId, index })), generations)
        count(progress, 'shards removed', shards.length)
      }
      if (!more) await forgetDone(options)
      return more
    },
  }
}

/** Records whose blob has no row, or whose row names another group. */
async function suspectsOf(metadata: ObjectMetadata, shards: ShardRecord[]): Promise<ShardRecord[]> {
  const byBucket = new Map<number, ShardRecord[]>()
  for (const shard of shards) {
    const list = byBucket.get(shard.bucketId)
    if (list === undefined) byBucket.set(shard.bucketId, [shard])
    else list.push(shard)
  }
  const suspects: ShardRecord[] = []
  for (const [bucketId, list] of byBucket) {
    const rows = await metadata.blobs(bucketId as BucketId, list.map((shard) => shard.blobId as BlobId))
    list.forEach((shard, i) => {
      if (isSuspect(shard, rows[i] ?? null)) suspects.push(shard)
    })
  }
  return suspects
}

const isSuspect = (shard: ShardRecord, row: BlobRow | null): boolean => row === null || row.pgId !== shard.pgId

function uniquePairs(shards: ShardRecord[]): Pair[] {
  const pairs = new Map<string, Pair>()
  for (const { bucketId, blobId, pgId } of shards) {
    pairs.set(pairKey({ blobId, pgId }), { bucketId: bucketId as BucketId, blobId: blobId as BlobId, pgId: pgId as PgId })
  }
  return [...pairs.values()]
}

/**
 * Condemned rows stay until their group is closed (no commit can come any more) and no drive holds a shard of them. A drive
 * that was declared lost never comes back.
 */
async function forgetDone({ native, metadata, groups, drives }: OrphanOptions): Promise<void> {
  const here = new Set(drives())
  const lost = await lostDrives(metadata)
  for (let page = await metadata.condemned(PAGE); page.length > 0; page = await metadata.condemned(PAGE, page.at(-1))) {
    const closed = new Map<PgId, PlacementGroup | null>()
    for (const { pgId } of page) {
      if (closed.has(pgId)) continue
      const group = await groups.refresh(pgId)
      closed.set(pgId, group?.state === 'closed' ? group : null)
    }
    const done: Pair[] = []
    for (const pair of page) {
      const group = closed.get(pair.pgId) ?? null
      if (group === null || !group.members.every((driveId) => here.has(driveId) || lost.has(driveId))) continue
      const left = await Promise.all(group.members.map(async (driveId, index) => !lost.has(driveId) && (await native.hasShard(driveId, { ...pair, index }))))
      if (!left.includes(true)) done.push(pair)
    }
    await metadata.forgetCondemned(done)
    if (page.length < PAGE) return
  }
}

/**
 * The life of placement groups (DESIGN §7): seals those that no slot wants any more or that are full, closes sealed ones
 * without an upload, and re-encodes what lies in groups that protect less than the drives now allow, or that name a drive
 * which is gone for good.
 */
import type { Logger } from 'pino'
import type { DriveId, PgId } from '../../shared/ids.ts'
import { PG_SEAL_BYTES } from '../../shared/limits.ts'
import type { Native } from '../../shared/native.ts'
import type { BlobRow, DatabaseIdentity, ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import type { ErasureCode } from '../placement/erasure-code.ts'
import { memberKey, type PlacementGroups } from '../placement/groups.ts'
import { count, type BackgroundTask, type Progress } from './background.ts'
import { storedBytes } from './repair.ts'
import { lostDrives } from './shard-removal.ts'

export interface UpkeepOptions {
  metadata: ObjectMetadata
  groups: PlacementGroups
  /** Groups with an upload in any thread of this process. */
  inUse(): Promise<ReadonlySet<PgId>>
  /** Called before `inUse` for each group that was sealed: a thread that then answers takes no new uploads into it. */
  groupSealed(): void
}

export interface ReencodingOptions {
  native: Native
  metadata: ObjectMetadata
  groups: PlacementGroups
  logger: Logger
}

const UPKEEP_MS = 5000

export function groupUpkeep({ metadata, groups, inUse, groupSealed }: UpkeepOptions): BackgroundTask {
  return {
    name: 'placement groups',
    idleMs: UPKEEP_MS,
    async round(progress) {
      const wanted = groups.wanted()
      for (const group of await metadata.placementGroups({ states: ['open'] })) {
        if (wanted.has(memberKey(group.k, group.m, group.members)) && group.bytes < PG_SEAL_BYTES) continue
        await metadata.sealPlacementGroup(group.id)
        groups.resetSlots()
        groupSealed()
        count(progress, 'sealed')
      }
      const busy = await inUse()
      for (const group of await metadata.placementGroups({ states: ['sealed'] })) {
        if (busy.has(group.id)) continue
        await metadata.closePlacementGroup(group.id)
        count(progress, 'closed')
      }
      return false
    },
  }
}

const REENCODE_IDLE_MS = 5000
const BATCH = 100
const CONCURRENCY = 4

/** Whether a group protects less than `code` does: fewer losses survived first, then fewer data shards. */
const narrower = (group: PlacementGroup, code: ErasureCode): boolean =>
  group.m < code.m || (group.m === code.m && group.k < code.k)

export function reencoding(options: ReencodingOptions): BackgroundTask {
  const { metadata, groups } = options
  return {
    name: 're-encoding',
    idleMs: REENCODE_IDLE_MS,
    async round(progress, signal) {
      const code = groups.code
      if (code === null) return false
      const database = await metadata.identity()
      const lost = await lostDrives(metadata)
      const candidates = (await metadata.placementGroups({ states: ['closed'] }))
        .filter((group) => narrower(group, code) || group.members.some((driveId) => lost.has(driveId)))
        .sort((a, b) => redundancyLeft(a, lost) - redundancyLeft(b, lost))
      for (const group of candidates) {
        if (signal.aborted) return false
        await groups.ensure(group.id)
        if (await reencodeSome(options, group, database, progress, signal)) return true
      }
      return false
    },
  }
}

/** How many more drives the group may lose: the least first. */
const redundancyLeft = (group: PlacementGroup, lost: ReadonlySet<DriveId>): number =>
  group.m - group.members.filter((driveId) => lost.has(driveId)).length

/** Re-encodes the next blobs of a group. True if there was one that could be moved. */
async function reencodeSome(
  options: ReencodingOptions, group: PlacementGroup, database: DatabaseIdentity, progress: Progress, signal: AbortSignal,
): Promise<boolean> {
  const rows = await options.metadata.blobsOfGroup(group.id, null, BATCH)
  if (rows.length === 0) return false
  progress.now = `group ${group.id} (${group.k}+${group.m})`
  let moved = 0
  const queue = [...rows]
  const worker = async (): Promise<void> => {
    for (let row = queue.shift(); row !== undefined && !signal.aborted; row = queue.shift()) {
      if (await reencodeOne(options, row, database)) {
        moved++
        count(progress, 'blobs')
        count(progress, 'bytes', row.size)
      }
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
  return moved > 0
}

async function reencodeOne({ native, metadata, groups, logger }: ReencodingOptions, row: BlobRow, database: DatabaseIdentity): Promise<boolean> {
  const lease = await groups.take(row.blobId)
  try {
    if (lease.group.id === row.pgId) return false
    const left = await native.reencodeBlob(storedBytes(row), lease.group.id)
    const missing = left.map((index) => ({ blobId: row.blobId, pgId: lease.group.id, index }))
    // false: deleted meanwhile; the new shards are orphans then and collected as such
    return await metadata.moveBlob(row.bucketId, row.blobId, row.pgId, lease.group.id, missing, database)
  } catch (error) {
    logger.warn({ err: error, blob: row.blobId, pg: row.pgId }, 'a blob could not be re-encoded, trying again later')
    return false
  } finally {
    lease.release()
  }
}

/**
 * Re-encodes what lies in groups that protect less than the drives now allow, or that name a drive which is gone for good
 * (DESIGN §7): new shards in an open group, then a compare-and-set of the group in the blob's row.
 */
import type { Logger } from 'pino'
import type { BlobId, BucketId, DriveId, PgId } from '../../shared/ids.ts'
import type { Native } from '../../shared/native.ts'
import type { BlobRow, DatabaseIdentity, ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import type { ErasureCode } from '../placement/erasure-code.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { count, type BackgroundTask, type Progress } from './background.ts'
import { storedBytes } from './repair.ts'
import { lostDrives } from './shard-removal.ts'

export interface ReencodingOptions {
  native: Native
  metadata: ObjectMetadata
  groups: PlacementGroups
  logger: Logger
  /** Whether the work in a group is this node's share. */
  mine(pgId: PgId): boolean
  /** Blobs of one round. @default 100 */
  batch?: number
}

const IDLE_MS = 5000
const BATCH = 100
const CONCURRENCY = 4

/** Whether a group protects less than `code` does: fewer losses survived first, then fewer data shards. */
const narrower = (group: PlacementGroup, code: ErasureCode): boolean =>
  group.m < code.m || (group.m === code.m && group.k < code.k)

export function reencoding(options: ReencodingOptions): BackgroundTask {
  const { metadata, groups, batch = BATCH } = options
  // A pass looks at each blob once, so that those which cannot be moved now do not stand before the others.
  const reached = new Map<PgId, { bucketId: BucketId; blobId: BlobId }>()
  const passed = new Set<PgId>()
  return {
    name: 're-encoding',
    idleMs: IDLE_MS,
    async round(progress, signal) {
      const code = groups.code
      if (code === null) return false
      const database = await metadata.identity()
      const lost = await lostDrives(metadata)
      const candidates = (await metadata.placementGroups({ states: ['closed'] }))
        .filter((group) => narrower(group, code) || group.members.some((driveId) => lost.has(driveId)))
        .sort((a, b) => redundancyLeft(a, lost) - redundancyLeft(b, lost))
      let more = false
      for (const group of candidates) {
        if (passed.has(group.id) || !options.mine(group.id)) continue
        await groups.ensure(group.id)
        const rows = await metadata.blobsOfGroup(group.id, reached.get(group.id) ?? null, batch)
        const last = rows.at(-1)
        if (rows.length < batch || last === undefined) passed.add(group.id)
        else reached.set(group.id, last)
        // what has no reference waits for the garbage collector
        const wanted = rows.filter((row) => row.references > 0)
        more ||= !passed.has(group.id)
        if (wanted.length === 0) continue
        progress.now = `group ${group.id} (${group.k}+${group.m})`
        await reencodeAll(options, wanted, database, progress, signal)
        return true
      }
      if (more) return true
      reached.clear()
      passed.clear()
      return false
    },
  }
}

/** How many more drives the group may lose: the least first. */
const redundancyLeft = (group: PlacementGroup, lost: ReadonlySet<DriveId>): number =>
  group.m - group.members.filter((driveId) => lost.has(driveId)).length

async function reencodeAll(
  options: ReencodingOptions, rows: BlobRow[], database: DatabaseIdentity, progress: Progress, signal: AbortSignal,
): Promise<void> {
  const queue = [...rows]
  const worker = async (): Promise<void> => {
    for (let row = queue.shift(); row !== undefined && !signal.aborted; row = queue.shift()) {
      try {
        if (!(await reencodeOne(options, row, database))) continue
        count(progress, 'blobs')
        count(progress, 'bytes', row.size)
      } catch (error) {
        count(progress, 'failures')
        options.logger.warn({ err: error, blob: row.blobId, pg: row.pgId }, 'a blob could not be re-encoded, trying again later')
      }
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
}

async function reencodeOne({ native, metadata, groups }: ReencodingOptions, row: BlobRow, database: DatabaseIdentity): Promise<boolean> {
  const { bucketId, blobId, pgId } = row
  const { group, release } = await groups.take(blobId)
  try {
    if (group.id === pgId) return false
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

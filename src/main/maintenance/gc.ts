/**
 * Removes the shards of blobs that lost their last reference, once no read that could need them runs (the metadata knows
 * the oldest one). A blob's row in the queue goes only after every member that holds a shard has removed it.
 */
import type { Logger } from 'pino'
import type { BlobId, DriveId, PgId } from '../../shared/ids.ts'
import type { Native } from '../../shared/native.ts'
import type { Garbage, ObjectMetadata } from '../metadata/contract.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { count, type BackgroundTask } from './background.ts'
import type { ExportHorizon } from './metadata-exports.ts'
import type { RemovalGuard } from './removal-guard.ts'
import { lostDrives, ShardRemoval } from './shard-removal.ts'

export interface GarbageOptions {
  native: Native
  metadata: ObjectMetadata
  groups: PlacementGroups
  guard: RemovalGuard
  logger: Logger
  /** Drives that can be written now. */
  drives(): DriveId[]
  /** Where exports of the metadata are kept on the drives: what the newest one still names stays. Null: there is none yet. */
  horizon?: (systemId: string) => ExportHorizon | null
  /** Blobs of one round. @default 1000 */
  batch?: number
}

const BATCH = 1000
const IDLE_MS = 5000

export function garbageCollection(options: GarbageOptions): BackgroundTask {
  const { metadata, groups, guard, drives, native, logger, horizon, batch = BATCH } = options
  // what lies on a drive that is away waits for it, and must not stand before the rest
  let reached: Garbage | undefined
  /** Groups that are not known, of which the log says so. */
  const told = new Set<PgId>()
  return {
    name: 'garbage collection',
    idleMs: IDLE_MS,
    async round(progress) {
      const database = await guard.database()
      if (database === null) {
        progress.now = `paused: ${guard.reason}`
        return false
      }
      const exported = horizon?.(database.systemId)
      if (exported === null) {
        progress.now = 'waits for the first export of the metadata'
        return false
      }
      const items = await metadata.garbage(batch, reached, exported?.snapshot)
      reached = items.length === batch ? items.at(-1) : undefined
      if (items.length === 0) return false
      progress.now = `removing ${items.length} blobs`
      const lost = await lostDrives(metadata)
      const removal = new ShardRemoval(native, drives())
      const unknown = new Set<BlobId>()
      for (const [pgId, list] of Map.groupBy(items, (item) => item.pgId)) {
        const group = await groups.refresh(pgId)
        if (group === null) {
          // of a database that lacks rows: for people to look at, and nothing that the others wait for
          for (const item of list) unknown.add(item.blobId)
          if (!told.has(pgId)) logger.warn({ pg: pgId, blobs: list.length }, 'garbage lies in a placement group that is not known: it stays')
          told.add(pgId)
          continue
        }
        for (const item of list) removal.add(item, group, lost)
      }
      if (unknown.size > 0) progress.now = `removing ${items.length - unknown.size} blobs; ${unknown.size} lie in placement groups that are not known, and stay`
      const failed = await removal.run()
      for (const error of removal.errors) logger.warn({ err: error }, 'a drive could not remove garbage, trying again later')
      const gone: Garbage[] = items.filter((item) => !failed.has(item.blobId) && !unknown.has(item.blobId))
      await metadata.forgetGarbage(gone, database)
      count(progress, 'blobs', gone.length)
      return items.length === batch
    },
  }
}

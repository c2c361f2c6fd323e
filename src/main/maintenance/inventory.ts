/**
 * Compares what rows want on this node's drives with what the drives have. Scrubbing reads what a drive knows of; a shard
 * that it does not know of any more (a damaged header hides its record when the log is read anew, a file is lost) is missed
 * by a read of its data only, and of a parity shard by nobody until the others are gone. What is missing is rebuilt by repair.
 */
import type { BlobId, BucketId, DriveId, PgId } from '../../shared/ids.ts'
import type { Damage, Native } from '../../shared/native.ts'
import type { BlobRow, ObjectMetadata, PlacementGroup } from '../metadata/contract.ts'
import { count, type BackgroundTask, type Progress } from './background.ts'
import { eachDrive } from './each-drive.ts'
import { remembered } from './remembered.ts'

export interface InventoryOptions {
  native: Pick<Native, 'driveMark' | 'setDriveMark' | 'driveStats' | 'hasShards'>
  metadata: Pick<ObjectMetadata, 'placementGroup' | 'placementGroups' | 'blobsOfGroup'>
  /** Drives of this node that can be read. */
  drives(): DriveId[]
  /** Within this time every shard of a drive is asked for once. */
  periodMs: number
  report(missing: Damage): void
  /** Blobs asked about at a time. @default 500 */
  batch?: number
}

export interface Inventory extends BackgroundTask {
  /** Asks for everything once, without the pauses between steps. */
  hurry(): void
}

const BATCH = 500
const LOOK_MS = 1000
const CURSOR_MARK = 'inventory-cursor'
/** How long a list of the groups is good for finding the next one; what is missed is judged by the rows as they are then. */
const GROUPS_GOOD_MS = 60_000
/** How often the group that was reached is made durable. */
const MARK_EVERY_MS = 60_000

interface Place {
  /** Groups up to this one have been asked about; 0: none. */
  done: PgId
  /** Within the next one. */
  after: { bucketId: BucketId; blobId: BlobId } | null
  /** When the next step is due; spreads a pass over the period. */
  dueMs: number
  markedMs: number
}

export function inventory(options: InventoryOptions): Inventory {
  const { native, metadata, drives, periodMs, batch = BATCH } = options
  const places = new Map<DriveId, Place>()
  const groupsInOrder = remembered(GROUPS_GOOD_MS, async () => (await metadata.placementGroups()).toSorted((a, b) => a.id - b.id))
  let hurried = new Set<DriveId>()
  return {
    name: 'inventory',
    idleMs: LOOK_MS,
    hurry() {
      groupsInOrder.forget()
      hurried = new Set(drives())
      for (const driveId of hurried) places.set(driveId, { done: 0 as PgId, after: null, dueMs: 0, markedMs: Date.now() })
    },
    async round(progress) {
      const here = drives()
      // one that went away while everything was to be asked for at once must not keep this busy
      hurried = new Set(here.filter((driveId) => hurried.has(driveId)))
      const due = here.filter((driveId) => hurried.has(driveId) || (places.get(driveId)?.dueMs ?? 0) <= Date.now())
      if (due.length === 0) return false
      const groups = await groupsInOrder()
      const shards = new Map(native.driveStats().map((stats) => [stats.driveId, stats.shards]))
      await eachDrive(due, async (driveId) => {
        progress.now = `drive ${driveId}`
        const place = placeOf(places, driveId, native)
        const mine = groups.filter(({ members }) => members.includes(driveId))
        place.dueMs = Date.now() + periodMs / (1 + mine.length + (shards.get(driveId) ?? 0) / batch)
        const next = mine.find(({ id }) => id > place.done)
        if (next !== undefined && !(await lookInto(options, next, driveId, place, progress))) return
        place.done = next?.id ?? (0 as PgId)
        if (next === undefined) {
          count(progress, 'passes')
          hurried.delete(driveId)
        }
        if (next === undefined || Date.now() - place.markedMs > MARK_EVERY_MS) {
          place.markedMs = Date.now()
          await native.setDriveMark(driveId, CURSOR_MARK, String(place.done))
        }
      })
      return hurried.size > 0
    },
  }
}

function placeOf(places: Map<DriveId, Place>, driveId: DriveId, native: InventoryOptions['native']): Place {
  let place = places.get(driveId)
  if (place === undefined) {
    const done = Number(native.driveMark(driveId, CURSOR_MARK) ?? 0) as PgId
    places.set(driveId, (place = { done, after: null, dueMs: 0, markedMs: Date.now() }))
  }
  return place
}

/** One batch of the group's blobs; true when it was the last. */
async function lookInto(
  { native, metadata, report, batch = BATCH }: InventoryOptions, group: PlacementGroup, driveId: DriveId, place: Place, progress: Progress,
): Promise<boolean> {
  const index = group.members.indexOf(driveId)
  const page: BlobRow[] = await metadata.blobsOfGroup(group.id, place.after, batch)
  const rows = page.filter(({ references }) => references > 0)
  const held = await native.hasShards(driveId, rows.map(({ bucketId, blobId, pgId }) => ({ bucketId, blobId, pgId, index })))
  const missing = rows.filter((_, i) => !held[i])
  count(progress, 'shards', rows.length)
  // the rows are asked again before it counts (DamageReports); the group is here: after a move the shards of the former member go
  if (missing.length > 0 && (await metadata.placementGroup(group.id))?.members[index] === driveId) {
    count(progress, 'missing', missing.length)
    for (const { bucketId, blobId, pgId } of missing) report({ bucketId, blobId, pgId, index, driveId, reason: 'missing' })
  }
  place.after = page.length < batch ? null : page.at(-1)!
  return place.after === null
}

/** What drives need now and then: scrubbing (every byte is read and verified within a period) and compaction. */
import type { DriveId } from '../../shared/ids.ts'
import { MIB } from '../../shared/limits.ts'
import type { Native } from '../../shared/native.ts'
import { count, type BackgroundTask } from './background.ts'
import { eachDrive } from './each-drive.ts'

export interface DriveUpkeepOptions {
  native: Native
  drives(): DriveId[]
}

export interface ScrubOptions extends DriveUpkeepOptions {
  /** Within this time every live byte of a drive is read once. */
  periodMs: number
}

const SCRUB_STEP_BYTES = 8 * MIB
const SCRUB_LOOK_MS = 1000
const CURSOR_MARK = 'scrub-cursor'
/** How often the place that scrubbing has reached is made durable. */
const MARK_EVERY_MS = 60_000

interface Place {
  cursor: string | null
  /** When the next step is due; spreads a pass over the period. */
  dueMs: number
  markedMs: number
}

export interface Scrubbing extends BackgroundTask {
  /** Reads everything once, without the pauses between steps. */
  hurry(): void
}

export function scrubbing({ native, drives, periodMs }: ScrubOptions): Scrubbing {
  const places = new Map<DriveId, Place>()
  let hurried = new Set<DriveId>()
  return {
    name: 'scrubbing',
    idleMs: SCRUB_LOOK_MS,
    hurry() {
      hurried = new Set(drives())
      for (const driveId of hurried) places.set(driveId, { cursor: null, dueMs: 0, markedMs: Date.now() })
    },
    async round(progress) {
      const live = new Map(native.driveStats().map((stats) => [stats.driveId, stats.liveBytes]))
      const here = drives()
      // one that went away while everything was to be read at once must not keep this busy
      hurried = new Set(here.filter((driveId) => hurried.has(driveId)))
      await eachDrive(here, async (driveId) => {
        const now = Date.now()
        let place = places.get(driveId)
        if (place === undefined) {
          const cursor = native.driveMark(driveId, CURSOR_MARK)
          places.set(driveId, (place = { cursor: cursor === '' ? null : cursor, dueMs: now, markedMs: now }))
        }
        if (place.dueMs > now && !hurried.has(driveId)) return
        progress.now = `drive ${driveId}`
        const step = await native.scrub(driveId, place.cursor, SCRUB_STEP_BYTES)
        place.cursor = step.cursor
        const steps = Math.max(1, (live.get(driveId) ?? 0) / SCRUB_STEP_BYTES)
        place.dueMs = now + periodMs / steps
        count(progress, 'bytes', step.bytes)
        count(progress, 'shards', step.shards)
        count(progress, 'damaged', step.damaged.length)
        if (step.cursor === null) {
          count(progress, 'passes')
          hurried.delete(driveId)
        }
        if (step.cursor === null || now - place.markedMs > MARK_EVERY_MS) {
          place.markedMs = now
          await native.setDriveMark(driveId, CURSOR_MARK, step.cursor ?? '')
        }
      })
      return hurried.size > 0
    },
  }
}

const COMPACT_STEP_BYTES = 16 * MIB
const COMPACT_IDLE_MS = 10_000

export function compaction({ native, drives }: DriveUpkeepOptions): BackgroundTask {
  return {
    name: 'compaction',
    idleMs: COMPACT_IDLE_MS,
    busyMs: 20,
    async round(progress) {
      let more = false
      await eachDrive(drives(), async (driveId) => {
        const step = await native.compact(driveId, COMPACT_STEP_BYTES)
        count(progress, 'bytes moved', step.movedBytes)
        count(progress, 'bytes freed', step.freedBytes)
        more ||= step.more
      })
      return more
    },
  }
}

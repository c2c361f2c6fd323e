/**
 * Stores the embedded Postgres's export on the drives, regularly while something changes and once more. It is one copy on one
 * disk otherwise. The newest two are kept. What the newest one still names is not removed from the drives before the next one
 * is there: restored from it, every object that it lists can be read. What was re-encoded waits for both.
 */
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { createGzip, constants } from 'node:zlib'
import type { Logger } from 'pino'
import { SYSTEM_BUCKET, type DriveId } from '../../shared/ids.ts'
import type { Native } from '../../shared/native.ts'
import type { BlobLayout, ObjectMetadata } from '../metadata/contract.ts'
import { count, type BackgroundTask } from './background.ts'
import { LaterMark, rememberExports, storedExports, storedExportsOf, type StoredBlob, type StoredExport } from './stored-exports.ts'

export interface MetadataExportOptions {
  native: Pick<Native, 'driveMark' | 'setDriveMark'>
  metadata: Pick<ObjectMetadata, 'identity' | 'keptBlobs' | 'dropBlob' | 'placementGroup'>
  logger: Logger
  /** Drives that are online. */
  drives(): DriveId[]
  source: ExportSource
  periodMs: number
  /** Wall clock in milliseconds. @default Date.now */
  now?: () => number
}

/** Where an export comes from, and where its bytes go to. */
export interface ExportSource {
  /** Equal to an earlier one only if nothing that is exported has changed since. */
  changeMark(): Promise<string>
  withExport<T>(work: (facts: Pick<StoredExport, 'id' | 'exportedMs' | 'systemId' | 'snapshot'>, bytes: AsyncIterable<Buffer>) => Promise<T>): Promise<T>
  /** Durable and committed (`keepBlob`) when it resolves. */
  write(bytes: AsyncIterable<Buffer>): Promise<BlobLayout[]>
}

/** What the exports know that a restore may take: removal does not go beyond it. */
export interface ExportHorizon {
  /** Of the newest one of this database. What had lost its last reference by then is in no object that it lists. */
  snapshot: string
  /**
   * As of when the oldest one is that is kept. What a row named then is where that export says: a blob that was re-encoded since
   * lives on, and must be found also where only the older export can be read.
   */
  oldestMs: number
}

export interface MetadataExports {
  task: BackgroundTask
  /** Stores one now, whether or not something has changed. */
  storeNow(): Promise<StoredExport>
  /** Null: there is none of this database yet, and nothing may be removed. */
  horizon(systemId: string): ExportHorizon | null
  status(): { periodMs: number; stored: { id: string; exportedMs: number; storedMs: number; bytes: number }[] }
}

const KEPT = 2
/** A mark of a drive holds 16 KiB. */
const MAX_BLOBS = 16
const FIRST_MS = 60_000
const LOOK_MS = 15_000
const RETRY_MS = 60_000

export function metadataExports({ native, metadata, logger, drives, source, periodMs, now = Date.now }: MetadataExportOptions): MetadataExports {
  let dueMs = now() + Math.min(FIRST_MS, periodMs)
  /** What the databases were like for those that are kept, newest first. */
  let marks: string[] = []
  let stored: StoredExport[] = []
  // one at a time, also where an operator asks for one
  let turn: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = turn.then(work)
    turn = mine.catch(() => {}) // its caller hears of it; the next one begins all the same
    return mine
  }

  /** Drives whose mark cannot be read, of which the log says so. */
  const told = new Set<DriveId>()
  /** Why a drive's mark cannot be read: the other drives remember the same, and must not wait for it. */
  const unreadable = (driveId: DriveId): Error | null => {
    try {
      storedExportsOf(native, driveId)
      told.delete(driveId)
      return null
    } catch (error) {
      if (!told.has(driveId)) logger.warn({ err: error, drive: driveId }, 'what a drive remembers of exports of the metadata cannot be read')
      told.add(driveId)
      return error as Error
    }
  }

  /** Only what drives remember counts: `stored` is what removal goes by. @throws Error when no drive could note it */
  const remember = async (exports: StoredExport[]): Promise<void> => {
    const failed: Error[] = []
    const online = drives()
    for (const driveId of online) {
      const why = unreadable(driveId)
      if (why instanceof LaterMark) {
        failed.push(why)
        continue
      }
      await rememberExports(native, driveId, exports).catch((error: Error) => {
        failed.push(error)
        logger.warn({ err: error, drive: driveId }, 'a drive could not note where the export of the metadata is')
      })
    }
    if (failed.length === online.length) throw failed[0] ?? new Error('no drive is online that could note where the export of the metadata is')
    stored = exports
  }

  /** Follows blobs that were re-encoded or whose group has moved, and lets go what no drive remembers. */
  const look = async (): Promise<void> => {
    if (drives().length === 0) return
    // a drive that comes back may know newer ones than those that were there before
    const known = storedExports(native, drives().filter((driveId) => unreadable(driveId) === null), stored).slice(0, KEPT)
    const rows = new Map((await metadata.keptBlobs(SYSTEM_BUCKET)).map((row) => [row.blobId, row]))
    const named = new Set(known.flatMap(({ blobs }) => blobs.map(({ blobId }) => blobId)))
    // ids are ordered by time: what is newer may be of an export that only drives know that are away
    const newest = known.flatMap(({ blobs }) => blobs.map(({ blobId }) => blobId)).toSorted().at(-1) ?? ''
    for (const blobId of rows.keys()) if (!named.has(blobId) && blobId < newest) await metadata.dropBlob(SYSTEM_BUCKET, blobId)
    await remember(await Promise.all(known.map(async (one) => {
      const blobs = await Promise.all(one.blobs.map(async (blob) => {
        const row = rows.get(blob.blobId)
        return row === undefined ? blob : placed(metadata, row)
      }))
      return JSON.stringify(blobs) === JSON.stringify(one.blobs) ? one : { ...one, blobs, placedMs: now() }
    })))
  }

  const store = async (): Promise<StoredExport> => {
    await look()
    const mark = await source.changeMark()
    const made = await source.withExport(async ({ id, exportedMs, systemId, snapshot }, bytes) => {
      const gzip = createGzip({ level: constants.Z_BEST_SPEED })
      const piped = pipeline(Readable.from(bytes), gzip)
      piped.catch(() => {}) // it ends the stream below with the same error
      const layouts = await source.write(gzip)
      await piped
      const blobs = await Promise.all(layouts.map((layout) => placed(metadata, layout)))
      return { id, exportedMs, storedMs: now(), placedMs: now(), systemId, snapshot, blobs }
    })
    if (made.blobs.length > MAX_BLOBS) {
      for (const { blobId } of made.blobs) await metadata.dropBlob(SYSTEM_BUCKET, blobId)
      throw new Error(`the export has ${made.blobs.length} blobs, more than the ${MAX_BLOBS} that a drive can note: move the metadata to servers of its own`)
    }
    const gone = [made, ...stored].slice(KEPT)
    await remember([made, ...stored].slice(0, KEPT))
    for (const { blobId } of gone.flatMap(({ blobs }) => blobs)) await metadata.dropBlob(SYSTEM_BUCKET, blobId)
    marks = [mark, ...marks].slice(0, KEPT)
    dueMs = now() + periodMs
    logger.info({ export: made.id, bytes: bytesOf(made) }, 'the export of the metadata is stored on the drives')
    return made
  }

  return {
    task: {
      name: 'metadata export',
      idleMs: LOOK_MS,
      round: (progress) => inTurn(async () => {
        if (now() < dueMs) {
          await look()
          return false
        }
        dueMs = now() + Math.min(RETRY_MS, periodMs)
        // after a change one more than the first: removal waits for the older one, too, to know of it
        const mark = await source.changeMark()
        if (marks.length === KEPT && marks.every((one) => one === mark)) {
          dueMs = now() + periodMs
          count(progress, 'unchanged')
          return false
        }
        progress.now = 'storing'
        const made = await store()
        count(progress, 'stored')
        count(progress, 'bytes', bytesOf(made))
        return false
      }),
    },
    storeNow: () => inTurn(store),
    horizon(systemId) {
      const newest = stored.find((one) => one.systemId === systemId)
      return newest === undefined ? null : { snapshot: newest.snapshot, oldestMs: Math.min(...stored.map(({ exportedMs }) => exportedMs)) }
    },
    status: () => ({
      periodMs, stored: stored.map((one) => ({ id: one.id, exportedMs: one.exportedMs, storedMs: one.storedMs, bytes: bytesOf(one) })),
    }),
  }
}

const bytesOf = ({ blobs }: StoredExport): number => blobs.reduce((sum, { size }) => sum + size, 0)

async function placed(metadata: Pick<ObjectMetadata, 'placementGroup'>, { blobId, pgId, size, stripeBytes }: BlobLayout): Promise<StoredBlob> {
  const group = await metadata.placementGroup(pgId)
  if (group === null) throw new Error(`placement group ${pgId} is not known`)
  const { k, m, members, generation } = group
  return { blobId, size, stripeBytes, group: { pgId, generation, k, m, members: [...members] } }
}

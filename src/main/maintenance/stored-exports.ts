/**
 * The exports of the metadata that lie on the drives, as each drive remembers them in a mark: everything that is needed to
 * read one without Postgres. And how one is read.
 */
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { SYSTEM_BUCKET, type BlobId, type DriveId } from '../../shared/ids.ts'
import type { Native, PgDefinition } from '../../shared/native.ts'

export interface StoredExport {
  id: string
  /** The moment as of which it is, by the database's clock. */
  exportedMs: number
  /** When it was complete on the drives. */
  storedMs: number
  /** When its blobs were last found to lie where `blobs` says: a drive that was away may know an older place. */
  placedMs: number
  /** The database that it was made of, and its snapshot. */
  systemId: string
  snapshot: string
  /** In order; gzip over all of them. */
  blobs: StoredBlob[]
}

export interface StoredBlob {
  blobId: BlobId
  size: number
  stripeBytes: number
  group: PgDefinition
}

const MARK = 'metadata-exports'
const MARK_VERSION = 1

type Marks = Pick<Native, 'driveMark' | 'setDriveMark'>

/** A drive's mark is of a later version of anvil: it is not written over. */
export class LaterMark extends Error {}

/** What one drive remembers; newest first. @throws LaterMark, or another Error when its mark cannot be read */
export function storedExportsOf(native: Pick<Native, 'driveMark'>, driveId: DriveId): StoredExport[] {
  const text = native.driveMark(driveId, MARK)
  if (text === null) return []
  const { version, exports } = JSON.parse(text) as { version: number; exports: StoredExport[] }
  if (version !== MARK_VERSION) throw new LaterMark(`drive ${driveId} remembers exports in version ${version}, this version of anvil reads ${MARK_VERSION}`)
  return exports
}

/** What any of the drives remembers, and those that are known already; newest first. */
export function storedExports(native: Pick<Native, 'driveMark'>, drives: readonly DriveId[], known: readonly StoredExport[] = []): StoredExport[] {
  const all = new Map<string, StoredExport>()
  for (const one of [...known, ...drives.flatMap((driveId) => storedExportsOf(native, driveId))]) {
    const other = all.get(one.id)
    if (other === undefined || one.placedMs > other.placedMs) all.set(one.id, one)
  }
  return [...all.values()].toSorted((a, b) => b.exportedMs - a.exportedMs)
}

/** Durably; no write where the drive remembers just this. */
export async function rememberExports(native: Marks, driveId: DriveId, exports: readonly StoredExport[]): Promise<void> {
  const text = JSON.stringify({ version: MARK_VERSION, exports })
  if (native.driveMark(driveId, MARK) !== text) await native.setDriveMark(driveId, MARK, text)
}

/** The bytes of the export. @throws the addon's errors when too few drives are there; zlib's when it was cut off */
export async function* readStoredExport(native: Native, stored: StoredExport): AsyncGenerator<Buffer, void> {
  const unzip = createGunzip()
  const piped = pipeline(Readable.from(readBlobs(native, stored)), unzip)
  piped.catch(() => {}) // it ends the stream below with the same error
  for await (const chunk of unzip) yield chunk as Buffer
  await piped
}

const READ_BYTES = 256 * 1024

async function* readBlobs(native: Native, stored: StoredExport): AsyncGenerator<Buffer, void> {
  for (const { blobId, size, stripeBytes, group } of stored.blobs) {
    native.setPg(group)
    const handle = native.openRead({
      bucketId: SYSTEM_BUCKET, blobId, pgId: group.pgId, size, stripeBytes, encrypted: false, dataKey: Buffer.alloc(0), offset: 0, length: size,
    })
    try {
      while ((await native.readReady(handle)) > 0) {
        const chunk = Buffer.allocUnsafe(READ_BYTES)
        yield chunk.subarray(0, native.readCopy(handle, chunk))
      }
    } finally {
      native.readClose(handle)
    }
  }
}

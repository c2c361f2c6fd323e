/**
 * The embedded Postgres is lost: the newest export on the drives that is whole fills a new one. What has moved since that
 * export is found by what the drives hold.
 */
import type { PreparedDatabases } from './directory/index.ts'
import { adoptMovedShards } from './maintenance/moved-shards.ts'
import { readStoredExport, storedExports, storedExportsOf, type StoredExport } from './maintenance/stored-exports.ts'
import { openObjectMetadata } from './metadata/index.ts'
import { DamagedExport } from './metadata/transfer/format.ts'
import { importMetadata, isUnsettled, settled, verifyExport, type ImportCheck, type Imported } from './metadata/transfer/import.ts'
import { SYSTEM_BUCKET, type DriveId, type PgId } from '../shared/ids.ts'
import { nativeErrorKind, type Native } from '../shared/native.ts'

export interface EmbeddedRestoreOptions {
  native: Native
  /** Open ones, all of `deploymentId`. */
  drives: readonly DriveId[]
  deploymentId: string
  /** Empty ones. */
  databases: Pick<PreparedDatabases, 'global' | 'regional'>
  /** Whether the export is this node's. */
  check: ImportCheck
  /** Told why an export, or what a drive remembers, cannot be used. */
  warn(line: string): void
}

export interface Restored extends Imported {
  /** There is a newer export, which cannot be read. */
  isOlder: boolean
  /** Members of placement groups that were replaced by the drives that hold their shards. */
  adopted: number
}

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
/** The timeline that a restore gave, so that the next one gives a higher one even of the same export. */
const TIMELINE_MARK = 'metadata-timeline'

/** Null: no drive knows of an export, or none can be read. @throws TransferError, and what `check` throws */
export async function restoreEmbedded(options: EmbeddedRestoreOptions): Promise<Restored | null> {
  const { native, drives, databases } = options
  const exports = storedExports(native, drives.filter((driveId) => isReadable(options, driveId)))
  const whole = await newestWhole(options, exports)
  if (whole === null) return null
  const imported = await importStored(options, whole)
  return { ...imported, isOlder: whole !== exports[0], adopted: await settle({ native, drives, databases }, exports) }
}

type Settling = Pick<EmbeddedRestoreOptions, 'native' | 'drives' | 'databases'>

/**
 * A restore that was cut off after its rows were committed goes on to its end: without that, groups name drives that hold
 * nothing any more. To be called before anything else uses the rows. Answers as `Restored.adopted`; null when there is
 * nothing to finish.
 */
export async function finishRestore(options: Settling & Pick<EmbeddedRestoreOptions, 'warn'>): Promise<number | null> {
  if (!(await isUnsettled(options.databases))) return null
  return settle(options, storedExports(options.native, options.drives.filter((driveId) => isReadable(options, driveId))))
}

/** Brings the rows to what the drives hold. */
async function settle({ native, drives, databases }: Settling, exports: readonly StoredExport[]): Promise<number> {
  const metadata = await openObjectMetadata({ connection: databases.regional, logger: quiet })
  try {
    await keepRows(metadata, exports)
    const adopted = await adoptMovedShards({ native, metadata, drives })
    await settled(databases)
    return adopted
  } finally {
    await metadata.close()
  }
}

/** Read to its end before a database is touched. */
async function newestWhole({ native, warn }: EmbeddedRestoreOptions, exports: readonly StoredExport[]): Promise<StoredExport | null> {
  for (const stored of exports) {
    try {
      await verifyExport(readStoredExport(native, stored))
      return stored
    } catch (error) {
      const isDamaged = error instanceof DamagedExport || nativeErrorKind(error) !== null || (error as NodeJS.ErrnoException).code?.startsWith('Z_') === true
      if (!isDamaged) throw error
      warn(`the export as of ${new Date(stored.exportedMs).toISOString()} cannot be used: ${(error as Error).message}`)
    }
  }
  return null
}

function importStored({ native, drives, deploymentId, databases, check }: EmbeddedRestoreOptions, stored: StoredExport): Promise<Imported> {
  const timelines = drives.map((driveId) => Math.max(Number(native.driveMark(driveId, TIMELINE_MARK) ?? 0), Number(native.driveMark(driveId, 'database')?.split('/')[1] ?? 0)))
  const leastTimeline = Math.max(0, ...timelines) + 1
  return importMetadata(databases, readStoredExport(native, stored), {
    leastTimeline,
    unsettled: true,
    check: async (of, client) => {
      if (of.deploymentId !== deploymentId) throw new DamagedExport(`the export is of deployment ${of.deploymentId}, the drives are of ${deploymentId}`)
      await check(of, client)
      const given = Math.max(leastTimeline, of.timeline + 1)
      for (const driveId of drives) await native.setDriveMark(driveId, TIMELINE_MARK, String(given))
    },
  })
}

/** The newest exports were written after the snapshot that was restored: their rows are made anew, so that they are kept. */
async function keepRows(metadata: Awaited<ReturnType<typeof openObjectMetadata>>, exports: readonly StoredExport[]): Promise<void> {
  const have = new Set((await metadata.keptBlobs(SYSTEM_BUCKET)).map(({ blobId }) => blobId))
  for (const { blobId, size, stripeBytes, group } of exports.flatMap(({ blobs }) => blobs)) {
    const row = await metadata.placementGroup(group.pgId as PgId)
    // Into a closed group nothing is committed any more. What has no row is collected once removal goes on, and there are newer ones then.
    if (have.has(blobId) || row === null || row.state === 'closed') continue
    await metadata.keepBlob(SYSTEM_BUCKET, { blobId, pgId: row.id, size, stripeBytes }, [])
  }
}

function isReadable({ native, warn }: Pick<EmbeddedRestoreOptions, 'native' | 'warn'>, driveId: DriveId): boolean {
  try {
    storedExportsOf(native, driveId)
    return true
  } catch (error) {
    warn(`what drive ${driveId} remembers of exports cannot be read: ${(error as Error).message}`)
    return false
  }
}

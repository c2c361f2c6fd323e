/** anvil admin metadata restore: the embedded Postgres is lost; its newest export on the drives takes its place. */
import type { Config } from '../config/contract.ts'
import { AdminError } from '../directory/admin-error.ts'
import { storedExportsOf, readStoredExport, storedExports, type StoredExport } from '../maintenance/stored-exports.ts'
import { openObjectMetadata } from '../metadata/index.ts'
import { DamagedExport } from '../metadata/transfer/format.ts'
import { importMetadata, type Imported } from '../metadata/transfer/import.ts'
import { SYSTEM_BUCKET, type DriveId } from '../../shared/ids.ts'
import { loadNative } from '../../shared/load-native.ts'
import { nativeErrorKind, type Native } from '../../shared/native.ts'
import { createLogger } from '../observability/logger.ts'
import { startWorkerPool } from '../worker-pool.ts'
import { withDatabases, type AdminDatabases } from './admin-databases.ts'
import { importCheck } from './admin-metadata.ts'
import { printLine } from './output.ts'

const quiet = { debug() {}, info() {}, warn() {}, error() {} }
/** The timeline that a restore gave, so that the next one gives a higher one even of the same export. */
const TIMELINE_MARK = 'metadata-timeline'

export async function restoreMetadata(): Promise<void> {
  await withDatabases(async (databases) => {
    const { config, nodeRuns } = databases
    if (config.globalDatabaseUrl !== null) throw new AdminError('the metadata is on servers of its own: restore their backup, or use `anvil admin metadata import`')
    if (nodeRuns) throw new AdminError('a node runs: stop it first')
    const native = loadNative()
    native.init({ memoryLimitBytes: config.memoryLimitBytes, logFilter: 'error', runtimeThreads: 2 })
    const drives = await openDrives(native, config)
    try {
      await restoreFrom(native, drives, databases)
    } finally {
      for (const driveId of drives.ids) await native.closeDrive(driveId)
    }
  })
}

interface OpenDrives {
  ids: DriveId[]
  deploymentId: string
}

/** Those that are there; they must be of one deployment. */
async function openDrives(native: Native, { dataDirs }: Config): Promise<OpenDrives> {
  const found = await Promise.all(dataDirs.map(async (path) => ({ path, probe: await native.probeDrive(path) })))
  const drives = found.flatMap(({ path, probe }) => (probe.state === 'drive' ? [{ path, ...probe }] : []))
  for (const { path, probe } of found) if (probe.state !== 'drive') process.stderr.write(`anvil: ${path} holds no drive (${probe.state})\n`)
  const [first] = drives
  if (first === undefined) throw new AdminError('no drive was found: set ANVIL_DATA_DIRS as the node has it')
  const other = drives.find(({ deploymentId }) => deploymentId !== first.deploymentId)
  if (other !== undefined) {
    throw new AdminError(`the drives at ${first.path} and ${other.path} are of different deployments (${first.deploymentId}, ${other.deploymentId}): set ANVIL_DATA_DIRS to those of one`)
  }
  const ids: DriveId[] = []
  for (const { path, deploymentId, driveId } of drives) {
    try {
      await native.openDrive({ path, deploymentId, driveId, reserveBytes: 0 })
      ids.push(driveId as DriveId)
    } catch (error) {
      process.stderr.write(`anvil: the drive at ${path} cannot be opened: ${(error as Error).message}\n`)
    }
  }
  return { ids, deploymentId: first.deploymentId }
}

async function restoreFrom(native: Native, { ids, deploymentId }: OpenDrives, { config, global, regional }: AdminDatabases): Promise<void> {
  const exports = storedExports(native, ids.filter((driveId) => readable(native, driveId)))
  if (exports.length === 0) throw new AdminError('no export of the metadata was found on the drives')
  const workers = startWorkerPool(native, 1, createLogger('error'))
  try {
    const timelines = ids.map((driveId) => Math.max(Number(native.driveMark(driveId, TIMELINE_MARK) ?? 0), Number(native.driveMark(driveId, 'database')?.split('/')[1] ?? 0)))
    const leastTimeline = Math.max(0, ...timelines) + 1
    const check = importCheck(config)
    const { head, rows } = await newestWhole(exports, (stored) => importMetadata({ global, regional }, readStoredExport(native, stored), {
      leastTimeline,
      check: async (of, client) => {
        if (of.deploymentId !== deploymentId) throw new DamagedExport(`the export is of deployment ${of.deploymentId}, the drives are of ${deploymentId}`)
        await check(of, client)
        const given = Math.max(leastTimeline, of.timeline + 1)
        for (const driveId of ids) await native.setDriveMark(driveId, TIMELINE_MARK, String(given))
      },
    }))
    await keepRows(regional, exports)
    const moment = new Date(head.exportedMs).toISOString()
    printLine(`restored ${rows} rows of deployment ${head.deploymentId} as of ${moment}`)
    printLine(`What was written, deleted or changed after ${moment} is not in it: newer objects are not listed, although their bytes still lie on the drives.`)
    printLine('Start the node and see that what you need is there; put what is missing again from where it came from.')
    printLine('Nothing is removed from the drives until you run `anvil admin removal confirm`; then what nothing lists any more may go.')
  } finally {
    await workers.close()
  }
}

/** The newest one that can be read; why others cannot be is told. */
async function newestWhole(exports: StoredExport[], restore: (stored: StoredExport) => Promise<Imported>): Promise<Imported> {
  for (const stored of exports) {
    try {
      return await restore(stored)
    } catch (error) {
      const unreadable = error instanceof DamagedExport || nativeErrorKind(error) !== null || (error as NodeJS.ErrnoException).code?.startsWith('Z_') === true
      if (!unreadable) throw error
      process.stderr.write(`anvil: the export as of ${new Date(stored.exportedMs).toISOString()} cannot be used: ${(error as Error).message}\n`)
    }
  }
  throw new AdminError('none of the exports on the drives can be read: are drives missing?')
}

/** The newest exports were written after the snapshot that was restored: their rows are made anew, so that they are kept. */
async function keepRows(regional: AdminDatabases['regional'], exports: StoredExport[]): Promise<void> {
  const metadata = await openObjectMetadata({ connection: regional, logger: quiet })
  try {
    const have = new Set((await metadata.keptBlobs(SYSTEM_BUCKET)).map(({ blobId }) => blobId))
    for (const { blobId, size, stripeBytes, group } of exports.flatMap(({ blobs }) => blobs)) {
      const row = await metadata.placementGroup(group.pgId as Parameters<typeof metadata.placementGroup>[0])
      // Into a closed group nothing is committed any more. What has no row is collected once removal goes on, and there are newer ones then.
      if (have.has(blobId) || row === null || row.state === 'closed') continue
      await metadata.keepBlob(SYSTEM_BUCKET, { blobId, pgId: row.id, size, stripeBytes }, [])
    }
  } finally {
    await metadata.close()
  }
}

function readable(native: Native, driveId: DriveId): boolean {
  try {
    storedExportsOf(native, driveId)
    return true
  } catch (error) {
    process.stderr.write(`anvil: what drive ${driveId} remembers of exports cannot be read: ${(error as Error).message}\n`)
    return false
  }
}

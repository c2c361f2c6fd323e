/** anvil admin metadata restore: the embedded Postgres is lost; its newest export on the drives takes its place. */
import type { Config } from '../config/contract.ts'
import { AdminError } from '../directory/admin-error.ts'
import { finishRestore, restoreEmbedded } from '../embedded-restore.ts'
import type { DriveId } from '../../shared/ids.ts'
import { loadNative } from '../../shared/load-native.ts'
import type { Native } from '../../shared/native.ts'
import { createLogger } from '../observability/logger.ts'
import { startWorkerPool } from '../worker-pool.ts'
import { withDatabases, type AdminDatabases } from './admin-databases.ts'
import { importCheck } from './admin-metadata.ts'
import { printLine } from './output.ts'

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
  const workers = startWorkerPool(native, 1, createLogger('error'))
  try {
    const warn = (line: string): void => void process.stderr.write(`anvil: ${line}\n`)
    const finished = await finishRestore({ native, drives: ids, databases: { global, regional }, warn })
    if (finished !== null) {
      printLine('a restore that was cut off has been brought to its end; its rows were there already')
      if (finished > 0) printLine(adoptedText(finished))
      return
    }
    const restored = await restoreEmbedded({ native, drives: ids, deploymentId, databases: { global, regional }, check: importCheck(config), warn })
    if (restored === null) throw new AdminError('no export of the metadata that can be read was found on the drives: are drives missing?')
    const { head, rows, isOlder, adopted } = restored
    const moment = new Date(head.exportedMs).toISOString()
    printLine(`restored ${rows} rows of deployment ${head.deploymentId} as of ${moment}`)
    if (adopted > 0) printLine(adoptedText(adopted))
    printLine(`What was written, deleted or changed after ${moment} is not in it: newer objects are not listed, although their bytes still lie on the drives.`)
    if (isOlder) printLine('It is not the newest export: of what was deleted between the two the bytes may be gone, although it is listed again.')
    printLine('Start the node and see that what you need is there; put what is missing again from where it came from.')
    printLine('Nothing is removed from the drives until you run `anvil admin removal confirm`; then what nothing lists any more may go.')
  } finally {
    await workers.close()
  }
}

const adoptedText = (adopted: number): string => `${adopted} members of placement groups were replaced since: their shards were found where they are now`

/** anvil admin drive …: the drives of this host. */
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { AdminError } from '../directory/admin-error.ts'
import { KnownDrives } from '../drives/known-drives.ts'
import { withMetadata } from './region-metadata.ts'
import { printLine, printRows } from './output.ts'

export function addDriveCommands(admin: Command): void {
  const drive = admin.command('drive').description('drives of the deployment')
  drive
    .command('list')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const rows = await withMetadata((metadata) => metadata.drives())
      printRows(rows, ['driveId', 'path', 'state', 'totalBytes', 'nodeId'], { json })
    })
  drive
    .command('replace <path>')
    .description('the drive that was at this path is gone for good: its data is rebuilt on the other drives, and the path takes a new one')
    .action(async (given: string) => {
      const path = resolve(given)
      const driveId = await withMetadata(async (metadata, stateDir) => {
        const known = KnownDrives.load(stateDir)
        const found = known.at(path)
        if (found === undefined) {
          throw new AdminError(`this host has no drive at ${path}; it has ${known.all.map((one) => one.path).join(', ') || 'none'}`)
        }
        // first the database, so that a crash between the two leaves the path closed rather than the loss untold
        await metadata.setDriveState(found.driveId, 'lost')
        known.forget(path)
        return found.driveId
      })
      printLine(`drive ${driveId} is given up. An empty folder at ${path} becomes a new drive as soon as a node looks (at once if it runs).`)
    })
}

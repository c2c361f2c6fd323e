/** anvil admin regions … */
import type { Command } from 'commander'
import { regionName } from '../config/values.ts'
import { AdminError } from '../directory/admin-error.ts'
import { createRegion, listRegions } from '../directory/admin-regions.ts'
import { withDirectory } from './admin-databases.ts'
import { printLine, printRows } from './output.ts'

export function addRegionCommands(admin: Command): void {
  const regions = admin.command('regions').description('regions of the deployment')
  regions
    .command('create')
    .description('register a region; nodes with REGION set to it may then start')
    .requiredOption('--name <name>', 'lower-case letters, digits and dashes')
    .action(async ({ name }: { name: string }) => {
      const read = regionName(name)
      if ('must' in read) throw new AdminError(`the name must be ${read.must}`)
      const made = await withDirectory((client) => createRegion(client, name))
      printLine(made ? `region ${name} registered` : `region ${name} was registered already`)
    })
  regions
    .command('list')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      printRows(await withDirectory(listRegions), ['name', 'buckets', 'createdAt'], options)
    })
}

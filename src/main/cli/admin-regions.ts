/** anvil admin regions … */
import type { Command } from 'commander'
import { regionName, webUrl } from '../config/values.ts'
import { AdminError } from '../directory/admin-error.ts'
import { createRegion, listRegions, setRegionEndpoint } from '../directory/admin-regions.ts'
import { withDirectory } from './admin-databases.ts'
import { printLine, printRows } from './output.ts'

export function addRegionCommands(admin: Command): void {
  const regions = admin.command('regions').description('regions of the deployment')
  regions
    .command('create')
    .description('register a region; nodes with REGION set to it may then start')
    .requiredOption('--name <name>', 'lower-case letters, digits and dashes')
    .option('--endpoint <url>', 'S3 endpoint that clients of other regions are sent to (default: that of its first node)')
    .action(async ({ name, endpoint = '' }: { name: string; endpoint?: string }) => {
      const read = regionName(name)
      if ('must' in read) throw new AdminError(`the name must be ${read.must}`)
      if (endpoint !== '') checkEndpoint(endpoint)
      const made = await withDirectory((client) => createRegion(client, name, endpoint))
      printLine(made ? `region ${name} registered` : `region ${name} was registered already`)
    })
  regions
    .command('set-endpoint')
    .description('the S3 endpoint that clients of other regions are sent to')
    .requiredOption('--name <name>')
    .requiredOption('--endpoint <url>')
    .action(async ({ name, endpoint }: { name: string; endpoint: string }) => {
      checkEndpoint(endpoint)
      await withDirectory((client) => setRegionEndpoint(client, name, endpoint))
      printLine(`region ${name} is at ${endpoint}`)
    })
  regions
    .command('list')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      printRows(await withDirectory(listRegions), ['name', 'endpoint', 'buckets', 'createdAt'], options)
    })
}

function checkEndpoint(text: string): void {
  const read = webUrl(text)
  if ('must' in read) throw new AdminError(`the endpoint must be ${read.must}`)
}

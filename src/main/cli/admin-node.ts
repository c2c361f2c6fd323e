/** anvil admin node … and anvil admin repair now: the nodes of this region, as the database knows them. */
import type { Command } from 'commander'
import type { NodeId } from '../../shared/ids.ts'
import { AnvilError } from '../../shared/errors.ts'
import { AdminError } from '../directory/admin-error.ts'
import { withMetadata } from './region-metadata.ts'
import { printJson, printLine, printRows } from './output.ts'

export function addNodeCommands(admin: Command): void {
  const node = admin.command('node').description('nodes of this region')
  node
    .command('list')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      printRows(await withMetadata((metadata) => metadata.nodes()), ['nodeId', 'lease', 'zone', 'version', 'grpcAddr', 'addrs'], { json })
    })
  node
    .command('remove <id>')
    .description('a node that is gone for good: it is forgotten, and its drives count as lost')
    .action(async (id: string) => {
      const removed = await withMetadata((metadata) => metadata.removeNode(id as NodeId)).catch((error: unknown) => {
        throw AnvilError.is(error, 'InvalidRequest') ? new AdminError(error.message) : error
      })
      if (!removed) throw new AdminError(`there is no node ${id}`)
      printLine(`node ${id} is forgotten; what lay on its drives is rebuilt elsewhere`)
    })
  admin
    .command('repair')
    .description('repair of what is gone')
    .command('now')
    .description('rebuild the data of nodes that are gone elsewhere, without waiting for ANVIL_REPAIR_DELAY_SECS')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const nodes = await withMetadata((metadata) => metadata.repairWithoutDelay())
      if (json) return printJson(nodes)
      printLine(nodes.length === 0 ? 'no node is gone' : `what lies on ${nodes.join(', ')} is rebuilt on other drives now`)
    })
}

/** anvil admin metadata …: export, import, and the exports on the drives. */
import type { Command } from 'commander'
import type { Config } from '../config/contract.ts'
import { AdminError } from '../directory/admin-error.ts'
import { checkKeys } from '../directory/deployment.ts'
import { withExport } from '../metadata/transfer/export.ts'
import { importMetadata, type ImportCheck } from '../metadata/transfer/import.ts'
import { fromUuid, type DeploymentId } from '../../shared/ids.ts'
import { VERSION } from '../version.ts'
import { requireConfig, withDatabases } from './admin-databases.ts'
import { newFilePath, readExport, STANDARD, writeNewFile, writeStandardOutput } from './export-file.ts'
import { askNode } from './node-status.ts'
import { formatBytes, printLine } from './output.ts'

export function addMetadataCommands(admin: Command): void {
  const metadata = admin.command('metadata').description('the metadata of the deployment: export, import, and the copies on the drives')
  metadata
    .command('export')
    .description('write both databases, each as of one moment, to a file; secrets in it stay wrapped by ANVIL_SECRET_ENCRYPTION_KEY')
    .requiredOption('--to <path>', 'a new file, a folder, or - for standard output')
    .action(async ({ to }: { to: string }) => exportTo(to))
  metadata
    .command('import')
    .description('fill two empty databases (GLOBAL_DATABASE_URL, REGIONAL_DATABASE_URL) from an export: all of it or nothing')
    .requiredOption('--from <path>', 'a file, or - for standard input')
    .action(async ({ from }: { from: string }) => importFrom(from))
  metadata
    .command('store-export')
    .description('store an export of the embedded Postgres on the drives now, beside the regular ones')
    .action(async () => {
      const { config } = requireConfig({ mayGenerate: false })
      const { exportedMs, bytes } = (await askNode(config.stateDir, 'POST', '/metadata/export')) as { exportedMs: number; bytes: number }
      printLine(`stored on the drives as of ${new Date(exportedMs).toISOString()}, ${formatBytes(bytes)}`)
    })
  metadata
    .command('restore')
    .description('the embedded Postgres is lost: fill a new one from the newest export on the drives (the node is stopped)')
    .action(async () => {
      const { restoreMetadata } = await import('./restore-metadata.ts')
      await restoreMetadata()
    })
}

async function exportTo(to: string): Promise<void> {
  await withDatabases(async ({ global, regional, nodeRuns }) => {
    await withExport({ global, regional }, VERSION, async (facts, bytes) => {
      const moment = new Date(facts.exportedMs).toISOString()
      if (to === STANDARD) await writeStandardOutput(bytes)
      else {
        const path = newFilePath(to, `anvil-metadata-${facts.region}-${moment.replaceAll(':', '')}.export`)
        const size = await writeNewFile(path, bytes)
        printLine(`${path}: the metadata of deployment ${facts.deploymentId}, region ${facts.region}, as of ${moment}; ${formatBytes(size)}`)
      }
      if (nodeRuns) process.stderr.write('anvil: a node runs on these databases: what it writes from now on is not in the export. To move the deployment, stop it first\n')
    })
  })
}

async function importFrom(from: string): Promise<void> {
  await withDatabases(async ({ config, global, regional, nodeRuns }) => {
    if (nodeRuns) throw new AdminError('a node runs on the databases: stop it first')
    const { head, rows } = await importMetadata({ global, regional }, readExport(from), { check: importCheck(config) })
    printLine(`imported ${rows} rows of deployment ${head.deploymentId}, region ${head.region}, as of ${new Date(head.exportedMs).toISOString()}`)
    printLine('The drives know another database: nodes remove nothing until `anvil admin removal confirm` on each host.')
    printLine('Before that, see that objects are there and can be read. What was written after that moment is not listed, and may be removed once you confirm.')
  })
}

/** The export must be this node's: its region, and keys that this node has. @throws AdminError, DeploymentError */
export const importCheck = (config: Config): ImportCheck => async (head, global) => {
  if (head.region !== config.region) throw new AdminError(`the export is of region ${head.region}, REGION is ${config.region}`)
  await checkKeys(global, fromUuid<DeploymentId>(head.deploymentId), config.encryptionKeys)
}

/** anvil admin tenant … */
import type { Command } from 'commander'
import { AdminError } from '../directory/admin-error.ts'
import { createTenant, deleteTenant, listTenants } from '../directory/admin-tenants.ts'
import { withDirectory } from './admin-databases.ts'
import { printJson, printLine, printRows } from './output.ts'

export function addTenantCommands(admin: Command): void {
  const tenant = admin.command('tenant').description('tenants: who owns apps and buckets')
  tenant
    .command('create')
    .requiredOption('--name <name>', 'letters, digits, dots, dashes and underscores')
    .option('--json', 'print JSON')
    .action(async ({ name, json }: { name: string; json?: boolean }) => {
      const made = await withDirectory((client) => createTenant(client, requireName(name)))
      if (json) printJson(made)
      else printLine(`tenant ${made.name} created`)
    })
  tenant
    .command('list')
    .option('--json', 'print JSON')
    .action(async (options: { json?: boolean }) => {
      printRows(await withDirectory(listTenants), ['name', 'id', 'apps', 'buckets', 'createdAt'], options)
    })
  tenant
    .command('delete')
    .description('delete a tenant without apps and buckets')
    .requiredOption('--name <name>')
    .action(async ({ name }: { name: string }) => {
      await withDirectory((client) => deleteTenant(client, name))
      printLine(`tenant ${name} deleted`)
    })
}

/** Names of tenants and apps. Without slashes, so that tenant/app names one app. @throws AdminError */
export function requireName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return name
  throw new AdminError(`${name} is not a name; use at most 63 letters, digits, dots, dashes and underscores`)
}

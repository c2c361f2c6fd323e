/** anvil admin app … */
import type { Command } from 'commander'
import { createApp, deleteApp, dropOldSecret, findApp, listApps, rotateSecret, setAppDisabled } from '../directory/admin-apps.ts'
import { tenantId } from '../directory/admin-tenants.ts'
import { withDirectory } from './admin-databases.ts'
import { requireName } from './admin-tenant.ts'
import { printCredentials, printLine, printRows } from './output.ts'

const APP = 'client id (access key), tenant/name, or a name that only one app has'

export function addAppCommands(admin: Command): void {
  const app = admin.command('app').description('apps: the credentials that clients sign with')
  app
    .command('create')
    .description('make an app; it may do nothing until `anvil admin policy grant`')
    .requiredOption('--name <name>')
    .option('--tenant <name>', 'tenant that it belongs to', 'default')
    .option('--json', 'print JSON')
    .action(async ({ name, tenant, json }: { name: string; tenant: string; json?: boolean }) => {
      const made = await withDirectory(async (client, keyring) =>
        createApp(client, keyring, { tenantId: await tenantId(client, tenant), name: requireName(name) }),
      )
      printCredentials(made, { json })
    })
  app
    .command('list')
    .option('--tenant <name>', 'only of this tenant')
    .option('--json', 'print JSON')
    .action(async ({ tenant, json }: { tenant?: string; json?: boolean }) => {
      const rows = await withDirectory((client) => listApps(client, tenant ?? null))
      printRows(rows, ['clientId', 'tenant', 'name', 'disabled', 'secrets', 'grants', 'createdAt'], { json })
    })
  app
    .command('rotate-secret')
    .description('give the app a second secret; both are live until `drop-old-secret`')
    .requiredOption('--app <app>', APP)
    .option('--json', 'print JSON')
    .action(async ({ app: reference, json }: { app: string; json?: boolean }) => {
      const made = await withDirectory(async (client, keyring) => rotateSecret(client, keyring, await findApp(client, reference)))
      printCredentials(made, { json })
    })
  const change = (name: string, description: string, done: string, work: Parameters<typeof changeApp>[1]): void => {
    app
      .command(name)
      .description(description)
      .requiredOption('--app <app>', APP)
      .action(async ({ app: reference }: { app: string }) => printLine(`app ${await changeApp(reference, work)} ${done}`))
  }
  change('drop-old-secret', 'end a rotation: only the newest secret stays live', 'has one secret', dropOldSecret)
  change('disable', 'refuse its requests, until `enable`', 'disabled', (client, id) => setAppDisabled(client, id, true))
  change('enable', 'accept its requests again', 'enabled', (client, id) => setAppDisabled(client, id, false))
  change('delete', 'delete the app and its grants; buckets belong to the tenant and stay', 'deleted', deleteApp)
}

const changeApp = (reference: string, work: (client: Parameters<typeof findApp>[0], clientId: string) => Promise<void>): Promise<string> =>
  withDirectory(async (client) => {
    const clientId = await findApp(client, reference)
    await work(client, clientId)
    return clientId
  })

/** anvil admin policy … */
import type { Command } from 'commander'
import { findApp } from '../directory/admin-apps.ts'
import { grant, listGrants, parseGrant, revoke } from '../directory/admin-policies.ts'
import { ACTIONS } from '../directory/contract.ts'
import { withDirectory } from './admin-databases.ts'
import { printLine, printRows } from './output.ts'

interface Target {
  app: string
  action: string
  resource: string
}

export function addPolicyCommands(admin: Command): void {
  const policy = admin.command('policy').description('what apps may do')
  const target = (command: Command): Command =>
    command
      .requiredOption('--app <app>', 'client id, tenant/name, or a name that only one app has')
      .requiredOption('--action <action>', `${ACTIONS.join(', ')}, or *`)
      .requiredOption('--resource <resource>', 'BUCKET, BUCKET/*, BUCKET/PREFIX/*, or *')
  target(policy.command('grant').description('allow an app an action on a resource')).action(async (options: Target) => {
    const wanted = parseGrant(options.action, options.resource)
    const made = await withDirectory(async (client) => grant(client, await findApp(client, options.app), wanted))
    printLine(made ? `${options.app} may ${wanted.action} on ${wanted.resource}` : `${options.app} had ${wanted.action} on ${wanted.resource} already`)
  })
  target(policy.command('revoke').description('take back exactly what was granted')).action(async (options: Target) => {
    const { action, resource } = options
    await withDirectory(async (client) => revoke(client, await findApp(client, options.app), parseGrant(action, resource)))
    printLine(`${options.app} has ${action} on ${resource} no more`)
  })
  policy
    .command('list')
    .requiredOption('--app <app>')
    .option('--json', 'print JSON')
    .action(async ({ app, json }: { app: string; json?: boolean }) => {
      printRows(await withDirectory(async (client) => listGrants(client, await findApp(client, app))), ['action', 'resource'], { json })
    })
}

/** anvil admin …: everything that talks to the databases directly. */
import type { Command } from 'commander'
import { addAppCommands } from './admin-app.ts'
import { addBackgroundCommands } from './admin-background.ts'
import { addBucketCommands } from './admin-bucket.ts'
import { addDriveCommands } from './admin-drive.ts'
import { addMetadataCommands } from './admin-metadata.ts'
import { addMigrateCommand } from './admin-migrate.ts'
import { addNodeCommands } from './admin-node.ts'
import { addPolicyCommands } from './admin-policy.ts'
import { addRegionCommands } from './admin-regions.ts'
import { addTenantCommands } from './admin-tenant.ts'

export function addAdminCommands(program: Command): void {
  const admin = program
    .command('admin')
    .description('manage the deployment; needs the same settings as a node, and takes effect on running nodes within 2 seconds')
  addMigrateCommand(admin)
  addRegionCommands(admin)
  addTenantCommands(admin)
  addAppCommands(admin)
  addPolicyCommands(admin)
  addBucketCommands(admin)
  addDriveCommands(admin)
  addMetadataCommands(admin)
  addNodeCommands(admin)
  addBackgroundCommands(admin)
}

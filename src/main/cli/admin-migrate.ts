/** anvil admin migrate */
import type { Command } from 'commander'
import { migrate, MIGRATIONS } from '../postgres/migrate.ts'
import { withDatabases } from './admin-databases.ts'
import { printLine } from './output.ts'

export function addMigrateCommand(admin: Command): void {
  admin
    .command('migrate')
    .description('bring the databases to the schema of this version of anvil; safe to run at any time, from several hosts at once')
    .option('--global', 'only the global database')
    .option('--regional', 'only the database of this region')
    .action(async (options: { global?: boolean; regional?: boolean }) => {
      const both = !options.global && !options.regional
      await withDatabases(async ({ global, regional }) => {
        if (both || options.global) say('global', await migrate(global, MIGRATIONS.global))
        if (both || options.regional) say('regional', await migrate(regional, MIGRATIONS.regional))
      })
    })
}

const say = (which: string, applied: string[]): void =>
  printLine(applied.length === 0 ? `${which} database: nothing to do` : `${which} database: applied ${applied.join(', ')}`)

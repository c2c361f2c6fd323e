/** The `anvil` command. */
import { Command } from 'commander'
import { addAdminCommands } from './admin.ts'
import { addClusterCommands } from './cluster.ts'
import { report } from './failure.ts'
import { VERSION } from '../version.ts'
import { runNodeCommand } from './run-node.ts'

const program = new Command('anvil')
  .description('S3-compatible, erasure-coded, strictly durable object store. Without a command: run a node.')
  .version(VERSION)
  .option('--init-cluster', 'first node: migrate the databases, register the region, make the first app; harmless when done before')
  .allowExcessArguments(false)
  .showHelpAfterError('(anvil --help tells more)')
  .exitOverride()
  .action(runNodeCommand)
addAdminCommands(program)
addClusterCommands(program)

// `anvil admin status | head -3`: the reader has what it wanted
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = report(error)
}

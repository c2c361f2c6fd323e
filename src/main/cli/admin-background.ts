/** anvil admin status, background, scrub, removal: what only the running node of this host knows. */
import type { Command } from 'commander'
import type { Health } from '../health.ts'
import type { Maintenance } from '../maintenance/maintenance.ts'
import type { MetadataExports } from '../maintenance/metadata-exports.ts'
import { requireConfig } from './admin-databases.ts'
import { askNode } from './node-status.ts'
import { printJson, printLine, printRows } from './output.ts'

interface NodeStatus {
  health: Health['body']
  drives: { path: string; driveId: string | null; state: string; reason: string; totalBytes: number; freeBytes: number }[]
  driveStats: { driveId: string; liveBytes: number; deadBytes: number; shards: number; crcErrors: number; ioErrors: number }[]
  engine: Record<string, number>
  metadata: Record<string, number>
  background: ReturnType<Maintenance['status']>
  metadataCopies: { embedded: boolean; exports: ReturnType<MetadataExports['status']> | null }
}

const GIB = 2 ** 30
const gib = (bytes: number): string => (bytes / GIB).toFixed(1)

const ask = async (method: 'GET' | 'POST', path: string): Promise<unknown> => {
  const { config } = requireConfig({ mayGenerate: false })
  return askNode(config.stateDir, method, path)
}

export function addBackgroundCommands(admin: Command): void {
  admin
    .command('status')
    .description("this host's node: health, drives, counts")
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const status = (await ask('GET', '/status')) as NodeStatus
      if (json) printJson(status)
      else printStatus(status)
    })
  admin
    .command('background')
    .description('background work of this host: what it does and has done')
    .option('--json', 'print JSON')
    .option('--run', 'start the next round of everything now')
    .action(async ({ json, run }: { json?: boolean; run?: boolean }) => {
      if (run) await ask('POST', '/run-now')
      const { background } = (await ask('GET', '/status')) as NodeStatus
      if (json) return printJson(background)
      const rows = background.tasks.map((task) => ({
        task: task.name,
        state: task.state,
        now: task.now,
        last: task.last,
        done: Object.entries(task.counters).map(([name, value]) => `${name} ${value}`).join(', '),
        failures: task.failures,
        error: task.lastError,
      }))
      printRows(rows, ['task', 'state', 'now', 'last', 'done', 'failures', 'error'])
      if (background.removalPaused !== '') printLine(`removal is paused: ${background.removalPaused}`)
    })
  admin
    .command('scrub')
    .description('read and verify everything on the drives of this host now')
    .action(async () => {
      await ask('POST', '/scrub')
      printLine('scrubbing; `anvil admin background` shows how far it is')
    })
  admin
    .command('removal')
    .description('removal of unreferenced data')
    .command('confirm')
    .description('the database was checked after a restore or promotion: removal may go on')
    .action(async () => {
      await ask('POST', '/removal/confirm')
      printLine('removal goes on')
    })
}

function printStatus({ health, drives, driveStats, metadata, metadataCopies }: NodeStatus): void {
  printLine(`node      ${health.status}, version ${health.version}, code ${health.code ?? 'none'}`)
  printLine(`metadata  ${health.metadata.state}${health.metadata.reason === '' ? '' : `: ${health.metadata.reason}`}`)
  if (metadataCopies.embedded) printLine(`metadata  one copy, in the embedded Postgres; ${storedText(metadataCopies.exports)}`)
  printLine(`counts    ${Object.entries(metadata).map(([name, value]) => `${name} ${value}`).join(', ')}`)
  for (const warning of health.warnings) printLine(`warning   ${warning}`)
  printLine('')
  const stats = new Map(driveStats.map((one) => [one.driveId, one]))
  printRows(drives.map((drive) => {
    const one = drive.driveId === null ? undefined : stats.get(drive.driveId)
    return {
      path: drive.path, state: drive.state, liveGiB: gib(one?.liveBytes ?? 0), freeGiB: gib(drive.freeBytes), totalGiB: gib(drive.totalBytes),
      shards: one?.shards ?? 0, errors: (one?.crcErrors ?? 0) + (one?.ioErrors ?? 0),
    }
  }), ['path', 'state', 'liveGiB', 'freeGiB', 'totalGiB', 'shards', 'errors'])
}

function storedText(exports: NodeStatus['metadataCopies']['exports']): string {
  if (exports === null) return 'not stored on the drives (ANVIL_METADATA_EXPORT_PERIOD_SECS=0)'
  const [newest] = exports.stored
  return newest === undefined ? 'not stored on the drives yet' : `last stored on the drives as of ${new Date(newest.exportedMs).toISOString()}`
}

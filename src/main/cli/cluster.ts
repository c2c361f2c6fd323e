/** anvil cluster status [--watch] [--json] [--host URL] */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { ClusterStatus__Output } from '../grpc/generated/anvil/v1/ClusterStatus.ts'
import { AdminError } from '../directory/admin-error.ts'
import { requireConfig } from './admin-databases.ts'
import { clusterTable } from './cluster-table.ts'
import { printJson, printLine } from './output.ts'

interface StatusOptions {
  watch?: boolean
  json?: boolean
  host?: string
  tlsCa?: string
}

export function addClusterCommands(program: Command): void {
  const cluster = program.command('cluster').description('the cluster of a region, asked of one of its nodes')
  cluster.command('status')
    .description('nodes, drives, redundancy, databases')
    .option('--watch', 'go on, and show each change')
    .option('--json', 'one object (with --watch one a line)')
    .option('--host <url>', 'gRPC address of the node to ask (default: PUBLIC_GRPC_ADDR)')
    .option('--tls-ca <file>', 'certificates to trust beside the system\'s')
    .action(status)
}

/** The deadline of one answer. */
const ANSWER_MS = 10_000
const AGAIN_MS = 1000

async function status({ watch = false, json = false, host, tlsCa }: StatusOptions): Promise<void> {
  const { config } = requireConfig({ mayGenerate: false })
  const { clusterClient } = await import('./grpc-client.ts')
  const client = await clusterClient({ url: host ?? config.publicGrpcAddr, jwtSecret: config.jwtSecret, caFile: tlsCa })
  const show = (answer: ClusterStatus__Output): void => {
    if (json) return watch ? printLine(JSON.stringify(answer)) : printJson(answer)
    if (watch && process.stdout.isTTY) process.stdout.write('\x1b[2J\x1b[H')
    for (const line of clusterTable(answer, Date.now())) printLine(line)
    if (watch) printLine('')
  }
  try {
    if (!watch) return show(await client.status(ANSWER_MS))
    for (;;) {
      try {
        for await (const answer of client.watch()) show(answer)
      } catch (error) {
        if (!(error instanceof AdminError)) throw error
        process.stderr.write(`anvil: ${error.message}; trying again\n`)
      }
      await sleep(AGAIN_MS)
      await client.renewToken()
    }
  } finally {
    client.close()
  }
}

/** The databases of a deployment for one `anvil admin` command, with the settings that a node has. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, ClientConfig } from 'pg'
import type { Config } from '../config/contract.ts'
import { mistakeLine } from '../config/load.ts'
import { loadNodeConfig } from '../config/load-node-config.ts'
import { AdminError } from '../directory/admin-error.ts'
import { checkKeys, deploymentId } from '../directory/deployment.ts'
import { refuseEmbeddedAfterMove } from '../directory/own-servers.ts'
import { clientConfigOfUrl, isUnavailable, withClient } from '../postgres/connection.ts'
import type { Logger } from '../postgres/logger.ts'
import { MIGRATIONS, schemaState } from '../postgres/migrate.ts'
import { lockState, StateInUseError } from '../postgres/state-lock.ts'
import { embeddedClientConfig, EMBEDDED_DATABASES, startEmbeddedPostgres } from '../postgres/supervisor.ts'
import { createKeyring, type Keyring } from '../secrets/keyring.ts'
import { ExitError, EXIT_USAGE } from './failure.ts'
import { askNode } from './node-status.ts'

export interface AdminDatabases {
  config: Config
  global: ClientConfig
  regional: ClientConfig
  /** Whether a node uses the embedded Postgres now; of servers of one's own this is not known: false. */
  nodeRuns: boolean
}

/** The settings; every mistake is written to standard error. @throws ExitError */
export function requireConfig(options: { mayGenerate: boolean }): { config: Config; warnings: string[] } {
  const loaded = loadNodeConfig(process.env, options)
  if (!('mistakes' in loaded)) return loaded
  for (const mistake of loaded.mistakes) process.stderr.write(`anvil: ${mistakeLine(mistake)}\n`)
  throw new ExitError(EXIT_USAGE)
}

/**
 * Runs `work` with both databases reachable. On the embedded default that is the Postgres of the node that runs, or, if
 * none does, one that runs as long as the command.
 */
export async function withDatabases<T>(work: (databases: AdminDatabases) => Promise<T>): Promise<T> {
  const { config } = requireConfig({ mayGenerate: false })
  if (config.globalDatabaseUrl !== null && config.regionalDatabaseUrl !== null) {
    return work({ config, global: clientConfigOfUrl(config.globalDatabaseUrl), regional: clientConfigOfUrl(config.regionalDatabaseUrl), nodeRuns: false })
  }
  refuseEmbeddedAfterMove(config.stateDir)
  const databases = {
    config,
    global: embeddedClientConfig(config.stateDir, EMBEDDED_DATABASES.global),
    regional: embeddedClientConfig(config.stateDir, EMBEDDED_DATABASES.regional),
  }
  const lock = await lockUnlessNodeRuns(config.stateDir)
  if (lock === null) {
    await untilReachable(databases.global)
    return work({ ...databases, nodeRuns: true })
  }
  try {
    const postgres = await startEmbeddedPostgres({ stateDir: config.stateDir, logger: problemsOnly })
    const interrupt = (signal: NodeJS.Signals): void => void postgres.stop().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143))
    process.once('SIGINT', interrupt).once('SIGTERM', interrupt)
    try {
      return await work({ ...databases, nodeRuns: false })
    } finally {
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
      await postgres.stop()
    }
  } finally {
    lock.release()
  }
}

/** Runs `work` on the global database of a deployment that exists and whose keys this command has. */
export async function withDirectory<T>(work: (client: Client, keyring: Keyring) => Promise<T>): Promise<T> {
  return withDatabases(async ({ config, global }) => {
    const { empty, pending } = await schemaState(global, MIGRATIONS.global)
    if (empty) throw new AdminError('the global database holds no deployment yet: start its first node with `anvil --init-cluster`')
    if (pending.length > 0) throw new AdminError(`the global database lacks ${pending.join(', ')}: run \`anvil admin migrate\``)
    return withClient(global, async (client) => {
      const id = await deploymentId(client)
      if (id === null) throw new AdminError('the global database holds no deployment yet: start its first node with `anvil --init-cluster`')
      await checkKeys(client, id, config.encryptionKeys)
      const result = await work(client, createKeyring(config.encryptionKeys))
      await tellNode(config.stateDir)
      return result
    })
  })
}

const TELL_WITHIN_MS = 2000

/** The node on this host tells all others at once; where none runs they see it within seconds by themselves. */
async function tellNode(stateDir: string): Promise<void> {
  try {
    await askNode(stateDir, 'POST', '/directory-changed', TELL_WITHIN_MS)
  } catch (error) {
    if (!(error instanceof AdminError)) throw error
  }
}

async function lockUnlessNodeRuns(stateDir: string): Promise<{ release(): void } | null> {
  try {
    return await lockState(stateDir, 'admin')
  } catch (error) {
    if (error instanceof StateInUseError && error.holder?.role === 'node') return null
    throw error
  }
}

const REACHABLE_WITHIN_MS = 30_000

/** The node may have started a moment ago, and its Postgres not yet. */
async function untilReachable(config: ClientConfig): Promise<void> {
  for (const deadline = Date.now() + REACHABLE_WITHIN_MS; ; ) {
    try {
      return await withClient(config, async (client) => void (await client.query('SELECT')))
    } catch (error) {
      if (!isUnavailable(error) || Date.now() > deadline) throw error
    }
    await sleep(200)
  }
}

/** A command's output is its answer: only what goes wrong beside it is told. */
export const problemsOnly: Logger = {
  debug: () => {},
  info: () => {},
  warn: (_fields, message) => void process.stderr.write(`anvil: ${message}\n`),
  error: (_fields, message) => void process.stderr.write(`anvil: ${message}\n`),
}

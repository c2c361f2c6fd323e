/** From settings to two databases that are ready: reached, migrated, of one deployment, with this node's region in it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClientConfig } from 'pg'
import type { DeploymentId } from '../../shared/ids.ts'
import type { Config } from '../config/contract.ts'
import { clientConfigOfUrl, describe, isUnavailable, withClient } from '../postgres/connection.ts'
import type { Logger } from '../postgres/logger.ts'
import { migrate, MIGRATIONS, SchemaError, schemaState } from '../postgres/migrate.ts'
import { lockState } from '../postgres/state-lock.ts'
import { EMBEDDED_DATABASES, startEmbeddedPostgres } from '../postgres/supervisor.ts'
import { whileAway } from '../postgres/while-away.ts'
import type { Credentials } from './credentials.ts'
import { beginDeployment, checkKeys, DeploymentError, deploymentId, isRegionRegistered, offerEndpoint } from './deployment.ts'
import { firstAppFile } from './first-app-file.ts'
import { noteOwnServers, refuseEmbeddedAfterMove } from './own-servers.ts'

export interface PreparedDatabases {
  global: ClientConfig
  regional: ClientConfig
  /** Whether the embedded Postgres serves both: one copy, on this host. */
  embedded: boolean
  deploymentId: DeploymentId
  /** Credentials of the first app, where this node made them or keeps them. `created`: just now, to be printed once. */
  firstApp: (Credentials & { created: boolean; file: string | null }) | null
  /** Stops the embedded Postgres and lets the state folder go. After everything that uses the databases. Idempotent. */
  stop(): Promise<void>
}

export interface PrepareOptions {
  /** `--init-cluster` */
  initCluster: boolean
  logger: Logger
  /** Ends the waiting for a database or a deployment. */
  signal?: AbortSignal
}

const RETRY_MS = 1000
const SAY_EVERY_MS = 30_000

/**
 * Takes the state folder, starts the embedded Postgres where the settings name no database, and waits for databases that
 * are not reachable yet. With `initCluster` it makes what is missing; without, it waits for a deployment.
 * @throws StateInUseError, SchemaError, DeploymentError: the message is for the operator
 */
export async function prepareDatabases(config: Config, options: PrepareOptions): Promise<PreparedDatabases> {
  const { logger, signal } = options
  const lock = await lockState(config.stateDir, 'node', { signal })
  const undo: (() => void | Promise<void>)[] = [() => lock.release()]
  const stop = async (): Promise<void> => {
    for (let step = undo.pop(); step; step = undo.pop()) await step()
  }
  try {
    const servers = await findServers(config, logger, signal)
    undo.push(() => servers.stop())
    const begun = options.initCluster ? await begin(config, servers, options) : await join(config, servers, options)
    if (!servers.embedded) noteOwnServers(config.stateDir, servers)
    return { global: servers.global, regional: servers.regional, embedded: servers.embedded, ...begun, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

interface Servers {
  global: ClientConfig
  regional: ClientConfig
  embedded: boolean
  stop(): Promise<void>
}

async function findServers(config: Config, logger: Logger, signal?: AbortSignal): Promise<Servers> {
  if (config.globalDatabaseUrl !== null && config.regionalDatabaseUrl !== null) {
    return {
      global: clientConfigOfUrl(config.globalDatabaseUrl),
      regional: clientConfigOfUrl(config.regionalDatabaseUrl),
      embedded: false,
      stop: async () => {},
    }
  }
  refuseEmbeddedAfterMove(config.stateDir)
  const postgres = await startEmbeddedPostgres({ stateDir: config.stateDir, logger, signal })
  return {
    global: postgres.clientConfig(EMBEDDED_DATABASES.global),
    regional: postgres.clientConfig(EMBEDDED_DATABASES.regional),
    embedded: true,
    stop: () => postgres.stop(),
  }
}

type Begun = Pick<PreparedDatabases, 'deploymentId' | 'firstApp'>

async function begin(config: Config, { global, regional }: Servers, { logger, signal }: PrepareOptions): Promise<Begun> {
  await reached(global, logger, signal, () => migrate(global, MIGRATIONS.global, logger))
  await reached(regional, logger, signal, () => migrate(regional, MIGRATIONS.regional, logger))
  const { bootstrapAccessKey: accessKey, bootstrapSecretKey: secretKey } = config
  const credentials = accessKey !== null && secretKey !== null ? { accessKey, secretKey } : null
  const { id, made } = await reached(global, logger, signal, () => withClient(global, async (client) => {
    const begun = await beginDeployment(client, { ...config, credentials }, logger)
    await offerEndpoint(client, config.region, s3Endpoint(config))
    return begun
  }))
  return { deploymentId: id, firstApp: made ? { ...made, created: true, file: credentials ? null : firstAppFile(config.stateDir).path } : keptApp(config) }
}

async function join(config: Config, servers: Servers, { logger, signal }: PrepareOptions): Promise<Begun> {
  const { global, regional, embedded } = servers
  const id = await waitForDeployment(config, servers, logger, signal)
  await reached(global, logger, signal, () => withClient(global, async (client) => {
    await checkKeys(client, id, config.encryptionKeys)
    if (await isRegionRegistered(client, config.region)) return offerEndpoint(client, config.region, s3Endpoint(config))
    throw new DeploymentError(`region ${config.region} (REGION) is not registered: run \`anvil admin regions create --name ${config.region}\`, or correct REGION`)
  }))
  await reached(regional, logger, signal, async () => {
    const state = await schemaState(regional, MIGRATIONS.regional)
    // The first node of a region finds its database empty. Elsewhere an operator decides when the schema changes.
    if (state.empty || embedded) await migrate(regional, MIGRATIONS.regional, logger)
    else requireMigrated('regional', regional, state.pending)
  })
  return { deploymentId: id, firstApp: keptApp(config) }
}

async function waitForDeployment(config: Config, { global, embedded }: Servers, logger: Logger, signal?: AbortSignal): Promise<DeploymentId> {
  const look = async (): Promise<DeploymentId | null> => {
    if (embedded) await migrate(global, MIGRATIONS.global, logger)
    const state = await schemaState(global, MIGRATIONS.global)
    if (state.empty) return null
    requireMigrated('global', global, state.pending)
    return withClient(global, deploymentId)
  }
  for (let saidMs = -Infinity; ; ) {
    const id = await reached(global, logger, signal, look)
    if (id !== null) return id
    if (performance.now() - saidMs > SAY_EVERY_MS) {
      saidMs = performance.now()
      const what = embedded
        ? `there is no deployment in ${config.stateDir} (ANVIL_STATE_DIR) yet; stop this process and start it with --init-cluster to make one`
        : `the global database ${describe(global)} holds no deployment yet; waiting until its first node was started with --init-cluster`
      logger.warn({}, what)
    }
    await sleep(RETRY_MS, undefined, { signal })
  }
}

/** Where clients reach S3 on this node: gRPC's public host, and the port of S3 as it is bound. */
function s3Endpoint({ publicGrpcAddr, http, tls }: Config): string {
  return `${tls === null ? 'http' : 'https'}://${new URL(publicGrpcAddr).hostname}:${http.port}`
}

function requireMigrated(which: 'global' | 'regional', config: ClientConfig, pending: string[]): void {
  if (pending.length === 0) return
  throw new SchemaError(`the ${which} database ${describe(config)} lacks ${pending.join(', ')}: run \`anvil admin migrate\``)
}

/** Runs `work`, again and again while the database cannot be reached: it may start after this node. */
const reached = <T>(config: ClientConfig, logger: Logger, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> =>
  whileAway({ what: describe(config), isAway: (error) => !(error instanceof SchemaError) && isUnavailable(error), logger, signal }, work)

function keptApp(config: Config): PreparedDatabases['firstApp'] {
  const file = firstAppFile(config.stateDir)
  const kept = file.read()
  return kept ? { ...kept, created: false, file: file.path } : null
}

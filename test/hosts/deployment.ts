/**
 * The tutorial's deployment: two databases on host A, and nodes whose settings are those of the compose files, with one
 * .env for all. The password has what a URL cannot hold as it is.
 */
import { randomBytes } from 'node:crypto'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { CREDENTIALS, type NodeSettings } from './anvil-node.ts'
import { composeService } from './compose.ts'
import { type Host, HOST_A } from './network.ts'
import type { Namespace } from './namespaces.ts'

const DATABASES = { global: { name: 'anvil_global', port: 5433 }, regional: { name: 'anvil_regional', port: 5432 } }
const USER = 'anvil'
const PASSWORD = 'p@ss/word:#1%?'

/** What stands in .env. */
const variables: Record<string, string> = {
  POSTGRES_PASSWORD: PASSWORD,
  POSTGRES_PASSWORD_IN_URL: encodeURIComponent(PASSWORD),
  JWT_SECRET: randomBytes(32).toString('hex'),
  ANVIL_SECRET_ENCRYPTION_KEY: randomBytes(32).toString('hex'),
  ANVIL_CLUSTER_SECRET: randomBytes(32).toString('hex'),
  ANVIL_BOOTSTRAP_ACCESS_KEY: CREDENTIALS.accessKeyId,
  ANVIL_BOOTSTRAP_SECRET_KEY: CREDENTIALS.secretAccessKey,
}

export interface Databases {
  /** Servers of one database each, which `config` names. */
  global: TestPostgres
  regional: TestPostgres
  stop(): Promise<void>
}

/** Both servers of host A, in whose network this process runs. */
export async function startDatabases(): Promise<Databases> {
  const [global, regional] = await Promise.all([start(DATABASES.global), start(DATABASES.regional)])
  return { global, regional, stop: async () => void (await Promise.all([global.stop(), regional.stop()])) }
}

async function start({ name, port }: { name: string; port: number }): Promise<TestPostgres> {
  const postgres = await startPostgres({ tcp: { port, user: USER, password: PASSWORD } })
  return { ...postgres, config: await postgres.database(name) }
}

/** anvil1 of docker/docker-compose.yml; the tutorial's is on host A. */
export function firstNode(host: Host, namespace: Namespace = host.namespace): NodeSettings {
  const { environment, command = [] } = composeService('docker-compose.yml', 'anvil1', { ...variables, HOST_A: host.address })
  // The names that the compose network has for the databases.
  const env = Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, value.replace(/@postgres-(global|regional):/, `@${HOST_A}:`)]))
  return { name: 'anvil1', host, namespace, env, args: command, volumes: true }
}

/** anvil2 of docker/docker-compose.node.yml on another host: only its address differs from the tutorial's. */
export function furtherNode(host: Host, number: number, bootstrap: Host, namespace: Namespace = host.namespace): NodeSettings {
  const { environment, command = [] } = composeService('docker-compose.node.yml', 'anvil2', {
    ...variables, HOST_A, HOST_B: host.address, BOOTSTRAP_HOST: bootstrap.address,
  })
  return { name: `anvil${number}`, host, namespace, env: environment, args: command }
}

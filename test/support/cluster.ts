/**
 * A real cluster for the tests: node processes on loopback that share two databases of a real Postgres, each with its own
 * ports, state and drives, joined through the first one's address. Small on purpose: one drive and one worker each.
 */
import { rmSync } from 'node:fs'
import { Client, type QueryResultRow } from 'pg'
import type { Member } from '../../src/main/membership/contract.ts'
import { NodeProcess, type NodeHost, type NodeOptions } from './node-process.ts'
import { startPostgres, type TestPostgres } from './postgres.ts'
import { until } from './until.ts'

export interface ClusterOptions extends NodeOptions {
  /** Nodes that are started together. */
  nodes: number
  /** Environment of one node, by its number. */
  envOf?: (index: number) => Record<string, string> | undefined
  /** Where the next node runs. @default loopback */
  nextHost?: () => Promise<NodeHost>
  /** @default CLUSTER_REGION */
  region?: string
  /** The global database that several regions share; the cluster's own server then holds the regional one only. @default one of its own */
  globalDatabaseUrl?: string
}

export const CLUSTER_REGION = 'us-east-1'

export class TestCluster {
  readonly postgres: TestPostgres
  readonly nodes: NodeProcess[] = []
  readonly #options: ClusterOptions
  #preparing: Promise<unknown> = Promise.resolve()
  readonly #databases: { GLOBAL_DATABASE_URL: string; REGIONAL_DATABASE_URL: string }

  private constructor(postgres: TestPostgres, options: ClusterOptions) {
    const url = (database: string): string => postgres.url.replace('/postgres?', `/${database}?`)
    this.postgres = postgres
    this.#options = options
    this.#databases = { GLOBAL_DATABASE_URL: options.globalDatabaseUrl ?? url('anvil_global'), REGIONAL_DATABASE_URL: url('anvil_regional') }
  }

  /** Its databases, empty; no node is there yet. */
  static async created(options: ClusterOptions): Promise<TestCluster> {
    const postgres = await startPostgres({ settings: { max_connections: '300' } })
    const cluster = new TestCluster(postgres, options)
    try {
      if (options.globalDatabaseUrl === undefined) await postgres.database('anvil_global')
      await postgres.database('anvil_regional')
    } catch (error) {
      await cluster.dispose()
      throw error
    }
    return cluster
  }

  /** Starts the first node with `--init-cluster`, then all others at once; resolves when each sees all of them alive and answering. */
  static async started(options: ClusterOptions): Promise<TestCluster> {
    const cluster = await TestCluster.created(options)
    try {
      await cluster.add(['--init-cluster'])
      await cluster.complete()
    } catch (error) {
      await cluster.dispose()
      throw error
    }
    return cluster
  }

  /** Adds what is missing to the wanted number of nodes, all at once; resolves when each sees all of them alive and answering. */
  async complete(): Promise<void> {
    await Promise.all(Array.from({ length: this.#options.nodes - this.nodes.length }, () => this.add()))
    await this.untilWhole()
  }

  get first(): NodeProcess {
    return this.nodes[0]!
  }

  node(index: number): NodeProcess {
    return this.nodes[index]!
  }

  /** Multiaddr that peers dial. */
  addressOf(node: NodeProcess): string {
    return node.env['QUIC_BIND_ADDR']!
  }

  /** One more node, ready when it resolves. */
  async add(args: readonly string[] = [], env: Record<string, string> = {}): Promise<NodeProcess> {
    const node = await this.prepare(args, env)
    await node.start()
    return node
  }

  /** One more node with its folder and its settings; it does not run yet. */
  prepare(args: readonly string[] = [], env: Record<string, string> = {}): Promise<NodeProcess> {
    // one after the other, so that each has the number that it is found by
    const prepared = this.#preparing.then(() => this.#prepare(args, env))
    this.#preparing = prepared.catch(() => undefined) // who asked for it is told
    return prepared
  }

  async #prepare(args: readonly string[], env: Record<string, string>): Promise<NodeProcess> {
    const index = this.nodes.length
    const node = await NodeProcess.create({
      drives: this.#options.drives, args, host: await this.#options.nextHost?.(),
      env: {
        ...this.#databases,
        REGION: this.#options.region ?? CLUSTER_REGION,
        JWT_SECRET: 'test-jwt-secret-0000',
        ANVIL_SECRET_ENCRYPTION_KEY: 'ab'.repeat(32),
        ANVIL_CLUSTER_SECRET: 'test-cluster-secret-0000',
        ANVIL_WORKERS: '1',
        ANVIL_GATEWAY_THREADS: '0',
        ANVIL_MEMORY_LIMIT: '64MiB',
        ...(index === 0 ? {} : { BOOTSTRAP_ADDRS: this.addressOf(this.first) }),
        ...this.#options.env,
        ...this.#options.envOf?.(index),
        ...env,
      },
    })
    this.nodes.push(node)
    return node
  }

  get running(): NodeProcess[] {
    return this.nodes.filter((node) => node.running)
  }

  /** Resolves when every node that runs sees exactly these alive, with their drives taking new shards. */
  async untilWhole(expected: readonly NodeProcess[] = this.running, timeoutMs = 30_000): Promise<void> {
    const drives = expected.reduce((sum, node) => sum + (node.env['ANVIL_DATA_DIRS'] === 'none' ? 0 : node.drives.length), 0)
    for (const node of expected) {
      let last: ClusterState | null = null
      await until(`node ${this.nodes.indexOf(node)} sees ${expected.length} nodes and ${drives} drives`, async () => {
        last = await clusterState(node)
        return last.members.filter((member) => member.state === 'alive').length === expected.length && last.placeable === drives
      }, { timeoutMs, everyMs: 100, detail: () => `${JSON.stringify(last)}\n${node.logTail()}` })
    }
  }

  /** A query on the regional database. */
  async sql<Row extends QueryResultRow>(query: string, values: unknown[] = []): Promise<Row[]> {
    const client = new Client({ connectionString: this.#databases.REGIONAL_DATABASE_URL })
    await client.connect()
    try {
      return (await client.query<Row>(query, values)).rows
    } finally {
      await client.end()
    }
  }

  /** What went wrong may stand in any of them. */
  logTails(): string {
    return this.nodes.map((node, i) => `node ${i} (${node.running ? 'running' : 'ended'}) ${node.logTail()}`).join('\n')
  }

  async dispose(): Promise<void> {
    await Promise.all(this.nodes.map(async (node) => {
      // one that was paused by a test does not even die
      if (node.running) node.signal('SIGCONT')
      await node.dispose()
    }))
    await this.postgres.stop()
    for (const node of this.nodes) if (process.env['E2E_KEEP'] !== '1') rmSync(node.dir, { recursive: true, force: true })
  }
}

export interface ClusterState {
  /** Drives that take new shards. */
  placeable: number
  code: string | null
  members: Pick<Member, 'nodeId' | 'state' | 'addrs' | 'processId'>[]
  problems: { peer: string; kind: string; text: string }[]
}

/** How a node sees its cluster, by its admin socket. */
export const clusterState = async (node: NodeProcess): Promise<ClusterState> =>
  ((await node.adminSocket('GET', '/status')) as { cluster: ClusterState }).cluster

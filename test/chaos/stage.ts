/** The cluster under test, and what a fault may do with it. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { TestCluster } from '../support/cluster.ts'
import type { NodeProcess } from '../support/node-process.ts'
import type { TestPostgres } from '../support/postgres.ts'
import { until } from '../support/until.ts'
import { runNow } from '../e2e/status.ts'
import type { CheckedStore } from './checked.ts'
import type { Findings } from './findings.ts'
import type { ChaosNetwork } from './network.ts'
import type { Weather } from './weather.ts'

/** Others keep the machine busy. */
const PATIENCE_MS = 180_000
const MAX_STARTS = 5

export type Row = Record<string, unknown>

export class Stage {
  /** Its Postgres is the regional one. */
  readonly cluster: TestCluster
  readonly globalDatabase: TestPostgres
  readonly store: CheckedStore
  readonly findings: Findings
  readonly weather: Weather
  /** Null: all nodes are on loopback. */
  readonly network: ChaosNetwork | null
  /** The node whose drive is a small file system of its own; null: none could be mounted. */
  readonly smallDrive: number | null
  /** Nodes that a running fault has taken. */
  readonly taken = new Set<number>()
  /** Nodes that shall run. */
  readonly #up = new Set<number>()
  readonly #paused = new Set<number>()
  readonly #watch: NodeJS.Timeout

  constructor({ cluster, globalDatabase, store, findings, weather, network, smallDrive }: Pick<Stage, 'cluster' | 'globalDatabase' | 'store' | 'findings' | 'weather' | 'network' | 'smallDrive'>) {
    this.cluster = cluster
    this.globalDatabase = globalDatabase
    this.store = store
    this.findings = findings
    this.weather = weather
    this.network = network
    this.smallDrive = smallDrive
    cluster.nodes.forEach((_, i) => this.#up.add(i))
    this.#watch = setInterval(() => this.#look(), 500)
  }

  close(): void {
    clearInterval(this.#watch)
  }

  node(index: number): NodeProcess {
    return this.cluster.node(index)
  }

  get all(): number[] {
    return this.cluster.nodes.map((_, i) => i)
  }

  /** Those that no fault has. */
  get free(): number[] {
    return this.all.filter((i) => !this.taken.has(i))
  }

  /** Where clients go: they know which nodes do not run, and hang on few of those that are paused. */
  get targets(): number[] {
    const running = this.all.filter((i) => this.#up.has(i) && this.node(i).running)
    const answering = running.filter((i) => !this.#paused.has(i))
    return [...answering, ...answering, ...running]
  }

  async kill(index: number): Promise<void> {
    this.#up.delete(index)
    await this.node(index).kill()
  }

  /** SIGTERM; an exit that is not in order is a finding. */
  async stop(index: number): Promise<void> {
    this.#up.delete(index)
    try {
      const { code, signal } = await this.node(index).stop()
      if (code !== 0) this.findings.add('a stop that was not in order', `node ${index}: code ${code}, signal ${signal}\n${this.node(index).logTail()}`)
    } catch (error) {
      this.findings.add('a stop that was not in order', `node ${index}: ${(error as Error).message}`)
    }
  }

  async start(index: number): Promise<void> {
    const node = this.node(index)
    // what starts services on a host starts it again
    for (let tries = 0; tries < MAX_STARTS; tries++) {
      if (!node.running) node.launch()
      try {
        await node.untilReady(PATIENCE_MS)
        this.#up.add(index)
        return
      } catch (error) {
        this.findings.add('a node that does not start', `node ${index}: ${(error as Error).message}`)
      }
    }
  }

  pause(index: number): void {
    this.#paused.add(index)
    this.node(index).signal('SIGSTOP')
  }

  resume(index: number): void {
    this.#paused.delete(index)
    this.node(index).signal('SIGCONT')
  }

  /** A query on the regional database. */
  async sql<R extends Row>(query: string, values: unknown[] = []): Promise<R[]> {
    const client = new pg.Client({ ...this.cluster.postgres.config, database: 'anvil_regional', connectionTimeoutMillis: 10_000 })
    client.on('error', () => undefined) // the query says it
    await client.connect()
    try {
      return (await client.query<R>(query, values)).rows
    } finally {
      await client.end()
    }
  }

  async count(from: string, values: unknown[] = []): Promise<number> {
    const [row] = await this.sql<{ n: number }>(`SELECT count(*)::int AS n FROM ${from}`, values)
    return row!.n
  }

  /** All background work looks now, on all nodes. */
  async hurry(): Promise<void> {
    await Promise.all(this.cluster.running.map((node) => runNow(node).catch(() => undefined /* one that is not up yet looks soon */)))
  }

  /** Resolves when all nodes see each other, nothing waits for repair, and no data is on a drive that is lost or in a group that is narrower than the drives allow. */
  async untilWhole(timeoutMs = PATIENCE_MS): Promise<void> {
    await this.cluster.untilWhole(this.cluster.nodes, timeoutMs)
    let left: unknown = null
    await until('full redundancy', async () => {
      await this.hurry()
      left = await this.below()
      return Object.values(left as Row).every((n) => n === 0)
    }, { timeoutMs, everyMs: 1000, detail: () => JSON.stringify(left) })
  }

  /** What is below full redundancy. */
  async below(): Promise<{ repairs: number; narrow: number; onLostDrives: number }> {
    const [code] = await this.sql<{ k: number; m: number }>('SELECT k, m FROM placement_groups WHERE state = 0 ORDER BY m DESC, k DESC LIMIT 1')
    return {
      repairs: await this.count('repair_queue'),
      narrow: code === undefined ? 0 : await this.count('blobs b JOIN placement_groups g ON g.id = b.pg_id WHERE b.refs > 0 AND (g.m < $1 OR (g.m = $1 AND g.k < $2))', [code.m, code.k]),
      onLostDrives: await this.count('blobs b JOIN placement_groups g ON g.id = b.pg_id WHERE b.refs > 0 AND g.members && ARRAY(SELECT drive_id FROM drives WHERE state = 1)'),
    }
  }

  sleep(ms: number): Promise<void> {
    return sleep(ms)
  }

  #look(): void {
    for (const i of this.#up) {
      const node = this.node(i)
      if (node.running) continue
      this.#up.delete(i)
      this.findings.add('a process that ended by itself', `node ${i}\n${node.logTail()}`)
      void this.start(i)
    }
  }
}

/**
 * Supervises the embedded Postgres of one state folder. The caller holds the state folder's lock, so there is one
 * supervisor; the postmaster may be one that an earlier process left running.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, type ClientConfig } from 'pg'
import { postgresAccount, type Account } from './account.ts'
import { ensureClusterFiles, writeConfiguration } from './cluster-files.ts'
import { installation, type Installation } from './installation.ts'
import { makeFolders, postgresLayout, removeShortSocketDir, SOCKET_PORT, type Layout } from './layout.ts'
import type { Logger } from './logger.ts'
import { findPostmaster, logTail, processesIn, startPostmaster, type Postmaster } from './postmaster.ts'
import { DATABASE_USER } from './settings.ts'

export interface EmbeddedPostgres {
  /** How to reach one of its databases. Stays true over restarts. */
  clientConfig(database: string): ClientConfig
  /** Pid of the postmaster, null while there is none. */
  pid(): number | null
  /** Fast shutdown; resolves when the postmaster is gone. Idempotent. */
  stop(): Promise<void>
}

export interface SupervisorOptions {
  stateDir: string
  logger: Logger
  signal?: AbortSignal
}

/** The databases that the embedded Postgres has. */
export const EMBEDDED_DATABASES = { global: 'anvil_global', regional: 'anvil_regional' } as const

const POLL_FIRST_MS = 15
const POLL_MOST_MS = 250
/** Failed attempts at the first start go on for this long before the caller hears of it. */
const FIRST_START_MS = 30_000
const BACK_OFF_FIRST_MS = 100
const BACK_OFF_MOST_MS = 5000
/** A fast shutdown writes a checkpoint. One that takes this long is cut short, which the next start recovers from. */
const STOP_MS = 60_000

/**
 * Attaches to a postmaster that runs already, or starts one, making the database files first if there are none. Resolves
 * when it accepts connections and has its databases. From then on it is started again whenever it ends.
 * @throws Error with the last lines of its log when it cannot be started
 */
export async function startEmbeddedPostgres({ stateDir, logger, signal }: SupervisorOptions): Promise<EmbeddedPostgres> {
  const layout = postgresLayout(stateDir)
  const account = postgresAccount(layout.data)
  const install = installation(account)
  makeFolders(layout, account)
  await ensureClusterFiles(layout, account, install, logger)
  const supervisor = new Supervisor(layout, account, install, logger)
  await supervisor.start(signal)
  try {
    await createDatabases(embeddedClientConfig(stateDir, 'postgres'))
  } catch (error) {
    await supervisor.stop()
    throw error
  }
  return {
    clientConfig: (database) => embeddedClientConfig(stateDir, database),
    pid: () => supervisor.pid,
    stop: () => supervisor.stop(),
  }
}

/** How to reach a database of the embedded Postgres of a state folder, whoever supervises it. */
export function embeddedClientConfig(stateDir: string, database: string): ClientConfig {
  return { host: postgresLayout(stateDir).socketDir, port: SOCKET_PORT, user: DATABASE_USER, database, application_name: 'anvil' }
}

class Supervisor {
  readonly #layout: Layout
  readonly #account: Account
  readonly #install: Installation
  readonly #logger: Logger
  readonly #stopping = new AbortController()
  #postmaster: Postmaster | null = null
  #watching: Promise<void> = Promise.resolve()
  #stopped: Promise<void> | null = null

  constructor(layout: Layout, account: Account, install: Installation, logger: Logger) {
    this.#layout = layout
    this.#account = account
    this.#install = install
    this.#logger = logger
  }

  get pid(): number | null {
    return this.#postmaster?.pid ?? null
  }

  async start(signal?: AbortSignal): Promise<void> {
    const either = signal ? AbortSignal.any([signal, this.#stopping.signal]) : this.#stopping.signal
    try {
      await this.#bringUp(either, FIRST_START_MS)
    } catch (error) {
      await this.#stopPostmaster() // one that an abort left behind
      throw error
    }
    this.#watching = this.#watch()
  }

  stop(): Promise<void> {
    return (this.#stopped ??= this.#stopAll())
  }

  async #stopAll(): Promise<void> {
    this.#stopping.abort(new Error('the embedded Postgres is being stopped'))
    await this.#watching
    await this.#stopPostmaster()
    removeShortSocketDir(this.#layout)
  }

  /** Starts the postmaster again whenever it ends, until this supervisor stops. */
  async #watch(): Promise<void> {
    const stopping = this.#stopping.signal
    const stop = new Promise<null>((resolve) => stopping.addEventListener('abort', () => resolve(null), { once: true }))
    while (!stopping.aborted) {
      if (this.#postmaster) {
        const end = await Promise.race([this.#postmaster.gone, stop])
        if (end === null) return
        this.#postmaster = null
        this.#logger.error({ end, log: this.#layout.log }, 'the embedded Postgres ended unexpectedly, starting it again')
      }
      try {
        await this.#bringUp(stopping, Infinity)
        this.#logger.info({ pid: this.pid }, 'the embedded Postgres runs again')
      } catch (error) {
        if (stopping.aborted) return
        this.#logger.error({ err: error }, 'the embedded Postgres could not be started again, trying once more')
        await Promise.race([sleep(BACK_OFF_MOST_MS, undefined, { ref: false }), stop])
      }
    }
  }

  /** Attaches or starts, with back-off, until the database answers or attempts have failed for `forMs`. */
  async #bringUp(signal: AbortSignal, forMs: number): Promise<void> {
    const began = Date.now()
    let backOffMs = BACK_OFF_FIRST_MS
    for (;;) {
      signal.throwIfAborted()
      const postmaster = this.#attachOrStart()
      this.#postmaster = postmaster
      const failure = await this.#untilReady(postmaster, signal)
      if (failure === null) {
        this.#logger.debug({ pid: postmaster.pid, attached: postmaster.attached, ms: Date.now() - began }, 'the embedded Postgres accepts connections')
        return
      }
      this.#postmaster = null
      if (Date.now() - began > forMs) throw new Error(`the embedded Postgres does not start: ${failure}\n${logTail(this.#layout.log)}\n(log: ${this.#layout.log})`)
      this.#logger.warn({ failure, retryMs: backOffMs, log: this.#layout.log }, 'the embedded Postgres did not start')
      await sleep(backOffMs, undefined, { signal })
      backOffMs = Math.min(backOffMs * 2, BACK_OFF_MOST_MS)
    }
  }

  #attachOrStart(): Postmaster {
    const running = findPostmaster(this.#layout)
    if (running) return running
    this.#endOrphans()
    writeConfiguration(this.#layout.data, this.#account)
    return startPostmaster(this.#layout, this.#account, this.#install)
  }

  /** null when it accepts connections, or how it ended instead. Recovery after a crash may take its time: it is waited for. */
  async #untilReady(postmaster: Postmaster, signal: AbortSignal): Promise<string | null> {
    let end: string | null = null
    void postmaster.gone.then((how) => (end = how))
    const config = { host: this.#layout.socketDir, port: SOCKET_PORT, user: DATABASE_USER, database: 'postgres' }
    let saidMs = Date.now()
    let pollMs = POLL_FIRST_MS
    for (;;) {
      signal.throwIfAborted()
      if (await accepts(config)) return null
      if (end !== null) return end
      if (Date.now() - saidMs > 5000) {
        saidMs = Date.now()
        this.#logger.info({ pid: postmaster.pid, log: this.#layout.log }, 'waiting for the embedded Postgres, which recovers from a crash or shuts down')
      }
      await sleep(pollMs, undefined, { signal })
      pollMs = Math.min(pollMs * 1.2, POLL_MOST_MS) // each refusal is a line in its log
    }
  }

  /** Children of a killed postmaster would end by themselves, sooner or later; until then no other can start. */
  #endOrphans(): void {
    for (const pid of processesIn(this.#layout.data)) {
      this.#logger.debug({ pid }, 'ending a process that a killed postmaster left behind')
      try {
        process.kill(pid, 'SIGQUIT')
      } catch (error) {
        this.#logger.debug({ pid, error }, 'it was gone already')
      }
    }
  }

  async #stopPostmaster(): Promise<void> {
    const postmaster = this.#postmaster ?? findPostmaster(this.#layout)
    if (!postmaster) return
    postmaster.signal('SIGINT')
    const cut = setTimeout(() => {
      this.#logger.warn({ pid: postmaster.pid }, 'the embedded Postgres takes too long to stop; cutting it short')
      postmaster.signal('SIGQUIT')
    }, STOP_MS)
    const keepAlive = setInterval(() => {}, 1000) // what is awaited does not hold the event loop by itself
    await postmaster.gone
    clearTimeout(cut)
    clearInterval(keepAlive)
    this.#postmaster = null
  }
}

async function accepts(config: ClientConfig): Promise<boolean> {
  const client = new Client({ ...config, connectionTimeoutMillis: 2000 })
  client.on('error', () => {}) // a connection that is cut here says no more than one that is refused
  try {
    await client.connect()
    return true
  } catch {
    return false // not there yet, recovering, or shutting down
  } finally {
    await client.end().catch(() => {}) // it was never open, or is gone
  }
}

async function createDatabases(config: ClientConfig): Promise<void> {
  const client = new Client(config)
  await client.connect()
  try {
    const { rows } = await client.query<{ datname: string }>('SELECT datname FROM pg_database')
    const have = new Set(rows.map((row) => row.datname))
    for (const name of Object.values(EMBEDDED_DATABASES)) {
      if (!have.has(name)) await client.query(`CREATE DATABASE ${name}`)
    }
  } finally {
    await client.end()
  }
}

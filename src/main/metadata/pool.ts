/**
 * Connections to the primary for one purpose. Lost ones are replaced with back-off; who needs one waits a bounded time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { AnvilError } from '../../shared/errors.ts'
import { ConnectionLost, Session, isReadOnly, isTransient, type SessionOptions } from './session.ts'

const FIRST_BACKOFF_MS = 20
const MAX_BACKOFF_MS = 1000

export interface PoolOptions extends SessionOptions {
  /** Most connections. */
  size: number
  /** How long to wait for one. */
  waitMs: number
  /** Told of each attempt to connect: null when it succeeded, else why not. */
  onConnect(failure: string | null): void
}

interface Waiter {
  wake(): void
}

export class Pool {
  readonly #options: PoolOptions
  readonly #idle: Session[] = []
  readonly #waiters: Waiter[] = []
  #open = 0
  #closed = false

  constructor(options: PoolOptions) {
    this.#options = options
  }

  get waitMs(): number {
    return this.#options.waitMs
  }

  /** A connection for this caller alone; give it back with `release`. @throws AnvilError MetadataUnavailable, ShuttingDown */
  async acquire(deadlineMs = Date.now() + this.#options.waitMs): Promise<Session> {
    let backoffMs = FIRST_BACKOFF_MS
    for (let failure: unknown = null; ; ) {
      if (this.#closed) throw new AnvilError('ShuttingDown', 'the metadata is closed')
      const idle = this.#idle.pop()
      if (idle !== undefined) {
        if (!idle.broken) return idle
        this.#open--
        continue
      }
      if (failure !== null && Date.now() >= deadlineMs) throw unavailable(failure)
      if (this.#open < this.#options.size) {
        this.#open++
        try {
          const session = await Session.open(this.#options)
          this.#options.onConnect(null)
          return session
        } catch (error) {
          this.#open--
          this.#waiters.shift()?.wake()
          failure = error
          this.#options.onConnect((error as Error).message)
          // a refusal that waiting does not change
          if (error instanceof AnvilError) throw error
        }
        const remainingMs = deadlineMs - Date.now()
        if (remainingMs <= 0) throw unavailable(failure)
        await sleep(Math.min(backoffMs * (0.5 + Math.random()), remainingMs))
        backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS)
      } else if (!(await this.#turn(deadlineMs))) {
        throw unavailable(failure ?? new Error('all connections are in use'))
      }
    }
  }

  release(session: Session): void {
    if (session.broken || this.#closed) {
      this.#open--
      if (!session.broken) void session.end().catch(() => undefined) // It is closed either way.
    } else {
      this.#idle.push(session)
    }
    this.#waiters.shift()?.wake()
  }

  /** One statement on any connection: a read, or a write that may happen twice. Sent again after a lost connection, within the wait. */
  async query<Row extends unknown[]>(
    text: string,
    values: unknown[] = [],
    name?: string,
    deadlineMs = Date.now() + this.#options.waitMs,
  ): Promise<Row[]> {
    for (;;) {
      const session = await this.acquire(deadlineMs)
      try {
        const rows = await session.query<Row>(text, values, name)
        if (session.takeUnreplicated()) throw unavailable(null, UNREPLICATED)
        return rows
      } catch (error) {
        if (isReadOnly(error)) session.destroy()
        else if (!(error instanceof ConnectionLost) && !isTransient(error)) throw error
        if (Date.now() >= deadlineMs) throw unavailable(error)
      } finally {
        this.release(session)
      }
      await sleep(FIRST_BACKOFF_MS)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const waiter of this.#waiters.splice(0)) waiter.wake()
    await Promise.all(this.#idle.splice(0).map((session) => session.end().catch(() => undefined))) // Gone already, then.
  }

  /** Waits until a connection may be free; false at the deadline. */
  async #turn(deadlineMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const waiter: Waiter = {
        wake: () => {
          clearTimeout(timer)
          resolve(true)
        },
      }
      const timer = setTimeout(() => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        resolve(false)
      }, Math.max(0, deadlineMs - Date.now()))
      this.#waiters.push(waiter)
    })
  }
}

/** Postgres warned that it stopped waiting for the standby: committed here, and lost in a failover. */
export const UNREPLICATED = 'the commit is not known to have reached the standby'

export function unavailable(cause: unknown, message = 'the metadata database does not answer'): AnvilError {
  return new AnvilError('MetadataUnavailable', message, { cause })
}

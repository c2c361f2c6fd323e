/** A node's connections to the global database: few, with a bound on every wait. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool, type ClientConfig, type PoolClient } from 'pg'
import { AnvilError } from '../../shared/errors.ts'
import { METADATA_WAIT_MS } from '../../shared/limits.ts'
import { isUnavailable } from '../postgres/connection.ts'
import type { Logger } from '../postgres/logger.ts'

export interface GlobalPool {
  /** Tried again while the database is away, so `work` must only read. @throws AnvilError MetadataUnavailable after `waitMs` */
  read<T>(work: (client: PoolClient) => Promise<T>): Promise<T>
  /** Waits for a connection, then runs once: a lost answer is MetadataUnavailable, and the caller's client asks again. */
  write<T>(work: (client: PoolClient) => Promise<T>): Promise<T>
  health(): { state: 'ok' | 'away'; reason: string }
  close(): Promise<void>
}

const CONNECTIONS = 4
const CONNECT_TIMEOUT_MS = 3000
const STATEMENT_TIMEOUT_MS = 5000
/** For a connection that swallows queries: the server's own limit cannot reach us through it. */
const ANSWER_TIMEOUT_MS = 6000
const BACK_OFF_FIRST_MS = 50
const BACK_OFF_MOST_MS = 500

export function openGlobalPool(config: ClientConfig, { logger, waitMs = METADATA_WAIT_MS }: { logger: Logger; waitMs?: number }): GlobalPool {
  const pool = new Pool({
    ...config,
    max: CONNECTIONS,
    connectionTimeoutMillis: Math.min(CONNECT_TIMEOUT_MS, waitMs),
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: Math.min(ANSWER_TIMEOUT_MS, waitMs),
    allowExitOnIdle: true,
  })
  // An idle connection that is cut is replaced by the pool; the next query says whether the database is away.
  pool.on('error', (error) => logger.debug({ err: error }, 'an idle connection to the global database was lost'))
  // One that is cut while it is in use fails its query, and says so here as well.
  pool.on('connect', (client) => client.on('error', (error) => logger.debug({ err: error }, 'a connection to the global database was lost')))
  let away: string | null = null

  const succeeded = (): void => {
    if (away !== null) logger.info({}, 'the global database answers again')
    away = null
  }
  const failed = (error: unknown): void => {
    const reason = error instanceof Error ? error.message : String(error)
    if (away === null) logger.warn({ reason }, 'the global database is away; cached entries go on serving')
    away = reason
  }

  const connect = async (): Promise<PoolClient> => {
    try {
      return await pool.connect()
    } catch (cause) {
      failed(cause)
      throw unavailable(cause)
    }
  }

  const once = async <T>(work: (client: PoolClient) => Promise<T>): Promise<T> => {
    const client = await connect()
    let broken = false
    try {
      const result = await work(client)
      succeeded()
      return result
    } catch (error) {
      if (AnvilError.is(error) || !isUnavailable(error)) throw error
      broken = true
      failed(error)
      throw unavailable(error)
    } finally {
      client.release(broken)
    }
  }

  const retried = async <T>(attempt: () => Promise<T>): Promise<T> => {
    const deadline = Date.now() + waitMs
    for (let backOffMs = BACK_OFF_FIRST_MS; ; backOffMs = Math.min(backOffMs * 2, BACK_OFF_MOST_MS)) {
      try {
        return await inTime(attempt(), deadline)
      } catch (error) {
        if (!AnvilError.is(error, 'MetadataUnavailable') || Date.now() + backOffMs >= deadline) throw error
        await sleep(backOffMs)
      }
    }
  }

  return {
    read: (work) => retried(() => once(work)),
    async write(work) {
      // A query on it, so that a dead connection is found before the work begins and not in its middle.
      await retried(() => once((client) => client.query('SELECT')))
      return once(work)
    },
    health: () => (away === null ? { state: 'ok', reason: '' } : { state: 'away', reason: away }),
    close: () => pool.end(),
  }
}

/** The attempt's result, or MetadataUnavailable at the deadline; the attempt ends by its own limits then. */
async function inTime<T>(attempt: Promise<T>, deadlineMs: number): Promise<T> {
  attempt.catch(() => {}) // whoever stopped waiting does not hear of it
  const done = new AbortController()
  const late = sleep(Math.max(0, deadlineMs - Date.now()), undefined, { signal: done.signal }).then(() => Promise.reject(unavailable(new Error('no answer in time'))))
  try {
    return await Promise.race([attempt, late])
  } finally {
    done.abort()
  }
}

const unavailable = (cause: unknown): AnvilError =>
  new AnvilError('MetadataUnavailable', 'The directory is not available at this moment. Please try again.', { cause })

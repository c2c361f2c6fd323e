/** One connection to the primary: its settings, its timeouts, and what its errors mean. */
import pg from 'pg'
import { AnvilError } from '../../shared/errors.ts'
import { fromUuid } from '../../shared/ids.ts'
import { CopyRoundTrip } from './copy-round-trip.ts'
import type { Logger } from './logger.ts'

/** The connection is gone; whether what was sent last took effect is not known. */
export class ConnectionLost extends Error {
  override name = 'ConnectionLost'
}

/** A server process, so that a batch that may still be on its way to it can be told apart from one that cannot. */
export interface Backend {
  pid: number
  startUs: number
}

export interface SessionOptions {
  config: pg.ClientConfig
  logger: Logger
  /** Server-side limits of one statement and of waiting for one lock. */
  statementTimeoutMs: number
  lockTimeoutMs: number
  /** An answer that takes longer counts as a lost connection. */
  answerTimeoutMs: number
  connectTimeoutMs: number
  pipeline: boolean
  /** Statements for a new connection: temporary tables, PREPAREs. */
  setup: string
}

export class Session {
  readonly backend: Backend
  /** True once the connection cannot be used any more. */
  broken = false
  /** Staged since the last TRUNCATE (group commit). */
  stagedRows = 0
  stagedBytes = 0
  readonly #client: pg.Client
  readonly #answerTimeoutMs: number
  #unreplicated = false

  private constructor(client: pg.Client, backend: Backend, answerTimeoutMs: number) {
    this.#client = client
    this.backend = backend
    this.#answerTimeoutMs = answerTimeoutMs
  }

  /** @throws ConnectionLost, or AnvilError Internal when this server can never do */
  static async open(options: SessionOptions): Promise<Session> {
    const client = new pg.Client({
      ...options.config,
      pipeline: options.pipeline,
      connectionTimeoutMillis: options.connectTimeoutMs,
      keepAlive: true,
      types: { getTypeParser: typeParser },
    })
    // Errors between queries; a query under way gets its own.
    let lost = false
    client.on('error', () => (lost = true))
    const timer = setTimeout(() => destroy(client), options.connectTimeoutMs)
    try {
      await client.connect()
      const backend = await prepare(client, options)
      const session = new Session(client, backend, options.answerTimeoutMs)
      session.broken = lost
      client.on('error', () => (session.broken = true))
      client.on('end', () => (session.broken = true))
      client.on('notice', (notice) => session.#noted(notice))
      return session
    } catch (error) {
      destroy(client)
      if (error instanceof AnvilError) throw error
      const never = error instanceof pg.DatabaseError ? neverOf(error) : null
      if (never !== null) throw new AnvilError('Internal', `REGIONAL_DATABASE_URL: ${never}: ${(error as Error).message}`, { cause: error })
      throw new ConnectionLost(`cannot connect to Postgres: ${(error as Error).message}`, { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }

  /**
   * Rows as arrays. With `name` the statement is prepared once for the connection.
   * @throws pg.DatabaseError when the server refuses it, ConnectionLost
   */
  async query<Row extends unknown[]>(text: string, values: unknown[] = [], name?: string): Promise<Row[]> {
    const config = name === undefined ? { text, values, rowMode: 'array' as const } : { name, text, values, rowMode: 'array' as const }
    const result = await this.#answer(this.#client.query<Row>(config))
    // A simple query of several statements answers with one result for each.
    const last = Array.isArray(result) ? (result.at(-1) as pg.QueryArrayResult<Row>) : result
    return last.rows
  }

  /** A COPY with its rows and the statements that follow it, in one round trip. Answers the last rows, as text. */
  copy(text: string, rows: Buffer): Promise<(string | null)[][]> {
    const roundTrip = new CopyRoundTrip(text, rows)
    this.#client.query(roundTrip)
    return this.#answer(roundTrip.done)
  }

  /** Whether a commit since the last call gave up waiting for its standby: it must not be acknowledged. */
  takeUnreplicated(): boolean {
    const taken = this.#unreplicated
    this.#unreplicated = false
    return taken
  }

  /** Cuts the connection. */
  destroy(): void {
    this.broken = true
    destroy(this.#client)
  }

  async end(): Promise<void> {
    this.broken = true
    await this.#client.end()
  }

  async #answer<T>(answer: Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.destroy(), this.#answerTimeoutMs)
    try {
      return await answer
    } catch (error) {
      if (error instanceof pg.DatabaseError && !endsConnection(error)) throw error
      this.destroy()
      throw new ConnectionLost(`connection to Postgres lost: ${(error as Error).message}`, { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }

  /** `routine` names the place in Postgres' source, whatever its language. */
  #noted(notice: { routine?: string | undefined; code?: string | undefined }): void {
    if (notice.routine === 'SyncRepWaitForLSN') this.#unreplicated = true
  }
}

/**
 * Whether the server ends the connection with this error. By its code, since `severity` comes in the server's language
 * (lc_messages): shutdown, timeouts of idle sessions and of transactions, protocol errors. An end that is not told so is
 * noticed when the connection closes.
 */
const endsConnection = ({ severity, code }: pg.DatabaseError): boolean =>
  severity === 'FATAL' || severity === 'PANIC' || /^57P0[1-5]$|^08|^25P0[34]$/.test(code ?? '')

/** Errors after which the same statement may succeed. The transaction has been rolled back. */
export function isTransient(error: unknown): error is pg.DatabaseError {
  if (!(error instanceof pg.DatabaseError)) return false
  // Serialization, deadlock, lock not available, statement or transaction timeout, out of memory or disk or connections.
  return /^40001$|^40P01$|^55P03$|^57014$|^25P0[34]$|^53/.test(error.code ?? '')
}

/** The server is not, or no longer, a primary that takes writes. */
export const isReadOnly = (error: unknown): boolean => error instanceof pg.DatabaseError && error.code === '25006'

export const isUniqueViolation = (error: unknown, constraint?: string): error is pg.DatabaseError =>
  error instanceof pg.DatabaseError && error.code === '23505' && (constraint === undefined || error.constraint === constraint)

function destroy(client: pg.Client): void {
  ;(client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
}

/** Refusals that waiting does not change. */
function neverOf({ code }: pg.DatabaseError): string | null {
  if (code?.startsWith('28')) return 'the server refuses this user'
  if (code === '3D000') return 'there is no such database'
  if (code?.startsWith('42')) return 'the database has not been migrated'
  return null
}

const MIN_SERVER_VERSION = 180000

async function prepare(client: pg.Client, options: SessionOptions): Promise<Backend> {
  const result = await client.query<(number | string | boolean)[]>({
    rowMode: 'array',
    text: `SELECT current_setting('server_version_num')::int4, current_setting('server_version'), current_setting('server_encoding'),
             pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', pg_backend_pid(),
             (SELECT (extract(epoch FROM backend_start) * 1000000)::int8 FROM pg_stat_activity WHERE pid = pg_backend_pid())`,
  })
  const [version, versionText, encoding, readOnly, pid, startUs] = result.rows[0] as [number, string, string, boolean, number, number]
  if (version < MIN_SERVER_VERSION) {
    throw new AnvilError('Internal', `REGIONAL_DATABASE_URL: Postgres ${versionText} is too old, it must be 18 or newer`)
  }
  if (encoding !== 'UTF8') throw new AnvilError('Internal', `REGIONAL_DATABASE_URL: the database's encoding is ${encoding}, it must be UTF8`)
  if (readOnly) throw new Error('the server is a standby or read-only')
  // The planner cannot know how large tables have become since it last looked, and a plan is kept: index lookups are
  // what every statement here wants.
  await client.query(`
    SET client_min_messages = warning; SET default_transaction_isolation = 'read committed'; SET jit = off;
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET statement_timeout = ${options.statementTimeoutMs}; SET lock_timeout = ${options.lockTimeoutMs};
    SET idle_in_transaction_session_timeout = ${options.answerTimeoutMs * 2};
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`)
  if (options.setup !== '') await client.query(options.setup)
  return { pid, startUs }
}

const INT8 = 20
const UUID = 2950
const INT8_ARRAY = 1016
const UUID_ARRAY = 2951
const noDashes = (text: string): string => fromUuid(text)
const listOf = <T>(one: (text: string) => T) => (text: string): T[] => (text === '{}' ? [] : text.slice(1, -1).split(',').map(one))
const int8List = listOf(Number)
const uuidList = listOf(noDashes)

/** 64-bit integers become numbers (all of ours are below 2^53), uuids lose their dashes. */
function typeParser(oid: number, format?: 'text' | 'binary'): unknown {
  if (format !== 'binary') {
    if (oid === INT8) return Number
    if (oid === UUID) return noDashes
    if (oid === INT8_ARRAY) return int8List
    if (oid === UUID_ARRAY) return uuidList
  }
  return pg.types.getTypeParser(oid, format)
}

/** Connections to either kind of database, and what a failure of one means. */
import { Client, type ClientConfig } from 'pg'
import { parseDatabaseUrl } from '../../shared/database-url.ts'

/** The least server version: RETURNING old.* came with 18. */
export const MIN_SERVER_VERSION = 18

const CONNECT_TIMEOUT_MS = 5000

/** A checked database URL (config/values.ts) as pg takes it. */
export const clientConfigOfUrl = (url: string): ClientConfig => ({
  connectionString: url,
  application_name: 'anvil',
  connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  keepAlive: true,
})

/** `host:port/database`, for messages: no user, no password. */
export function describe(config: ClientConfig): string {
  const { server, database } = parseDatabaseUrl(config.connectionString ?? '') ?? { server: config.host, database: config.database }
  return `${server}/${database}`
}

/** Runs `work` on a connection of its own. */
export async function withClient<T>(config: ClientConfig, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client(config)
  // The query under way fails with the same error; without a listener it would end the process as well.
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Runs `work` in one transaction, which an error rolls back. */
export async function inTransaction<T>(client: Client, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN')
  try {
    const result = await work()
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {}) // a lost connection has rolled back already
    throw error
  }
}

/** SQLSTATE of an error of the server, or null for others. */
export function sqlState(error: unknown): string | null {
  const code = error instanceof Error && 'code' in error ? error.code : null
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && 'severity' in (error as object) ? code : null
}

/**
 * Whether an error says that the database is away for now (connection lost or refused, shutting down, recovering, out of
 * connections, a statement that took too long, a server that is read-only since it is no longer the primary), as opposed to
 * one that it would give again.
 */
export function isUnavailable(error: unknown): boolean {
  const state = sqlState(error)
  if (state === null) return error instanceof Error && (hasNetworkCode(error) || DRIVER_MESSAGES.test(error.message))
  return state.startsWith('08') || state.startsWith('57P') || state.startsWith('53') || state === '57014' || state === '25006'
}

/** What pg says, without a code, of a connection that is lost or an answer that does not come. */
const DRIVER_MESSAGES = /^(?:Connection terminated|Connection ended|timeout expired|timeout exceeded when trying to connect|Query read timeout|Client (?:has encountered a connection error|was closed) and is not queryable)/

const NETWORK_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL'])

/** A Unix socket that is not there is ENOENT, which files know too: the failed call tells them apart. */
function hasNetworkCode(error: Error): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException
  return code !== undefined && (NETWORK_CODES.has(code) || (code === 'ENOENT' && syscall === 'connect'))
}

/**
 * Brings a database to the schema that this version of the code needs. A set of migrations is a folder of SQL files named
 * `0001_what.sql`, applied in order, each in a transaction of its own together with the row that records it. A session
 * advisory lock lets any number of processes do this at once.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, ClientConfig } from 'pg'
import { describe, inTransaction, MIN_SERVER_VERSION, sqlState, withClient } from './connection.ts'
import type { Logger } from './logger.ts'

/** A database that cannot be used by this version of the code. The message says what to do. */
export class SchemaError extends Error {
  override readonly name = 'SchemaError'
}

export interface SchemaState {
  /** Nothing of this set was ever applied. */
  empty: boolean
  /** Names of migrations that are still to be applied. */
  pending: string[]
}

interface Migration {
  version: number
  name: string
  sql: string
  checksum: string
}

const FOLDER = join(import.meta.dirname, '..', '..', '..', 'migrations')
export const MIGRATIONS = { global: join(FOLDER, 'global'), regional: join(FOLDER, 'regional') } as const

/** 'anvil' and 'mig' in ASCII: every process that migrates takes this lock of the database. */
const LOCK_KEY = '0x616e76696c6d6967'
const LOCK_POLL_MS = 100

/** Names of the migrations of a set, in order. */
export const migrationNames = (folder: string): string[] => readMigrations(folder).map(({ name }) => name)

/**
 * Applies what is missing; returns the names of what it applied.
 * @param upTo only the first so many of the set, for an import of what an earlier version exported
 * @throws SchemaError when the server is older than Postgres 18, is a standby, is ahead of the code, or was migrated by other files
 */
export async function migrate(config: ClientConfig, folder: string, logger?: Logger, upTo = Infinity): Promise<string[]> {
  const migrations = readMigrations(folder)
  const set = basename(folder)
  return withClient(config, async (client) => {
    await checkServer(client, config)
    await lock(client, logger)
    await client.query(`CREATE TABLE IF NOT EXISTS anvil_migrations (
      set text NOT NULL, version integer NOT NULL, name text NOT NULL, checksum text NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (set, version))`)
    const pending = (await pendingOf(client, set, migrations, config)).filter(({ version }) => version <= upTo)
    for (const migration of pending) await apply(client, set, migration, logger)
    return pending.map(({ name }) => name)
  })
}

/** Compares without changing anything. @throws SchemaError as {@link migrate} */
export async function schemaState(config: ClientConfig, folder: string): Promise<SchemaState> {
  const migrations = readMigrations(folder)
  return withClient(config, async (client) => {
    await checkServer(client, config)
    const { rows } = await client.query<{ found: string | null }>(`SELECT to_regclass('anvil_migrations')::text AS found`)
    const pending = rows[0]?.found ? await pendingOf(client, basename(folder), migrations, config) : migrations
    return { empty: pending.length === migrations.length, pending: pending.map(({ name }) => name) }
  })
}

async function apply(client: Client, set: string, migration: Migration, logger?: Logger): Promise<void> {
  try {
    await inTransaction(client, async () => {
      await client.query(migration.sql)
      await client.query('INSERT INTO anvil_migrations (set, version, name, checksum) VALUES ($1, $2, $3, $4)', [
        set, migration.version, migration.name, migration.checksum,
      ])
    })
  } catch (cause) {
    if (sqlState(cause) === null) throw cause
    throw new SchemaError(`migration ${set}/${migration.name} failed: ${(cause as Error).message}`, { cause })
  }
  logger?.info({ set, migration: migration.name }, 'migration applied')
}

/** What is to be applied, once what was applied is known to be a beginning of these files. */
async function pendingOf(client: Client, set: string, migrations: Migration[], config: ClientConfig): Promise<Migration[]> {
  const { rows } = await client.query<{ version: number; name: string; checksum: string }>(
    'SELECT version, name, checksum FROM anvil_migrations WHERE set = $1 ORDER BY version', [set],
  )
  for (const [i, row] of rows.entries()) {
    const migration = migrations[i]
    if (!migration) throw new SchemaError(`the ${set} database ${describe(config)} is ahead of this version of anvil (it has ${row.name}): start a version at least as new as the one that migrated it`)
    if (migration.version !== row.version || migration.checksum !== row.checksum) {
      throw new SchemaError(`the ${set} database ${describe(config)} was migrated with another ${row.name} than this version of anvil has: start the version that migrated it`)
    }
  }
  return migrations.slice(rows.length)
}

async function checkServer(client: Client, config: ClientConfig): Promise<void> {
  const { rows } = await client.query<{ version: string; number: string; standby: boolean }>(
    `SELECT current_setting('server_version') AS version, current_setting('server_version_num') AS number, pg_is_in_recovery() AS standby`,
  )
  const server = rows[0]!
  if (Math.floor(Number(server.number) / 10_000) < MIN_SERVER_VERSION) {
    throw new SchemaError(`${describe(config)} is Postgres ${server.version}; Anvil needs ${MIN_SERVER_VERSION} or newer`)
  }
  if (server.standby) throw new SchemaError(`${describe(config)} is a standby; Anvil needs the primary`)
}

/** Held until the connection ends. Polled, so that a long wait can be told. */
async function lock(client: Client, logger?: Logger): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { rows } = await client.query<{ locked: boolean }>(`SELECT pg_try_advisory_lock(${LOCK_KEY}) AS locked`)
    if (rows[0]!.locked) return
    if (tries % 50 === 20) logger?.info({}, 'waiting for another process that migrates this database')
    await sleep(LOCK_POLL_MS)
  }
}

function readMigrations(folder: string): Migration[] {
  const names = readdirSync(folder).filter((name) => name.endsWith('.sql')).toSorted()
  return names.map((name, i) => {
    const version = Number(/^(\d{4})_[a-z0-9_]+\.sql$/.exec(name)?.[1])
    if (version !== i + 1) throw new SchemaError(`${join(folder, name)} must be named ${String(i + 1).padStart(4, '0')}_what.sql`)
    const sql = readFileSync(join(folder, name), 'utf8')
    return { version, name: name.slice(0, -4), sql, checksum: createHash('sha256').update(sql).digest('hex') }
  })
}

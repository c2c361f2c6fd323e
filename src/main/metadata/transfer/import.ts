/**
 * Fills two empty databases from an export. Each in one transaction, committed one after the other once the whole export
 * was read and found unchanged; an import that was ended between the two commits is completed by doing it again.
 */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { describe, sqlState, withClient } from '../../postgres/connection.ts'
import { migrate, migrationNames, MIGRATIONS, schemaState } from '../../postgres/migrate.ts'
import { TIMELINE } from '../identity.ts'
import type { Databases } from './export.ts'
import { DamagedExport, ExportReader, TransferError, type ExportHead, type TableHead } from './format.ts'
import { quoted, SEQUENCES, SIDES, tableColumns, type Side, type TableColumns } from './tables.ts'

export interface Imported {
  head: ExportHead
  rows: number
}

/** @returns why this export is not for this node, before anything is committed; the client is in the global database's transaction */
export type ImportCheck = (head: ExportHead, global: pg.Client) => Promise<void>

/** So many numbers are left out, that a node which polled the old database's changes sees a gap and forgets all. */
const CHANGES_GAP = 1_000_000

/** Timelines of imports begin at the number of hours since then: 20 bits last for 119 years. */
const TIMELINE_EPOCH_MS = Date.UTC(2026, 0, 1)
const HOUR_MS = 3_600_000

export interface ImportOptions {
  check: ImportCheck
  /** Timelines below this were seen on the drives. @default 0 */
  leastTimeline?: number
  /** The rows are older than what the drives hold: marks them as unsettled until {@link settled}. @default false */
  unsettled?: boolean
}

/**
 * @param options.check throws what keeps the import from being committed
 * @throws TransferError when the source is no whole export of a version that can be read, or a database is not empty
 */
export async function importMetadata(databases: Databases, source: AsyncIterable<Buffer>, { check, leastTimeline = 0, unsettled = false }: ImportOptions): Promise<Imported> {
  const reader = new ExportReader(source)
  const head = await reader.head()
  for (const side of SIDES) await prepareSchema(databases[side], side, head)
  const clients = { regional: new pg.Client(databases.regional), global: new pg.Client(databases.global) }
  for (const client of Object.values(clients)) client.on('error', () => {}) // the query under way fails with the same error
  let rows: number
  try {
    for (const side of SIDES) {
      await clients[side].connect()
      await clients[side].query('BEGIN')
    }
    const regionalDone = await requireEmpty(clients, databases, head)
    rows = await fill(clients, reader, regionalDone)
    if (!regionalDone) await settleRegional(clients.regional, head, leastTimeline)
    if (unsettled) await clients.regional.query(`COMMENT ON TABLE placement_groups IS ${pg.escapeLiteral(UNSETTLED)}`)
    await settleGlobal(clients.global, head)
    await check(head, clients.global)
    await clients.regional.query('COMMIT')
    await clients.global.query('COMMIT')
  } finally {
    // what is not committed is rolled back
    await Promise.allSettled(Object.values(clients).map((client) => client.end()))
  }
  for (const side of SIDES) await migrate(databases[side], MIGRATIONS[side])
  return { head, rows }
}

/** Part of no schema, as the mark of the import is not: an export of any version can be imported, and none holds it. */
const UNSETTLED = 'restored, and not yet compared with what the drives hold'

/** Whether the databases were filled by a whole import whose rows have not been compared with the drives to the end. */
export async function isUnsettled({ regional, global }: Databases): Promise<boolean> {
  const mark = await withClient(regional, (client) => client.query<{ mark: string | null }>(`SELECT obj_description(to_regclass('placement_groups')) AS mark`))
  if (mark.rows[0]!.mark !== UNSETTLED) return false
  // the global one is committed last
  return withClient(global, async (client) => {
    const { rows } = await client.query<{ found: string | null }>(`SELECT to_regclass('deployment')::text AS found`)
    return rows[0]!.found !== null && (await client.query('SELECT FROM deployment')).rowCount !== 0
  })
}

/** The rows have been compared with the drives. */
export async function settled({ regional }: Databases): Promise<void> {
  await withClient(regional, (client) => client.query('COMMENT ON TABLE placement_groups IS NULL'))
}

/** Reads an export to its end without a database. @throws TransferError when it is no whole export of a version that can be read */
export async function verifyExport(source: AsyncIterable<Buffer>): Promise<void> {
  const reader = new ExportReader(source)
  await reader.head()
  let rows = 0
  while ((await reader.next(rows)) !== null) rows += await countRows(reader)
}

/** The database at exactly the schema that the rows have; later migrations are applied to the rows afterwards. */
async function prepareSchema(config: pg.ClientConfig, side: Side, head: ExportHead): Promise<void> {
  const known = migrationNames(MIGRATIONS[side])
  const exported = head.schema[side]
  const unknown = exported.find((name, i) => known[i] !== name)
  if (unknown !== undefined) throw new TransferError(`the export was made by a newer version of anvil (${head.anvil}): this one does not know ${side}/${unknown}`)
  const { empty, pending } = await schemaState(config, MIGRATIONS[side])
  const applied = known.length - pending.length
  if (!empty && applied > exported.length) {
    throw new TransferError(`the ${side} database ${describe(config)} was migrated to ${known[applied - 1]}, the export to ${exported.at(-1)}: give an empty database, which is then brought to both`)
  }
  await migrate(config, MIGRATIONS[side], undefined, exported.length)
}

/**
 * Whether the regional database was filled by an import of this very export that did not get to its end.
 * @throws TransferError when there is anything else in one of them
 */
async function requireEmpty(clients: Record<Side, pg.Client>, databases: Databases, head: ExportHead): Promise<boolean> {
  const used = async (side: Side): Promise<string | null> => {
    // those of the schema that the export has
    const tables = (await tableColumns(clients[side], side)).map(({ table }) => table)
    for (const table of tables.filter((name) => name !== 'change_head')) {
      const { rowCount } = await clients[side].query(`SELECT FROM ${pg.escapeIdentifier(table)} LIMIT 1`)
      if (rowCount !== 0) return table
    }
    return null
  }
  const refuse = (side: Side, table: string): never => {
    throw new TransferError(`the ${side} database ${describe(databases[side])} is not empty (${table}): an import fills empty databases only`)
  }
  const inGlobal = await used('global')
  if (inGlobal !== null) refuse('global', inGlobal)
  const { rows } = await clients.regional.query<{ mark: string | null }>(`SELECT obj_description('regional_marker'::regclass) AS mark`)
  if (rows[0]!.mark === importMark(head)) return true
  const inRegional = await used('regional')
  if (inRegional !== null) refuse('regional', inRegional)
  return false
}

/** Rows read, also those that are in the database already. */
async function fill(clients: Record<Side, pg.Client>, reader: ExportReader, regionalDone: boolean): Promise<number> {
  const known = { regional: await knownTables(clients.regional, 'regional'), global: await knownTables(clients.global, 'global') }
  const seen = new Set<string>()
  let rows = 0
  for (let next = await reader.next(rows); next !== null; next = await reader.next(rows)) {
    const table = known[next.database].get(next.table)
    if (table === undefined || seen.has(next.table) || next.columns.some((column) => !table.columns.includes(column))) {
      throw new TransferError(`the export holds a table ${next.table} that this version of anvil does not know`)
    }
    seen.add(next.table)
    rows += next.database === 'regional' && regionalDone ? await countRows(reader) : await copyRows(clients[next.database], next, reader)
  }
  const absent = SIDES.flatMap((side) => [...known[side].keys()]).find((table) => !seen.has(table))
  if (absent !== undefined) throw new DamagedExport(`the export is damaged: it lacks the table ${absent}`)
  return rows
}

const knownTables = async (client: pg.Client, side: Side): Promise<Map<string, TableColumns>> =>
  new Map((await tableColumns(client, side)).map((each) => [each.table, each]))

async function copyRows(client: pg.Client, head: TableHead, reader: ExportReader): Promise<number> {
  const { table } = head
  if (head.database === 'global') {
    // The triggers note changes for the caches of running nodes; no node runs on this database.
    await client.query(`ALTER TABLE ${pg.escapeIdentifier(table)} DISABLE TRIGGER USER`)
    if (table === 'change_head') await client.query('DELETE FROM change_head')
  }
  const sink = client.query(copyFrom(`COPY ${quoted(head)} FROM STDIN`))
  try {
    await pipeline(Readable.from(reader.frames()), sink)
  } catch (error) {
    // class 22: data that is not of the column's type
    if (sqlState(error)?.startsWith('22') === true) throw new DamagedExport(`the export is damaged: ${table}: ${(error as Error).message}`, { cause: error })
    throw error
  }
  if (head.database === 'global') await client.query(`ALTER TABLE ${pg.escapeIdentifier(table)} ENABLE TRIGGER USER`)
  return sink.rowCount
}

/** COPY's text format has a line for each row; a newline in a value is escaped. */
async function countRows(reader: ExportReader): Promise<number> {
  let rows = 0
  for await (const chunk of reader.frames()) for (let at = chunk.indexOf(0x0a); at >= 0; at = chunk.indexOf(0x0a, at + 1)) rows++
  return rows
}

async function settleRegional(client: pg.Client, head: ExportHead, leastTimeline: number): Promise<void> {
  // Transaction ids of the old server say nothing here: no read is under way, everything was dropped long ago.
  await client.query(`UPDATE gc_queue SET dropped_by = '3'`)
  await client.query(`UPDATE manifests SET dropped_by = '3' WHERE dropped_by IS NOT NULL`)
  // No process runs on this database yet.
  await client.query('UPDATE nodes SET process_id = NULL, lease_until_ms = 0')
  await raiseSequences(client, 'regional', head)
  // Generations are above all that the old server gave, and above those of an earlier import of the same export; ids of
  // placement groups are already (DESIGN §13, rules 2 and 5).
  const timeline = Math.max(head.timeline + 1, leastTimeline, Math.floor((Date.now() - TIMELINE_EPOCH_MS) / HOUR_MS))
  await client.query(
    `UPDATE regional_marker SET deployment_id = $1, region = $2, timeline_base = greatest(0, $3 - (${TIMELINE} - timeline_base))`,
    [head.deploymentId, head.region, timeline],
  )
  await client.query(`UPDATE regional_marker SET timeline = ${TIMELINE}`)
  await client.query(`COMMENT ON TABLE regional_marker IS ${pg.escapeLiteral(importMark(head))}`)
}

async function settleGlobal(client: pg.Client, head: ExportHead): Promise<void> {
  await raiseSequences(client, 'global', head)
  await client.query('UPDATE change_head SET number = number + $1', [CHANGES_GAP])
}

async function raiseSequences(client: pg.Client, side: Side, { sequences }: ExportHead): Promise<void> {
  for (const [name, { gap, byTime }] of Object.entries(SEQUENCES[side])) {
    // By the time, since the same export may be imported once more after ids were given.
    const least = byTime ? Math.floor(Date.now() / 1000) * 1000 : 0
    await client.query('SELECT setval($1::regclass, $2)', [name, Math.max((sequences[side][name] ?? 0) + gap, least)])
  }
}

const importMark = ({ id }: ExportHead): string => `imported from export ${id}`

/** Both databases as a stream of bytes, each as one snapshot. Writers go on: what they commit meanwhile is not in it. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { fromUuid, type DeploymentId } from '../../../shared/ids.ts'
import { TIMELINE } from '../identity.ts'
import { ExportWriter, TransferError, type ExportHead } from './format.ts'
import { quoted, SEQUENCES, SIDES, tableColumns, type Side } from './tables.ts'

export type Databases = Record<Side, pg.ClientConfig>
export type ExportFacts = Omit<ExportHead, 'format' | 'version'>

/** A frame holds at least so many bytes, but the last of a table. */
const FRAME_BYTES = 256 * 1024
const SNAPSHOT = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'

/**
 * Takes the snapshots, then lets `work` read the stream; it may stop reading at any place.
 * @param anvil version of the program, for the head
 * @throws TransferError when the databases hold no deployment; whatever a connection does
 */
export async function withExport<T>(databases: Databases, anvil: string, work: (facts: ExportFacts, bytes: AsyncGenerator<Buffer, void>) => Promise<T>): Promise<T> {
  const regional = await connect(databases.regional)
  try {
    const global = await connect(databases.global)
    try {
      const clients = { regional, global }
      // The regional one first: the buckets of what it holds are then in the other.
      await regional.query(SNAPSHOT)
      const own = await regionalFacts(regional)
      await global.query(SNAPSHOT)
      const facts: ExportFacts = {
        id: randomBytes(16).toString('hex'), anvil, ...own,
        schema: { regional: await migrationsOf(regional, 'regional'), global: await migrationsOf(global, 'global') },
        sequences: { regional: await lastValues(regional, 'regional'), global: await lastValues(global, 'global') },
      }
      return await work(facts, stream(clients, facts))
    } finally {
      await global.end()
    }
  } finally {
    await regional.end()
  }
}

async function* stream(clients: Record<Side, pg.Client>, facts: ExportFacts): AsyncGenerator<Buffer, void> {
  const writer = new ExportWriter()
  yield writer.head(facts)
  for (const side of SIDES) {
    const client = clients[side]
    for (const table of await tableColumns(client, side)) {
      yield writer.table({ database: side, ...table })
      const rows = client.query(copyTo(`COPY ${quoted(table)} TO STDOUT`))
      for await (const chunk of gathered(rows as AsyncIterable<Buffer>)) yield* writer.frame(chunk)
      yield writer.tableEnd(rows.rowCount)
    }
  }
  yield writer.end()
}

/** The server sends a message for each row. */
async function* gathered(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  let waiting: Buffer[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    waiting.push(chunk)
    bytes += chunk.length
    if (bytes < FRAME_BYTES) continue
    yield Buffer.concat(waiting)
    waiting = []
    bytes = 0
  }
  yield Buffer.concat(waiting)
}

async function connect(config: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client(config)
  // the query under way fails with the same error
  client.on('error', () => {})
  await client.connect()
  return client
}

interface RegionalRow {
  ms: string
  snapshot: string
  system: string
  timeline: number
  deployment: string | null
  region: string | null
}

async function regionalFacts(client: pg.Client): Promise<Omit<ExportFacts, 'id' | 'anvil' | 'schema' | 'sequences'>> {
  const { rows } = await client.query<RegionalRow>(
    `SELECT floor(extract(epoch FROM now()) * 1000)::int8 AS ms, pg_current_snapshot()::text AS snapshot,
       (SELECT system_identifier::text FROM pg_control_system()) AS system, ${TIMELINE} AS timeline,
       deployment_id::text AS deployment, region FROM regional_marker`,
  )
  const { ms, snapshot, system, timeline, deployment, region } = rows[0]!
  if (deployment === null || region === null) throw new TransferError('the regional database belongs to no deployment yet: there is nothing to export')
  return { exportedMs: Number(ms), snapshot, systemId: system, timeline, deploymentId: fromUuid<DeploymentId>(deployment), region }
}

async function migrationsOf(client: pg.Client, side: Side): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>('SELECT name FROM anvil_migrations WHERE set = $1 ORDER BY version', [side])
  return rows.map(({ name }) => name)
}

/** Read after the snapshot, and sequences know no transactions: never below what the snapshot's rows hold. */
async function lastValues(client: pg.Client, side: Side): Promise<Record<string, number>> {
  const values: Record<string, number> = {}
  for (const name of Object.keys(SEQUENCES[side])) {
    const { rows } = await client.query<{ last: string }>(`SELECT last_value AS last FROM ${pg.escapeIdentifier(name)}`)
    values[name] = Number(rows[0]!.last)
  }
  return values
}

/**
 * Moves the regional metadata from one Postgres to another: every table by COPY, in one snapshot. For `anvil admin metadata
 * export` and `import`, and for the copy that is kept on the drives.
 *
 * The stream: a line of JSON (format, version, whose it is), then for each table a line of JSON (its name, its columns) and
 * its rows in COPY's text format, cut into frames: 4 bytes of length, big-endian, then that many bytes; a frame of length 0
 * ends the table. A line `{"end":true}` ends the stream: one that was cut off is never taken for whole.
 */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import { from as copyFrom, to as copyTo } from 'pg-copy-streams'
import { AnvilError } from '../../shared/errors.ts'

const FORMAT = 'anvil-regional-metadata'
const VERSION = 1
const MAX_LINE_BYTES = 64 * 1024
/** All but the ledger, which belongs to the server processes of one database, and leases. */
const TABLES = [
  'regional_marker', 'bucket_state', 'objects', 'object_versions', 'blobs', 'uploads', 'parts', 'manifests', 'completed_uploads',
  'placement_groups', 'nodes', 'drives', 'gc_queue', 'repair_queue', 'condemned',
]

interface Head {
  format: string
  version: number
  exportedMs: number
}

interface TableHead {
  table: string
  columns: string[]
}

/** Writers may go on: what they commit meanwhile is not in it. @throws whatever the connection does */
export async function* exportMetadata(config: pg.ClientConfig): AsyncGenerator<Buffer, void> {
  const client = new pg.Client(config)
  await client.connect()
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    yield line({ format: FORMAT, version: VERSION, exportedMs: Date.now() } satisfies Head)
    for (const head of await tables(client)) {
      yield line(head)
      for await (const chunk of client.query(copyTo(`COPY ${quoted(head)} TO STDOUT`)) as AsyncIterable<Buffer>) {
        yield frameHead(chunk.length)
        yield chunk
      }
      yield frameHead(0)
    }
    yield line({ end: true })
    await client.query('COMMIT')
  } finally {
    await client.end()
  }
}

/**
 * Fills a migrated database that holds no objects yet, in one transaction.
 * @throws AnvilError InvalidRequest when the stream is not an export, is cut off, or the database is not empty
 */
export async function importMetadata(config: pg.ClientConfig, source: AsyncIterable<Buffer>): Promise<{ rows: number }> {
  const client = new pg.Client(config)
  await client.connect()
  const input = new Input(source)
  let rows = 0
  try {
    await client.query('BEGIN')
    const head = JSON.parse(await input.line()) as Partial<Head>
    if (head.format !== FORMAT || head.version !== VERSION) throw invalid('this is no export of regional metadata that this version reads')
    const known = new Map((await tables(client)).map((each) => [each.table, each]))
    const { rows: found } = await client.query('SELECT 1 FROM bucket_state UNION ALL SELECT 1 FROM blobs LIMIT 1')
    if (found.length > 0) throw invalid('the database is not empty')
    await client.query('DELETE FROM regional_marker')
    for (;;) {
      const next = JSON.parse(await input.line()) as Partial<TableHead> & { end?: boolean }
      if (next.end === true) break
      const table = known.get(next.table ?? '')
      if (table === undefined || !Array.isArray(next.columns) || next.columns.some((column) => !table.columns.includes(column))) {
        throw invalid(`the export holds ${next.table}, which this version does not know`)
      }
      const sink = client.query(copyFrom(`COPY ${quoted({ table: table.table, columns: next.columns })} FROM STDIN`))
      await pipeline(Readable.from(input.frames()), sink)
      rows += sink.rowCount
    }
    // Transaction ids of the old server say nothing here: no read is under way, everything was dropped long ago.
    await client.query(`UPDATE gc_queue SET dropped_by = '3'`)
    await client.query(`UPDATE manifests SET dropped_by = '3' WHERE dropped_by IS NOT NULL`)
    await client.query(`SELECT setval('placement_group_id', greatest((SELECT max(id) FROM placement_groups), 1))`)
    await client.query(`SELECT setval('repair_entry_id', greatest((SELECT max(entry_id) FROM repair_queue), 1))`)
    // As after a failover: ids that were given after the export must not come again.
    await client.query('UPDATE regional_marker SET timeline = -1')
    await client.query('COMMIT')
    return { rows }
  } finally {
    await client.end()
  }
}

async function tables(client: pg.Client): Promise<TableHead[]> {
  const { rows } = await client.query<TableHead>(
    `SELECT table_name::text AS table, array_agg(column_name::text ORDER BY ordinal_position) AS columns
     FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = ANY($1)
     GROUP BY 1 ORDER BY 1`,
    [TABLES],
  )
  return rows
}

const quoted = ({ table, columns }: TableHead): string => `${pg.escapeIdentifier(table)} (${columns.map((column) => pg.escapeIdentifier(column)).join(', ')})`
const line = (value: object): Buffer => Buffer.from(`${JSON.stringify(value)}\n`)
const invalid = (message: string): AnvilError => new AnvilError('InvalidRequest', message)

function frameHead(bytes: number): Buffer {
  const head = Buffer.allocUnsafe(4)
  head.writeUInt32BE(bytes)
  return head
}

/** Reads lines and frames from chunks that are cut anywhere. */
class Input {
  readonly #source: AsyncIterator<Buffer>
  #buffer: Buffer = Buffer.alloc(0)

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  async line(): Promise<string> {
    for (let from = 0; ; ) {
      const at = this.#buffer.indexOf(0x0a, from)
      if (at >= 0) {
        const text = this.#buffer.toString('utf8', 0, at)
        this.#buffer = this.#buffer.subarray(at + 1)
        return text
      }
      if (this.#buffer.length > MAX_LINE_BYTES) throw invalid('this is no export of regional metadata')
      from = this.#buffer.length
      await this.#more()
    }
  }

  async *frames(): AsyncGenerator<Buffer, void> {
    for (;;) {
      while (this.#buffer.length < 4) await this.#more()
      let left = this.#buffer.readUInt32BE()
      this.#buffer = this.#buffer.subarray(4)
      if (left === 0) return
      while (left > 0) {
        if (this.#buffer.length === 0) await this.#more()
        const chunk = this.#buffer.subarray(0, left)
        this.#buffer = this.#buffer.subarray(chunk.length)
        left -= chunk.length
        yield chunk
      }
    }
  }

  async #more(): Promise<void> {
    const { value, done } = await this.#source.next()
    if (done === true) throw invalid('the export is cut off')
    this.#buffer = this.#buffer.length === 0 ? value : Buffer.concat([this.#buffer, value])
  }
}

/**
 * The format of a metadata export. A line of JSON (the head), then for each table a line of JSON (whose it is, its columns)
 * and its rows in COPY's text format, cut into frames: 4 bytes of length, big-endian, then that many bytes; a frame of
 * length 0 ends the table. Last a line of JSON with `end`, the number of rows, and the SHA-256 of every byte before that
 * line: what was cut off or changed is never taken for whole.
 */
import { createHash, type Hash } from 'node:crypto'
import { SIDES, type Side, type TableColumns } from './tables.ts'

const FORMAT = 'anvil-metadata'
/** Of the stream. The schema of the rows is told by the names of the migrations in the head. */
export const FORMAT_VERSION = 1
const MAX_LINE_BYTES = 256 * 1024

export interface ExportHead {
  format: string
  version: number
  /** 32 hex digits, random. */
  id: string
  /** By the clock of the regional database: what was committed before is in it. */
  exportedMs: number
  /** Version of anvil that made it. */
  anvil: string
  deploymentId: string
  region: string
  /** The regional server: its system id, its snapshot (pg_snapshot), and the timeline of its generations. */
  systemId: string
  snapshot: string
  timeline: number
  /** Names of the migrations that were applied. */
  schema: Record<Side, string[]>
  /** The last value that each sequence gave. */
  sequences: Record<Side, Record<string, number>>
}

export interface TableHead extends TableColumns {
  database: Side
}

export interface ExportEnd {
  end: true
  rows: number
  sha256: string
}

/** This is no export that can be used, or the databases are not as the command needs them. For the operator. */
export class TransferError extends Error {
  override readonly name = 'TransferError'
}

/** The bytes are not those that an export once had; another copy may be whole. */
export class DamagedExport extends TransferError {}

/** Makes the bytes of an export, with the digest of what it made. */
export class ExportWriter {
  readonly #digest = createHash('sha256')
  #rows = 0

  head(head: Omit<ExportHead, 'format' | 'version'>): Buffer {
    return this.#add(line({ format: FORMAT, version: FORMAT_VERSION, ...head }))
  }

  table(head: TableHead): Buffer {
    return this.#add(line(head))
  }

  *frame(chunk: Buffer): Generator<Buffer, void> {
    if (chunk.length === 0) return
    yield this.#add(frameHead(chunk.length))
    yield this.#add(chunk)
  }

  tableEnd(rows: number): Buffer {
    this.#rows += rows
    return this.#add(frameHead(0))
  }

  end(): Buffer {
    return line({ end: true, rows: this.#rows, sha256: this.#digest.digest('hex') } satisfies ExportEnd)
  }

  #add(bytes: Buffer): Buffer {
    this.#digest.update(bytes)
    return bytes
  }
}

/** Reads an export from chunks that are cut anywhere; holds no more than a chunk and a line. */
export class ExportReader {
  readonly #source: AsyncIterator<Buffer>
  readonly #digest: Hash = createHash('sha256')
  #buffer: Buffer = Buffer.alloc(0)

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** @throws TransferError when it is none, or one of another version */
  async head(): Promise<ExportHead> {
    const head = await this.#line()
    if (head['format'] !== FORMAT) throw new DamagedExport('this is no export of metadata')
    if (head['version'] !== FORMAT_VERSION) {
      throw new TransferError(`the export has format version ${String(head['version'])}, this version of anvil reads ${FORMAT_VERSION}: import it with the version that made it (${String(head['anvil'])})`)
    }
    if (!isHead(head)) throw new DamagedExport('the export is damaged: its head is not whole')
    return head
  }

  /** The next table, whose frames must be read before the next call; null at the end of a whole, unchanged export. */
  async next(rows: number): Promise<TableHead | null> {
    const digest = this.#digest.copy()
    const next = await this.#line()
    if (next['end'] !== true) {
      if (!isTableHead(next)) throw new DamagedExport('the export is damaged: a table has no head')
      return next
    }
    if (next['sha256'] !== digest.digest('hex')) throw new DamagedExport('the export is damaged: its checksum is another one')
    if (next['rows'] !== rows) throw new DamagedExport(`the export is damaged: it should hold ${String(next['rows'])} rows and holds ${rows}`)
    if (this.#buffer.length > 0 || !(await this.#source.next()).done) throw new DamagedExport('the export is damaged: something follows its end')
    return null
  }

  /** The rows of the table whose head was just read. */
  async *frames(): AsyncGenerator<Buffer, void> {
    for (;;) {
      while (this.#buffer.length < 4) await this.#more()
      let left = this.#buffer.readUInt32BE()
      this.#take(4)
      if (left === 0) return
      while (left > 0) {
        if (this.#buffer.length === 0) await this.#more()
        const chunk = this.#take(Math.min(left, this.#buffer.length))
        left -= chunk.length
        yield chunk
      }
    }
  }

  async #line(): Promise<Record<string, unknown>> {
    for (let from = 0; ; ) {
      const at = this.#buffer.indexOf(0x0a, from)
      if (at >= 0) return parseLine(this.#take(at + 1).toString('utf8'))
      if (this.#buffer.length > MAX_LINE_BYTES) throw new DamagedExport('this is no export of metadata')
      from = this.#buffer.length
      await this.#more()
    }
  }

  #take(bytes: number): Buffer {
    const taken = this.#buffer.subarray(0, bytes)
    this.#buffer = this.#buffer.subarray(bytes)
    this.#digest.update(taken)
    return taken
  }

  async #more(): Promise<void> {
    const { value, done } = await this.#source.next()
    if (done === true) throw new DamagedExport('the export is cut off')
    this.#buffer = this.#buffer.length === 0 ? value : Buffer.concat([this.#buffer, value])
  }
}

const line = (value: object): Buffer => Buffer.from(`${JSON.stringify(value)}\n`)

function frameHead(bytes: number): Buffer {
  const head = Buffer.allocUnsafe(4)
  head.writeUInt32BE(bytes)
  return head
}

function parseLine(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // not JSON: told below
  }
  throw new DamagedExport('this is no export of metadata, or it is damaged')
}

const isStrings = (value: unknown): value is string[] => Array.isArray(value) && value.every((one) => typeof one === 'string')

function isHead(head: Record<string, unknown>): head is Record<string, unknown> & ExportHead {
  const texts = ['id', 'anvil', 'deploymentId', 'region', 'systemId', 'snapshot'].every((name) => typeof head[name] === 'string')
  const numbers = ['exportedMs', 'timeline'].every((name) => Number.isSafeInteger(head[name]))
  const { schema, sequences } = head as Partial<ExportHead>
  return texts && numbers && SIDES.every((side) =>
    isStrings(schema?.[side]) && typeof sequences?.[side] === 'object' && Object.values(sequences[side]).every((value) => Number.isSafeInteger(value)))
}

const isTableHead = (head: Record<string, unknown>): head is Record<string, unknown> & TableHead =>
  SIDES.some((side) => side === head['database']) && typeof head['table'] === 'string' && isStrings(head['columns'])

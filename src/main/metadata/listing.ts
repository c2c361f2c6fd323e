/**
 * Listing of live keys. A page begins as a range scan whose keys are folded into common prefixes here; when most of them
 * fold, it goes on as a skip scan that jumps past each prefix in the database.
 *
 * An entry is a key, or a common prefix (the key up to and with the first delimiter after the prefix asked for). Entries
 * come in the order of `COLLATE "C"`, and only those greater than `after`.
 */
import { AnvilError } from '../../shared/errors.ts'
import type { ListEntry, ListPage, ListRequest } from './contract.ts'
import { after as following, compareKeys, isStorable, successor } from './keys.ts'
import type { Pool } from './pool.ts'
import { checksumOf, storageClassOf } from './records.ts'

const FIRST_CHUNK_ROWS = 64
const MAX_CHUNK_ROWS = 1024
/** Entries of one skip scan. */
const SKIP_ENTRIES = 256
/** Fewer entries than this share of the rows: skip. More objects than this share of a skip scan: go back to ranges. */
const SKIP_BELOW = 0.25

const COLUMNS = 'key, size, etag, modified_ms, storage_class, checksum'
type Row = [key: string, size: number, etag: string, modifiedMs: number, storageClass: string | null, checksum: string | null]

export class Listing {
  readonly #pool: Pool

  constructor(pool: Pool) {
    this.#pool = pool
  }

  /** @throws AnvilError InvalidArgument for text that is not Unicode */
  async list({ bucketId, prefix, delimiter, after, limit }: ListRequest): Promise<ListPage> {
    const bounds = listBounds(prefix, delimiter, after)
    if (bounds === null || limit <= 0) return { entries: [], truncated: false }
    const { upper } = bounds
    const wanted = limit + 1
    const entries: ListEntry[] = []
    let from: string | null = bounds.from
    let chunkRows = bounds.delimiter === '' ? wanted : Math.min(wanted, FIRST_CHUNK_ROWS)
    const skipTo = bounds.delimiter === '' ? null : successor(bounds.delimiter)
    let skip = false
    while (from !== null && entries.length < wanted) {
      if (skip && skipTo !== null) {
        const asked = Math.min(wanted - entries.length, SKIP_ENTRIES)
        const rows = await this.#skip(bucketId, from, upper, prefix, bounds.delimiter, skipTo, asked)
        const before = entries.length
        from = fold(rows, bounds.delimiter, prefix, entries, wanted)
        const prefixes = entries.slice(before).filter(({ kind }) => kind === 'prefix').length
        if (rows.length < asked) from = null
        skip = prefixes > rows.length * SKIP_BELOW
        continue
      }
      const rows = await this.#range(bucketId, from, upper, chunkRows)
      const before = entries.length
      from = fold(rows, bounds.delimiter, prefix, entries, wanted)
      if (rows.length < chunkRows) from = null
      skip = entries.length - before < rows.length * SKIP_BELOW
      chunkRows = Math.min(chunkRows * 4, MAX_CHUNK_ROWS)
    }
    const truncated = entries.length > limit
    return { entries: truncated ? entries.slice(0, limit) : entries, truncated }
  }

  #range(bucketId: number, from: string, upper: string | null, rows: number): Promise<Row[]> {
    return upper === null
      ? this.#pool.query<Row>(`SELECT ${COLUMNS} FROM objects WHERE bucket_id = $1 AND key >= $2 ORDER BY key LIMIT $3`, [bucketId, from, rows], 'list')
      : this.#pool.query<Row>(
          `SELECT ${COLUMNS} FROM objects WHERE bucket_id = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4`,
          [bucketId, from, upper, rows],
          'list-within',
        )
  }

  /** The first key of each entry. */
  #skip(bucketId: number, from: string, upper: string | null, prefix: string, delimiter: string, skipTo: string, entries: number): Promise<Row[]> {
    const within = upper === null ? '' : 'AND o.key < $7'
    const at = 'strpos(substr(o.key, $3), $4) AS at'
    const values: unknown[] = [bucketId, from, Array.from(prefix).length + 1, delimiter, skipTo, entries]
    if (upper !== null) values.push(upper)
    return this.#pool.query<Row>(
      `WITH RECURSIVE walk AS (
         (SELECT 1 AS n, ${columnsOf('o')}, ${at} FROM objects AS o WHERE o.bucket_id = $1 AND o.key >= $2 ${within} ORDER BY o.key LIMIT 1)
         UNION ALL
         SELECT w.n + 1, next.* FROM walk AS w CROSS JOIN LATERAL (
           SELECT ${columnsOf('o')}, ${at} FROM objects AS o
           WHERE o.bucket_id = $1 ${within}
             AND o.key >= CASE WHEN w.at > 0 THEN left(w.key, $3 + w.at - 2) || $5 ELSE w.key || chr(1) END
           ORDER BY o.key LIMIT 1
         ) AS next
         WHERE w.n < $6
       )
       SELECT ${COLUMNS} FROM walk ORDER BY n`,
      values,
      upper === null ? 'skip' : 'skip-within',
    )
  }
}

const columnsOf = (table: string): string => COLUMNS.split(', ').map((column) => `${table}.${column}`).join(', ')

/** Where a page starts (inclusive) and ends (exclusive; null: with the bucket). null: it is empty. */
export function listBounds(prefix: string, delimiter: string, after: string): { from: string; upper: string | null; delimiter: string } | null {
  for (const text of [prefix, delimiter, after]) {
    if (!text.isWellFormed()) throw new AnvilError('InvalidArgument', 'prefix, delimiter and marker must be Unicode')
  }
  // No key holds NUL.
  if (!isStorable(prefix)) return null
  const folds = isStorable(delimiter) ? delimiter : ''
  const upper = prefix === '' ? null : successor(prefix)
  const nul = after.indexOf('\0')
  const marker = nul < 0 ? after : after.slice(0, nul)
  if (marker === '' || compareKeys(marker, prefix) < 0) return { from: prefix, upper, delimiter: folds }
  if (upper !== null && compareKeys(marker, upper) >= 0) return null
  let from: string | null = following(marker)
  if (folds !== '') {
    const at = marker.indexOf(folds, prefix.length)
    // Within a common prefix: that entry is not greater than the marker.
    if (at >= 0) from = successor(marker.slice(0, at + folds.length))
  }
  return from === null ? null : { from, upper, delimiter: folds }
}

/** Adds the entries of rows in key order; returns where to go on, null when nothing can follow. */
function fold(rows: Row[], delimiter: string, prefix: string, entries: ListEntry[], wanted: number): string | null {
  let covered: string | null = null
  let next: string | null = null
  for (const [key, size, etag, modifiedMs, storageClass, checksum] of rows) {
    if (covered !== null && key.startsWith(covered)) continue
    if (entries.length === wanted) break
    const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    if (at >= 0) {
      covered = key.slice(0, at + delimiter.length)
      entries.push({ kind: 'prefix', prefix: covered })
      next = successor(covered)
    } else {
      covered = null
      entries.push({ kind: 'object', key, size, etag, modifiedMs, storageClass: storageClassOf(storageClass), checksum: checksumOf(checksum) })
      next = following(key)
    }
  }
  return next
}

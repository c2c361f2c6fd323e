/** Listing of running uploads: by key, then by when they were started (upload ids are ordered by time). */
import type { BucketId } from '../../shared/ids.ts'
import type { UploadRecord } from './contract.ts'
import { isStorable, successor } from './keys.ts'
import { listBounds } from './listing.ts'
import type { Pool } from './pool.ts'
import { UPLOAD_COLUMNS, uploadOf, type UploadRow } from './records.ts'

const CHUNK_ROWS = 200
const ZERO_ID = '0'.repeat(32)

export interface ListUploadsRequest {
  bucketId: BucketId
  prefix: string
  delimiter: string
  keyAfter: string
  uploadIdAfter: string
  limit: number
}

export class UploadListing {
  readonly #pool: Pool

  constructor(pool: Pool) {
    this.#pool = pool
  }

  /** `limit` counts uploads and prefixes together, as S3 does. */
  async listUploads({ bucketId, prefix, delimiter, keyAfter, uploadIdAfter, limit }: ListUploadsRequest): Promise<{ uploads: UploadRecord[]; prefixes: string[]; truncated: boolean }> {
    const page = { uploads: [] as UploadRecord[], prefixes: [] as string[], truncated: false }
    const bounds = listBounds(prefix, delimiter, keyAfter)
    if (bounds === null || limit <= 0) return page
    let from: string | null = bounds.from
    let idAfter = ZERO_ID
    // With an upload id the marker names one upload: others of its key may follow, unless the key folds into a prefix.
    const folded = bounds.delimiter !== '' && keyAfter.indexOf(bounds.delimiter, prefix.length) >= 0
    if (uploadIdAfter !== '' && isStorable(keyAfter) && keyAfter.startsWith(prefix) && !folded) {
      from = keyAfter
      idAfter = uploadIdAfter
    }
    while (from !== null) {
      const rows: UploadRow[] = await this.#pool.query<UploadRow>(
        `SELECT ${UPLOAD_COLUMNS} FROM uploads WHERE bucket_id = $1 AND (key, upload_id) > ($2, $3::uuid) ${bounds.upper === null ? '' : 'AND key < $5'}
         ORDER BY key, upload_id LIMIT $4`,
        bounds.upper === null ? [bucketId, from, idAfter, CHUNK_ROWS] : [bucketId, from, idAfter, CHUNK_ROWS, bounds.upper],
      )
      let covered: string | null = null
      for (const row of rows) {
        const key = row[1]
        if (covered !== null && key.startsWith(covered)) continue
        if (page.uploads.length + page.prefixes.length === limit) return { ...page, truncated: true }
        const at = bounds.delimiter === '' ? -1 : key.indexOf(bounds.delimiter, prefix.length)
        covered = at < 0 ? null : key.slice(0, at + bounds.delimiter.length)
        if (covered === null) page.uploads.push(uploadOf(bucketId, row))
        else page.prefixes.push(covered)
      }
      const last = rows.at(-1)
      if (last === undefined || rows.length < CHUNK_ROWS) break
      from = covered === null ? last[1] : successor(covered)
      idAfter = covered === null ? last[0] : ZERO_ID
    }
    return page
  }
}

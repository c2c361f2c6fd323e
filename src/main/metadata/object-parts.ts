/** Parts of completed objects: where the bytes of a range lie. */
import type { BucketId, UploadId } from '../../shared/ids.ts'
import type { ObjectPart } from './contract.ts'
import type { Pool } from './pool.ts'
import { partOf, PART_COLUMNS, type PartRow } from './records.ts'

const objectPartOf = (row: PartRow): ObjectPart => ({ ...partOf(row), offset: row[10] ?? 0 })
const OF_OBJECT = 'bucket_id = $1 AND upload_id = $2 AND start IS NOT NULL'

export class ObjectParts {
  readonly #pool: Pool

  constructor(pool: Pool) {
    this.#pool = pool
  }

  async objectParts(bucketId: BucketId, uploadId: UploadId, from: number, to: number): Promise<ObjectPart[]> {
    const rows = await this.#pool.query<PartRow>(
      `SELECT ${PART_COLUMNS} FROM parts WHERE ${OF_OBJECT} AND start < $4 AND start + size > $3
         AND start >= coalesce((SELECT max(start) FROM parts WHERE ${OF_OBJECT} AND start <= $3), 0)
       ORDER BY start, part_number`,
      [bucketId, uploadId, from, to],
      'parts-of-range',
    )
    return rows.map(objectPartOf)
  }

  async objectPart(bucketId: BucketId, uploadId: UploadId, partNumber: number): Promise<ObjectPart | null> {
    const [row] = await this.#pool.query<PartRow>(`SELECT ${PART_COLUMNS} FROM parts WHERE ${OF_OBJECT} AND part_number = $3`, [bucketId, uploadId, partNumber], 'object-part')
    return row === undefined ? null : objectPartOf(row)
  }

  async objectPartsPage(bucketId: BucketId, uploadId: UploadId, after: number, limit: number): Promise<ObjectPart[]> {
    const rows = await this.#pool.query<PartRow>(
      `SELECT ${PART_COLUMNS} FROM parts WHERE ${OF_OBJECT} AND part_number > $3 ORDER BY part_number LIMIT $4`,
      [bucketId, uploadId, after, limit],
      'object-parts',
    )
    return rows.map(objectPartOf)
  }
}

/** Rows of blobs, as repair and re-encoding need them. */
import { AnvilError } from '../../shared/errors.ts'
import type { BlobId, BucketId, PgId } from '../../shared/ids.ts'
import type { BlobLayout, BlobRow, DatabaseIdentity, MissingShard } from './contract.ts'
import { requireIdentity } from './identity.ts'
import { lockGroupFor, type PlacementGroups } from './placement-groups.ts'
import type { Pool } from './pool.ts'
import { BODY_BLOB } from './records.ts'
import { DROP_LISTED_REFERENCES, missingMask, reportMissing } from './references.ts'
import { RolledBack, type Transactions } from './transaction.ts'

const COLUMNS = 'bucket_id, blob_id, pg_id, size, stripe_bytes, encrypted, refs'
type Row = [bucketId: BucketId, blobId: BlobId, pgId: PgId, size: number, stripeBytes: number, encrypted: boolean, refs: number]

const blobOf = ([bucketId, blobId, pgId, size, stripeBytes, encrypted, references]: Row): BlobRow => ({
  bucketId, blobId, pgId, size, stripeBytes, encrypted, references,
})

export class Blobs {
  readonly #pool: Pool
  readonly #background: Pool
  readonly #transactions: Transactions
  readonly #groups: PlacementGroups

  constructor(pool: Pool, background: Pool, transactions: Transactions, groups: PlacementGroups) {
    this.#pool = pool
    this.#background = background
    this.#transactions = transactions
    this.#groups = groups
  }

  async blob(bucketId: BucketId, blobId: BlobId): Promise<BlobRow | null> {
    const [row] = await this.#pool.query<Row>(`SELECT ${COLUMNS} FROM blobs WHERE bucket_id = $1 AND blob_id = $2`, [bucketId, blobId], 'blob')
    return row === undefined ? null : blobOf(row)
  }

  async blobs(bucketId: BucketId, blobIds: BlobId[]): Promise<(BlobRow | null)[]> {
    const rows = await this.#pool.query<Row>(`SELECT ${COLUMNS} FROM blobs WHERE bucket_id = $1 AND blob_id = ANY($2::uuid[])`, [bucketId, blobIds], 'blobs')
    const byId = new Map(rows.map((row) => [row[1], blobOf(row)]))
    return blobIds.map((id) => byId.get(id) ?? null)
  }

  /** A commit like any other (DESIGN §13, rules 2 and 4). */
  keepBlob(bucketId: BucketId, { blobId, pgId, size, stripeBytes }: BlobLayout, missing: MissingShard[]): Promise<void> {
    return this.#transactions.run(async (session) => {
      await lockGroupFor(session, bucketId, blobId, pgId)
      await session.query(
        'INSERT INTO blobs (bucket_id, blob_id, pg_id, size, stripe_bytes, refs, encrypted) VALUES ($1, $2, $3, $4, $5, 1, false)',
        [bucketId, blobId, pgId, size, stripeBytes],
      )
      if (missing.length > 0) {
        await session.query(reportMissing('SELECT $1::int8 AS bucket_id, $2::uuid AS content_id, $3::int8 AS pg_id, $4::int8 AS missing'), [
          bucketId, blobId, pgId, missingMask(missing),
        ])
      }
      this.#groups.addBytes(pgId, size)
    })
  }

  dropBlob(bucketId: BucketId, blobId: BlobId): Promise<void> {
    return this.#transactions.run(async (session) => {
      const [row] = await session.query<[number]>('SELECT refs FROM blobs WHERE bucket_id = $1 AND blob_id = $2 FOR UPDATE', [bucketId, blobId])
      if (row !== undefined && row[0] > 0) await session.query(DROP_LISTED_REFERENCES, [[bucketId], [blobId], [BODY_BLOB]])
    })
  }

  async keptBlobs(bucketId: BucketId): Promise<BlobRow[]> {
    const rows = await this.#background.query<Row>(`SELECT ${COLUMNS} FROM blobs WHERE bucket_id = $1 AND refs > 0 ORDER BY blob_id`, [bucketId])
    return rows.map(blobOf)
  }

  async blobsOfGroup(pgId: PgId, after: { bucketId: BucketId; blobId: BlobId } | null, limit: number): Promise<BlobRow[]> {
    // The index leads with the bucket: Postgres skips from one bucket to the next in it.
    const rows =
      after === null
        ? await this.#background.query<Row>(`SELECT ${COLUMNS} FROM blobs WHERE pg_id = $1 ORDER BY bucket_id, blob_id LIMIT $2`, [pgId, limit])
        : await this.#background.query<Row>(
            `SELECT * FROM (
               (SELECT ${COLUMNS} FROM blobs WHERE pg_id = $1 AND bucket_id = $2 AND blob_id > $3 ORDER BY blob_id LIMIT $4)
               UNION ALL
               (SELECT ${COLUMNS} FROM blobs WHERE pg_id = $1 AND bucket_id > $2 ORDER BY bucket_id, blob_id LIMIT $4)
             ) AS page ORDER BY bucket_id, blob_id LIMIT $4`,
            [pgId, after.bucketId, after.blobId, limit],
          )
    return rows.map(blobOf)
  }

  /** Re-encoding is a commit into `to` like any other (DESIGN §13, rules 2 and 4). */
  moveBlob(bucketId: BucketId, blobId: BlobId, from: PgId, to: PgId, missing: MissingShard[], under?: DatabaseIdentity): Promise<boolean> {
    return this.#transactions.run(async (session) => {
      await requireIdentity(session, under)
      try {
        await lockGroupFor(session, bucketId, blobId, to)
      } catch (error) {
        if (AnvilError.is(error, 'MetadataUnavailable') && 'reason' in error.details) throw new RolledBack(false)
        throw error
      }
      const [moved] = await session.query<[number]>(
        'UPDATE blobs SET pg_id = $4 WHERE bucket_id = $1 AND blob_id = $2 AND pg_id = $3 AND refs > 0 RETURNING size',
        [bucketId, blobId, from, to],
      )
      if (moved === undefined) throw new RolledBack(false)
      await session.query('DELETE FROM repair_queue WHERE bucket_id = $1 AND blob_id = $2 AND pg_id = $3', [bucketId, blobId, from])
      if (missing.length > 0) {
        await session.query(reportMissing('SELECT $1::int8 AS bucket_id, $2::uuid AS content_id, $3::int8 AS pg_id, $4::int8 AS missing'), [
          bucketId, blobId, to, missingMask(missing),
        ])
      }
      this.#groups.addBytes(to, moved[0])
      return true
    })
  }
}

/**
 * Orphans (DESIGN §13, rule 2). A suspect is a (blob, group) pair of which some drive has records and the rows know
 * nothing. It is condemned first: from then on no commit may name it. Then every transaction that may not have seen that
 * must end; only then a look at the rows is final.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BlobId, BucketId, PgId } from '../../shared/ids.ts'
import type { DatabaseIdentity } from './contract.ts'
import { requireIdentity, type Identity } from './identity.ts'
import type { Logger } from './logger.ts'
import type { Pool } from './pool.ts'
import { NOW_MS } from './references.ts'
import type { Transactions } from './transaction.ts'

const HORIZON_POLL_MS = 20
const ZERO_ID = '00000000000000000000000000000000'

export interface Suspect {
  bucketId: BucketId
  blobId: BlobId
  pgId: PgId
}

const columns = (suspects: Suspect[]): unknown[] => [
  suspects.map((suspect) => suspect.bucketId),
  suspects.map((suspect) => suspect.blobId),
  suspects.map((suspect) => suspect.pgId),
]
const GIVEN = 'unnest($1::int8[], $2::uuid[], $3::int8[]) AS s (bucket_id, blob_id, pg_id)'

export class Condemned {
  readonly #pool: Pool
  readonly #transactions: Transactions
  readonly #identity: Identity
  readonly #logger: Logger
  readonly #horizonWaitMs: number

  /** @param horizonWaitMs how long `judgeCondemned` waits for older transactions */
  constructor(pool: Pool, transactions: Transactions, identity: Identity, logger: Logger, horizonWaitMs: number) {
    this.#pool = pool
    this.#transactions = transactions
    this.#identity = identity
    this.#logger = logger
    this.#horizonWaitMs = horizonWaitMs
  }

  async condemn(suspects: Suspect[]): Promise<void> {
    if (suspects.length === 0) return
    // Not one that the rows know: that would only refuse its next copy until it is judged.
    await this.#pool.query(
      `INSERT INTO condemned (bucket_id, blob_id, pg_id, condemned_ms)
       SELECT DISTINCT s.bucket_id, s.blob_id, s.pg_id, ${NOW_MS} FROM ${GIVEN}
       WHERE NOT EXISTS (SELECT FROM blobs AS b WHERE b.bucket_id = s.bucket_id AND b.blob_id = s.blob_id AND b.pg_id = s.pg_id)
       ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING`,
      columns(suspects),
    )
  }

  async condemned(limit: number, after?: Suspect): Promise<Suspect[]> {
    const rows = await this.#pool.query<[BucketId, BlobId, PgId]>(
      `SELECT bucket_id, blob_id, pg_id FROM condemned WHERE (bucket_id, blob_id, pg_id) > ($2, $3, $4)
       ORDER BY bucket_id, blob_id, pg_id LIMIT $1`,
      [limit, after?.bucketId ?? -1, after?.blobId ?? ZERO_ID, after?.pgId ?? -1],
    )
    return rows.map(([bucketId, blobId, pgId]) => ({ bucketId, blobId, pgId }))
  }

  async judgeCondemned(suspects: Suspect[], under?: DatabaseIdentity, condemnedBeforeMs?: number): Promise<Suspect[]> {
    if (suspects.length === 0) return []
    // Only pairs whose condemnation is committed are judged, and the horizon is taken after that was seen.
    const committed = await this.#pool.query<[BucketId, BlobId, PgId]>(
      `SELECT c.bucket_id, c.blob_id, c.pg_id FROM ${GIVEN} JOIN condemned AS c USING (bucket_id, blob_id, pg_id)
       WHERE $4::int8 IS NULL OR c.condemned_ms < $4::int8`,
      [...columns(suspects), condemnedBeforeMs ?? null],
    )
    const pairs = committed.map(([bucketId, blobId, pgId]) => ({ bucketId, blobId, pgId }))
    if (pairs.length === 0 || !(await this.#pastHorizon())) return []
    const orphans = await this.#transactions.run(async (session) => {
      await requireIdentity(session, under)
      // Judged by the blobs' rows and not by what this statement could delete: another node that judges the same pairs may
      // have taken a known one out of `condemned` after this snapshot, which still shows it there.
      const rows = await session.query<[BucketId, BlobId, PgId]>(
        `WITH known AS (
           DELETE FROM condemned AS c USING (SELECT b.bucket_id, b.blob_id, b.pg_id FROM ${GIVEN} JOIN blobs AS b USING (bucket_id, blob_id, pg_id)) AS b
           WHERE c.bucket_id = b.bucket_id AND c.blob_id = b.blob_id AND c.pg_id = b.pg_id RETURNING c.bucket_id, c.blob_id, c.pg_id
         )
         SELECT c.bucket_id, c.blob_id, c.pg_id FROM ${GIVEN} JOIN condemned AS c USING (bucket_id, blob_id, pg_id)
         WHERE NOT EXISTS (SELECT FROM blobs AS b WHERE b.bucket_id = c.bucket_id AND b.blob_id = c.blob_id AND b.pg_id = c.pg_id)`,
        columns(pairs),
      )
      return rows.map(([bucketId, blobId, pgId]) => ({ bucketId, blobId, pgId }))
    })
    // What the removal rests on must survive a failover (rule 3).
    return orphans.length > 0 && (await this.#identity.flushedOnStandbys()) ? orphans : []
  }

  /** Only of closed groups: no commit into one can come any more. Rows of others stay. */
  async forgetCondemned(items: { blobId: BlobId; pgId: PgId }[]): Promise<void> {
    if (items.length === 0) return
    await this.#pool.query(
      `DELETE FROM condemned AS c USING unnest($1::uuid[], $2::int8[]) AS i (blob_id, pg_id)
       WHERE c.blob_id = i.blob_id AND c.pg_id = i.pg_id
         AND EXISTS (SELECT FROM placement_groups AS p WHERE p.id = c.pg_id AND p.state = 2)`,
      [items.map((item) => item.blobId), items.map((item) => item.pgId)],
    )
  }

  /** Waits until every transaction that had an id when this was called has ended. */
  async #pastHorizon(): Promise<boolean> {
    const [taken] = await this.#pool.query<[string]>('SELECT pg_snapshot_xmax(pg_current_snapshot())::text')
    const horizon = taken![0]
    const deadlineMs = Date.now() + this.#horizonWaitMs
    for (;;) {
      const [row] = await this.#pool.query<[boolean]>('SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::xid8', [horizon])
      if (row![0]) return true
      if (Date.now() >= deadlineMs) {
        this.#logger.warn({ horizon }, 'a transaction runs on: suspected orphans are judged later')
        return false
      }
      await sleep(HORIZON_POLL_MS)
    }
  }
}

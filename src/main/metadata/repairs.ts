/** The repair queue (DESIGN §13, rule 7): each report of a shard's damage gives its entry a new id, removal names that id. */
import type { BlobId, BucketId, PgId } from '../../shared/ids.ts'
import type { DatabaseIdentity, RepairEntry } from './contract.ts'
import { requireIdentity } from './identity.ts'
import type { Pool } from './pool.ts'
import { NOW_MS } from './references.ts'
import type { Transactions } from './transaction.ts'

/** In the order of their numbers in the rows. */
const REASONS: RepairEntry['reason'][] = ['left-out', 'crc', 'missing', 'io', 'drive-lost']

/**
 * What the damage was reported as that is still to be mended: a shard whose bytes are bad is there, and would pass for one that
 * is only missing no more. A mover that wakes up late may say `drive-lost` of a member that has its shard by now, rotten.
 */
const WORSE_REASON = `CASE WHEN repair_queue.reason IN (${['crc', 'io'].map((reason) => REASONS.indexOf(reason as RepairEntry['reason'])).join()}) THEN repair_queue.reason ELSE excluded.reason END`

export class Repairs {
  readonly #pool: Pool
  readonly #transactions: Transactions

  constructor(pool: Pool, transactions: Transactions) {
    this.#pool = pool
    this.#transactions = transactions
  }

  async repairs(limit: number, after: number): Promise<RepairEntry[]> {
    const rows = await this.#pool.query<[number, BucketId, BlobId, PgId, number, number, number]>(
      `SELECT entry_id, bucket_id, blob_id, pg_id, shard_index, reason, reported_ms FROM repair_queue
       WHERE entry_id > $1 ORDER BY entry_id LIMIT $2`,
      [after, limit],
    )
    return rows.map(([entryId, bucketId, blobId, pgId, index, reason, reportedMs]) => ({
      entryId, bucketId, blobId, pgId, index, reason: REASONS[reason]!, reportedMs,
    }))
  }

  async reportDamage(entries: Omit<RepairEntry, 'entryId' | 'reportedMs'>[]): Promise<void> {
    if (entries.length === 0) return
    await this.#pool.query(
      `INSERT INTO repair_queue (bucket_id, blob_id, pg_id, shard_index, reason, reported_ms)
       SELECT bucket_id, blob_id, pg_id, shard_index, max(reason), ${NOW_MS}
       FROM unnest($1::int8[], $2::uuid[], $3::int8[], $4::int2[], $5::int2[]) AS e (bucket_id, blob_id, pg_id, shard_index, reason)
       GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
       ON CONFLICT (bucket_id, blob_id, pg_id, shard_index)
       DO UPDATE SET entry_id = nextval('repair_entry_id'), reason = ${WORSE_REASON}, reported_ms = excluded.reported_ms`,
      [
        entries.map((entry) => entry.bucketId),
        entries.map((entry) => entry.blobId),
        entries.map((entry) => entry.pgId),
        entries.map((entry) => entry.index),
        entries.map((entry) => REASONS.indexOf(entry.reason)),
      ],
    )
  }

  async forgetRepair(entryIds: number[], under?: DatabaseIdentity): Promise<void> {
    if (entryIds.length === 0) return
    await this.#transactions.run(async (session) => {
      await requireIdentity(session, under)
      await session.query('DELETE FROM repair_queue WHERE entry_id = ANY($1::int8[])', [entryIds])
    })
  }

  async repairBacklog(): Promise<{ shards: number; blobs: number }> {
    const [row] = await this.#pool.query<[number, number]>('SELECT count(*), count(DISTINCT (bucket_id, blob_id)) FROM repair_queue')
    const [shards, blobs] = row!
    return { shards, blobs }
  }

  async repairCount(): Promise<number> {
    const [row] = await this.#pool.query<[number]>('SELECT count(*) FROM repair_queue')
    return row![0]
  }
}

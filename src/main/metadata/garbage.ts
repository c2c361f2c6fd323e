/**
 * Blobs whose last reference went. They may be removed once no running read is older (DESIGN §6): every node publishes
 * when its oldest read looked its object up, by the database's clock. A read that looked after a transaction's end does
 * not see what it removed, so an entry is old enough when its transaction had ended before the oldest read began. That is
 * told by snapshots taken now and then: all transactions below `xmin` of a snapshot had ended when it was taken.
 */
import type { DatabaseIdentity, Garbage } from './contract.ts'
import { requireIdentity, type Identity } from './identity.ts'
import type { Pool } from './pool.ts'
import type { BlobId, BucketId, PgId } from '../../shared/ids.ts'
import { CLOCK_MS } from './references.ts'
import type { Transactions } from './transaction.ts'

const MAX_SAMPLES = 1000
const ZERO_ID = '00000000000000000000000000000000'
const MANIFESTS_AT_ONCE = 20

export interface GarbageOptions {
  /** Nodes whose lease ended longer ago do not hold garbage back. */
  deadNodeGraceMs: number
}

interface Sample {
  takenMs: number
  /** Transactions below this had ended. */
  xmin: string
}

export class GarbageQueue {
  readonly #pool: Pool
  readonly #transactions: Transactions
  readonly #identity: Identity
  readonly #options: GarbageOptions
  /** Oldest first. */
  #samples: Sample[] = []

  constructor(pool: Pool, transactions: Transactions, identity: Identity, options: GarbageOptions) {
    this.#pool = pool
    this.#transactions = transactions
    this.#identity = identity
    this.#options = options
  }

  async garbage(limit: number, after?: Garbage, droppedIn?: string): Promise<Garbage[]> {
    const horizon = await this.horizon()
    if (horizon === null) return []
    const rows = await this.#pool.query<[BucketId, BlobId, PgId, number]>(
      `SELECT g.bucket_id, g.blob_id, b.pg_id, g.deleted_ms FROM gc_queue AS g JOIN blobs AS b USING (bucket_id, blob_id)
       WHERE b.refs = 0 AND g.dropped_by < $1::xid8 AND ($6::pg_snapshot IS NULL OR pg_visible_in_snapshot(g.dropped_by, $6::pg_snapshot)) AND (g.deleted_ms, g.bucket_id, g.blob_id) > ($3, $4, $5)
       ORDER BY g.deleted_ms, g.bucket_id, g.blob_id LIMIT $2`,
      [horizon, limit, after?.deletedMs ?? -1, after?.bucketId ?? -1, after?.blobId ?? ZERO_ID, droppedIn ?? null],
    )
    if (rows.length === 0 || !(await this.#identity.flushedOnStandbys())) return []
    return rows.map(([bucketId, blobId, pgId, deletedMs]) => ({ bucketId, blobId, pgId, deletedMs }))
  }

  /** The shards are gone: so go the rows, and what is still to be repaired of them. */
  async forgetGarbage(items: Garbage[], under?: DatabaseIdentity): Promise<void> {
    if (items.length === 0) return
    await this.#transactions.run(async (session) => {
      await requireIdentity(session, under)
      await session.query(
        `WITH gone AS (
           DELETE FROM blobs AS b USING unnest($1::int8[], $2::uuid[]) AS i (bucket_id, blob_id)
           WHERE b.bucket_id = i.bucket_id AND b.blob_id = i.blob_id AND b.refs = 0 RETURNING b.bucket_id, b.blob_id
         ), repairs AS (
           DELETE FROM repair_queue AS r USING gone AS g WHERE r.bucket_id = g.bucket_id AND r.blob_id = g.blob_id
         )
         DELETE FROM gc_queue AS q USING gone AS g WHERE q.bucket_id = g.bucket_id AND q.blob_id = g.blob_id`,
        [items.map((item) => item.bucketId), items.map((item) => item.blobId)],
      )
    })
  }

  /** Removes lists of parts that no running read can need. */
  async tidyManifests(): Promise<void> {
    const horizon = await this.horizon()
    if (horizon === null) return
    for (let removed = MANIFESTS_AT_ONCE; removed === MANIFESTS_AT_ONCE; ) {
      const [row] = await this.#pool.query<[number]>(
        `WITH gone AS (
           DELETE FROM manifests AS m USING (
             SELECT bucket_id, upload_id FROM manifests WHERE dropped_ms IS NOT NULL AND dropped_by < $1::xid8
             ORDER BY dropped_ms LIMIT ${MANIFESTS_AT_ONCE}
           ) AS old WHERE m.bucket_id = old.bucket_id AND m.upload_id = old.upload_id AND m.refs = 0 RETURNING m.bucket_id, m.upload_id
         ), part AS (
           DELETE FROM parts AS p USING gone AS g WHERE p.bucket_id = g.bucket_id AND p.upload_id = g.upload_id
         )
         SELECT count(*) FROM gone`,
        [horizon],
      )
      removed = row![0]
    }
  }

  /** What was dropped by transactions below this is out of every running read's sight; null when not known yet. */
  async horizon(): Promise<string | null> {
    const [row] = await this.#pool.query<[number, string, number | null, boolean]>(
      `SELECT ${CLOCK_MS}, pg_snapshot_xmin(pg_current_snapshot())::text,
         (SELECT min(oldest_read_ms) FROM nodes WHERE lease_until_ms >= ${CLOCK_MS} - $1),
         NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'`,
      [this.#options.deadNodeGraceMs],
    )
    const [nowMs, xmin, oldestReadMs, readWrite] = row!
    if (!readWrite) return null
    this.#samples.push({ takenMs: nowMs, xmin })
    // Clocks are cut to milliseconds: the same one does not say which came first. Without any node nobody reads.
    const readMs = oldestReadMs ?? Infinity
    const known = this.#samples.findLastIndex(({ takenMs }) => takenMs < readMs)
    if (known > 0) this.#samples = this.#samples.slice(known)
    // A read may run for a day: keep fewer samples, the first and the newest among them.
    if (this.#samples.length > MAX_SAMPLES) this.#samples = this.#samples.filter((_, at, all) => at % 2 === 0 || at === all.length - 1)
    return known < 0 ? null : this.#samples[0]!.xmin
  }
}

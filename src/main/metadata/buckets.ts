/** bucket_state: what every commit asks of its bucket, under a shared lock. */
import { AnvilError } from '../../shared/errors.ts'
import type { BucketId } from '../../shared/ids.ts'
import type { Pool } from './pool.ts'
import { NOW_MS } from './references.ts'
import type { Transactions } from './transaction.ts'
import type { Session } from './session.ts'

export class Buckets {
  readonly #pool: Pool
  readonly #transactions: Transactions

  constructor(pool: Pool, transactions: Transactions) {
    this.#pool = pool
    this.#transactions = transactions
  }

  /** Nothing where there is a state, or the bucket was deleted. */
  async createBucketState(bucketId: BucketId): Promise<void> {
    await this.#pool.query(
      `INSERT INTO bucket_state (bucket_id, created_ms) VALUES ($1, ${NOW_MS}) ON CONFLICT (bucket_id) DO NOTHING`,
      [bucketId],
    )
  }

  /** Idempotent. @throws AnvilError BucketNotEmpty, NoSuchBucket */
  async beginDeleteBucket(bucketId: BucketId): Promise<void> {
    await this.#transactions.run(async (session) => {
      const [state] = await session.query<[boolean]>('SELECT deleted FROM bucket_state WHERE bucket_id = $1 FOR UPDATE', [bucketId])
      if (state === undefined || state[0]) throw new AnvilError('NoSuchBucket', 'the bucket does not exist')
      // A snapshot of its own, after the lock: no commit is under way in this bucket any more.
      const [found] = await session.query<[boolean]>(
        `SELECT EXISTS (SELECT FROM objects WHERE bucket_id = $1) OR EXISTS (SELECT FROM object_versions WHERE bucket_id = $1)
             OR EXISTS (SELECT FROM uploads WHERE bucket_id = $1)`,
        [bucketId],
      )
      if (found?.[0] === true) throw new AnvilError('BucketNotEmpty', 'the bucket holds objects or uploads')
      await session.query('UPDATE bucket_state SET deleting = true WHERE bucket_id = $1', [bucketId])
    })
  }

  /** The row stays: ids of buckets never come again, and nothing makes the state of this one anew. */
  async finishDeleteBucket(bucketId: BucketId): Promise<void> {
    await this.#pool.query('UPDATE bucket_state SET deleted = true WHERE bucket_id = $1 AND deleting', [bucketId])
  }

  async deletingBuckets(): Promise<BucketId[]> {
    const rows = await this.#pool.query<[BucketId]>('SELECT bucket_id FROM bucket_state WHERE deleting AND NOT deleted ORDER BY bucket_id')
    return rows.map(([bucketId]) => bucketId)
  }
}

/** The shared lock that every commit takes. @throws AnvilError NoSuchBucket */
export async function lockBucket(session: Session, bucketId: BucketId): Promise<void> {
  const [state] = await session.query<[boolean]>('SELECT deleting FROM bucket_state WHERE bucket_id = $1 FOR SHARE', [bucketId], 'lock-bucket')
  if (state === undefined || state[0]) throw new AnvilError('NoSuchBucket', 'the bucket does not exist or is being deleted')
}

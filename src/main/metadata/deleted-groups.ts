/**
 * Closed placement groups that hold nothing go (docs/ARCHITECTURE.md, "Placement"). Their ids are kept, as ranges: they never
 * come again, and a group that was empty when it went is told from one that this database has never heard of.
 */
import type { PgId } from '../../shared/ids.ts'
import type { DatabaseIdentity } from './contract.ts'
import { requireIdentity, TIMELINE } from './identity.ts'
import { GENERATION_SPAN } from './placement-groups.ts'
import type { Pool } from './pool.ts'
import { CLOCK_MS } from './references.ts'
import type { Session } from './session.ts'
import type { Transactions } from './transaction.ts'

/** How long condemned pairs of deleted groups stay. A shard that is still there then is condemned again. */
const CONDEMNED_KEPT_MS = 24 * 3_600_000

export class DeletedGroups {
  readonly #pool: Pool
  readonly #transactions: Transactions

  constructor(pool: Pool, transactions: Transactions) {
    this.#pool = pool
    this.#transactions = transactions
  }

  deleteEmptyGroups(ids: readonly PgId[], under: DatabaseIdentity): Promise<PgId[]> {
    return this.#transactions.run(async (session) => {
      await requireIdentity(session, under)
      // Whoever holds such a row's shared lock has found the group closed, or finds no row when this has committed.
      const locked = await session.query<[PgId]>(
        'SELECT id FROM placement_groups WHERE id = ANY($1::int8[]) AND state = 2 AND incoming_drive IS NULL ORDER BY id FOR UPDATE', [ids],
      )
      const empty = await withoutNames(session, locked.map(([id]) => id))
      if (empty.length === 0) return []
      await session.query('DELETE FROM placement_groups WHERE id = ANY($1::int8[])', [empty])
      await remember(session, empty)
      return empty
    })
  }

  async deletedGroup(id: PgId): Promise<number | null> {
    // The highest one under this timeline: a drive may have been told any that the group ever had.
    const [row] = await this.#pool.query<[number]>(
      `SELECT (${TIMELINE} + 1)::int8 * ${GENERATION_SPAN} - 1 FROM deleted_groups WHERE $1::int8 BETWEEN first_id AND last_id`, [id],
    )
    return row?.[0] ?? null
  }

  /** Pairs of deleted groups, to which no commit can come; when it has been long enough for every drive to be looked at. */
  async forgetCondemned(): Promise<void> {
    await this.#pool.query(
      `DELETE FROM condemned AS c USING deleted_groups AS d
       WHERE c.pg_id BETWEEN d.first_id AND d.last_id AND c.condemned_ms < ${CLOCK_MS} - $1`,
      [CONDEMNED_KEPT_MS],
    )
  }
}

/** Those of the locked groups that no row names. Hints in rows of objects and parts name no group: the blob's row does. */
async function withoutNames(session: Session, ids: readonly PgId[]): Promise<PgId[]> {
  const named = new Set((await session.query<[PgId]>(
    `SELECT pg_id FROM condemned WHERE pg_id = ANY($1::int8[])
     UNION SELECT pg_id FROM repair_queue WHERE pg_id = ANY($1::int8[])
     UNION SELECT g.id FROM nodes AS n, unnest(n.in_use) AS g (id) WHERE g.id = ANY($1::int8[]) AND n.process_id IS NOT NULL AND n.lease_until_ms >= ${CLOCK_MS}`,
    [ids],
  )).map(([id]) => id))
  const empty: PgId[] = []
  for (const id of ids) {
    if (named.has(id)) continue
    // in the order of the index, which leads with the bucket: Postgres skips from one bucket to the next in it
    const blobs = await session.query('SELECT 1 FROM blobs WHERE pg_id = $1 ORDER BY bucket_id, blob_id LIMIT 1', [id], 'blob-in-group')
    if (blobs.length === 0) empty.push(id)
  }
  return empty
}

/** Ranges that the ids touch become one with them. Only ids that were given: what lies between two of them stays unknown. */
async function remember(session: Session, ids: readonly PgId[]): Promise<void> {
  await session.query('LOCK TABLE deleted_groups IN SHARE ROW EXCLUSIVE MODE')
  const touched = await session.query<[number, number]>(
    `DELETE FROM deleted_groups AS d USING unnest($1::int8[]) AS g (id)
     WHERE d.first_id <= g.id + 1 AND d.last_id >= g.id - 1 RETURNING d.first_id, d.last_id`,
    [ids],
  )
  await session.query(
    `INSERT INTO deleted_groups (first_id, last_id)
     SELECT lower(r), upper(r) - 1 FROM unnest((
       SELECT range_agg(int8range(first_id, last_id, '[]')) FROM unnest($1::int8[], $2::int8[]) AS given (first_id, last_id)
     )) AS r`,
    [[...ids, ...touched.map(([first]) => first)], [...ids, ...touched.map(([, last]) => last)]],
  )
}

/** Placement groups: open, sealed, closed; and the compare-and-sets that move their members (DESIGN §7, §13 rules 4 to 6). */
import { AnvilError } from '../../shared/errors.ts'
import type { BlobId, BucketId, DriveId, PgId } from '../../shared/ids.ts'
import type { DatabaseIdentity, PgState, PlacementGroup } from './contract.ts'
import { requireIdentity, TIMELINE } from './identity.ts'
import { KnownGroups } from './known-groups.ts'
import type { Logger } from './logger.ts'
import type { Pool } from './pool.ts'
import { CLOCK_MS, NOW_MS } from './references.ts'
import type { Session } from './session.ts'
import type { Transactions } from './transaction.ts'

const STATES: PgState[] = ['open', 'sealed', 'closed']
const CLOSED = 2
/** The generation that travels: the timeline above, so that a promoted standby's generations are all higher. */
export const GENERATION_SPAN = 2 ** 32
/** Ids that an old primary may have given and a promoted standby does not know of. */
const FAILOVER_ID_GAP = 1_000_000

/** As it travels. The timeline is the statement's, found out once for all rows. */
const GENERATION = `generation + (SELECT ${TIMELINE})::int8 * ${GENERATION_SPAN}`
const COLUMNS = `id, k, m, members, state, ${GENERATION}, bytes, opened_ms, incoming_index, incoming_drive`
type Row = [
  id: PgId, k: number, m: number, members: DriveId[], state: number, generation: number, bytes: number, openedMs: number,
  incomingIndex: number | null, incomingDrive: DriveId | null,
]

function groupOf([id, k, m, members, state, generation, bytes, openedMs, index, drive]: Row): PlacementGroup {
  const incoming = index === null || drive === null ? null : { index, drive }
  return { id, k, m, members, state: STATES[state]!, generation, bytes, openedMs, incoming }
}

export class PlacementGroups {
  readonly #pool: Pool
  readonly #transactions: Transactions
  readonly #logger: Logger
  readonly #known: KnownGroups
  /** Bytes committed through this node and not yet added to the rows. */
  #bytes = new Map<number, number>()

  constructor(pool: Pool, transactions: Transactions, logger: Logger) {
    this.#pool = pool
    this.#transactions = transactions
    this.#logger = logger
    this.#known = new KnownGroups({
      versions: async () => {
        const rows = await pool.query<[PgId, number, number, number]>(`SELECT id, state, ${GENERATION}, bytes FROM placement_groups ORDER BY id`)
        return rows.map(([id, state, generation, bytes]) => ({ id, state: STATES[state]!, generation, bytes }))
      },
      rows: async (ids) => (await pool.query<Row>(`SELECT ${COLUMNS} FROM placement_groups WHERE id = ANY($1::int8[])`, [ids])).map(groupOf),
    })
  }

  async placementGroup(id: PgId): Promise<PlacementGroup | null> {
    const [row] = await this.#pool.query<Row>(`SELECT ${COLUMNS} FROM placement_groups WHERE id = $1`, [id])
    return row === undefined ? null : groupOf(row)
  }

  async placementGroups(filter: { states?: PgState[]; incoming?: true } = {}): Promise<PlacementGroup[]> {
    const states = filter.states ?? STATES
    // few are open, sealed or under way; the closed ones are many and hardly ever change
    if (filter.incoming === undefined && states.includes('closed')) return this.#known.look(states)
    const rows = await this.#pool.query<Row>(
      `SELECT ${COLUMNS} FROM placement_groups WHERE state = ANY($1::int2[]) AND (incoming_drive IS NOT NULL OR NOT $2) ORDER BY id`,
      [states.map((state) => STATES.indexOf(state)), filter.incoming ?? false],
    )
    return rows.map(groupOf)
  }

  async openPlacementGroup(k: number, m: number, members: DriveId[]): Promise<PlacementGroup> {
    const find = async (on: Pick<Session, 'query'>): Promise<PlacementGroup | null> => {
      const [row] = await on.query<Row>(
        `SELECT ${COLUMNS} FROM placement_groups WHERE state = 0 AND k = $1 AND m = $2 AND members = $3::uuid[]`,
        [k, m, members],
      )
      return row === undefined ? null : groupOf(row)
    }
    const open = await find(this.#pool)
    if (open !== null) return open
    return this.#transactions.run(async (session) => {
      await this.#skipIdsAfterFailover(session)
      // One at a time: who loses the race gives no id away, or the ranges of deleted ids would have as many holes.
      await session.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`placement group ${k}+${m} ${members.join()}`])
      const other = await find(session)
      if (other !== null) return other
      for (;;) {
        // A node of an earlier version takes no such lock: a conflict with its row waits for it; then it is found.
        await session.query(
          `INSERT INTO placement_groups (k, m, members, opened_ms) VALUES ($1, $2, $3::uuid[], ${NOW_MS})
           ON CONFLICT (k, m, members) WHERE state = 0 DO NOTHING`,
          [k, m, members],
        )
        const made = await find(session)
        if (made !== null) return made
      }
    })
  }

  async sealPlacementGroup(id: PgId): Promise<void> {
    await this.#pool.query(`UPDATE placement_groups SET state = 1, sealed_ms = ${CLOCK_MS} WHERE id = $1 AND state = 0`, [id])
  }

  /** Waits for the commits that hold the shared lock. */
  async closePlacementGroup(id: PgId): Promise<void> {
    await this.#pool.query('UPDATE placement_groups SET state = 2 WHERE id = $1 AND state < 2', [id])
  }

  async closedGroups(after: PgId | null, limit: number): Promise<{ id: PgId; bytes: number }[]> {
    const rows = await this.#pool.query<[PgId, number]>(
      `SELECT id, bytes FROM placement_groups WHERE state = ${CLOSED} AND id > $1 ORDER BY id LIMIT $2`, [after ?? 0, limit],
    )
    return rows.map(([id, bytes]) => ({ id, bytes }))
  }

  async closableGroups(): Promise<PgId[]> {
    const rows = await this.#pool.query<[PgId]>(
      `SELECT g.id FROM placement_groups g WHERE g.state = 1 AND NOT EXISTS (
         SELECT FROM nodes n WHERE n.process_id IS NOT NULL AND n.lease_until_ms >= ${CLOCK_MS} AND (n.reported_ms <= g.sealed_ms OR g.id = ANY (n.in_use))
       ) ORDER BY g.id`,
    )
    return rows.map(([id]) => id)
  }

  beginMove(id: PgId, index: number, to: DriveId, generation: number): Promise<PlacementGroup | null> {
    return this.#transactions.run(async (session) => {
      const [row] = await session.query<Row>(
        `UPDATE placement_groups SET incoming_index = $2::int2, incoming_drive = $3::uuid, generation = generation + 1
         WHERE id = $1 AND state = ${CLOSED} AND $2::int2 BETWEEN 0 AND k + m - 1 AND NOT members @> ARRAY[$3::uuid] AND ${sameGeneration('$4')}
         RETURNING ${COLUMNS}`,
        [id, index, to, generation],
      )
      return row === undefined ? null : groupOf(row)
    })
  }

  async giveUpMove(id: PgId, generation: number): Promise<boolean> {
    const rows = await this.#pool.query(
      `UPDATE placement_groups SET incoming_index = NULL, incoming_drive = NULL, generation = generation + 1
       WHERE id = $1 AND incoming_drive IS NOT NULL AND ${sameGeneration('$2')} RETURNING id`,
      [id, generation],
    )
    return rows.length === 1
  }

  replaceMember(id: PgId, index: number, from: DriveId, to: DriveId, generation: number, under?: DatabaseIdentity): Promise<boolean> {
    return this.#transactions.run(async (session) => {
      await requireIdentity(session, under)
      const rows = await session.query(
        `UPDATE placement_groups SET members[$2::int4 + 1] = $4::uuid, generation = generation + 1, incoming_index = NULL, incoming_drive = NULL
         WHERE id = $1 AND state = ${CLOSED} AND members[$2::int4 + 1] = $3::uuid AND ${sameGeneration('$5')}
           AND (incoming_index IS NULL OR (incoming_index = $2::int4 AND incoming_drive = $4::uuid))
         RETURNING id`,
        [id, index, from, to, generation],
      )
      return rows.length === 1
    })
  }

  /** Notes committed bytes; they reach the rows with the next `flushBytes`. */
  addBytes(pgId: number, bytes: number): void {
    this.#bytes.set(pgId, (this.#bytes.get(pgId) ?? 0) + bytes)
  }

  /** An approximate count: what a node had not flushed when it died is missing. */
  async flushBytes(): Promise<void> {
    if (this.#bytes.size === 0) return
    const bytes = this.#bytes
    this.#bytes = new Map()
    const ids = [...bytes.keys()].sort((a, b) => a - b)
    try {
      await this.#pool.query(
        `UPDATE placement_groups AS p SET bytes = p.bytes + n.bytes
         FROM (SELECT * FROM unnest($1::int8[], $2::int8[]) AS new (id, bytes) ORDER BY id) AS n WHERE p.id = n.id`,
        [ids, ids.map((id) => bytes.get(id)!)],
      )
    } catch (error) {
      for (const [id, count] of bytes) this.addBytes(id, count)
      this.#logger.warn({ err: error }, 'cannot note the sizes of placement groups')
    }
  }

  /** Ids that the old primary gave and lost in a failover must not come again. */
  async #skipIdsAfterFailover(session: Session): Promise<void> {
    const [marker] = await session.query<[known: number, now: number]>(`SELECT timeline, ${TIMELINE} FROM regional_marker`)
    if (marker === undefined || marker[0] === marker[1]) return
    const [locked] = await session.query<[known: number]>('SELECT timeline FROM regional_marker FOR UPDATE')
    if (locked![0] === marker[1]) return
    if (locked![0] !== 0) {
      await session.query(`SELECT setval('placement_group_id', nextval('placement_group_id') + ${FAILOVER_ID_GAP})`)
      await session.query(`SELECT setval('repair_entry_id', nextval('repair_entry_id') + ${FAILOVER_ID_GAP})`)
    }
    await session.query('UPDATE regional_marker SET timeline = $1', [marker[1]])
  }
}

/** `parameter` is a travelling generation of this row under this timeline. */
const sameGeneration = (parameter: string): string =>
  `generation = ${parameter}::int8 % ${GENERATION_SPAN} AND ${TIMELINE} = ${parameter}::int8 / ${GENERATION_SPAN}`

/**
 * What every commit that names a group does: takes the shared lock and judges the locked row (rule 4), refuses condemned
 * pairs (rule 2). The transaction has its id already. @throws AnvilError MetadataUnavailable
 */
export async function lockGroupFor(session: Session, bucketId: BucketId, blobId: BlobId, pgId: PgId): Promise<void> {
  const [group] = await session.query<[number]>('SELECT state FROM placement_groups WHERE id = $1 FOR SHARE', [pgId], 'lock-pg')
  if (group === undefined || group[0] === CLOSED) {
    throw new AnvilError('MetadataUnavailable', 'the placement group is closed', { details: { reason: 'placement-group-closed' } })
  }
  await refuseCondemned(session, bucketId, blobId, pgId)
}

/** @throws AnvilError MetadataUnavailable */
export async function refuseCondemned(session: Session, bucketId: BucketId, blobId: BlobId, pgId: PgId): Promise<void> {
  const [condemned] = await session.query('SELECT 1 FROM condemned WHERE bucket_id = $1 AND blob_id = $2 AND pg_id = $3', [bucketId, blobId, pgId], 'condemned')
  if (condemned !== undefined) {
    throw new AnvilError('MetadataUnavailable', 'the shards were given up', { details: { reason: 'condemned' } })
  }
}

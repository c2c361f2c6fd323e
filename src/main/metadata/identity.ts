/**
 * Which database this is (DESIGN §13, rule 3): removal of any kind rests on the one it began under, on it being a
 * read-write primary, and on its standbys having what the removal rests on.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { DatabaseIdentity } from './contract.ts'
import type { Logger } from './logger.ts'
import { unavailable, type Pool } from './pool.ts'
import type { Session } from './session.ts'

/**
 * The timeline that generations carry: the server's own, above that of the servers that the metadata came from by export
 * and import. Of a primary: the control file's timeline lags behind a promotion until the next checkpoint, a WAL file's name
 * does not.
 */
export const TIMELINE = `(CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
  ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4 END + (SELECT timeline_base FROM regional_marker))`
const IDENTITY = `SELECT (SELECT system_identifier::text FROM pg_control_system()), ${TIMELINE},
  NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'`

type IdentityRow = [systemId: string, timeline: number, readWrite: boolean]
const identityOf = ([systemId, timeline, readWrite]: IdentityRow): DatabaseIdentity => ({ systemId, timeline, readWrite })

const STANDBY_POLL_MS = 50

export class Identity {
  readonly #pool: Pool
  readonly #logger: Logger
  readonly #standbyWaitMs: number

  constructor(pool: Pool, logger: Logger, standbyWaitMs: number) {
    this.#pool = pool
    this.#logger = logger
    this.#standbyWaitMs = standbyWaitMs
  }

  async identity(): Promise<DatabaseIdentity> {
    const [row] = await this.#pool.query<IdentityRow>(IDENTITY)
    return identityOf(row!)
  }

  /** Whether the database is still that one and takes writes, and its standbys have everything committed before the call. */
  async mayRemove(under: DatabaseIdentity): Promise<boolean> {
    const now = await this.identity()
    return now.readWrite && now.systemId === under.systemId && now.timeline === under.timeline && (await this.flushedOnStandbys())
  }

  /**
   * Resolves with true once everything committed before the call is flushed on every standby, false when one of them
   * does not get there in time. Standbys are those that stream now and those that own a physical replication slot: one
   * that is away counts until its slot is dropped.
   */
  async flushedOnStandbys(): Promise<boolean> {
    const [row] = await this.#pool.query<[string]>('SELECT pg_current_wal_insert_lsn()::text')
    const lsn = row![0]
    const deadlineMs = Date.now() + this.#standbyWaitMs
    for (;;) {
      // Without pg_read_all_stats other users' flush_lsn is null: not known to be flushed.
      const [behind] = await this.#pool.query<[number, number]>(
        `SELECT (SELECT count(*) FROM pg_stat_replication WHERE flush_lsn IS NULL OR flush_lsn < $1::pg_lsn),
                (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT active AND NOT temporary)`,
        [lsn],
      )
      const [streaming, away] = behind!
      if (streaming === 0 && away === 0) return true
      if (Date.now() >= deadlineMs) {
        this.#logger.warn({ streaming, away }, 'standbys are behind: nothing is removed until they have caught up')
        return false
      }
      await sleep(STANDBY_POLL_MS)
    }
  }
}

/** @throws AnvilError MetadataUnavailable when the session's database is not the one that work began under, or takes no writes */
export async function requireIdentity(session: Session, under: DatabaseIdentity | undefined): Promise<void> {
  const [row] = await session.query<IdentityRow>(IDENTITY, [], 'identity')
  const { systemId, timeline, readWrite } = identityOf(row!)
  if (!readWrite) throw unavailable(null, 'the metadata database does not take writes')
  if (under !== undefined && (under.systemId !== systemId || under.timeline !== timeline)) {
    throw unavailable(null, 'the metadata database is another one since this work began')
  }
}

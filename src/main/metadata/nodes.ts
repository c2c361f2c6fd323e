/** Nodes with their leases, and drives. */
import { performance } from 'node:perf_hooks'
import { AnvilError } from '../../shared/errors.ts'
import type { DriveId, NodeId } from '../../shared/ids.ts'
import type { DriveRecord, NodeRecord, NodeRegistration, NodeReport } from './contract.ts'
import type { Pool } from './pool.ts'
import { CLOCK_MS } from './references.ts'

const ENDED_LEASES_KEPT_MS = 3_600_000
const NO_REPORT: NodeReport = { askedMs: null, inUse: [], wanted: null }
const DRIVE_STATES: DriveRecord['state'][] = ['active', 'lost']

export class Nodes {
  readonly #pool: Pool
  /** A reading of the database's clock, and when it arrived by this process's monotonic clock. */
  #clock: { databaseMs: number; arrivedMs: number } | null = null

  constructor(pool: Pool) {
    this.#pool = pool
  }

  async registerNode({ nodeId, addrs, grpcAddr, zone, version }: NodeRegistration, leaseMs: number): Promise<void> {
    await this.#pool.query(
      `INSERT INTO nodes (node_id, addrs, grpc_addr, zone, version, lease_until_ms, oldest_read_ms)
       VALUES ($1, $2, $3, $4, $5, ${CLOCK_MS} + $6, ${CLOCK_MS})
       ON CONFLICT (node_id) DO UPDATE SET addrs = excluded.addrs, grpc_addr = excluded.grpc_addr, zone = excluded.zone, version = excluded.version`,
      [nodeId, addrs, grpcAddr, zone, version, leaseMs],
    )
  }

  /** @param oldestReadMs when the oldest running read looked its object up, by this host's clock; null without one */
  async renewLease(
    nodeId: NodeId, processId: string, leaseMs: number, oldestReadMs: number | null, { askedMs, inUse, wanted }: NodeReport = NO_REPORT,
  ): Promise<boolean> {
    const nowMs = performance.now()
    const reportMs = askedMs === null ? nowMs : Math.min(nowMs, nowMs - (Date.now() - askedMs))
    const readMs = oldestReadMs === null ? nowMs : Math.min(nowMs, nowMs - (Date.now() - oldestReadMs))
    const [row] = await this.#pool.query<[number, boolean]>(
      `WITH renewed AS (
         UPDATE nodes SET process_id = $2, lease_until_ms = ${CLOCK_MS} + $3, oldest_read_ms = greatest(oldest_read_ms, $4),
           in_use = $5::int8[], reported_ms = $6, wanted = coalesce($7::int8[], wanted)
         WHERE node_id = $1 AND (process_id IS NULL OR process_id = $2 OR lease_until_ms < ${CLOCK_MS}) RETURNING node_id
       ) SELECT ${CLOCK_MS}, EXISTS (SELECT FROM renewed)`,
      [nodeId, processId, leaseMs, await this.#databaseMs(readMs), inUse, await this.#databaseMs(reportMs), wanted],
    )
    const [databaseMs, renewed] = row!
    this.#clock = { databaseMs, arrivedMs: performance.now() }
    return renewed
  }

  async wantedGroups(): Promise<{ reportedMs: number; wanted: ReadonlySet<number> }[]> {
    const rows = await this.#pool.query<[number, number[]]>(
      `SELECT reported_ms, wanted FROM nodes WHERE process_id IS NOT NULL AND lease_until_ms >= ${CLOCK_MS}`,
    )
    return rows.map(([reportedMs, wanted]) => ({ reportedMs, wanted: new Set(wanted) }))
  }

  async takeOverLease(nodeId: NodeId, deadProcessIds: string[], processId: string): Promise<void> {
    await this.#pool.query('UPDATE nodes SET process_id = $3 WHERE node_id = $1 AND process_id = ANY ($2::text[])', [nodeId, deadProcessIds, processId])
  }

  async releaseLease(nodeId: NodeId, processId: string): Promise<void> {
    await this.#pool.query(`UPDATE nodes SET process_id = NULL, lease_until_ms = ${CLOCK_MS} WHERE node_id = $1 AND process_id = $2`, [nodeId, processId])
  }

  async nodes(): Promise<NodeRecord[]> {
    const rows = await this.#pool.query<[NodeId, string[], string, string, string, number, number, NodeRecord['lease']]>(
      `SELECT node_id, addrs, grpc_addr, zone, version, lease_until_ms, greatest(0, ${CLOCK_MS} - lease_until_ms),
         CASE WHEN process_id IS NULL THEN 'released' WHEN lease_until_ms < ${CLOCK_MS} THEN 'expired' ELSE 'held' END
       FROM nodes ORDER BY node_id`,
    )
    return rows.map(([nodeId, addrs, grpcAddr, zone, version, leaseUntilMs, awayMs, lease]) => ({ nodeId, addrs, grpcAddr, zone, version, leaseUntilMs, awayMs, lease }))
  }

  async repairWithoutDelay(): Promise<NodeId[]> {
    const rows = await this.#pool.query<[NodeId]>(
      `UPDATE nodes SET lease_until_ms = 0 WHERE process_id IS NULL OR lease_until_ms < ${CLOCK_MS} RETURNING node_id`,
    )
    return rows.map(([nodeId]) => nodeId)
  }

  async removeNode(nodeId: NodeId): Promise<boolean> {
    // one statement: a node that comes back takes its lease before or after, not in between
    const [row] = await this.#pool.query<[found: boolean, removed: boolean]>(
      `WITH removed AS (
         DELETE FROM nodes WHERE node_id = $1 AND (process_id IS NULL OR lease_until_ms < ${CLOCK_MS}) RETURNING node_id
       ), lost AS (
         UPDATE drives SET state = 1 WHERE node_id IN (SELECT node_id FROM removed)
       ) SELECT EXISTS (SELECT FROM nodes WHERE node_id = $1), EXISTS (SELECT FROM removed)`,
      [nodeId],
    )
    const [found, removed] = row!
    if (found && !removed) throw new AnvilError('InvalidRequest', `node ${nodeId} runs: stop it first`)
    return removed
  }

  async registerDrive({ driveId, nodeId, path, totalBytes }: Omit<DriveRecord, 'state'>): Promise<void> {
    await this.#pool.query(
      `INSERT INTO drives (drive_id, node_id, path, total_bytes) VALUES ($1, $2, $3, $4)
       ON CONFLICT (drive_id) DO UPDATE SET node_id = excluded.node_id, path = excluded.path, total_bytes = excluded.total_bytes`,
      [driveId, nodeId, path, totalBytes],
    )
  }

  async setDriveState(driveId: DriveId, state: DriveRecord['state']): Promise<void> {
    await this.#pool.query('UPDATE drives SET state = $2 WHERE drive_id = $1', [driveId, DRIVE_STATES.indexOf(state)])
  }

  async drives(): Promise<DriveRecord[]> {
    const rows = await this.#pool.query<[DriveId, NodeId, string, number, number]>(
      'SELECT drive_id, node_id, path, total_bytes, state FROM drives ORDER BY drive_id',
    )
    return rows.map(([driveId, nodeId, path, totalBytes, state]) => ({ driveId, nodeId, path, totalBytes, state: DRIVE_STATES[state]! }))
  }

  /** True when `holder` has the lease of that name until `leaseMs` from now. */
  async lease(name: string, holder: string, leaseMs: number): Promise<boolean> {
    const rows = await this.#pool.query(
      `INSERT INTO leases AS l (name, holder, until_ms) VALUES ($1, $2, ${CLOCK_MS} + $3)
       ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
       WHERE l.holder = excluded.holder OR l.until_ms < ${CLOCK_MS} RETURNING name`,
      [name, holder, leaseMs],
    )
    return rows.length === 1
  }

  async releaseLeases(holder: string): Promise<void> {
    await this.#pool.query('DELETE FROM leases WHERE holder = $1', [holder])
  }

  /** Leases that ended long ago, such as those of groups whose move is done. */
  async tidyLeases(): Promise<void> {
    await this.#pool.query(`DELETE FROM leases WHERE until_ms < ${CLOCK_MS} - $1`, [ENDED_LEASES_KEPT_MS])
  }

  /**
   * The database's clock at a moment of this process, or earlier: a reading arrives after it was taken, so this is never
   * ahead, and garbage is never thought older than a read that still runs.
   */
  async #databaseMs(momentMs: number): Promise<number> {
    if (this.#clock === null) {
      const [row] = await this.#pool.query<[number]>(`SELECT ${CLOCK_MS}`)
      this.#clock = { databaseMs: row![0], arrivedMs: performance.now() }
    }
    return Math.floor(this.#clock.databaseMs + (momentMs - this.#clock.arrivedMs))
  }
}

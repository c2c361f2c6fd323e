/**
 * Which commits came through (DESIGN §13, rule 1). Every transaction that writes inserts its id into `commit_batches`. When
 * the connection is lost before the answer, the id is inserted as aborted: a conflict means that the transaction has
 * committed, success means that it never will.
 */
import { randomUUID } from 'node:crypto'
import type { Pool } from './pool.ts'
import type { Backend } from './session.ts'

/** What became of the exceptional rows of a batch; see programs.ts. */
export interface BatchOutcome {
  modifiedMs: number
  ords: number[]
  codes: number[]
  values: number[]
}

export type Settlement = { committed: false } | { committed: true; outcome: BatchOutcome }

type LedgerRow = [committed: boolean, modifiedMs: number | null, ords: number[] | null, codes: number[] | null, values: number[] | null]

export class Ledger {
  readonly #pool: Pool
  /** Ids whose outcome has been taken note of: nobody will ask for their rows any more. */
  #acknowledged: string[] = []

  constructor(pool: Pool) {
    this.#pool = pool
  }

  newId(): string {
    return randomUUID()
  }

  acknowledge(ids: string[]): void {
    this.#acknowledged.push(...ids)
  }

  /** Ids whose rows the next transaction may delete; `acknowledge` them again if it fails. */
  takeAcknowledged(): string[] {
    return this.#acknowledged.splice(0, 1000)
  }

  /** @throws AnvilError MetadataUnavailable when Postgres does not answer in time; ask again then */
  async settle(id: string, backend: Backend): Promise<Settlement> {
    // A server process that waits for the rest of our batch holds locks; this one's part is over.
    await this.#pool.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE pid = $1 AND (extract(epoch FROM backend_start) * 1000000)::int8 = $2`,
      [backend.pid, backend.startUs],
    )
    const row = await this.#outcome(id, backend)
    if (row === null) return { committed: false }
    const [committed, modifiedMs, ords, codes, values] = row
    if (!committed) return { committed: false }
    // Committed here is not yet on the standby that synchronous_standby_names may ask for; a later commit that is says so.
    await this.#pool.query('UPDATE commit_batches SET created_ms = created_ms WHERE batch_id = $1', [id])
    this.acknowledge([id])
    return { committed: true, outcome: { modifiedMs: modifiedMs ?? 0, ords: ords ?? [], codes: codes ?? [], values: values ?? [] } }
  }

  /** The row of a transaction that has ended; null: it was aborted just now. That row stays until `tidy`, of any node, finds the server process gone. */
  async #outcome(id: string, backend: Backend): Promise<LedgerRow | null> {
    for (;;) {
      // Waits for a transaction that has inserted the same id and not yet ended.
      const inserted = await this.#pool.query(
        `INSERT INTO commit_batches (batch_id, created_ms, pid, backend_start_us, committed)
         VALUES ($1, floor(extract(epoch FROM now()) * 1000)::int8, $2, $3, false) ON CONFLICT (batch_id) DO NOTHING RETURNING committed`,
        [id, backend.pid, backend.startUs],
      )
      if (inserted.length > 0) return null
      const [row] = await this.#pool.query<LedgerRow>('SELECT committed, modified_ms, ords, codes, vals FROM commit_batches WHERE batch_id = $1', [id])
      // None: it was the aborted row of an insert of ours whose answer was lost, and has been tidied since. Committed ones are kept for long.
      if (row !== undefined) return row
    }
  }

  /** Deletes rows that nobody can need: acknowledged ones, and those whose server process is gone. */
  async tidy(keepMs: number): Promise<void> {
    for (let ids = this.takeAcknowledged(); ids.length > 0; ids = this.takeAcknowledged()) {
      await this.#pool.query('DELETE FROM commit_batches WHERE batch_id = ANY($1::uuid[])', [ids])
    }
    await this.#pool.query(
      `DELETE FROM commit_batches b WHERE (NOT committed OR created_ms < floor(extract(epoch FROM now()) * 1000)::int8 - $1)
         AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = b.pid
           AND (a.backend_start IS NULL OR (extract(epoch FROM a.backend_start) * 1000000)::int8 = b.backend_start_us))`,
      [keepMs],
    )
  }
}

/**
 * Transactions of several statements that decide something in between (copies by reference, multipart, moves). Each has a
 * row in `commit_batches`, inserted first: so its id precedes every later snapshot (DESIGN §13, rule 2), and a lost answer
 * to COMMIT can be settled (rule 1).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { AnvilError } from '../../shared/errors.ts'
import type { Ledger } from './ledger.ts'
import { unavailable, UNREPLICATED, type Pool } from './pool.ts'
import { ConnectionLost, isReadOnly, isTransient, type Session } from './session.ts'

const RETRY_MS = 20

/** Thrown by `work` to roll back and answer with a value all the same. */
export class RolledBack<T> extends Error {
  readonly value: T
  constructor(value: T) {
    super('rolled back')
    this.value = value
  }
}

export class Transactions {
  readonly #pool: Pool
  readonly #ledger: Ledger

  constructor(pool: Pool, ledger: Ledger) {
    this.#pool = pool
    this.#ledger = ledger
  }

  /**
   * Runs `work` and commits. It may run several times: after a deadlock, or when the connection was lost and the
   * transaction is known not to have committed. What it throws rolls back.
   * @throws AnvilError MetadataUnavailable, and what `work` throws
   */
  async run<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const deadlineMs = Date.now() + this.#pool.waitMs
    for (;;) {
      const attempt = await this.#attempt(work, deadlineMs)
      if ('result' in attempt) return attempt.result
      if (Date.now() >= deadlineMs) throw unavailable(attempt.failure)
      await sleep(RETRY_MS)
    }
  }

  async #attempt<T>(work: (session: Session) => Promise<T>, deadlineMs: number): Promise<{ result: T } | { failure: unknown }> {
    const session = await this.#pool.acquire(deadlineMs)
    const id = this.#ledger.newId()
    let committing = false
    let result: T
    try {
      const { pid, startUs } = session.backend
      await session.query(
        `BEGIN; INSERT INTO commit_batches (batch_id, created_ms, pid, backend_start_us, committed)
                VALUES ('${id}', floor(extract(epoch FROM now()) * 1000)::int8, ${pid}, ${startUs}, true)`,
      )
      result = await work(session)
      session.takeUnreplicated()
      committing = true
      await session.query('COMMIT')
      this.#ledger.acknowledge([id])
      if (session.takeUnreplicated()) throw unavailable(null, UNREPLICATED)
      return { result }
    } catch (error) {
      if (error instanceof ConnectionLost) {
        if (!committing) return { failure: error }
        const settlement = await this.#ledger.settle(id, session.backend)
        return settlement.committed ? { result: result! } : { failure: error }
      }
      if (isReadOnly(error)) session.destroy()
      else if (!committing) await rollBack(session)
      if (error instanceof RolledBack) return { result: error.value as T }
      if (isReadOnly(error) || isTransient(error)) return { failure: error }
      if (AnvilError.is(error)) throw error
      throw new AnvilError('Internal', 'the metadata database refused the change', { cause: error })
    } finally {
      this.#pool.release(session)
    }
  }
}

async function rollBack(session: Session): Promise<void> {
  try {
    await session.query('ROLLBACK')
  } catch {
    // The server rolls back when the connection ends.
    session.destroy()
  }
}

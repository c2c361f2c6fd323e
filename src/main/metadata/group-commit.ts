/**
 * The metadata writer: gathers mutations into batches, one per kind and connection. A batch is what queued while the last
 * one committed, and holds one mutation per key; the next of that key waits until its outcome is known.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { AnvilError } from '../../shared/errors.ts'
import { MAX_BATCH_BYTES, MAX_BATCH_ROWS } from '../../shared/limits.ts'
import { CopyRows } from './copy-rows.ts'
import type { BatchOutcome, Ledger } from './ledger.ts'
import type { Logger } from './logger.ts'
import { encodeMutation, mutationBytes, type Mutation, type MutationResult } from './mutation.ts'
import { unavailable, UNREPLICATED, type Pool } from './pool.ts'
import { batchText, OUTCOME, type ProgramName } from './programs.ts'
import { ConnectionLost, isReadOnly, isTransient, isUniqueViolation, type Backend, type Session } from './session.ts'

const TRUNCATE_ROWS = 2000
/** The temporary tables stay within temp_buffers. */
const TRUNCATE_BYTES = 8 * 1024 * 1024
const RETRY_MS = 20
/** A further batch beside those under way: when this many rows wait, or one has waited this long. Small batches cost more. */
const OVERLAP_ROWS = 128
const OVERLAP_MS = 15

interface Pending {
  mutation: Mutation
  /** Of bucket and key. */
  chain: string
  resolve(result: MutationResult): void
  reject(error: unknown): void
  timer: NodeJS.Timeout
  /** Answered: by its batch, or because it waited too long. */
  answered: boolean
  /** Since when it could be sent, by the monotonic clock. */
  readyMs: number
}

export interface GroupCommitOptions {
  pool: Pool
  ledger: Ledger
  logger: Logger
  /** Batches under way at once. */
  lanes: number
  /** How long a mutation waits for its outcome. */
  waitMs: number
  /** Told of each batch: its rows, and how long it took until its outcome was known. */
  onBatch(rows: number, durationMs: number): void
  /** Told of committed bytes, per placement group. */
  onCommitted(pgId: number, bytes: number): void
  /** Whether an object already has this content, durably (a commit that was asked for twice). @throws AnvilError MetadataUnavailable */
  holds(mutation: Mutation): Promise<boolean>
}

export class GroupCommit {
  readonly #options: GroupCommitOptions
  readonly #ready = new Map<ProgramName, Pending[]>([['put', []], ['create', []], ['replace', []], ['delete', []]])
  /** Mutations per key, oldest first; only the first of each is in `#ready` or under way. */
  readonly #chains = new Map<string, Pending[]>()
  #busy = 0
  /** Set while a second connection waits for its time to start. */
  #overlap: NodeJS.Timeout | null = null
  #scheduled = false
  #closed = false
  #onIdle: (() => void) | null = null

  constructor(options: GroupCommitOptions) {
    this.#options = options
  }

  /** Resolves when the outcome is known and durable. @throws AnvilError MetadataUnavailable, Internal, ShuttingDown */
  submit(mutation: Mutation): Promise<MutationResult> {
    if (this.#closed) return Promise.reject(new AnvilError('ShuttingDown', 'the metadata is closed'))
    return new Promise((resolve, reject) => {
      const chain = `${mutation.bucketId}/${mutation.key}`
      const timer = setTimeout(() => this.#expire(pending), this.#options.waitMs)
      const pending: Pending = { mutation, chain, resolve, reject, timer, answered: false, readyMs: 0 }
      const waiting = this.#chains.get(chain)
      if (waiting !== undefined) {
        waiting.push(pending)
        return
      }
      this.#chains.set(chain, [pending])
      this.#enqueue(pending)
    })
  }

  /** Takes nothing more, and resolves when everything under way is settled or has waited too long. */
  async close(): Promise<void> {
    this.#closed = true
    // What is ready now is still sent.
    if (this.#chains.size > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
  }

  #enqueue(pending: Pending): void {
    pending.readyMs = performance.now()
    this.#ready.get(pending.mutation.program)!.push(pending)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    // Those that arrive in the same turn of the event loop share a batch.
    setImmediate(() => {
      this.#scheduled = false
      while (this.#busy < this.#options.lanes) {
        const kind = this.#longestWaiting()
        if (kind === null) return
        const waitedMs = performance.now() - kind[0]!.readyMs
        if (this.#busy > 0 && kind.length < OVERLAP_ROWS && waitedMs < OVERLAP_MS) {
          if (this.#overlap === null) this.#overlap = setTimeout(() => {
            this.#overlap = null
            this.#schedule()
          }, OVERLAP_MS - waitedMs)
          return
        }
        this.#busy++
        void this.#run(takeBatch(kind))
      }
    })
  }

  #longestWaiting(): Pending[] | null {
    let longest: Pending[] | null = null
    for (const ready of this.#ready.values()) {
      if (ready.length > 0 && (longest === null || ready[0]!.readyMs < longest[0]!.readyMs)) longest = ready
    }
    return longest
  }

  async #run(batch: Pending[]): Promise<void> {
    const startedMs = performance.now()
    try {
      await this.#commit(batch)
      this.#options.onBatch(batch.length, performance.now() - startedMs)
    } catch (error) {
      this.#options.logger.error({ err: error }, 'a batch of the metadata writer failed')
      for (const pending of batch) this.#fail(pending, error)
    } finally {
      this.#busy--
      for (const pending of batch) this.#next(pending)
      this.#schedule()
      if (this.#chains.size === 0) this.#onIdle?.()
    }
  }

  /** Commits the rows that still wait for it; on return each of them is answered. */
  async #commit(batch: Pending[]): Promise<void> {
    for (;;) {
      if (batch.every((pending) => pending.answered)) return
      let rows: Pending[] = []
      try {
        const session = await this.#options.pool.acquire()
        // only now: a row that was answered 503 while it waited for the connection must never be sent
        rows = batch.filter((pending) => !pending.answered)
        if (rows.length === 0) return this.#options.pool.release(session)
        const outcome = await this.#attempt(session, rows)
        if (outcome !== null) return this.#answer(rows, outcome)
      } catch (error) {
        if (AnvilError.is(error)) {
          // No connection in time: rows that waited too long have been answered.
          if (error.kind !== 'MetadataUnavailable') throw error
        } else if (!isTransient(error) && !isReadOnly(error)) {
          return this.#isolate(rows, error)
        }
      }
      await sleep(RETRY_MS)
    }
  }

  /** One try on one connection; null when it is known to have had no effect. */
  async #attempt(session: Session, rows: Pending[]): Promise<BatchOutcome | null> {
    const { pool, ledger, logger } = this.#options
    const batchId = ledger.newId()
    const acknowledged = ledger.takeAcknowledged()
    const program = rows[0]!.mutation.program
    const buckets = new Set<number>()
    const groups = new Set<number>()
    const encoded = new CopyRows()
    rows.forEach(({ mutation }, ord) => {
      buckets.add(mutation.bucketId)
      if (mutation.record?.body.kind === 'blob') groups.add(mutation.record.body.blob.pgId)
      encodeMutation(encoded, ord, mutation)
    })
    const truncate = session.stagedRows >= TRUNCATE_ROWS || session.stagedBytes >= TRUNCATE_BYTES
    if (truncate) session.stagedRows = session.stagedBytes = 0
    session.stagedRows += rows.length
    session.stagedBytes += encoded.length
    const text = batchText({ program, batchId, acknowledged, buckets, groups, backend: session.backend, truncate })
    session.takeUnreplicated()
    try {
      const [row] = await session.copy(text, encoded.end())
      ledger.acknowledge([batchId])
      if (session.takeUnreplicated()) throw unavailable(null, UNREPLICATED)
      return outcomeOf(row!)
    } catch (error) {
      if (AnvilError.is(error)) {
        for (const pending of rows) this.#fail(pending, error)
        return null
      }
      ledger.acknowledge(acknowledged)
      if (!(error instanceof ConnectionLost)) {
        if (isReadOnly(error)) session.destroy()
        throw error
      }
      logger.warn({ err: error, batchId, rows: rows.length }, 'connection lost during a commit, settling its outcome')
      return await this.#settle(rows, batchId, session.backend)
    } finally {
      pool.release(session)
    }
  }

  /** Asks until it is known: before that the batch could still arrive, after newer writes of its keys. */
  async #settle(rows: Pending[], batchId: string, backend: Backend): Promise<BatchOutcome | null> {
    for (;;) {
      try {
        const settlement = await this.#options.ledger.settle(batchId, backend)
        return settlement.committed ? settlement.outcome : null
      } catch (error) {
        if (!AnvilError.is(error, 'MetadataUnavailable')) throw error
        // Nobody waits, and this process sends nothing any more.
        if (this.#closed && rows.every(({ answered }) => answered)) throw error
      }
    }
  }

  /** A batch that fails because of one row: halves it until that row stands alone. */
  async #isolate(rows: Pending[], error: unknown): Promise<void> {
    if (rows.length > 1) {
      const middle = rows.length >> 1
      await this.#commit(rows.slice(0, middle))
      await this.#commit(rows.slice(middle))
      return
    }
    const pending = rows[0]!
    try {
      if (isUniqueViolation(error, 'blobs_pkey') && (await this.#options.holds(pending.mutation))) {
        const { record } = pending.mutation
        return this.#answer(rows, { modifiedMs: record?.modifiedMs ?? 0, ords: [], codes: [], values: [] })
      }
    } catch (unknown) {
      return this.#fail(pending, unknown)
    }
    this.#options.logger.error({ err: error, bucketId: pending.mutation.bucketId }, 'a mutation was refused by the database')
    this.#fail(pending, new AnvilError('Internal', 'the metadata database refused the row', { cause: error }))
  }

  #answer(rows: Pending[], { modifiedMs, ords, codes, values }: BatchOutcome): void {
    const odd = new Map(ords.map((ord, at) => [ord, { code: codes[at]!, value: values[at]! }]))
    rows.forEach((pending, ord) => {
      const row = odd.get(ord)
      const result =
        row === undefined ? { modifiedMs, code: 0 }
        : row.code === OUTCOME.MODIFIED ? { modifiedMs: row.value, code: 0 }
        : { modifiedMs, code: row.code }
      if (result.code === 0 && pending.mutation.record?.body.kind === 'blob') {
        const { pgId, size } = pending.mutation.record.body.blob
        this.#options.onCommitted(pgId, size)
      }
      if (this.#close(pending)) pending.resolve(result)
    })
  }

  #fail(pending: Pending, error: unknown): void {
    if (this.#close(pending)) pending.reject(error)
  }

  #close(pending: Pending): boolean {
    if (pending.answered) return false
    pending.answered = true
    clearTimeout(pending.timer)
    return true
  }

  #expire(pending: Pending): void {
    this.#fail(pending, unavailable(null, 'the metadata database did not commit in time'))
    // Not under way: take it out of its queue, so that it is never sent.
    const ready = this.#ready.get(pending.mutation.program)!
    const at = ready.indexOf(pending)
    if (at >= 0) {
      ready.splice(at, 1)
      this.#next(pending)
      return
    }
    const chain = this.#chains.get(pending.chain)
    const place = chain?.indexOf(pending) ?? -1
    if (place > 0) chain!.splice(place, 1)
  }

  /** Lets the next mutation of the key go. */
  #next(pending: Pending): void {
    const chain = this.#chains.get(pending.chain)
    if (chain === undefined || chain[0] !== pending) return
    chain.shift()
    const head = chain[0]
    if (head === undefined) {
      this.#chains.delete(pending.chain)
      if (this.#chains.size === 0) this.#onIdle?.()
      return
    }
    this.#enqueue(head)
  }
}

/** The first rows of a kind, as many as one batch may hold. */
function takeBatch(kind: Pending[]): Pending[] {
  let count = 0
  for (let bytes = 0; count < kind.length && count < MAX_BATCH_ROWS && bytes < MAX_BATCH_BYTES; count++) {
    bytes += mutationBytes(kind[count]!.mutation)
  }
  return kind.splice(0, count)
}

const numbers = (text: string | null | undefined): number[] =>
  text === null || text === undefined || text === '{}' ? [] : text.slice(1, -1).split(',').map(Number)

function outcomeOf([modifiedMs, ords, codes, values]: (string | null)[]): BatchOutcome {
  return { modifiedMs: Number(modifiedMs), ords: numbers(ords), codes: numbers(codes), values: numbers(values) }
}

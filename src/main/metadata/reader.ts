/**
 * Reads of live objects. Those of one bucket that wait at the same time share a query; one joins only a query that has
 * not been sent yet, since an older one could answer with the past.
 */
import type { BucketId } from '../../shared/ids.ts'
import type { ObjectRecord } from './contract.ts'
import { isStorable } from './keys.ts'
import type { Pool } from './pool.ts'
import { OBJECT_COLUMNS, objectOf, type ObjectRow } from './records.ts'

const MAX_KEYS = 500

interface Waiting {
  resolve(record: ObjectRecord | null): void
  reject(error: unknown): void
}

/** Keys that wait for the next query of their bucket. */
interface Batch {
  keys: Map<string, Waiting[]>
  /** Until when the first of them waits. */
  deadlineMs: number
}

export class Reader {
  readonly #pool: Pool
  readonly #lanes: number
  readonly #next = new Map<BucketId, Batch>()
  #busy = 0
  #scheduled = false

  /** @param lanes queries under way at once */
  constructor(pool: Pool, lanes: number) {
    this.#pool = pool
    this.#lanes = lanes
  }

  get(bucketId: BucketId, key: string): Promise<ObjectRecord | null> {
    if (!isStorable(key)) return Promise.resolve(null)
    return new Promise((resolve, reject) => {
      let batch = this.#next.get(bucketId)
      if (batch === undefined) this.#next.set(bucketId, (batch = { keys: new Map(), deadlineMs: Date.now() + this.#pool.waitMs }))
      const waiting = batch.keys.get(key)
      if (waiting === undefined) batch.keys.set(key, [{ resolve, reject }])
      else waiting.push({ resolve, reject })
      this.#schedule()
    })
  }

  getMany(bucketId: BucketId, keys: string[]): Promise<(ObjectRecord | null)[]> {
    return Promise.all(keys.map((key) => this.get(bucketId, key)))
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#send()
    })
  }

  #send(): void {
    while (this.#busy < this.#lanes) {
      const first = this.#next.entries().next()
      if (first.done === true) return
      const [bucketId, batch] = first.value
      this.#next.delete(bucketId)
      if (batch.keys.size > MAX_KEYS) {
        const rest = [...batch.keys].slice(MAX_KEYS)
        for (const [key] of rest) batch.keys.delete(key)
        this.#next.set(bucketId, { keys: new Map(rest), deadlineMs: batch.deadlineMs })
      }
      this.#busy++
      void this.#read(bucketId, batch)
    }
  }

  async #read(bucketId: BucketId, { keys: batch, deadlineMs }: Batch): Promise<void> {
    try {
      const rows = await this.#pool.query<ObjectRow>(
        `SELECT ${OBJECT_COLUMNS} FROM objects WHERE bucket_id = $1 AND key = ANY($2::text[])`,
        [bucketId, [...batch.keys()]],
        'get',
        deadlineMs,
      )
      for (const row of rows) {
        const waiting = batch.get(row[0])
        if (waiting === undefined) continue
        batch.delete(row[0])
        for (const { resolve } of waiting) resolve(objectOf(bucketId, row))
      }
      for (const waiting of batch.values()) for (const { resolve } of waiting) resolve(null)
    } catch (error) {
      for (const waiting of batch.values()) for (const { reject } of waiting) reject(error)
    } finally {
      this.#busy--
      this.#send()
    }
  }
}

/**
 * The reads of this process that run now. The oldest one's start is published with the node's lease; blobs that lost
 * their last reference after it are kept until it ends (DESIGN §6). So a read begins before it looks its row up: a blob
 * that the row names could otherwise be gone before anybody knew that it is read.
 */
import { monotonicMs } from '../../shared/monotonic.ts'

const MAX_READ_MS = 24 * 3600_000

export interface RunningRead {
  /** Called when the read has run for 24 h: it must end then. Set once there is something to close. */
  close: () => void
  /** Idempotent. */
  end(): void
}

export class RunningReads {
  readonly #reads = new Map<number, { startedMs: number; read: RunningRead }>()
  #next = 1

  start(): RunningRead {
    const id = this.#next++
    const read = { close: () => {}, end: () => void this.#reads.delete(id) }
    this.#reads.set(id, { startedMs: monotonicMs(), read })
    return read
  }

  get count(): number {
    return this.#reads.size
  }

  /** When the oldest running read started (`monotonicMs`), or null. Ends those that are over their time. */
  oldestMs(nowMs = monotonicMs()): number | null {
    // insertion order is order of start
    for (const { startedMs, read } of this.#reads.values()) {
      if (nowMs - startedMs <= MAX_READ_MS) return startedMs
      read.close()
    }
    return null
  }
}

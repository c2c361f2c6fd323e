/**
 * The reads of this process that run now. The oldest one's start is published with the node's lease; blobs that lost
 * their last reference after it are kept until it ends (DESIGN §6).
 */
const MAX_READ_MS = 24 * 3600_000

export class RunningReads {
  readonly #reads = new Map<number, { startedMs: number; close: () => void }>()
  #next = 1

  /** @param close called when the read has run for 24 h: it must end then */
  start(close: () => void): { end(): void } {
    const id = this.#next++
    this.#reads.set(id, { startedMs: Date.now(), close })
    return { end: () => this.#reads.delete(id) }
  }

  get count(): number {
    return this.#reads.size
  }

  /** When the oldest running read started (this host's clock), or null. Ends those that are over their time. */
  oldestMs(nowMs = Date.now()): number | null {
    // insertion order is order of start
    for (const { startedMs, close } of this.#reads.values()) {
      if (nowMs - startedMs <= MAX_READ_MS) return startedMs
      close()
    }
    return null
  }
}

/** When to try again what has failed: each failure doubles the pause, up to a bound. Time is given, not read. */
const FIRST_MS = 5_000
const LONGEST_MS = 10 * 60_000
/** Beyond this many the oldest are forgotten, and tried again a little early. */
const MAX_REMEMBERED = 100_000

export class Backoff<Key> {
  readonly #failures = new Map<Key, { count: number; dueMs: number }>()

  /** Things that have failed and were not done since. */
  get size(): number {
    return this.#failures.size
  }

  isDue(key: Key, nowMs: number): boolean {
    const failure = this.#failures.get(key)
    return failure === undefined || failure.dueMs <= nowMs
  }

  /** @returns how often it has failed now */
  failed(key: Key, nowMs: number): number {
    const count = (this.#failures.get(key)?.count ?? 0) + 1
    this.#failures.delete(key)
    this.#failures.set(key, { count, dueMs: nowMs + Math.min(LONGEST_MS, FIRST_MS * 2 ** (count - 1)) })
    if (this.#failures.size > MAX_REMEMBERED) this.#failures.delete(this.#failures.keys().next().value as Key)
    return count
  }

  done(key: Key): void {
    this.#failures.delete(key)
  }

  /** Everything is due now: what it failed by may have changed. */
  reset(): void {
    for (const failure of this.#failures.values()) failure.dueMs = 0
  }
}

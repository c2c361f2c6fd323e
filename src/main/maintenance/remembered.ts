/** An answer that is good for a while: for steps of a pass, each of which would otherwise ask the database for the same. */
import { monotonicMs } from '../../shared/monotonic.ts'

export interface Remembered<T> {
  (): Promise<T>
  /** The next answer is a new one. */
  forget(): void
}

/** Asks `load` when there is no answer that was asked for less than `ms` ago. What it throws is not remembered. */
export function remembered<T>(ms: number, load: () => Promise<T>): Remembered<T> {
  let seen: { answer: T; askedMs: number } | null = null
  const answer = async (): Promise<T> => {
    if (seen === null || monotonicMs() - seen.askedMs > ms) {
      const askedMs = monotonicMs()
      seen = { answer: await load(), askedMs }
    }
    return seen.answer
  }
  return Object.assign(answer, { forget: () => void (seen = null) })
}

/** Waiting for a condition instead of for time. */
import { setTimeout as sleep } from 'node:timers/promises'

export interface UntilOptions {
  /** @default 30 s */
  timeoutMs?: number
  /** @default 50 ms */
  everyMs?: number
  /** More to say when it never came true. */
  detail?: () => string | Promise<string>
}

/** Polls until `condition` gives something truthy, which it resolves with. What it throws counts as not yet. */
export async function until<T>(what: string, condition: () => T | Promise<T>, options: UntilOptions = {}): Promise<NonNullable<T>> {
  const deadline = Date.now() + (options.timeoutMs ?? 30_000)
  let last: unknown
  for (;;) {
    try {
      const value = await condition()
      if (value) return value
      last = undefined
    } catch (error) {
      last = error
    }
    if (Date.now() > deadline) {
      const detail = options.detail === undefined ? '' : `\n${await options.detail()}`
      throw new Error(`it never came true within ${options.timeoutMs ?? 30_000} ms: ${what}${detail}`, { cause: last })
    }
    await sleep(options.everyMs ?? 50)
  }
}

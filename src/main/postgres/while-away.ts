/** Waiting for a database that is away: a node may start before it, and outlives its restarts. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from './logger.ts'

export interface WhileAwayOptions {
  /** The database, for the log. */
  what: string
  /** Whether an error says that it is away for now; any other one ends the waiting. */
  isAway(error: unknown): boolean
  logger: Logger
  /** Ends the waiting: the promise rejects with its reason, or with an AbortError. */
  signal?: AbortSignal | undefined
  /** Between two tries. @default 1 s */
  retryMs?: number
}

const RETRY_MS = 1000
const SAY_EVERY_MS = 30_000

/** Runs `work`, which may be run again, until it succeeds or fails for another reason than that the database is away. */
export async function whileAway<T>({ what, isAway, logger, signal, retryMs = RETRY_MS }: WhileAwayOptions, work: () => Promise<T>): Promise<T> {
  for (let saidMs = -Infinity; ; ) {
    signal?.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      if (!isAway(error)) throw error
      if (performance.now() - saidMs > SAY_EVERY_MS) {
        saidMs = performance.now()
        logger.warn({ reason: reasonOf(error) }, `waiting for the database ${what}`)
      }
    }
    await sleep(retryMs, undefined, { signal })
  }
}

/** What is at the bottom of it: the layers above say that the database is away, and not why. */
function reasonOf(error: unknown): string {
  let reason = error
  while (reason instanceof Error && reason.cause instanceof Error) reason = reason.cause
  return reason instanceof Error ? reason.message : String(reason)
}

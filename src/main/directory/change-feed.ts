/** Follows the change sequence of the global database, so that what an admin or another region changed reaches this node's cache. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../postgres/logger.ts'
import type { GlobalPool } from './global-pool.ts'

/** What was changed: the app of a client id, or the bucket of a name. */
export interface Change {
  kind: 'app' | 'bucket'
  key: string
}

export interface ChangeFeed {
  /** Looks now. Answers what was changed in the last seconds, as far as this feed has seen it: the same change may come again. */
  now(): Promise<Change[]>
  stop(): Promise<void>
}

interface FeedOptions {
  pool: GlobalPool
  onChange(change: Change): void
  /** Changes may have been missed: everything counts as changed. */
  onGap(): void
  logger: Logger
  /** @default 2000 */
  everyMs?: number
}

/** Numbers that the database keeps (migrations/global/0001_directory.sql). */
const KEPT = 10_000
/** What was seen is told by `now` for so long: the look before may have come between a change and whoever tells of it. */
const RECENT_MS = 5000
const MAX_RECENT = 1000

interface FeedRow {
  head: string
  kind: Change['kind'] | null
  key: string | null
}

/** Resolves when the position to follow from is known, or the database was away (then everything counts as changed once it is back). */
export async function followChanges({ pool, onChange, onGap, logger, everyMs = 2000 }: FeedOptions): Promise<ChangeFeed> {
  const stopping = new AbortController()
  /** Null: nothing is known, so whatever is cached may be old. */
  let position: number | null = null
  let recent: { change: Change; seenMs: number }[] = []

  const poll = async (): Promise<void> => {
    const rows = await pool.read(async (client) => {
      const result = await client.query<FeedRow>({
        name: 'changes',
        text: 'SELECT h.number AS head, c.kind, c.key FROM change_head h LEFT JOIN changes c ON c.number > $1 ORDER BY c.number',
        values: [position ?? Number.MAX_SAFE_INTEGER],
      })
      return result.rows
    })
    const head = Number(rows[0]?.head ?? 0)
    // A head that went back is a database restored from a copy.
    if (position === null || head < position || head - position > KEPT) onGap()
    else for (const { kind, key } of rows) if (kind !== null && key !== null) seen({ kind, key })
    position = head
  }

  const seen = (change: Change): void => {
    recent.push({ change, seenMs: performance.now() })
    if (recent.length > MAX_RECENT) recent = recent.slice(-MAX_RECENT / 2)
    onChange(change)
  }

  const tryPoll = async (): Promise<void> => {
    try {
      await poll()
    } catch (error) {
      logger.debug({ err: error }, 'the change sequence of the global database could not be read')
    }
  }

  await tryPoll()
  const following = (async () => {
    while (!stopping.signal.aborted) {
      await sleep(everyMs, undefined, { signal: stopping.signal, ref: false }).catch(() => {}) // woken to stop
      if (!stopping.signal.aborted) await tryPoll()
    }
  })()
  return {
    async now() {
      await tryPoll()
      return recent.filter(({ seenMs }) => performance.now() - seenMs < RECENT_MS).map(({ change }) => change)
    },
    async stop() {
      stopping.abort()
      await following
    },
  }
}

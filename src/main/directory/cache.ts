/**
 * A cache of one kind of row for the request path.
 *
 * - A value is served for `ttlMs`; absence for `absentTtlMs`, which is short, since what is missing now may be made elsewhere.
 * - Loads of one key at a time are one load.
 * - A value that is too old is loaded again. While the database is away it goes on being served.
 * - An invalidated key is loaded again before it is served, and a load that began before the invalidation is not kept.
 */
import { setTimeout as sleep } from 'node:timers/promises'

export interface CacheOptions<V> {
  load(key: string): Promise<V | null>
  /** Whether a failure of `load` means that the database is away. */
  isAway(error: unknown): boolean
  ttlMs: number
  absentTtlMs: number
  /** Values kept; absences are bounded by a tenth of it. The oldest go first. */
  maxEntries: number
  nowMs?: () => number
}

export interface Cache<V> {
  get(key: string): Promise<V | null>
  invalidate(key: string): void
  /** Every value counts as too old: something was missed. */
  expireAll(): void
}

interface Entry<V> {
  value: V
  expiresMs: number
}

/** How long a request waits for a fresh value when it has an old one. */
const REFRESH_WAIT_MS = 1000
/** After a failed refresh the old value is served for this long before the next try. */
const RETRY_AFTER_MS = 1000

export function createCache<V>({ load, isAway, ttlMs, absentTtlMs, maxEntries, nowMs = Date.now }: CacheOptions<V>): Cache<V> {
  const values = new Map<string, Entry<V>>()
  const absences = new Map<string, number>()
  const loads = new Map<string, Promise<V | null>>()

  const start = (key: string): Promise<V | null> => {
    const loading = loads.get(key)
    if (loading) return loading
    const promise: Promise<V | null> = load(key).then(
      (value) => {
        if (loads.get(key) === promise) {
          loads.delete(key)
          keep(key, value)
        }
        return value
      },
      (error: unknown) => {
        if (loads.get(key) === promise) loads.delete(key)
        throw error
      },
    )
    loads.set(key, promise)
    return promise
  }

  const keep = (key: string, value: V | null): void => {
    values.delete(key)
    absences.delete(key)
    if (value === null) {
      absences.set(key, nowMs() + absentTtlMs)
      trim(absences, Math.ceil(maxEntries / 10))
    } else {
      values.set(key, { value, expiresMs: nowMs() + ttlMs })
      trim(values, maxEntries)
    }
  }

  const refresh = async (key: string, old: Entry<V>): Promise<V | null> => {
    const wait = new AbortController()
    const loading = start(key)
    loading.catch(() => {}) // whoever stopped waiting does not hear of it
    try {
      return await Promise.race([loading, sleep(REFRESH_WAIT_MS, undefined, { signal: wait.signal, ref: false }).then(() => Promise.reject(LATE))])
    } catch (error) {
      if (values.get(key) !== old || (error !== LATE && !isAway(error))) return error === LATE ? loading : Promise.reject(error)
      old.expiresMs = nowMs() + RETRY_AFTER_MS
      return old.value
    } finally {
      wait.abort()
    }
  }

  return {
    async get(key) {
      const entry = values.get(key)
      if (entry) return entry.expiresMs > nowMs() ? entry.value : refresh(key, entry)
      if ((absences.get(key) ?? 0) > nowMs()) return null
      return start(key)
    },
    invalidate(key) {
      values.delete(key)
      absences.delete(key)
      loads.delete(key)
    },
    expireAll() {
      for (const entry of values.values()) entry.expiresMs = 0
      absences.clear()
      loads.clear()
    },
  }
}

const LATE = Symbol('a refresh that takes too long')

function trim(map: Map<string, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return
    map.delete(key)
  }
}

/** The directory of a node: the contract over the global database, cached. */
import type { ClientConfig } from 'pg'
import { AnvilError } from '../../shared/errors.ts'
import type { Logger } from '../postgres/logger.ts'
import type { Keyring } from '../secrets/keyring.ts'
import { selectApp } from './apps.ts'
import { deleteBucket, insertBucket, selectBucket, selectBuckets, updateBucket } from './buckets.ts'
import { createCache } from './cache.ts'
import { followChanges, type Change } from './change-feed.ts'
import type { App, Bucket, Directory } from './contract.ts'
import { openGlobalPool } from './global-pool.ts'

export interface DirectoryOptions {
  /** The global database. */
  database: ClientConfig
  keyring: Keyring
  /** METADATA_CACHE_TTL_SECS. */
  cacheTtlMs: number
  logger: Logger
  /** Called after a change that this node made is committed: tell the other nodes. */
  onOwnChange?: (change: Change) => void
  /** How long a call waits for a database that is away. @default METADATA_WAIT_MS */
  waitMs?: number
  /** @default 2000 */
  pollEveryMs?: number
}

export interface CachedDirectory extends Directory {
  /** Forgets what is cached of it: another node said that it changed, or a bucket's id turned out to be gone. */
  invalidate(change: Change): void
  /** Looks now for what was changed elsewhere. Answers what was changed in the last seconds. */
  refresh(): Promise<Change[]>
  health(): { state: 'ok' | 'away'; reason: string }
  close(): Promise<void>
}

/** What is missing may be made on another node at any time. */
const ABSENT_TTL_MS = 500
const MAX_CACHED = 100_000

export async function openDirectory(options: DirectoryOptions): Promise<CachedDirectory> {
  const { database, keyring, cacheTtlMs, logger, onOwnChange = () => {}, waitMs, pollEveryMs } = options
  const pool = openGlobalPool(database, { logger, waitMs })
  const shared = {
    isAway: (error: unknown) => AnvilError.is(error, 'MetadataUnavailable'),
    ttlMs: cacheTtlMs,
    absentTtlMs: Math.min(ABSENT_TTL_MS, cacheTtlMs),
    maxEntries: MAX_CACHED,
  }
  const apps = createCache<App>({ ...shared, load: (clientId) => pool.read((client) => selectApp(client, keyring, clientId)) })
  const buckets = createCache<Bucket>({ ...shared, load: (name) => pool.read((client) => selectBucket(client, name)) })

  const invalidate = ({ kind, key }: Change): void => (kind === 'app' ? apps : buckets).invalidate(key)
  const changed = (bucket: Bucket | null): void => {
    if (!bucket) return
    invalidate({ kind: 'bucket', key: bucket.name })
    onOwnChange({ kind: 'bucket', key: bucket.name })
  }
  const onGap = (): void => {
    apps.expireAll()
    buckets.expireAll()
  }
  const feed = await followChanges({ pool, logger, everyMs: pollEveryMs, onChange: invalidate, onGap })

  return {
    app: (accessKeyId) => apps.get(accessKeyId),
    bucket: (name) => buckets.get(name),
    listBuckets: (tenantId, range) => pool.read((client) => selectBuckets(client, tenantId, range)),
    async createBucket(input) {
      const bucket = await pool.write((client) => insertBucket(client, input))
      changed(bucket)
      return bucket
    },
    async removeBucket(id) {
      changed(await pool.write((client) => deleteBucket(client, id)))
    },
    async setDefaultEncryption(id, on) {
      changed(found(await pool.write((client) => updateBucket(client, id, { defaultEncryption: on }))))
    },
    async setPublicAccess(id, on) {
      changed(found(await pool.write((client) => updateBucket(client, id, { publicAccess: on }))))
    },
    invalidate,
    refresh: () => feed.now(),
    health: () => pool.health(),
    async close() {
      await feed.stop()
      await pool.close()
    },
  }
}

function found(bucket: Bucket | null): Bucket {
  if (bucket) return bucket
  throw new AnvilError('NoSuchBucket', 'The specified bucket does not exist.')
}

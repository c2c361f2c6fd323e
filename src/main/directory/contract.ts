/**
 * The directory: what the global database knows and each node caches. Tenants, apps, policies, buckets. Lookups on the
 * request path answer from the cache (METADATA_CACHE_TTL_SECS; stale entries go on serving while the database is away);
 * changes go to the database first and then invalidate.
 */
import type { BucketId, TenantId } from '../../shared/ids.ts'

export const ACTIONS = [
  'bucket:create', 'bucket:delete', 'bucket:list', 'bucket:read', 'bucket:write',
  'object:read', 'object:write', 'object:list', 'object:delete',
] as const
export type Action = (typeof ACTIONS)[number]

/** One grant: an action or `*`, on `bucket`, `bucket/prefix/*`, `bucket/*` or `*`. */
export interface Grant {
  action: Action | '*'
  resource: string
}

export interface App {
  /** S3 access key id. */
  clientId: string
  tenantId: TenantId
  name: string
  /** Plain secrets, newest first; two while one rotates. Never logged. */
  secrets: string[]
  grants: Grant[]
  disabled: boolean
}

export interface Bucket {
  id: BucketId
  name: string
  tenantId: TenantId
  region: string
  /** URL of that region's S3 endpoint; '' when it is not known. */
  regionEndpoint: string
  createdMs: number
  /** Anonymous GET and LIST. */
  publicAccess: boolean
  /** New objects are encrypted (SSE-S3) even when the request does not ask for it. */
  defaultEncryption: boolean
}

export interface Directory {
  /** The app of an access key, or null. @throws AnvilError MetadataUnavailable */
  app(accessKeyId: string): Promise<App | null>
  /** The bucket of a name, or null. Names are global to the deployment. */
  bucket(name: string): Promise<Bucket | null>
  /** By name, all buckets of the tenant. */
  listBuckets(tenantId: TenantId, options?: { prefix?: string; after?: string; limit?: number }): Promise<Bucket[]>
  /** @throws AnvilError BucketAlreadyOwnedByYou, BucketAlreadyExists */
  createBucket(input: { name: string; tenantId: TenantId; region: string }): Promise<Bucket>
  /** Removes the row of an emptied bucket (the last step of DeleteBucket). No error if it is gone. */
  removeBucket(id: BucketId): Promise<void>
  setDefaultEncryption(id: BucketId, on: boolean): Promise<void>
  setPublicAccess(id: BucketId, on: boolean): Promise<void>
}

/** Whether `grants` allow `action` on `bucket` (and `key`, for object actions and prefixes of listings). Pure. */
export type Authorize = (grants: readonly Grant[], action: Action, bucket: string, key?: string) => boolean

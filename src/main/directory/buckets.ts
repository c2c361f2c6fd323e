/** Buckets in the global database. */
import type { ClientBase } from 'pg'
import { AnvilError } from '../../shared/errors.ts'
import type { BucketId, TenantId } from '../../shared/ids.ts'
import type { Bucket } from './contract.ts'

interface BucketRow {
  id: number
  name: string
  tenant_id: number
  region: string
  region_endpoint: string
  created_at: Date
  public_access: boolean
  default_encryption: boolean
}

const COLUMNS = `id, name, tenant_id, region, created_at, public_access, default_encryption,
  (SELECT r.endpoint FROM regions r WHERE r.name = buckets.region) AS region_endpoint`

export async function selectBucket(client: ClientBase, name: string): Promise<Bucket | null> {
  const { rows } = await client.query<BucketRow>({ name: 'bucket', text: `SELECT ${COLUMNS} FROM buckets WHERE name = $1`, values: [name] })
  return rows[0] ? bucketOf(rows[0]) : null
}

/** By name. `tenantId` null: those of all tenants. */
export async function selectBuckets(
  client: ClientBase, tenantId: TenantId | null, { prefix = '', after = '', limit = 10_000 }: { prefix?: string; after?: string; limit?: number } = {},
): Promise<Bucket[]> {
  const { rows } = await client.query<BucketRow>(
    `SELECT ${COLUMNS} FROM buckets WHERE ($1::integer IS NULL OR tenant_id = $1) AND name > $2 AND starts_with(name, $3) ORDER BY name LIMIT $4`,
    [tenantId, after, prefix, limit],
  )
  return rows.map(bucketOf)
}

/**
 * Names are unique in the deployment: of any number of creators at once one wins, the others hear who has it.
 * @throws AnvilError BucketAlreadyOwnedByYou, BucketAlreadyExists, InvalidArgument (a region that is not registered)
 */
export async function insertBucket(client: ClientBase, { name, tenantId, region }: { name: string; tenantId: TenantId; region: string }): Promise<Bucket> {
  // The holder of a name may vanish between the two statements; then the name is free again.
  for (let tries = 0; tries < 5; tries++) {
    const { rows } = await client.query<BucketRow>(
      `INSERT INTO buckets (name, tenant_id, region) SELECT $1, $2, r.name FROM regions r WHERE r.name = $3 ON CONFLICT (name) DO NOTHING RETURNING ${COLUMNS}`,
      [name, tenantId, region],
    )
    if (rows[0]) return bucketOf(rows[0])
    const holder = await selectBucket(client, name)
    if (holder) {
      throw holder.tenantId === tenantId
        ? new AnvilError('BucketAlreadyOwnedByYou', 'Your previous request to create the named bucket succeeded and you already own it.')
        : new AnvilError('BucketAlreadyExists', 'The requested bucket name is not available. The bucket namespace is shared by all users of the system. Select a different name and try again.')
    }
    const known = await client.query('SELECT FROM regions WHERE name = $1', [region])
    if (!known.rowCount) throw new AnvilError('InvalidArgument', `There is no region ${region}.`, { details: { argument: 'LocationConstraint', value: region } })
  }
  throw new AnvilError('ConditionalRequestConflict', 'The bucket is being created and deleted at the same time.')
}

/** Removes the row; the bucket as it was, or null if it was gone. */
export async function deleteBucket(client: ClientBase, id: BucketId): Promise<Bucket | null> {
  const { rows } = await client.query<BucketRow>(`DELETE FROM buckets WHERE id = $1 RETURNING ${COLUMNS}`, [id])
  return rows[0] ? bucketOf(rows[0]) : null
}

/** The bucket as changed, or null if there is none. */
export async function updateBucket(client: ClientBase, id: BucketId, change: { publicAccess?: boolean; defaultEncryption?: boolean }): Promise<Bucket | null> {
  const { rows } = await client.query<BucketRow>(
    `UPDATE buckets SET public_access = coalesce($2, public_access), default_encryption = coalesce($3, default_encryption) WHERE id = $1 RETURNING ${COLUMNS}`,
    [id, change.publicAccess ?? null, change.defaultEncryption ?? null],
  )
  return rows[0] ? bucketOf(rows[0]) : null
}

const bucketOf = (row: BucketRow): Bucket => ({
  id: row.id as BucketId,
  name: row.name,
  tenantId: row.tenant_id as TenantId,
  region: row.region,
  regionEndpoint: row.region_endpoint,
  createdMs: row.created_at.getTime(),
  publicAccess: row.public_access,
  defaultEncryption: row.default_encryption,
})

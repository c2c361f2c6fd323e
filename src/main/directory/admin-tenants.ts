/** Tenants, as an operator manages them. */
import type { Client } from 'pg'
import { sqlState } from '../postgres/connection.ts'
import { AdminError } from './admin-error.ts'

export interface Tenant {
  id: number
  name: string
  apps: number
  buckets: number
  createdAt: Date
}

/** @throws AdminError when the name is taken */
export async function createTenant(client: Client, name: string): Promise<{ id: number; name: string }> {
  const { rows } = await client.query<{ id: number; name: string }>('INSERT INTO tenants (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id, name', [name])
  if (!rows[0]) throw new AdminError(`there is a tenant ${name} already`)
  return rows[0]
}

export async function listTenants(client: Client): Promise<Tenant[]> {
  const { rows } = await client.query<Tenant>(
    `SELECT id, name, (SELECT count(*)::integer FROM apps a WHERE a.tenant_id = t.id) AS apps,
       (SELECT count(*)::integer FROM buckets b WHERE b.tenant_id = t.id) AS buckets, created_at AS "createdAt"
     FROM tenants t ORDER BY name`,
  )
  return rows
}

/** @throws AdminError when it has apps or buckets, or does not exist */
export async function deleteTenant(client: Client, name: string): Promise<void> {
  try {
    const { rowCount } = await client.query('DELETE FROM tenants WHERE name = $1', [name])
    if (!rowCount) throw new AdminError(`there is no tenant ${name}`)
  } catch (error) {
    if (sqlState(error) !== FOREIGN_KEY_VIOLATION) throw error
    throw new AdminError(`tenant ${name} still has apps or buckets; delete them first`)
  }
}

/** @throws AdminError when there is none */
export async function tenantId(client: Client, name: string): Promise<number> {
  const { rows } = await client.query<{ id: number }>('SELECT id FROM tenants WHERE name = $1', [name])
  if (!rows[0]) throw new AdminError(`there is no tenant ${name}`)
  return rows[0].id
}

const FOREIGN_KEY_VIOLATION = '23503'

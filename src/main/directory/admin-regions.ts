/** Regions, as an operator manages them. */
import type { Client } from 'pg'
import { AdminError } from './admin-error.ts'

export interface Region {
  name: string
  endpoint: string
  buckets: number
  createdAt: Date
}

/** False when it was registered already. `endpoint` '': its first node names it. */
export async function createRegion(client: Client, name: string, endpoint = ''): Promise<boolean> {
  const { rowCount } = await client.query('INSERT INTO regions (name, endpoint) VALUES ($1, $2) ON CONFLICT DO NOTHING', [name, endpoint])
  return rowCount === 1
}

/** @throws AdminError when there is no such region */
export async function setRegionEndpoint(client: Client, name: string, endpoint: string): Promise<void> {
  const { rowCount } = await client.query('UPDATE regions SET endpoint = $2 WHERE name = $1', [name, endpoint])
  if (rowCount === 0) throw new AdminError(`there is no region ${name}`)
}

export async function listRegions(client: Client): Promise<Region[]> {
  const { rows } = await client.query<Region>(
    `SELECT name, endpoint, (SELECT count(*)::integer FROM buckets b WHERE b.region = r.name) AS buckets, created_at AS "createdAt" FROM regions r ORDER BY name`,
  )
  return rows
}

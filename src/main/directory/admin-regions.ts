/** Regions, as an operator manages them. */
import type { Client } from 'pg'

export interface Region {
  name: string
  buckets: number
  createdAt: Date
}

/** False when it was registered already. */
export async function createRegion(client: Client, name: string): Promise<boolean> {
  const { rowCount } = await client.query('INSERT INTO regions (name) VALUES ($1) ON CONFLICT DO NOTHING', [name])
  return rowCount === 1
}

export async function listRegions(client: Client): Promise<Region[]> {
  const { rows } = await client.query<Region>(
    `SELECT name, (SELECT count(*)::integer FROM buckets b WHERE b.region = r.name) AS buckets, created_at AS "createdAt" FROM regions r ORDER BY name`,
  )
  return rows
}

/** Where the shards of an object lie, as the regional database has it. */
import pg from 'pg'
import type { Databases } from './deployment.ts'

/** Ids of the nodes whose drives are in the object's placement group. The key is in one bucket only. */
export async function nodesHolding(databases: Databases, key: string): Promise<string[]> {
  const client = new pg.Client(databases.regional.config)
  await client.connect()
  try {
    const { rows } = await client.query<{ node_id: string }>(
      `SELECT DISTINCT d.node_id FROM objects o
       JOIN placement_groups g ON g.id = o.pg_id
       JOIN drives d ON d.drive_id = ANY (g.members)
       WHERE o.key = $1`, [key])
    return rows.map((row) => row.node_id)
  } finally {
    await client.end()
  }
}

/** What apps may do, as an operator manages it. */
import type { Client } from 'pg'
import { AdminError } from './admin-error.ts'
import { ACTIONS, type Grant } from './contract.ts'

/** @throws AdminError when the action is unknown or the resource is not of a form that is understood */
export function parseGrant(action: string, resource: string): Grant {
  const known = (['*', ...ACTIONS] as const).find((one) => one === action)
  if (!known) throw new AdminError(`there is no action ${action}; actions are ${ACTIONS.join(', ')} and *`)
  if (!RESOURCE.test(resource)) throw new AdminError(`${resource} is not a resource; resources are BUCKET, BUCKET/*, BUCKET/PREFIX/* and *`)
  return { action: known, resource }
}

/** False when it was granted already. */
export async function grant(client: Client, clientId: string, { action, resource }: Grant): Promise<boolean> {
  const { rowCount } = await client.query(
    'INSERT INTO grants (client_id, action, resource) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', [clientId, action, resource],
  )
  return rowCount === 1
}

/** @throws AdminError when exactly this was not granted */
export async function revoke(client: Client, clientId: string, { action, resource }: Grant): Promise<void> {
  const { rowCount } = await client.query('DELETE FROM grants WHERE client_id = $1 AND action = $2 AND resource = $3', [clientId, action, resource])
  if (!rowCount) throw new AdminError(`app ${clientId} was not granted ${action} on ${resource}`)
}

export async function listGrants(client: Client, clientId: string): Promise<Grant[]> {
  const { rows } = await client.query<Grant>('SELECT action, resource FROM grants WHERE client_id = $1 ORDER BY resource, action', [clientId])
  return rows
}

/** A bucket's name, then either nothing or a prefix that ends in an asterisk. A star anywhere else is a mistake: it would match itself only. */
const RESOURCE = /^(?:\*|[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:\/(?:[^*]*\/)?\*)?)$/

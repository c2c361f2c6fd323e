/** The deployment itself in the global database: its id, its keys (DESIGN §13, rule 10), its regions, and how it begins. */
import type { Client } from 'pg'
import { fromUuid, randomId, type DeploymentId } from '../../shared/ids.ts'
import { inTransaction } from '../postgres/connection.ts'
import type { Logger } from '../postgres/logger.ts'
import { createKeyring, keyVerifier, verifierMatches, type EncryptionKey } from '../secrets/keyring.ts'
import { makeCredentials, type Credentials } from './credentials.ts'
import { insertApp } from './apps.ts'
import { firstAppFile } from './first-app-file.ts'

/** This node cannot take part in the deployment. The message says why, and what to do. */
export class DeploymentError extends Error {
  override readonly name = 'DeploymentError'
}

export interface Beginning {
  region: string
  stateDir: string
  encryptionKeys: readonly EncryptionKey[]
  /** Credentials that the operator chose for the first app; null: generated. */
  credentials: Credentials | null
}

/** The id, or null when there is no deployment yet. */
export async function deploymentId(client: Client): Promise<DeploymentId | null> {
  const { rows } = await client.query<{ id: string }>('SELECT id FROM deployment')
  return rows[0] ? fromUuid<DeploymentId>(rows[0].id) : null
}

/**
 * Makes whatever is missing of a deployment: its row, this region, the first tenant and the first app. Any number of
 * processes may do this at once, and again at any time.
 * @returns the first app's credentials if this call made it
 * @throws DeploymentError when the deployment has another encryption key
 */
export async function beginDeployment(client: Client, beginning: Beginning, logger: Logger): Promise<{ id: DeploymentId; made: Credentials | null }> {
  return inTransaction(client, async () => {
    await client.query(`SELECT pg_advisory_xact_lock(${BEGIN_LOCK})`)
    await client.query('INSERT INTO deployment (id) SELECT $1 WHERE NOT EXISTS (SELECT FROM deployment)', [randomId<DeploymentId>()])
    const id = (await deploymentId(client))!
    await checkKeys(client, id, beginning.encryptionKeys)
    const region = await client.query('INSERT INTO regions (name) VALUES ($1) ON CONFLICT DO NOTHING', [beginning.region])
    if (region.rowCount) logger.info({ region: beginning.region }, 'region registered')
    const made = await makeFirstApp(client, beginning)
    return { id, made }
  })
}

/**
 * Refuses a node that lacks a key of the deployment. A new first key is recorded if the node proves that it has all of the
 * others (rotation). To rotate: list `old,new` on every node, then `new,old` on every node.
 * @throws DeploymentError
 */
export async function checkKeys(client: Client, id: DeploymentId, keys: readonly EncryptionKey[]): Promise<void> {
  const { rows } = await client.query<{ key_id: string; verifier: Buffer }>('SELECT key_id, verifier FROM encryption_keys ORDER BY created_at')
  for (const row of rows) {
    const key = keys.find((one) => one.id === row.key_id)
    if (!key || !verifierMatches(key.key, id, row.verifier)) {
      const have = keys.map((one) => one.id).join(', ')
      throw new DeploymentError(
        `ANVIL_SECRET_ENCRYPTION_KEY lacks key ${row.key_id} of this deployment (it lists ${have}): what that key wraps could not be read. Set the key that the deployment was made with; while keys rotate, list both`,
      )
    }
  }
  const current = keys[0]!
  if (rows.some((row) => row.key_id === current.id)) return
  await client.query('INSERT INTO encryption_keys (key_id, verifier) VALUES ($1, $2) ON CONFLICT DO NOTHING', [current.id, keyVerifier(current.key, id)])
}

export async function isRegionRegistered(client: Client, name: string): Promise<boolean> {
  const { rowCount } = await client.query('SELECT FROM regions WHERE name = $1', [name])
  return rowCount === 1
}

/** Names the S3 endpoint of a region for clients of other ones, unless a node or an operator has done so. */
export async function offerEndpoint(client: Client, region: string, endpoint: string): Promise<void> {
  await client.query("UPDATE regions SET endpoint = $2 WHERE name = $1 AND endpoint = ''", [region, endpoint])
}

/** 'anvilbeg' in ASCII. */
const BEGIN_LOCK = '0x616e76696c626567'

async function makeFirstApp(client: Client, { stateDir, encryptionKeys, credentials }: Beginning): Promise<Credentials | null> {
  const apps = await client.query('SELECT FROM apps LIMIT 1')
  if (apps.rowCount) return null
  const tenant = await client.query<{ id: number }>(
    `INSERT INTO tenants (name) VALUES ('default') ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id`,
  )
  // Kept before the commit, so that no crash leaves an app whose secret nobody has.
  const chosen = credentials ?? firstAppFile(stateDir).keep(makeCredentials())
  await insertApp(client, createKeyring(encryptionKeys), { ...chosen, tenantId: tenant.rows[0]!.id, name: 'first' })
  await client.query(`INSERT INTO grants (client_id, action, resource) VALUES ($1, '*', '*')`, [chosen.accessKey])
  return chosen
}

/** Apps and their secrets, as an operator manages them. */
import type { Client } from 'pg'
import { sqlState } from '../postgres/connection.ts'
import type { Keyring } from '../secrets/keyring.ts'
import { AdminError } from './admin-error.ts'
import { insertApp, wrapAppSecret } from './apps.ts'
import { makeAccessKey, makeSecretKey, type Credentials } from './credentials.ts'

export interface AppSummary {
  /** The access key. */
  clientId: string
  tenant: string
  name: string
  disabled: boolean
  /** 2 while its secret rotates. */
  secrets: number
  grants: number
  createdAt: Date
}

/** A new app, which may do nothing until it is granted something. @throws AdminError when the tenant has an app of that name */
export async function createApp(client: Client, keyring: Keyring, app: { tenantId: number; name: string }): Promise<Credentials> {
  const credentials = { accessKey: makeAccessKey(), secretKey: makeSecretKey() }
  try {
    await insertApp(client, keyring, { ...credentials, ...app })
  } catch (error) {
    if (sqlState(error) !== UNIQUE_VIOLATION) throw error
    throw new AdminError(`the tenant has an app ${app.name} already`)
  }
  return credentials
}

/** By tenant and name. `tenant` null: of all. */
export async function listApps(client: Client, tenant: string | null): Promise<AppSummary[]> {
  const { rows } = await client.query<AppSummary>(
    `SELECT a.client_id AS "clientId", t.name AS tenant, a.name, a.disabled, CASE WHEN a.old_secret IS NULL THEN 1 ELSE 2 END AS secrets,
       (SELECT count(*)::integer FROM grants g WHERE g.client_id = a.client_id) AS grants, a.created_at AS "createdAt"
     FROM apps a JOIN tenants t ON t.id = a.tenant_id WHERE $1::text IS NULL OR t.name = $1 ORDER BY t.name, a.name`,
    [tenant],
  )
  return rows
}

/** The client id of an app that is named by it, by `tenant/name`, or by a name that only one app has. @throws AdminError */
export async function findApp(client: Client, reference: string): Promise<string> {
  const { rows } = await client.query<{ client_id: string; exact: boolean }>(
    `SELECT a.client_id, a.client_id = $1 AS exact FROM apps a JOIN tenants t ON t.id = a.tenant_id
     WHERE a.client_id = $1 OR a.name = $1 OR t.name || '/' || a.name = $1 ORDER BY exact DESC`,
    [reference],
  )
  const [first, second] = rows
  if (!first) throw new AdminError(`there is no app ${reference}`)
  if (second && !first.exact) throw new AdminError(`several tenants have an app ${reference}; name it by its client id, or as tenant/${reference}`)
  return first.client_id
}

/** A second secret beside the present one. Both are live until the old one is dropped. @throws AdminError while one is being rotated */
export async function rotateSecret(client: Client, keyring: Keyring, clientId: string): Promise<Credentials> {
  const secretKey = makeSecretKey()
  const { keyId, wrapped } = wrapAppSecret(keyring, clientId, secretKey)
  const { rowCount } = await client.query(
    `UPDATE apps SET old_secret_key_id = secret_key_id, old_secret = secret, secret_key_id = $2, secret = $3 WHERE client_id = $1 AND old_secret IS NULL`,
    [clientId, keyId, wrapped],
  )
  if (!rowCount) throw new AdminError(`app ${clientId} has two live secrets already; drop the old one first: anvil admin app drop-old-secret --app ${clientId}`)
  return { accessKey: clientId, secretKey }
}

/** @throws AdminError when it has one secret only */
export async function dropOldSecret(client: Client, clientId: string): Promise<void> {
  const { rowCount } = await client.query(
    'UPDATE apps SET old_secret = NULL, old_secret_key_id = NULL WHERE client_id = $1 AND old_secret IS NOT NULL', [clientId],
  )
  if (!rowCount) throw new AdminError(`app ${clientId} has no old secret`)
}

export async function setAppDisabled(client: Client, clientId: string, disabled: boolean): Promise<void> {
  await client.query('UPDATE apps SET disabled = $2 WHERE client_id = $1', [clientId, disabled])
}

/** With its grants. Buckets belong to the tenant and stay. */
export async function deleteApp(client: Client, clientId: string): Promise<void> {
  await client.query('DELETE FROM apps WHERE client_id = $1', [clientId])
}

const UNIQUE_VIOLATION = '23505'

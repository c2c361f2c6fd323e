/** Apps in the global database: rows with their secrets wrapped, and how they become what the contract calls an App. */
import type { ClientBase } from 'pg'
import { AnvilError } from '../../shared/errors.ts'
import type { TenantId } from '../../shared/ids.ts'
import type { Keyring } from '../secrets/keyring.ts'
import type { App, Grant } from './contract.ts'

interface AppRow {
  client_id: string
  tenant_id: number
  name: string
  secret_key_id: string
  secret: string
  old_secret_key_id: string | null
  old_secret: string | null
  disabled: boolean
  grants: Grant[]
}

/** What an app's secret is wrapped for: another app's row cannot lend it its secret. */
const purpose = (clientId: string): string => `app-secret/${clientId}`

export const wrapAppSecret = (keyring: Keyring, clientId: string, secret: string): { keyId: string; wrapped: string } =>
  keyring.wrap(Buffer.from(secret), purpose(clientId))

export async function insertApp(
  client: ClientBase, keyring: Keyring, app: { accessKey: string; secretKey: string; tenantId: number; name: string },
): Promise<void> {
  const secret = wrapAppSecret(keyring, app.accessKey, app.secretKey)
  await client.query('INSERT INTO apps (client_id, tenant_id, name, secret_key_id, secret) VALUES ($1, $2, $3, $4, $5)', [
    app.accessKey, app.tenantId, app.name, secret.keyId, secret.wrapped,
  ])
}

/** The app of an access key with its grants, as one read. */
export async function selectApp(client: ClientBase, keyring: Keyring, clientId: string): Promise<App | null> {
  const { rows } = await client.query<AppRow>({
    name: 'app',
    text: `SELECT a.client_id, a.tenant_id, a.name, a.secret_key_id, a.secret, a.old_secret_key_id, a.old_secret, a.disabled,
             coalesce((SELECT json_agg(json_build_object('action', g.action, 'resource', g.resource)) FROM grants g WHERE g.client_id = a.client_id), '[]') AS grants
           FROM apps a WHERE a.client_id = $1`,
    values: [clientId],
  })
  return rows[0] ? appOf(rows[0], keyring) : null
}

function appOf(row: AppRow, keyring: Keyring): App {
  const unwrap = (keyId: string, wrapped: string): string => {
    try {
      return keyring.unwrap(keyId, wrapped, purpose(row.client_id)).toString()
    } catch (cause) {
      throw new AnvilError('Internal', `the secret of app ${row.client_id} cannot be unwrapped`, { cause })
    }
  }
  const secrets = [unwrap(row.secret_key_id, row.secret)]
  if (row.old_secret !== null && row.old_secret_key_id !== null) secrets.push(unwrap(row.old_secret_key_id, row.old_secret))
  return {
    clientId: row.client_id,
    tenantId: row.tenant_id as TenantId,
    name: row.name,
    secrets,
    grants: row.grants,
    disabled: row.disabled,
  }
}

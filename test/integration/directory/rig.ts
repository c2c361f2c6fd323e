/** A global database with a deployment in it, and directories over it. */
import { connect, createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import type { Client, ClientConfig } from 'pg'
import type { TenantId } from '../../../src/shared/ids.ts'
import { createApp } from '../../../src/main/directory/admin-apps.ts'
import { openDirectory, type CachedDirectory, type DirectoryOptions } from '../../../src/main/directory/cached-directory.ts'
import type { Credentials } from '../../../src/main/directory/credentials.ts'
import { beginDeployment } from '../../../src/main/directory/deployment.ts'
import { withClient } from '../../../src/main/postgres/connection.ts'
import { SOCKET_PORT, socketPath } from '../../../src/main/postgres/layout.ts'
import { migrate, MIGRATIONS } from '../../../src/main/postgres/migrate.ts'
import { createKeyring, keyId } from '../../../src/main/secrets/keyring.ts'
import { atEnd, initializedFolder, quiet, type Cleanup, type StateFolder } from '../postgres/rig.ts'

export const KEY = Buffer.alloc(32, 7)
export const keys = [{ id: keyId(KEY), key: KEY }]
export const keyring = createKeyring(keys)

export interface DirectoryRig {
  state: StateFolder
  database: ClientConfig
  tenant: TenantId
  first: Credentials
  open(options?: Partial<DirectoryOptions>): Promise<CachedDirectory>
  admin<T>(work: (client: Client) => Promise<T>): Promise<T>
  newApp(name: string): Promise<Credentials>
}

export async function directoryRig(t: Cleanup): Promise<DirectoryRig> {
  const state = await initializedFolder(t)
  const database = (await state.start()).clientConfig('anvil_global')
  await migrate(database, MIGRATIONS.global)
  const first = { accessKey: 'FIRST', secretKey: 'first-secret' }
  await withClient(database, (client) => beginDeployment(client, { region: 'local', stateDir: state.path, encryptionKeys: keys, credentials: first }, quiet))
  const admin = <T>(work: (client: Client) => Promise<T>) => withClient(database, work)
  const [row] = await state.query<{ id: number }>('SELECT id FROM tenants', 'anvil_global')
  const tenant = row!.id as TenantId
  return {
    state, database, tenant, first, admin,
    async open(options = {}) {
      const directory = await openDirectory({ database, keyring, cacheTtlMs: 300_000, logger: quiet, waitMs: 1500, pollEveryMs: 50, ...options })
      atEnd(t, () => directory.close())
      return directory
    },
    newApp: (name) => admin((client) => createApp(client, keyring, { tenantId: tenant, name })),
  }
}

/** Stands between a client and the server's socket. */
export interface Proxy {
  config: ClientConfig
  /** Cuts every connection and refuses new ones. */
  away(): void
  /** Keeps connections and takes new ones, but passes nothing on. */
  stall(): void
  back(): void
}

export async function proxyTo(t: Cleanup, database: ClientConfig): Promise<Proxy> {
  const folder = mkdtempSync(join(tmpdir(), 'anvil-proxy-'))
  const sockets = new Set<Socket>()
  let mode: 'pass' | 'away' | 'stall' = 'pass'
  const server: Server = createServer((client) => {
    if (mode === 'away') return void client.destroy()
    const upstream = connect(socketPath(database.host!))
    for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(from)
      from.on('data', (bytes) => void (mode === 'pass' && to.write(bytes)))
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
    }
  })
  server.listen(join(folder, `.s.PGSQL.${SOCKET_PORT}`))
  await once(server, 'listening')
  atEnd(t, () => {
    server.close()
    for (const socket of sockets) socket.destroy()
    rmSync(folder, { recursive: true })
  })
  return {
    config: { ...database, host: folder },
    away() {
      mode = 'away'
      for (const socket of sockets) socket.destroy()
    },
    stall() {
      mode = 'stall'
    },
    back() {
      mode = 'pass'
    },
  }
}

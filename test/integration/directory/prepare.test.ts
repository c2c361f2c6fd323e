/** From settings to prepared databases: how a deployment begins, who may join it, and who is refused. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { loadConfig } from '../../../src/main/config/load.ts'
import type { Config } from '../../../src/main/config/contract.ts'
import { platformFacts } from '../../../src/main/config/platform.ts'
import { createRegion } from '../../../src/main/directory/admin-regions.ts'
import { DeploymentError } from '../../../src/main/directory/deployment.ts'
import { openDirectory } from '../../../src/main/directory/index.ts'
import { prepareDatabases, type PreparedDatabases, type PrepareOptions } from '../../../src/main/directory/prepare-databases.ts'
import { withClient } from '../../../src/main/postgres/connection.ts'
import { lockState, StateInUseError } from '../../../src/main/postgres/state-lock.ts'
import { createKeyring, keyId } from '../../../src/main/secrets/keyring.ts'
import { generateSecrets } from '../../../src/main/secrets/generated.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { atEnd, initializedFolder, quiet, stateFolder, until, type StateFolder } from '../postgres/rig.ts'

const secrets = generateSecrets()

function configOf(env: Record<string, string>): Config {
  const loaded = loadConfig(env, platformFacts(), secrets)
  assert.ok('config' in loaded, JSON.stringify(loaded))
  return loaded.config
}

async function prepare(t: TestContext, config: Config, options: Partial<PrepareOptions> = {}): Promise<PreparedDatabases> {
  const prepared = await prepareDatabases(config, { initCluster: false, logger: quiet, ...options })
  atEnd(t, () => prepared.stop())
  return prepared
}

/** Settings of a node beside a server that stands for one of its own. */
async function servers(t: TestContext): Promise<{ server: StateFolder; env: (node: StateFolder) => Record<string, string> }> {
  const server = await initializedFolder(t)
  const host = encodeURIComponent((await server.start()).clientConfig('anvil_global').host!)
  return {
    server,
    env: (node) => ({
      ANVIL_STATE_DIR: node.path, REGION: 'eu', JWT_SECRET: secrets.jwtSecret, ANVIL_CLUSTER_SECRET: secrets.clusterSecret,
      ANVIL_SECRET_ENCRYPTION_KEY: secrets.encryptionKey,
      GLOBAL_DATABASE_URL: `postgres://anvil@/anvil_global?host=${host}`, REGIONAL_DATABASE_URL: `postgres://anvil@/anvil_regional?host=${host}`,
    }),
  }
}

describe('preparing databases', { concurrency: 3 }, () => {
  test('--init-cluster makes a deployment once; later starts find it', async (t) => {
    const state = await initializedFolder(t)
    const config = configOf({ ANVIL_STATE_DIR: state.path })
    const first = await prepare(t, config, { initCluster: true })
    assert.ok(first.embedded)
    assert.ok(first.firstApp?.created)
    assert.equal(first.firstApp.file, join(state.path, 'first-app.json'))
    assert.equal(statSync(first.firstApp.file).mode & 0o777, 0o600)
    await assert.rejects(lockState(state.path, 'node'), StateInUseError)
    await first.stop()
    assert.ok(!existsSync(join(state.data(), 'postmaster.pid')))

    const again = await prepare(t, config, { initCluster: true })
    assert.deepEqual([again.deploymentId, again.firstApp], [first.deploymentId, { ...first.firstApp, created: false }])
    await again.stop()
    const joined = await prepare(t, config)
    assert.equal(joined.deploymentId, first.deploymentId)
    const directory = await openDirectory({ database: joined.global, keyring: createKeyring(config.encryptionKeys), cacheTtlMs: 1000, logger: quiet })
    atEnd(t, () => directory.close())
    assert.deepEqual((await directory.app(first.firstApp.accessKey))?.secrets, [first.firstApp.secretKey])
  })

  test('credentials of the first app may be chosen, and are then not kept in a file', async (t) => {
    const state = await initializedFolder(t)
    const config = configOf({ ANVIL_STATE_DIR: state.path, ANVIL_BOOTSTRAP_ACCESS_KEY: 'chosen', ANVIL_BOOTSTRAP_SECRET_KEY: 'chosen-secret' })
    const { firstApp } = await prepare(t, config, { initCluster: true })
    assert.deepEqual(firstApp, { accessKey: 'chosen', secretKey: 'chosen-secret', created: true, file: null })
    assert.ok(!existsSync(join(state.path, 'first-app.json')))
  })

  test('without a deployment a node waits and says so, and can be stopped', async (t) => {
    const state = await initializedFolder(t)
    const said: string[] = []
    const stop = new AbortController()
    const waiting = prepare(t, configOf({ ANVIL_STATE_DIR: state.path }), { logger: { ...quiet, warn: (_fields, message) => void said.push(message) }, signal: stop.signal })
    await until('it says so', () => said.some((line) => line.includes('no deployment') && line.includes('--init-cluster')))
    stop.abort()
    await assert.rejects(waiting, { name: 'AbortError' })
    assert.ok(!existsSync(join(state.data(), 'postmaster.pid')))
    ;(await lockState(state.path, 'node', { waitMs: 0 })).release()
  })

  test('a region that is not registered stops the start with the command to run', async (t) => {
    const state = await initializedFolder(t)
    const begun = await prepare(t, configOf({ ANVIL_STATE_DIR: state.path }), { initCluster: true })
    const { global } = begun
    await withClient(global, (client) => createRegion(client, 'west'))
    await begun.stop()
    await assert.rejects(
      prepare(t, configOf({ ANVIL_STATE_DIR: state.path, REGION: 'east' })),
      (error) => error instanceof DeploymentError && error.message.includes('anvil admin regions create --name east'),
    )
    await prepare(t, configOf({ ANVIL_STATE_DIR: state.path, REGION: 'west' }))
  })

  test('a node with another key does not start; keys rotate in two steps', async (t) => {
    const state = await initializedFolder(t)
    const [old, fresh] = [secrets.encryptionKey, randomBytes(32).toString('hex')]
    const id = (hex: string) => keyId(Buffer.from(hex, 'hex'))
    const start = async (keys: string, initCluster = false): Promise<void> => {
      await (await prepareDatabases(configOf({ ANVIL_STATE_DIR: state.path, ANVIL_SECRET_ENCRYPTION_KEY: keys }), { initCluster, logger: quiet })).stop()
    }
    const lacks = (key: string) => (error: unknown) => error instanceof DeploymentError && error.message.includes(`lacks key ${id(key)}`)
    await start(old, true)
    await assert.rejects(start(fresh), lacks(old))
    await assert.rejects(start(fresh, true), lacks(old), '--init-cluster does not get around it')
    await start(`${old},${fresh}`)
    await start(old)
    await start(`${fresh},${old}`)
    await assert.rejects(start(old), lacks(fresh))
    await assert.rejects(start(fresh), lacks(old))
    await start(`${old},${fresh}`)
  })

  test('nodes that start at once on servers of their own make one deployment with one first app', async (t) => {
    const { env } = await servers(t)
    const nodes = await Promise.all(Array.from({ length: 3 }, () => prepare(t, configOf(env(stateFolder(t))), { initCluster: true })))
    assert.equal(new Set(nodes.map((node) => node.deploymentId)).size, 1)
    assert.equal(nodes.filter((node) => node.firstApp?.created).length, 1)
    assert.ok(nodes.every((node) => !node.embedded))
    const [row] = await withClient(nodes[0]!.global, async (client) => (await client.query('SELECT (SELECT count(*)::int FROM apps) AS apps, (SELECT count(*)::int FROM tenants) AS tenants')).rows)
    assert.deepEqual(row, { apps: 1, tenants: 1 })
  })

  test('a node waits for servers that start after it, and for the node that makes the deployment', async (t) => {
    const { server, env } = await servers(t)
    const said: string[] = []
    const logger = { ...quiet, warn: (_fields: object, message: string) => void said.push(message) }
    const late = stateFolder(t)
    const elsewhere = encodeURIComponent(join(late.path, 'nowhere'))
    const giveUp = new AbortController()
    const lost = prepare(t, configOf({ ...env(late), GLOBAL_DATABASE_URL: `postgres://anvil@/anvil_global?host=${elsewhere}` }), { logger, signal: giveUp.signal })
    await until('it says so', () => said.some((line) => line.startsWith('waiting for the database')))
    giveUp.abort()
    await assert.rejects(lost)

    const waiting = prepare(t, configOf(env(late)), { logger })
    await until('it says so', () => said.some((line) => line.includes('holds no deployment yet')))
    const first = await prepare(t, configOf(env(stateFolder(t))), { initCluster: true })
    assert.equal((await waiting).deploymentId, first.deploymentId)
    assert.ok(server.path)
  })

  test('a start goes on when its connection is lost in the middle, whatever it was asking', async (t) => {
    const { env } = await servers(t)
    const config = configOf(env(stateFolder(t)))
    const { deploymentId } = await prepare(t, config, { initCluster: true })
    const host = new URLSearchParams(config.globalDatabaseUrl!.split('?')[1]).get('host')!
    const proxy = await startFaultProxy({ host, port: 5432, user: 'anvil', database: 'anvil_global' })
    atEnd(t, () => proxy.close())
    const throughProxy = `postgres://anvil@/anvil_global?host=${encodeURIComponent(proxy.config.host)}`
    for (const initCluster of [true, false]) {
      for (const asked of ['FROM encryption_keys', 'UPDATE regions SET endpoint']) {
        let cuts = 0
        proxy.fault = ({ direction, chunk }) => (direction === 'to-server' && chunk.includes(asked) && cuts++ === 0 ? { cutAfter: 0 } : 'pass')
        const prepared = await prepare(t, configOf({ ...env(stateFolder(t)), GLOBAL_DATABASE_URL: throughProxy }), { initCluster })
        assert.equal(prepared.deploymentId, deploymentId)
        assert.equal(cuts, 2, `${asked} was asked again after the cut`)
        await prepared.stop()
      }
    }
  })
})

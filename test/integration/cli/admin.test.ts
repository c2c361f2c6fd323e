/** `anvil admin` through real processes: beside a node that runs, and alone. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { loadNodeConfig } from '../../../src/main/config/load-node-config.ts'
import { openDirectory, prepareDatabases, type CachedDirectory, type PreparedDatabases } from '../../../src/main/directory/index.ts'
import { openObjectMetadata } from '../../../src/main/metadata/index.ts'
import { createKeyring } from '../../../src/main/secrets/keyring.ts'
import type { DriveId, NodeId } from '../../../src/shared/ids.ts'
import { initializedFolder, quiet, stateFolder, until, type StateFolder } from '../postgres/rig.ts'

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main', 'cli', 'main.ts')

interface Ended {
  code: number | null
  out: string
  err: string
}

async function anvil(env: Record<string, string>, ...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { PATH: '/usr/bin:/bin', ...env }, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), exited])
  return { code, out, err }
}

describe('anvil admin', () => {
  const cleanup: (() => unknown)[] = []
  let state: StateFolder
  let env: Record<string, string>
  let node: PreparedDatabases
  let directory: CachedDirectory

  before(async () => {
    state = await initializedFolder({ after: (work) => cleanup.push(work) })
    env = { ANVIL_STATE_DIR: state.path }
    const loaded = loadNodeConfig(env, { mayGenerate: true })
    assert.ok('config' in loaded)
    node = await prepareDatabases(loaded.config, { initCluster: true, logger: quiet })
    cleanup.push(() => node.stop())
    directory = await openDirectory({ database: node.global, keyring: createKeyring(loaded.config.encryptionKeys), cacheTtlMs: 300_000, logger: quiet })
    cleanup.push(() => directory.close())
  })
  after(async () => {
    for (let work = cleanup.pop(); work; work = cleanup.pop()) await work()
  })

  const ok = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await anvil(env, 'admin', ...args)
    assert.equal(code, 0, `anvil admin ${args.join(' ')}: ${err}`)
    assert.equal(err, '')
    return out
  }
  const refused = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await anvil(env, 'admin', ...args)
    assert.equal(code, 1, `anvil admin ${args.join(' ')}: ${out}`)
    assert.equal(err.trimEnd().split('\n').length, 1, err)
    return err
  }
  const json = async <T>(...args: string[]): Promise<T> => JSON.parse(await ok(...args, '--json')) as T

  test('an app from its making to its end, as a node that runs sees it', async () => {
    await ok('tenant', 'create', '--name', 'acme')
    assert.match(await refused('tenant', 'create', '--name', 'acme'), /there is a tenant acme already/)
    const made = await json<{ accessKey: string; secretKey: string }>('app', 'create', '--tenant', 'acme', '--name', 'backup')
    assert.deepEqual((await directory.app(made.accessKey))?.grants, [])

    await ok('policy', 'grant', '--app', 'backup', '--action', 'object:write', '--resource', 'photos/2026/*')
    const began = Date.now()
    await until('the grant', async () => (await directory.app(made.accessKey))?.grants.length === 1, 3000)
    assert.ok(Date.now() - began < 2500)
    assert.deepEqual(await json('policy', 'list', '--app', 'acme/backup'), [{ action: 'object:write', resource: 'photos/2026/*' }])
    assert.match(await refused('policy', 'grant', '--app', 'backup', '--action', 'object:fly', '--resource', '*'), /there is no action object:fly/)
    assert.match(await refused('policy', 'grant', '--app', 'backup', '--action', '*', '--resource', 'a*'), /not a resource/)
    await ok('policy', 'revoke', '--app', 'backup', '--action', 'object:write', '--resource', 'photos/2026/*')

    const rotated = await json<{ secretKey: string }>('app', 'rotate-secret', '--app', made.accessKey)
    assert.match(await refused('app', 'rotate-secret', '--app', made.accessKey), /drop-old-secret/)
    await until('two secrets', async () => (await directory.app(made.accessKey))?.secrets.join() === `${rotated.secretKey},${made.secretKey}`, 3000)
    await ok('app', 'drop-old-secret', '--app', 'backup')
    await ok('app', 'disable', '--app', 'backup')
    await until('disabled', async () => (await directory.app(made.accessKey))?.disabled === true, 3000)
    const [listed] = await json<{ clientId: string; disabled: boolean }[]>('app', 'list', '--tenant', 'acme')
    assert.deepEqual([listed?.clientId, listed?.disabled], [made.accessKey, true])
    assert.ok(!(await ok('app', 'list')).includes(rotated.secretKey))

    assert.match(await refused('tenant', 'delete', '--name', 'acme'), /still has apps or buckets/)
    await ok('app', 'delete', '--app', 'backup')
    await ok('tenant', 'delete', '--name', 'acme')
    assert.match(await refused('app', 'enable', '--app', 'backup'), /there is no app backup/)
  })

  test('regions, buckets and migrations', async () => {
    await ok('regions', 'create', '--name', 'eu-west-1')
    assert.match(await ok('regions', 'create', '--name', 'eu-west-1'), /already/)
    assert.match(await refused('regions', 'create', '--name', 'EU'), /lower-case/)
    assert.deepEqual((await json<{ name: string }[]>('regions', 'list')).map((region) => region.name), ['eu-west-1', 'local'])

    const first = await directory.app(node.firstApp!.accessKey)
    await directory.createBucket({ name: 'photos', tenantId: first!.tenantId, region: 'local' })
    await ok('bucket', 'set-public-access', '--bucket', 'photos', '--allow')
    await ok('bucket', 'set-default-encryption', '--bucket', 'photos', '--on')
    await until('both', async () => {
      const bucket = await directory.bucket('photos')
      return bucket?.publicAccess === true && bucket.defaultEncryption
    }, 3000)
    assert.match(await ok('bucket', 'list'), /photos +default +local +yes +yes/)
    assert.match(await refused('bucket', 'set-public-access', '--bucket', 'photos'), /either --allow or --deny/)
    assert.match(await refused('bucket', 'set-public-access', '--bucket', 'nothing', '--deny'), /there is no bucket nothing/)
    assert.match(await ok('migrate'), /global database: nothing to do\nregional database: nothing to do/)
  })

  test('nodes: removed when they are gone, and only then', async () => {
    const metadata = await openObjectMetadata({ connection: node.regional, logger: quiet })
    cleanup.push(() => metadata.close())
    const [up, gone] = ['up', 'gone'] as NodeId[] as [NodeId, NodeId]
    const drive = 'd'.repeat(32) as DriveId
    for (const nodeId of [up, gone]) await metadata.registerNode({ nodeId, addrs: [], grpcAddr: 'http://x', zone: '', version: '1' }, 60_000)
    await metadata.registerDrive({ driveId: drive, nodeId: gone, path: '/d', totalBytes: 1 })
    assert.ok(await metadata.renewLease(up, 'process', 60_000, null))
    assert.deepEqual((await json<{ nodeId: string; lease: string }[]>('node', 'list')).map(({ nodeId, lease }) => [nodeId, lease]), [['gone', 'released'], ['up', 'held']])
    assert.deepEqual(await json('repair', 'now'), ['gone'])
    assert.match(await refused('node', 'remove', 'up'), /node up runs: stop it first/)
    assert.match(await refused('node', 'remove', 'nobody'), /there is no node nobody/)
    await ok('node', 'remove', 'gone')
    assert.deepEqual((await metadata.drives()).map(({ driveId, state }) => [driveId, state]), [[drive, 'lost']])
  })

  test('with another key than the deployment has, nothing is done', async () => {
    const { code, err } = await anvil({ ...env, ANVIL_SECRET_ENCRYPTION_KEY: 'ab'.repeat(32) }, 'admin', 'app', 'create', '--name', 'x')
    assert.equal(code, 1)
    assert.match(err, /lacks key/)
  })

  test('a second node on the state folder is refused', async () => {
    const loaded = loadNodeConfig(env, { mayGenerate: false })
    assert.ok('config' in loaded)
    await assert.rejects(prepareDatabases(loaded.config, { initCluster: true, logger: quiet }), /in use by another anvil process \(node, pid/)
  })

  test('help, version and wrong command lines', async () => {
    assert.deepEqual((await anvil({}, '--version')).code, 0)
    const help = await anvil({}, 'admin', '--help')
    assert.equal(help.code, 0)
    for (const family of ['migrate', 'regions', 'tenant', 'app', 'policy', 'bucket']) assert.ok(help.out.includes(family), family)
    for (const wrong of [['fly'], ['admin', 'fly'], ['admin', 'app', 'create'], ['--fly']]) {
      const { code, out, err } = await anvil({}, ...wrong)
      assert.equal(code, 2, wrong.join(' '))
      assert.equal(out, '')
      assert.match(err, /error: /)
    }
  })
})

describe('anvil without a node that runs', { concurrency: 2 }, () => {
  test('wrong settings: a line for each on standard error, exit code 2, nothing made', async (t) => {
    const state = stateFolder(t)
    const env = { ANVIL_STATE_DIR: state.path, ANVIL_WORKERS: 'many', GLOBAL_DATABASE_URL: 'postgres://u:hunter2@h/d' }
    for (const args of [[], ['--init-cluster'], ['admin', 'app', 'list']]) {
      const { code, err } = await anvil(env, ...args)
      assert.equal(code, 2)
      const lines = err.trimEnd().split('\n')
      assert.ok(lines.every((line) => /^anvil: [A-Z_]+: was .*, must be .*$/.test(line)), err)
      assert.equal(lines.length, 6)
      assert.ok(!err.includes('hunter2'))
    }
    assert.ok(!existsSync(join(state.path, 'secrets.json')))
  })

  test('where there is no deployment, a command says how to make one and makes nothing', async (t) => {
    const state = stateFolder(t)
    const { code, err } = await anvil({ ANVIL_STATE_DIR: state.path }, 'admin', 'app', 'list')
    assert.equal(code, 1)
    assert.match(err, /no deployment in .*anvil --init-cluster/)
    assert.ok(!existsSync(join(state.path, 'postgres')))
  })

  test('commands run the embedded Postgres for their moment, one after the other', async (t) => {
    const state = await initializedFolder(t)
    const env = { ANVIL_STATE_DIR: state.path }
    const loaded = loadNodeConfig(env, { mayGenerate: true })
    assert.ok('config' in loaded)
    await (await prepareDatabases(loaded.config, { initCluster: true, logger: quiet })).stop()
    rmSync(join(state.path, 'lock.holder'))
    const ended = await Promise.all([
      anvil(env, 'admin', 'tenant', 'create', '--name', 'one'),
      anvil(env, 'admin', 'tenant', 'create', '--name', 'two'),
      anvil(env, 'admin', 'tenant', 'list', '--json'),
    ])
    assert.deepEqual(ended.map(({ code, err }) => [code, err]), [[0, ''], [0, ''], [0, '']])
    assert.ok(!existsSync(join(state.data(), 'postmaster.pid')), 'stopped in order')
  })

  test('a database that cannot be reached is one line, without the password', async (t) => {
    const state = stateFolder(t)
    const url = 'postgres://anvil:hunter2@127.0.0.1:1/d'
    const env = {
      ANVIL_STATE_DIR: state.path, REGION: 'r', JWT_SECRET: 'x'.repeat(32), ANVIL_CLUSTER_SECRET: 'x'.repeat(32), ANVIL_SECRET_ENCRYPTION_KEY: 'ab'.repeat(32),
      GLOBAL_DATABASE_URL: url, REGIONAL_DATABASE_URL: url,
    }
    const { code, err } = await anvil(env, 'admin', 'app', 'list')
    assert.equal(code, 1)
    assert.match(err, /^anvil: connect ECONNREFUSED 127\.0\.0\.1:1\n$/)
  })
})

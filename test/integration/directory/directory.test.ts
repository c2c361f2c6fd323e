/** The directory against a real global database: lookups, changes, races, and a database that goes away. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { AnvilError, type AnvilErrorKind } from '../../../src/shared/errors.ts'
import type { BucketId, TenantId } from '../../../src/shared/ids.ts'
import { deleteApp, dropOldSecret, rotateSecret, setAppDisabled } from '../../../src/main/directory/admin-apps.ts'
import { grant, parseGrant, revoke } from '../../../src/main/directory/admin-policies.ts'
import { createTenant, deleteTenant } from '../../../src/main/directory/admin-tenants.ts'
import type { Change } from '../../../src/main/directory/change-feed.ts'
import { createKeyring, keyId } from '../../../src/main/secrets/keyring.ts'
import { until } from '../postgres/rig.ts'
import { directoryRig, keyring, proxyTo, type DirectoryRig } from './rig.ts'

const kind = (wanted: AnvilErrorKind) => (error: unknown) => AnvilError.is(error, wanted)

describe('the directory', () => {
  const cleanup: (() => unknown)[] = []
  let rig: DirectoryRig
  before(async () => {
    rig = await directoryRig({ after: (work) => cleanup.push(work) })
  })
  after(async () => {
    for (let work = cleanup.pop(); work; work = cleanup.pop()) await work()
  })

  test('the first app may do everything, a later one nothing until it is granted', async () => {
    const directory = await rig.open()
    assert.deepEqual(await directory.app('FIRST'), {
      clientId: 'FIRST', tenantId: rig.tenant, name: 'first', secrets: ['first-secret'], grants: [{ action: '*', resource: '*' }], disabled: false,
    })
    const later = await rig.newApp('later')
    assert.deepEqual((await directory.app(later.accessKey))?.grants, [])
    assert.deepEqual((await directory.app(later.accessKey))?.secrets, [later.secretKey])
    assert.equal(await directory.app('nobody'), null)
  })

  test('secrets at rest are wrapped, and useless to another key', async () => {
    const [row] = await rig.state.query<{ row: string }>(`SELECT a::text AS row FROM apps a WHERE client_id = 'FIRST'`, 'anvil_global')
    assert.ok(!row!.row.includes('first-secret'))
    const key = Buffer.alloc(32, 8)
    const directory = await rig.open({ keyring: createKeyring([{ id: keyId(key), key }]) })
    await assert.rejects(directory.app('FIRST'), kind('Internal'))
  })

  test('what an operator changes reaches a node that cached it', async () => {
    const directory = await rig.open()
    const app = await rig.newApp('changing')
    const see = async (what: string, condition: (app: Awaited<ReturnType<typeof directory.app>>) => boolean) =>
      until(what, async () => condition(await directory.app(app.accessKey)), 2000)
    await see('the app', (found) => found !== null)
    await rig.admin((client) => grant(client, app.accessKey, parseGrant('object:read', 'photos/*')))
    await see('the grant', (found) => found?.grants.length === 1)
    await rig.admin((client) => revoke(client, app.accessKey, parseGrant('object:read', 'photos/*')))
    await see('no grant', (found) => found?.grants.length === 0)
    const rotated = await rig.admin((client) => rotateSecret(client, keyring, app.accessKey))
    await see('two secrets, newest first', (found) => found?.secrets.join() === [rotated.secretKey, app.secretKey].join())
    await assert.rejects(rig.admin((client) => rotateSecret(client, keyring, app.accessKey)), /two live secrets already/)
    await rig.admin((client) => dropOldSecret(client, app.accessKey))
    await see('one secret', (found) => found?.secrets.join() === rotated.secretKey)
    await rig.admin((client) => setAppDisabled(client, app.accessKey, true))
    await see('disabled', (found) => found?.disabled === true)
    await rig.admin((client) => deleteApp(client, app.accessKey))
    await see('gone', (found) => found === null)
  })

  test('a change is seen by a node whose polls are behind by more than is kept', async () => {
    const directory = await rig.open()
    const bucket = await directory.createBucket({ name: 'far-behind', tenantId: rig.tenant, region: 'local' })
    await directory.bucket('far-behind')
    await rig.admin(async (client) => {
      await client.query('UPDATE change_head SET number = number + 20000')
      await client.query('DELETE FROM changes')
      await client.query('ALTER TABLE buckets DISABLE TRIGGER ALL')
      await client.query('UPDATE buckets SET public_access = true WHERE id = $1', [bucket.id])
      await client.query('ALTER TABLE buckets ENABLE TRIGGER ALL')
      await client.query('UPDATE change_head SET number = number + 20000')
    })
    await until('the change', async () => (await directory.bucket('far-behind'))?.publicAccess === true, 2000)
  })

  test('of many creators of a name at once, one wins and the others hear who has it', async () => {
    const other = (await rig.admin((client) => createTenant(client, 'other'))).id as TenantId
    const [one, two] = [await rig.open(), await rig.open()]
    for (let round = 0; round < 5; round++) {
      const name = `race-${round}`
      const results = await Promise.allSettled(
        Array.from({ length: 12 }, (_, i) => (i % 2 ? one : two).createBucket({ name, tenantId: i % 3 ? rig.tenant : other, region: 'local' })),
      )
      const won = results.filter((result) => result.status === 'fulfilled')
      assert.equal(won.length, 1)
      const owner = won[0]!.value.tenantId
      results.forEach((result, i) => {
        if (result.status !== 'rejected') return
        const own = (i % 3 ? rig.tenant : other) === owner
        assert.ok(kind(own ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists')(result.reason), String(result.reason))
      })
      await one.removeBucket(won[0]!.value.id)
    }
    await rig.admin((client) => deleteTenant(client, 'other'))
  })

  test('a bucket id is never given again', async () => {
    const directory = await rig.open()
    const ids = new Set<BucketId>()
    for (let i = 0; i < 5; i++) {
      const { id } = await directory.createBucket({ name: 'again', tenantId: rig.tenant, region: 'local' })
      assert.ok(!ids.has(id))
      ids.add(id)
      await directory.removeBucket(id)
      await directory.removeBucket(id)
      assert.equal(await directory.bucket('again'), null)
    }
  })

  test('a bucket that this node makes is there for its next lookup, even after a look in vain', async () => {
    const told: Change[] = []
    const directory = await rig.open({ onOwnChange: (change) => told.push(change) })
    assert.equal(await directory.bucket('soon'), null)
    const bucket = await directory.createBucket({ name: 'soon', tenantId: rig.tenant, region: 'local' })
    assert.deepEqual(await directory.bucket('soon'), bucket)
    await directory.setDefaultEncryption(bucket.id, true)
    assert.equal((await directory.bucket('soon'))?.defaultEncryption, true)
    await directory.setPublicAccess(bucket.id, true)
    assert.deepEqual(await directory.bucket('soon'), { ...bucket, defaultEncryption: true, publicAccess: true })
    assert.deepEqual(told, Array.from({ length: 3 }, () => ({ kind: 'bucket', key: 'soon' })))
    await assert.rejects(directory.setPublicAccess(999_999 as BucketId, true), kind('NoSuchBucket'))
    await assert.rejects(directory.createBucket({ name: 'x', tenantId: rig.tenant, region: 'mars' }), kind('InvalidArgument'))
  })

  test('buckets are listed by name, in pages, from a prefix', async () => {
    const directory = await rig.open()
    for (const name of ['list-b', 'list-a', 'list-c', 'lisa']) await directory.createBucket({ name, tenantId: rig.tenant, region: 'local' })
    const names = async (options: Parameters<typeof directory.listBuckets>[1]) => (await directory.listBuckets(rig.tenant, options)).map((bucket) => bucket.name)
    assert.deepEqual(await names({ prefix: 'list-' }), ['list-a', 'list-b', 'list-c'])
    assert.deepEqual(await names({ prefix: 'list-', limit: 2 }), ['list-a', 'list-b'])
    assert.deepEqual(await names({ prefix: 'list-', after: 'list-b' }), ['list-c'])
    assert.deepEqual(await directory.listBuckets(12345 as TenantId), [])
  })

  for (const failure of ['away', 'stall'] as const) {
    test(`while the database is away (${failure}), what is cached serves, the rest is unavailable within the bound, and nothing hangs after`, async (t) => {
      const proxy = await proxyTo(t, rig.database)
      const directory = await rig.open({ database: proxy.config, cacheTtlMs: 50, waitMs: 1000 })
      const cached = `cached-${failure}`
      await directory.createBucket({ name: cached, tenantId: rig.tenant, region: 'local' })
      await directory.bucket(cached)
      await directory.app('FIRST')
      proxy[failure]()
      await sleep(100)
      const began = performance.now()
      assert.equal((await directory.app('FIRST'))?.clientId, 'FIRST')
      assert.equal((await directory.bucket(cached))?.name, cached)
      assert.ok(performance.now() - began < 2500, 'an old value waits a second at most')
      await assert.rejects(directory.bucket('unknown'), kind('MetadataUnavailable'))
      await assert.rejects(directory.createBucket({ name: `made-${failure}`, tenantId: rig.tenant, region: 'local' }), kind('MetadataUnavailable'))
      assert.ok(performance.now() - began < 7000)
      assert.equal(directory.health().state, 'away')
      proxy.away()
      proxy.back()
      const look = () => directory.bucket(`made-${failure}`).then((bucket) => bucket === null, (error: unknown) => !AnvilError.is(error))
      await until('it is back', look, 5000)
      assert.equal(directory.health().state, 'ok')
    })
  }

  test('a restart of the server is not noticed by readers', async () => {
    const directory = await rig.open({ cacheTtlMs: 0 })
    await rig.state.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'anvil_global'`)
    assert.equal((await directory.app('FIRST'))?.clientId, 'FIRST')
    await rig.state.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'anvil_global'`)
    await directory.createBucket({ name: 'after-restart', tenantId: rig.tenant, region: 'local' })
  })
})

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import pg from 'pg'
import { openObjectMetadata } from '../../../src/main/metadata/index.ts'
import type { ObjectMetadata, PlacementGroup } from '../../../src/main/metadata/contract.ts'
import { withExport, type Databases } from '../../../src/main/metadata/transfer/export.ts'
import { TransferError } from '../../../src/main/metadata/transfer/format.ts'
import { importMetadata } from '../../../src/main/metadata/transfer/import.ts'
import { LEFT_OUT, SIDES, TABLES } from '../../../src/main/metadata/transfer/tables.ts'
import { migrate, MIGRATIONS } from '../../../src/main/postgres/migrate.ts'
import { randomId, type BucketId, type DeploymentId } from '../../../src/shared/ids.ts'
import { startPostgres, type TestPostgres } from '../../support/postgres.ts'
import { blobRecord, contentOf, drives, inlineRecord, silent } from '../../support/metadata.ts'

const BUCKET = 7 as BucketId
const deploymentId = randomId<DeploymentId>()
let postgres: TestPostgres
let source: Databases
let metadata: ObjectMetadata
let group: PlacementGroup
let bytes: Buffer
const opened: ObjectMetadata[] = []
const records = Array.from({ length: 300 }, (_, i) => `k${i}`)
const written: ReturnType<typeof blobRecord>[] = []

let count = 0
/** Two databases; empty, or migrated. */
async function target(migrated: boolean): Promise<Databases> {
  count++
  const made = { regional: await postgres.database(`regional${count}`), global: await postgres.database(`global${count}`) }
  if (migrated) for (const side of SIDES) await migrate(made[side], MIGRATIONS[side])
  return made
}

async function sql<Row extends pg.QueryResultRow>(config: pg.ClientConfig, text: string, values: unknown[] = []): Promise<Row[]> {
  const client = new pg.Client(config)
  await client.connect()
  try {
    return (await client.query<Row>(text, values)).rows
  } finally {
    await client.end()
  }
}

async function open(databases: Databases): Promise<ObjectMetadata> {
  const made = await openObjectMetadata({ connection: databases.regional, logger: silent, tidyEveryMs: 0 })
  opened.push(made)
  return made
}

const exported = (databases: Databases): Promise<Buffer> => withExport(databases, '1.2.3', async (_, stream) => {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
})

/** Cut anywhere. */
async function* pieces(of: Buffer, length = of.length): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < length; at += 777) yield of.subarray(at, Math.min(at + 777, length))
}

const fine = { check: () => Promise.resolve() }
const tenants = (databases: Databases) => sql<{ id: number; name: string }>(databases.global, 'SELECT id, name FROM tenants ORDER BY id')
const refuses = (databases: Databases, from: Buffer, message: RegExp, length = from.length): Promise<void> =>
  assert.rejects(importMetadata(databases, pieces(from, length), fine), (error: unknown) => error instanceof TransferError && message.test(error.message))

before(async () => {
  postgres = await startPostgres()
  source = await target(true)
  metadata = await open(source)
  await metadata.claimDeployment(deploymentId, 'local')
  await metadata.createBucketState(BUCKET)
  group = await metadata.openPlacementGroup(4, 2, drives(6))
  written.push(
    ...records.map((key) => blobRecord(BUCKET, key, group.id)),
    inlineRecord(BUCKET, 'tab\tand \\ and \u{1F600}', Buffer.from([0, 255, 10, 9]).toString('latin1'), { userMetadata: { a: 'b\\n' } }),
  )
  await Promise.all(written.map((record) => metadata.put(record, {}, [])))
  await metadata.delete(BUCKET, 'k0', {})
  await sql(source.global, `
    INSERT INTO deployment (id) VALUES ('${deploymentId}'); INSERT INTO regions (name) VALUES ('local');
    INSERT INTO encryption_keys (key_id, verifier) VALUES ('key', 'x'); INSERT INTO tenants (name) VALUES ('one'), ('two'); DELETE FROM tenants WHERE name = 'two';
    INSERT INTO apps (client_id, tenant_id, name, secret_key_id, secret) VALUES ('app', 1, 'app', 'key', 'wrapped');
    INSERT INTO grants (client_id, action, resource) VALUES ('app', '*', '*');
    INSERT INTO buckets (name, tenant_id, region) VALUES ('photos', 1, 'local')`)
  bytes = await exported(source)
})
after(async () => {
  for (const each of opened) await each.close()
  await postgres.stop()
})

test('every table of both schemas is either exported or left out on purpose', async () => {
  for (const side of SIDES) {
    const rows = await sql<{ name: string }>(source[side], `SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1`)
    assert.deepEqual(rows.map(({ name }) => name), [...TABLES[side], ...LEFT_OUT[side]].toSorted())
  }
})

for (const migrated of [false, true]) {
  test(`an export fills two ${migrated ? 'migrated' : 'empty'} databases with everything, once`, async () => {
    const databases = await target(migrated)
    const { head, rows } = await importMetadata(databases, pieces(bytes), fine)
    assert.ok(rows > 600)
    assert.equal(head.anvil, '1.2.3')
    await refuses(databases, bytes, /global database .* is not empty \(deployment\)/)

    const moved = await open(databases)
    for (const record of written.slice(1)) assert.deepEqual(await moved.get(BUCKET, record.key), await metadata.get(BUCKET, record.key))
    assert.equal(await moved.get(BUCKET, 'k0'), null)
    assert.deepEqual((await moved.garbage(10)).map(({ blobId }) => blobId), [contentOf(written[0]!)])
    assert.deepEqual(await moved.counts(), await metadata.counts())
    await moved.claimDeployment(deploymentId, 'local')
    const [app] = await sql<{ secret: string }>(databases.global, 'SELECT a.secret FROM apps a JOIN grants USING (client_id) JOIN tenants t ON t.id = a.tenant_id')
    assert.equal(app?.secret, 'wrapped')
  })
}

test('ids that were given once never come again, and generations rise, also over several moves', async () => {
  let from = source
  let generation = group.generation
  for (let move = 0; move < 2; move++) {
    const databases = await target(true)
    await importMetadata(databases, pieces(await exported(from)), fine)
    const moved = await open(databases)
    const same = (await moved.placementGroup(group.id))!
    assert.ok(same.generation > generation, 'drives refuse lower generations than they know')
    generation = same.generation
    const fresh = await moved.openPlacementGroup(4, 2, drives(6))
    assert.ok(fresh.id > group.id + 1_000_000)
    const closed = await moved.closePlacementGroup(fresh.id).then(() => moved.placementGroup(fresh.id))
    assert.ok(await moved.beginMove(fresh.id, 0, drives(1)[0]!, closed!.generation), 'a compare-and-set knows the generation again')
    await sql(databases.global, `INSERT INTO tenants (name) VALUES ('new${move}'); INSERT INTO buckets (name, tenant_id, region) VALUES ('new${move}', 1, 'local')`)
    assert.ok((await tenants(databases)).at(-1)!.id > 1000, 'also not that of a tenant that is gone')
    const changes = await sql<{ n: string }>(databases.global, 'SELECT number::text AS n FROM change_head')
    assert.ok(Number(changes[0]!.n) > 1_000_000)
    assert.deepEqual((await sql<{ kind: string }>(databases.global, 'SELECT kind FROM changes')).length, 1, 'triggers work again')
    from = databases
  }
})

test('ids of groups that were deleted are remembered over a move', async () => {
  const gone = await metadata.openPlacementGroup(4, 2, drives(6))
  await metadata.closePlacementGroup(gone.id)
  assert.deepEqual(await metadata.deleteEmptyGroups([gone.id], await metadata.identity()), [gone.id])
  const databases = await target(true)
  await importMetadata(databases, pieces(await exported(source)), fine)
  const moved = await open(databases)
  const [before, after] = [await metadata.deletedGroup(gone.id), await moved.deletedGroup(gone.id)]
  assert.ok(before !== null && after !== null && after > before, 'drives were told that generation')
  // an export of before knows the group itself, one of a long time before nothing of it
  assert.equal(await moved.deletedGroup((gone.id + 1) as typeof gone.id), null)
})

test('an export of an earlier schema is imported as it is, and migrated then', async () => {
  count++
  const older = { regional: await postgres.database(`regional${count}`), global: await postgres.database(`global${count}`) }
  await migrate(older.regional, MIGRATIONS.regional, undefined, 3)
  await migrate(older.global, MIGRATIONS.global)
  await sql(older.regional, `UPDATE regional_marker SET deployment_id = '${deploymentId}', region = 'local';
    INSERT INTO placement_groups (k, m, opened_ms, members, state) SELECT 1, 0, 0, ARRAY[gen_random_uuid()], 2`)
  await sql(older.global, `INSERT INTO deployment (id) VALUES ('${deploymentId}')`)
  const databases = await target(false)
  await importMetadata(databases, pieces(await exported(older)), fine)
  const moved = await open(databases)
  const [closed] = await moved.placementGroups()
  assert.deepEqual(await moved.deleteEmptyGroups([closed!.id], await moved.identity()), [closed!.id])
})

describe('nothing of an import stays when', () => {
  const cases: [string, () => Buffer, RegExp][] = [
    ['it is empty', () => Buffer.alloc(0), /cut off/],
    ['it is something else', () => Buffer.from('SELECT 1;\n'), /no export/],
    ['it is something else of one endless line', () => Buffer.alloc(1_000_000, 'x'), /no export/],
    ['it is cut in its head', () => bytes.subarray(0, 20), /cut off/],
    ['it is cut in the middle', () => bytes.subarray(0, bytes.length >> 1), /cut off/],
    ['its end is missing', () => bytes.subarray(0, bytes.lastIndexOf('{"end"')), /cut off/],
    ['its last byte is missing', () => bytes.subarray(0, -1), /cut off/],
    ['something follows it', () => Buffer.concat([bytes, Buffer.from('\n')]), /follows its end/],
    ['a value was changed', () => Buffer.from(bytes.toString('latin1').replace('wrapped', 'wrepped'), 'latin1'), /checksum/],
    ['a number became text', () => Buffer.from(bytes.toString('latin1').replace(/\t100000\t/, '\t1x0000\t'), 'latin1'), /damaged/],
    ['it is of another format version', () => Buffer.from(bytes.toString('latin1').replace('"version":1', '"version":2'), 'latin1'), /format version 2, .* reads 1/],
    ['it is of a newer schema', () => Buffer.from(bytes.toString('latin1').replace('"0001_metadata"', '"0001_metadatb"'), 'latin1'), /newer version of anvil \(1\.2\.3\)/],
  ]
  let databases: Databases
  before(async () => (databases = await target(true)))
  for (const [name, make, message] of cases) {
    test(name, async () => {
      await refuses(databases, make(), message)
      assert.deepEqual(await tenants(databases), [])
      assert.deepEqual(await sql(databases.regional, 'SELECT FROM objects LIMIT 1'), [])
    })
  }
  test('the check of the caller refuses it', async () => {
    await assert.rejects(importMetadata(databases, pieces(bytes), { check: () => Promise.reject(new Error('another key')) }), /another key/)
    assert.deepEqual(await tenants(databases), [])
  })
  test('and it can be imported then', async () => {
    await importMetadata(databases, pieces(bytes), fine)
  })
})

test('one of the two databases is not empty', async () => {
  const databases = await target(true)
  const other = await target(true)
  await importMetadata(other, pieces(bytes), fine)
  const second = await exported(source)
  await refuses({ regional: other.regional, global: databases.global }, second, /regional database .* is not empty/)
  await refuses({ regional: databases.regional, global: other.global }, second, /global database .* is not empty/)
})

test('an import that ended between its two commits is completed by the same one', async () => {
  const [databases, other] = [await target(true), await target(true)]
  await importMetadata({ regional: databases.regional, global: other.global }, pieces(bytes), fine)
  await importMetadata(databases, pieces(bytes), fine)
  assert.equal((await tenants(databases)).length, 1)
})

/** Exports of the metadata on real drives: when they are made, what is kept, and what a restore makes of them. */
import assert from 'node:assert/strict'
import { buffer } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import { finishRestore, restoreEmbedded, type Restored } from '../../../src/main/embedded-restore.ts'
import { garbageCollection } from '../../../src/main/maintenance/gc.ts'
import { metadataExports, type ExportSource, type MetadataExports } from '../../../src/main/maintenance/metadata-exports.ts'
import { moveShards } from '../../../src/main/maintenance/moves.ts'
import { orphanCollection } from '../../../src/main/maintenance/orphans.ts'
import { storedBytes } from '../../../src/main/maintenance/repair.ts'
import { RemovalGuard } from '../../../src/main/maintenance/removal-guard.ts'
import type { StoredExport } from '../../../src/main/maintenance/stored-exports.ts'
import type { ObjectMetadata, PlacementGroup } from '../../../src/main/metadata/contract.ts'
import { openObjectMetadata } from '../../../src/main/metadata/index.ts'
import { changeMark } from '../../../src/main/metadata/transfer/change-mark.ts'
import { withExport, type Databases } from '../../../src/main/metadata/transfer/export.ts'
import { SIDES } from '../../../src/main/metadata/transfer/tables.ts'
import { writeSystemBlobs } from '../../../src/main/objects/system-blobs.ts'
import { unspecifiedBody } from '../../../src/main/objects/body-writer.ts'
import { withClient } from '../../../src/main/postgres/connection.ts'
import { migrate, MIGRATIONS } from '../../../src/main/postgres/migrate.ts'
import { randomId, type DeploymentId, type DriveId, SYSTEM_BUCKET } from '../../../src/shared/ids.ts'
import { GIB } from '../../../src/shared/limits.ts'
import type { Native } from '../../../src/shared/native.ts'
import { bytes } from '../../support/bytes.ts'
import { silent as quiet } from '../../support/metadata.ts'
import { startPostgres, type TestPostgres } from '../../support/postgres.ts'
import { collect, feed, startStorage, type StorageRig } from '../../support/storage.ts'
import { until } from '../../support/until.ts'
import { HERE, run, silent } from './stage.ts'

const PERIOD_MS = 3_600_000
const deploymentId = randomId<DeploymentId>()

let rig: StorageRig
/** Where deployments are restored to: another server, as after a loss. */
let other: TestPostgres
let count = 0
const opened: ObjectMetadata[] = []

before(async () => {
  ;[rig, other] = await Promise.all([startStorage(6), startPostgres()])
})
after(async () => {
  for (const metadata of opened) await metadata.close()
  await other.stop()
  await rig.stop()
})

interface Deployment extends ReturnType<StorageRig['thread']> {
  databases: Databases
  metadata: ObjectMetadata
  bucket: Bucket
}

/** Over the rig's drives. */
async function deployment(): Promise<Deployment> {
  const databases = await emptyDatabases(rig.database.postgres)
  for (const side of SIDES) await migrate(databases[side], MIGRATIONS[side])
  const made = await over(databases)
  await made.metadata.claimDeployment(deploymentId, 'local')
  // drives remember the groups of the deployments before
  await withClient(databases.regional, (client) => client.query(`SELECT setval('placement_group_id', ${count * 1000})`))
  for (const driveId of rig.online()) {
    await made.metadata.registerDrive({ driveId, nodeId: HERE, path: rig.folderOf(driveId), totalBytes: GIB })
    await rig.native.setDriveMark(driveId, 'metadata-exports', JSON.stringify({ version: 1, exports: [] }))
  }
  await made.metadata.createBucketState(made.bucket.id)
  return made
}

async function emptyDatabases(server: TestPostgres): Promise<Databases> {
  count++
  return { regional: await server.database(`regional${count}`), global: await server.database(`global${count}`) }
}

async function over(databases: Databases): Promise<Deployment> {
  const metadata = await openObjectMetadata({ connection: databases.regional, logger: quiet, tidyEveryMs: 0 })
  opened.push(metadata)
  return { databases, metadata, ...rig.thread(metadata), bucket: { ...(await rig.bucket()), id: 1 as Bucket['id'] } }
}

async function put({ store, bucket }: Deployment, key: string, size = 60_000): Promise<void> {
  const sink = await store.putObject({
    bucket, key, headers: {}, userMetadata: {}, storageClass: 'STANDARD', body: unspecifiedBody(size, null), encryption: { kind: 'bucket-default' }, condition: {},
  })
  await feed(sink, bytes(size, key.length))
}

async function check({ store, bucket }: Deployment, key: string, size = 60_000): Promise<void> {
  const got = await store.getObject({ bucket, key, conditions: {}, range: { kind: 'whole' }, readKey: null })
  assert.deepEqual(await collect(got), bytes(size, key.length), key)
}

const keysOf = async ({ metadata, bucket }: Deployment): Promise<string[]> =>
  (await metadata.list({ bucketId: bucket.id, prefix: '', delimiter: '', after: '', limit: 100 })).entries.map((entry) => (entry.kind === 'object' ? entry.key : entry.prefix))

function exportsOf({ databases, metadata, groups }: Deployment, more: Partial<ExportSource> = {}, now?: () => number, native = rig.native): MetadataExports {
  return metadataExports({
    native, metadata, logger: silent, drives: rig.online, periodMs: PERIOD_MS, ...(now === undefined ? {} : { now }),
    source: {
      changeMark: () => changeMark(databases),
      withExport: (work) => withExport(databases, '1.2.3', work),
      write: (stream) => writeSystemBlobs({ native: rig.native, groups, metadata, maxBlobBytes: GIB }, stream),
      ...more,
    },
  })
}

/** The server counts what a transaction has changed some time after its end. */
const untilSeen = (one: Deployment, before: string): Promise<unknown> => until('the change is seen', async () => {
  await put(one, 'again', 100)
  return (await changeMark(one.databases)) !== before
}, { everyMs: 300 })

async function restore(warnings: string[] = []): Promise<(Restored & { restored: Deployment }) | null> {
  const databases = await emptyDatabases(other)
  const done = await restoreEmbedded({ native: rig.native, drives: rig.online(), deploymentId, databases, check: () => Promise.resolve(), warn: (line) => warnings.push(line) })
  return done === null ? null : { ...done, restored: await over(databases) }
}

test('an export is stored a minute after the start, then once a period if something has changed; the newest two are kept', async () => {
  const one = await deployment()
  const startedMs = Date.now()
  let nowMs = startedMs
  let broken: Error | null = null
  const exports = exportsOf(one, {
    write: async (stream) => {
      if (broken !== null) throw broken
      return writeSystemBlobs({ native: rig.native, groups: one.groups, metadata: one.metadata, maxBlobBytes: GIB }, stream)
    },
  }, () => nowMs)
  const { systemId } = await one.metadata.identity()
  const counters: Record<string, number> = {}
  const round = (atMs: number): Promise<boolean> => {
    nowMs = startedMs + atMs
    return exports.task.round({ now: '', counters }, new AbortController().signal)
  }
  await put(one, 'first')
  await round(0)
  await round(59_999)
  assert.deepEqual([counters, exports.horizon(systemId)], [{}, null], 'nothing yet, and so nothing may be removed')
  await round(60_000)
  assert.equal(counters['stored'], 1)
  assert.notEqual(exports.horizon(systemId), null)
  assert.equal(exports.horizon('another database'), null)

  await round(60_000 + PERIOD_MS - 1)
  assert.deepEqual([counters['stored'], counters['unchanged']], [1, undefined], 'it was not time')
  // what the first writes changed may be counted after the first export: then there is another one before that
  let atMs = 60_000 + PERIOD_MS
  await until('a period without a change', async () => {
    await round(atMs)
    atMs += PERIOD_MS
    return counters['unchanged'] === 1
  })
  const { stored = 0 } = counters
  for (let i = 1; i <= 3; i++) {
    await untilSeen(one, await changeMark(one.databases))
    await round(atMs - 1)
    assert.equal(counters['stored'], stored + i - 1, 'not before its time')
    await round(atMs)
    assert.equal(counters['stored'], stored + i)
    atMs += PERIOD_MS
  }
  await round(atMs)
  atMs += PERIOD_MS
  assert.equal(counters['stored'], stored + 4, 'the older one knows of the last change then')
  assert.equal(exports.status().stored.length, 2)
  assert.equal((await one.metadata.keptBlobs(SYSTEM_BUCKET)).length, 2)
  const known = exports.status().stored.map(({ id }) => id)
  for (const driveId of rig.online()) {
    const mark = JSON.parse(rig.native.driveMark(driveId, 'metadata-exports')!) as { exports: StoredExport[] }
    assert.deepEqual(mark.exports.map(({ id }) => id), known)
  }

  // one that fails is tried again after a minute, and the ones before stay
  await untilSeen(one, await changeMark(one.databases))
  broken = new Error('the drives are full')
  await assert.rejects(round(atMs), broken)
  await round(atMs + 59_999)
  assert.deepEqual(exports.status().stored.map(({ id }) => id), known)
  broken = null
  await round(atMs + 60_000)
  assert.equal(exports.status().stored[1]!.id, known[0])
})

async function* cut(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  const whole = await buffer(stream)
  yield whole.subarray(0, whole.length / 2)
}

async function* flipped(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  const whole = await buffer(stream)
  whole[whole.length >> 1]! ^= 0x40
  yield whole
}

test('a restore takes the older export where the newest is damaged or incomplete, and says so', async () => {
  for (const damage of ['cut', 'flipped', 'incomplete'] as const) {
    const one = await deployment()
    const write = (stream: AsyncIterable<Buffer>) => writeSystemBlobs({ native: rig.native, groups: one.groups, metadata: one.metadata, maxBlobBytes: GIB }, stream)
    await put(one, 'old')
    await exportsOf(one).storeNow()
    await put(one, 'newer')
    const bad = damage === 'incomplete' ? {} : { write: (stream: AsyncIterable<Buffer>) => write(damage === 'cut' ? cut(stream) : flipped(stream)) }
    const newest = await exportsOf(one, bad).storeNow()
    if (damage === 'incomplete') {
      for (const { blobId, group } of newest.blobs) {
        for (let index = 0; index <= group.m; index++) {
          await rig.native.deleteShards(group.members[index]!, [{ bucketId: SYSTEM_BUCKET, blobId, pgId: group.pgId, index }], [group.generation])
        }
      }
    }
    const warnings: string[] = []
    const { restored, isOlder } = (await restore(warnings))!
    assert.equal(isOlder, true, damage)
    assert.match(warnings.join('\n'), new RegExp(`the export as of ${new Date(newest.exportedMs).toISOString()} cannot be used: `))
    assert.deepEqual(await keysOf(restored), ['old'])
    await check(restored, 'old')
  }
})

test('without any export that is whole nothing is restored; a drive that remembers nonsense hinders neither that nor an export', async () => {
  const one = await deployment()
  await put(one, 'kept')
  const [nonsense, later] = rig.online() as [DriveId, DriveId]
  const laterMark = JSON.stringify({ version: 2 })
  await rig.native.setDriveMark(nonsense, 'metadata-exports', 'nonsense')
  await rig.native.setDriveMark(later, 'metadata-exports', laterMark)
  const { exportedMs, id } = await exportsOf(one).storeNow()
  const markOf = (driveId: DriveId): string => rig.native.driveMark(driveId, 'metadata-exports')!
  assert.deepEqual((JSON.parse(markOf(nonsense)) as { exports: StoredExport[] }).exports.map((each) => each.id), [id], 'it is written over')
  assert.equal(markOf(later), laterMark, 'a later version will read it')
  await rig.native.setDriveMark(rig.online()[0]!, 'metadata-exports', 'nonsense')
  const warnings: string[] = []
  const { restored, isOlder, head } = (await restore(warnings))!
  assert.deepEqual([isOlder, head.exportedMs], [false, exportedMs])
  assert.match(warnings.join('\n'), new RegExp(`what drive ${rig.online()[0]} remembers of exports cannot be read`))
  await check(restored, 'kept')

  const two = await deployment()
  assert.equal(await restore(), null)
  await put(two, 'lost')
  await exportsOf(two, { write: (stream) => writeSystemBlobs({ native: rig.native, groups: two.groups, metadata: two.metadata, maxBlobBytes: GIB }, cut(stream)) }).storeNow()
  assert.equal(await restore(), null)
})

/** Closed groups, whose members may be replaced. */
async function closeAll({ metadata, groups }: Deployment): Promise<PlacementGroup[]> {
  for (const { id } of await metadata.placementGroups()) {
    await metadata.closePlacementGroup(id)
    await groups.reload(id)
  }
  groups.resetSlots()
  return metadata.placementGroups()
}

const removalOf = ({ metadata, groups }: Deployment, exports: MetadataExports) => {
  const guard = new RemovalGuard({ native: rig.native, metadata, drives: rig.online })
  const common = { native: rig.native, metadata, groups, guard, horizon: exports.horizon }
  return {
    guard,
    orphans: orphanCollection({ ...common, drives: rig.online, reachable: rig.online, minAgeMs: -1000, processId: 'collector' }),
    garbage: garbageCollection({ ...common, logger: silent, drives: rig.online }),
  }
}

const shardsOn = async (driveId: DriveId) => (await rig.native.listShards(driveId, null, 10_000, Date.now() + 60_000)).shards

test('an export that no drive could note does not count: removal goes by the one before', async () => {
  const one = await deployment()
  const { systemId } = await one.metadata.identity()
  let refusal: Error | null = null
  const native = Object.assign(Object.create(rig.native) as Native, {
    setDriveMark: (...mark: Parameters<Native['setDriveMark']>) => (refusal === null ? rig.native.setDriveMark(...mark) : Promise.reject(refusal)),
  })
  const exports = exportsOf(one, {}, undefined, native)
  await exports.storeNow()
  const before = exports.horizon(systemId)
  await put(one, 'newer')
  refusal = new Error('the mark is too long')
  await assert.rejects(exports.storeNow(), refusal)
  assert.deepEqual(exports.horizon(systemId), before)
  refusal = null
  await exports.storeNow()
  await exports.task.round({ now: '', counters: {} }, new AbortController().signal)
  assert.equal((await one.metadata.keptBlobs(SYSTEM_BUCKET)).length, 2, 'and it does not stay')
})

test('what was re-encoded between the two exports is found by either of them', async () => {
  for (const next of ['the newest is damaged', 'a third one is stored'] as const) {
    const one = await deployment()
    const exports = exportsOf(one)
    await put(one, 'widened')
    await exports.storeNow()
    const { body } = (await one.metadata.get(one.bucket.id, 'widened'))!
    assert.ok(body.kind === 'blob')
    const row = (await one.metadata.blob(one.bucket.id, body.blob.blobId))!
    await closeAll(one)
    const { group, release } = await one.groups.take(row.blobId)
    assert.deepEqual(await rig.native.reencodeBlob(storedBytes(row), group.id), [])
    assert.ok(await one.metadata.moveBlob(row.bucketId, row.blobId, row.pgId, group.id, []))
    release()
    const { guard, orphans } = removalOf(one, exports)
    await guard.confirm()
    await run(orphans)
    const former = async () => (await Promise.all(rig.online().map(shardsOn))).flat().filter(({ blobId, pgId }) => blobId === row.blobId && pgId === row.pgId)
    const before = await former()
    assert.ok(before.length > 0)

    const write = (stream: AsyncIterable<Buffer>) => writeSystemBlobs({ native: rig.native, groups: one.groups, metadata: one.metadata, maxBlobBytes: GIB }, stream)
    await exportsOf(one, { write: (stream) => write(cut(stream)) }).storeNow()
    await exports.task.round({ now: '', counters: {} }, new AbortController().signal)
    assert.equal(exports.status().stored.length, 2)
    await run(orphans)
    assert.deepEqual(await former(), before)
    if (next === 'the newest is damaged') {
      const { restored, isOlder } = (await restore())!
      assert.equal(isOlder, true)
      await check(restored, 'widened')
    } else {
      await exports.storeNow()
      await run(orphans)
      assert.deepEqual(await former(), [], 'both know where it is now')
    }
  }
})

test('shards that were moved after the export are found where they are; what lies in groups that the export does not know stays', async () => {
  const one = await deployment()
  const keys = ['a', 'bb', 'ccc']
  for (const key of keys) await put(one, key)
  await withClient(one.databases.global, (client) => client.query('INSERT INTO deployment (id) VALUES ($1)', [deploymentId]))
  // moves come after the closing of a group, and both after this export
  await exportsOf(one).storeNow()
  await closeAll(one)
  const fresh = [await rig.addDrive(), await rig.addDrive(), await rig.addDrive()]
  const cluster = {
    processId: 'mover', self: HERE, local: rig.online, reachable: rig.online, nodes: () => [HERE], isGone: () => false, freeBytes: () => GIB,
    placeable: () => rig.online().map((driveId) => ({ driveId, nodeId: HERE, zone: '', totalBytes: GIB })),
  }
  const moving = { native: rig.native, metadata: one.metadata, groups: one.groups, cluster, logger: silent, delayMs: 0, moved: () => {} }
  const progress = { now: '', counters: {} }
  const blobs = await Promise.all(keys.map(async (key) => (await one.metadata.get(one.bucket.id, key))!.body))
  const used = new Set(blobs.flatMap((body) => (body.kind === 'blob' ? [body.blob.pgId] : [])))
  // more than the code could lose, and one of them to a drive that was a member elsewhere
  const MOVED = fresh.length + 1
  for (const id of used) {
    const [former] = (await one.metadata.placementGroup(id))!.members
    for (const [index, to] of [...fresh, former!].entries()) {
      const group = (await one.metadata.placementGroup(id))!
      assert.ok(await moveShards(moving, { group, index, from: group.members[index]!, to }, await one.metadata.identity(), progress, new AbortController().signal))
    }
  }
  // of the lost database: the former members are cleaned, and newer objects go into groups of their own
  const exports = exportsOf(one)
  const before = removalOf(one, { ...exports, horizon: () => null })
  await before.guard.confirm()
  const { 'shards of former members removed': removed } = await run(before.orphans)
  assert.ok(removed! >= keys.length * MOVED, String(removed))
  const known = new Set((await one.metadata.placementGroups()).map(({ id }) => id as number))
  await put(one, 'unknown')
  const unknownGroups = new Set((await one.metadata.placementGroups()).map(({ id }) => id as number).filter((id) => !known.has(id)))

  // cut off in the middle of its search for what has moved, it can be brought to its end
  const databases = await emptyDatabases(other)
  const cut = new Error('cut off')
  const native = Object.create(rig.native, { listShards: { value: () => Promise.reject(cut) } }) as StorageRig['native']
  const again = { drives: rig.online(), deploymentId, databases, check: () => Promise.resolve(), warn: () => {} }
  assert.equal(await finishRestore({ ...again, native: rig.native }), null)
  await assert.rejects(restoreEmbedded({ ...again, native }), cut)
  await assert.rejects(finishRestore({ ...again, native }), cut)
  assert.ok((await finishRestore({ ...again, native: rig.native }))! >= used.size * MOVED)
  assert.equal(await finishRestore({ ...again, native: rig.native }), null)
  const finished = await over(databases)
  for (const key of keys) await check(finished, key)

  const { restored, adopted } = (await restore())!
  assert.ok(adopted >= used.size * MOVED, String(adopted))
  for (const id of used) {
    const [now, lost] = [(await restored.metadata.placementGroup(id))!, (await one.metadata.placementGroup(id))!]
    assert.deepEqual([now.members, now.incoming], [lost.members, null])
    assert.ok(now.generation > lost.generation)
  }
  assert.deepEqual(await keysOf(restored), keys)
  for (const key of keys) await check(restored, key)

  // an operator confirms, and the restored database has an export of its own: removal goes as far as it ever does
  const ownExports = exportsOf(restored)
  const { guard, orphans, garbage } = removalOf(restored, ownExports)
  assert.deepEqual(await run(orphans), {}, 'paused')
  await guard.confirm()
  const unknown = async () => (await Promise.all(rig.online().map(shardsOn))).flat().filter(({ pgId }) => unknownGroups.has(pgId))
  const lying = await unknown()
  assert.ok(lying.length >= 6, 'the object after the export')
  await run(orphans)
  for (let i = 0; i < 2; i++) await ownExports.storeNow() // none of the lost database is kept any more
  const counters = await run(orphans)
  await run(orphans)
  await run(garbage)
  assert.ok(counters['shards of unknown groups']! >= 6, JSON.stringify(counters))
  assert.deepEqual(await unknown(), lying)
  for (const key of keys) await check(restored, key)
})

/** Garbage collection, orphan collection, repair, re-encoding and the closing of groups over real drives and a real Postgres. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import type { Progress } from '../../../src/main/maintenance/background.ts'
import type { ClusterView } from '../../../src/main/maintenance/cluster-view.ts'
import { compaction, scrubbing } from '../../../src/main/maintenance/drive-upkeep.ts'
import { garbageCollection } from '../../../src/main/maintenance/gc.ts'
import { groupUpkeep } from '../../../src/main/maintenance/groups-upkeep.ts'
import { orphanCollection } from '../../../src/main/maintenance/orphans.ts'
import { reencoding } from '../../../src/main/maintenance/reencoding.ts'
import { RemovalGuard } from '../../../src/main/maintenance/removal-guard.ts'
import { DamageReports, shardRepair } from '../../../src/main/maintenance/repair.ts'
import { unspecifiedBody } from '../../../src/main/objects/body-writer.ts'
import { newBlobId, randomId, type BlobId, type DriveId, type PgId } from '../../../src/shared/ids.ts'
import { GIB, MIB } from '../../../src/shared/limits.ts'
import { bytes } from '../../support/bytes.ts'
import { startStorage, type StorageRig } from '../../support/storage.ts'
import { until } from '../../support/until.ts'
import { HERE, run, silent as logger } from './stage.ts'

let rig: StorageRig
let bucket: Bucket
let first: DriveId
let second: DriveId

before(async () => {
  rig = await startStorage(2)
  bucket = await rig.bucket();
  [first, second] = rig.online() as [DriveId, DriveId]
})
after(() => rig.stop())

class PausedGuard extends RemovalGuard {
  override database(): Promise<null> {
    return Promise.resolve(null)
  }
}

const cluster = (): ClusterView => ({
  processId: 'this process', self: HERE, local: rig.online, reachable: rig.online, nodes: () => [HERE], isGone: () => false, freeBytes: () => GIB,
  placeable: () => rig.online().map((driveId) => ({ driveId, nodeId: HERE, zone: '', totalBytes: GIB })),
})
const common = () => {
  const { native, metadata, groups } = rig
  const drives = () => rig.online()
  return {
    native, metadata, groups, logger, drives, reachable: drives, mine: () => true, processId: 'this process', guard: new RemovalGuard({ native, metadata, drives }),
  }
}
const collectGarbage = (batch?: number) => run(garbageCollection({ ...common(), ...(batch !== undefined && { batch }) }))
const collectOrphans = () => run(orphanCollection({ ...common(), minAgeMs: -1000 }))
const repair = () => run(shardRepair(common()))
const reencode = (batch?: number) => run(reencoding({ ...common(), cluster: cluster(), delayMs: 0, ...(batch !== undefined && { batch }) }))
const upkept = () => ({ cluster: cluster(), delayMs: 0, emptyForMs: 3_600_000, database: () => common().guard.database() })
const upkeep = async () => {
  await rig.metadata.tidy() // bytes are noted: what has held something stays for a while
  return run(groupUpkeep({ ...common(), ...upkept(), inUse: () => Promise.resolve(new Set(rig.groups.inUse)), groupSealed: () => {}, changed: () => {} }))
}

const shardsOn = async (driveId: DriveId) => (await rig.native.listShards(driveId, null, 10_000, Date.now() + 1000)).shards
const shardCount = async () => (await Promise.all(rig.online().map(shardsOn))).flat().length

async function pgOf(key: string): Promise<{ blobId: BlobId; pgId: PgId }> {
  const record = await rig.metadata.get(bucket.id, key)
  assert.ok(record?.body.kind === 'blob')
  const row = await rig.metadata.blob(bucket.id, record.body.blob.blobId)
  assert.ok(row !== null)
  return row
}

test('what is overwritten or deleted leaves the drives; an aborted upload leaves nothing', async () => {
  await rig.put(bucket, 'key', bytes(20_000, 1))
  await rig.put(bucket, 'key', bytes(20_000, 2))
  await rig.put(bucket, 'big', bytes(3 * MIB, 3))
  assert.equal(await shardCount(), 6)
  await run(garbageCollection({ ...common(), guard: new PausedGuard({ native: rig.native, metadata: rig.metadata, drives: () => rig.online() }) }))
  assert.equal(await shardCount(), 6, 'removal is paused')
  await collectGarbage()
  assert.equal(await shardCount(), 4)
  await rig.store.deleteObject(bucket.id, 'big', {})
  await collectGarbage()
  assert.equal(await shardCount(), 2)

  const sink = await rig.store.putObject({
    bucket, key: 'gone', headers: {}, userMetadata: {}, storageClass: 'STANDARD', body: unspecifiedBody(3 * MIB, null),
    encryption: { kind: 's3' }, condition: {},
  })
  sink.write(bytes(2 * MIB))
  sink.abort()
  await assert.rejects(sink.finish())
  assert.deepEqual(rig.groups.inUse, [])
  await collectOrphans()
  assert.equal(await shardCount(), 2)
  assert.deepEqual(await rig.get(bucket, 'key'), bytes(20_000, 2))
})

test('an upload that takes longer than the age of orphans keeps its shards', async () => {
  const data = bytes(12 * MIB, 3)
  const sink = await rig.store.putObject({
    bucket, key: 'slow', headers: {}, userMetadata: {}, storageClass: 'STANDARD', body: unspecifiedBody(data.length, null), encryption: { kind: 'bucket-default' }, condition: {},
  })
  for (let at = 0; at < 10 * MIB; at += MIB) if (!sink.write(data.subarray(at, at + MIB))) await sink.drained()
  await until('some of it lies on the drives', async () => (await shardsOn(first)).some(({ sealed, bytes: written }) => !sealed && written > 0))
  await collectOrphans()
  assert.deepEqual(await rig.metadata.condemned(10), [])
  for (let at = 10 * MIB; at < data.length; at += MIB) if (!sink.write(data.subarray(at, at + MIB))) await sink.drained()
  await sink.finish()
  assert.deepEqual(await rig.get(bucket, 'slow'), data)
  await rig.store.deleteObject(bucket.id, 'slow', {})
  await collectGarbage()
})

test('shards of a write whose row never came are condemned and removed; the rows of that go when the group is closed', async () => {
  const blobId = newBlobId()
  const { group, release } = await rig.groups.take(blobId)
  const handle = rig.native.openUpload({
    bucketId: bucket.id, blobId, pgId: group.id, contentLength: -1, maxBytes: MIB, awsChunked: null, inlineBytes: 0, md5: false, fastDigest: true,
    sha256: false, checksums: [], expectMd5: '', expectSha256: '', expectChecksum: '', expectChecksumAlgorithm: '', checksumTrailer: '',
    dataKey: Buffer.alloc(0),
  })
  rig.native.uploadWrite(handle, bytes(30_000))
  await rig.native.uploadFinish(handle)
  assert.equal(await shardCount(), 4)
  await collectOrphans()
  assert.equal(await shardCount(), 2)
  assert.deepEqual(await rig.metadata.condemned(10), [{ bucketId: bucket.id, blobId, pgId: group.id }])

  // the upload holds its group: it is not closed, and the pair stays condemned
  await rig.metadata.sealPlacementGroup(group.id)
  await upkeep()
  assert.equal((await rig.metadata.placementGroup(group.id))?.state, 'sealed')
  release()
  const elsewhere = { ...rig.metadata, closableGroups: () => Promise.resolve([]) }
  await run(groupUpkeep({ ...common(), ...upkept(), metadata: elsewhere, inUse: () => Promise.resolve(new Set<PgId>()), groupSealed: () => {}, changed: () => {} }))
  assert.equal((await rig.metadata.placementGroup(group.id))?.state, 'sealed', 'another node has an upload in it')
  await upkeep()
  assert.equal((await rig.metadata.placementGroup(group.id))?.state, 'closed')
  await collectOrphans()
  assert.deepEqual(await rig.metadata.condemned(10), [])
  assert.deepEqual(await rig.get(bucket, 'key'), bytes(20_000, 2))
})

/** Changes bytes in the middle of a shard's data, wherever on the drive it lies. */
function rot(driveId: DriveId, data: Buffer): void {
  const needle = data.subarray(1000, 1064)
  let found = 0
  for (const name of readdirSync(rig.folderOf(driveId), { recursive: true }) as string[]) {
    const file = join(rig.folderOf(driveId), name)
    if (!statSync(file).isFile()) continue
    const content = readFileSync(file)
    for (let at = content.indexOf(needle); at >= 0; at = content.indexOf(needle, at + 1)) {
      content.fill(0xaa, at, at + 32)
      writeFileSync(file, content)
      found++
    }
  }
  assert.equal(found, 1)
}

test('a rotten shard is never served, is found by scrubbing, and is rebuilt', async () => {
  const data = bytes(300_000, 9)
  await rig.put(bucket, 'rotten', data)
  // with 1+1 each member has a copy
  rot(first, data)
  const damage = new DamageReports(rig.metadata, logger)
  rig.native.setDamageListener((one) => damage.add(one))
  assert.deepEqual(await rig.get(bucket, 'rotten'), data)
  const scrub = scrubbing({ native: rig.native, drives: () => rig.online(), periodMs: 1 })
  scrub.hurry()
  assert.equal((await run(scrub))['damaged'], 1)
  await damage.flush()
  assert.equal(await rig.metadata.repairCount(), 1)
  assert.equal((await repair())['shards rebuilt'], 1)
  assert.equal(await rig.metadata.repairCount(), 0)
  scrub.hurry()
  assert.equal((await run(scrub))['damaged'], 0)
  // and the rebuilt one serves alone
  await rig.native.closeDrive(second)
  assert.deepEqual(await rig.get(bucket, 'rotten'), data)
  await rig.openDrive(second)
  await damage.stop()
})

test('a shard that is left out waits in the repair queue for its drive', async () => {
  const third = await rig.addDrive() // 1+2: one may be away
  const data = bytes(5 * MIB, 10)
  const sink = await rig.store.putObject({
    bucket, key: 'left out', headers: {}, userMetadata: {}, storageClass: 'STANDARD', body: unspecifiedBody(data.length, null),
    encryption: { kind: 'bucket-default' }, condition: {},
  })
  if (!sink.write(data.subarray(0, 2 * MIB))) await sink.drained()
  await rig.native.closeDrive(third) // while it is written to
  if (!sink.write(data.subarray(2 * MIB))) await sink.drained()
  await sink.finish()
  assert.equal(await rig.metadata.repairCount(), 1)
  assert.deepEqual(await rig.get(bucket, 'left out'), data)
  await rig.closeDrive(third)
  assert.deepEqual(await repair(), {}, 'its drive is away')
  assert.equal(await rig.metadata.repairCount(), 1)
  await rig.openDrive(third)
  assert.equal((await repair())['shards rebuilt'], 1)
  assert.equal(await rig.metadata.repairCount(), 0)
})

test('re-encoding goes past what it cannot move, and finds another group where a pair is condemned', async () => {
  // three drives since the last test: what lies in 1+1 is to be widened
  for (let i = 0; i < 6; i++) await rig.put(bucket, `wide${i}`, bytes(20_000 + i, i))
  await rig.closeDrive(rig.online()[2]!)
  const away = (await rig.metadata.drives()).map((drive) => drive.driveId).find((driveId) => !rig.online().includes(driveId))!
  for (let i = 0; i < 6; i++) await rig.put(bucket, `narrow${i}`, bytes(30_000 + i, i))
  // dead, but its row waits for the collector: the first of its group
  const dead = await pgOf('narrow0')
  await rig.store.deleteObject(bucket.id, 'narrow0', {})
  await rig.openDrive(away)
  await upkeep()
  assert.equal(rig.groups.code?.m, 2)

  const stubborn = await pgOf('narrow5')
  const { group, release } = await rig.groups.take(stubborn.blobId)
  release()
  await rig.metadata.condemn([{ bucketId: bucket.id, blobId: stubborn.blobId, pgId: group.id }])
  const counters = await reencode(1)
  assert.ok((counters['blobs'] ?? 0) >= 4, JSON.stringify(counters))
  assert.equal((await pgOf('narrow5')).pgId, stubborn.pgId)
  await upkeep()
  await reencode(1)
  const code = async ({ pgId }: { pgId: PgId }) => (await rig.metadata.placementGroup(pgId))?.m
  for (let i = 1; i < 6; i++) assert.equal(await code(await pgOf(`narrow${i}`)), 2, `narrow${i}`)
  assert.equal((await rig.metadata.blob(bucket.id, dead.blobId))?.pgId, dead.pgId)

  await collectGarbage()
  await collectOrphans()
  for (let i = 1; i < 6; i++) assert.deepEqual(await rig.get(bucket, `narrow${i}`), bytes(30_000 + i, i))
  const rows = await rig.database.sql<[string]>('SELECT sum(k + m)::int8 FROM blobs JOIN placement_groups ON pg_id = id')
  assert.equal(await shardCount(), Number(rows[0]![0]), 'every shard has a row, and every row its shards')
})

test('garbage on a drive that is away waits, and does not stand before other garbage', async () => {
  await rig.put(bucket, 'waits', bytes(20_000, 1))
  const { pgId } = await pgOf('waits')
  const away = (await rig.metadata.placementGroup(pgId))!.members[0]!
  await rig.store.deleteObject(bucket.id, 'waits', {})
  await rig.closeDrive(away)
  for (let i = 0; i < 3; i++) await rig.put(bucket, `goes${i}`, bytes(20_000, i))
  for (let i = 0; i < 3; i++) await rig.store.deleteObject(bucket.id, `goes${i}`, {})
  await collectGarbage(1)
  assert.equal((await rig.metadata.counts()).garbage, 1)
  await rig.openDrive(away)
  await collectGarbage(1)
  assert.equal((await rig.metadata.counts()).garbage, 0)
})

test('a drive that is gone for good: its blobs are re-encoded elsewhere, and nothing waits for it', async () => {
  const lost = rig.online()[0]!
  const readable = ['key', 'rotten', 'left out', 'wide0', 'narrow1']
  const before = await Promise.all(readable.map((key) => rig.get(bucket, key)))
  await rig.closeDrive(lost)
  await rig.metadata.setDriveState(lost, 'lost')
  await rig.addDrive()
  await upkeep()
  await reencode()
  await collectOrphans()
  await collectOrphans()
  assert.deepEqual(await Promise.all(readable.map((key) => rig.get(bucket, key))), before)
  for (const key of readable) {
    const group = await rig.metadata.placementGroup((await pgOf(key)).pgId)
    assert.ok(!group!.members.includes(lost), key)
  }
  assert.deepEqual(await rig.metadata.condemned(10), [], 'condemned rows do not wait for the lost drive')
})

test('what lost its last reference is not repaired: its shards may be gone already', async () => {
  await rig.put(bucket, 'short-lived', bytes(20_000, 1))
  const { blobId, pgId } = await pgOf('short-lived')
  await rig.put(bucket, 'short-lived', bytes(20_000, 2))
  await rig.metadata.reportDamage([{ bucketId: bucket.id, blobId, pgId, index: 0, reason: 'left-out' }])
  const { members, generation } = (await rig.metadata.placementGroup(pgId))!
  for (const [index, driveId] of members.entries()) await rig.native.deleteShards(driveId, [{ bucketId: bucket.id, blobId, pgId, index }], [generation])
  assert.deepEqual(await repair(), {})
  assert.equal(await rig.metadata.repairCount(), 0)
})

test('a shard whose drive is away does not stand before others, and what is another node\'s share is left to it', async () => {
  await rig.put(bucket, 'first', bytes(20_000, 5))
  await rig.put(bucket, 'second', bytes(20_000, 6))
  const [one, two] = [await pgOf('first'), await pgOf('second')]
  const membersOf = async (pgId: PgId) => (await rig.metadata.placementGroup(pgId))!.members
  const away = (await membersOf(one.pgId))[0]!
  const index = (await membersOf(two.pgId)).findIndex((driveId) => driveId !== away)
  await rig.metadata.reportDamage([{ bucketId: bucket.id, ...one, index: 0, reason: 'crc' }])
  await rig.metadata.reportDamage([{ bucketId: bucket.id, ...two, index, reason: 'crc' }])
  await rig.closeDrive(away)
  assert.deepEqual(await run(shardRepair({ ...common(), batch: 1, mine: () => false })), {})
  assert.equal(await rig.metadata.repairCount(), 2)
  assert.deepEqual(await run(shardRepair({ ...common(), batch: 1 })), { 'shards rebuilt': 1 })
  assert.equal(await rig.metadata.repairCount(), 1)
  await rig.openDrive(away)
  await repair()
  assert.equal(await rig.metadata.repairCount(), 0)
})

test('what is reported of a group that the blob has left is forgotten, and nothing is written there', async () => {
  await rig.put(bucket, 'elsewhere', bytes(20_000, 4))
  const { blobId, pgId } = await pgOf('elsewhere')
  const other = (await rig.metadata.placementGroups()).find(({ id, members }) => id !== pgId && members.every((driveId) => rig.online().includes(driveId)))!
  const before = await shardCount()
  await rig.metadata.reportDamage([{ bucketId: bucket.id, blobId, pgId: other.id, index: 0, reason: 'crc' }])
  assert.deepEqual(await repair(), {})
  assert.equal(await rig.metadata.repairCount(), 0)
  assert.equal(await shardCount(), before)
})

test('a shard that is missing where its blob was before is no damage; one that is missing where it should be is', async () => {
  await rig.put(bucket, 'moved', bytes(20_000, 3))
  const { blobId, pgId } = await pgOf('moved')
  const damage = new DamageReports(rig.metadata, logger)
  const missing = { bucketId: bucket.id, blobId, index: 1, driveId: first, reason: 'missing' } as const
  const unknown = newBlobId()
  for (const one of [{ ...missing, pgId: pgId + 1_000_000 }, { ...missing, pgId, blobId: unknown }, { ...missing, pgId }]) damage.add(one)
  await damage.flush()
  assert.deepEqual(damage.counters, { crc: 0, missing: 1, io: 0 })
  assert.deepEqual((await rig.metadata.repairs(10, 0)).map((entry) => [entry.blobId, entry.pgId, entry.index]), [[blobId, pgId, 1]])
  await repair()
})

test('a drive on which work fails keeps no other one from it, and one that went away keeps nothing busy', async () => {
  const { native } = rig
  // not open: whatever it is asked fails
  const absent = randomId<DriveId>()
  const drives = (): DriveId[] => [absent, ...rig.online()]
  await rig.put(bucket, 'beside', bytes(50_000, 9))
  const progress: Progress = { now: '', counters: {} }
  const scrub = scrubbing({ native, drives: rig.online, periodMs: 1 })
  await run(scrub)
  const both = scrubbing({ native, drives, periodMs: 1 })
  await assert.rejects(both.round(progress, new AbortController().signal), new RegExp(absent))
  assert.ok(progress.counters['shards']! >= 2, 'the drives behind it were read')
  await assert.rejects(compaction({ native, drives }).round(progress, new AbortController().signal), new RegExp(absent))
  assert.equal(progress.counters['bytes moved'], 0, 'the drives behind it were looked at')
  await assert.rejects(orphanCollection({ ...common(), drives, minAgeMs: -1000 }).round(progress, new AbortController().signal), new RegExp(absent))
  assert.ok(progress.counters['records looked at']! >= 2)

  let there = drives
  const hurried = scrubbing({ native, drives: () => there(), periodMs: 3_600_000 })
  hurried.hurry()
  there = rig.online
  for (let rounds = 0; await hurried.round(progress, new AbortController().signal); rounds++) assert.ok(rounds < 100, 'it waits for a drive that is not there')
})

test('garbage in a group that is not known stays, and does not stand before the rest', async () => {
  const placed = async (key: string) => {
    await rig.put(bucket, key, bytes(50_000, key.length))
    const { body } = (await rig.metadata.get(bucket.id, key))!
    assert.ok(body.kind === 'blob')
    return body.blob
  }
  const [mine, unknown] = [await placed('mine'), await placed('unknown')]
  const held = async ({ blobId, pgId }: typeof mine): Promise<'all' | 'none' | 'some'> => {
    const { members } = (await rig.metadata.placementGroup(pgId))!
    const all = await Promise.all(members.map((driveId, index) => rig.native.hasShards(driveId, [{ bucketId: bucket.id, blobId, pgId, index }])))
    return all.flat().every(Boolean) ? 'all' : all.flat().some(Boolean) ? 'some' : 'none'
  }
  for (const key of ['mine', 'unknown']) await rig.store.deleteObject(bucket.id, key, {})
  await rig.database.sql('UPDATE blobs SET pg_id = 999999999 WHERE blob_id = $1', [unknown.blobId])
  await collectGarbage()
  assert.deepEqual([await held(mine), await held(unknown)], ['none', 'all'])
  await rig.database.sql('UPDATE blobs SET pg_id = $2 WHERE blob_id = $1', [unknown.blobId, unknown.pgId])
  await collectGarbage()
  assert.equal(await held(unknown), 'none')
})

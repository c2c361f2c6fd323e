/** Closed groups that hold nothing, over real drives: what still names them, or still lies on a drive, when they are deleted. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import { EmptyGroups, type EmptyGroupOptions } from '../../../src/main/maintenance/empty-groups.ts'
import { orphanCollection } from '../../../src/main/maintenance/orphans.ts'
import { RemovalGuard } from '../../../src/main/maintenance/removal-guard.ts'
import { storedBytes } from '../../../src/main/maintenance/repair.ts'
import type { PlacementGroup } from '../../../src/main/metadata/contract.ts'
import { newBlobId, type DriveId, type PgId } from '../../../src/shared/ids.ts'
import { MIB } from '../../../src/shared/limits.ts'
import { bytes } from '../../support/bytes.ts'
import { startStorage, type StorageRig } from '../../support/storage.ts'
import { run } from './stage.ts'

let rig: StorageRig
let bucket: Bucket
before(async () => {
  rig = await startStorage(2)
  bucket = await rig.bucket()
})
after(() => rig.stop())

const guard = () => new RemovalGuard({ native: rig.native, metadata: rig.metadata, drives: rig.online })
const collect = () => run(orphanCollection({
  native: rig.native, metadata: rig.metadata, groups: rig.groups, guard: guard(), drives: rig.online, reachable: rig.online, processId: 'collector', minAgeMs: -1000,
}))
const shardsOn = async (driveId: DriveId) => (await rig.native.listShards(driveId, null, 10_000, Date.now() + 1000)).shards
const shardsOf = async (pgId: PgId): Promise<number> =>
  (await Promise.all(rig.online().map(shardsOn))).flat().filter((shard) => shard.pgId === pgId).length

/** One round of looking and deleting; what went. */
async function deleteEmpty(more: Partial<EmptyGroupOptions> = {}): Promise<PgId[]> {
  const gone: PgId[] = []
  const task = new EmptyGroups({
    metadata: rig.metadata, database: () => guard().database(), emptyForMs: 0, ...more,
    changed(id) {
      gone.push(id)
      void rig.groups.changed(id)
    },
  })
  await task.round({ now: '', counters: {} })
  return gone
}

async function close({ id }: PlacementGroup): Promise<void> {
  await rig.metadata.sealPlacementGroup(id)
  await rig.metadata.closePlacementGroup(id)
  rig.groups.resetSlots()
}

/** Shards in an open group that no row will ever name. */
async function abandonedUpload(): Promise<PlacementGroup> {
  const blobId = newBlobId()
  const { group, release } = await rig.groups.take(blobId)
  const handle = rig.native.openUpload({
    bucketId: bucket.id, blobId, pgId: group.id, contentLength: -1, maxBytes: MIB, awsChunked: null, inlineBytes: 0, md5: false, fastDigest: true,
    sha256: false, checksums: [], expectMd5: '', expectSha256: '', expectChecksum: '', expectChecksumAlgorithm: '', checksumTrailer: '',
    dataKey: Buffer.alloc(0),
  })
  rig.native.uploadWrite(handle, bytes(30_000))
  await rig.native.uploadFinish(handle)
  release()
  return group
}

test('what a drive still holds of a deleted group is nobody\'s and goes, also from a drive that was away; of an unknown group it stays', async () => {
  const [away] = rig.online() as [DriveId]
  const group = await abandonedUpload()
  await close(group)
  await rig.closeDrive(away)
  assert.deepEqual(await deleteEmpty(), [group.id])
  assert.equal((await collect())['shards removed'], 1)
  await rig.openDrive(away)
  assert.equal(await shardsOf(group.id), 1)
  assert.equal((await collect())['shards removed'], 1)
  assert.equal(await shardsOf(group.id), 0)
  await rig.closeDrive(away)
  await rig.openDrive(away)
  assert.equal(await shardsOf(group.id), 0, 'nor when the drive is opened again')

  const unknown = await abandonedUpload()
  await rig.database.sql('DELETE FROM placement_groups WHERE id = $1', [unknown.id])
  rig.groups.resetSlots()
  const counters = await collect()
  assert.deepEqual([counters['shards removed'], counters['shards of unknown groups']], [0, 2])
  assert.equal(await shardsOf(unknown.id), 2)
})

test('a mover that wakes up late removes and writes nothing in a deleted group', async () => {
  const group = await abandonedUpload()
  await close(group)
  assert.deepEqual(await deleteEmpty(), [group.id])
  await collect()
  const [driveId] = rig.online() as [DriveId]
  const name = { bucketId: bucket.id, blobId: newBlobId(), pgId: group.id, index: 0 }
  await assert.rejects(rig.native.deleteShards(driveId, [name], [group.generation + 100]), 'the drive was told a higher generation')
})

test('while removal is paused nothing is deleted, nor is a group whose condemned shards wait', async () => {
  const group = await abandonedUpload()
  const [shard] = (await Promise.all(rig.online().map(shardsOn))).flat().filter(({ pgId }) => pgId === group.id)
  await rig.metadata.condemn([{ bucketId: bucket.id, blobId: shard!.blobId as ReturnType<typeof newBlobId>, pgId: group.id }])
  await close(group)
  assert.deepEqual(await deleteEmpty({ database: () => Promise.resolve(null) }), [])
  assert.deepEqual(await deleteEmpty(), [])
  const counters = await collect()
  assert.equal(await shardsOf(group.id), 0, JSON.stringify(counters))
  assert.deepEqual(await deleteEmpty(), [group.id])
})

test('an object whose row names a deleted group is read, in parts too, and copied', async () => {
  const data = bytes(300_000, 1)
  await rig.put(bucket, 'moved', data)
  const { pgId, blobId } = (await rig.metadata.blobsOfGroup((await hint('moved')), null, 100)).at(-1)!
  const old = (await rig.metadata.placementGroup(pgId))!
  await close(old)
  const other = rig.thread()
  const { group, release } = await other.groups.take(blobId)
  const row = (await rig.metadata.blob(bucket.id, blobId))!
  assert.deepEqual(await rig.native.reencodeBlob(storedBytes(row), group.id), [])
  assert.ok(await rig.metadata.moveBlob(bucket.id, blobId, pgId, group.id, []))
  release()
  await rig.metadata.tidy() // bytes are noted
  assert.deepEqual(await deleteEmpty({ emptyForMs: 3_600_000 }), [], 'it has held something: its shards may still be found by its row')
  assert.deepEqual(await deleteEmpty(), [pgId])
  assert.equal(await hint('moved'), pgId)
  assert.deepEqual(await rig.get(bucket, 'moved'), data)
  assert.ok(await rig.metadata.putReference({ ...(await rig.metadata.get(bucket.id, 'moved'))!, key: 'copy' }, {}))
  assert.deepEqual(await rig.get(bucket, 'copy'), data)
  assert.equal(await shardsOf(pgId), 2)
  assert.equal((await collect())['shards removed'], 2)
  assert.deepEqual(await rig.get(bucket, 'moved'), data)
  assert.equal(await rig.metadata.repairCount(), 0)
})

async function hint(key: string): Promise<PgId> {
  const record = await rig.metadata.get(bucket.id, key)
  assert.ok(record?.body.kind === 'blob')
  return record.body.blob.pgId
}

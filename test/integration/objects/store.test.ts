/** The object store end to end over the addon, drives and Postgres. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import type { CopyObjectRequest } from '../../../src/main/objects/contract.ts'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import { unspecifiedBody } from '../../../src/main/objects/body-writer.ts'
import { MIB } from '../../../src/shared/limits.ts'
import { monotonicMs } from '../../../src/shared/monotonic.ts'
import { bytes, md5, md5Base64 } from '../../support/bytes.ts'
import { feed, startStorage, type StorageRig } from '../../support/storage.ts'

let rig: StorageRig
before(async () => {
  rig = await startStorage(3)
})
after(() => rig.stop())

const copying = (from: Bucket, to: Bucket, more: Partial<CopyObjectRequest> = {}): CopyObjectRequest => ({
  source: { bucket: from, key: 'source', conditions: {}, readKey: null },
  bucket: to, key: 'copy', replace: null, storageClass: null, checksumAlgorithm: null, encryption: { kind: 'bucket-default' }, condition: {},
  ...more,
})

test('what was put is read back, and an overwrite replaces it', async () => {
  const bucket = await rig.bucket()
  for (const size of [0, 100, 5000, 3 * MIB + 7]) {
    await rig.put(bucket, 'key', bytes(size, size))
    assert.equal(md5(await rig.get(bucket, 'key')), md5(bytes(size, size)))
  }
})

test('copies within and between buckets, and from one encryption to another', async () => {
  const from = await rig.bucket({ defaultEncryption: true })
  const to = await rig.bucket()
  const data = bytes(MIB + 5, 4)
  const key = randomBytes(32)
  const readKey = { key, keyMd5: md5Base64(key) }
  await rig.put(from, 'source', data)
  await rig.store.copyObject(copying(from, from))
  assert.deepEqual(await rig.get(from, 'copy'), data)
  await rig.store.copyObject(copying(from, to))
  assert.deepEqual(await rig.get(to, 'copy'), data)
  await rig.store.copyObject(copying(from, to, { encryption: { kind: 'c', ...readKey } }))
  assert.deepEqual(await rig.get(to, 'copy', readKey), data)
  await assert.rejects(rig.get(to, 'copy'), { kind: 'InvalidRequest' })
})

const parts = async (bucket: Bucket, key: string, bodies: Buffer[]): Promise<void> => {
  const { uploadId } = await rig.store.createUpload({
    bucket, key, initiator: '', headers: {}, userMetadata: {}, storageClass: 'STANDARD', checksumAlgorithm: null, checksumType: null,
    encryption: { kind: 'bucket-default' },
  })
  const done: { partNumber: number; etag: string }[] = []
  for (const [i, data] of bodies.entries()) {
    const sink = await rig.store.uploadPart({ bucket, key, uploadId, partNumber: i + 1, body: unspecifiedBody(data.length, null), readKey: null })
    done.push({ partNumber: i + 1, etag: (await feed(sink, data)).etag })
  }
  await rig.store.completeUpload({ bucket, key, uploadId, parts: done, checksum: null, objectSize: null, condition: {} })
}

/** Moves every blob of a bucket into other groups and removes the shards that it leaves, as re-encoding and the orphan collector do. */
async function moveAway(bucket: Bucket): Promise<void> {
  const { native, metadata, groups, database } = rig
  const before = await metadata.placementGroups()
  for (const { id } of before) await metadata.sealPlacementGroup(id)
  groups.resetSlots()
  for (const group of before) {
    for (const row of (await metadata.blobsOfGroup(group.id, null, 1000)).filter(({ bucketId }) => bucketId === bucket.id)) {
      const { group: to, release } = await groups.take(row.blobId)
      await native.reencodeBlob({ ...row, dataKey: Buffer.alloc(0) }, to.id)
      assert.ok(await metadata.moveBlob(row.bucketId, row.blobId, row.pgId, to.id, []))
      release()
      for (const [index, driveId] of group.members.entries()) await native.deleteShards(driveId, [{ ...row, index }], [group.generation])
    }
  }
  assert.notDeepEqual(await database.sql('SELECT pg_id FROM objects WHERE bucket_id = $1', [bucket.id]), [])
}

test('what was re-encoded is read and copied although its row names the group that it has left', async () => {
  const [from, to] = [await rig.bucket(), await rig.bucket()]
  const data = bytes(MIB, 5)
  const bodies = [bytes(5 * MIB, 6), bytes(70_000, 7)]
  await rig.put(from, 'source', data)
  await parts(from, 'parts', bodies)
  await moveAway(from)

  assert.deepEqual(await rig.get(from, 'source'), data)
  assert.equal(md5(await rig.get(from, 'parts')), md5(Buffer.concat(bodies)))
  await rig.store.copyObject(copying(from, to))
  assert.deepEqual(await rig.get(to, 'copy'), data)
  await rig.store.copyObject(copying(from, to, { source: { bucket: from, key: 'parts', conditions: {}, readKey: null } }))
  assert.equal(md5(await rig.get(to, 'copy')), md5(Buffer.concat(bodies)))

  const { uploadId } = await rig.store.createUpload({
    bucket: to, key: 'part', initiator: '', headers: {}, userMetadata: {}, storageClass: 'STANDARD', checksumAlgorithm: null, checksumType: null,
    encryption: { kind: 'bucket-default' },
  })
  const { etag } = await rig.store.uploadPartCopy({
    source: { bucket: from, key: 'source', conditions: {}, readKey: null }, range: { kind: 'bytes', first: 3, last: 99_999 },
    bucket: to, key: 'part', uploadId, partNumber: 1, readKey: null,
  })
  assert.equal(etag, md5(data.subarray(3, 100_000)))
})

test('a reader that goes away while a part is looked up leaves nothing open', async () => {
  const bucket = await rig.bucket()
  await parts(bucket, 'key', [bytes(5 * MIB, 8), bytes(70_000, 9)])
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
  const { promise: allowed, resolve: allow } = Promise.withResolvers<void>()
  let looks = 0
  const { store } = rig.thread({
    ...rig.metadata,
    async objectParts(...request) {
      const found = await rig.metadata.objectParts(...request)
      if (++looks > 1) return found
      ask()
      await allowed
      return found
    },
  })
  const reading = store.getObject({ bucket, key: 'key', conditions: {}, range: { kind: 'whole' }, readKey: null })
  await asked
  rig.runningReads.oldestMs(monotonicMs() + 25 * 3600_000) // ends what runs for longer than a day
  allow()
  const { body } = await reading
  assert.equal(await body.ready(), 0)
  body.close()
  assert.equal(rig.native.stats().reads, 0)
})

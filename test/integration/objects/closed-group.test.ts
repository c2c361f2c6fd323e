/** An upload whose group is closed, or whose shards are condemned, before its row is written (DESIGN §13, rules 2 and 4). */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { unspecifiedBody } from '../../../src/main/objects/body-writer.ts'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import type { ObjectMetadata } from '../../../src/main/metadata/contract.ts'
import type { PutObjectRequest } from '../../../src/main/objects/contract.ts'
import type { BlobId, BucketId, PgId } from '../../../src/shared/ids.ts'
import { MIB } from '../../../src/shared/limits.ts'
import { bytes } from '../../support/bytes.ts'
import { feed, startStorage, type StorageRig } from '../../support/storage.ts'

let rig: StorageRig
before(async () => {
  rig = await startStorage(3)
})
after(() => rig.stop())

const putting = (bucket: Bucket, size: number): PutObjectRequest => ({
  bucket, key: 'key', headers: {}, userMetadata: {}, storageClass: 'STANDARD', body: unspecifiedBody(size, null),
  encryption: { kind: 's3' }, condition: {},
})

interface Blob {
  bucketId: BucketId
  blobId: BlobId
  pgId: PgId
}

/** Metadata that does something to the first blob that it is given, before it writes the row. */
const meddling = (meddle: (blob: Blob) => Promise<unknown>): ObjectMetadata => {
  let done = false
  const once = async (bucketId: BucketId, body: Parameters<ObjectMetadata['putPart']>[2]['body'] | { kind: 'parts' }): Promise<void> => {
    if (done || body.kind !== 'blob') return
    done = true
    await meddle({ bucketId, blobId: body.blob.blobId, pgId: body.blob.pgId })
  }
  return {
    ...rig.metadata,
    async put(record, ...rest) {
      await once(record.bucketId, record.body)
      return rig.metadata.put(record, ...rest)
    },
    async putPart(bucketId, uploadId, part, missing) {
      await once(bucketId, part.body)
      return rig.metadata.putPart(bucketId, uploadId, part, missing)
    },
  }
}

const close = async ({ pgId }: Blob): Promise<void> => {
  await rig.metadata.sealPlacementGroup(pgId)
  await rig.metadata.closePlacementGroup(pgId)
}

/** Another thread has heard of it, and lets the addon forget the group: it has no upload in it. */
const remove = async (blob: Blob): Promise<void> => {
  const other = rig.thread().groups
  await other.ensure(blob.pgId)
  await close(blob)
  assert.deepEqual(await rig.metadata.deleteEmptyGroups([blob.pgId], await rig.metadata.identity()), [blob.pgId])
  await other.changed(blob.pgId)
}

for (const [reason, meddle] of Object.entries({ deleted: remove, closed: close, condemned: (blob: Blob) => rig.metadata.condemn([blob]) })) {
  test(`${reason}: the sealed body is written into another group and committed there`, async () => {
    const bucket = await rig.bucket()
    let first: Blob | undefined
    const { store, groups } = rig.thread(meddling(async (blob) => {
      first = blob
      await meddle(blob)
    }))
    const data = bytes(MIB + 1, 1)
    await feed(await store.putObject(putting(bucket, data.length)), data)
    assert.deepEqual(await rig.get(bucket, 'key'), data)

    assert.ok(first !== undefined)
    const row = await rig.metadata.blob(bucket.id, first.blobId)
    assert.ok(row !== null)
    assert.notEqual(row.pgId, first.pgId)
    assert.equal(await rig.metadata.repairCount(), 0)
    assert.deepEqual(groups.inUse, [], 'no lease stays')

    // the next upload of this thread does not come upon the closed group again
    await feed(await store.putObject(putting(bucket, data.length)), data)
  })
}

test('a part is committed in another group as well', async () => {
  const bucket = await rig.bucket()
  const { store } = rig.thread(meddling(close))
  const { uploadId } = await store.createUpload({
    bucket, key: 'parts', initiator: '', headers: {}, userMetadata: {}, storageClass: 'STANDARD', checksumAlgorithm: null, checksumType: null,
    encryption: { kind: 's3' },
  })
  const data = bytes(100_000, 2)
  const sink = await store.uploadPart({ bucket, key: 'parts', uploadId, partNumber: 1, body: unspecifiedBody(data.length, null), readKey: null })
  const { etag } = await feed(sink, data)
  await store.completeUpload({
    bucket, key: 'parts', uploadId, parts: [{ partNumber: 1, etag }], checksum: null, objectSize: null, condition: {},
  })
  assert.deepEqual(await rig.get(bucket, 'parts'), data)
})

test('shards that the collector has removed already fail the upload, and nothing is committed', async () => {
  const bucket = await rig.bucket()
  const { store, groups } = rig.thread(meddling(async (blob) => {
    await rig.metadata.condemn([blob])
    const group = await rig.metadata.placementGroup(blob.pgId)
    assert.ok(group !== null)
    for (const [index, driveId] of group.members.entries()) await rig.native.deleteShards(driveId, [{ ...blob, index }], [group.generation])
  }))
  const data = bytes(100_000, 3)
  await assert.rejects(feed(await store.putObject(putting(bucket, data.length)), data), { kind: 'ShardsUnavailable' })
  await assert.rejects(rig.get(bucket, 'key'), { kind: 'NoSuchKey' })
  assert.deepEqual(groups.inUse, [])
})

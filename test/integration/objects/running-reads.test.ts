/** DESIGN §6: a read counts as running from before its row is looked up until its body is closed. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { ObjectMetadata } from '../../../src/main/metadata/contract.ts'
import { bytes } from '../../support/bytes.ts'
import { startStorage, type StorageRig } from '../../support/storage.ts'

let rig: StorageRig
/** How many reads were registered at each look at a row. */
let running: number[]
let watched: ObjectMetadata

before(async () => {
  rig = await startStorage(2)
  watched = {
    ...rig.metadata,
    get(bucketId, key) {
      running.push(rig.runningReads.count)
      return rig.metadata.get(bucketId, key)
    },
  }
})
after(() => rig.stop())

test('reads and copies are running when they look their rows up, and no longer than they run', async () => {
  const { store } = rig.thread(watched)
  const [bucket, other] = [await rig.bucket(), await rig.bucket()]
  await rig.put(bucket, 'key', bytes(20_000))
  const read = { bucket, key: 'key', conditions: {}, range: { kind: 'whole' as const }, readKey: null }

  running = []
  const { body } = await store.getObject(read)
  assert.deepEqual(running, [1])
  assert.equal(rig.runningReads.count, 1)
  body.close()
  assert.equal(rig.runningReads.count, 0)

  await assert.rejects(store.getObject({ ...read, key: 'none' }), { kind: 'NoSuchKey' })
  await assert.rejects(store.getObject({ ...read, conditions: { ifNoneMatch: ['*'] } }), { kind: 'NotModified' })
  assert.equal(rig.runningReads.count, 0)

  running = []
  await store.copyObject({
    source: { bucket, key: 'key', conditions: {}, readKey: null }, bucket: other, key: 'copy', replace: null, storageClass: null,
    checksumAlgorithm: null, encryption: { kind: 'bucket-default' }, condition: {},
  })
  assert.deepEqual(running, [1])
  assert.equal(rig.runningReads.count, 0)
})

/** The object store end to end over the addon, drives and Postgres. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import type { CopyObjectRequest } from '../../../src/main/objects/contract.ts'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import { MIB } from '../../../src/shared/limits.ts'
import { bytes, md5, md5Base64 } from '../../support/bytes.ts'
import { startStorage, type StorageRig } from './rig.ts'

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

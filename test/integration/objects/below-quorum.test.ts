/** Drives that go away in the middle of a PUT (DESIGN §5.5): as long as the body can be read, it is written into another group. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import { unspecifiedBody } from '../../../src/main/objects/body-writer.ts'
import type { PutObjectRequest } from '../../../src/main/objects/contract.ts'
import type { DriveId } from '../../../src/shared/ids.ts'
import { MIB } from '../../../src/shared/limits.ts'
import type { Native } from '../../../src/shared/native.ts'
import { bytes } from '../../support/bytes.ts'
import { feed, startStorage, type StorageRig } from '../../support/storage.ts'

let rig: StorageRig
let drives: DriveId[]
before(async () => {
  rig = await startStorage(6)
  drives = rig.online()
})
afterEach(async () => {
  for (const drive of drives) if (!rig.online().includes(drive)) await rig.openDrive(drive)
})
after(() => rig.stop())

const putting = (bucket: Bucket, size: number): PutObjectRequest => ({
  bucket, key: 'key', headers: {}, userMetadata: {}, storageClass: 'STANDARD', body: unspecifiedBody(size, null),
  encryption: { kind: 's3' }, condition: {},
})

/** Feeds a body whose second half comes when `gone` drives are away. */
async function put(bucket: Bucket, data: Buffer, gone: number, store = rig.store): Promise<unknown> {
  const sink = await store.putObject(putting(bucket, data.length))
  const half = data.length / 2
  try {
    for (let at = 0; at < half; at += 64 * 1024) if (!sink.write(data.subarray(at, Math.min(half, at + 64 * 1024)))) await sink.drained()
    for (const drive of drives.slice(0, gone)) await rig.closeDrive(drive)
    return await feed(sink, data.subarray(half))
  } catch (error) {
    sink.abort()
    throw error
  }
}

for (const [what, size] of [['of many stripes', 16 * MIB], ['of one stripe', 100_000]] as const) {
  test(`a body ${what} outlives two of six drives that go in its middle`, async () => {
    const bucket = await rig.bucket()
    const data = bytes(size, size)
    await put(bucket, data, 2)
    assert.deepEqual(await rig.get(bucket, 'key'), data)
    assert.equal(await rig.metadata.repairCount(), 0, 'all members of the new group live')
    assert.deepEqual(rig.groups.inUse, [], 'no lease stays')
    // as much redundancy as the living allow, and none of those that are away
    const { k, m } = rig.groups.code!
    assert.deepEqual([k, m], [2, 2])
    for (const drive of drives.slice(2, 4)) await rig.closeDrive(drive)
    assert.deepEqual(await rig.get(bucket, 'key'), data)
  })

  test(`a body ${what} does not outlive three, and leaves nothing`, async () => {
    const bucket = await rig.bucket()
    await assert.rejects(put(bucket, bytes(size, size), 3), { kind: 'InsufficientRedundancy' })
    await assert.rejects(rig.get(bucket, 'key'), { kind: 'NoSuchKey' })
    assert.deepEqual(rig.groups.inUse, [])
  })
}

test('a third drive that does not answer for a moment, just when the body is to be read again, is waited for', async () => {
  const bucket = await rig.bucket()
  const data = bytes(MIB, 3)
  const third = drives[2]!
  let tries = 0
  const native: Native = {
    ...rig.native,
    async reencodeBlob(...blob) {
      if (++tries > 1) return rig.native.reencodeBlob(...blob)
      await rig.native.closeDrive(third)
      try {
        return await rig.native.reencodeBlob(...blob)
      } finally {
        await rig.openDrive(third)
      }
    },
  }
  await put(bucket, data, 2, rig.thread(rig.metadata, native).store)
  assert.equal(tries, 2)
  assert.deepEqual(await rig.get(bucket, 'key'), data)
})

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { AnvilError } from '../../shared/errors.ts'
import type { BucketId } from '../../shared/ids.ts'
import type { Bucket } from '../directory/contract.ts'
import { createKeyring } from '../secrets/keyring.ts'
import { newDataKey, openDataKey } from './encryption.ts'

const keys = createKeyring([{ id: 'k1', key: randomBytes(32) }])
const bucket = (id: number, defaultEncryption = false): Bucket => ({ id, name: 'b', defaultEncryption }) as unknown as Bucket
const clientKey = (): { key: Buffer; keyMd5: string } => {
  const key = randomBytes(32)
  return { key, keyMd5: createHash('md5').update(key).digest('base64') }
}
const kind = (k: AnvilError['kind']) => (error: unknown) => AnvilError.is(error, k)

test('without encryption there is no key', () => {
  const { dataKey, encryption } = newDataKey({ kind: 'bucket-default' }, bucket(1), keys)
  assert.equal(dataKey.length, 0)
  assert.equal(openDataKey(1 as BucketId, encryption, null, keys).length, 0)
  assert.throws(() => openDataKey(1 as BucketId, encryption, clientKey(), keys), kind('InvalidRequest'))
})

test('SSE-S3, asked for or as the bucket has it, is bound to the bucket', () => {
  for (const made of [newDataKey({ kind: 's3' }, bucket(1), keys), newDataKey({ kind: 'bucket-default' }, bucket(1, true), keys)]) {
    assert.equal(made.encryption.kind, 's3')
    assert.equal(made.dataKey.length, 32)
    assert.deepEqual(openDataKey(1 as BucketId, made.encryption, null, keys), made.dataKey)
    assert.ok(!JSON.stringify(made.encryption).includes(made.dataKey.toString('base64')))
    assert.throws(() => openDataKey(2 as BucketId, made.encryption, null, keys))
  }
})

test("SSE-C needs the client's very key", () => {
  const mine = clientKey()
  const { dataKey, encryption } = newDataKey({ kind: 'c', ...mine }, bucket(1, true), keys)
  assert.equal(encryption.kind, 'c')
  assert.deepEqual(openDataKey(1 as BucketId, encryption, mine, keys), dataKey)
  assert.throws(() => openDataKey(1 as BucketId, encryption, clientKey(), keys), kind('WrongEncryptionKey'))
  assert.throws(() => openDataKey(1 as BucketId, encryption, null, keys), kind('InvalidRequest'))
})

/** Against values that others made: zlib's CRC-32, the CRCs' check values of "123456789", S3's construction of ETags and composites. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import { newBlobId, newUploadId, type BucketId } from '../../shared/ids.ts'
import { MIN_PART_BYTES } from '../../shared/limits.ts'
import { loadNative } from '../../shared/load-native.ts'
import type { ChecksumAlgorithm } from '../../shared/native.ts'
import type { Bucket } from '../directory/contract.ts'
import type { PartRecord, UploadRecord } from '../metadata/contract.ts'
import { assembleParts, defaultChecksumType } from './assemble.ts'
import type { CompleteUploadRequest } from './contract.ts'

const native = loadNative()
const hash = (algorithm: string, data: Buffer): Buffer => createHash(algorithm).update(data).digest()
const bodies = [Buffer.alloc(MIN_PART_BYTES, 'ab'), Buffer.alloc(MIN_PART_BYTES + 3, 'xyz'), Buffer.from('123456789')]

function given(algorithm: ChecksumAlgorithm | null, checksumType: UploadRecord['checksumType'], data = bodies) {
  const parts = data.map((body, i): PartRecord => ({
    partNumber: i + 1, size: body.length, etag: hash('md5', body).toString('hex'), modifiedMs: 0,
    checksum: algorithm === null ? null : { algorithm, value: native.digest(algorithm, body).toString('base64') },
    body: { kind: 'inline', blobId: newBlobId(), data: body },
  }))
  const upload: UploadRecord = {
    bucketId: 1 as BucketId, uploadId: newUploadId(), key: 'k', initiator: '', startedMs: 0, storageClass: 'STANDARD', headers: {}, userMetadata: {},
    checksumAlgorithm: algorithm, checksumType, encryption: { kind: 'none' },
  }
  const request: CompleteUploadRequest = {
    bucket: {} as Bucket, key: 'k', uploadId: upload.uploadId, parts: parts.map(({ partNumber, etag }) => ({ partNumber, etag })),
    checksum: null, objectSize: null, condition: {},
  }
  return { parts, upload, request }
}

const assembled = (algorithm: ChecksumAlgorithm | null, type: UploadRecord['checksumType'], more: Partial<CompleteUploadRequest> = {}, data = bodies) => {
  const { parts, upload, request } = given(algorithm, type, data)
  return assembleParts(native, { ...request, ...more }, upload, parts)
}

test('the ETag is the MD5 of the MD5s and the number of parts', () => {
  const { etag, size, checksum } = assembled(null, null)
  assert.equal(etag, `${hash('md5', Buffer.concat(bodies.map((body) => hash('md5', body)))).toString('hex')}-3`)
  assert.equal(size, bodies.reduce((sum, body) => sum + body.length, 0))
  assert.equal(checksum, null)
})

test('composite checksums are digests of digests', () => {
  for (const algorithm of ['sha1', 'sha256'] as const) {
    const value = `${hash(algorithm, Buffer.concat(bodies.map((body) => hash(algorithm, body)))).toString('base64')}-3`
    assert.deepEqual(assembled(algorithm, null).checksum, { algorithm, type: 'COMPOSITE', value })
  }
  const crcs = bodies.map((body) => {
    const crc = Buffer.alloc(4)
    crc.writeUInt32BE(crc32(body))
    return crc
  })
  const outer = Buffer.alloc(4)
  outer.writeUInt32BE(crc32(Buffer.concat(crcs)))
  assert.equal(assembled('crc32', 'COMPOSITE').checksum!.value, `${outer.toString('base64')}-3`)
})

test('full-object checksums are those of the whole', () => {
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32(Buffer.concat(bodies)))
  assert.deepEqual(assembled('crc32', 'FULL_OBJECT').checksum, { algorithm: 'crc32', type: 'FULL_OBJECT', value: crc.toString('base64') })
  // check values of the CRC catalogue (Cook): one part of "123456789"
  const nine = [Buffer.from('123456789')]
  const known = { crc32: 'cbf43926', crc32c: 'e3069283', crc64nvme: 'ae8b14860a799888' } as const
  for (const [algorithm, hex] of Object.entries(known) as [keyof typeof known, string][]) {
    assert.equal(assembled(algorithm, 'FULL_OBJECT', {}, nine).checksum!.value, Buffer.from(hex, 'hex').toString('base64'), algorithm)
    assert.equal(assembled(algorithm, 'FULL_OBJECT').checksum!.value, native.digest(algorithm, Buffer.concat(bodies)).toString('base64'), algorithm)
  }
  assert.equal(defaultChecksumType('crc64nvme'), 'FULL_OBJECT')
  assert.equal(defaultChecksumType('crc32c'), 'COMPOSITE')
})

test('what S3 refuses', () => {
  const small = [Buffer.from('small'), Buffer.from('last')]
  assert.throws(() => assembled(null, null, {}, small), { kind: 'EntityTooSmall' })
  assert.throws(() => assembled(null, null, { objectSize: 1 }), { kind: 'InvalidRequest' })
  assert.throws(() => assembled('sha256', 'FULL_OBJECT'), { kind: 'InvalidRequest' })
  assert.throws(() => assembled('crc32', null, { checksum: { algorithm: 'crc32', value: 'AAAAAA==-3', type: null } }), { kind: 'BadDigest' })
  assert.throws(() => assembled('crc32', null, { checksum: { algorithm: 'sha1', value: '', type: null } }), { kind: 'InvalidRequest' })
  assert.throws(() => assembled('crc32', 'COMPOSITE', { checksum: { algorithm: 'crc32', value: '', type: 'FULL_OBJECT' } }), { kind: 'InvalidRequest' })
  const { request } = given('crc32', null)
  const parts = request.parts.map((part) => ({ ...part, checksum: { algorithm: 'crc32' as const, value: 'AAAAAA==' } }))
  assert.throws(() => assembled('crc32', null, { parts }), { kind: 'InvalidPart' })
})

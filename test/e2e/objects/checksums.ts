import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { it } from 'node:test'
import { crc32 } from 'node:zlib'
import { Readable } from 'node:stream'
import {
  type ChecksumAlgorithm, GetObjectAttributesCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand,
} from '@aws-sdk/client-s3'
import { bytes, md5Base64 } from '../../support/bytes.ts'
import { signedRequest } from '../../support/raw-http.ts'
import { awsChunked, s3Path, sign, STREAMING_TRAILER, STREAMING_UNSIGNED_TRAILER, UNSIGNED } from '../../support/sigv4.ts'
import { rawRequest } from '../../support/raw-http.ts'
import { newBucket, read, sameBytes, type Context } from './context.ts'

/** CRC-64/NVME (reflected, as in the NVM Express Command Set Specification), bit by bit: slow and certain. */
function crc64nvme(data: Uint8Array): Buffer {
  let crc = 0xffff_ffff_ffff_ffffn
  for (const byte of data) {
    crc ^= BigInt(byte)
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1n) === 1n ? (crc >> 1n) ^ 0x9a6c_9329_ac4b_c9b5n : crc >> 1n
  }
  const out = Buffer.alloc(8)
  out.writeBigUInt64BE(crc ^ 0xffff_ffff_ffff_ffffn)
  return out
}

/** CRC-32C (Castagnoli, reflected), bit by bit. */
function crc32c(data: Uint8Array): Buffer {
  let crc = 0xffff_ffff
  for (const byte of data) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1
  }
  return big32(crc ^ 0xffff_ffff)
}

function big32(value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(value >>> 0)
  return out
}

/** By the name of S3's header, computed apart from the server and from the SDK. */
const ALGORITHMS: Record<string, { name: ChecksumAlgorithm; field: 'ChecksumCRC32' | 'ChecksumCRC32C' | 'ChecksumCRC64NVME' | 'ChecksumSHA1' | 'ChecksumSHA256'; of(data: Uint8Array): Buffer }> = {
  crc32: { name: 'CRC32', field: 'ChecksumCRC32', of: (data) => big32(crc32(data)) },
  crc32c: { name: 'CRC32C', field: 'ChecksumCRC32C', of: crc32c },
  crc64nvme: { name: 'CRC64NVME', field: 'ChecksumCRC64NVME', of: crc64nvme },
  sha1: { name: 'SHA1', field: 'ChecksumSHA1', of: (data) => createHash('sha1').update(data).digest() },
  sha256: { name: 'SHA256', field: 'ChecksumSHA256', of: (data) => createHash('sha256').update(data).digest() },
}

export function checksumTests(context: Context): void {
  for (const [algorithm, { name, field, of }] of Object.entries(ALGORITHMS)) {
    const header = `x-amz-checksum-${algorithm}`
    const body = bytes(70_001, 3)
    const value = of(body).toString('base64')
    const wrong = of(Buffer.from('other')).toString('base64')

    it(`${algorithm}: header, stored, given back, wrong refused`, async () => {
      const { s3, node } = context
      const Bucket = await newBucket(context)
      for (const small of [body, body.subarray(0, 100)]) {
        const checksum = of(small).toString('base64')
        const put = await signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'k'), headers: { [header]: checksum }, body: small })
        assert.equal(put.status, 200, put.text)
        assert.equal(put.headers[header], checksum)
        const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', ChecksumMode: 'ENABLED' }))
        sameBytes(await read(got), small)
        assert.equal(got[field], checksum)
        assert.equal(got.ChecksumType, 'FULL_OBJECT')
        const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'k', ChecksumMode: 'ENABLED' }))
        assert.equal(head[field], checksum)
        assert.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' })))[field], undefined)
        const attributes = await s3.send(new GetObjectAttributesCommand({ Bucket, Key: 'k', ObjectAttributes: ['Checksum'] }))
        assert.equal(attributes.Checksum?.[field], checksum)
        const refused = await signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'refused'), headers: { [header]: wrong }, body: small })
        assert.equal(refused.status, 400)
        assert.equal(refused.code, 'BadDigest')
      }
      const malformed = await signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'refused'), headers: { [header]: 'AAA' }, body })
      assert.equal(malformed.status, 400)
      const { Contents } = await s3.send(new ListObjectsV2Command({ Bucket }))
      assert.deepEqual(Contents?.map((entry) => entry.Key), ['k'])
      assert.deepEqual(Contents?.[0]?.ChecksumAlgorithm, [name])
    })

    for (const kind of ['signed', 'unsigned'] as const) {
      it(`${algorithm}: trailer of ${kind} chunks, wrong refused`, async () => {
        const { s3, node } = context
        const Bucket = await newBucket(context)
        const put = (key: string, checksum: string) => putTrailer(context, Bucket, key, body, kind === 'signed', header, checksum)
        const good = await put('k', value)
        assert.equal(good.status, 200, good.text)
        const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', ChecksumMode: 'ENABLED' }))
        sameBytes(await read(got), body)
        assert.equal(got[field], value)
        assert.equal(got.ContentEncoding, undefined)
        const bad = await put('refused', wrong)
        assert.equal(bad.status, 400)
        assert.equal(bad.code, 'BadDigest')
        assert.equal((await signedRequest(node.port, node.credentials, { method: 'HEAD', path: s3Path(Bucket, 'refused') })).status, 404)
      })
    }

    it(`${algorithm}: as the SDK computes it, of a buffer and of a stream`, async () => {
      const { s3 } = context
      const Bucket = await newBucket(context)
      await s3.send(new PutObjectCommand({ Bucket, Key: 'buffer', Body: body, ChecksumAlgorithm: name }))
      await s3.send(new PutObjectCommand({ Bucket, Key: 'stream', Body: Readable.from([body]), ContentLength: body.length, ChecksumAlgorithm: name }))
      for (const Key of ['buffer', 'stream']) {
        const got = await s3.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
        sameBytes(await read(got), body)
        assert.equal(got[field], value, Key)
      }
    })
  }

  it('gives an object without a checksum CRC64NVME when nothing was asked for', async () => {
    const { s3, node } = context
    const Bucket = await newBucket(context)
    const body = bytes(5000)
    await signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'k'), payloadHash: UNSIGNED, body })
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'k', ChecksumMode: 'ENABLED' }))
    // S3 has computed one by itself since 2025; a server that keeps none says none
    if (head.ChecksumCRC64NVME !== undefined) assert.equal(head.ChecksumCRC64NVME, crc64nvme(body).toString('base64'))
  })

  it('does not give the checksum of the whole with a part of it', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const body = bytes(100_000)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: body, ChecksumAlgorithm: 'CRC32' }))
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', ChecksumMode: 'ENABLED', Range: 'bytes=5-50' }))
    sameBytes(await read(got), body.subarray(5, 51))
    assert.equal(got.ChecksumCRC32, undefined)
  })

  it('checks Content-MD5', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    const body = bytes(9000)
    const put = (digest: string) => signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'k'), headers: { 'content-md5': digest }, body })
    assert.equal((await put(md5Base64(Buffer.from('other')))).code, 'BadDigest')
    assert.equal((await put('not base64!')).code, 'InvalidDigest')
    assert.equal((await put(md5Base64(body))).status, 200)
  })

  it('refuses two checksums at once, and one it does not know', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    const body = bytes(100)
    const put = (headers: Record<string, string>) => signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'k'), headers, body })
    const two = { 'x-amz-checksum-crc32': ALGORITHMS['crc32']!.of(body).toString('base64'), 'x-amz-checksum-sha1': ALGORITHMS['sha1']!.of(body).toString('base64') }
    assert.equal((await put(two)).status, 400)
    assert.equal((await put({ 'x-amz-sdk-checksum-algorithm': 'MD7', 'x-amz-checksum-md7': 'AAAA' })).status, 400)
  })
}

async function putTrailer({ node }: Context, bucket: string, key: string, body: Buffer, signedChunks: boolean, header: string, checksum: string) {
  const path = s3Path(bucket, key)
  const signed = sign({
    method: 'PUT', path, credentials: node.credentials, payloadHash: signedChunks ? STREAMING_TRAILER : STREAMING_UNSIGNED_TRAILER,
    headers: {
      host: `127.0.0.1:${node.port}`, 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': String(body.length), 'x-amz-trailer': header,
    },
  })
  return rawRequest(node.port, {
    method: 'PUT', path, headers: signed.headers, body: awsChunked(body, 16 * 1024, signedChunks ? signed : null, { name: header, value: checksum }),
  })
}

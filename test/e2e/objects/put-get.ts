import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Readable } from 'node:stream'
import {
  DeleteObjectCommand, DeleteObjectsCommand, GetObjectAttributesCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand,
} from '@aws-sdk/client-s3'
import { bytes, md5, md5Base64 } from '../../support/bytes.ts'
import { rawRequest, signedRequest } from '../../support/raw-http.ts'
import { s3Path } from '../../support/sigv4.ts'
import { fails, newBucket, read, sameBytes, type Context } from './context.ts'

const MIB = 1024 * 1024
// around the borders of inline rows, one stripe, many stripes
const SIZES = [0, 1, 4095, 4096, 4097, 65_536, 131_072, 131_073, MIB, MIB + 1, 5 * MIB + 3, 21 * MIB + 7]

export function putGetTests(context: Context): void {
  for (const size of SIZES) {
    it(`keeps ${size} bytes`, async () => {
      const { s3 } = context
      const Bucket = await newBucket(context)
      const body = bytes(size, size)
      const put = await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: body }))
      assert.equal(put.ETag, `"${md5(body)}"`)
      const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }))
      assert.equal(head.ContentLength, size)
      assert.equal(head.ETag, put.ETag)
      assert.equal(head.AcceptRanges, 'bytes')
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))
      sameBytes(await read(got), body)
      assert.equal(got.ETag, put.ETag)
      assert.ok(Math.abs(got.LastModified!.getTime() - Date.now()) < 600_000)
    })
  }

  it('takes a stream of known length and of many small pieces', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const body = bytes(3 * MIB + 11)
    const pieces = Array.from({ length: Math.ceil(body.length / 1013) }, (_, i) => body.subarray(i * 1013, (i + 1) * 1013))
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: Readable.from(pieces), ContentLength: body.length }))
    sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))), body)
  })

  it('gives back headers, metadata and storage class', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const stored = {
      ContentType: 'text/plain; charset=utf-8', CacheControl: 'max-age=60', ContentDisposition: 'attachment; filename="a b.txt"',
      ContentEncoding: 'x-odd', ContentLanguage: 'de, en', WebsiteRedirectLocation: '/elsewhere',
      Metadata: { color: 'blue', 'two-words': 'x y  z', empty: '' }, StorageClass: 'STANDARD_IA' as const,
    }
    const Expires = new Date('2030-01-02T03:04:05Z')
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'abc', ...stored, Expires }))
    for (const answer of [await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' })), await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))]) {
      const { ContentType, CacheControl, ContentDisposition, ContentEncoding, ContentLanguage, WebsiteRedirectLocation, Metadata, StorageClass } = answer
      assert.deepEqual({ ContentType, CacheControl, ContentDisposition, ContentEncoding, ContentLanguage, WebsiteRedirectLocation, Metadata, StorageClass }, stored)
      assert.equal(answer.ExpiresString, Expires.toUTCString())
    }
  })

  it('gives a default content type, and no storage class for STANDARD', async () => {
    const { s3, node } = context
    const Bucket = await newBucket(context)
    await signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'k'), body: Buffer.from('abc') })
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }))
    assert.equal(head.ContentType, 'binary/octet-stream')
    assert.equal(head.StorageClass, undefined)
    const attributes = await s3.send(new GetObjectAttributesCommand({ Bucket, Key: 'k', ObjectAttributes: ['ETag', 'ObjectSize', 'StorageClass'] }))
    assert.equal(attributes.ETag, md5(Buffer.from('abc')))
    assert.equal(attributes.ObjectSize, 3)
    assert.equal(attributes.StorageClass, 'STANDARD')
  })

  it('refuses too much metadata and an unknown storage class', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    await fails(s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x', Metadata: { a: 'x'.repeat(2100) } })), 'MetadataTooLarge', 400)
    await fails(s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x', StorageClass: 'NO_SUCH' as 'STANDARD' })), 'InvalidStorageClass', 400)
    assert.equal((await s3.send(new ListObjectsV2Command({ Bucket }))).KeyCount, 0)
  })

  it('overrides headers of an answer when asked to', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x', ContentType: 'text/plain' }))
    const got = await s3.send(new GetObjectCommand({
      Bucket, Key: 'k', ResponseContentType: 'application/pdf', ResponseCacheControl: 'no-store', ResponseContentDisposition: 'inline',
      ResponseContentEncoding: 'x-none', ResponseContentLanguage: 'fr', ResponseExpires: new Date('2031-01-01T00:00:00Z'),
    }))
    await read(got)
    assert.equal(got.ContentType, 'application/pdf')
    assert.equal(got.CacheControl, 'no-store')
    assert.equal(got.ContentDisposition, 'inline')
    assert.equal(got.ContentEncoding, 'x-none')
    assert.equal(got.ContentLanguage, 'fr')
    assert.equal(got.ExpiresString, 'Wed, 01 Jan 2031 00:00:00 GMT')
  })

  it('overwrites, and the last write wins with all that belongs to it', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    for (const size of [10, 200_000, 5, 2 * MIB]) {
      const body = bytes(size, size)
      await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: body, Metadata: { size: String(size) } }))
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))
      sameBytes(await read(got), body)
      assert.deepEqual(got.Metadata, { size: String(size) })
    }
  })

  it('deletes, and a delete of nothing succeeds', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: bytes(200_000) }))
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))
    await fails(s3.send(new GetObjectCommand({ Bucket, Key: 'k' })), 'NoSuchKey', 404)
    await fails(s3.send(new HeadObjectCommand({ Bucket, Key: 'k' })), null, 404)
  })

  it('deletes many, with and without an answer for each', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const keys = ['a', 'b/c', 'd & <e>', 'ü', ' spaced ']
    for (const Key of keys) await s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
    const loud = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'a' }, { Key: 'd & <e>' }, { Key: 'never was' }] } }))
    assert.deepEqual(loud.Deleted?.map((entry) => entry.Key).sort(), ['a', 'd & <e>', 'never was'])
    assert.equal(loud.Errors, undefined)
    const quiet = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Quiet: true, Objects: [{ Key: 'b/c' }, { Key: 'ü' }, { Key: ' spaced ' }] } }))
    assert.equal(quiet.Deleted, undefined)
    assert.equal((await s3.send(new ListObjectsV2Command({ Bucket }))).KeyCount, 0)
  })

  it('refuses a DeleteObjects without a digest, with a wrong one, with too many keys, or with broken XML', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    const post = (body: string, headers: Record<string, string>) =>
      signedRequest(node.port, node.credentials, { method: 'POST', path: s3Path(Bucket), query: { delete: '' }, headers, body: Buffer.from(body) })
    const good = '<Delete><Object><Key>a</Key></Object></Delete>'
    const digest = (body: string) => ({ 'content-md5': md5Base64(Buffer.from(body)) })
    assert.equal((await post(good, digest(good))).status, 200)
    assert.equal((await post(good, {})).status, 400)
    assert.equal((await post(good, digest('other'))).code, 'BadDigest')
    const many = `<Delete>${'<Object><Key>a</Key></Object>'.repeat(1001)}</Delete>`
    assert.equal((await post(many, digest(many))).code, 'MalformedXML')
    const broken = '<Delete><Object><Key>a</Object></Delete>'
    assert.equal((await post(broken, digest(broken))).code, 'MalformedXML')
    const entity = '<!DOCTYPE a [<!ENTITY x "y">]><Delete><Object><Key>&x;</Key></Object></Delete>'
    assert.equal((await post(entity, digest(entity))).code, 'MalformedXML')
  })

  it('answers HEAD without a body also when it fails', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    const answer = await signedRequest(node.port, node.credentials, { method: 'HEAD', path: s3Path(Bucket, 'absent') })
    assert.equal(answer.status, 404)
    assert.equal(answer.body.length, 0)
  })

  it('says that it is alive and ready', async () => {
    const { node } = context
    for (const path of ['/-/healthz', '/-/readyz']) assert.equal((await rawRequest(node.port, { method: 'GET', path })).status, 200)
  })
}

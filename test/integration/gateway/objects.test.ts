/** Objects through @aws-sdk/client-s3, over a real socket. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import {
  type ChecksumAlgorithm, CopyObjectCommand, CreateBucketCommand, DeleteObjectCommand, DeleteObjectsCommand, GetObjectAclCommand, GetObjectAttributesCommand,
  GetObjectCommand, GetObjectTaggingCommand, HeadObjectCommand, PutObjectCommand, PutObjectTaggingCommand, type S3Client,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { type Harness, startHarness } from './harness.ts'

let harness: Harness
let s3: S3Client
const Bucket = 'first'

before(async () => {
  harness = await startHarness()
  s3 = harness.client()
  await s3.send(new CreateBucketCommand({ Bucket }))
})
after(() => harness.stop())

const read = async (Key: string): Promise<Buffer> => Buffer.from(await (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToByteArray())

test('keys are whatever they are', async () => {
  for (const Key of ['plain', 'a/../b//./ü ?&=+%25#.txt', '/', '//', '.', '..', 'trailing/', ' ', '+', "!'()*", '😀', 'x'.repeat(1024), '\u0001\u007f', '%', 'a%2Fb', '-/healthz', '\ufffd']) {
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
    assert.equal((await read(Key)).toString(), Key)
    await s3.send(new DeleteObjectCommand({ Bucket, Key }))
    await assert.rejects(read(Key), { name: 'NoSuchKey' })
  }
  await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: 'x'.repeat(1025), Body: '' })), { name: 'KeyTooLongError' })
})

test('a body comes back as it went, with its ETag and what was said about it', async () => {
  const Body = Buffer.alloc(5_000_000, 'anvil')
  const put = await s3.send(new PutObjectCommand({
    Bucket, Key: 'k', Body, ContentType: 'text/plain', CacheControl: 'no-cache', ContentDisposition: 'attachment', ContentLanguage: 'de', ContentEncoding: 'identity',
    Expires: new Date(0), Metadata: { colour: 'blue', empty: '' }, StorageClass: 'STANDARD_IA', ServerSideEncryption: 'AES256', WebsiteRedirectLocation: '/other',
  }))
  assert.equal(put.ETag, `"${createHash('md5').update(Body).digest('hex')}"`)
  assert.equal(put.ServerSideEncryption, 'AES256')
  assert.equal(put.ChecksumType, 'FULL_OBJECT')
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))
  assert.ok(Body.equals(await got.Body!.transformToByteArray()))
  for (const answer of [got, await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }))]) {
    assert.equal(answer.ETag, put.ETag)
    assert.equal(answer.ContentLength, Body.length)
    assert.equal(answer.ContentType, 'text/plain')
    assert.equal(answer.CacheControl, 'no-cache')
    assert.equal(answer.ContentDisposition, 'attachment')
    assert.equal(answer.ContentLanguage, 'de')
    assert.equal(answer.ContentEncoding, 'identity')
    assert.deepEqual(answer.Metadata, { colour: 'blue', empty: '' })
    assert.equal(answer.StorageClass, 'STANDARD_IA')
    assert.equal(answer.ServerSideEncryption, 'AES256')
    assert.equal(answer.WebsiteRedirectLocation, '/other')
    assert.equal(answer.AcceptRanges, 'bytes')
    assert.ok(answer.LastModified instanceof Date)
  }
  const empty = await s3.send(new PutObjectCommand({ Bucket, Key: 'empty', Body: '' }))
  assert.equal(empty.ETag, '"d41d8cd98f00b204e9800998ecf8427e"')
  assert.equal((await read('empty')).length, 0)
  assert.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'empty' }))).ContentLength, 0)
})

test('every checksum algorithm, in the head and as a trailer', async () => {
  const Body = Buffer.alloc(100_000, 'x')
  for (const algorithm of ['CRC32', 'CRC32C', 'SHA1', 'SHA256'] as ChecksumAlgorithm[]) {
    await s3.send(new PutObjectCommand({ Bucket, Key: algorithm, Body, ChecksumAlgorithm: algorithm }))
    await s3.send(new PutObjectCommand({ Bucket, Key: `${algorithm}-stream`, Body: Readable.from([Body.subarray(0, 70_000), Body.subarray(70_000)]), ContentLength: Body.length, ChecksumAlgorithm: algorithm }))
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: `${algorithm}-stream`, ChecksumMode: 'ENABLED' }))
    assert.equal(head[`Checksum${algorithm}` as 'ChecksumCRC32'], (await s3.send(new HeadObjectCommand({ Bucket, Key: algorithm, ChecksumMode: 'ENABLED' })))[`Checksum${algorithm}` as 'ChecksumCRC32'])
    assert.equal(head.ChecksumType, 'FULL_OBJECT')
    assert.ok((await read(`${algorithm}-stream`)).equals(Body))
  }
  await s3.send(new PutObjectCommand({ Bucket, Key: 'crc64', Body: '123456789', ChecksumCRC64NVME: 'rosUhgp5mIg=' }))
  await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: 'bad', Body: '12345678', ChecksumCRC64NVME: 'rosUhgp5mIg=' })), { name: 'BadDigest' })
  await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: 'bad', Body: 'x', ChecksumSHA256: 'AAAA' })), { name: 'InvalidRequest' })
  await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: 'bad', Body: 'x', ContentMD5: '1B2M2Y8AsgTpgAmY7PhCfg==' })), { name: 'BadDigest' })
  await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: 'bad', Body: 'x', ContentMD5: 'x' })), { name: 'InvalidDigest' })
  await assert.rejects(read('bad'), { name: 'NoSuchKey' })
})

test('ranges', async () => {
  await s3.send(new PutObjectCommand({ Bucket, Key: 'range', Body: '0123456789' }))
  const range = async (Range: string): Promise<[string, string | undefined, number | undefined]> => {
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'range', Range }))
    return [await got.Body!.transformToString(), got.ContentRange, got.$metadata.httpStatusCode]
  }
  assert.deepEqual(await range('bytes=2-4'), ['234', 'bytes 2-4/10', 206])
  assert.deepEqual(await range('bytes=8-100'), ['89', 'bytes 8-9/10', 206])
  assert.deepEqual(await range('bytes=-3'), ['789', 'bytes 7-9/10', 206])
  assert.deepEqual(await range('bytes=0-1,3-4'), ['0123456789', undefined, 200])
  await assert.rejects(range('bytes=10-'), { name: 'InvalidRange' })
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'range', Range: 'bytes=2-4' }))
  assert.deepEqual([head.ContentLength, head.ContentRange], [3, 'bytes 2-4/10'])
})

test('conditions of reads and writes', async () => {
  const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'if', Body: '1' }))
  const get = (conditions: object) => s3.send(new GetObjectCommand({ Bucket, Key: 'if', ...conditions }))
  await get({ IfMatch: ETag, IfModifiedSince: new Date(0) }).then((got) => got.Body!.transformToString())
  await assert.rejects(get({ IfMatch: '"other"' }), { name: 'PreconditionFailed' })
  await assert.rejects(get({ IfNoneMatch: ETag }), (error: { $metadata: { httpStatusCode: number } }) => error.$metadata.httpStatusCode === 304)
  await assert.rejects(get({ IfUnmodifiedSince: new Date(0) }), { name: 'PreconditionFailed' })
  const put = (conditions: object, Key = 'if') => s3.send(new PutObjectCommand({ Bucket, Key, Body: '2', ...conditions }))
  await assert.rejects(put({ IfNoneMatch: '*' }), { name: 'PreconditionFailed' })
  await assert.rejects(put({ IfMatch: '"other"' }), { name: 'PreconditionFailed' })
  await assert.rejects(put({ IfMatch: '"other"' }, 'none'), { name: 'NoSuchKey' })
  await put({ IfMatch: ETag })
  await put({ IfNoneMatch: '*' }, 'new')
  await assert.rejects(s3.send(new DeleteObjectCommand({ Bucket, Key: 'new', IfMatch: '"other"' })), { name: 'PreconditionFailed' })
  await assert.rejects(s3.send(new DeleteObjectCommand({ Bucket, Key: 'new', IfMatchSize: 99 })), { name: 'NotImplemented' })
})

test('copies', async () => {
  const Key = 'source ü+%'
  const source = await s3.send(new PutObjectCommand({ Bucket, Key, Body: 'copied', Metadata: { a: '1' }, ContentType: 'text/x' }))
  const CopySource = `/${Bucket}/${encodeURIComponent(Key)}`
  const copied = await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource }))
  assert.equal(copied.CopyObjectResult?.ETag, source.ETag)
  assert.deepEqual((await s3.send(new HeadObjectCommand({ Bucket, Key: 'copy' }))).Metadata, { a: '1' })
  await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource, MetadataDirective: 'REPLACE', Metadata: { b: '2' }, StorageClass: 'ONEZONE_IA' }))
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'copy' }))
  assert.deepEqual([head.Metadata, head.ContentType, head.StorageClass], [{ b: '2' }, 'binary/octet-stream', 'ONEZONE_IA'])
  await assert.rejects(s3.send(new CopyObjectCommand({ Bucket, Key, CopySource })), { name: 'InvalidRequest' })
  await assert.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'c', CopySource, CopySourceIfNoneMatch: source.ETag })), { name: 'PreconditionFailed' })
  await assert.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'c', CopySource: `${Bucket}/none` })), { name: 'NoSuchKey' })
  await assert.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'c', CopySource: 'nobucket/none' })), { name: 'NoSuchBucket' })
  await assert.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'c', CopySource: 'x' })), { name: 'InvalidArgument' })
  const sum = await s3.send(new CopyObjectCommand({ Bucket, Key: 'c', CopySource, ChecksumAlgorithm: 'SHA256' }))
  assert.equal(sum.CopyObjectResult?.ChecksumSHA256, createHash('sha256').update('copied').digest('base64'))
})

test('SSE-C from this host', async () => {
  const key = Buffer.alloc(32, 1)
  const sse = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: key.toString('base64'), SSECustomerKeyMD5: createHash('md5').update(key).digest('base64') }
  const put = await s3.send(new PutObjectCommand({ Bucket, Key: 'ssec', Body: 'x', ...sse }))
  assert.equal(put.SSECustomerKeyMD5, sse.SSECustomerKeyMD5)
  await assert.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'ssec' })), { name: 'InvalidRequest' })
  assert.equal(await (await s3.send(new GetObjectCommand({ Bucket, Key: 'ssec', ...sse }))).Body!.transformToString(), 'x')
  const other = Buffer.alloc(32, 2)
  const wrong = { ...sse, SSECustomerKey: other.toString('base64'), SSECustomerKeyMD5: createHash('md5').update(other).digest('base64') }
  await assert.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'ssec', ...wrong })), { name: 'AccessDenied' })
  await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: 'kms', Body: 'x', ServerSideEncryption: 'aws:kms' })), { name: 'NotImplemented' })
  await s3.send(new GetObjectAclCommand({ Bucket, Key: 'ssec' }))
})

test('deletes of many', async () => {
  for (const Key of ['d1', 'd2', 'd<3>']) await s3.send(new PutObjectCommand({ Bucket, Key, Body: '' }))
  const deleted = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'd1' }, { Key: 'none' }, { Key: 'd2', VersionId: 'v1' }, { Key: 'd<3>', VersionId: 'null' }] } }))
  assert.deepEqual(deleted.Deleted?.map((item) => item.Key), ['d1', 'none', 'd<3>'])
  assert.deepEqual(deleted.Errors?.map((item) => [item.Key, item.Code]), [['d2', 'NoSuchVersion']])
  const quiet = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Quiet: true, Objects: [{ Key: 'd2', ETag: '"other"' }, { Key: 'none' }] } }))
  assert.deepEqual([quiet.Deleted, quiet.Errors?.map((item) => item.Code)], [undefined, ['PreconditionFailed']])
  await assert.rejects(s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [] } })), { name: 'MalformedXML' })
  await assert.rejects(s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: Array.from({ length: 1001 }, (_, i) => ({ Key: `k${i}` })) } })), { name: 'MalformedXML' })
})

test('presigned URLs, with what they override', async () => {
  const url = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'presigned ü', Metadata: { a: 'b' } }), { expiresIn: 60 })
  assert.equal((await fetch(url, { method: 'PUT', body: 'by url' })).status, 200)
  const got = await fetch(await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'presigned ü', ResponseContentType: 'text/html', ResponseContentDisposition: 'inline' })))
  assert.equal(await got.text(), 'by url')
  assert.equal(got.headers.get('content-type'), 'text/html')
  assert.equal(got.headers.get('content-disposition'), 'inline')
  assert.equal(got.headers.get('x-amz-meta-a'), 'b')
  assert.match(got.headers.get('x-amz-request-id') ?? '', /^[0-9A-F]{16}$/)
  const refused = await fetch(`${url}x`, { method: 'PUT', body: 'by url' })
  assert.equal(refused.status, 403)
  assert.match(await refused.text(), /<Code>SignatureDoesNotMatch<\/Code>/)
})

test('attributes, tags, versions', async () => {
  await s3.send(new PutObjectCommand({ Bucket, Key: 'attr', Body: 'abc', ChecksumAlgorithm: 'SHA256' }))
  const attributes = await s3.send(new GetObjectAttributesCommand({ Bucket, Key: 'attr', ObjectAttributes: ['ETag', 'ObjectSize', 'Checksum', 'StorageClass', 'ObjectParts'] }))
  assert.deepEqual([attributes.ETag, attributes.ObjectSize, attributes.StorageClass, attributes.ObjectParts], ['900150983cd24fb0d6963f7d28e17f72', 3, 'STANDARD', undefined])
  assert.equal(attributes.Checksum?.ChecksumSHA256, createHash('sha256').update('abc').digest('base64'))
  assert.deepEqual((await s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'attr' }))).TagSet, [])
  await assert.rejects(s3.send(new GetObjectTaggingCommand({ Bucket, Key: 'none' })), { name: 'NoSuchKey' })
  await assert.rejects(s3.send(new PutObjectTaggingCommand({ Bucket, Key: 'attr', Tagging: { TagSet: [] } })), { name: 'NotImplemented' })
  await s3.send(new HeadObjectCommand({ Bucket, Key: 'attr', VersionId: 'null' }))
  await assert.rejects(s3.send(new GetObjectCommand({ Bucket, Key: 'attr', VersionId: 'abc' })), { name: 'NoSuchVersion' })
  await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: '', ACL: 'public-read' })), { name: 'AccessControlListNotSupported' })
  await assert.rejects(s3.send(new HeadObjectCommand({ Bucket, Key: 'none' })), { name: 'NotFound' })
})

test('metadata that is not ASCII comes back as an encoded word', async () => {
  const { store, directory } = harness
  await s3.send(new PutObjectCommand({ Bucket, Key: 'meta', Body: '' }))
  store.objects.get(directory.buckets.get(Bucket)!.id)!.get('meta')!.record.userMetadata['city'] = 'Köln'
  assert.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'meta' }))).Metadata?.['city'], `=?UTF-8?B?${Buffer.from('Köln').toString('base64')}?=`)
})

test('virtual-host style', async () => {
  const { port } = harness
  await s3.send(new PutObjectCommand({ Bucket, Key: '-/healthz', Body: 'an object' }))
  const url = await getSignedUrl(harness.client({ endpoint: 'http://s3.test', forcePathStyle: false }), new GetObjectCommand({ Bucket, Key: '-/healthz' }))
  assert.ok(url.startsWith('http://first.s3.test/-/healthz?'))
  const { request } = await import('node:http')
  const text = await new Promise<string>((resolve, reject) => {
    request({ host: '127.0.0.1', port, path: url.slice('http://first.s3.test'.length), headers: { host: 'first.s3.test' } }, (answer) => {
      void answer.toArray().then((chunks) => {
        resolve(Buffer.concat(chunks as Buffer[]).toString())
      })
    }).on('error', reject).end()
  })
  assert.equal(text, 'an object')
})

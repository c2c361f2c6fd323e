/** Multipart uploads through @aws-sdk/client-s3, and answers that are late. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import {
  AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CopyObjectCommand, CreateBucketCommand, CreateMultipartUploadCommand, GetObjectAttributesCommand, GetObjectCommand,
  HeadObjectCommand, ListMultipartUploadsCommand, ListPartsCommand, PutObjectCommand, type S3Client, UploadPartCommand, UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { AnvilError } from '../../../src/shared/errors.ts'
import { type Harness, startHarness } from './harness.ts'
import { eventually, RawSocket } from './raw-socket.ts'
import { signed } from './sign.ts'

let harness: Harness
let s3: S3Client
const Bucket = 'parts'
const MIB = 1024 * 1024
const part1 = Buffer.alloc(5 * MIB, '1')
const part2 = Buffer.alloc(1000, '2')

before(async () => {
  harness = await startHarness()
  s3 = harness.client()
  await s3.send(new CreateBucketCommand({ Bucket }))
})
after(() => harness.stop())

test('parts are uploaded, listed and completed', async () => {
  const Key = 'a/multi part'
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, Metadata: { a: 'b' }, ChecksumAlgorithm: 'CRC32' }))
  const second = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 2, Body: part2, ChecksumAlgorithm: 'CRC32' }))
  const first = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: part1, ChecksumAlgorithm: 'CRC32' }))
  const listed = await s3.send(new ListPartsCommand({ Bucket, Key, UploadId, MaxParts: 1 }))
  assert.deepEqual(listed.Parts?.map((part) => [part.PartNumber, part.Size, part.ETag]), [[1, part1.length, first.ETag]])
  assert.deepEqual([listed.IsTruncated, listed.NextPartNumberMarker, listed.ChecksumAlgorithm], [true, '1', 'CRC32'])
  assert.equal((await s3.send(new ListPartsCommand({ Bucket, Key, UploadId, PartNumberMarker: '1' }))).Parts?.[0]?.PartNumber, 2)
  const uploads = await s3.send(new ListMultipartUploadsCommand({ Bucket }))
  assert.deepEqual(uploads.Uploads?.map((upload) => [upload.Key, upload.UploadId]), [[Key, UploadId]])
  assert.deepEqual((await s3.send(new ListMultipartUploadsCommand({ Bucket, Delimiter: '/' }))).CommonPrefixes, [{ Prefix: 'a/' }])
  const complete = (Parts: object[], more: object = {}) => s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...more }))
  const parts = [
    { PartNumber: 1, ETag: first.ETag, ChecksumCRC32: first.ChecksumCRC32 }, { PartNumber: 2, ETag: second.ETag, ChecksumCRC32: second.ChecksumCRC32 },
  ]
  await assert.rejects(complete(parts.toReversed()), { name: 'InvalidPartOrder' })
  await assert.rejects(complete([{ PartNumber: 1, ETag: 'other' }]), { name: 'InvalidPart' })
  await assert.rejects(complete([{ PartNumber: 10001, ETag: 'other' }]), { name: 'InvalidArgument' })
  await assert.rejects(complete([]), { name: 'MalformedXML' })
  await assert.rejects(complete(parts, { MpuObjectSize: 5 }), { name: 'InvalidRequest' })
  const done = await complete(parts)
  assert.match(done.ETag ?? '', /^"[0-9a-f]{32}-2"$/)
  assert.match(done.ChecksumCRC32 ?? '', /-2$/)
  assert.equal(done.ChecksumType, 'COMPOSITE')
  assert.equal(done.Location, `${harness.endpoint}/${Bucket}/a/multi%20part`)
  const got = await s3.send(new GetObjectCommand({ Bucket, Key, PartNumber: 2 }))
  assert.deepEqual([got.PartsCount, got.ContentRange, await got.Body!.transformToString()], [2, `bytes ${part1.length}-${part1.length + 999}/${part1.length + 1000}`, part2.toString()])
  const head = await s3.send(new HeadObjectCommand({ Bucket, Key }))
  assert.deepEqual([head.ContentLength, head.Metadata, head.ETag], [part1.length + 1000, { a: 'b' }, done.ETag])
  const attributes = await s3.send(new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes: ['ObjectParts'], MaxParts: 1 }))
  assert.deepEqual([attributes.ObjectParts?.TotalPartsCount, attributes.ObjectParts?.IsTruncated, attributes.ObjectParts?.Parts?.[0]?.Size], [2, true, part1.length])
  await assert.rejects(complete(parts), { name: 'NoSuchUpload' })
})

test('copies of parts, small parts, aborted uploads', async () => {
  await s3.send(new PutObjectCommand({ Bucket, Key: 'source', Body: part1 }))
  const Key = 'copied'
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  const copy = (PartNumber: number, CopySourceRange?: string) => s3.send(new UploadPartCopyCommand({ Bucket, Key, UploadId, PartNumber, CopySource: `${Bucket}/source`, CopySourceRange }))
  const small = await copy(1, 'bytes=0-99')
  const whole = await copy(2)
  assert.equal(whole.CopyPartResult?.ETag, `"${createHash('md5').update(part1).digest('hex')}"`)
  await assert.rejects(copy(3, 'bytes=5-'), { name: 'InvalidArgument' })
  await assert.rejects(copy(0), { name: 'InvalidArgument' })
  const Parts = [{ PartNumber: 1, ETag: small.CopyPartResult!.ETag }, { PartNumber: 2, ETag: whole.CopyPartResult.ETag }]
  await assert.rejects(s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } })), { name: 'EntityTooSmall' })
  await s3.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
  for (const id of [UploadId, 'made up']) {
    await assert.rejects(s3.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId: id })), { name: 'NoSuchUpload' })
    await assert.rejects(s3.send(new UploadPartCommand({ Bucket, Key, UploadId: id, PartNumber: 1, Body: 'x' })), { name: 'NoSuchUpload' })
  }
})

test('checksum types that cannot be are refused', async () => {
  const create = (more: object) => s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'k', ...more }))
  await assert.rejects(create({ ChecksumAlgorithm: 'SHA256', ChecksumType: 'FULL_OBJECT' }), { name: 'InvalidRequest' })
  await assert.rejects(create({ ChecksumAlgorithm: 'CRC64NVME', ChecksumType: 'COMPOSITE' }), { name: 'InvalidRequest' })
  const crc = await create({ ChecksumAlgorithm: 'CRC64NVME' })
  assert.deepEqual([crc.ChecksumAlgorithm, crc.ChecksumType], ['CRC64NVME', 'FULL_OBJECT'])
})

test('lib-storage uploads a stream of unknown length', async () => {
  const Body = Buffer.alloc(12 * MIB, 'stream')
  await new Upload({ client: s3, params: { Bucket, Key: 'streamed', Body: Readable.from(Body.length > 0 ? [Body.subarray(0, 7 * MIB), Body.subarray(7 * MIB)] : []) }, queueSize: 3 }).done()
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'streamed' }))
  assert.ok(Body.equals(await got.Body!.transformToByteArray()))
})

test('an answer that is late: 200 and white space, then the document or the error', async () => {
  const impatient = await startHarness({ patienceMs: 20 })
  const client = impatient.client()
  await client.send(new CreateBucketCommand({ Bucket }))
  await client.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'late' }))
  impatient.store.copyDelayMs = 100
  const copied = await client.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/k` }))
  assert.match(copied.CopyObjectResult?.ETag ?? '', /^"[0-9a-f]{32}"$/)
  impatient.store.copyError = new AnvilError('SlowDown', 'no memory')
  await assert.rejects(client.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/k` })), { name: 'SlowDown' })
  const { head } = signed({ method: 'PUT', target: `/${Bucket}/copy`, headers: { 'content-length': '0', 'x-amz-copy-source': `${Bucket}/k` } })
  const raw = await RawSocket.open(impatient.port)
  const answer = await raw.send(head).answer()
  assert.equal(answer.status, 200)
  assert.match(answer.body, /^<\?xml version="1.0" encoding="UTF-8"\?>\s*<Error><Code>SlowDown<\/Code>/)
  assert.equal((await raw.send(signed({ method: 'GET', target: `/${Bucket}/k` }).head).answer()).body, 'late')
  // The client goes while the outcome is awaited.
  raw.send(head)
  await eventually('the copy is running', () => impatient.gateway.counters().active === 1)
  raw.close()
  await eventually('nothing runs', () => impatient.gateway.counters().active === 0)
  await impatient.stop()
})

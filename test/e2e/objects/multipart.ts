import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { it } from 'node:test'
import { crc32 } from 'node:zlib'
import {
  AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CopyObjectCommand, CreateMultipartUploadCommand, DeleteObjectCommand,
  GetObjectAttributesCommand, GetObjectCommand, HeadObjectCommand, ListMultipartUploadsCommand, ListObjectsV2Command, ListPartsCommand,
  PutObjectCommand, UploadPartCommand, UploadPartCopyCommand, type CompletedPart, type CreateMultipartUploadCommandInput,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { bytes, md5 } from '../../support/bytes.ts'
import { fails, newBucket, read, sameBytes, type Context } from './context.ts'

const MIB = 1024 * 1024
const PART = 5 * MIB

const partsEtag = (parts: Uint8Array[]): string =>
  `"${createHash('md5').update(Buffer.concat(parts.map((part) => createHash('md5').update(part).digest()))).digest('hex')}-${parts.length}"`

export function multipartTests(context: Context): void {
  it('is assembled from parts sent in any order, some sent twice, with a small last one', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const upload = await begin(context, Bucket, 'k', { ContentType: 'text/x', Metadata: { a: 'b' }, StorageClass: 'STANDARD_IA' })
    const parts = [bytes(PART, 1), bytes(PART + 17, 2), bytes(6 * MIB, 3), bytes(11, 4)]
    await upload.part(7, parts[3]!)
    await upload.part(2, bytes(PART, 99)) // replaced below
    const sent = [await upload.part(1, parts[0]!), await upload.part(2, parts[1]!), await upload.part(5, parts[2]!), await upload.part(7, parts[3]!)]
    const done = await upload.complete(sent)
    assert.equal(done.ETag, partsEtag(parts))
    assert.equal(done.Key, 'k')
    const whole = Buffer.concat(parts)
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))
    sameBytes(await read(got), whole)
    assert.equal(got.ETag, partsEtag(parts))
    assert.equal(got.ContentType, 'text/x')
    assert.deepEqual(got.Metadata, { a: 'b' })
    assert.equal(got.StorageClass, 'STANDARD_IA')
    await rangesOver(context, Bucket, whole, parts)
    await eachPart(context, Bucket, parts)
    await fails(upload.list(), 'NoSuchUpload', 404)
    // the answer of a Complete is given again
    assert.equal((await upload.complete(sent)).ETag, partsEtag(parts))
  })

  it('is listed while it runs, page by page, and gone after an abort', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const upload = await begin(context, Bucket, 'dir/k')
    for (const PartNumber of [3, 1, 10]) await upload.part(PartNumber, bytes(100 + PartNumber, PartNumber))
    const first = await upload.list({ MaxParts: 2 })
    assert.deepEqual(first.Parts?.map(({ PartNumber, Size, ETag }) => [PartNumber, Size, ETag]), [1, 3].map((n) => [n, 100 + n, `"${md5(bytes(100 + n, n))}"`]))
    assert.equal(first.IsTruncated, true)
    const second = await upload.list({ PartNumberMarker: first.NextPartNumberMarker })
    assert.deepEqual(second.Parts?.map((part) => part.PartNumber), [10])
    assert.equal(second.IsTruncated, false)
    const running = await s3.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'dir/' }))
    assert.deepEqual(running.Uploads?.map((entry) => [entry.Key, entry.UploadId]), [['dir/k', upload.id]])
    assert.equal((await s3.send(new ListObjectsV2Command({ Bucket }))).KeyCount, 0)
    await upload.abort()
    await fails(upload.list(), 'NoSuchUpload', 404)
    await fails(upload.part(1, bytes(10)), 'NoSuchUpload', 404)
    await fails(upload.abort(), 'NoSuchUpload', 404)
    assert.equal((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads, undefined)
  })

  it('pages through many uploads, with prefixes folded', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const keys = ['a', 'a', 'b', 'c/1', 'c/2', 'd']
    const ids = new Set<string>()
    for (const key of keys) ids.add((await begin(context, Bucket, key)).id)
    const seen: string[] = []
    let marker: { KeyMarker?: string; UploadIdMarker?: string } = {}
    for (;;) {
      const page = await s3.send(new ListMultipartUploadsCommand({ Bucket, MaxUploads: 2, ...marker }))
      seen.push(...(page.Uploads ?? []).map((entry) => entry.UploadId!))
      if (!page.IsTruncated) break
      marker = { KeyMarker: page.NextKeyMarker!, UploadIdMarker: page.NextUploadIdMarker! }
    }
    assert.equal(seen.length, keys.length)
    assert.deepEqual(new Set(seen), ids)
    const folded = await s3.send(new ListMultipartUploadsCommand({ Bucket, Delimiter: '/' }))
    assert.deepEqual(folded.CommonPrefixes?.map((entry) => entry.Prefix), ['c/'])
    assert.deepEqual(folded.Uploads?.map((entry) => entry.Key), ['a', 'a', 'b', 'd'])
  })

  it('refuses parts that are too small, unknown, out of order or none at all, and goes on', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const upload = await begin(context, Bucket, 'k')
    const small = await upload.part(1, bytes(1000, 1))
    const last = await upload.part(2, bytes(1000, 2))
    await fails(upload.complete([small, last]), 'EntityTooSmall', 400)
    await fails(upload.complete([last, small]), 'InvalidPartOrder', 400)
    await fails(upload.complete([{ PartNumber: 3, ETag: '"0"' }]), 'InvalidPart', 400)
    await fails(upload.complete([{ PartNumber: 1, ETag: last.ETag }]), 'InvalidPart', 400)
    await fails(upload.complete([]), 'MalformedXML', 400)
    await fails(upload.part(0, bytes(10)), 'InvalidArgument', 400)
    await fails(upload.part(10_001, bytes(10)), 'InvalidArgument', 400)
    await upload.complete([last])
    sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))), bytes(1000, 2))
    await fails(s3.send(new UploadPartCommand({ Bucket, Key: 'k', UploadId: 'never-given', PartNumber: 1, Body: 'x' })), 'NoSuchUpload', 404)
  })

  it('copies parts from other objects and ranges of them', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const Other = await newBucket(context)
    const source = bytes(12 * MIB, 5)
    await s3.send(new PutObjectCommand({ Bucket: Other, Key: 's ü', Body: source }))
    const upload = await begin(context, Bucket, 'k')
    const copy = async (PartNumber: number, CopySourceRange?: string): Promise<CompletedPart> => {
      const { CopyPartResult } = await s3.send(new UploadPartCopyCommand({
        Bucket, Key: 'k', UploadId: upload.id, PartNumber, CopySource: `${Other}/s%20%C3%BC`, ...(CopySourceRange === undefined ? {} : { CopySourceRange }),
      }))
      return { PartNumber, ETag: CopyPartResult!.ETag! }
    }
    const sent = [await copy(1), await copy(2, `bytes=1000-${1000 + PART - 1}`), await copy(3, `bytes=${source.length - 5}-${source.length - 1}`)]
    const parts = [source, source.subarray(1000, 1000 + PART), source.subarray(-5)]
    assert.deepEqual(sent.map((part) => part.ETag), parts.map((part) => `"${md5(part)}"`))
    // S3 answers 400, others of its kind 416
    await assert.rejects(copy(4, `bytes=0-${source.length}`), (error: { $metadata?: { httpStatusCode?: number } }) => [400, 416].includes(error.$metadata?.httpStatusCode ?? 0))
    assert.equal((await upload.complete(sent)).ETag, partsEtag(parts))
    await s3.send(new DeleteObjectCommand({ Bucket: Other, Key: 's ü' }))
    sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))), Buffer.concat(parts))
  })

  it('is copied, overwritten and deleted like any object', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const Other = await newBucket(context)
    const upload = await begin(context, Bucket, 'k')
    const parts = [bytes(PART, 1), bytes(500, 2)]
    await upload.complete([await upload.part(1, parts[0]!), await upload.part(2, parts[1]!)])
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'same', CopySource: `${Bucket}/k` }))
    await s3.send(new CopyObjectCommand({ Bucket: Other, Key: 'other', CopySource: `${Bucket}/k` }))
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'small now' }))
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))
    for (const place of [{ Bucket, Key: 'same' }, { Bucket: Other, Key: 'other' }]) {
      sameBytes(await read(await s3.send(new GetObjectCommand(place))), Buffer.concat(parts), place.Key)
    }
  })

  it('makes composite and full-object checksums', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const parts = [bytes(PART, 1), bytes(PART, 2), bytes(1234, 3)]
    const sha = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest()
    const composite = await begin(context, Bucket, 'composite', { ChecksumAlgorithm: 'SHA256' })
    const sent = await Promise.all(parts.map((part, i) => composite.part(i + 1, part, { ChecksumAlgorithm: 'SHA256' })))
    assert.deepEqual(sent.map((part) => part.ChecksumSHA256), parts.map((part) => sha(part).toString('base64')))
    const done = await composite.complete(sent)
    const wanted = `${sha(Buffer.concat(parts.map(sha))).toString('base64')}-3`
    assert.equal(done.ChecksumSHA256, wanted)
    assert.equal(done.ChecksumType, 'COMPOSITE')
    assert.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'composite', ChecksumMode: 'ENABLED' }))).ChecksumSHA256, wanted)

    const full = await begin(context, Bucket, 'full', { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' })
    const fullParts = await Promise.all(parts.map((part, i) => full.part(i + 1, part, { ChecksumAlgorithm: 'CRC32' })))
    const value = Buffer.alloc(4)
    value.writeUInt32BE(crc32(Buffer.concat(parts)))
    const fullDone = await full.complete(fullParts)
    assert.equal(fullDone.ChecksumCRC32, value.toString('base64'))
    assert.equal(fullDone.ChecksumType, 'FULL_OBJECT')
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'full', ChecksumMode: 'ENABLED' }))
    sameBytes(await read(got), Buffer.concat(parts))
    assert.equal(got.ChecksumCRC32, value.toString('base64'))
    const attributes = await s3.send(new GetObjectAttributesCommand({ Bucket, Key: 'composite', ObjectAttributes: ['ObjectParts', 'Checksum', 'ObjectSize'] }))
    assert.equal(attributes.ObjectParts?.TotalPartsCount, 3)
    assert.deepEqual(attributes.ObjectParts?.Parts?.map((part) => [part.PartNumber, part.Size, part.ChecksumSHA256]), parts.map((part, i) => [i + 1, part.length, sha(part).toString('base64')]))
  })

  it('honours If-None-Match: * at its end, also in a race', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const uploads = await Promise.all(Array.from({ length: 6 }, async (_, i) => {
      const upload = await begin(context, Bucket, 'k')
      return { upload, i, part: await upload.part(1, bytes(100_000, i)) }
    }))
    const results = await Promise.allSettled(uploads.map(({ upload, part }) => upload.complete([part], { IfNoneMatch: '*' })))
    const winners = results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []))
    assert.equal(winners.length, 1)
    for (const result of results) {
      if (result.status === 'rejected') assert.ok(['PreconditionFailed', 'ConditionalRequestConflict'].includes((result.reason as Error).name), String(result.reason))
    }
    sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))), bytes(100_000, winners[0]))
  })

  for (const sse of ['AES256', 'customer'] as const) {
    it(`is encrypted (${sse})`, async () => {
      const { s3 } = context
      const Bucket = await newBucket(context)
      const key = bytes(32, 8)
      const customer = { SSECustomerAlgorithm: 'AES256', SSECustomerKey: key.toString('base64'), SSECustomerKeyMD5: createHash('md5').update(key).digest('base64') }
      const upload = await begin(context, Bucket, 'k', sse === 'AES256' ? { ServerSideEncryption: 'AES256' } : customer)
      const parts = [bytes(PART, 1), bytes(70_000, 2)]
      const withKey = sse === 'AES256' ? {} : customer
      // several times: a refusal that comes while the body is on its way must reach the client, not break its pipe
      for (let i = 0; sse === 'customer' && i < 5; i++) await fails(upload.part(1, parts[0]!), null, 400)
      await upload.complete([await upload.part(1, parts[0]!, withKey), await upload.part(2, parts[1]!, withKey)])
      const whole = Buffer.concat(parts)
      sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'k', ...withKey }))), whole)
      const part = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', Range: `bytes=${PART - 10}-${PART + 10}`, ...withKey }))
      sameBytes(await read(part), whole.subarray(PART - 10, PART + 11))
    })
  }

  it('works through the SDK’s own Upload', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const body = bytes(17 * MIB + 3, 6)
    await new Upload({ client: s3, params: { Bucket, Key: 'k', Body: body }, partSize: PART, queueSize: 4 }).done()
    sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))), body)
  })
}

async function begin({ s3 }: Context, Bucket: string, Key: string, more: Partial<CreateMultipartUploadCommandInput> = {}) {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }))
  const place = { Bucket, Key, UploadId: UploadId! }
  return {
    id: UploadId!,
    async part(PartNumber: number, Body: Uint8Array, extra: object = {}): Promise<CompletedPart> {
      const { $metadata: _, ServerSideEncryption: _sse, ...answer } = await s3.send(new UploadPartCommand({ ...place, PartNumber, Body, ...extra }))
      const { ETag, ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME, ChecksumSHA1, ChecksumSHA256 } = answer
      return { PartNumber, ETag, ChecksumCRC32, ChecksumCRC32C, ChecksumCRC64NVME, ChecksumSHA1, ChecksumSHA256 }
    },
    list: (extra: object = {}) => s3.send(new ListPartsCommand({ ...place, ...extra })),
    complete: (Parts: CompletedPart[], extra: object = {}) => s3.send(new CompleteMultipartUploadCommand({ ...place, MultipartUpload: { Parts }, ...extra })),
    abort: () => s3.send(new AbortMultipartUploadCommand(place)),
  }
}

/** Ranges within parts, over their borders, and over all of them. */
async function rangesOver({ s3 }: Context, Bucket: string, whole: Buffer, parts: Buffer[]): Promise<void> {
  let border = 0
  for (const part of parts) {
    border += part.length
    const from = border - 9
    const to = Math.min(whole.length - 1, border + 9)
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', Range: `bytes=${from}-${to}` }))
    sameBytes(await read(got), whole.subarray(from, to + 1), `border ${border}`)
  }
  const most = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', Range: `bytes=1-${whole.length - 2}` }))
  sameBytes(await read(most), whole.subarray(1, -1))
}

async function eachPart({ s3 }: Context, Bucket: string, parts: Buffer[]): Promise<void> {
  let from = 0
  for (const [i, part] of parts.entries()) {
    // by the number that a part was sent with, not by its place
    const PartNumber = [1, 2, 5, 7][i]!
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', PartNumber }))
    assert.equal(got.$metadata.httpStatusCode, 206)
    assert.equal(got.PartsCount, parts.length)
    assert.equal(got.ContentRange, `bytes ${from}-${from + part.length - 1}/${parts.reduce((sum, one) => sum + one.length, 0)}`)
    sameBytes(await read(got), part, `part ${PartNumber}`)
    from += part.length
  }
  await fails(s3.send(new GetObjectCommand({ Bucket, Key: 'k', PartNumber: 4 })), null, 416)
}

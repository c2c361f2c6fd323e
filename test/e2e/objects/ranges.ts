import assert from 'node:assert/strict'
import { it } from 'node:test'
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { bytes } from '../../support/bytes.ts'
import { signedRequest } from '../../support/raw-http.ts'
import { s3Path } from '../../support/sigv4.ts'
import { fails, newBucket, read, sameBytes, type Context } from './context.ts'

const MIB = 1024 * 1024

export function rangeTests(context: Context): void {
  for (const size of [10, 4096, 100_000, 3 * MIB + 5]) {
    it(`reads ranges of ${size} bytes`, async () => {
      const { s3 } = context
      const Bucket = await newBucket(context)
      const body = bytes(size)
      await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: body }))
      const last = size - 1
      const middle = Math.floor(size / 2)
      const cases: [string, number, number][] = [
        ['bytes=0-0', 0, 1], ['bytes=0-', 0, size], [`bytes=${last}-${last}`, last, size], [`bytes=${last}-`, last, size], ['bytes=-1', last, size],
        [`bytes=-${size}`, 0, size], [`bytes=-${size + 100}`, 0, size], [`bytes=1-${size + 1000}`, 1, size], [`bytes=${middle}-${middle + 3}`, middle, middle + 4],
        [`bytes=1-${last - 1}`, 1, last],
      ]
      for (const [Range, from, to] of cases) {
        const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', Range }))
        assert.equal(got.$metadata.httpStatusCode, 206, Range)
        assert.equal(got.ContentRange, `bytes ${from}-${to - 1}/${size}`)
        assert.equal(got.ContentLength, to - from)
        sameBytes(await read(got), body.subarray(from, to), Range)
      }
      const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'k', Range: 'bytes=2-5' }))
      assert.equal(head.ContentLength, 4)
      assert.equal(head.ContentRange, `bytes 2-5/${size}`)
    })
  }

  it('answers 416 for what lies behind the end, and the whole for what is no range', async () => {
    const { s3, node } = context
    const Bucket = await newBucket(context)
    const body = bytes(1000)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: body }))
    await s3.send(new PutObjectCommand({ Bucket, Key: 'empty', Body: '' }))
    for (const Range of ['bytes=1000-', 'bytes=5000-6000', 'bytes=-0']) await fails(s3.send(new GetObjectCommand({ Bucket, Key: 'k', Range })), 'InvalidRange', 416)
    await fails(s3.send(new GetObjectCommand({ Bucket, Key: 'empty', Range: 'bytes=0-0' })), 'InvalidRange', 416)
    for (const range of ['bytes=5-2', 'bytes=a-b', 'lines=1-2', 'bytes']) {
      const answer = await signedRequest(node.port, node.credentials, { method: 'GET', path: s3Path(Bucket, 'k'), headers: { range } })
      assert.equal(answer.status, 200, range)
      sameBytes(answer.body, body, range)
    }
  })

  it('reads at many random places', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const body = bytes(9 * MIB + 123)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: body }))
    const places = bytes(240, 7)
    await Promise.all(Array.from({ length: 40 }, async (_, i) => {
      const from = places.readUInt32LE(i * 6) % body.length
      const length = 1 + (places.readUInt16LE(i * 6 + 4) % 40_000)
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', Range: `bytes=${from}-${from + length - 1}` }))
      sameBytes(await read(got), body.subarray(from, from + length), `from ${from}`)
    }))
  })

  it('honours conditions of reads', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'abc' }))
    const { LastModified } = await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }))
    const earlier = new Date(LastModified!.getTime() - 60_000)
    const later = new Date(LastModified!.getTime() + 60_000)
    const get = (conditions: object) => s3.send(new GetObjectCommand({ Bucket, Key: 'k', ...conditions }))
    const head = (conditions: object) => s3.send(new HeadObjectCommand({ Bucket, Key: 'k', ...conditions }))
    for (const good of [
      { IfMatch: ETag }, { IfMatch: '*' }, { IfNoneMatch: '"other"' }, { IfModifiedSince: earlier }, { IfUnmodifiedSince: LastModified },
      { IfMatch: ETag, IfUnmodifiedSince: earlier }, { IfNoneMatch: '"other"', IfModifiedSince: later }, { IfMatch: `"other", ${ETag}` },
    ]) {
      assert.equal((await read(await get(good))).toString(), 'abc', JSON.stringify(good))
      await head(good)
    }
    for (const bad of [{ IfMatch: '"other"' }, { IfUnmodifiedSince: earlier }, { IfMatch: '"other"', IfModifiedSince: earlier }]) {
      await fails(get(bad), 'PreconditionFailed', 412)
      await fails(head(bad), null, 412)
    }
    for (const same of [{ IfNoneMatch: ETag }, { IfNoneMatch: '*' }, { IfModifiedSince: LastModified }, { IfNoneMatch: ETag, IfModifiedSince: earlier }]) {
      await fails(get(same), null, 304)
      await fails(head(same), null, 304)
    }
  })
}

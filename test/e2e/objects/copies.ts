import assert from 'node:assert/strict'
import { it } from 'node:test'
import { CopyObjectCommand, DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { bytes, md5 } from '../../support/bytes.ts'
import { encodeUri } from '../../support/sigv4.ts'
import { fails, newBucket, read, sameBytes, type Context } from './context.ts'

const MIB = 1024 * 1024

export function copyTests(context: Context): void {
  for (const size of [0, 100, 100_000, 7 * MIB]) {
    it(`copies ${size} bytes within a bucket and to another, and outlives its source`, async () => {
      const { s3 } = context
      const Bucket = await newBucket(context)
      const Other = await newBucket(context)
      const body = bytes(size)
      await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: body, ContentType: 'text/x', Metadata: { x: '1' } }))
      const copy = await s3.send(new CopyObjectCommand({ Bucket, Key: 'b', CopySource: `${Bucket}/a` }))
      assert.equal(copy.CopyObjectResult?.ETag, `"${md5(body)}"`)
      assert.ok(copy.CopyObjectResult?.LastModified instanceof Date)
      await s3.send(new CopyObjectCommand({ Bucket: Other, Key: 'c', CopySource: `/${Bucket}/a` }))
      await s3.send(new CopyObjectCommand({ Bucket, Key: 'd', CopySource: `${Bucket}/b` }))
      await s3.send(new DeleteObjectCommand({ Bucket, Key: 'a' }))
      await s3.send(new PutObjectCommand({ Bucket, Key: 'b', Body: 'overwritten' }))
      for (const place of [{ Bucket: Other, Key: 'c' }, { Bucket, Key: 'd' }]) {
        const got = await s3.send(new GetObjectCommand(place))
        sameBytes(await read(got), body, place.Key)
        assert.equal(got.ContentType, 'text/x')
        assert.deepEqual(got.Metadata, { x: '1' })
      }
      assert.equal((await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'b' })))).toString(), 'overwritten')
    })
  }

  it('replaces metadata when told to, also on an object itself', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const body = bytes(150_000)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: body, ContentType: 'text/x', Metadata: { x: '1' } }))
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'b', CopySource: `${Bucket}/a`, MetadataDirective: 'REPLACE', ContentType: 'text/y', Metadata: { y: '2' } }))
    const replaced = await s3.send(new HeadObjectCommand({ Bucket, Key: 'b' }))
    assert.equal(replaced.ContentType, 'text/y')
    assert.deepEqual(replaced.Metadata, { y: '2' })
    await fails(s3.send(new CopyObjectCommand({ Bucket, Key: 'a', CopySource: `${Bucket}/a` })), 'InvalidRequest', 400)
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'a', CopySource: `${Bucket}/a`, MetadataDirective: 'REPLACE', Metadata: { z: '3' } }))
    const self = await s3.send(new GetObjectCommand({ Bucket, Key: 'a' }))
    assert.deepEqual(self.Metadata, { z: '3' })
    sameBytes(await read(self), body)
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'a', CopySource: `${Bucket}/a`, StorageClass: 'STANDARD_IA' }))
    const moved = await s3.send(new GetObjectCommand({ Bucket, Key: 'a' }))
    assert.equal(moved.StorageClass, 'STANDARD_IA')
    sameBytes(await read(moved), body)
  })

  it('honours conditions on the source', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: 'x' }))
    const copy = (conditions: object) => s3.send(new CopyObjectCommand({ Bucket, Key: 'b', CopySource: `${Bucket}/a`, ...conditions }))
    const past = new Date(Date.now() - 3_600_000)
    await copy({ CopySourceIfMatch: ETag })
    await copy({ CopySourceIfModifiedSince: past })
    for (const conditions of [{ CopySourceIfMatch: '"other"' }, { CopySourceIfNoneMatch: ETag }, { CopySourceIfUnmodifiedSince: past }]) {
      await fails(copy(conditions), 'PreconditionFailed', 412)
    }
  })

  it('copies odd keys, and says what is not there', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    for (const Key of ['a b+c%25', 'ü/日本', 'a//b', 'q?x=1&y#z']) {
      await s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
      await s3.send(new CopyObjectCommand({ Bucket, Key: `${Key} copy`, CopySource: encodeUri(`${Bucket}/${Key}`, true) }))
      assert.equal((await read(await s3.send(new GetObjectCommand({ Bucket, Key: `${Key} copy` })))).toString(), Key)
    }
    await fails(s3.send(new CopyObjectCommand({ Bucket, Key: 'x', CopySource: `${Bucket}/absent` })), 'NoSuchKey', 404)
    await fails(s3.send(new CopyObjectCommand({ Bucket, Key: 'x', CopySource: 'absent-bucket-here/a' })), 'NoSuchBucket', 404)
    await fails(s3.send(new CopyObjectCommand({ Bucket, Key: 'x', CopySource: 'nonsense' })), null, 400)
  })

  it('computes a checksum for the copy when asked to', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const body = bytes(120_000)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'a', Body: body, ChecksumAlgorithm: 'CRC32' }))
    const kept = await s3.send(new CopyObjectCommand({ Bucket, Key: 'b', CopySource: `${Bucket}/a` }))
    const { ChecksumCRC32 } = await s3.send(new HeadObjectCommand({ Bucket, Key: 'a', ChecksumMode: 'ENABLED' }))
    assert.equal(kept.CopyObjectResult?.ChecksumCRC32, ChecksumCRC32)
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'c', CopySource: `${Bucket}/a`, ChecksumAlgorithm: 'SHA256' }))
    // the SDK verifies what it is given while it reads
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'c', ChecksumMode: 'ENABLED' }))
    sameBytes(await read(got), body)
    assert.ok(got.ChecksumSHA256)
  })
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CreateBucketCommand, DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, ListBucketsCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import { startHarness } from './harness.ts'

test('the SDK makes a bucket, puts, gets, heads, lists and deletes', async () => {
  const harness = await startHarness()
  const s3 = harness.client()
  await s3.send(new CreateBucketCommand({ Bucket: 'first' }))
  assert.deepEqual((await s3.send(new ListBucketsCommand())).Buckets?.map((bucket) => bucket.Name), ['first'])
  const Key = 'a/../b//ü ?&=+%.txt'
  const Body = Buffer.alloc(3_000_000, 'anvil')
  const put = await s3.send(new PutObjectCommand({ Bucket: 'first', Key, Body, Metadata: { colour: 'blue' }, ContentType: 'text/plain' }))
  const got = await s3.send(new GetObjectCommand({ Bucket: 'first', Key }))
  assert.equal(got.ETag, put.ETag)
  assert.equal(got.ContentType, 'text/plain')
  assert.deepEqual(got.Metadata, { colour: 'blue' })
  assert.ok(Body.equals(await got.Body!.transformToByteArray()))
  assert.equal((await s3.send(new HeadObjectCommand({ Bucket: 'first', Key }))).ContentLength, Body.length)
  assert.deepEqual((await s3.send(new ListObjectsV2Command({ Bucket: 'first' }))).Contents?.map((entry) => entry.Key), [Key])
  await s3.send(new DeleteObjectCommand({ Bucket: 'first', Key }))
  await assert.rejects(s3.send(new GetObjectCommand({ Bucket: 'first', Key })), { name: 'NoSuchKey' })
  await harness.stop()
})

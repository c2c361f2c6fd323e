import assert from 'node:assert/strict'
import { it } from 'node:test'
import {
  CreateBucketCommand, DeleteBucketCommand, DeleteObjectCommand, GetBucketLocationCommand, HeadBucketCommand, ListBucketsCommand,
  ListObjectsV2Command, PutObjectCommand,
} from '@aws-sdk/client-s3'
import { signedRequest } from '../../support/raw-http.ts'
import { fails, newBucket, type Context } from './context.ts'

export function bucketTests(context: Context): void {
  it('is made, seen, listed and deleted', async () => {
    const { s3 } = context
    const name = await newBucket(context)
    await s3.send(new HeadBucketCommand({ Bucket: name }))
    const { Buckets, Owner } = await s3.send(new ListBucketsCommand({}))
    const found = Buckets?.find((bucket) => bucket.Name === name)
    assert.ok(found?.CreationDate instanceof Date)
    assert.ok(Math.abs(found.CreationDate.getTime() - Date.now()) < 600_000)
    assert.ok(Owner?.ID)
    await s3.send(new GetBucketLocationCommand({ Bucket: name }))
    await s3.send(new DeleteBucketCommand({ Bucket: name }))
    await fails(s3.send(new HeadBucketCommand({ Bucket: name })), null, 404)
    await fails(s3.send(new ListObjectsV2Command({ Bucket: name })), 'NoSuchBucket', 404)
    await fails(s3.send(new PutObjectCommand({ Bucket: name, Key: 'a', Body: 'x' })), 'NoSuchBucket', 404)
    await fails(s3.send(new DeleteBucketCommand({ Bucket: name })), 'NoSuchBucket', 404)
  })

  it('can be made again after it was deleted', async () => {
    const { s3 } = context
    const name = await newBucket(context)
    await s3.send(new PutObjectCommand({ Bucket: name, Key: 'old', Body: 'x' }))
    await s3.send(new DeleteObjectCommand({ Bucket: name, Key: 'old' }))
    await s3.send(new DeleteBucketCommand({ Bucket: name }))
    await s3.send(new CreateBucketCommand({ Bucket: name }))
    assert.equal((await s3.send(new ListObjectsV2Command({ Bucket: name }))).KeyCount, 0)
  })

  it('is not made twice, and not deleted while it holds an object', async () => {
    const { s3 } = context
    const name = await newBucket(context)
    await fails(s3.send(new CreateBucketCommand({ Bucket: name })), 'BucketAlreadyOwnedByYou', 409)
    await s3.send(new PutObjectCommand({ Bucket: name, Key: 'a', Body: 'x' }))
    await fails(s3.send(new DeleteBucketCommand({ Bucket: name })), 'BucketNotEmpty', 409)
    await s3.send(new HeadBucketCommand({ Bucket: name }))
  })

  it('refuses names that S3 refuses', async () => {
    for (const name of ['ab', 'Upper', '-start', 'end-', 'a..b', '192.168.5.4', 'x'.repeat(64)]) {
      const answer = await signedRequest(context.node.port, context.node.credentials, { method: 'PUT', path: `/${name}` })
      assert.equal(answer.status, 400, name)
      assert.equal(answer.code, 'InvalidBucketName', name)
    }
  })

  it('pages through the list of buckets', async () => {
    const { s3 } = context
    const made = [await newBucket(context), await newBucket(context), await newBucket(context)]
    const seen: string[] = []
    let token: string | undefined
    do {
      const page = await s3.send(new ListBucketsCommand({ MaxBuckets: 2, ...(token === undefined ? {} : { ContinuationToken: token }) }))
      assert.ok((page.Buckets?.length ?? 0) <= 2)
      seen.push(...(page.Buckets ?? []).map((bucket) => bucket.Name!))
      token = page.ContinuationToken
    } while (token !== undefined)
    for (const name of made) assert.equal(seen.filter((other) => other === name).length, 1, name)
  })

  it('answers with a request id and S3 errors as XML', async () => {
    const answer = await signedRequest(context.node.port, context.node.credentials, { method: 'GET', path: '/no-such-bucket-here', query: { 'list-type': '2' } })
    assert.equal(answer.status, 404)
    assert.equal(answer.code, 'NoSuchBucket')
    assert.match(String(answer.headers['content-type']), /^application\/xml/)
    const id = answer.headers['x-amz-request-id']
    assert.ok(typeof id === 'string' && id.length > 0)
    assert.ok(answer.text.includes(`<RequestId>${id}</RequestId>`))
    assert.match(answer.text, /<Resource>\/no-such-bucket-here<\/Resource>/)
  })
}

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import {
  CopyObjectCommand, DeleteBucketEncryptionCommand, GetBucketEncryptionCommand, GetObjectCommand, HeadObjectCommand, PutBucketEncryptionCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3'
import { bytes, md5 } from '../../support/bytes.ts'
import { signedRequest } from '../../support/raw-http.ts'
import { s3Path } from '../../support/sigv4.ts'
import { fails, newBucket, read, sameBytes, type Context } from './context.ts'

const MIB = 1024 * 1024

const customerKey = (seed: number) => {
  const key = bytes(32, seed)
  return { SSECustomerAlgorithm: 'AES256', SSECustomerKey: key.toString('base64'), SSECustomerKeyMD5: createHash('md5').update(key).digest('base64') }
}

export function encryptionTests(context: Context): void {
  for (const size of [0, 100, 4096, 100_000, 3 * MIB + 1]) {
    it(`SSE-S3 with ${size} bytes`, async () => {
      const { s3 } = context
      const Bucket = await newBucket(context)
      const body = bytes(size)
      const put = await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: body, ServerSideEncryption: 'AES256' }))
      assert.equal(put.ServerSideEncryption, 'AES256')
      assert.equal(put.ETag, `"${md5(body)}"`)
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))
      assert.equal(got.ServerSideEncryption, 'AES256')
      sameBytes(await read(got), body)
      if (size > 100) {
        const part = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', Range: `bytes=50-${size - 20}` }))
        sameBytes(await read(part), body.subarray(50, size - 19))
      }
    })

    it(`SSE-C with ${size} bytes`, async () => {
      const { s3 } = context
      const Bucket = await newBucket(context)
      const body = bytes(size)
      const key = customerKey(1)
      const put = await s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: body, ...key }))
      assert.equal(put.SSECustomerAlgorithm, 'AES256')
      assert.equal(put.SSECustomerKeyMD5, key.SSECustomerKeyMD5)
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k', ...key }))
      sameBytes(await read(got), body)
      assert.equal(got.SSECustomerKeyMD5, key.SSECustomerKeyMD5)
      await fails(s3.send(new GetObjectCommand({ Bucket, Key: 'k' })), 'InvalidRequest', 400)
      await fails(s3.send(new HeadObjectCommand({ Bucket, Key: 'k' })), null, 400)
      await fails(s3.send(new GetObjectCommand({ Bucket, Key: 'k', ...customerKey(2) })), 'AccessDenied', 403)
      await fails(s3.send(new HeadObjectCommand({ Bucket, Key: 'k', ...customerKey(2) })), null, 403)
    })
  }

  it('refuses SSE-C keys that are not what they say', async () => {
    const { s3, node } = context
    const Bucket = await newBucket(context)
    const { SSECustomerKey, SSECustomerKeyMD5 } = customerKey(1)
    const put = async (headers: Record<string, string>): Promise<number> => {
      const all = {
        'x-amz-server-side-encryption-customer-algorithm': 'AES256', 'x-amz-server-side-encryption-customer-key': SSECustomerKey,
        'x-amz-server-side-encryption-customer-key-md5': SSECustomerKeyMD5, ...headers,
      }
      return (await signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'k'), headers: all, body: Buffer.from('x') })).status
    }
    assert.equal(await put({}), 200)
    assert.equal(await put({ 'x-amz-server-side-encryption-customer-algorithm': 'DES' }), 400)
    assert.equal(await put({ 'x-amz-server-side-encryption-customer-key-md5': customerKey(2).SSECustomerKeyMD5 }), 400)
    assert.equal(await put({ 'x-amz-server-side-encryption-customer-key': Buffer.from('short').toString('base64') }), 400)
    assert.equal(await put({ 'x-amz-server-side-encryption': 'AES256' }), 400)
    await s3.send(new PutObjectCommand({ Bucket, Key: 'plain', Body: 'x' }))
    await fails(s3.send(new GetObjectCommand({ Bucket, Key: 'plain', ...customerKey(1) })), 'InvalidRequest', 400)
  })

  it('encrypts by default where the bucket says so, and only from then on', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const put = async (Key: string) => s3.send(new PutObjectCommand({ Bucket, Key, Body: 'x'.repeat(100) }))
    assert.equal((await put('before')).ServerSideEncryption, undefined)
    await s3.send(new PutBucketEncryptionCommand({
      Bucket, ServerSideEncryptionConfiguration: { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] },
    }))
    const { ServerSideEncryptionConfiguration } = await s3.send(new GetBucketEncryptionCommand({ Bucket }))
    assert.equal(ServerSideEncryptionConfiguration?.Rules?.[0]?.ApplyServerSideEncryptionByDefault?.SSEAlgorithm, 'AES256')
    assert.equal((await put('after')).ServerSideEncryption, 'AES256')
    assert.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: 'before' }))).ServerSideEncryption, undefined)
    await s3.send(new DeleteBucketEncryptionCommand({ Bucket }))
    assert.equal((await put('later')).ServerSideEncryption, undefined)
    assert.equal((await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'after' })))).toString(), 'x'.repeat(100))
  })

  it('copies between kinds of encryption', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    const source = customerKey(1)
    const target = customerKey(2)
    for (const size of [100, 300_000]) {
      const body = bytes(size)
      await s3.send(new PutObjectCommand({ Bucket, Key: 'c', Body: body, ...source }))
      const fromC = {
        CopySourceSSECustomerAlgorithm: 'AES256', CopySourceSSECustomerKey: source.SSECustomerKey, CopySourceSSECustomerKeyMD5: source.SSECustomerKeyMD5,
      }
      await fails(s3.send(new CopyObjectCommand({ Bucket, Key: 'no', CopySource: `${Bucket}/c` })), null, 400)
      await s3.send(new CopyObjectCommand({ Bucket, Key: 'plain', CopySource: `${Bucket}/c`, ...fromC }))
      sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'plain' }))), body)
      await s3.send(new CopyObjectCommand({ Bucket, Key: 'c2', CopySource: `${Bucket}/c`, ...fromC, ...target }))
      sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket, Key: 'c2', ...target }))), body)
      await s3.send(new CopyObjectCommand({ Bucket, Key: 's3', CopySource: `${Bucket}/plain`, ServerSideEncryption: 'AES256' }))
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: 's3' }))
      assert.equal(got.ServerSideEncryption, 'AES256')
      sameBytes(await read(got), body)
    }
  })

  it('leaves nothing readable on the drives', async () => {
    const { s3, node } = context
    const Bucket = await newBucket(context)
    const mark = 'this must not lie on any drive in the clear '
    const open = 'this one may well lie there in the clear '
    const fill = (text: string): Buffer => Buffer.from(text.repeat(Math.ceil(200_000 / text.length)))
    await s3.send(new PutObjectCommand({ Bucket, Key: 's3', Body: fill(mark), ServerSideEncryption: 'AES256' }))
    await s3.send(new PutObjectCommand({ Bucket, Key: 'c', Body: fill(mark), ...customerKey(1) }))
    await s3.send(new PutObjectCommand({ Bucket, Key: 'open', Body: fill(open) }))
    const holds = (text: string): boolean => node.drives.some((drive) => filesIn(drive).some((file) => readFileSync(file).includes(text)))
    assert.ok(holds(open), 'the search must find what is not encrypted')
    assert.ok(!holds(mark))
  })

  it('answers 501 for SSE-KMS', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    await fails(s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x', ServerSideEncryption: 'aws:kms' })), 'NotImplemented', 501)
  })
}

const filesIn = (dir: string): string[] =>
  readdirSync(dir, { recursive: true }).map((name) => join(dir, String(name))).filter((path) => statSync(path).isFile())

/** @aws-sdk/client-s3 with lib-storage, in this process. */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { CreateBucketCommand, DeleteObjectCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { assertEqual, type Context, MIB, randomFile, type Scenario, sha256 } from './context.ts'

export const sdkJs: Scenario[] = [
  { name: 'put, get, head, list, delete', run: (context) => withClient(context, basics) },
  { name: 'lib-storage Upload of 50 MiB', run: (context) => withClient(context, upload) },
]

async function basics(client: S3Client, { bucket: Bucket }: Context): Promise<void> {
  const Body = randomBytes(200_000)
  const Key = 'ключ/with space'
  await client.send(new CreateBucketCommand({ Bucket }))
  await client.send(new PutObjectCommand({ Bucket, Key, Body, Metadata: { colour: 'blue' } }))
  const got = await client.send(new GetObjectCommand({ Bucket, Key }))
  assertEqual(Buffer.from((await got.Body?.transformToByteArray()) ?? []).equals(Body), true, 'bytes')
  const head = await client.send(new HeadObjectCommand({ Bucket, Key }))
  assertEqual([head.ContentLength, head.Metadata], [Body.length, { colour: 'blue' }], 'head')
  const listed = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'ключ/' }))
  assertEqual(listed.Contents?.map((entry) => entry.Key), [Key], 'list')
  await client.send(new DeleteObjectCommand({ Bucket, Key }))
  await assertGone(client, Bucket, Key)
}

async function upload(client: S3Client, { bucket: Bucket, folder }: Context): Promise<void> {
  const file = `${folder}/in`
  await randomFile(file, 50 * MIB + 1)
  await client.send(new CreateBucketCommand({ Bucket }))
  await new Upload({ client, params: { Bucket, Key: 'big', Body: createReadStream(file) }, queueSize: 4, partSize: 8 * MIB }).done()
  const got = await client.send(new GetObjectCommand({ Bucket, Key: 'big' }))
  const hash = createHash('sha256')
  for await (const chunk of got.Body as AsyncIterable<Uint8Array>) hash.update(chunk)
  assertEqual(hash.digest('hex'), await sha256(file), 'bytes')
}

async function assertGone(client: S3Client, Bucket: string, Key: string): Promise<void> {
  try {
    await client.send(new GetObjectCommand({ Bucket, Key }))
  } catch (error) {
    assertEqual((error as Error).name, 'NoSuchKey', 'error after delete')
    return
  }
  throw new Error('the deleted object is still there')
}

async function withClient(context: Context, body: (client: S3Client, context: Context) => Promise<void>): Promise<void> {
  const { endpoint, region, accessKey, secretKey } = context.target
  const client = new S3Client({ endpoint, region, forcePathStyle: true, maxAttempts: 1, credentials: { accessKeyId: accessKey, secretAccessKey: secretKey } })
  try {
    await body(client, context)
  } finally {
    client.destroy()
  }
}

/** Who may do what: tenants, apps, grants, rotation and public buckets, managed by `anvil admin` beside a running node. */
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import {
  CopyObjectCommand, CreateBucketCommand, CreateMultipartUploadCommand, DeleteBucketCommand, DeleteObjectCommand, DeleteObjectsCommand, GetObjectCommand,
  HeadBucketCommand, HeadObjectCommand, ListBucketsCommand, ListObjectsV2Command, PutObjectCommand, type S3Client,
} from '@aws-sdk/client-s3'
import { NodeProcess } from '../support/node-process.ts'
import { rawRequest, type RawRequest } from '../support/raw-http.ts'
import type { Credentials } from '../support/sigv4.ts'
import { until } from '../support/until.ts'
import { fails, read } from './objects/context.ts'

let node: NodeProcess
let owner: S3Client

before(async () => {
  node = await NodeProcess.started()
  owner = node.s3()
})
after(() => node?.dispose())

async function createApp(name: string, ...more: string[]): Promise<Credentials> {
  const { accessKey, secretKey } = JSON.parse(await node.admin('app', 'create', '--name', name, ...more, '--json')) as { accessKey: string; secretKey: string }
  return { accessKeyId: accessKey, secretAccessKey: secretKey }
}

const grant = (app: string, action: string, resource: string): Promise<string> => node.admin('policy', 'grant', '--app', app, '--action', action, '--resource', resource)

const succeeds = async (call: () => Promise<unknown>): Promise<boolean> => call().then(() => true)

/** Admin commands take effect on a running node within seconds. */
const soon = (what: string, call: () => Promise<unknown>): Promise<boolean> => until(what, () => succeeds(call), { timeoutMs: 15_000 })
const soonDenied = (what: string, call: () => Promise<unknown>): Promise<boolean> =>
  until(what, () => call().then(() => false, (error: Error) => error.name === 'AccessDenied'), { timeoutMs: 15_000 })

it('a new app may nothing, and learns nothing', async () => {
  await owner.send(new CreateBucketCommand({ Bucket: 'closed' }))
  await owner.send(new PutObjectCommand({ Bucket: 'closed', Key: 'secret', Body: 'x' }))
  const s3 = node.s3({ credentials: await createApp('newcomer') })
  const denied: [string, () => Promise<unknown>][] = [
    ['ListBuckets', () => s3.send(new ListBucketsCommand({}))],
    ['CreateBucket', () => s3.send(new CreateBucketCommand({ Bucket: 'newcomers-own' }))],
    ['DeleteBucket', () => s3.send(new DeleteBucketCommand({ Bucket: 'closed' }))],
    ['ListObjects', () => s3.send(new ListObjectsV2Command({ Bucket: 'closed' }))],
    ['GetObject', () => s3.send(new GetObjectCommand({ Bucket: 'closed', Key: 'secret' }))],
    ['GetObject absent', () => s3.send(new GetObjectCommand({ Bucket: 'closed', Key: 'absent' }))],
    ['PutObject', () => s3.send(new PutObjectCommand({ Bucket: 'closed', Key: 'mine', Body: 'x' }))],
    ['DeleteObject', () => s3.send(new DeleteObjectCommand({ Bucket: 'closed', Key: 'secret' }))],
    ['CopyObject', () => s3.send(new CopyObjectCommand({ Bucket: 'closed', Key: 'copy', CopySource: 'closed/secret' }))],
    ['CreateMultipartUpload', () => s3.send(new CreateMultipartUploadCommand({ Bucket: 'closed', Key: 'mine' }))],
  ]
  for (const [name, call] of denied) await assert.rejects(call(), { name: 'AccessDenied' }, name)
  await fails(s3.send(new HeadObjectCommand({ Bucket: 'closed', Key: 'secret' })), null, 403)
  await fails(s3.send(new HeadBucketCommand({ Bucket: 'closed' })), null, 403)
  const many = await s3.send(new DeleteObjectsCommand({ Bucket: 'closed', Delete: { Objects: [{ Key: 'secret' }] } })).catch((error: Error) => error)
  if (many instanceof Error) assert.equal(many.name, 'AccessDenied')
  else assert.equal(many.Errors?.[0]?.Code, 'AccessDenied')
  await owner.send(new HeadObjectCommand({ Bucket: 'closed', Key: 'secret' }))
})

it('grants give exactly what they say, by action and by prefix, and can be taken back', async () => {
  await owner.send(new CreateBucketCommand({ Bucket: 'shared' }))
  for (const Key of ['logs/1', 'logs/2', 'other/1']) await owner.send(new PutObjectCommand({ Bucket: 'shared', Key, Body: Key }))
  const s3 = node.s3({ credentials: await createApp('reader') })
  await grant('reader', 'object:read', 'shared/logs/*')
  await soon('the grant holds', () => s3.send(new GetObjectCommand({ Bucket: 'shared', Key: 'logs/1' })))
  await assert.rejects(s3.send(new GetObjectCommand({ Bucket: 'shared', Key: 'other/1' })), { name: 'AccessDenied' })
  await assert.rejects(s3.send(new PutObjectCommand({ Bucket: 'shared', Key: 'logs/3', Body: 'x' })), { name: 'AccessDenied' })
  await assert.rejects(s3.send(new ListObjectsV2Command({ Bucket: 'shared', Prefix: 'logs/' })), { name: 'AccessDenied' })
  await assert.rejects(s3.send(new DeleteObjectCommand({ Bucket: 'shared', Key: 'logs/1' })), { name: 'AccessDenied' })

  await grant('reader', 'object:list', 'shared/logs/*')
  await soon('it may list the prefix', () => s3.send(new ListObjectsV2Command({ Bucket: 'shared', Prefix: 'logs/' })))
  await assert.rejects(s3.send(new ListObjectsV2Command({ Bucket: 'shared' })), { name: 'AccessDenied' })

  await grant('reader', 'object:write', 'shared/inbox/*')
  await soon('it may write there', () => s3.send(new PutObjectCommand({ Bucket: 'shared', Key: 'inbox/1', Body: 'x' })))
  await soon('it may copy from what it reads to where it writes', () => s3.send(new CopyObjectCommand({ Bucket: 'shared', Key: 'inbox/2', CopySource: 'shared/logs/1' })))
  await assert.rejects(s3.send(new CopyObjectCommand({ Bucket: 'shared', Key: 'inbox/3', CopySource: 'shared/other/1' })), { name: 'AccessDenied' })
  await assert.rejects(s3.send(new GetObjectCommand({ Bucket: 'shared', Key: 'inbox/1' })), { name: 'AccessDenied' })

  await node.admin('policy', 'revoke', '--app', 'reader', '--action', 'object:read', '--resource', 'shared/logs/*')
  await soonDenied('the revocation holds', () => s3.send(new GetObjectCommand({ Bucket: 'shared', Key: 'logs/1' })))
})

it('both secrets of a rotation work until the old one is dropped; a disabled app works no more', async () => {
  await owner.send(new CreateBucketCommand({ Bucket: 'rotated' }))
  const first = await createApp('rotating')
  await grant('rotating', '*', 'rotated')
  const old = node.s3({ credentials: first })
  await soon('the first secret works', () => old.send(new PutObjectCommand({ Bucket: 'rotated', Key: 'a', Body: 'x' })))
  const { accessKey, secretKey } = JSON.parse(await node.admin('app', 'rotate-secret', '--app', 'rotating', '--json')) as { accessKey: string; secretKey: string }
  assert.equal(accessKey, first.accessKeyId)
  const renewed = node.s3({ credentials: { accessKeyId: accessKey, secretAccessKey: secretKey } })
  await soon('the new secret works', () => renewed.send(new GetObjectCommand({ Bucket: 'rotated', Key: 'a' })))
  await old.send(new GetObjectCommand({ Bucket: 'rotated', Key: 'a' }))
  await node.admin('app', 'drop-old-secret', '--app', 'rotating')
  await until('the old secret is refused', () => old.send(new GetObjectCommand({ Bucket: 'rotated', Key: 'a' })).then(() => false, (error: Error) => error.name === 'SignatureDoesNotMatch'), { timeoutMs: 15_000 })
  await renewed.send(new GetObjectCommand({ Bucket: 'rotated', Key: 'a' }))
  await node.admin('app', 'disable', '--app', 'rotating')
  await until('a disabled app is refused', () => renewed.send(new GetObjectCommand({ Bucket: 'rotated', Key: 'a' })).then(() => false, (error: Error) => error.name === 'InvalidAccessKeyId'), { timeoutMs: 15_000 })
})

it('a public bucket is read and listed by anyone, and written by nobody new', async () => {
  await owner.send(new CreateBucketCommand({ Bucket: 'open-house' }))
  await owner.send(new PutObjectCommand({ Bucket: 'open-house', Key: 'a', Body: 'hello' }))
  const ask = async (method: string, path: string, more: Partial<RawRequest> = {}): Promise<number> => (await rawRequest(node.port, { method, path, ...more })).status
  assert.equal(await ask('GET', '/open-house/a'), 403)
  assert.equal(await ask('GET', '/open-house?list-type=2'), 403)
  await node.admin('bucket', 'set-public-access', '--bucket', 'open-house', '--allow')
  await until('anyone may read', async () => (await ask('GET', '/open-house/a')) === 200, { timeoutMs: 15_000 })
  assert.equal(await ask('HEAD', '/open-house/a'), 200)
  assert.equal(await ask('GET', '/open-house?list-type=2'), 200)
  assert.equal(await ask('PUT', '/open-house/b', { body: Buffer.from('x') }), 403)
  assert.equal(await ask('DELETE', '/open-house/a'), 403)
  assert.equal(await ask('POST', '/open-house/c?uploads'), 403)
  assert.equal(await ask('DELETE', '/open-house'), 403)
  assert.equal(await ask('GET', '/closed/secret'), 403)
  assert.equal(await ask('GET', '/'), 403)
  await node.admin('bucket', 'set-public-access', '--bucket', 'open-house', '--deny')
  await until('it is closed again', async () => (await ask('GET', '/open-house/a')) === 403, { timeoutMs: 15_000 })
})

it('tenants do not see each other', async () => {
  await node.admin('tenant', 'create', '--name', 'neighbour')
  const s3 = node.s3({ credentials: await createApp('all', '--tenant', 'neighbour') })
  await grant('neighbour/all', '*', '*')
  await soon('it may make a bucket', () => s3.send(new CreateBucketCommand({ Bucket: 'neighbours-own' })))
  assert.deepEqual((await s3.send(new ListBucketsCommand({}))).Buckets?.map((bucket) => bucket.Name), ['neighbours-own'])
  assert.ok(!(await owner.send(new ListBucketsCommand({}))).Buckets?.some((bucket) => bucket.Name === 'neighbours-own'))
  await assert.rejects(s3.send(new GetObjectCommand({ Bucket: 'closed', Key: 'secret' })), { name: 'AccessDenied' })
  await assert.rejects(s3.send(new PutObjectCommand({ Bucket: 'closed', Key: 'x', Body: 'x' })), { name: 'AccessDenied' })
  await assert.rejects(owner.send(new ListObjectsV2Command({ Bucket: 'neighbours-own' })), { name: 'AccessDenied' })
  await assert.rejects(s3.send(new CreateBucketCommand({ Bucket: 'closed' })), { name: 'BucketAlreadyExists' })
  await s3.send(new PutObjectCommand({ Bucket: 'neighbours-own', Key: 'k', Body: 'mine' }))
  assert.equal((await read(await s3.send(new GetObjectCommand({ Bucket: 'neighbours-own', Key: 'k' })))).toString(), 'mine')
})

/** Buckets, listings, configurations and permissions through @aws-sdk/client-s3. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  CreateBucketCommand, DeleteBucketCommand, DeleteBucketEncryptionCommand, GetBucketAclCommand, GetBucketCorsCommand, GetBucketEncryptionCommand,
  GetBucketLifecycleConfigurationCommand, GetBucketLocationCommand, GetBucketPolicyCommand, GetBucketTaggingCommand, GetBucketVersioningCommand, GetObjectCommand,
  GetObjectLockConfigurationCommand, HeadBucketCommand, HeadObjectCommand, ListBucketsCommand, ListObjectsCommand, ListObjectsV2Command, ListObjectVersionsCommand,
  PutBucketEncryptionCommand, PutBucketPolicyCommand, PutBucketVersioningCommand, PutObjectCommand, DeleteObjectsCommand, CopyObjectCommand, type S3Client,
} from '@aws-sdk/client-s3'
import type { Grant } from '../../../src/main/directory/contract.ts'
import type { TenantId } from '../../../src/shared/ids.ts'
import { type Harness, startHarness } from './harness.ts'
import { type RawAnswer, RawSocket } from './raw-socket.ts'
import { signed } from './sign.ts'

let harness: Harness
let s3: S3Client
const Bucket = 'listed'

before(async () => {
  harness = await startHarness()
  s3 = harness.client()
  await s3.send(new CreateBucketCommand({ Bucket }))
  for (const Key of ['a', 'b/1', 'b/2', 'b/c/3', 'd', 'e<&>', 'f\u0001', 'g ü+']) await s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
})
after(() => harness.stop())

const as = (clientId: string, grants: Grant[], tenant = 1): S3Client => {
  harness.directory.addApp(clientId, [`secret of ${clientId}`], grants, tenant)
  return harness.client({ credentials: { accessKeyId: clientId, secretAccessKey: `secret of ${clientId}` } })
}

test('buckets: made, found, refused, deleted', async () => {
  const made = await s3.send(new CreateBucketCommand({ Bucket: 'made', CreateBucketConfiguration: { LocationConstraint: 'local' as never } }))
  assert.equal(made.Location, '/made')
  await assert.rejects(s3.send(new CreateBucketCommand({ Bucket: 'made' })), { name: 'BucketAlreadyOwnedByYou' })
  await assert.rejects(as('other', [{ action: '*', resource: '*' }], 2).send(new CreateBucketCommand({ Bucket: 'made' })), { name: 'BucketAlreadyExists' })
  await assert.rejects(s3.send(new CreateBucketCommand({ Bucket: 'Bad_Name' })), { name: 'InvalidBucketName' })
  await assert.rejects(s3.send(new CreateBucketCommand({ Bucket: 'far', CreateBucketConfiguration: { LocationConstraint: 'eu-west-1' } })), { name: 'IllegalLocationConstraintException' })
  await assert.rejects(s3.send(new CreateBucketCommand({ Bucket: 'lock', ObjectLockEnabledForBucket: true })), { name: 'NotImplemented' })
  assert.equal((await s3.send(new HeadBucketCommand({ Bucket: 'made' }))).BucketRegion, 'local')
  assert.equal((await s3.send(new GetBucketLocationCommand({ Bucket: 'made' }))).LocationConstraint, 'local')
  await s3.send(new DeleteBucketCommand({ Bucket: 'made' }))
  await assert.rejects(s3.send(new HeadBucketCommand({ Bucket: 'made' })), { name: 'NotFound' })
  await assert.rejects(s3.send(new DeleteBucketCommand({ Bucket: 'made' })), { name: 'NoSuchBucket' })
  await assert.rejects(s3.send(new DeleteBucketCommand({ Bucket })), { name: 'BucketNotEmpty' })
})

test('buckets are listed page by page', async () => {
  for (const name of ['page-1', 'page-2', 'page-3']) await s3.send(new CreateBucketCommand({ Bucket: name }))
  const first = await s3.send(new ListBucketsCommand({ Prefix: 'page-', MaxBuckets: 2 }))
  assert.deepEqual([first.Buckets?.map((item) => item.Name), first.Prefix], [['page-1', 'page-2'], 'page-'])
  const second = await s3.send(new ListBucketsCommand({ Prefix: 'page-', MaxBuckets: 2, ContinuationToken: first.ContinuationToken }))
  assert.deepEqual([second.Buckets?.map((item) => item.Name), second.ContinuationToken], [['page-3'], undefined])
  assert.ok(second.Buckets?.[0]?.CreationDate instanceof Date)
  await assert.rejects(s3.send(new ListBucketsCommand({ Prefix: 'other-', ContinuationToken: first.ContinuationToken })), { name: 'InvalidArgument' })
  const limited = as('reader', [{ action: 'bucket:list', resource: 'page-2' }])
  assert.deepEqual((await limited.send(new ListBucketsCommand())).Buckets?.map((item) => item.Name), ['page-2'])
  await assert.rejects(as('nobody', []).send(new ListBucketsCommand()), { name: 'AccessDenied' })
})

test('listings fold and page, V1 and V2 alike', async () => {
  const seen: string[] = []
  let token: string | undefined
  do {
    const page = await s3.send(new ListObjectsV2Command({ Bucket, Delimiter: '/', MaxKeys: 2, ContinuationToken: token }))
    assert.equal(page.KeyCount, (page.Contents?.length ?? 0) + (page.CommonPrefixes?.length ?? 0))
    seen.push(...(page.Contents ?? []).map((item) => item.Key!), ...(page.CommonPrefixes ?? []).map((item) => item.Prefix!))
    token = page.NextContinuationToken
    assert.equal(page.IsTruncated, token !== undefined)
  } while (token !== undefined)
  assert.deepEqual(seen, ['a', 'b/', 'd', 'e<&>', 'f\u0001', 'g ü+'])
  const v1: string[] = []
  let Marker: string | undefined
  do {
    const page = await s3.send(new ListObjectsCommand({ Bucket, Delimiter: '/', MaxKeys: 2, Marker, EncodingType: 'url' }))
    v1.push(...(page.Contents ?? []).map((item) => item.Key!), ...(page.CommonPrefixes ?? []).map((item) => item.Prefix!))
    Marker = page.NextMarker === undefined ? undefined : decodeURIComponent(page.NextMarker)
  } while (Marker !== undefined)
  assert.deepEqual(v1.map((key) => decodeURIComponent(key)), seen)
  const inside = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'b/', Delimiter: '/', StartAfter: 'b/1', FetchOwner: true }))
  assert.deepEqual(inside.Contents?.map((item) => item.Key), ['b/2'])
  assert.equal(inside.Contents?.[0]?.Owner?.ID?.length, 64)
  assert.deepEqual(inside.CommonPrefixes, [{ Prefix: 'b/c/' }])
  const none = await s3.send(new ListObjectsV2Command({ Bucket, MaxKeys: 0 }))
  assert.deepEqual([none.KeyCount, none.IsTruncated, none.MaxKeys], [0, false, 0])
  assert.equal((await s3.send(new ListObjectsV2Command({ Bucket, MaxKeys: 5000 }))).MaxKeys, 1000)
  await assert.rejects(s3.send(new ListObjectsV2Command({ Bucket, MaxKeys: -1 })), { name: 'InvalidArgument' })
  await assert.rejects(s3.send(new ListObjectsV2Command({ Bucket, ContinuationToken: 'made up' })), { name: 'InvalidArgument' })
  const versions = await s3.send(new ListObjectVersionsCommand({ Bucket, MaxKeys: 1 }))
  assert.deepEqual(versions.Versions?.map((item) => [item.Key, item.VersionId, item.IsLatest]), [['a', 'null', true]])
  assert.equal(versions.NextKeyMarker, 'a')
})

test('configurations: what there is none of, and what is not built', async () => {
  const absent: [() => Promise<unknown>, string][] = [
    [() => s3.send(new GetBucketPolicyCommand({ Bucket })), 'NoSuchBucketPolicy'],
    [() => s3.send(new GetBucketCorsCommand({ Bucket })), 'NoSuchCORSConfiguration'],
    [() => s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket })), 'NoSuchLifecycleConfiguration'],
    [() => s3.send(new GetBucketTaggingCommand({ Bucket })), 'NoSuchTagSet'],
    [() => s3.send(new GetObjectLockConfigurationCommand({ Bucket })), 'ObjectLockConfigurationNotFoundError'],
    [() => s3.send(new PutBucketPolicyCommand({ Bucket, Policy: '{}' })), 'NotImplemented'],
    [() => s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } })), 'NotImplemented'],
    [() => s3.send(new GetBucketEncryptionCommand({ Bucket })), 'ServerSideEncryptionConfigurationNotFoundError'],
  ]
  for (const [sent, name] of absent) await assert.rejects(sent(), { name })
  assert.equal((await s3.send(new GetBucketVersioningCommand({ Bucket }))).Status, undefined)
  assert.deepEqual((await s3.send(new GetBucketAclCommand({ Bucket }))).Grants?.map((grant) => [grant.Permission, grant.Grantee?.Type]), [['FULL_CONTROL', 'CanonicalUser']])
})

test('default encryption of a bucket', async () => {
  const rule = (SSEAlgorithm: 'AES256' | 'aws:kms') => new PutBucketEncryptionCommand({
    Bucket: 'page-1', ServerSideEncryptionConfiguration: { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm } }] },
  })
  await assert.rejects(s3.send(rule('aws:kms')), { name: 'NotImplemented' })
  await s3.send(rule('AES256'))
  assert.equal((await s3.send(new PutObjectCommand({ Bucket: 'page-1', Key: 'k', Body: '' }))).ServerSideEncryption, 'AES256')
  const { ServerSideEncryptionConfiguration: found } = await s3.send(new GetBucketEncryptionCommand({ Bucket: 'page-1' }))
  assert.equal(found?.Rules?.[0]?.ApplyServerSideEncryptionByDefault?.SSEAlgorithm, 'AES256')
  await s3.send(new DeleteBucketEncryptionCommand({ Bucket: 'page-1' }))
  assert.equal((await s3.send(new PutObjectCommand({ Bucket: 'page-1', Key: 'k', Body: '' }))).ServerSideEncryption, undefined)
})

test('who may do what', async () => {
  const denied = { name: 'AccessDenied' }
  const limited = as('limited', [{ action: 'object:read', resource: `${Bucket}/b/*` }, { action: 'object:list', resource: `${Bucket}/b/*` }, { action: 'object:write', resource: 'page-2' }])
  await limited.send(new GetObjectCommand({ Bucket, Key: 'b/1' })).then((got) => got.Body!.transformToString())
  await assert.rejects(limited.send(new GetObjectCommand({ Bucket, Key: 'a' })), denied)
  await assert.rejects(limited.send(new PutObjectCommand({ Bucket, Key: 'b/1', Body: '' })), denied)
  await limited.send(new ListObjectsV2Command({ Bucket, Prefix: 'b/' }))
  await assert.rejects(limited.send(new ListObjectsV2Command({ Bucket })), denied)
  // Whoever may list is told that a key is missing, nobody else.
  await assert.rejects(limited.send(new GetObjectCommand({ Bucket, Key: 'b/none' })), { name: 'NoSuchKey' })
  const blind = as('blind', [{ action: 'object:read', resource: Bucket }])
  await assert.rejects(blind.send(new GetObjectCommand({ Bucket, Key: 'none' })), denied)
  await assert.rejects(blind.send(new HeadObjectCommand({ Bucket, Key: 'none' })), (error: { $metadata: { httpStatusCode: number } }) => error.$metadata.httpStatusCode === 403)
  // A copy needs to read its source.
  await limited.send(new CopyObjectCommand({ Bucket: 'page-2', Key: 'k', CopySource: `${Bucket}/b/1` }))
  await assert.rejects(limited.send(new CopyObjectCommand({ Bucket: 'page-2', Key: 'k', CopySource: `${Bucket}/a` })), denied)
  const deleter = as('deleter', [{ action: 'object:delete', resource: `${Bucket}/tmp/*` }])
  const result = await deleter.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'tmp/1' }, { Key: 'a' }] } }))
  assert.deepEqual([result.Deleted?.map((item) => item.Key), result.Errors?.map((item) => [item.Key, item.Code])], [['tmp/1'], [['a', 'AccessDenied']]])
})

test("another tenant's bucket is not to be had, a public one can be read by all", async () => {
  const denied = { name: 'AccessDenied' }
  const other = as('stranger', [{ action: '*', resource: '*' }], 2)
  await assert.rejects(other.send(new GetObjectCommand({ Bucket, Key: 'a' })), denied)
  await assert.rejects(other.send(new ListObjectsV2Command({ Bucket })), denied)
  const anonymous = (path: string, method = 'GET') => fetch(`${harness.endpoint}${path}`, { method })
  assert.equal((await anonymous(`/${Bucket}/a`)).status, 403)
  assert.equal((await anonymous('/')).status, 403)
  assert.equal((await anonymous('/nonesuch/a')).status, 404)
  await harness.directory.setPublicAccess(harness.directory.buckets.get(Bucket)!.id, true)
  assert.equal(await (await anonymous(`/${Bucket}/a`)).text(), 'a')
  assert.match(await (await anonymous(`/${Bucket}?list-type=2`)).text(), /<Key>a<\/Key>/)
  assert.equal((await anonymous(`/${Bucket}`, 'HEAD')).status, 200)
  assert.equal((await anonymous(`/${Bucket}/none`)).status, 404)
  assert.equal((await anonymous(`/${Bucket}/a?response-content-type=text/html`)).status, 400)
  for (const [path, method] of [[`/${Bucket}/a`, 'DELETE'], [`/${Bucket}/a`, 'PUT'], [`/${Bucket}/a?uploads`, 'POST'], [`/${Bucket}`, 'DELETE'], [`/${Bucket}?uploads`, 'GET'], [`/${Bucket}?acl`, 'GET']] as const) {
    assert.equal((await anonymous(path, method)).status, 403, `${method} ${path}`)
  }
  await other.send(new GetObjectCommand({ Bucket, Key: 'a' })).then((got) => got.Body!.transformToString())
  await assert.rejects(other.send(new PutObjectCommand({ Bucket, Key: 'a', Body: '' })), denied)
  await assert.rejects(other.send(new CopyObjectCommand({ Bucket, Key: 'x', CopySource: `${Bucket}/a` })), denied)
  await harness.directory.setPublicAccess(harness.directory.buckets.get(Bucket)!.id, false)
})

test('a bucket of another region says where it is', async () => {
  await harness.directory.createBucket({ name: 'far-away', tenantId: 1 as TenantId, region: 'mars' })
  const answer = await fetch(`${harness.endpoint}/far-away`)
  assert.equal(answer.status, 403)
  await assert.rejects(harness.client({ followRegionRedirects: false }).send(new ListObjectsV2Command({ Bucket: 'far-away' })), { name: 'PermanentRedirect' })
  const raw = async (region: string): Promise<RawAnswer> => {
    const socket = await RawSocket.open(harness.port)
    const said = await socket.send(signed({ method: 'GET', target: '/far-away?list-type=2', region }).head).answer()
    socket.close()
    return said
  }
  for (const region of ['us-east-1', 'mars']) {
    const redirect = await raw(region)
    assert.equal(redirect.status, 301)
    assert.equal(redirect.headers['x-amz-bucket-region'], 'mars')
    assert.match(redirect.body, /<Endpoint>mars\.test:9000<\/Endpoint><Bucket>far-away<\/Bucket><Region>mars<\/Region>/)
  }
  const wrong = await raw('venus')
  assert.equal(wrong.status, 400)
  assert.match(wrong.body, /<Code>AuthorizationHeaderMalformed<\/Code>.*<Region>mars<\/Region>/s)
  const location = await harness.client().send(new GetBucketLocationCommand({ Bucket: 'far-away' }))
  assert.equal(location.LocationConstraint, 'mars')
  await assert.rejects(s3.send(new CopyObjectCommand({ Bucket, Key: 'x', CopySource: 'far-away/a' })), { name: 'NotImplemented' })
})

test('an endpoint that is no URL is left out of the redirect, and the log says so', async () => {
  const { directory, lines, port } = harness
  const made = await directory.createBucket({ name: 'far-away-too', tenantId: 1 as TenantId, region: 'mars' })
  for (const regionEndpoint of ['mars.test', 'mars.test:9000', 'ftp://mars.test', 'http://']) {
    directory.buckets.set('far-away-too', { ...made, regionEndpoint })
    lines.length = 0
    const socket = await RawSocket.open(port)
    const redirect = await socket.send(signed({ method: 'GET', target: '/far-away-too?list-type=2' }).head).answer()
    socket.close()
    assert.equal(redirect.status, 301, regionEndpoint)
    assert.equal(redirect.headers['x-amz-bucket-region'], 'mars')
    assert.match(redirect.body, /<Code>PermanentRedirect<\/Code>.*<Bucket>far-away-too<\/Bucket><Region>mars<\/Region>/s)
    assert.ok(!redirect.body.includes('<Endpoint>'), redirect.body)
    assert.deepEqual(lines.filter(({ level }) => level === 'warn').map(({ message }) => /region mars is no URL/.test(message)), [true], JSON.stringify(lines))
  }
})

test('an expected owner is compared', async () => {
  const { Owner } = await s3.send(new GetBucketAclCommand({ Bucket }))
  await s3.send(new ListObjectsV2Command({ Bucket, ExpectedBucketOwner: Owner!.ID }))
  await assert.rejects(s3.send(new ListObjectsV2Command({ Bucket, ExpectedBucketOwner: '111122223333' })), { name: 'AccessDenied' })
})

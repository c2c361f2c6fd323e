import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import type { App } from '../../directory/contract.ts'
import type { TenantId } from '../../../shared/ids.ts'
import { S3Error } from '../errors.ts'
import { RequestHeaders } from '../http/headers.ts'
import { Query } from '../request/query.ts'
import { authenticate, type Authentication } from './authenticate.ts'
import { SigningKeys } from './signing-key.ts'

/** The credentials and the date of the examples in AWS's "Authenticating Requests (AWS Signature Version 4)". */
const KEY = 'AKIAIOSFODNN7EXAMPLE'
const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const NOW = Date.parse('2013-05-24T00:00:00Z')
const EMPTY = createHash('sha256').digest('hex')
const SCOPE = `${KEY}/20130524/us-east-1/s3/aws4_request`

interface Sent {
  method?: string
  url: string
  headers: Record<string, string>
  secrets?: string[]
  region?: string
  bucketRegion?: string
  nowMs?: number
  disabled?: boolean
}

function send({ method = 'GET', url, headers, secrets = [SECRET], region = 'us-east-1', bucketRegion, nowMs = NOW, disabled = false }: Sent): Promise<Authentication> {
  const [rawPath, rawQuery = ''] = url.split('?')
  const app: App = { clientId: KEY, tenantId: 1 as TenantId, name: 'test', secrets, grants: [], disabled }
  return authenticate(
    { method, rawPath: rawPath!, headers: RequestHeaders.of(Object.entries(headers)) }, new Query(rawQuery),
    { directory: { app: (id) => Promise.resolve(id === KEY ? app : null) }, keys: new SigningKeys(), region, nowMs, bucketRegion: () => Promise.resolve(bucketRegion ?? null) },
  )
}

const authorization = (signedHeaders: string, signature: string, scope = SCOPE): string =>
  `AWS4-HMAC-SHA256 Credential=${scope},SignedHeaders=${signedHeaders},Signature=${signature}`

const host = 'examplebucket.s3.amazonaws.com'
const common = { host, 'x-amz-date': '20130524T000000Z' }

const getObject = {
  url: '/test.txt',
  headers: {
    ...common, range: 'bytes=0-9', 'x-amz-content-sha256': EMPTY,
    authorization: authorization('host;range;x-amz-content-sha256;x-amz-date', 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'),
  },
}

const vectors: Record<string, Sent> = {
  'GET Object': getObject,
  'PUT Object': {
    method: 'PUT',
    url: '/test$file.text',
    headers: {
      host, date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-date': '20130524T000000Z', 'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
      authorization: authorization('date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class', '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd'),
    },
  },
  'GET Bucket Lifecycle': {
    url: '/?lifecycle',
    headers: {
      ...common, 'x-amz-content-sha256': EMPTY,
      authorization: authorization('host;x-amz-content-sha256;x-amz-date', 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'),
    },
  },
  'GET Bucket (List Objects)': {
    url: '/?max-keys=2&prefix=J',
    headers: {
      ...common, 'x-amz-content-sha256': EMPTY,
      authorization: authorization('host;x-amz-content-sha256;x-amz-date', '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'),
    },
  },
}

for (const [name, vector] of Object.entries(vectors)) {
  test(`AWS's example: ${name}`, async () => {
    const { app, presigned } = await send(vector)
    assert.equal(app?.clientId, KEY)
    assert.equal(presigned, false)
  })
}

const presignedUrl = `/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${encodeURIComponent(SCOPE)}&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404`

test("AWS's example: presigned URL", async () => {
  const { app, presigned, payload } = await send({ url: presignedUrl, headers: { host } })
  assert.equal(app?.clientId, KEY)
  assert.equal(presigned, true)
  assert.equal(payload.kind, 'unsigned')
})

test("AWS's example: chunked upload, whose signature seeds those of the chunks", async () => {
  const signature = '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9'
  const { payload } = await send({
    method: 'PUT',
    url: '/examplebucket/chunkObject.txt',
    headers: {
      host: 's3.amazonaws.com', 'x-amz-date': '20130524T000000Z', 'x-amz-storage-class': 'REDUCED_REDUNDANCY', 'content-encoding': 'aws-chunked',
      'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'x-amz-decoded-content-length': '66560', 'content-length': '66824',
      authorization: authorization('content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class', signature),
    },
  })
  assert.equal(payload.kind, 'chunked')
  if (payload.kind !== 'chunked') return
  assert.equal(payload.chunked.seedSignature, signature)
  assert.equal(payload.chunked.scope, '20130524/us-east-1/s3/aws4_request')
  assert.equal(payload.chunked.signingKey.length, 32)
  assert.equal(payload.chunked.trailer, false)
})

test("AWS's example: chunked upload with a trailer", async () => {
  const { payload } = await send({
    method: 'PUT',
    url: '/examplebucket/chunkObject.txt',
    headers: {
      host: 's3.amazonaws.com', 'x-amz-date': '20130524T000000Z', 'x-amz-storage-class': 'REDUCED_REDUNDANCY', 'content-encoding': 'aws-chunked',
      'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', 'x-amz-decoded-content-length': '66560', 'content-length': '66824', 'x-amz-trailer': 'x-amz-checksum-crc32c',
      authorization: authorization(
        'content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer',
        '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e'),
    },
  })
  assert.ok(payload.kind === 'chunked' && payload.chunked.signed)
  assert.deepEqual(payload.chunked.trailerNames, ['x-amz-checksum-crc32c'])
})

const refused = (sent: Sent, code: string, elements: Record<string, string> = {}) =>
  assert.rejects(send(sent), (error: unknown) => {
    assert.ok(error instanceof S3Error, String(error))
    assert.equal(error.code, code)
    const found = Object.fromEntries(error.elements)
    for (const [name, value] of Object.entries(elements)) assert.equal(found[name], value)
    return true
  })

test('either of two live secrets is good, a third is not', async () => {
  await send({ ...getObject, secrets: ['new', SECRET] })
  await refused({ ...getObject, secrets: ['new', 'newer'] }, 'SignatureDoesNotMatch', { AWSAccessKeyId: KEY })
})

test('a wrong signature tells what was signed', () =>
  refused({ ...getObject, url: '/other.txt' }, 'SignatureDoesNotMatch', {
    CanonicalRequest: `GET\n/other.txt\n\nhost:${host}\nrange:bytes=0-9\nx-amz-content-sha256:${EMPTY}\nx-amz-date:20130524T000000Z\n\nhost;range;x-amz-content-sha256;x-amz-date\n${EMPTY}`,
  }))

test('the clock may be a quarter of an hour off, and no more', async () => {
  await send({ ...getObject, nowMs: NOW + 15 * 60_000 })
  await send({ ...getObject, nowMs: NOW - 15 * 60_000 })
  await refused({ ...getObject, nowMs: NOW + 15 * 60_000 + 1 }, 'RequestTimeTooSkewed')
  await refused({ ...getObject, nowMs: NOW - 15 * 60_000 - 1 }, 'RequestTimeTooSkewed')
})

test('us-east-1 is taken where the region is `local`; any other is told the right one', async () => {
  await send({ ...getObject, region: 'local' })
  await refused({ ...getObject, region: 'eu-1' }, 'AuthorizationHeaderMalformed', { Region: 'eu-1' })
  // signed for where the bucket is: the redirect is another's business
  await send({ ...getObject, region: 'eu-1', bucketRegion: 'us-east-1' })
  await refused({ ...getObject, region: 'eu-1', bucketRegion: 'eu-2' }, 'AuthorizationHeaderMalformed', { Region: 'eu-2' })
})

test('presigned URLs live as long as they say', async () => {
  const url = { url: presignedUrl, headers: { host } }
  await send({ ...url, nowMs: NOW + 86_400_000 })
  await refused({ ...url, nowMs: NOW + 86_400_001 }, 'AccessDenied', { 'X-Amz-Expires': '86400' })
  await refused({ ...url, nowMs: NOW - 15 * 60_000 - 1 }, 'AccessDenied')
  await refused({ ...url, url: presignedUrl.replace('Expires=86400', 'Expires=604801') }, 'AuthorizationQueryParametersError')
  await refused({ ...url, url: presignedUrl.replace('Expires=86400', 'Expires=-1') }, 'AuthorizationQueryParametersError')
  await refused({ ...url, url: presignedUrl.replace('Expires=86400', 'Expires=x') }, 'AuthorizationQueryParametersError')
  await refused({ ...url, url: presignedUrl.replace('&X-Amz-Date=20130524T000000Z', '') }, 'AuthorizationQueryParametersError')
  await refused({ ...url, url: presignedUrl.replace('Expires=86400', 'Expires=86401') }, 'SignatureDoesNotMatch')
  await refused({ ...url, url: `${presignedUrl}&response-content-type=text/html` }, 'SignatureDoesNotMatch')
  await refused({ ...url, headers: { host, authorization: 'x' } }, 'InvalidArgument')
  await refused({ ...url, headers: { host, 'x-amz-acl': 'private' } }, 'AccessDenied', { HeadersNotSigned: 'x-amz-acl' })
})

test('what is missing or malformed has its own error', async () => {
  const { headers } = getObject
  const withAuthorization = (value: string): Sent => ({ ...getObject, headers: { ...headers, authorization: value } })
  const { 'x-amz-content-sha256': _sha, ...withoutSha } = headers
  const { 'x-amz-date': _date, ...withoutDate } = headers
  const signed = 'host;x-amz-content-sha256;x-amz-date'
  await refused({ ...getObject, headers: withoutSha }, 'InvalidRequest')
  await refused({ ...getObject, headers: withoutDate }, 'AccessDenied')
  await refused(withAuthorization('AWS4-HMAC-SHA256 Credential=x'), 'AuthorizationHeaderMalformed')
  await refused(withAuthorization(authorization(signed, '0', 'KEY')), 'AuthorizationHeaderMalformed')
  await refused(withAuthorization(authorization(signed, '0', `${KEY}/20130523/us-east-1/s3/aws4_request`)), 'AuthorizationHeaderMalformed')
  await refused(withAuthorization(authorization(signed, '0', `${KEY}/20130524/us-east-1/ec2/aws4_request`)), 'AuthorizationHeaderMalformed')
  await refused(withAuthorization(authorization(signed, '0', `${KEY}/20130524/us-east-1/s3/aws5_request`)), 'AuthorizationHeaderMalformed')
  await refused(withAuthorization(authorization(signed, '0', '/20130524/us-east-1/s3/aws4_request')), 'AuthorizationHeaderMalformed')
  await refused(withAuthorization(authorization(signed, '0', 'OTHER/20130524/us-east-1/s3/aws4_request')), 'InvalidAccessKeyId')
  await refused(withAuthorization(authorization(signed, 'zz')), 'SignatureDoesNotMatch')
  await refused(withAuthorization(`AWS ${KEY}:c2ln`), 'InvalidRequest')
  await refused(withAuthorization('Bearer x'), 'InvalidRequest')
  await refused({ url: `/x?AWSAccessKeyId=${KEY}&Signature=x&Expires=1`, headers: { host } }, 'InvalidRequest')
  await refused({ ...getObject, disabled: true }, 'InvalidAccessKeyId')
  await refused({ ...getObject, headers: { ...headers, 'x-amz-security-token': 't' } }, 'InvalidToken')
  await refused({ ...getObject, headers: { ...headers, 'x-amz-meta-a': 'not signed' } }, 'AccessDenied', { HeadersNotSigned: 'x-amz-meta-a' })
})

test('without a signature nobody asks', async () => {
  assert.equal((await send({ url: '/x', headers: { host } })).app, null)
})

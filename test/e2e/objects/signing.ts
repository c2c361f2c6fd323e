import assert from 'node:assert/strict'
import { it } from 'node:test'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { bytes } from '../../support/bytes.ts'
import { rawRequest, signedRequest, type RawAnswer } from '../../support/raw-http.ts'
import { awsChunked, presign, s3Path, sha256Hex, sign, STREAMING, UNSIGNED } from '../../support/sigv4.ts'
import { newBucket, read, sameBytes, type Context } from './context.ts'

export function signingTests(context: Context): void {
  it('takes signed chunks of any size, and refuses one forged byte, length or signature', async () => {
    const Bucket = await newBucket(context)
    const { s3 } = context
    for (const [size, chunk] of [[0, 8192], [1, 8192], [8192, 8192], [100_000, 8192], [300_000, 65_536], [5_000_000, 1_000_000]] as const) {
      const body = bytes(size, size)
      const answer = await putChunked(context, Bucket, 'k', body, chunk)
      assert.equal(answer.status, 200, `${size}: ${answer.text}`)
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))
      sameBytes(await read(got), body)
      assert.equal(got.ContentEncoding, undefined)
    }
    const body = bytes(100_000)
    const flipped = await putChunked(context, Bucket, 'forged', body, 8192, (framed) => {
      framed[50_000]! ^= 1
    })
    assert.equal(flipped.status, 403)
    assert.equal(flipped.code, 'SignatureDoesNotMatch')
    const forged = await putChunked(context, Bucket, 'forged', body, 8192, (framed) => {
      const at = framed.indexOf('chunk-signature=') + 'chunk-signature='.length
      framed[at] = framed[at] === 0x30 ? 0x31 : 0x30
    })
    assert.equal(forged.status, 403)
    const short = await putChunked(context, Bucket, 'forged', body, 8192, undefined, body.length + 1)
    assert.ok(short.status === 400 || short.status === 403, `${short.status}`)
    assert.equal((await signedRequest(context.node.port, context.node.credentials, { method: 'HEAD', path: s3Path(Bucket, 'forged') })).status, 404)
  })

  it('keeps a Content-Encoding that stood beside aws-chunked', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    await putChunked(context, Bucket, 'k', bytes(100), 8192, undefined, 100, 'gzip,aws-chunked')
    const got = await s3.send(new GetObjectCommand({ Bucket, Key: 'k' }))
    assert.equal(got.ContentEncoding, 'gzip')
  })

  it('checks a signed payload and leaves nothing of a wrong one', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    const put = (payloadHash: string, size: number) =>
      signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'k'), payloadHash, body: bytes(size) })
    for (const size of [10, 100_000, 3_000_000]) {
      const answer = await put(sha256Hex('other'), size)
      assert.equal(answer.status, 400)
      assert.equal(answer.code, 'XAmzContentSHA256Mismatch')
    }
    assert.equal((await signedRequest(node.port, node.credentials, { method: 'HEAD', path: s3Path(Bucket, 'k') })).status, 404)
    assert.equal((await put(UNSIGNED, 100)).status, 200)
    assert.equal((await put('nonsense', 100)).status, 400)
  })

  it('works with presigned URLs of the SDK and of the specification', async () => {
    const { s3, node } = context
    const Bucket = await newBucket(context)
    const body = bytes(50_000)
    const putUrl = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'a b/ü' }), { expiresIn: 60 })
    assert.equal((await fetch(putUrl, { method: 'PUT', body: new Uint8Array(body) })).status, 200)
    const getUrl = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'a b/ü', ResponseContentType: 'text/x-test' }), { expiresIn: 60 })
    const got = await fetch(getUrl)
    assert.equal(got.status, 200)
    assert.equal(got.headers.get('content-type'), 'text/x-test')
    sameBytes(Buffer.from(await got.arrayBuffer()), body)
    assert.equal((await fetch(getUrl.replace('text%2Fx-test', 'text%2Fhtml'))).status, 403)
    assert.equal((await fetch(getUrl, { method: 'DELETE' })).status, 403)
    const mine = (at: Date, expires: number) =>
      presign({ method: 'GET', path: s3Path(Bucket, 'a b/ü'), headers: { host: `127.0.0.1:${node.port}` }, credentials: node.credentials, at }, expires)
    const status = async (path: string): Promise<[number, string]> => {
      const answer = await rawRequest(node.port, { method: 'GET', path })
      return [answer.status, answer.code]
    }
    assert.deepEqual(await status(mine(new Date(), 10)), [200, ''])
    assert.deepEqual(await status(mine(new Date(Date.now() - 20_000), 10)), [403, 'AccessDenied'])
    assert.deepEqual(await status(mine(new Date(), 7 * 86_400 + 1)), [400, 'AuthorizationQueryParametersError'])
    assert.deepEqual(await status(mine(new Date(Date.now() + 3_600_000), 60)), [403, 'AccessDenied'])
  })

  it('refuses what it cannot verify', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    const send = async (change: (headers: Record<string, string>) => void, options: { at?: Date; credentials?: typeof node.credentials; region?: string } = {}): Promise<RawAnswer> => {
      const path = s3Path(Bucket)
      const { headers } = sign({ method: 'GET', path, headers: { host: `127.0.0.1:${node.port}` }, payloadHash: UNSIGNED, credentials: node.credentials, ...options })
      change(headers)
      return rawRequest(node.port, { method: 'GET', path, headers })
    }
    const nothing = (): void => {}
    assert.equal((await send(nothing)).status, 200)
    const expect = async (answer: Promise<RawAnswer>, status: number, code: string): Promise<void> => {
      const { status: found, code: foundCode, text } = await answer
      assert.deepEqual([found, foundCode], [status, code], text)
    }
    await expect(send((headers) => delete headers['authorization']), 403, 'AccessDenied')
    await expect(send(nothing, { credentials: { ...node.credentials, secretAccessKey: 'wrong' } }), 403, 'SignatureDoesNotMatch')
    await expect(send(nothing, { credentials: { ...node.credentials, accessKeyId: 'AKIANOBODY' } }), 403, 'InvalidAccessKeyId')
    await expect(send(nothing, { at: new Date(Date.now() - 16 * 60_000) }), 403, 'RequestTimeTooSkewed')
    await expect(send(nothing, { at: new Date(Date.now() + 16 * 60_000) }), 403, 'RequestTimeTooSkewed')
    await expect(send(nothing, { region: 'mars-north-1' }), 400, 'AuthorizationHeaderMalformed')
    await expect(send((headers) => (headers['x-amz-acl'] = 'public-read')), 403, 'AccessDenied')
    await expect(send((headers) => (headers['authorization'] = 'AWS4-HMAC-SHA256 nonsense')), 400, 'AuthorizationHeaderMalformed')
    await expect(send((headers) => (headers['authorization'] = headers['authorization']!.replace(/.$/, (last) => (last === '0' ? '1' : '0')))), 403, 'SignatureDoesNotMatch')
    await expect(send((headers) => delete headers['x-amz-content-sha256']), 400, 'InvalidRequest')
  })
}

async function putChunked(
  { node }: Context, bucket: string, key: string, body: Buffer, chunkBytes: number,
  tamper: (framed: Buffer) => void = () => {}, decodedLength = body.length, encoding = 'aws-chunked',
): Promise<RawAnswer> {
  const path = s3Path(bucket, key)
  const signed = sign({
    method: 'PUT', path, credentials: node.credentials, payloadHash: STREAMING,
    headers: { host: `127.0.0.1:${node.port}`, 'content-encoding': encoding, 'x-amz-decoded-content-length': String(decodedLength) },
  })
  const framed = awsChunked(body, chunkBytes, signed)
  tamper(framed)
  return rawRequest(node.port, { method: 'PUT', path, headers: signed.headers, body: framed })
}

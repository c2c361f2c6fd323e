import assert from 'node:assert/strict'
import { it } from 'node:test'
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3'
import { bytes } from '../../support/bytes.ts'
import { rawRequest, signedRequest } from '../../support/raw-http.ts'
import { presign, s3Path, UNSIGNED } from '../../support/sigv4.ts'
import { newBucket, read, sameBytes, type Context } from './context.ts'

const KEYS = [
  'plain', 'a/b/c', '/leading', 'trailing/', '//', 'a//b', '.', '..', './a', '../a', 'a/../b', 'a/./b', ' ', 'a b', ' lead and trail ',
  'a+b', 'a%b', '%2F', '%2e%2e', 'a?b', 'a#b', 'a&b=c', 'a;b', 'a:b', 'a@b', '!-_.*\'()', '$,=[]{}|\\^`~<>"', '\t\n\r', '\u0001\u001f\u007f',
  'ünïcödé', 'e\u0301', 'é', '日本語/ファイル', '😀/😃', '\u{10ffff}', '\u200b', '\ufeff', '\ufffd', 'x'.repeat(1024), '日'.repeat(341), '-', 'null', 'undefined',
]

export function keyTests(context: Context): void {
  it(`keeps ${KEYS.length} odd keys apart and lists them in byte order`, async () => {
    const { s3, node } = context
    const Bucket = await newBucket(context)
    for (const [i, Key] of KEYS.entries()) {
      const answer = await signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, Key), body: bytes(50, i) })
      assert.equal(answer.status, 200, `${JSON.stringify(Key)}: ${answer.text}`)
    }
    for (const [i, Key] of KEYS.entries()) {
      const answer = await signedRequest(node.port, node.credentials, { method: 'GET', path: s3Path(Bucket, Key) })
      assert.equal(answer.status, 200, JSON.stringify(Key))
      sameBytes(answer.body, bytes(50, i), JSON.stringify(Key))
    }
    const found: string[] = []
    let token: string | undefined
    do {
      const page = await s3.send(new ListObjectsV2Command({ Bucket, EncodingType: 'url', MaxKeys: 7, ...(token === undefined ? {} : { ContinuationToken: token }) }))
      found.push(...(page.Contents ?? []).map((entry) => decodeURIComponent(entry.Key!.replaceAll('+', ' '))))
      token = page.NextContinuationToken
    } while (token !== undefined)
    const sorted = [...KEYS].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    assert.deepEqual(found, sorted)
  })

  it('works with them over the SDK', async () => {
    const { s3 } = context
    const Bucket = await newBucket(context)
    // the SDK's own URL handling folds a lone . and .. away
    for (const Key of KEYS.filter((key) => !key.split('/').some((part) => part === '.' || part === '..'))) {
      await s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
      assert.equal((await read(await s3.send(new GetObjectCommand({ Bucket, Key })))).toString(), Key, JSON.stringify(Key))
    }
  })

  it('takes an over-encoded and an under-encoded path for the same key', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    await signedRequest(node.port, node.credentials, { method: 'PUT', path: s3Path(Bucket, 'a-b/c'), body: Buffer.from('x') })
    const path = presign({ method: 'GET', path: s3Path(Bucket, 'a-b/c'), headers: { host: `127.0.0.1:${node.port}` }, credentials: node.credentials }, 60)
    const odd = path.replace('a-b/c', '%61%2Db%2Fc')
    assert.notEqual(odd, path)
    assert.equal((await rawRequest(node.port, { method: 'GET', path: odd })).status, 200)
  })

  it('refuses keys that are too long, and ones that are not UTF-8 or hold a NUL', async () => {
    const { node } = context
    const Bucket = await newBucket(context)
    const put = (path: string) => signedRequest(node.port, node.credentials, { method: 'PUT', path, payloadHash: UNSIGNED, body: Buffer.from('x') })
    const long = await put(s3Path(Bucket, 'x'.repeat(1025)))
    assert.equal(long.status, 400)
    assert.equal(long.code, 'KeyTooLongError')
    assert.equal((await put(s3Path(Bucket, '日'.repeat(342)))).status, 400)
    for (const path of [`${s3Path(Bucket)}/%FF%FE`, `${s3Path(Bucket)}/a%00b`, `${s3Path(Bucket)}/%C0%AF`, `${s3Path(Bucket)}/%ED%A0%80`, `${s3Path(Bucket)}/%zz`]) {
      const answer = await put(path)
      assert.ok(answer.status >= 400 && answer.status < 500, `${path}: ${answer.status}`)
    }
  })
}

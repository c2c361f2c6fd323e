import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { AnvilError } from '../../../shared/errors.ts'
import type { Payload } from '../auth/payload.ts'
import { S3Error } from '../errors.ts'
import { RequestHeaders } from '../http/headers.ts'
import { parseAddress } from './address.ts'
import { parseAttributes, userMetadataHeaders } from './attributes.ts'
import { parseBodySpec } from './body-spec.ts'
import { isBucketName } from './bucket-name.ts'
import { parseBodyChecksum, parseContentMd5 } from './checksum.ts'
import { parseEtags, parseReadConditions, parseWriteCondition } from './conditions.ts'
import { parseCopySource } from './copy-source.ts'
import { parseCustomerKey, parseEncryption } from './encryption.ts'
import { decodePath, decodeQueryPart, uriEncodePath } from './percent.ts'
import { Query } from './query.ts'
import { parseCopyRange, parsePartNumber, parseRange } from './range.ts'
import { refuseUnbuilt } from './unbuilt.ts'

const headers = (entries: Record<string, string>): RequestHeaders => RequestHeaders.of(Object.entries(entries))
const refused = (code: string, run: () => unknown): void => {
  assert.throws(run, (error: unknown) => (error instanceof S3Error ? error.code : AnvilError.is(error) ? error.kind : '') === code)
}

test('paths are decoded once, on bytes', () => {
  assert.equal(decodePath('/a%2Fb%20c+d'), '/a/b c+d')
  assert.equal(decodePath('/%25%32%46'), '/%2F')
  assert.equal(decodePath('/%c3%BC%F0%9F%98%80'), '/ü😀')
  assert.equal(decodePath('/%EF%BF%BD'), '/\ufffd')
  for (const raw of ['/%', '/%2', '/%zz', '/%00', '/a\0', '/%ff', '/%C3', '/%ED%A0%80', '/\ufffd', '/%C0%AF']) refused('InvalidURI', () => decodePath(raw))
  assert.equal(decodeQueryPart('a+b%2Bc'), 'a b+c')
  assert.equal(uriEncodePath("/ü *~'"), "/%C3%BC%20%2A~%27")
})

test('bucket and key: path style and virtual host', () => {
  const at = (host: string, path: string, domain: string | null = 's3.example.com:9000') => parseAddress(host, path, domain)
  assert.deepEqual(at('localhost:9000', '/'), { bucket: '', key: '', virtualHost: false })
  assert.deepEqual(at('localhost', '/b'), { bucket: 'b', key: '', virtualHost: false })
  assert.deepEqual(at('localhost', '/b/'), { bucket: 'b', key: '', virtualHost: false })
  assert.deepEqual(at('localhost', '/b//a/../%2e/'), { bucket: 'b', key: '/a/.././', virtualHost: false })
  assert.deepEqual(at('s3.example.com', '/b/k'), { bucket: 'b', key: 'k', virtualHost: false })
  assert.deepEqual(at('B.S3.example.com:9000', '/k/x'), { bucket: 'b', key: 'k/x', virtualHost: true })
  assert.deepEqual(at('a.b.s3.example.com', '/'), { bucket: 'a.b', key: '', virtualHost: true })
  assert.deepEqual(at('b.s3.example.com', '//k'), { bucket: 'b', key: '/k', virtualHost: true })
  assert.deepEqual(at('b.s3.example.com', '/b/k', null), { bucket: 'b', key: 'k', virtualHost: false })
  assert.equal(at('h', `/b/${'%C3%BC'.repeat(512)}`).key.length, 512)
  refused('KeyTooLongError', () => at('h', `/b/${'%C3%BC'.repeat(512)}x`))
})

test('bucket names follow the rules', () => {
  for (const name of ['abc', 'a-b.c1', '0123', 'a'.repeat(63), '1.2.3.4.5', 'a.b-c']) assert.ok(isBucketName(name), name)
  for (const name of ['', 'ab', 'a'.repeat(64), 'Abc', 'a_b', '-ab', 'ab-', '.ab', 'ab.', 'a..b', '1.2.3.4', 'xn--abc', 'a-s3alias', 'a b', 'ü-ü', '-', 'a/b', 'a--x-s3']) {
    assert.ok(!isBucketName(name), name)
  }
})

test('ranges: one of bytes, or the whole', () => {
  assert.deepEqual(parseRange('bytes=0-9'), { kind: 'bytes', first: 0, last: 9 })
  assert.deepEqual(parseRange('bytes=5-'), { kind: 'bytes', first: 5, last: null })
  assert.deepEqual(parseRange('bytes=-3'), { kind: 'suffix', length: 3 })
  assert.deepEqual(parseRange('bytes=-0'), { kind: 'suffix', length: 0 })
  assert.deepEqual(parseRange('bytes=0-99999999999999999999999'), { kind: 'bytes', first: 0, last: Number.MAX_SAFE_INTEGER - 1 })
  for (const text of [undefined, '', 'bytes=', 'bytes=-', 'bytes=9-0', 'bytes=0-1,3-4', 'items=0-1', 'bytes=a-b', 'bytes=0x1-2']) assert.deepEqual(parseRange(text), { kind: 'whole' })
  assert.deepEqual(parseCopyRange('bytes=0-9'), { kind: 'bytes', first: 0, last: 9 })
  for (const text of ['bytes=5-', 'bytes=-3', 'bytes=9-0', '0-9']) refused('InvalidArgument', () => parseCopyRange(text))
  assert.equal(parsePartNumber('10000', 10_000), 10_000)
  for (const text of ['0', '10001', '-1', '1.5', '', 'x']) refused('InvalidArgument', () => parsePartNumber(text, 10_000))
})

test('conditions of reads and writes', () => {
  assert.deepEqual(parseEtags('"a", W/"b",c ,'), ['a', 'b', 'c'])
  assert.deepEqual(parseReadConditions(headers({ 'if-match': '"a"', 'if-modified-since': 'Fri, 24 May 2013 00:00:00 GMT', 'if-unmodified-since': 'never' })), {
    ifMatch: ['a'], ifModifiedSinceMs: Date.parse('2013-05-24T00:00:00Z'),
  })
  assert.deepEqual(parseReadConditions(headers({ 'x-amz-copy-source-if-none-match': '*', 'if-match': 'x' }), 'x-amz-copy-source-'), { ifNoneMatch: ['*'] })
  assert.deepEqual(parseWriteCondition(headers({})), {})
  assert.deepEqual(parseWriteCondition(headers({ 'if-none-match': '*' })), { ifNoneMatch: '*' })
  assert.deepEqual(parseWriteCondition(headers({ 'if-match': '"abc"' })), { ifMatch: 'abc' })
  refused('NotImplemented', () => parseWriteCondition(headers({ 'if-none-match': '"abc"' })))
  refused('NotImplemented', () => parseWriteCondition(headers({ 'if-none-match': '*', 'if-match': 'x' })))
  refused('NotImplemented', () => parseWriteCondition(headers({ 'if-match': '"a","b"' })))
})

test('copy sources', () => {
  const expected = { bucket: 'b', key: 'a/ü +%' }
  for (const text of ['b/a/%C3%BC%20+%25', '/b/a/%C3%BC%20+%25', '%2Fb%2Fa%2F%C3%BC%20%2B%25'.slice(3), 'b/a/%C3%BC%20%2B%25?versionId=null']) {
    assert.deepEqual(parseCopySource(text), expected)
  }
  assert.deepEqual(parseCopySource('/b//k?x=1'), { bucket: 'b', key: '/k?x=1' })
  for (const text of ['', '/', 'b', 'b/', '/b', 'arn:aws:s3:eu:1:accesspoint/x/object/k', 'b/k?versionId=']) refused('InvalidArgument', () => parseCopySource(text))
  refused('NoSuchVersion', () => parseCopySource('b/k?versionId=abc'))
  refused('InvalidURI', () => parseCopySource('b/%zz'))
})

test('attributes: what is kept, and its limits', () => {
  const parsed = parseAttributes(headers({
    'content-type': 'text/plain', 'content-encoding': 'gzip,aws-chunked', expires: 'soon', 'x-amz-meta-a': 'ü', 'x-amz-meta-b': '', host: 'h', 'x-amz-storage-class': 'STANDARD_IA',
  }))
  assert.deepEqual(parsed, {
    headers: { 'content-type': 'text/plain', 'content-encoding': 'gzip', expires: 'soon' }, userMetadata: { a: 'ü', b: '' }, storageClass: 'STANDARD_IA',
  })
  assert.deepEqual(userMetadataHeaders({ a: 'ü', b: 'x y' }), [['x-amz-meta-a', '=?UTF-8?B?w7w=?='], ['x-amz-meta-b', 'x y']])
  assert.deepEqual(parseAttributes(headers({ 'content-encoding': 'aws-chunked' })).headers, {})
  parseAttributes(headers({ 'x-amz-meta-a': 'x'.repeat(2047) }))
  refused('MetadataTooLarge', () => parseAttributes(headers({ 'x-amz-meta-a': 'x'.repeat(2048) })))
  for (const storage of ['GLACIER', 'DEEP_ARCHIVE', 'standard', '']) refused('InvalidStorageClass', () => parseAttributes(headers({ 'x-amz-storage-class': storage })))
})

test('checksums: at most one, of the right form, in the head or in a trailer', () => {
  assert.equal(parseBodyChecksum(headers({}), []), null)
  assert.deepEqual(parseBodyChecksum(headers({ 'x-amz-checksum-crc32': 'AAAAAA==' }), []), { algorithm: 'crc32', expected: 'AAAAAA==', trailer: false })
  assert.deepEqual(parseBodyChecksum(headers({ 'x-amz-sdk-checksum-algorithm': 'SHA256' }), ['x-amz-checksum-sha256']), { algorithm: 'sha256', expected: '', trailer: true })
  assert.deepEqual(parseBodyChecksum(headers({ 'x-amz-sdk-checksum-algorithm': 'CRC64NVME' }), []), { algorithm: 'crc64nvme', expected: '', trailer: false })
  for (const [given, trailers] of [
    [{ 'x-amz-checksum-crc32': 'AAAA' }, []], [{ 'x-amz-checksum-crc32': '????????' }, []], [{ 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-checksum-sha1': 'x' }, []],
    [{ 'x-amz-checksum-crc32': 'AAAAAA==' }, ['x-amz-checksum-crc32c']], [{ 'x-amz-sdk-checksum-algorithm': 'CRC32' }, ['x-amz-checksum-sha1']],
    [{ 'x-amz-sdk-checksum-algorithm': 'MD4' }, []], [{ 'x-amz-checksum-md4': 'AAAA' }, []],
  ] as [Record<string, string>, string[]][]) refused('InvalidRequest', () => parseBodyChecksum(headers(given), trailers))
  assert.equal(parseContentMd5(headers({ 'content-md5': '1B2M2Y8AsgTpgAmY7PhCfg==' })), 'd41d8cd98f00b204e9800998ecf8427e')
  for (const text of ['', 'x', 'AAAA']) refused('InvalidDigest', () => parseContentMd5(headers({ 'content-md5': text })))
})

test('lengths of bodies', () => {
  const plain: Payload = { kind: 'unsigned' }
  const chunked: Payload = {
    kind: 'chunked', chunked: { signed: false, trailer: true, trailerNames: ['x-amz-checksum-crc32'], seedSignature: '', signingKey: new Uint8Array(), amzDate: '', scope: '' },
  }
  assert.equal(parseBodySpec(headers({ 'content-length': '5' }), plain).contentLength, 5)
  assert.equal(parseBodySpec(headers({ 'content-length': '50', 'x-amz-decoded-content-length': '5' }), chunked).contentLength, 5)
  refused('MissingContentLength', () => parseBodySpec(headers({}), plain))
  refused('MissingContentLength', () => parseBodySpec(headers({ 'content-length': '50' }), chunked))
  refused('InvalidArgument', () => parseBodySpec(headers({ 'content-length': '-5' }), plain))
  refused('EntityTooLarge', () => parseBodySpec(headers({ 'content-length': String(5 * 1024 ** 3 + 1) }), plain))
})

test('encryption: SSE-S3, SSE-C over TLS or from this host, no KMS', () => {
  const key = Buffer.alloc(32, 7)
  const customer = {
    'x-amz-server-side-encryption-customer-algorithm': 'AES256', 'x-amz-server-side-encryption-customer-key': key.toString('base64'),
    'x-amz-server-side-encryption-customer-key-md5': 'XCCaQZ/AamVNzP9mGgwQtw==',
  }
  const md5 = createHash('md5').update(key).digest('base64')
  const of = (given: Record<string, string>, secure = true, remoteAddress = '10.0.0.1') => parseEncryption({ headers: headers(given), secure, remoteAddress })
  const good = { ...customer, 'x-amz-server-side-encryption-customer-key-md5': md5 }
  assert.deepEqual(of({}), { kind: 'bucket-default' })
  assert.deepEqual(of({ 'x-amz-server-side-encryption': 'AES256' }), { kind: 's3' })
  assert.deepEqual(of(good), { kind: 'c', key, keyMd5: md5 })
  for (const local of ['127.0.0.1', '::1', '0000:0000:0000:0000:0000:0000:0000:0001', '0000:0000:0000:0000:0000:ffff:7f00:0001', '::ffff:127.0.0.1']) {
    assert.deepEqual(of(good, false, local), { kind: 'c', key, keyMd5: md5 }, local)
  }
  refused('InvalidRequest', () => of(good, false))
  refused('InvalidArgument', () => of(customer))
  refused('InvalidArgument', () => of({ ...good, 'x-amz-server-side-encryption-customer-key': 'AAAA' }))
  refused('InvalidArgument', () => of({ ...good, 'x-amz-server-side-encryption': 'AES256' }))
  refused('InvalidArgument', () => of({ 'x-amz-server-side-encryption': 'AES512' }))
  refused('NotImplemented', () => of({ 'x-amz-server-side-encryption': 'aws:kms' }))
  refused('NotImplemented', () => of({ 'x-amz-server-side-encryption-aws-kms-key-id': 'k' }))
  refused('InvalidEncryptionAlgorithmError', () => of({ ...good, 'x-amz-server-side-encryption-customer-algorithm': 'DES' }))
  for (const name of Object.keys(good)) {
    const { [name]: _left, ...rest } = good as Record<string, string>
    refused('InvalidArgument', () => of(rest))
  }
  assert.equal(parseCustomerKey({ headers: headers(good), secure: true, remoteAddress: '' }, true), null)
})

test('what is not built is refused', () => {
  refuseUnbuilt(headers({ 'x-amz-acl': 'private', 'x-amz-tagging': '' }))
  refuseUnbuilt(headers({ 'x-amz-acl': 'bucket-owner-full-control', 'x-amz-object-lock-legal-hold': 'OFF' }))
  refused('AccessControlListNotSupported', () => {
    refuseUnbuilt(headers({ 'x-amz-acl': 'public-read' }))
  })
  refused('AccessControlListNotSupported', () => {
    refuseUnbuilt(headers({ 'x-amz-grant-read': 'id=1' }))
  })
  refused('NotImplemented', () => {
    refuseUnbuilt(headers({ 'x-amz-tagging': 'a=b' }))
  })
})

test('queries: first of a name, counts within bounds', () => {
  const query = new Query('a=1&a=2&b&c=&max-keys=5000&d=x&&e=-1')
  assert.equal(query.get('a'), '1')
  assert.ok(query.has('b'))
  assert.equal(query.count('max-keys', 1000), 1000)
  assert.equal(query.count('none', 1000), 1000)
  assert.equal(new Query('n=0').count('n', 1000), 0)
  refused('InvalidArgument', () => query.count('d', 10))
  refused('InvalidArgument', () => query.count('e', 10))
  refused('InvalidURI', () => new Query('a=%'))
})

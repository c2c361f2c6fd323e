import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RequestHeaders } from '../http/headers.ts'
import { Query } from '../request/query.ts'
import { canonicalQuery, canonicalRequest } from './canonical.ts'

const pathOf = (rawPath: string): string =>
  canonicalRequest({ method: 'GET', rawPath, query: new Query(''), headers: new RequestHeaders(), signedHeaders: [], payloadHash: '' }).split('\n')[1]!

test('paths are encoded once and never normalised', () => {
  assert.equal(pathOf('/'), '/')
  assert.equal(pathOf('/a/./../b//c/'), '/a/./../b//c/')
  assert.equal(pathOf('/a%2Fb'), '/a/b')
  assert.equal(pathOf('/a%252Fb'), '/a%252Fb')
  assert.equal(pathOf('/%7Euser'), '/~user')
  assert.equal(pathOf("/a+b!'()*$&=:@,;"), '/a%2Bb%21%27%28%29%2A%24%26%3D%3A%40%2C%3B')
  assert.equal(pathOf('/%C3%BC'), '/%C3%BC')
  assert.equal(pathOf('/ü'), '/%C3%BC')
})

test('queries are sorted by encoded name, then value; an absent value is empty', () => {
  const of = (raw: string): string => canonicalQuery(new Query(raw))
  assert.equal(of('b=2&a=1'), 'a=1&b=2')
  assert.equal(of('a=2&a=1&a'), 'a=&a=1&a=2')
  assert.equal(of('uploads'), 'uploads=')
  assert.equal(of('a=x%20y+z&b=%2f'), 'a=x%20y%20z&b=%2F')
  assert.equal(of('prefix=a=b'), 'prefix=a%3Db')
  assert.equal(of('a-b=1&a=2&A=3&a%C3%BC=4'), 'A=3&a=2&a%C3%BC=4&a-b=1'.split('&').sort((x, y) => (x.split('=')[0]! < y.split('=')[0]! ? -1 : 1)).join('&'))
  assert.equal(of('X-Amz-Signature=1&X-Amz-Date=2'), 'X-Amz-Date=2')
})

test('header values are trimmed and folded, repeated ones joined', () => {
  const headers = RequestHeaders.of([['host', 'h'], ['x-amz-meta-a', '  one   two\t three '], ['x-amz-meta-b', 'first'], ['X-Amz-Meta-B', ' second']])
  const canonical = canonicalRequest({
    method: 'PUT', rawPath: '/k', query: new Query(''), headers, signedHeaders: ['host', 'x-amz-meta-a', 'x-amz-meta-b'], payloadHash: 'UNSIGNED-PAYLOAD',
  })
  assert.equal(canonical, 'PUT\n/k\n\nhost:h\nx-amz-meta-a:one two three\nx-amz-meta-b:first,second\n\nhost;x-amz-meta-a;x-amz-meta-b\nUNSIGNED-PAYLOAD')
})

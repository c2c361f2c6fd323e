import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { AnvilError, type AnvilErrorKind } from '../../shared/errors.ts'
import { errorDocument } from './error-answer.ts'
import { S3Error, toS3Error } from './errors.ts'
import { parseXml } from './xml/reader.ts'

/** Read from the source, so that a kind that is added is in this test. */
const source = readFileSync(new URL('../../shared/errors.ts', import.meta.url), 'utf8')
const union = source.slice(source.indexOf('AnvilErrorKind ='), source.indexOf('export class'))
const kinds = [...union.matchAll(/\| '(\w+)'/g)].map((match) => match[1] as AnvilErrorKind)

test('every kind has an S3 code and a status that fits it', () => {
  assert.ok(kinds.length > 30)
  for (const kind of kinds) {
    const error = toS3Error(new AnvilError(kind, 'the text'))
    assert.match(error.code, /^[A-Z][A-Za-z0-9]+$/)
    assert.ok(error.status === 304 || (error.status >= 400 && error.status < 600), kind)
    assert.ok(error.message.length > 0)
    if (error.status === 503) assert.ok(error.headers.some(([name]) => name === 'Retry-After'), kind)
    parseXml(Buffer.from(errorDocument(error, { resource: '/b/k', requestId: 'r', hostId: 'h' })))
  }
})

test('what is unknown is InternalError, and its cause is not told', () => {
  const cause = new Error('a secret path')
  for (const thrown of [cause, new AnvilError('Internal', 'a secret path'), 'a secret path', null]) {
    const error = toS3Error(thrown)
    assert.equal(error.code, 'InternalError')
    assert.equal(error.status, 500)
    assert.ok(!errorDocument(error, { resource: '/', requestId: 'r', hostId: 'h' }).includes('secret'))
  }
  assert.equal(toS3Error(cause).cause, cause)
})

test('details become elements and headers', () => {
  const range = toS3Error(new AnvilError('InvalidRange', 'x', { details: { range: 'bytes=9-', size: 3 } }))
  assert.deepEqual(range.headers, [['Content-Range', 'bytes */3']])
  assert.deepEqual(range.elements, [['RangeRequested', 'bytes=9-'], ['ActualObjectSize', '3']])
  const unmodified = toS3Error(new AnvilError('NotModified', 'x', { details: { etag: 'e', modifiedMs: 0 } }))
  assert.deepEqual(unmodified.headers, [['ETag', '"e"'], ['Last-Modified', 'Thu, 01 Jan 1970 00:00:00 GMT']])
  const own = new S3Error('Code', 400, 'm')
  assert.equal(toS3Error(own), own)
})

test('the document is escaped', () => {
  const root = parseXml(Buffer.from(errorDocument(new S3Error('A', 400, '<&>', { elements: [['Key', 'a&b']] }), { resource: '/b/<k>', requestId: 'r', hostId: 'h' })))
  assert.deepEqual(root.children.map(({ name, text }) => [name, text]), [['Code', 'A'], ['Message', '<&>'], ['Key', 'a&b'], ['Resource', '/b/<k>'], ['RequestId', 'r'], ['HostId', 'h']])
})

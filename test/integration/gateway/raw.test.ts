/** What clients should not do, over bare sockets: nothing may hang, leak, or take the gateway along. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, test } from 'node:test'
import { CreateBucketCommand } from '@aws-sdk/client-s3'
import { digestBase64 } from '../../../src/main/gateway/checksums.ts'
import { AnvilError } from '../../../src/shared/errors.ts'
import { type Harness, SECRET_KEY, startHarness } from './harness.ts'
import { eventually, pause, type RawAnswer, RawSocket } from './raw-socket.ts'
import { signed, signedChunks } from './sign.ts'

let harness: Harness
/** What the gateway takes for the time. */
let skewMs = 0
const MIB = 1024 * 1024

before(async () => {
  harness = await startHarness({ clock: () => Date.now() + skewMs, tickMs: 20 })
  await harness.client().send(new CreateBucketCommand({ Bucket: 'raw' }))
})
after(() => harness.stop())

/** Numbers below n, the same for the same seed (a linear congruential generator). */
function randomFrom(seed: number): (n: number) => number {
  let state = seed
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
}

const open = (): Promise<RawSocket> => RawSocket.open(harness.port)
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const codeOf = (answer: RawAnswer): string => /<Code>(\w+)<\/Code>/.exec(answer.body)?.[1] ?? ''

async function once(...parts: string[]): Promise<RawAnswer> {
  const raw = await open()
  const answer = await raw.send(...parts).answer()
  raw.close()
  return answer
}

const put = (target: string, headers: Record<string, string>, more: object = {}): string => signed({ method: 'PUT', target, headers, ...more }).head
const get = (target: string): string => signed({ method: 'GET', target }).head

test('one connection serves one request after the other', async () => {
  const raw = await open()
  for (const body of ['one', 'two', 'three']) {
    assert.equal((await raw.send(put('/raw/keep', { 'content-length': String(body.length) }), body).answer()).status, 200)
    assert.equal((await raw.send(get('/raw/keep')).answer()).body, body)
    const head = await raw.send(signed({ method: 'HEAD', target: '/raw/keep' }).head).answer({ head: true })
    assert.deepEqual([head.status, head.headers['content-length']], [200, String(body.length)])
    const missing = await raw.send(signed({ method: 'HEAD', target: '/raw/none' }).head).answer({ head: true })
    assert.equal(missing.status, 404)
    assert.equal((await raw.send(get('/raw/none')).answer()).status, 404)
    const deleted = await raw.send(signed({ method: 'DELETE', target: '/raw/none' }).head).answer()
    assert.deepEqual([deleted.status, deleted.headers['content-length'], deleted.headers['transfer-encoding']], [204, undefined, undefined])
    const unmodified = await raw.send(signed({ method: 'GET', target: '/raw/keep', headers: { 'if-none-match': `"${createHash('md5').update(body).digest('hex')}"` } }).head).answer()
    assert.deepEqual([unmodified.status, unmodified.body, unmodified.headers['etag']], [304, '', `"${createHash('md5').update(body).digest('hex')}"`])
  }
  raw.close()
})

test('every answer names its request; errors are XML with what was asked for', async () => {
  const answer = await once(get('/raw/no%20such'))
  assert.match(answer.headers['x-amz-request-id'] ?? '', /^[0-9A-F]{16}$/)
  assert.ok(answer.headers['x-amz-id-2'] !== undefined && answer.headers['date'] !== undefined)
  assert.equal(answer.headers['server'], 'Anvil')
  assert.equal(answer.headers['content-type'], 'application/xml')
  assert.match(answer.body, new RegExp(`^<\\?xml version="1.0" encoding="UTF-8"\\?>\\n<Error><Code>NoSuchKey</Code><Message>[^<]+</Message><Resource>/raw/no such</Resource><RequestId>${answer.headers['x-amz-request-id']}</RequestId>`))
  assert.ok(harness.lines.some(({ fields }) => (fields as { requestId?: string }).requestId === answer.headers['x-amz-request-id']))
})

test('a body in many small pieces, the head in pieces too', async () => {
  const raw = await open()
  const head = put('/raw/drip', { 'content-length': '10' })
  for (const part of [head.slice(0, 20), head.slice(20, 100), head.slice(100), ...Array.from('0123456789')]) {
    raw.send(part)
    await pause(2)
  }
  assert.equal((await raw.answer()).status, 200)
  assert.equal((await raw.send(get('/raw/drip')).answer()).body, '0123456789')
  raw.close()
})

test('a client that asked to close gets its refusal after its whole body was heard', async () => {
  const raw = await open()
  const body = Buffer.alloc(MIB, 'x')
  raw.send(put('/no-such-bucket/key', { 'content-length': String(4 * MIB), connection: 'close' }), body)
  // Long enough for the refusal to have been decided. Sent now, it would be lost with the reset that the rest of the body causes.
  await pause(300)
  assert.deepEqual([raw.received.length, raw.closed], [0, false])
  const answer = await raw.send(body, body, body).answer()
  assert.deepEqual([answer.status, codeOf(answer)], [404, 'NoSuchBucket'])
  await raw.ended()
})

test('cut off half way: the sink is aborted and nothing is stored', async () => {
  const { aborted } = harness.store
  for (const sent of ['', 'half']) {
    const raw = await open()
    raw.send(put('/raw/cut', { 'content-length': '1000' }), sent)
    await eventually('the upload is open', () => harness.store.openSinks === 1)
    raw.close()
    await eventually('the upload is gone', () => harness.store.openSinks === 0)
  }
  assert.equal(harness.store.aborted, aborted + 2)
  // Gone before the store has opened the upload at all.
  const raw = await open()
  raw.send(put('/raw/cut', { 'content-length': '1000' }))
  raw.close()
  await pause(30)
  assert.equal(harness.store.openSinks, 0)
  assert.equal((await once(get('/raw/cut'))).status, 404)
})

test('a reader that goes away leaves no source open', async () => {
  const raw = await open()
  const body = 'x'.repeat(20 * MIB)
  assert.equal((await raw.send(put('/raw/big', { 'content-length': String(body.length) }), body).answer()).status, 200)
  const reader = await open()
  reader.socket.pause()
  reader.send(get('/raw/big'))
  await eventually('the answer is under way', () => harness.store.openSources === 1)
  reader.close()
  await eventually('the source is closed', () => harness.store.openSources === 0)
  // A slow one gets everything.
  const slow = await open()
  slow.send(get('/raw/big'))
  for (let i = 0; i < 5; i++) {
    slow.socket.pause()
    await pause(30)
    slow.socket.resume()
    await pause(5)
  }
  assert.equal((await slow.answer()).body.length, body.length)
  slow.close()
  raw.close()
})

test('back-pressure: a slow store holds little of a large body', async () => {
  harness.store.writeDelayMs = 2
  harness.store.peakBuffered = 0
  const body = 'y'.repeat(64 * MIB)
  const raw = await open()
  assert.equal((await raw.send(put('/raw/slow', { 'content-length': String(body.length) }), body).answer()).status, 200)
  // what uWS reads on after a pause depends on how much the system holds for the socket
  assert.ok(harness.store.peakBuffered < 32 * MIB, `${harness.store.peakBuffered} bytes were held`)
  harness.store.writeDelayMs = 0
  assert.equal(sha256((await raw.send(get('/raw/slow')).answer()).body), sha256(body))
  raw.close()
})

test('a client that stalls is let go: RequestTimeout for a body, the end for an answer', async () => {
  const raw = await open()
  raw.send(put('/raw/stall', { 'content-length': '10' }), '12345')
  await eventually('the upload is open', () => harness.store.openSinks === 1)
  await pause(60)
  assert.equal(harness.store.openSinks, 1)
  const reader = await open()
  reader.socket.pause()
  reader.send(get('/raw/big'))
  await eventually('the answer is under way', () => harness.store.openSources === 1)
  await pause(200)
  skewMs = 61_000
  const answer = await raw.answer()
  assert.deepEqual([answer.status, codeOf(answer)], [400, 'RequestTimeout'])
  await raw.ended()
  await eventually('the reader is let go', () => harness.store.openSources === 0)
  skewMs = 0
  assert.equal(harness.store.openSinks, 0)
  reader.close()
})

test('refused before its body: the answer comes, a short rest passes, a long one ends the connection', async () => {
  const raw = await open()
  const body = 'z'.repeat(3 * MIB)
  const answer = await raw.send(put('/nobucket/k', { 'content-length': String(body.length) }), body).answer()
  assert.equal(codeOf(answer), 'NoSuchBucket')
  assert.equal((await raw.send(get('/raw/keep')).answer()).status, 200)
  raw.close()

  const large = await open()
  large.send(put('/nobucket/k', { 'content-length': String(4 * 1024 * MIB) }), body)
  assert.equal(codeOf(await large.answer()), 'NoSuchBucket')
  await large.ended()

  assert.equal(codeOf(await once(put('/raw/k', { 'content-length': String(6 * 1024 * MIB) }))), 'EntityTooLarge')
  assert.equal(codeOf(await once(put('/raw/k', {}))), 'MissingContentLength')
  assert.equal((await once(put('/raw/k', {}))).status, 411)
  assert.equal(codeOf(await once(put('/raw/k', { 'content-length': '5', 'x-amz-meta-a': 'x'.repeat(3000) }), 'hello')), 'MetadataTooLarge')
  assert.equal((await once(put('/raw/k', { 'transfer-encoding': 'chunked' }), '5\r\nhello\r\n0\r\n\r\n')).status, 411)
})

test('the store refuses: its error comes, whether the body has been sent or not', async () => {
  harness.store.openError = new AnvilError('SlowDown', 'no memory')
  const answer = await once(put('/raw/k', { 'content-length': '5' }), 'hello')
  assert.deepEqual([answer.status, codeOf(answer), answer.headers['retry-after']], [503, 'SlowDown', '1'])
  harness.store.openError = new Error('the details of a failure')
  const internal = await once(put('/raw/k', { 'content-length': '5000000' }), 'hello')
  assert.deepEqual([internal.status, codeOf(internal)], [500, 'InternalError'])
  assert.ok(!internal.body.includes('details'))
  assert.ok(harness.lines.some(({ level, fields }) => level === 'error' && String((fields as { err?: Error }).err?.message) === 'the details of a failure'))
  harness.store.openError = null
})

test('a source that fails in the middle cuts the connection', async () => {
  const { cut } = harness.gateway.counters()
  harness.store.failReadAfter = 5 * MIB
  const raw = await open()
  raw.send(get('/raw/big'))
  await assert.rejects(raw.answer(), /ended/)
  harness.store.failReadAfter = Number.POSITIVE_INFINITY
  assert.equal(harness.gateway.counters().cut, cut + 1)
  assert.equal(harness.store.openSources, 0)
})

test('signed payloads and chunks: right ones are stored, wrong ones leave nothing', async () => {
  const body = 'signed body'
  const length = { 'content-length': String(body.length) }
  assert.equal((await once(put('/raw/signed', length, { payloadHash: sha256(body) }), body)).status, 200)
  const mismatch = await once(put('/raw/wrong', length, { payloadHash: sha256('other') }), body)
  assert.deepEqual([mismatch.status, codeOf(mismatch)], [400, 'XAmzContentSHA256Mismatch'])
  assert.equal(codeOf(await once(put('/raw/wrong', length, { payloadHash: 'nonsense' }), body)), 'InvalidArgument')
  assert.equal(codeOf(await once(put('/raw/wrong', length, { secret: `${SECRET_KEY}x` }), body)), 'SignatureDoesNotMatch')
  assert.equal(codeOf(await once(put('/raw/wrong', length, { nowMs: Date.now() - 16 * 60_000 }), body)), 'RequestTimeTooSkewed')
  assert.equal(codeOf(await once(put('/raw/wrong', length, { region: 'eu-west-1' }), body)), 'AuthorizationHeaderMalformed')

  const chunks = ['a'.repeat(70_000), 'b'.repeat(65_536), 'c']
  const decoded = String(chunks.join('').length)
  const streamed = (target: string, mode: string, headers: Record<string, string>, trailer?: [string, string]): string[] => {
    const frame = (seed: ReturnType<typeof signed>): string => signedChunks(chunks, seed, trailer)
    const sized = frame(signed({ method: 'PUT', target })).length
    const seed = signed({ method: 'PUT', target, payloadHash: mode, headers: { 'content-length': String(sized), 'x-amz-decoded-content-length': decoded, 'content-encoding': 'aws-chunked', ...headers } })
    return [seed.head, frame(seed)]
  }
  assert.equal((await once(...streamed('/raw/chunks', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', {}))).status, 200)
  assert.equal((await once(get('/raw/chunks'))).body, chunks.join(''))
  const trailer: [string, string] = ['x-amz-checksum-crc32c', digestBase64('crc32c', Buffer.from(chunks.join('')))]
  assert.equal((await once(...streamed('/raw/trailer', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', { 'x-amz-trailer': trailer[0] }, trailer))).headers[trailer[0]], trailer[1])
  const [head = '', frames = ''] = streamed('/raw/wrong', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', {})
  assert.equal(codeOf(await once(head, frames.replace('bbb', 'bxb'))), 'SignatureDoesNotMatch')
  const missing = signed({ method: 'PUT', target: '/raw/wrong', payloadHash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', headers: { 'content-length': '5' } }).head
  assert.equal(codeOf(await once(missing, 'hello')), 'MissingContentLength')
  assert.equal((await once(get('/raw/wrong'))).status, 404)
})

test('Expect: 100-continue', async () => {
  const raw = await open()
  raw.send(put('/raw/expect', { 'content-length': '5', expect: '100-continue' }))
  assert.equal((await raw.answer()).status, 100)
  assert.equal((await raw.send('hello').answer()).status, 200)
  raw.close()
})

test('heads that are not requests', async () => {
  const status = async (head: string): Promise<number> => (await once(head)).status
  assert.equal(await status('GET / HTTP/1.0\r\nHost: h\r\n\r\n'), 505)
  assert.equal(await status('GET / HTTP/1.1\r\n\r\n'), 400)
  assert.equal(await status('PUT /raw/k HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n'), 400)
  assert.equal(await status('PUT /raw/k HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n'), 400)
  assert.equal(await status('PUT /raw/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'), 400)
  assert.equal(await status(`GET / HTTP/1.1\r\nHost: h\r\nX-A: ${'a'.repeat(40_000)}\r\n\r\n`), 431)
  assert.equal(codeOf(await once('PUT /raw/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n')), 'InvalidRequest')
  assert.equal(await status('GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n'), 400)
  for (const path of ['/raw/%zz', '/raw/%00', '/raw/%ff', '/raw/k?a=%']) assert.equal(codeOf(await once(`GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`)), 'InvalidURI', path)
  assert.equal(codeOf(await once('PATCH /raw/k HTTP/1.1\r\nHost: h\r\n\r\n')), 'MethodNotAllowed')
  // uWebSockets.js takes no further request before it has answered one: it ends such a connection, and nothing else.
  harness.store.readDelayMs = 5
  const raw = await open()
  raw.send(get('/raw/keep'), get('/raw/keep'))
  await raw.ended()
  harness.store.readDelayMs = 0
  assert.equal((await once(get('/raw/keep'))).status, 200)
})

test('documents: too large, malformed, unsigned, not the one that was announced', async () => {
  const post = (document: string, headers: Record<string, string> = {}, payloadHash = sha256(document)): string[] => [
    signed({ method: 'POST', target: '/raw?delete', payloadHash, headers: { 'content-length': String(document.length), ...headers } }).head, document,
  ]
  const good = '<Delete><Object><Key>gone</Key></Object></Delete>'
  const md5 = (text: string): Record<string, string> => ({ 'content-md5': createHash('md5').update(text).digest('base64') })
  assert.equal((await once(...post(good, md5(good)))).status, 200)
  assert.equal((await once(...post(good, { 'x-amz-checksum-crc32c': digestBase64('crc32c', Buffer.from(good)) }))).status, 200)
  assert.equal(codeOf(await once(...post(good))), 'InvalidRequest')
  assert.equal(codeOf(await once(...post(good, md5('other')))), 'BadDigest')
  assert.equal(codeOf(await once(...post(good, md5(good), sha256('other')))), 'XAmzContentSHA256Mismatch')
  assert.equal(codeOf(await once(...post('<Delete>', md5('<Delete>')))), 'MalformedXML')
  const bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><Delete><Object><Key>&a;</Key></Object></Delete>'
  assert.equal(codeOf(await once(...post(bomb, md5(bomb)))), 'MalformedXML')
  const large = `<Delete>${' '.repeat(3 * MIB)}</Delete>`
  assert.equal(codeOf(await once(...post(large, md5(large)))), 'MalformedXML')
})

test('whatever is sent, the gateway goes on', async () => {
  const seed = Date.now() & 0xffffff
  const random = randomFrom(seed)
  const logged = harness.lines.length
  const requests = [
    put('/raw/fuzz', { 'content-length': '5', 'x-amz-meta-a': 'b' }) + 'hello', get('/raw/keep'), get('/raw?list-type=2&prefix=a'),
    signed({ method: 'POST', target: '/raw?delete', headers: { 'content-length': '20', 'content-md5': 'x' } }).head + '<Delete><Object>aaaaa',
    'GET /raw/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2Fb%2Fc%2Fd%2Fe&X-Amz-Date=20260101T000000Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=0 HTTP/1.1\r\nHost: b.s3.test\r\n\r\n',
  ].map((text) => Buffer.from(text))
  for (let round = 0; round < 300; round++) {
    const bytes = Buffer.from(requests[random(requests.length)]!)
    for (let change = random(4); change >= 0; change--) bytes[random(bytes.length)] = random(3) === 0 ? '%/?&=: \r\n,;'.charCodeAt(random(11)) : random(256)
    const raw = await open()
    raw.send(bytes)
    await pause(random(3))
    raw.close()
  }
  assert.equal((await once(get('/raw/keep'))).status, 200, `seed ${seed}`)
  await eventually(`nothing runs any more (seed ${seed})`, () => harness.gateway.counters().active === 0)
  assert.equal(harness.store.openSinks, 0, `seed ${seed}`)
  assert.deepEqual(harness.lines.slice(logged).filter(({ level }) => level === 'error'), [], `seed ${seed}`)
})

test('probes, preflights, form uploads', async () => {
  const health = await once('GET /-/healthz HTTP/1.1\r\nHost: h\r\n\r\n')
  assert.deepEqual([health.status, JSON.parse(health.body)], [200, { status: 'ok' }])
  assert.equal((await once('GET /-/readyz HTTP/1.1\r\nHost: h\r\n\r\n')).status, 200)
  assert.equal((await once('GET /-/other HTTP/1.1\r\nHost: h\r\n\r\n')).status, 404)
  const preflight = await once('OPTIONS /raw/k HTTP/1.1\r\nHost: h\r\nOrigin: http://a\r\nAccess-Control-Request-Method: PUT\r\n\r\n')
  assert.deepEqual([preflight.status, codeOf(preflight)], [403, 'AccessDenied'])
  assert.equal((await once('OPTIONS /raw/k HTTP/1.1\r\nHost: h\r\n\r\n')).status, 400)
  assert.equal(codeOf(await once(signed({ method: 'POST', target: '/raw', headers: { 'content-length': '0' } }).head)), 'NotImplemented')
})

test('what was counted', () => {
  const { requests, active, aborted, receivedBytes, sentBytes } = harness.gateway.counters()
  assert.equal(active, 0)
  assert.ok(requests['PutObject']![200]! > 5 && requests['GetObject']![404]! > 3 && requests['unknown'] !== undefined)
  assert.ok(aborted >= 4 && receivedBytes > 30 * MIB && sentBytes > 30 * MIB)
})

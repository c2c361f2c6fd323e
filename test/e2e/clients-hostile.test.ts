/** Clients that send too little, too much, too slowly, the wrong thing or nothing. The node must stay up, small and right. */
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { CreateBucketCommand, GetObjectCommand, ListObjectsV2Command, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { bytes } from '../support/bytes.ts'
import { memoryOf, NodeProcess, statusOf } from '../support/node-process.ts'
import { awsChunked, sha256Hex, STREAMING_UNSIGNED_TRAILER } from '../support/sigv4.ts'
import { until } from '../support/until.ts'
import { read, sameBytes } from './objects/context.ts'
import { beginUpload, openSocket, send, statusIn, type RawUpload } from './raw-upload.ts'
import { status, untilStatus } from './status.ts'

const MIB = 1024 * 1024
const BUCKET = 'hostile'
const MEMORY_LIMIT = 256 * MIB
/**
 * What a node needs beside its stripe buffers: the heap and the code of two JavaScript threads or more, sockets, the index,
 * and the idle buffers that it keeps (a sixteenth of the limit). 170 MiB of it are there before the first request.
 */
const BESIDE_BUFFERS = 320 * MIB
const SLOW_UPLOADS = 1000
const FIRST = 20_000

let node: NodeProcess
let s3: S3Client

before(async () => {
  node = await NodeProcess.started({ env: { ANVIL_MEMORY_LIMIT: String(MEMORY_LIMIT) } })
  s3 = node.s3()
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET }))
})
after(() => node?.dispose())

const upload = (key: string, length: number, more: object = {}): Promise<RawUpload> => beginUpload(node, { bucket: BUCKET, key, length, ...more })

async function absent(key: string): Promise<void> {
  const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket: BUCKET, Prefix: key }))
  assert.deepEqual(Contents.map((entry) => entry.Key), [], `${key} must not exist`)
}

/** No upload is left in the node, and its buffers are given back. */
const untilQuiet = () => untilStatus(node, 'no upload is left and buffers are free', ({ engine }) => engine.uploads === 0 && engine.memoryUsedBytes < 8 * MIB)

it('a body that ends too early leaves nothing', async () => {
  for (const [length, sent] of [[1000, 500], [1000, 0], [200_000, 199_999], [8 * MIB, 5 * MIB], [64 * MIB, 40 * MIB]] as const) {
    const { socket } = await upload(`short${length}-${sent}`, length)
    await send(socket, bytes(sent))
    socket.end()
    socket.destroySoon()
  }
  await untilQuiet()
  await absent('short')
})

it('a body that is longer than announced is not taken for the object', async () => {
  const body = bytes(10_000)
  const { socket, answer } = await upload('long', 5000)
  await send(socket, body)
  // the rest is no request: its refusal ends the connection, and may come before the answer to the first
  const found = statusIn(await answer)
  assert.ok([0, 200, 400, 505].includes(found), `${found}`)
  socket.destroy()
  await untilQuiet()
  const got = await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: 'long' })).catch((error: Error) => error)
  if (got instanceof Error) {
    assert.equal(got.name, 'NoSuchKey')
    assert.notEqual(found, 200)
  } else sameBytes(await read(got), body.subarray(0, 5000))
})

it('chunks that decode to more or less than announced are refused', async () => {
  const body = bytes(50_000)
  for (const decoded of [49_999, 50_001, 0]) {
    const framed = awsChunked(body, 8192, null, { name: 'x-amz-checksum-crc32', value: 'AAAAAA==' })
    const { socket, answer } = await upload(`decoded${decoded}`, framed.length, {
      payloadHash: STREAMING_UNSIGNED_TRAILER,
      headers: { 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': String(decoded), 'x-amz-trailer': 'x-amz-checksum-crc32' },
    })
    await send(socket, framed)
    assert.equal(statusIn(await answer), 400, `announced ${decoded}`)
    socket.destroy()
  }
  await absent('decoded')
})

it('nonsense in chunked framing is refused', async () => {
  for (const [i, framed] of ['zzz\r\n', '-5\r\nhello\r\n', 'ffffffffffffffff\r\nx', '5\r\nhelloX\r\n0\r\n\r\n', '5;chunk-signature\r\nhello\r\n'].entries()) {
    const { socket, answer } = await upload(`nonsense${i}`, framed.length, {
      payloadHash: STREAMING_UNSIGNED_TRAILER, headers: { 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': '5' },
    })
    await send(socket, Buffer.from(framed))
    const found = statusIn(await answer)
    assert.ok(found >= 400 && found < 500, `${JSON.stringify(framed)}: ${found}`)
    socket.destroy()
  }
  await absent('nonsense')
})

it('a wrong signature is refused before the body is read', async () => {
  const forged = (head: string): string => head.replace(/Signature=(.)/, (_, first: string) => `Signature=${first === '0' ? '1' : '0'}`)
  const { socket, answer } = await upload('forged', 1024 * MIB, { tamper: forged })
  assert.equal(statusIn(await answer), 403)
  socket.destroy()
  const wrongBody = await upload('forged', 5 * MIB, { payloadHash: sha256Hex('something else') })
  await send(wrongBody.socket, bytes(5 * MIB))
  assert.equal(statusIn(await wrongBody.answer), 400)
  wrongBody.socket.destroy()
  await absent('forged')
})

it('an announced length beyond 5 GiB, or none at all, is refused', async () => {
  const huge = await upload('huge', 5 * 1024 * MIB + 1)
  assert.equal(statusIn(await huge.answer), 400)
  huge.socket.destroy()
  const none = await upload('none', 0, { tamper: (head: string) => head.replace(/content-length: 0\r\n/, '') })
  assert.ok([400, 403, 411].includes(statusIn(await none.answer)))
  none.socket.destroy()
  await absent('huge')
})

it('what is not HTTP, or too much of it, ends only its own connection', async () => {
  const attempts = [
    '\0\0\0\0', 'hello\r\n\r\n', 'GET\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', `GET /${'x'.repeat(100_000)} HTTP/1.1\r\nhost: a\r\n\r\n`,
    `GET / HTTP/1.1\r\nhost: a\r\n${Array.from({ length: 2000 }, (_, i) => `x-${i}: ${'y'.repeat(100)}\r\n`).join('')}\r\n`,
    'PUT /hostile/a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello', 'PUT /hostile/a HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n',
    'PUT /hostile/a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n', 'GET http://[::1 HTTP/1.1\r\nhost: a\r\n\r\n',
    'GET /%zz%00 HTTP/1.1\r\nhost: a\r\n\r\n', 'OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n', 'GET /hostile?%ff=%fe HTTP/1.1\r\nhost: a\r\n\r\n',
  ]
  for (const text of attempts) {
    const { socket, answer } = await openSocket(node)
    socket.write(text)
    const timer = setTimeout(() => socket.destroy(), 1000) // some of it is a head that never ends
    const found = statusIn(await answer)
    clearTimeout(timer)
    socket.destroy()
    assert.ok(found === 0 || (found >= 400 && found < 600), `${JSON.stringify(text.slice(0, 60))}: ${found}`)
    assert.ok(node.running, node.logTail())
  }
  assert.equal(await statusOf(node.port, '/-/readyz'), 200)
  await absent('a')
})

it('readers that stop reading or go away cost nothing that lasts', async () => {
  const body = bytes(40 * MIB)
  await s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: 'big', Body: body }))
  const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner')
  const url = new URL(await getSignedUrl(s3, new GetObjectCommand({ Bucket: BUCKET, Key: 'big' }), { expiresIn: 600 }))
  const earlier = memoryOf(node.pid, 'VmRSS')
  const readers = await Promise.all(Array.from({ length: 60 }, async () => {
    const reader = await openSocket(node)
    reader.socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nhost: 127.0.0.1:${node.port}\r\n\r\n`)
    await reader.answer
    reader.socket.pause()
    return reader
  }))
  // a good client is served beside them
  sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: 'big' }))), body)
  assert.ok(memoryOf(node.pid, 'VmRSS') < earlier + MEMORY_LIMIT + 64 * MIB, 'stalled readers pile up in memory')
  for (const { socket } of readers) socket.destroy()
  await untilStatus(node, 'their reads are closed', ({ engine }) => engine.reads === 0 && engine.memoryUsedBytes < 8 * MIB)
})

const SIZE = 3 * MIB
/** Of each of the thousand: on a busy machine all of them must end before the last one's client has been idle for too long. */
const SLOW_SIZE = MIB

/** Uploads that were admitted and have sent a little; below the smallest stripe, since clients this slow bring little at a time. */
async function beginSlowly(prefix: string, count: number, size: number): Promise<RawUpload[]> {
  const slow: RawUpload[] = []
  for (let i = 0; i < count; i++) slow.push(await upload(`${prefix}${i}`, size))
  await Promise.all(slow.map(({ socket }) => send(socket, bytes(size).subarray(0, FIRST))))
  await until('they are all admitted', async () => (await status(node)).engine.uploads >= count || slow.some(({ socket }) => socket.closed), { timeoutMs: 60_000 })
  return slow
}

async function finish({ socket, answer }: RawUpload, rest: Uint8Array): Promise<number> {
  await send(socket, rest).catch(() => {}) // one that was refused
  const found = statusIn(await answer)
  socket.destroy()
  return found
}

function checkPeak(): void {
  const peak = memoryOf(node.pid, 'VmHWM')
  assert.ok(peak < MEMORY_LIMIT + BESIDE_BUFFERS, `peak ${Math.round(peak / MIB)} MiB`)
}

it(`${SLOW_UPLOADS} slow uploads fit into the memory limit and do not block others`, async () => {
  const slow = await beginSlowly('slow', SLOW_UPLOADS, SLOW_SIZE)
  const rest = bytes(SLOW_SIZE).subarray(FIRST)
  await until('an ordinary client gets through', () => s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: 'ordinary', Body: bytes(5 * MIB) })), { timeoutMs: 30_000 })
  sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: 'ordinary' }))), bytes(5 * MIB))
  const { engine } = await status(node)
  assert.ok(engine.memoryPeakBytes <= MEMORY_LIMIT, `${engine.memoryPeakBytes} bytes of buffers`)
  const ended: number[] = []
  await Promise.all(Array.from({ length: 16 }, async () => {
    for (let one = slow.pop(); one !== undefined; one = slow.pop()) ended.push(await finish(one, rest))
  }))
  assert.deepEqual(tally(ended), { 200: SLOW_UPLOADS })
  checkPeak()
  sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: 'slow0' }))), bytes(SLOW_SIZE))
  await untilQuiet()
})

it('a burst of 500 of them stays within the limit, too, and none that was admitted is refused', async () => {
  const earlier = memoryOf(node.pid, 'VmRSS')
  const rest = bytes(SIZE).subarray(FIRST)
  const begun = await beginSlowly('burst', SLOW_UPLOADS / 2, SIZE)
  const burst = tally(await Promise.all(begun.map((one) => finish(one, rest))))
  assert.deepEqual(burst, { 200: SLOW_UPLOADS / 2 })
  checkPeak()
  sameBytes(await read(await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: 'burst0' }))), bytes(SIZE))
  await untilQuiet()
  const left = memoryOf(node.pid, 'VmRSS')
  assert.ok(left < earlier + 64 * MIB, `${Math.round((left - earlier) / MIB)} MiB are left of it`)
})

it('bodies that come with their heads, before anybody can have asked for them, are bounded as well', async () => {
  const codes = tally(await Promise.all(Array.from({ length: 400 }, async (_, i) => {
    const early = await upload(`early${i}`, SIZE)
    const sent = send(early.socket, bytes(SIZE)).catch(() => {}) // one that was refused
    const code = statusIn(await early.answer)
    early.socket.destroy()
    await sent
    return code
  })))
  // not admitted: there is more than fits
  assert.deepEqual(Object.keys(codes).filter((code) => code !== '200' && code !== '503'), [], JSON.stringify(codes))
  assert.ok((codes['200'] ?? 0) > 0, JSON.stringify(codes))
  checkPeak()
  await untilQuiet()
})

const tally = (codes: number[]): Record<string, number> =>
  Object.fromEntries(Object.entries(Object.groupBy(codes, String)).map(([code, list]) => [code, list!.length]))

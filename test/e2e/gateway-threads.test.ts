/** Gateways in threads of their own that share the port: requests, kill -9, SIGTERM, and starts that fail. */
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { CreateBucketCommand, GetObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { bytes, md5 } from '../support/bytes.ts'
import { NodeProcess } from '../support/node-process.ts'

const MIB = 1024 * 1024
const BUCKET = 'threads'
const THREADS = { ANVIL_GATEWAY_THREADS: '2' }

let node: NodeProcess
let s3: S3Client
before(async () => {
  node = await NodeProcess.started({ drives: 3, env: THREADS })
  s3 = node.s3()
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET }))
})
after(() => node?.dispose())

const put = (key: string, body: Buffer) => s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: body }))

async function get(key: string): Promise<Buffer> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: BUCKET, Key: key }))
  return Buffer.from(await Body!.transformToByteArray())
}

const acknowledged = new Map<string, Buffer>()
const readAll = () => Promise.all([...acknowledged].map(async ([key, body]) => assert.equal(md5(await get(key)), md5(body), key)))

test('objects of every way of storing go in and out, over many connections', async () => {
  const bodies = Array.from({ length: 40 }, (_, i) => [`key${i}`, bytes([200, 9000, MIB + 1][i % 3]!, i)] as const)
  await Promise.all(bodies.map(async ([key, body]) => {
    await put(key, body)
    acknowledged.set(key, body)
  }))
  const big = bytes(12 * MIB, 99)
  await new Upload({ client: s3, params: { Bucket: BUCKET, Key: 'parts', Body: big }, partSize: 5 * MIB }).done()
  acknowledged.set('parts', big)
  await readAll()
})

test('what was acknowledged before kill -9 is there after the restart', async () => {
  let running = true
  const writing = Promise.all(Array.from({ length: 4 }, async (_, writer) => {
    for (let i = 0; running; i++) {
      const [key, body] = [`killed${writer}-${i}`, bytes(50_000 + i, writer * 1000 + i)]
      try {
        await put(key, body)
      } catch {
        return // not acknowledged: anything may have become of it
      }
      acknowledged.set(key, body)
    }
  }))
  await new Promise((resolve) => setTimeout(resolve, 500))
  await node.kill()
  running = false
  await writing
  await node.start()
  await readAll()
})

test('SIGTERM ends every thread, and nothing is cut', async () => {
  const body = bytes(8 * MIB, 7)
  const last = put('last', body).then(() => 'acknowledged', () => 'refused')
  await new Promise((resolve) => setTimeout(resolve, 20))
  const exit = await node.stop()
  assert.deepEqual(exit, { code: 0, signal: null }, node.logTail())
  // either it was refused as a whole, or it is there
  const outcome = await last
  await node.start()
  if (outcome === 'acknowledged') assert.equal(md5(await get('last')), md5(body))
})

test('a port that is taken stops the start with a clear line, and every thread with it', async () => {
  await node.stop()
  const other = createServer().listen(node.port, '127.0.0.1')
  try {
    node.launch()
    const exit = await node.exit
    assert.equal(exit.code, 2, node.logTail())
    assert.match(node.logTail(), new RegExp(`HTTP_BIND_ADDR is 127.0.0.1:${node.port}, must be .*EADDRINUSE`))
  } finally {
    await new Promise((resolve) => other.close(resolve))
  }
})


/** An orderly end, and how soon a node is there again: measured, so nothing else runs beside this file. */
import assert from 'node:assert/strict'
import { after, before, it } from 'node:test'
import { CreateBucketCommand, GetObjectCommand } from '@aws-sdk/client-s3'
import { bytes } from '../support/bytes.ts'
import { NodeProcess, statusOf } from '../support/node-process.ts'
import { until } from '../support/until.ts'
import { read, sameBytes } from './objects/context.ts'
import { beginUpload, send, statusIn } from './raw-upload.ts'

const MIB = 1024 * 1024
const BUCKET = 'restarts'
const SECOND_START_MS = 3000

let node: NodeProcess
before(async () => {
  node = await NodeProcess.started()
  await node.s3().send(new CreateBucketCommand({ Bucket: BUCKET }))
})
after(() => node?.dispose())

it('SIGTERM lets a running upload finish, takes no new request, and ends with 0 and without Postgres', async () => {
  const body = bytes(6 * MIB, 1)
  const upload = await beginUpload(node, { bucket: BUCKET, key: 'running', length: body.length })
  await send(upload.socket, body.subarray(0, 3 * MIB))
  node.signal('SIGTERM')
  await until('it is not ready any more', async () => (await statusOf(node.port, '/-/readyz')) !== 200)
  const refused = await statusOf(node.port, `/${BUCKET}?list-type=2`)
  assert.ok(refused === 0 || refused === 503, `a new request was answered with ${refused}`)
  assert.ok(node.running, 'it waits for the upload')
  await send(upload.socket, body.subarray(3 * MIB))
  assert.equal(statusIn(await upload.answer), 200)
  upload.socket.destroy()
  assert.deepEqual(await node.exit, { code: 0, signal: null }, node.logTail())
  assert.equal(node.postmasterPid(), null)
  await node.start()
  sameBytes(await read(await node.s3().send(new GetObjectCommand({ Bucket: BUCKET, Key: 'running' }))), body)
})

it(`a node is ready again within ${SECOND_START_MS} ms of the command`, async () => {
  // the best of three: the machine may be busy with other things
  const times: number[] = []
  for (let i = 0; i < 3 && (times.length === 0 || Math.min(...times) > SECOND_START_MS); i++) {
    assert.equal((await node.stop()).code, 0, node.logTail())
    times.push((await node.start()).readyMs)
  }
  assert.ok(Math.min(...times) <= SECOND_START_MS, `starts took ${times.map((ms) => Math.round(ms)).join(', ')} ms`)
})

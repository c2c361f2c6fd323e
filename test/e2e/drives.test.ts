/** Six drives of one host, 4+2: what goes missing, rots, comes back and is replaced. */
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { CreateBucketCommand, DeleteObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { bytes } from '../support/bytes.ts'
import { NodeProcess } from '../support/node-process.ts'
import { signedRequest } from '../support/raw-http.ts'
import { s3Path } from '../support/sigv4.ts'
import { until } from '../support/until.ts'
import { flipBytes } from './corruption.ts'
import { accountForEveryShard } from './accounting.ts'
import { sameBytes } from './objects/context.ts'
import { beginUpload, send, statusIn } from './raw-upload.ts'
import { status, untilStatus } from './status.ts'

const MIB = 1024 * 1024
const BUCKET = 'drives'
/** Beyond the inline border all of them, so that each needs its drives. */
const SIZES = [9000, 70_000, 131_073, 1_000_000, 5 * MIB + 11]

let node: NodeProcess
let s3: S3Client
/** Every object that must be readable: key to size and seed. */
const objects = new Map<string, { size: number; seed: number }>()

before(async () => {
  // an upload whose members go is written a second time, and must be done with that before it looks like an orphan
  node = await NodeProcess.started({ drives: 6, env: { ANVIL_ORPHAN_AGE_SECS: '5' } })
  s3 = node.s3({ maxAttempts: 3 })
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET }))
})
after(() => node?.dispose())

let seeds = 0
async function write(count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, async (_, i) => {
    const seed = ++seeds
    const size = SIZES[i % SIZES.length]!
    await s3.send(new PutObjectCommand({ Bucket: BUCKET, Key: `object${seed}`, Body: bytes(size, seed) }))
    objects.set(`object${seed}`, { size, seed })
  }))
}

const get = (key: string) => signedRequest(node.port, node.credentials, { method: 'GET', path: s3Path(BUCKET, key) })

/** Every object with every byte; `or` is the one other status that is allowed. Returns how many were readable. */
async function readAll(or?: 503): Promise<number> {
  let readable = 0
  const waiting = [...objects]
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let entry = waiting.pop(); entry !== undefined; entry = waiting.pop()) {
      const [key, { size, seed }] = entry
      const answer = await get(key)
      if (answer.status === or) continue
      assert.equal(answer.status, 200, `${key}: ${answer.text}\n${node.logTail()}`)
      sameBytes(answer.body, bytes(size, seed), key)
      readable++
    }
  }))
  return readable
}

const away = (i: number): string => `${node.drives[i]!}.away`
const remove = (i: number): void => renameSync(node.drives[i]!, away(i))
function putBack(i: number): void {
  rmSync(node.drives[i]!, { recursive: true, force: true })
  renameSync(away(i), node.drives[i]!)
}

async function restartWithout(...indexes: number[]): Promise<void> {
  if (node.running) assert.equal((await node.stop()).code, 0, node.logTail())
  indexes.forEach(remove)
  await node.start()
}

async function restartWith(...indexes: number[]): Promise<void> {
  if (node.running) assert.equal((await node.stop()).code, 0, node.logTail())
  indexes.forEach(putBack)
  await node.start()
}

const untilWhole = (what: string) => untilStatus(node, what, async ({ metadata, drives }) =>
  drives.every((drive) => drive.state === 'online') && metadata.repairs === 0 && (await narrow()) === 0, { timeoutMs: 120_000 })

/** Blobs in groups that are narrower than 4+2. */
async function narrow(): Promise<number> {
  const [row] = await node.sql<{ n: number }>('SELECT count(*)::int AS n FROM blobs b JOIN placement_groups g ON g.id = b.pg_id WHERE b.refs > 0 AND (g.k < 4 OR g.m < 2)')
  return row!.n
}

it('six drives take 4+2', async () => {
  await write(20)
  assert.equal((await status(node)).health.code, '4+2')
  assert.equal(await readAll(), 20)
  assert.equal(await narrow(), 0)
})

it('with any two folders gone, everything is readable, and writes go on', async () => {
  for (const [a, b] of [[0, 1], [2, 5], [3, 4]] as const) {
    await restartWithout(a, b)
    const { drives, health } = await status(node)
    assert.deepEqual(drives.map((drive) => drive.state === 'online'), node.drives.map((_, i) => i !== a && i !== b))
    assert.equal(health.status, 'degraded')
    assert.equal(health.code, '2+2')
    await readAll()
    await write(5)
    await readAll()
    await restartWith(a, b)
    await readAll()
  }
  await untilWhole('what was written meanwhile is 4+2 again')
  await readAll()
})

it('folders that vanish while the node runs are noticed or do no harm', async () => {
  remove(0)
  remove(3)
  await readAll()
  await write(5)
  await readAll()
  await restartWith(0, 3)
  await readAll()
  await untilWhole('all is whole again')
})

it('an upload outlives two folders that vanish in its middle', async () => {
  const [size, seed] = [24 * MIB, ++seeds]
  const body = bytes(size, seed)
  const { socket, answer } = await beginUpload(node, { bucket: BUCKET, key: 'middle', length: size })
  await send(socket, body.subarray(0, size / 2))
  await untilStatus(node, 'it is under way', ({ engine }) => engine.uploads > 0 && engine.jobsRun > 0)
  remove(1)
  remove(4)
  await untilStatus(node, 'both are noticed', ({ drives }) => drives.filter((drive) => drive.state === 'offline').length === 2)
  await send(socket, body.subarray(size / 2))
  assert.equal(statusIn(await answer), 200, node.logTail())
  socket.destroy()
  objects.set('middle', { size, seed })
  await readAll()
  await restartWith(1, 4)
  await readAll()
  await untilWhole('all is whole again')
})

it('with three folders gone: 503 and never wrong bytes; all is there when they are back', async () => {
  await restartWithout(0, 1, 2)
  const readable = await readAll(503)
  assert.ok(readable < objects.size, 'something must need the drives that are gone')
  const key = [...objects.keys()][0]!
  assert.equal((await get(key)).code, 'ServiceUnavailable')
  await restartWith(0, 1, 2)
  assert.equal(await readAll(), objects.size)
})

/** Reads all drives through; resolves with how many damaged shards it met. */
async function scrub(): Promise<number> {
  const counters = async () => (await status(node)).background.tasks.find((task) => task.name === 'scrubbing')!.counters
  const { passes = 0, damaged = 0 } = await counters()
  await node.adminSocket('POST', '/scrub')
  await untilStatus(node, 'every drive was read through', async () => ((await counters())['passes'] ?? 0) >= passes + node.drives.length)
  return ((await counters())['damaged'] ?? 0) - damaged
}

it('flipped bytes are found, counted and repaired, by reads and by scrubbing', async () => {
  for (const [pair, find] of [[[0, 1], 'reads'], [[2, 3], 'scrubbing'], [[4, 5], 'scrubbing']] as const) {
    const earlier = (await status(node)).background.damage.crc
    assert.ok(pair.reduce((sum: number, i) => sum + flipBytes(node.drives[i]!), 0) > 0)
    if (find === 'reads') await readAll()
    else assert.ok((await scrub()) > 0)
    await untilStatus(node, `damage was found by ${find} and repaired`, ({ background, metadata }) => background.damage.crc > earlier && metadata.repairs === 0)
    // what was reported is repaired when a pass over everything meets nothing more; only then may other drives be hurt
    await until('nothing damaged is left', async () => (await scrub()) === 0, { timeoutMs: 60_000 })
    await readAll()
  }
  await restartWithout(1, 4)
  assert.equal(await readAll(), objects.size)
  await restartWith(1, 4)
})

it('a drive that was away is brought up to date, without a restart', async () => {
  await restartWithout(5)
  await write(10)
  const gone = [...objects.keys()].slice(0, 5)
  for (const Key of gone) {
    await s3.send(new DeleteObjectCommand({ Bucket: BUCKET, Key }))
    objects.delete(Key)
  }
  assert.ok((await narrow()) > 0, 'with five drives the code is narrower')
  putBack(5)
  await untilWhole('it is online and everything is 4+2')
  await restartWithout(0, 1)
  assert.equal(await readAll(), objects.size)
  await restartWith(0, 1)
})

it('an emptied drive is not filled by itself; `admin drive replace` fills a new one', async () => {
  const path = node.drives[2]!
  assert.equal((await node.stop()).code, 0)
  rmSync(path, { recursive: true })
  mkdirSync(path)
  await node.start()
  const drive = async () => (await status(node)).drives.find((entry) => entry.path === path)!
  assert.equal((await drive()).state, 'offline')
  assert.match((await drive()).reason, /empty.*replace/)
  await write(3)
  assert.deepEqual(readdirSync(path), [], 'an unmounted disk must not be written to')
  await node.admin('drive', 'replace', path)
  await untilStatus(node, 'a new drive is online', ({ drives }) => drives.every((entry) => entry.state === 'online'))
  await untilWhole('it is filled')
  await restartWithout(0, 1)
  assert.equal(await readAll(), objects.size)
  await restartWith(0, 1)
})

it('afterwards every shard is accounted for', async () => {
  await untilWhole('nothing waits')
  const { shards } = await accountForEveryShard(node)
  assert.equal(shards, objects.size * 6)
})

describe('two drives', () => {
  let pair: NodeProcess
  before(async () => {
    pair = await NodeProcess.started({ drives: 2 })
    await pair.s3().send(new CreateBucketCommand({ Bucket: BUCKET }))
  })
  after(() => pair?.dispose())
  const put = (key: string) => signedRequest(pair.port, pair.credentials, { method: 'PUT', path: s3Path(BUCKET, key), body: bytes(50_000) })

  it('with one of them gone, reads go on and unprotected writes are refused, unless they are allowed', async () => {
    assert.equal((await put('before')).status, 200)
    assert.equal((await status(pair)).health.code, '1+1')
    await pair.stop()
    renameSync(pair.drives[1]!, `${pair.drives[1]!}.away`)
    await pair.start()
    const refused = await put('refused')
    assert.equal(refused.status, 503)
    assert.equal(refused.code, 'ServiceUnavailable')
    const read = await signedRequest(pair.port, pair.credentials, { method: 'GET', path: s3Path(BUCKET, 'before') })
    assert.equal(read.status, 200)
    sameBytes(read.body, bytes(50_000))
    await pair.stop()
    pair.env['ANVIL_ALLOW_UNPROTECTED_WRITES'] = 'true'
    await pair.start()
    assert.equal((await put('allowed')).status, 200)
  })
})

/** The addon through a real pool: bodies there and back, pauses, errors by their kinds. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { loadNative } from '../shared/load-native.ts'
import { type BlobSource, nativeError, nativeErrorKind, UPLOAD_PAUSE, type UploadOpen, type UploadResult } from '../shared/native.ts'

const deploymentId = 'd'.repeat(32)
const members = Array.from({ length: 3 }, (_, index) => (index + 1).toString(16).padStart(32, '0'))
const native = loadNative()
const base = mkdtempSync(join(tmpdir(), 'anvil-native-'))
const lines: string[] = []
let pool: Piscina
let asked = 0

before(async () => {
  native.init({ memoryLimitBytes: 64 * 1024 * 1024, logFilter: 'info', runtimeThreads: 2 })
  native.setLogger((line) => lines.push(line.message))
  pool = new Piscina({ filename: new URL('./main.ts', import.meta.url).href, minThreads: 2, maxThreads: 2 })
  native.setWorkerCount(2)
  native.setJobListener((tasks) => {
    asked += tasks
    for (let i = 0; i < tasks; i++) void pool.run(20)
  })
  for (const driveId of members) {
    const path = join(base, driveId)
    assert.deepEqual(await native.probeDrive(path), { state: 'missing' })
    mkdirSync(path)
    await native.createDrive(path, deploymentId, driveId)
    const info = await native.openDrive({ path, deploymentId, driveId, reserveBytes: 0 })
    assert.equal(info.driveId, driveId)
  }
  native.setPg({ pgId: 1, generation: 3, k: 2, m: 1, members })
})

after(async () => {
  for (const driveId of members) await native.closeDrive(driveId)
  await pool.close({ force: true })
  rmSync(base, { recursive: true })
})

const newBlob = () => randomBytes(16).toString('hex')

function options(blobId: string, changes: Partial<UploadOpen> = {}): UploadOpen {
  return {
    bucketId: 1, blobId, pgId: 1, contentLength: -1, maxBytes: 5 * 2 ** 30, awsChunked: null, inlineBytes: 4096, md5: true,
    fastDigest: false, sha256: false, checksums: [], expectMd5: '', expectSha256: '', expectChecksum: '',
    expectChecksumAlgorithm: '', checksumTrailer: '', dataKey: new Uint8Array(0), ...changes,
  }
}

async function put(open: UploadOpen, body: Uint8Array, chunkBytes = 100_000): Promise<{ result: UploadResult; pauses: number }> {
  const handle = native.openUpload(open)
  let pauses = 0
  try {
    for (let at = 0; at < body.length; at += chunkBytes) {
      if (native.uploadWrite(handle, body.subarray(at, at + chunkBytes)) !== UPLOAD_PAUSE) continue
      pauses++
      await native.uploadDrained(handle)
    }
  } catch (error) {
    native.uploadAbort(handle)
    throw error
  }
  return { result: await native.uploadFinish(handle), pauses }
}

const source = (blobId: string, result: UploadResult, dataKey = new Uint8Array(0)): BlobSource => ({
  bucketId: 1, blobId, pgId: 1, size: result.size, stripeBytes: result.stripeBytes, encrypted: dataKey.length > 0, dataKey,
})

async function get(blob: BlobSource, offset = 0, length = blob.size - offset): Promise<Buffer> {
  const handle = native.openRead({ ...blob, offset, length })
  const parts: Buffer[] = []
  const window = new Uint8Array(64 * 1024)
  while ((await native.readReady(handle)) > 0) {
    for (let copied; (copied = native.readCopy(handle, window)) > 0; ) parts.push(Buffer.from(window.subarray(0, copied)))
  }
  native.readClose(handle)
  return Buffer.concat(parts)
}

const refused = (kind: string) => (error: unknown) => nativeErrorKind(error) === kind

test('bodies of several sizes come back, by way of the pool', async () => {
  for (const [size, key] of [[5000, 0], [100_000, 32], [20_000_000, 0], [3_000_000, 32]] as const) {
    const body = randomBytes(size)
    const dataKey = new Uint8Array(randomBytes(key))
    const blobId = newBlob()
    const before = asked
    const { result, pauses } = await put(options(blobId, { dataKey, sha256: true, checksums: ['crc32c'] }), body)
    assert.ok(asked > before)
    assert.equal(result.md5, createHash('md5').update(body).digest('hex'))
    assert.equal(result.sha256, createHash('sha256').update(body).digest('hex'))
    assert.equal(result.checksums[0], native.digest('crc32c', body).toString('base64'))
    assert.deepEqual([result.size, result.inline, result.missing], [size, null, []])
    if (size === 20_000_000) assert.ok(pauses > 0)
    const blob = source(blobId, result, dataKey)
    assert.ok((await get(blob)).equals(body))
    assert.ok((await native.readAll({ ...blob, offset: 1234, length: 3000 })).equals(body.subarray(1234, 4234)))
  }
  const stats = native.stats()
  assert.equal(stats.memoryUsedBytes, 0)
  assert.ok(stats.memoryPeakBytes <= stats.memoryLimitBytes)
})

test('small and empty bodies come back in the result', async () => {
  const blobId = newBlob()
  const dataKey = new Uint8Array(32).fill(7)
  const body = randomBytes(500)
  const { result } = await put(options(blobId, { pgId: 0, contentLength: 500, dataKey }), body)
  assert.ok(result.inline !== null && native.openInline(dataKey, blobId, result.inline).equals(body))
  assert.ok(native.sealInline(dataKey, blobId, body).equals(result.inline))
  const empty = await put(options(newBlob(), { pgId: 0, contentLength: 0, inlineBytes: 0 }), new Uint8Array(0))
  assert.deepEqual([empty.result.size, empty.result.inline?.length], [0, 0])
})

test('a small body can be finished without waiting', async () => {
  const body = randomBytes(3000)
  const dataKey = new Uint8Array(32).fill(7)
  for (const contentLength of [3000, -1]) {
    const blobId = newBlob()
    const handle = native.openUpload(options(blobId, { contentLength, dataKey, sha256: true }))
    native.uploadWrite(handle, body)
    const result = native.uploadFinishInline(handle)
    assert.ok(result !== null)
    assert.equal(result.md5, createHash('md5').update(body).digest('hex'))
    assert.ok(native.openInline(dataKey, blobId, result.inline!).equals(body))
    assert.throws(() => native.uploadFinishInline(handle), refused('Aborted'))
  }
  const broken = native.openUpload(options(newBlob(), { contentLength: 3001 }))
  native.uploadWrite(broken, body)
  assert.throws(() => native.uploadFinishInline(broken), refused('IncompleteBody'))
  const large = native.openUpload(options(newBlob()))
  native.uploadWrite(large, randomBytes(4097))
  assert.equal(native.uploadFinishInline(large), null)
  assert.equal((await native.uploadFinish(large)).size, 4097)
  assert.equal(native.stats().uploads, 0)
  assert.equal(native.stats().memoryUsedBytes, 0)
})

test('promises of a thread that ends, and of one that waits for nothing else', async () => {
  const url = new URL('../shared/load-native.ts', import.meta.url).href
  const run = (code: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(`import(${JSON.stringify(url)}).then(async ({ loadNative }) => { const native = loadNative(); ${code} })`, { eval: true })
      worker.once('error', reject)
      worker.once('exit', resolve)
    })
  const ask = `native.hasShards('${members[0]}', [{ bucketId: 1, blobId: '${newBlob()}', pgId: 1, index: 0 }])`
  assert.equal(await run(`for (let i = 0; i < 1000; i++) await ${ask}; process.exitCode = 7`), 7)
  assert.equal(await run(`for (let i = 0; i < 1000; i++) void ${ask}; process.exit(8)`), 8)
})

test('many small uploads at once', async () => {
  const bodies = Array.from({ length: 200 }, () => randomBytes(20_000))
  const results = await Promise.all(bodies.map((body) => put(options(newBlob(), { contentLength: body.length }), body)))
  results.forEach(({ result }, i) => assert.equal(result.md5, createHash('md5').update(bodies[i]!).digest('hex')))
})

test('a copy inside the addon', async () => {
  const [from, to] = [newBlob(), newBlob()]
  const body = randomBytes(2_000_000)
  const { result } = await put(options(from), body)
  const read = native.openRead({ ...source(from, result), offset: 10, length: 1_500_000 })
  const upload = native.openUpload(options(to))
  await native.uploadFrom(upload, read)
  const copied = await native.uploadFinish(upload)
  assert.ok((await get(source(to, copied))).equals(body.subarray(10, 1_500_010)))
})

test('errors are kinds, thrown or rejected', async () => {
  const body = randomBytes(200_000)
  await assert.rejects(put(options(newBlob(), { expectMd5: '0'.repeat(32) }), body), refused('BadDigest'))
  await assert.rejects(put(options(newBlob(), { expectSha256: '0'.repeat(64) }), body), refused('ContentSha256Mismatch'))
  await assert.rejects(put(options(newBlob(), { contentLength: 200_001 }), body), refused('IncompleteBody'))
  await assert.rejects(put(options(newBlob(), { maxBytes: 1000 }), body), refused('EntityTooLarge'))
  assert.throws(() => native.openUpload(options(newBlob(), { maxBytes: 10, contentLength: 11 })), refused('EntityTooLarge'))
  assert.throws(() => native.openUpload(options('no id')), refused('Internal'))
  await assert.rejects(native.uploadFinish(987_654_321), refused('Aborted'))
  const missing = { bucketId: 1, blobId: newBlob(), pgId: 1, size: 10, stripeBytes: 65_536, encrypted: false, dataKey: new Uint8Array(0) }
  await assert.rejects(get(missing), refused('ShardsUnavailable'))
  await assert.rejects(get({ ...missing, pgId: 99 }), refused('Moved'))
  await assert.rejects(native.openDrive({ path: join(base, members[0]!), deploymentId, driveId: null, reserveBytes: 0 }), refused('DriveLocked'))
  assert.equal(nativeError(new Error('[SlowDown] later')).kind, 'SlowDown')
  native.uploadAbort(987_654_321)
  native.readClose(987_654_321)
  assert.equal(native.stats().uploads, 0)
})

test('damage is told and repaired; drives answer for themselves', async () => {
  const blobId = newBlob()
  const body = randomBytes(400_000)
  const { result } = await put(options(blobId), body)
  const name = { bucketId: 1, blobId, pgId: 1, index: 0 }
  assert.deepEqual(await native.hasShards(members[0]!, [name, { ...name, index: 5 }, { ...name, blobId: newBlob() }]), [true, false, false])
  assert.deepEqual(await native.hasShards(members[0]!, []), [])
  const page = await native.listShards(members[0]!, null, 10_000, Date.now() + 60_000)
  assert.ok(page.shards.some((shard) => shard.blobId === blobId && shard.sealed))
  await assert.rejects(native.deleteShards(members[0]!, [name], [2]), refused('StaleGeneration'))
  await native.deleteShards(members[0]!, [name], [3])
  const told = new Promise((resolve) => native.setDamageListener(resolve))
  assert.ok((await get(source(blobId, result))).equals(body))
  // The listener alone does not keep the process alive.
  const alive = setTimeout(() => {}, 5000)
  assert.deepEqual(await told, { ...name, driveId: members[0], reason: 'missing' })
  clearTimeout(alive)
  await native.rebuildShard(source(blobId, result), 0)
  assert.deepEqual(await native.hasShards(members[0]!, [name]), [true])
  assert.equal(native.driveMark(members[0]!, 'system'), null)
  await native.setDriveMark(members[0]!, 'system', '42')
  assert.equal(native.driveMark(members[0]!, 'system'), '42')
  assert.equal(native.driveStats().length, 3)
  let cursor: string | null = null
  do ({ cursor } = await native.scrub(members[0]!, cursor, 1 << 20))
  while (cursor !== null)
  await native.compact(members[0]!, 1 << 20)
  native.setPg({ pgId: 2, generation: 3, k: 1, m: 1, members: members.slice(0, 2) })
  assert.deepEqual(await native.reencodeBlob(source(blobId, result), 2), [])
  assert.ok((await get({ ...source(blobId, result), pgId: 2 })).equals(body))
})

/**
 * Rule 1 of DESIGN §13: whatever happens between a node and Postgres, a put that was answered is there, and a put that
 * was refused is not.
 */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, afterEach, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ObjectMetadata, ObjectRecord, UploadRecord } from '../../../src/main/metadata/contract.ts'
import { CopyRows } from '../../../src/main/metadata/copy-rows.ts'
import { Ledger } from '../../../src/main/metadata/ledger.ts'
import { encodeMutation } from '../../../src/main/metadata/mutation.ts'
import { Pool } from '../../../src/main/metadata/pool.ts'
import { batchText, WRITER_SETUP } from '../../../src/main/metadata/programs.ts'
import { Session } from '../../../src/main/metadata/session.ts'
import { AnvilError } from '../../../src/shared/errors.ts'
import { newUploadId, type BucketId, type UploadId } from '../../../src/shared/ids.ts'
import { BATCH_MARK, startFaultProxy, type FaultProxy, type Passing, type Verdict } from '../../support/fault-proxy.ts'
import { blobRecord, contentOf, inlineRecord, silent, startMetadata, type TestMetadata } from '../../support/metadata.ts'

let t: TestMetadata
let proxy: FaultProxy
let faulty: ObjectMetadata
before(async () => {
  t = await startMetadata()
  proxy = await startFaultProxy(t.postgres.config)
  faulty = await t.another({ connection: proxy.config, answerTimeoutMs: 700, waitMs: 6000 })
})
const uploadOf = (bucketId: BucketId, uploadId: UploadId): UploadRecord => ({
  bucketId, uploadId, key: 'k', initiator: 'a', startedMs: Date.now(), storageClass: 'STANDARD', headers: {}, userMetadata: {},
  checksumAlgorithm: null, checksumType: null, encryption: { kind: 'none' },
})
let fired = 0
afterEach(() => {
  fired = 0
  proxy.fault = null
  proxy.refusing = false
  proxy.release()
})
after(async () => {
  await faulty.close()
  await t.stop()
  await proxy.close()
})

/** Applies once, to the first chunk that fits. */
const once = (fits: (passing: Passing) => boolean, verdict: Verdict) => {
  let done = false
  return (passing: Passing): Verdict => {
    if (done || !fits(passing)) return 'pass'
    done = true
    fired++
    return verdict
  }
}
const isBatch = ({ direction, chunk }: Passing): boolean => direction === 'to-server' && chunk.includes(BATCH_MARK)
/** The server's answer to a batch: the whole of it comes after the commit. */
const isBatchAnswer = ({ direction, connection, chunk }: Passing): boolean =>
  direction === 'to-client' && connection.sent.lastIndexOf(BATCH_MARK) >= 0 && chunk.includes('INSERT 0')

/** Puts many objects at once while something happens; then compares what was answered with what is there. */
async function putUnder(fault: () => void | Promise<void>, options: { keys?: number; bucket?: BucketId } = {}): Promise<{ acknowledged: number; refused: number }> {
  const bucket = options.bucket ?? (await t.bucket())
  const pg = await t.group()
  await faulty.put(blobRecord(bucket, 'warm', pg.id), {}, [])
  await fault()
  const records = Array.from({ length: options.keys ?? 50 }, (_, i) => blobRecord(bucket, `k${i}`, pg.id))
  const answers = await Promise.allSettled(records.map((record) => faulty.put(record, {}, [])))
  proxy.fault = null
  assert.equal(fired, 1)
  const acknowledged = await checkAnswers(bucket, records, answers)
  return { acknowledged, refused: records.length - acknowledged }
}

async function checkAnswers(bucket: BucketId, records: ObjectRecord[], answers: PromiseSettledResult<unknown>[]): Promise<number> {
  const found = await t.metadata.getMany(bucket, records.map(({ key }) => key))
  records.forEach((record, i) => {
    const answer = answers[i]!
    if (answer.status === 'fulfilled') {
      assert.equal(found[i] === null ? null : contentOf(found[i]!), contentOf(record), `${record.key} was acknowledged`)
    } else {
      assert.ok(AnvilError.is(answer.reason, 'MetadataUnavailable'), String(answer.reason))
      assert.equal(found[i], null, `${record.key} was refused`)
    }
  })
  return answers.filter(({ status }) => status === 'fulfilled').length
}

test('the connection is cut before the batch arrives: it is sent again', async () => {
  const result = await putUnder(() => void (proxy.fault = once(isBatch, { cutAfter: 0 })))
  assert.deepEqual(result, { acknowledged: 50, refused: 0 })
})

test('the connection is cut in the middle of the rows', async () => {
  const result = await putUnder(() => void (proxy.fault = once(isBatch, { cutAfter: 3000 })))
  assert.deepEqual(result, { acknowledged: 50, refused: 0 })
})

test('the answer to a commit is lost with its connection: it is settled as committed', async () => {
  const before = await t.sql<[number]>('SELECT count(*)::int4 FROM gc_queue')
  const result = await putUnder(() => void (proxy.fault = once(isBatchAnswer, { cutAfter: 0 })))
  assert.deepEqual(result, { acknowledged: 50, refused: 0 })
  // Nothing was written twice.
  assert.deepEqual(await t.sql('SELECT count(*)::int4 FROM gc_queue'), before)
})

test('the answer is swallowed and the connection stalls', async () => {
  assert.deepEqual(await putUnder(() => void (proxy.fault = once(isBatchAnswer, 'swallow'))), { acknowledged: 50, refused: 0 })
})

test('outcomes of single rows survive a lost answer', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const closed = await t.group()
  await faulty.put(blobRecord(bucket, 'taken', pg.id), {}, [])
  await t.metadata.closePlacementGroup(closed.id)
  proxy.fault = once(isBatchAnswer, { cutAfter: 0 })
  const answers = await Promise.allSettled([
    faulty.put(blobRecord(bucket, 'new', pg.id), {}, []),
    faulty.put(blobRecord(bucket, 'closed', closed.id), {}, []),
    faulty.put(blobRecord(99_999 as BucketId, 'nowhere', pg.id), {}, []),
  ])
  assert.deepEqual(answers.map((answer) => (answer.status === 'fulfilled' ? 'ok' : (answer.reason as AnvilError).kind)), ['ok', 'MetadataUnavailable', 'NoSuchBucket'])
  proxy.fault = once(isBatchAnswer, { cutAfter: 0 })
  const conditional = await Promise.allSettled(['taken', 'fresh'].map((key) => faulty.put(blobRecord(bucket, key, pg.id), { ifNoneMatch: '*' }, [])))
  assert.deepEqual(conditional.map(({ status }) => status), ['rejected', 'fulfilled'])
  assert.equal(fired, 2)
  proxy.fault = once(isBatchAnswer, { cutAfter: 0 })
  assert.deepEqual(await Promise.all(['taken', 'none', 'fresh'].map((key) => faulty.delete(bucket, key, {}))), [{ existed: true }, { existed: false }, { existed: true }])
})

/** One batch of one put, by hand. */
async function writerSession(): Promise<{ session: Session; send(batchId: string, record: ObjectRecord): Promise<unknown> }> {
  const session = await Session.open({
    config: t.postgres.config, logger: silent, statementTimeoutMs: 5000, lockTimeoutMs: 5000, answerTimeoutMs: 5000, connectTimeoutMs: 5000,
    pipeline: false, setup: WRITER_SETUP,
  })
  return {
    session,
    send(batchId, record) {
      const rows = new CopyRows()
      encodeMutation(rows, 0, { program: 'put', bucketId: record.bucketId, key: record.key, record, condition: null, missing: null })
      const groups = record.body.kind === 'blob' ? [record.body.blob.pgId] : []
      const text = batchText({ program: 'put', batchId, acknowledged: [], buckets: [record.bucketId], groups, backend: session.backend, truncate: false })
      return session.copy(text, rows.end())
    },
  }
}

/** @param afterInsert done whenever the ledger has inserted an aborted row */
async function ledger(afterInsert?: () => Promise<void>): Promise<{ settle: Ledger['settle']; tidy: Ledger['tidy']; close(): Promise<void> }> {
  class Interrupted extends Pool {
    override async query<Row extends unknown[]>(text: string, ...rest: unknown[]): Promise<Row[]> {
      const rows = await super.query<Row>(text, ...(rest as [unknown[]]))
      if (text.includes('INSERT INTO commit_batches')) await afterInsert?.()
      return rows
    }
  }
  const pool = new Interrupted({
    config: t.postgres.config, logger: silent, statementTimeoutMs: 5000, lockTimeoutMs: 5000, answerTimeoutMs: 5000, connectTimeoutMs: 5000,
    pipeline: false, setup: '', size: 2, waitMs: 5000, onConnect() {},
  })
  const made = new Ledger(pool)
  return { settle: (id, backend) => made.settle(id, backend), tidy: (ms) => made.tidy(ms), close: () => pool.close() }
}

test('a batch that arrives after it was settled as aborted has no effect; its row stays as long as it could arrive', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const { session, send } = await writerSession()
  const { settle, tidy, close } = await ledger()
  const id = randomUUID()
  // A server process that the settlement cannot end: another one is named to it.
  assert.deepEqual(await settle(id, { pid: session.backend.pid, startUs: session.backend.startUs + 1 }), { committed: false })
  await assert.rejects(send(id, blobRecord(bucket, 'late', pg.id)), { code: '23505' })
  assert.equal(await t.metadata.get(bucket, 'late'), null)
  assert.deepEqual(await t.sql('SELECT 1 FROM blobs WHERE bucket_id = $1', [bucket]), [])
  await t.sql('UPDATE commit_batches SET backend_start_us = $2 WHERE batch_id = $1', [id, session.backend.startUs])
  await tidy(0)
  const rows = async () => (await t.sql('SELECT 1 FROM commit_batches WHERE batch_id = $1', [id])).length
  assert.equal(await rows(), 1)
  await session.end()
  for (let i = 0; i < 100 && (await rows()) > 0; i++) {
    await tidy(0)
    await sleep(10)
  }
  assert.equal(await rows(), 0)
  await close()
})

test('another node tidies the row of a batch just when it is settled as aborted: its server process is gone, as after a crash of Postgres', async () => {
  const tidier = await ledger()
  const { settle, close } = await ledger(() => tidier.tidy(0))
  const { session } = await writerSession()
  const { backend } = session
  await session.end()
  for (let i = 0; i < 100 && (await t.sql('SELECT 1 FROM pg_stat_activity WHERE pid = $1', [backend.pid])).length > 0; i++) await sleep(10)
  assert.deepEqual(await settle(randomUUID(), backend), { committed: false })
  await close()
  await tidier.close()
})

test('a batch that waits for a lock when it is settled ends without effect', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const { session, send } = await writerSession()
  const { settle, close } = await ledger()
  const holder = await writerSession()
  await holder.session.query(`BEGIN; SELECT 1 FROM bucket_state WHERE bucket_id = ${bucket} FOR UPDATE`)
  const id = randomUUID()
  const sent = send(id, blobRecord(bucket, 'k', pg.id)).catch((error: unknown) => error)
  await sleep(50)
  assert.deepEqual(await settle(id, session.backend), { committed: false })
  await holder.session.query('ROLLBACK')
  assert.ok((await sent) instanceof Error)
  assert.equal(await t.metadata.get(bucket, 'k'), null)
  await holder.session.end()
  await close()
})

test('a commit that did not reach its synchronous standby is not acknowledged', async () => {
  const impatient = await t.another({ answerTimeoutMs: 500, waitMs: 1500 })
  const bucket = await t.bucket()
  const pg = await t.group()
  const reload = async (names: string) => {
    await t.sql(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`)
    await t.sql('SELECT pg_reload_conf()')
    await sleep(200)
  }
  await impatient.put(blobRecord(bucket, 'before', pg.id), {}, [])
  const uploadId = newUploadId()
  await t.metadata.createUpload(uploadOf(bucket, uploadId))
  await t.metadata.putPart(bucket, uploadId, { partNumber: 1, size: 1, etag: 'e', checksum: null, modifiedMs: 0, body: inlineRecord(bucket, 'k').body as never }, [])
  const complete = () => t.metadata.completeUpload({
    bucketId: bucket, key: 'k', uploadId, parts: [{ partNumber: 1, etag: 'e' }], condition: {}, assemble: () => ({ size: 1, etag: 'e-1', checksum: null }),
  })
  const twice = blobRecord(bucket, 'twice', pg.id)
  await reload('ghost')
  const errors: unknown[] = []
  // No standby answers at all.
  await assert.rejects(impatient.put(blobRecord(bucket, 'k', pg.id), {}, []), { kind: 'MetadataUnavailable' })
  // Somebody cancels the wait: the commit stands here, and Postgres only warns.
  for (const write of [
    () => t.metadata.put(blobRecord(bucket, 'cancelled', pg.id), {}, []),
    () => t.metadata.putReference(inlineRecord(bucket, 'cancelled too'), {}),
    () => t.metadata.createBucketState(12_345 as BucketId),
    // and who asks again is not told what only this server knows
    complete, complete,
    () => t.metadata.put(twice, {}, []), () => t.metadata.put(twice, {}, []),
  ]) {
    let answered = false
    const outcome = write().then(() => 'acknowledged', (error: unknown) => error).finally(() => (answered = true))
    while (!answered) {
      await t.sql(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
      await sleep(20)
    }
    errors.push(await outcome)
  }
  await reload('')
  for (const error of errors) assert.ok(AnvilError.is(error, 'MetadataUnavailable') && error.message.includes('standby'), String(error))
  assert.equal((await complete()).repeated, true)
  await t.metadata.put(twice, {}, [])
  await impatient.put(blobRecord(bucket, 'after', pg.id), {}, [])
  await impatient.close()
})

test('a refusal in the language of the server is a refusal, and no lost connection', async () => {
  const bucket = await t.bucket()
  const upload = uploadOf(bucket, newUploadId())
  await faulty.createUpload(upload)
  proxy.fault = ({ direction, chunk }) => {
    const at = direction === 'to-client' ? chunk.indexOf('SERROR\0') : -1
    if (at < 0) return 'pass'
    const replace = Buffer.from(chunk)
    replace.write('SCHYBA\0', at) // Czech
    fired++
    return { replace }
  }
  await assert.rejects(faulty.createUpload(upload), { kind: 'Internal' })
  assert.equal(fired, 1)
})

test('a transaction whose COMMIT is answered by silence', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const source = blobRecord(bucket, 'source', pg.id)
  await faulty.put(source, {}, [])
  for (const verdict of ['swallow', { cutAfter: 0 }] as Verdict[]) {
    proxy.fault = once(({ direction, connection, chunk }) => direction === 'to-client' && connection.sent.includes('COMMIT') && chunk.includes('COMMIT'), verdict)
    assert.ok(await faulty.putReference({ ...source, key: `copy ${JSON.stringify(verdict)}` }, {}))
  }
  for (const before of ['COMMIT', 'BEGIN']) {
    proxy.fault = once(({ direction, chunk }) => direction === 'to-server' && chunk.includes(before), { cutAfter: 0 })
    assert.ok(await faulty.putReference({ ...source, key: `copy before ${before}` }, {}))
  }
  assert.equal(fired, 4)
  assert.equal((await t.metadata.blob(bucket, contentOf(source) as never))?.references, 5)
})

test('Postgres is killed under load, again and again', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const acknowledged = new Map<string, ObjectRecord>()
  const unknown: ObjectRecord[] = []
  let going = true
  const writer = async (id: number): Promise<void> => {
    for (let i = 0; going; i++) {
      const record = blobRecord(bucket, `w${id}/${i}`, pg.id)
      await faulty.put(record, {}, []).then(() => acknowledged.set(record.key, record), (error: unknown) => {
        assert.ok(AnvilError.is(error, 'MetadataUnavailable'))
        unknown.push(record)
      })
    }
  }
  const writers = Array.from({ length: 16 }, (_, id) => writer(id))
  for (let round = 0; round < 3; round++) {
    await sleep(250)
    await t.postgres.kill9()
    await sleep(100)
    await t.postgres.restart()
  }
  await sleep(250)
  going = false
  await Promise.all(writers)
  assert.ok(acknowledged.size > 50, `${acknowledged.size} acknowledged`)
  const keys = [...acknowledged.keys()]
  const found = await t.metadata.getMany(bucket, keys)
  keys.forEach((key, i) => assert.equal(found[i] === null ? null : contentOf(found[i]!), contentOf(acknowledged.get(key)!), key))
  const absent = await t.metadata.getMany(bucket, unknown.map(({ key }) => key))
  assert.deepEqual(absent.filter((each) => each !== null), [])
  assert.deepEqual(faulty.health(), { state: 'ok', reason: '' })
})

test('rule 11: Postgres away: a bounded wait, then 503, and nothing happens', async () => {
  const impatient = await t.another({ connection: proxy.config, answerTimeoutMs: 500, waitMs: 600 })
  const bucket = await t.bucket()
  const pg = await t.group()
  await impatient.put(blobRecord(bucket, 'warm', pg.id), {}, [])
  proxy.refusing = true
  proxy.cutAll()
  const start = performance.now()
  const record = blobRecord(bucket, 'k', pg.id)
  const unavailable = { kind: 'MetadataUnavailable' }
  await Promise.all([
    assert.rejects(impatient.put(record, {}, []), unavailable),
    assert.rejects(impatient.get(bucket, 'warm'), unavailable),
    assert.rejects(impatient.delete(bucket, 'warm', {}), unavailable),
    assert.rejects(impatient.list({ bucketId: bucket, prefix: '', delimiter: '', after: '', limit: 1 }), unavailable),
    assert.rejects(impatient.putReference(record, {}), unavailable),
    assert.rejects(impatient.garbage(1), unavailable),
  ])
  assert.ok(performance.now() - start < 3000)
  assert.equal(impatient.health().state, 'away')
  proxy.refusing = false
  await impatient.put(blobRecord(bucket, 'again', pg.id), {}, [])
  assert.equal(impatient.health().state, 'ok')
  await sleep(200)
  assert.equal(await t.metadata.get(bucket, 'k'), null)
  assert.notEqual(await t.metadata.get(bucket, 'warm'), null)
  await impatient.close()
})

test('random cuts and stalls, both ways', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  let seed = 7
  const random = (): number => (seed = (seed * 48271) % 2147483647) / 2147483647
  proxy.fault = () => {
    const dice = random()
    return dice < 0.01 ? { cutAfter: Math.floor(random() * 2000) } : dice < 0.012 ? 'swallow' : 'pass'
  }
  const records: ObjectRecord[] = []
  const answers: PromiseSettledResult<unknown>[] = []
  const deadline = Date.now() + 4000
  for (let round = 0; Date.now() < deadline; round++) {
    const batch = Array.from({ length: 20 }, (_, i) => blobRecord(bucket, `r${round}/${i}`, pg.id))
    records.push(...batch)
    answers.push(...(await Promise.allSettled(batch.map((record) => faulty.put(record, {}, [])))))
  }
  proxy.fault = null
  assert.ok((await checkAnswers(bucket, records, answers)) > 20)
})

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { CompleteRequest, PartRecord, UploadRecord } from '../../../src/main/metadata/contract.ts'
import { AnvilError } from '../../../src/shared/errors.ts'
import { newBlobId, newUploadId, type BlobId, type BucketId, type PgId, type UploadId } from '../../../src/shared/ids.ts'
import { blobRecord, openTransaction, startMetadata, type TestMetadata } from '../../support/metadata.ts'
import { until } from '../../support/until.ts'

let t: TestMetadata
before(async () => (t = await startMetadata()))
after(() => t.stop())

const kind = (expected: string) => (error: unknown) => AnvilError.is(error) && error.kind === expected

const uploadRecord = (bucketId: BucketId, key: string, more: Partial<UploadRecord> = {}): UploadRecord => ({
  bucketId, uploadId: newUploadId(), key, initiator: 'app', startedMs: Date.now(), storageClass: 'STANDARD',
  headers: { 'content-type': 'video/mp4' }, userMetadata: { a: 'b' }, checksumAlgorithm: 'crc32c', checksumType: 'COMPOSITE',
  encryption: { kind: 'none' }, ...more,
})
const partRecord = (partNumber: number, pgId: PgId, size = 5 * 2 ** 20, blobId: BlobId = newBlobId()): PartRecord => ({
  partNumber, size, etag: blobId, checksum: { algorithm: 'crc32c', value: 'AAAAAA==' }, modifiedMs: 0,
  body: { kind: 'blob', blob: { blobId, pgId, size, stripeBytes: 65536 } },
})
const blobOf = (part: PartRecord): BlobId => (part.body.kind === 'blob' ? part.body.blob.blobId : part.body.blobId)
const completion = (upload: UploadRecord, parts: PartRecord[], more: Partial<CompleteRequest> = {}): CompleteRequest => ({
  bucketId: upload.bucketId, uploadId: upload.uploadId, key: upload.key, condition: {},
  parts: parts.map(({ partNumber, etag }) => ({ partNumber, etag })),
  assemble: (_, stored) => ({ size: stored.reduce((sum, { size }) => sum + size, 0), etag: `sum-${stored.length}`, checksum: null }),
  ...more,
})
const references = async (bucket: BucketId): Promise<Record<string, number>> =>
  Object.fromEntries(await t.sql<[string, number]>(`SELECT replace(blob_id::text, '-', ''), refs FROM blobs WHERE bucket_id = $1`, [bucket]))
const queued = async (bucket: BucketId) => (await t.sql(`SELECT replace(blob_id::text, '-', '') FROM gc_queue WHERE bucket_id = $1`, [bucket])).flat()

test('an upload from its start to its object, to its end', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const upload = uploadRecord(bucket, 'film')
  await t.metadata.createUpload(upload)
  assert.deepEqual(await t.metadata.upload(bucket, 'film', upload.uploadId), upload)
  await assert.rejects(t.metadata.upload(bucket, 'other', upload.uploadId), kind('NoSuchUpload'))
  const parts = [3, 1, 2, 7].map((number) => partRecord(number, pg.id, 5 * 2 ** 20 + number))
  await Promise.all(parts.map((part) => t.metadata.putPart(bucket, upload.uploadId, part, [])))
  const replacement = partRecord(2, pg.id, 7)
  await t.metadata.putPart(bucket, upload.uploadId, replacement, [{ blobId: blobOf(replacement), pgId: pg.id, index: 4 }])
  await t.metadata.putPart(bucket, upload.uploadId, replacement, [])
  assert.deepEqual(await queued(bucket), [blobOf(parts[2]!)])
  const page = await t.metadata.listParts(bucket, upload.uploadId, 1, 2)
  assert.deepEqual([page.parts.map(({ partNumber }) => partNumber), page.truncated], [[2, 3], true])
  assert.deepEqual({ ...page.parts[0], modifiedMs: 0 }, replacement)

  const bad: [Partial<CompleteRequest>, string][] = [
    [{ parts: [{ partNumber: 2, etag: 'x' }] }, 'InvalidPart'],
    [{ parts: [{ partNumber: 5, etag: 'x' }] }, 'InvalidPart'],
    [{ parts: [{ partNumber: 1, etag: parts[1]!.etag, checksum: 'other' }] }, 'InvalidPart'],
    [{ parts: [parts[0]!, parts[1]!].map(({ partNumber, etag }) => ({ partNumber, etag })) }, 'InvalidPartOrder'],
    [{ parts: [] }, 'InvalidRequest'],
    [{ condition: { ifMatch: '*' } }, 'NoSuchKey'],
    [{ assemble: () => { throw new AnvilError('EntityTooSmall', 'small') } }, 'EntityTooSmall'],
  ]
  for (const [more, expected] of bad) await assert.rejects(t.metadata.completeUpload(completion(upload, [parts[1]!], more)), kind(expected), expected)

  const old = blobRecord(bucket, 'film', pg.id)
  await t.metadata.put(old, {}, [])
  // Part 7 is not listed.
  const listed = [parts[1]!, replacement, parts[0]!]
  const outcome = await t.metadata.completeUpload(completion(upload, listed))
  const size = listed.reduce((sum, part) => sum + part.size, 0)
  assert.deepEqual(outcome, { etag: 'sum-3', checksum: null, size, encryption: { kind: 'none' }, repeated: false })
  assert.deepEqual(await t.metadata.completeUpload(completion(upload, listed)), { ...outcome, repeated: true })
  await assert.rejects(t.metadata.completeUpload(completion({ ...upload, key: 'other' }, listed)), kind('NoSuchUpload'))
  await assert.rejects(t.metadata.putPart(bucket, upload.uploadId, partRecord(9, pg.id), []), kind('NoSuchUpload'))
  await assert.rejects(t.metadata.abortUpload(bucket, 'film', upload.uploadId), kind('NoSuchUpload'))
  const object = await t.metadata.get(bucket, 'film')
  assert.deepEqual([object?.body, object?.size, object?.headers, object?.userMetadata], [{ kind: 'parts', uploadId: upload.uploadId, partCount: 3 }, size, upload.headers, upload.userMetadata])
  const live = await references(bucket)
  assert.deepEqual(listed.map((part) => live[blobOf(part)]), [1, 1, 1])
  assert.equal(live[blobOf(parts[3]!)], 0)

  // Ranges.
  const first = parts[1]!.size
  const numbers = async (from: number, to: number) => (await t.metadata.objectParts(bucket, upload.uploadId, from, to)).map(({ partNumber, offset }) => [partNumber, offset])
  assert.deepEqual(await numbers(0, size), [[1, 0], [2, first], [3, first + 7]])
  assert.deepEqual(await numbers(0, 1), [[1, 0]])
  assert.deepEqual(await numbers(first - 1, first + 1), [[1, 0], [2, first]])
  assert.deepEqual(await numbers(first + 7, first + 8), [[3, first + 7]])
  assert.deepEqual(await numbers(size - 1, size), [[3, first + 7]])
  assert.equal((await t.metadata.objectPart(bucket, upload.uploadId, 2))?.offset, first)
  assert.equal(await t.metadata.objectPart(bucket, upload.uploadId, 7), null)
  assert.deepEqual((await t.metadata.objectPartsPage(bucket, upload.uploadId, 1, 1)).map(({ partNumber }) => partNumber), [2])

  // A copy counts in the manifest; the last one to go takes the blobs along.
  assert.ok(await t.metadata.putReference({ ...object!, key: 'copy' }, {}))
  await t.metadata.delete(bucket, 'film', {})
  assert.deepEqual((await references(bucket))[blobOf(replacement)], 1)
  await t.metadata.put(blobRecord(bucket, 'copy', pg.id), {}, [])
  assert.equal(await t.metadata.putReference({ ...object!, key: 'late' }, {}), null)
  const gone = await references(bucket)
  assert.deepEqual(listed.map((part) => gone[blobOf(part)]), [0, 0, 0])
  assert.deepEqual((await queued(bucket)).toSorted(), [...parts, replacement].map(blobOf).concat(old.body.kind === 'blob' ? old.body.blob.blobId : []).toSorted())
  // Running reads still find the parts, until they are done.
  assert.equal((await t.metadata.objectParts(bucket, upload.uploadId, 0, size)).length, 3)
  await t.metadata.tidy()
  assert.equal((await t.metadata.objectParts(bucket, upload.uploadId, 0, size)).length, 0)
})

test('abort drops all parts', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const upload = uploadRecord(bucket, 'k')
  await t.metadata.createUpload(upload)
  await assert.rejects(t.metadata.beginDeleteBucket(bucket), kind('BucketNotEmpty'))
  const parts = [1, 2].map((number) => partRecord(number, pg.id))
  for (const part of parts) await t.metadata.putPart(bucket, upload.uploadId, part, [])
  await t.metadata.putPart(bucket, upload.uploadId, { ...partRecord(3, pg.id), body: { kind: 'inline', blobId: newBlobId(), data: Buffer.from('tiny') } }, [])
  await t.metadata.abortUpload(bucket, 'k', upload.uploadId)
  await assert.rejects(t.metadata.abortUpload(bucket, 'k', upload.uploadId), kind('NoSuchUpload'))
  await assert.rejects(t.metadata.putPart(bucket, upload.uploadId, partRecord(3, pg.id), []), kind('NoSuchUpload'))
  assert.deepEqual((await queued(bucket)).toSorted(), parts.map(blobOf).toSorted())
})

test('an upload expires once nothing of it has come for so long, however long ago it was begun', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const DAY_MS = 24 * 3_600_000
  const WEEK_MS = 7 * DAY_MS
  const [fresh, slow, idle, empty] = ['fresh', 'slow', 'idle', 'empty'].map((key) => ({ ...uploadRecord(bucket, key), startedMs: 0 }))
  for (const upload of [fresh!, slow!, idle!, empty!]) await t.metadata.createUpload(upload)
  const part = partRecord(1, pg.id)
  for (const upload of [slow!, idle!]) await t.metadata.putPart(bucket, upload.uploadId, upload === idle ? part : partRecord(1, pg.id), [])
  const left = async () => (await t.metadata.listUploads({ bucketId: bucket, prefix: '', delimiter: '', keyAfter: '', uploadIdAfter: '', limit: 10 })).uploads.map(({ key }) => key)
  await t.metadata.expireUploads(WEEK_MS, 100)
  assert.equal((await left()).length, 4, 'a host whose clock is wrong has begun them just now all the same')
  for (const { uploadId } of [slow!, idle!, empty!]) await t.sql(`UPDATE uploads SET started_ms = started_ms - $2 WHERE upload_id = $1`, [uploadId, WEEK_MS + DAY_MS])
  await t.sql('UPDATE parts SET modified_ms = modified_ms - $2 WHERE upload_id = $1', [idle!.uploadId, WEEK_MS + 1])
  await t.sql('UPDATE parts SET modified_ms = modified_ms - $2 WHERE upload_id = $1', [slow!.uploadId, WEEK_MS - DAY_MS])
  assert.equal(await t.metadata.expireUploads(WEEK_MS, 100), 2)
  assert.deepEqual(await left(), ['fresh', 'slow'])
  assert.deepEqual(await queued(bucket), [blobOf(part)])

  // a part that is on its way when its upload is found idle
  await t.sql(`UPDATE uploads SET started_ms = started_ms - $2 WHERE upload_id = $1`, [fresh!.uploadId, WEEK_MS + DAY_MS])
  const late = await openTransaction(t, `SELECT 1 FROM uploads WHERE upload_id = '${fresh!.uploadId}' FOR KEY SHARE`,
    `INSERT INTO parts (bucket_id, upload_id, part_number, size, modified_ms, body, blob_id, encrypted, etag)
     VALUES (${bucket}, '${fresh!.uploadId}', 1, 0, extract(epoch FROM now()) * 1000, 0, '${newBlobId()}', false, '')`)
  const expiring = t.metadata.expireUploads(WEEK_MS, 100)
  await until('it waits for the part', async () => (await t.sql('SELECT 1 FROM pg_locks WHERE NOT granted')).length > 0)
  await late.end('COMMIT')
  assert.equal(await expiring, 0)
  assert.deepEqual(await left(), ['fresh', 'slow'])
})

test('rule 9: parts, completes and aborts of one upload at the same time', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const other = await t.another()
  for (let round = 0; round < 12; round++) {
    const upload = uploadRecord(bucket, `k${round}`)
    await t.metadata.createUpload(upload)
    const first = partRecord(1, pg.id)
    await t.metadata.putPart(bucket, upload.uploadId, first, [])
    const late = Array.from({ length: 6 }, (_, i) => partRecord(2 + (i % 3), pg.id))
    const work = [
      ...late.map((part, i) => (i % 2 ? t.metadata : other).putPart(bucket, upload.uploadId, part, [])),
      t.metadata.completeUpload(completion(upload, [first])),
      other.completeUpload(completion(upload, [first])),
      other.abortUpload(bucket, upload.key, upload.uploadId),
    ]
    const settled = await Promise.allSettled(work)
    const completed = settled.slice(6, 8).filter(({ status }) => status === 'fulfilled').length
    const aborted = settled[8]!.status === 'fulfilled'
    assert.ok(aborted ? completed === 0 : completed === 2, JSON.stringify(settled))
    assert.equal((await t.metadata.get(bucket, upload.key)) === null, aborted)
    // Whoever came through: each committed blob is either referenced or queued.
    for (const [blobId, refs] of Object.entries(await references(bucket))) {
      const [counted] = await t.sql<[number, number]>(
        `SELECT (SELECT count(*)::int4 FROM parts p WHERE p.bucket_id = $1 AND p.blob_id = $2), (SELECT count(*)::int4 FROM gc_queue g WHERE g.bucket_id = $1 AND g.blob_id = $2)`,
        [bucket, blobId],
      )
      assert.deepEqual(counted, refs === 1 ? [1, 0] : [0, 1])
    }
  }
})

test('rule 9: the locks of the upload row', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const upload = uploadRecord(bucket, 'k')
  await t.metadata.createUpload(upload)
  const first = partRecord(1, pg.id)
  await t.metadata.putPart(bucket, upload.uploadId, first, [])
  const { default: postgres } = await import('pg')
  const client = new postgres.Client(t.postgres.config)
  await client.connect()
  const waits = async (work: Promise<unknown>): Promise<boolean> => {
    let done = false
    void work.then(() => (done = true), () => (done = true))
    await new Promise((resolve) => setTimeout(resolve, 150))
    return !done
  }
  const row = `FROM uploads WHERE bucket_id = ${bucket} AND upload_id = '${upload.uploadId}'`
  // A part under way: others go on, a Complete waits.
  await client.query(`BEGIN; SELECT 1 ${row} FOR KEY SHARE`)
  await t.metadata.putPart(bucket, upload.uploadId, partRecord(2, pg.id), [])
  const complete = t.metadata.completeUpload(completion(upload, [first]))
  assert.ok(await waits(complete))
  await client.query('ROLLBACK')
  assert.equal((await complete).repeated, false)
  // A Complete under way: a part waits, and then finds no upload.
  const other = uploadRecord(bucket, 'k2')
  await t.metadata.createUpload(other)
  await client.query(`BEGIN; SELECT 1 FROM uploads WHERE upload_id = '${other.uploadId}' FOR UPDATE`)
  const late = partRecord(1, pg.id)
  const part = t.metadata.putPart(bucket, other.uploadId, late, [])
  assert.ok(await waits(part))
  await client.query(`DELETE FROM uploads WHERE upload_id = '${other.uploadId}'; COMMIT`)
  await assert.rejects(part, kind('NoSuchUpload'))
  assert.equal(await t.metadata.blob(bucket, blobOf(late)), null)
  await client.end()
})

test('an object of 10,000 parts: completed, read by range, copied and overwritten', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const upload = uploadRecord(bucket, 'large')
  await t.metadata.createUpload(upload)
  await t.sql(
    `WITH made AS (SELECT n, ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS blob_id FROM generate_series(1, 10000) AS n),
      part AS (INSERT INTO parts (bucket_id, upload_id, part_number, size, modified_ms, body, blob_id, pg_id, stripe_bytes, encrypted, etag)
        SELECT $1, $2, n, 5242880, 0, 1, blob_id, $3, 65536, false, 'e' || n FROM made)
     INSERT INTO blobs (bucket_id, blob_id, pg_id, size, stripe_bytes, encrypted, refs) SELECT $1, blob_id, $3, 5242880, 65536, false, 1 FROM made`,
    [bucket, upload.uploadId, pg.id],
  )
  const parts = Array.from({ length: 10_000 }, (_, i) => ({ partNumber: i + 1, etag: `e${i + 1}` }))
  const took = async (limitMs: number, work: () => Promise<unknown>) => {
    const start = performance.now()
    await work()
    const ms = performance.now() - start
    assert.ok(ms < limitMs, `${ms} ms`)
    return Math.round(ms)
  }
  const complete = await took(5000, () => t.metadata.completeUpload(completion(upload, [], { parts })))
  const range = await took(1000, async () => {
    const [part] = await t.metadata.objectParts(bucket, upload.uploadId, 5_000 * 5242880 + 1, 5_000 * 5242880 + 2)
    assert.equal(part?.partNumber, 5001)
  })
  const object = await t.metadata.get(bucket, 'large')
  const copy = await took(1000, () => t.metadata.putReference({ ...object!, key: 'copy' }, {}))
  await t.metadata.delete(bucket, 'large', {})
  const overwrite = await took(5000, () => t.metadata.put(blobRecord(bucket, 'copy', pg.id), {}, []))
  assert.equal((await queued(bucket)).length, 10_000)
  console.log(`10,000 parts: complete ${complete} ms, range ${range} ms, copy ${copy} ms, overwrite ${overwrite} ms`)
})

test('the answer of a Complete is kept for a day', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const upload = uploadRecord(bucket, 'k')
  await t.metadata.createUpload(upload)
  const part = partRecord(1, pg.id)
  await t.metadata.putPart(bucket, upload.uploadId, part, [])
  await t.metadata.completeUpload(completion(upload, [part]))
  await t.sql('UPDATE completed_uploads SET completed_ms = completed_ms - 23 * 3600000 WHERE bucket_id = $1', [bucket])
  await t.metadata.tidy()
  assert.equal((await t.metadata.completeUpload(completion(upload, [part]))).repeated, true)
  await t.sql('UPDATE completed_uploads SET completed_ms = completed_ms - 2 * 3600000 WHERE bucket_id = $1', [bucket])
  await t.metadata.tidy()
  await assert.rejects(t.metadata.completeUpload(completion(upload, [part])), kind('NoSuchUpload'))
  assert.ok(upload.uploadId satisfies UploadId)
})

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { AnvilError } from '../../../src/shared/errors.ts'
import type { BucketId } from '../../../src/shared/ids.ts'
import { blobRecord, contentOf, inlineRecord, startMetadata, type TestMetadata } from '../../support/metadata.ts'

let t: TestMetadata
before(async () => (t = await startMetadata()))
after(() => t.stop())

const kind = (expected: string) => (error: unknown) => AnvilError.is(error) && error.kind === expected

test('an object comes back as it was put', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const inline = inlineRecord(bucket, 'ключ/ü\u{1F600}', 'héllo', {
    headers: { 'content-type': 'text/plain', 'cache-control': 'no-cache' },
    userMetadata: { a: '1', 'x-y': 'z "quoted"\n' },
    checksum: { algorithm: 'crc32c', type: 'FULL_OBJECT', value: 'AAAAAA==' },
    encryption: { kind: 's3', keyId: 'k1', wrappedKey: 'd2Fw' },
    storageClass: 'STANDARD_IA',
  })
  const blob = blobRecord(bucket, 'blob', pg.id, { size: 5 * 2 ** 30 })
  const put = await Promise.all([t.metadata.put(inline, {}, []), t.metadata.put(blob, {}, [])])
  assert.ok(Math.abs(put[0].modifiedMs - Date.now()) < 60_000)
  assert.deepEqual(await t.metadata.get(bucket, inline.key), { ...inline, modifiedMs: put[0].modifiedMs })
  assert.deepEqual(await t.metadata.get(bucket, 'blob'), { ...blob, modifiedMs: put[1].modifiedMs })
  assert.equal(await t.metadata.get(bucket, 'none'), null)
  assert.equal(await t.metadata.get(bucket, 'a\0b'), null)
  assert.deepEqual((await t.metadata.getMany(bucket, ['none', 'blob', 'blob', inline.key])).map((found) => found?.key), [undefined, 'blob', 'blob', inline.key])
  assert.deepEqual(await t.metadata.blob(bucket, contentOf(blob) as never), {
    bucketId: bucket, blobId: contentOf(blob), pgId: pg.id, size: 5 * 2 ** 30, stripeBytes: 65536, encrypted: false, references: 1,
  })
})

test('a large inline body', async () => {
  const bucket = await t.bucket()
  const record = inlineRecord(bucket, 'k'.repeat(1024), 'x'.repeat(6000), { userMetadata: { m: 'y'.repeat(2000) } })
  await t.metadata.put(record, {}, [])
  await t.metadata.put(record, {}, [])
  const found = await t.metadata.get(bucket, record.key)
  assert.deepEqual(found?.body, record.body)
})

test('keys that cannot be are refused before they reach Postgres', async () => {
  const bucket = await t.bucket()
  for (const key of ['', 'a\0', '\ud800', 'x'.repeat(1025)]) {
    await assert.rejects(t.metadata.put(inlineRecord(bucket, key), {}, []), kind('InvalidArgument'))
  }
})

test('an overwrite moves the replaced blob to the garbage queue, a delete the last one', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const first = blobRecord(bucket, 'k', pg.id)
  const second = blobRecord(bucket, 'k', pg.id)
  const a = await t.metadata.put(first, {}, [])
  const b = await t.metadata.put(second, {}, [])
  assert.ok(b.modifiedMs >= a.modifiedMs)
  const queued = async () => (await t.sql('SELECT replace(blob_id::text, \'-\', \'\') FROM gc_queue WHERE bucket_id = $1 ORDER BY 1', [bucket])).flat()
  assert.deepEqual(await queued(), [contentOf(first)])
  assert.deepEqual(await t.metadata.delete(bucket, 'k', {}), { existed: true })
  assert.deepEqual(await t.metadata.delete(bucket, 'k', {}), { existed: false })
  assert.deepEqual(await queued(), [contentOf(first), contentOf(second)].sort())
  assert.equal((await t.metadata.blob(bucket, contentOf(first) as never))?.references, 0)
})

test('If-None-Match and If-Match are decided in the database', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const other = await t.another()
  const attempts = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) => (i % 2 ? t.metadata : other).put(blobRecord(bucket, 'one', pg.id, { etag: `e${i}` }), { ifNoneMatch: '*' }, [])),
  )
  assert.equal(attempts.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const attempt of attempts) if (attempt.status === 'rejected') assert.ok(kind('PreconditionFailed')(attempt.reason))
  const live = await t.metadata.get(bucket, 'one')
  const winner = attempts.findIndex(({ status }) => status === 'fulfilled')
  assert.equal(live?.etag, `e${winner}`)
  // Compare-and-set: each of twenty readers of the same ETag wants to be next.
  const next = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) => (i % 2 ? t.metadata : other).put(blobRecord(bucket, 'one', pg.id, { etag: `f${i}` }), { ifMatch: live.etag }, [])),
  )
  assert.equal(next.filter(({ status }) => status === 'fulfilled').length, 1)
  await assert.rejects(t.metadata.put(blobRecord(bucket, 'absent', pg.id), { ifMatch: 'x' }, []), kind('NoSuchKey'))
  await assert.rejects(t.metadata.put(blobRecord(bucket, 'one', pg.id), { ifMatch: 'x' }, []), kind('PreconditionFailed'))
  await t.metadata.put(blobRecord(bucket, 'one', pg.id, { etag: 'last' }), { ifMatch: '*' }, [])
  await assert.rejects(t.metadata.delete(bucket, 'one', { ifMatch: 'x' }), kind('PreconditionFailed'))
  await assert.rejects(t.metadata.delete(bucket, 'absent', { ifMatch: 'x' }), kind('NoSuchKey'))
  assert.deepEqual(await t.metadata.delete(bucket, 'one', { ifMatch: 'last' }), { existed: true })
  const [left] = await t.sql('SELECT count(*)::int4 FROM blobs WHERE bucket_id = $1 AND refs > 0', [bucket])
  assert.deepEqual(left, [0])
  // Blobs of refused rows were never committed.
  const [known] = await t.sql('SELECT count(*)::int4 FROM blobs WHERE bucket_id = $1', [bucket])
  assert.deepEqual(known, [3])
})

test('deleteMany answers for each key', async () => {
  const bucket = await t.bucket()
  for (const key of ['a', 'b', 'c']) await t.metadata.put(inlineRecord(bucket, key, 'x', { etag: key }), {}, [])
  const answers = await t.metadata.deleteMany(bucket, [{ key: 'a' }, { key: 'none' }, { key: 'b', ifMatch: 'x' }, { key: 'c', ifMatch: 'c' }])
  assert.deepEqual(answers[0], { existed: true })
  assert.deepEqual(answers[1], { existed: false })
  assert.ok('error' in answers[2]! && kind('PreconditionFailed')(answers[2].error))
  assert.deepEqual(answers[3], { existed: true })
})

test('a bucket that is not there, or is being deleted, takes nothing', async () => {
  const bucket = await t.bucket()
  await assert.rejects(t.metadata.put(inlineRecord(999_999 as BucketId, 'k'), {}, []), kind('NoSuchBucket'))
  await t.metadata.put(inlineRecord(bucket, 'k'), {}, [])
  await assert.rejects(t.metadata.beginDeleteBucket(bucket), kind('BucketNotEmpty'))
  await t.metadata.delete(bucket, 'k', {})
  await t.metadata.beginDeleteBucket(bucket)
  await t.metadata.beginDeleteBucket(bucket)
  assert.ok((await t.metadata.deletingBuckets()).includes(bucket))
  await assert.rejects(t.metadata.put(inlineRecord(bucket, 'k'), {}, []), kind('NoSuchBucket'))
  await t.metadata.finishDeleteBucket(bucket)
  assert.ok(!(await t.metadata.deletingBuckets()).includes(bucket))
  await assert.rejects(t.metadata.put(inlineRecord(bucket, 'k'), {}, []), kind('NoSuchBucket'))
  // a creation of that name which had found the bucket there, and mends what the first one left, comes late
  await t.metadata.createBucketState(bucket)
  await assert.rejects(t.metadata.put(inlineRecord(bucket, 'k'), {}, []), kind('NoSuchBucket'))
  await assert.rejects(t.metadata.beginDeleteBucket(bucket), kind('NoSuchBucket'))
})

test('a row that Postgres refuses fails alone', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const taken = blobRecord(bucket, 'taken', pg.id)
  await t.metadata.put(taken, {}, [])
  // The blob of another key: its primary key is taken.
  const bad = blobRecord(bucket, 'bad', pg.id, { blobId: contentOf(taken) as never })
  const good = Array.from({ length: 30 }, (_, i) => blobRecord(bucket, `good${i}`, pg.id))
  const answers = await Promise.allSettled([...good.slice(0, 15), bad, ...good.slice(15)].map((record) => t.metadata.put(record, {}, [])))
  assert.deepEqual(answers.map(({ status }) => status === 'rejected'), [...good.slice(0, 15).map(() => false), true, ...good.slice(15).map(() => false)])
  // The same commit asked for twice is the same object.
  await t.metadata.put(taken, {}, [])
  assert.equal((await t.metadata.blob(bucket, contentOf(taken) as never))?.references, 1)
})

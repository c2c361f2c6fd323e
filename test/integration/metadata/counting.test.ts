/**
 * Garbage is exact: after many concurrent overwrites, deletes, conditional writes and copies of the same keys through two
 * nodes, every blob that was ever committed is referenced as often as its row says, or it waits in the queue; never both,
 * never neither.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { ObjectMetadata, PartRecord } from '../../../src/main/metadata/contract.ts'
import { newBlobId, newUploadId, type BucketId, type PgId } from '../../../src/shared/ids.ts'
import { blobRecord, inlineRecord, startMetadata, type TestMetadata } from '../../support/metadata.ts'

let t: TestMetadata
before(async () => (t = await startMetadata()))
after(() => t.stop())

const KEYS = 12
const WORKERS = 24
const ROUNDS = 40

test('every blob is referenced or garbage', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const other = await t.another()
  let refused = 0
  const worker = async (metadata: ObjectMetadata, seed: number): Promise<void> => {
    let state = seed
    const random = (below: number): number => (state = (state * 48271) % 2147483647) % below
    for (let round = 0; round < ROUNDS; round++) {
      const key = `k${random(KEYS)}`
      const kind = random(10)
      try {
        if (kind < 4) {
          const record = blobRecord(bucket, key, pg.id)
          await metadata.put(record, kind === 3 ? { ifMatch: '*' } : {}, [])
        } else if (kind === 4) await metadata.put(blobRecord(bucket, key, pg.id), { ifNoneMatch: '*' }, [])
        else if (kind === 5) await metadata.put(inlineRecord(bucket, key), {}, [])
        else if (kind === 6) await metadata.delete(bucket, key, {})
        else if (kind === 7) await multipart(metadata, bucket, key, pg.id, 1 + random(3))
        else {
          const source = await metadata.get(bucket, `k${random(KEYS)}`)
          if (source !== null) await metadata.putReference({ ...source, key }, kind === 8 ? {} : { ifNoneMatch: '*' })
        }
      } catch (error) {
        if (!['PreconditionFailed', 'NoSuchKey'].includes((error as { kind: string }).kind)) throw error
        refused++
      }
    }
  }
  await Promise.all(Array.from({ length: WORKERS }, (_, i) => worker(i % 2 ? t.metadata : other, i + 1)))
  assert.ok(refused > 0)
  await checkExact(bucket)

  // Nothing left: everything is garbage.
  await t.metadata.deleteMany(bucket, Array.from({ length: KEYS }, (_, i) => ({ key: `k${i}` })))
  await checkExact(bucket)
  const [left] = await t.sql('SELECT count(*)::int4 FROM blobs WHERE bucket_id = $1 AND refs > 0', [bucket])
  assert.deepEqual(left, [0])
  const garbage = await t.metadata.garbage(100_000)
  const [queued] = await t.sql<[number]>('SELECT count(*)::int4 FROM gc_queue')
  assert.equal(garbage.length, queued![0])
  await t.metadata.forgetGarbage(garbage)
  await t.metadata.tidy()
  const empty = await t.metadata.counts()
  assert.deepEqual([empty.blobs, empty.garbage, empty.objects], [0, 0, 0])
  assert.deepEqual(await t.sql('SELECT 1 FROM parts UNION ALL SELECT 1 FROM manifests'), [])
})

async function multipart(metadata: ObjectMetadata, bucketId: BucketId, key: string, pgId: PgId, count: number): Promise<void> {
  const uploadId = newUploadId()
  await metadata.createUpload({
    bucketId, uploadId, key, initiator: 'app', startedMs: Date.now(), storageClass: 'STANDARD', headers: {}, userMetadata: {},
    checksumAlgorithm: null, checksumType: null, encryption: { kind: 'none' },
  })
  const part = (partNumber: number): PartRecord => ({
    partNumber, size: 1000, etag: 'e', checksum: null, modifiedMs: 0,
    body: { kind: 'blob', blob: { blobId: newBlobId(), pgId, size: 1000, stripeBytes: 65536 } },
  })
  const numbers = Array.from({ length: count }, (_, i) => i + 1)
  await Promise.all([...numbers, 1].map((number) => metadata.putPart(bucketId, uploadId, part(number), [])))
  if (count === 3) return metadata.abortUpload(bucketId, key, uploadId)
  await metadata.completeUpload({
    bucketId, uploadId, key, condition: {}, parts: [{ partNumber: 1, etag: 'e' }],
    assemble: (_, parts) => ({ size: parts.length * 1000, etag: 'm', checksum: null }),
  })
}

async function checkExact(bucket: BucketId): Promise<void> {
  const wrong = await t.sql(
    `WITH held AS (
       SELECT content_id AS blob_id FROM objects WHERE bucket_id = $1 AND body = 1
       UNION ALL
       SELECT p.blob_id FROM parts p LEFT JOIN manifests m USING (bucket_id, upload_id) WHERE p.bucket_id = $1 AND p.body = 1 AND coalesce(m.refs, 1) > 0
     ), counted AS (SELECT blob_id, count(*) AS n FROM held GROUP BY 1)
     SELECT coalesce(b.blob_id, c.blob_id), b.refs, coalesce(c.n, 0), g.blob_id IS NOT NULL
     FROM (SELECT * FROM blobs WHERE bucket_id = $1) b FULL JOIN counted c USING (blob_id) LEFT JOIN gc_queue g ON g.bucket_id = $1 AND g.blob_id = b.blob_id
     WHERE b.refs IS DISTINCT FROM coalesce(c.n, 0) OR (b.refs = 0) IS DISTINCT FROM (g.blob_id IS NOT NULL)`,
    [bucket],
  )
  assert.deepEqual(wrong, [])
  const manifests = await t.sql(
    `SELECT m.upload_id, m.refs, count(o.key) FROM manifests m LEFT JOIN objects o ON o.bucket_id = m.bucket_id AND o.body = 2 AND o.content_id = m.upload_id
     WHERE m.bucket_id = $1 GROUP BY m.bucket_id, m.upload_id HAVING m.refs <> count(o.key)`,
    [bucket],
  )
  assert.deepEqual(manifests, [])
}

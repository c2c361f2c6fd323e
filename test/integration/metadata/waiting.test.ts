/** Rules 2, 4 and 8 of DESIGN §13 where two do something at the same time: who comes second waits, and judges what is then there. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { AnvilError } from '../../../src/shared/errors.ts'
import { newBlobId, newUploadId, type BlobId, type BucketId, type NodeId, type PgId, type UploadId } from '../../../src/shared/ids.ts'
import { blobRecord, contentOf, openTransaction, startMetadata, type TestMetadata } from '../../support/metadata.ts'
import { until } from '../../support/until.ts'

let t: TestMetadata
before(async () => (t = await startMetadata()))
after(() => t.stop())

const blobId = (record: Parameters<typeof contentOf>[0]): BlobId => contentOf(record) as BlobId
/** Whether a server process waits for a lock. */
const waiting = async (): Promise<boolean> => (await t.sql(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)).length > 0


const startUpload = (bucketId: BucketId, uploadId: UploadId): Promise<void> => t.metadata.createUpload({
  bucketId, uploadId, key: 'k', initiator: 'a', startedMs: Date.now(), storageClass: 'STANDARD', headers: {}, userMetadata: {},
  checksumAlgorithm: null, checksumType: null, encryption: { kind: 'none' },
})

test('rule 2: of two that judge at once, neither takes for an orphan what the other found referenced', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const suspect = { bucketId: bucket, blobId: newBlobId(), pgId: pg.id }
  // Both wait for the commit that names the pair.
  const commit = await openTransaction(t, 
    `INSERT INTO blobs (bucket_id, blob_id, pg_id, size, stripe_bytes, encrypted, refs) VALUES (${bucket}, '${suspect.blobId}', ${pg.id}, 1, 1, false, 1)`,
  )
  await t.metadata.condemn([suspect])
  const judging = t.metadata.judgeCondemned([suspect])
  await until('the judge waits for older transactions', async () => (await t.sql(`SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_snapshot_xmin%'`)).length > 0)
  const other = await openTransaction(t, `DELETE FROM condemned WHERE bucket_id = ${bucket}`)
  await commit.end('COMMIT')
  await until('the judge waits for the other one', waiting)
  await other.end('COMMIT')
  assert.deepEqual(await judging, [])
})

test('rule 4: closing waits for parts and re-encodings under way as well', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const uploadId = newUploadId()
  await startUpload(bucket, uploadId)
  const holder = await openTransaction(t, 
    `INSERT INTO parts (bucket_id, upload_id, part_number, blob_id, size, modified_ms, body, encrypted, etag)
     VALUES (${bucket}, '${uploadId}', 1, '${newBlobId()}', 0, 0, 0, false, '')`,
  )
  const record = blobRecord(bucket, 'k', pg.id)
  const put = t.metadata.putPart(bucket, uploadId, { partNumber: 1, size: 1, etag: 'e', checksum: null, modifiedMs: 0, body: record.body as never }, [])
  await until('the part waits', waiting)
  let closed = false
  const closing = t.metadata.closePlacementGroup(pg.id).then(() => (closed = true))
  await sleep(200)
  assert.equal(closed, false)
  await holder.end('ROLLBACK')
  await Promise.all([put, closing])
  assert.equal((await t.metadata.blob(bucket, blobId(record)))?.pgId, pg.id)
})

test('a bucket is not deleted under an upload that is being created', async () => {
  const bucket = await t.bucket()
  const uploadId = newUploadId()
  const holder = await openTransaction(t, `INSERT INTO uploads (bucket_id, upload_id, started_ms, key, initiator) VALUES (${bucket}, '${uploadId}', 0, 'k', 'a')`)
  const creating = startUpload(bucket, uploadId)
  await until('the upload waits', waiting)
  const deleting = t.metadata.beginDeleteBucket(bucket).then(() => 'deleted', (error: unknown) => error)
  await sleep(200)
  await holder.end('ROLLBACK')
  await creating
  assert.ok(AnvilError.is(await deleting, 'BucketNotEmpty'))
})

test('rule 8: a copy waits for who drops the last reference, and comes too late', async () => {
  const bucket = await t.bucket()
  const source = blobRecord(bucket, 'source', (await t.group()).id)
  await t.metadata.put(source, {}, [])
  const drop = await openTransaction(t, `UPDATE blobs SET refs = 0 WHERE bucket_id = ${bucket}`)
  const copy = t.metadata.putReference({ ...source, key: 'copy' }, {})
  await until('the copy waits', waiting)
  await drop.end('COMMIT')
  assert.equal(await copy, null)
  assert.equal((await t.metadata.blob(bucket, blobId(source)))?.references, 0)
})

test('a sealed group is closed once every live node has said, since then, that it has no upload in it', async () => {
  const pg = await t.group()
  const closable = async () => (await t.metadata.closableGroups()).includes(pg.id)
  const node = 'n' as NodeId
  const renew = (leaseMs: number, inUse: PgId[]) => t.metadata.renewLease(node, 'p', leaseMs, null, { inUse, askedMs: Date.now(), wanted: null })
  await t.metadata.registerNode({ nodeId: node, addrs: [], grpcAddr: '', zone: '', version: '' }, 60_000)
  assert.ok(await renew(60_000, []))
  assert.equal(await closable(), false, 'open')
  await t.metadata.sealPlacementGroup(pg.id)
  assert.equal(await closable(), false, 'what it said before the sealing says nothing')
  await sleep(5)
  assert.ok(await renew(60_000, [pg.id]))
  assert.equal(await closable(), false, 'in use')
  assert.ok(await renew(60_000, []))
  assert.equal(await closable(), true)
  // A node that is gone holds nothing back: its commit would be refused.
  assert.ok(await renew(60_000, [pg.id]))
  assert.equal(await closable(), false)
  assert.ok(await renew(0, [pg.id]))
  await until('its lease has run out', closable)
  assert.ok(await renew(60_000, [pg.id]))
  await t.metadata.releaseLease(node, 'p')
  assert.equal(await closable(), true, 'released')
})

/** DESIGN §13: the rules that keep acknowledged data, as far as the metadata holds them. Rules 1, 9 and 11 have files of their own. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openObjectMetadata } from '../../../src/main/metadata/index.ts'
import { AnvilError } from '../../../src/shared/errors.ts'
import { newBlobId, newUploadId, randomId, type BlobId, type DeploymentId, type DriveId, type NodeId } from '../../../src/shared/ids.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { blobRecord, contentOf, drives, inlineRecord, openTransaction, silent, startMetadata, type TestMetadata } from '../../support/metadata.ts'

let t: TestMetadata
before(async () => (t = await startMetadata()))
after(() => t.stop())

const kind = (expected: string) => (error: unknown) => AnvilError.is(error) && error.kind === expected
const refusedFor = (reason: string) => (error: unknown) => AnvilError.is(error, 'MetadataUnavailable') && error.details['reason'] === reason
const blobId = (record: Parameters<typeof contentOf>[0]): BlobId => contentOf(record) as BlobId

test('rule 2: no commit may name a condemned pair', async () => {
  const bucket = await t.bucket()
  const [pg, other] = [await t.group(), await t.group()]
  const orphan = blobRecord(bucket, 'k', pg.id)
  const live = blobRecord(bucket, 'live', pg.id)
  await t.metadata.put(live, {}, [])
  await t.metadata.condemn([{ bucketId: bucket, blobId: blobId(orphan), pgId: pg.id }, { bucketId: bucket, blobId: blobId(live), pgId: other.id }])
  await assert.rejects(t.metadata.put(orphan, {}, []), refusedFor('condemned'))
  await assert.rejects(t.metadata.put(orphan, { ifNoneMatch: '*' }, []), refusedFor('condemned'))
  const uploadId = newUploadId()
  await t.metadata.createUpload({
    bucketId: bucket, uploadId, key: 'k', initiator: 'a', startedMs: Date.now(), storageClass: 'STANDARD', headers: {}, userMetadata: {},
    checksumAlgorithm: null, checksumType: null, encryption: { kind: 'none' },
  })
  const part = { partNumber: 1, size: 1, etag: 'e', checksum: null, modifiedMs: 0, body: orphan.body as never }
  await assert.rejects(t.metadata.putPart(bucket, uploadId, part, []), refusedFor('condemned'))
  // A re-encoding is a commit too; it takes another group.
  assert.equal(await t.metadata.moveBlob(bucket, blobId(live), pg.id, other.id, []), false)
  const third = await t.group()
  assert.equal(await t.metadata.moveBlob(bucket, blobId(live), pg.id, third.id, []), true)
  await t.metadata.abortUpload(bucket, 'k', uploadId)
  // As when a commit came through before it could see the condemnation: not judged yet, and nothing more is to rest on it.
  await t.sql(`INSERT INTO condemned (bucket_id, blob_id, pg_id, condemned_ms) VALUES (${bucket}, '${blobId(live)}', ${third.id}, 0)`)
  await assert.rejects(t.metadata.putReference({ ...live, key: 'copy' }, {}), refusedFor('condemned'))
})

test('rule 2: judging waits for every transaction that may not have seen the condemnation', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const [orphan, committed] = [newBlobId(), newBlobId()]
  // A commit under way: it has its id, and looked before the pair was condemned.
  const commit = await openTransaction(t, 
    `INSERT INTO blobs (bucket_id, blob_id, pg_id, size, stripe_bytes, encrypted, refs) VALUES (${bucket}, '${committed}', ${pg.id}, 1, 1, false, 1)`,
  )
  const suspects = [orphan, committed].map((id) => ({ bucketId: bucket, blobId: id, pgId: pg.id }))
  await t.metadata.condemn(suspects)
  let judged = false
  const judging = t.metadata.judgeCondemned(suspects).then((orphans) => {
    judged = true
    return orphans
  })
  await sleep(200)
  assert.equal(judged, false)
  await commit.end('COMMIT')
  assert.deepEqual(await judging, [suspects[0]])
  // The referenced one has left, in the transaction that found it; the orphan stays while its group takes commits.
  const left = async () => (await t.metadata.condemned(100)).filter(({ bucketId }) => bucketId === bucket)
  assert.deepEqual(await left(), [suspects[0]])
  await t.metadata.forgetCondemned(suspects)
  assert.deepEqual(await left(), [suspects[0]])
  await t.metadata.closePlacementGroup(pg.id)
  await t.metadata.forgetCondemned(suspects)
  assert.deepEqual(await left(), [])
  // Not condemned: not judged.
  assert.deepEqual(await t.metadata.judgeCondemned(suspects), [])
})

test('rule 2: the batch has its transaction id before its snapshots', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const record = blobRecord(bucket, 'k', pg.id)
  // The batch stops at the bucket's row, its COPY done: then the pair is condemned and judged.
  const block = await openTransaction(t, `SELECT 1 FROM bucket_state WHERE bucket_id = ${bucket} FOR UPDATE`)
  const put = t.metadata.put(record, {}, []).then(() => 'committed', (error: unknown) => error)
  await sleep(100)
  const suspect = { bucketId: bucket, blobId: blobId(record), pgId: pg.id }
  await t.metadata.condemn([suspect])
  let judged: unknown = null
  const judging = t.metadata.judgeCondemned([suspect]).then((orphans) => (judged = orphans))
  await sleep(200)
  assert.equal(judged, null, 'the horizon waits for the batch')
  await block.end('COMMIT')
  // Whichever way the batch went, the judgement knows.
  assert.deepEqual(await judging, (await put) === 'committed' ? [] : [suspect])
})

test('rule 4: commits name open or sealed groups; closing waits for those under way', async () => {
  const bucket = await t.bucket()
  const [pg, target] = [await t.group(), await t.group()]
  const sealed = blobRecord(bucket, 'sealed', pg.id)
  await t.metadata.sealPlacementGroup(pg.id)
  assert.equal((await t.metadata.placementGroup(pg.id))?.state, 'sealed')
  await t.metadata.put(sealed, {}, [])
  // A batch that has locked the group and waits for its key.
  await t.metadata.put(inlineRecord(bucket, 'busy'), {}, [])
  const key = await openTransaction(t, `SELECT 1 FROM objects WHERE bucket_id = ${bucket} AND key = 'busy' FOR UPDATE`)
  const busy = t.metadata.put(blobRecord(bucket, 'busy', pg.id), {}, [])
  await sleep(100)
  let closed = false
  const closing = t.metadata.closePlacementGroup(pg.id).then(() => (closed = true))
  await sleep(150)
  assert.equal(closed, false)
  await key.end('COMMIT')
  await Promise.all([busy, closing])
  // A batch that waits for a close under way judges the row as it is then, not as its snapshot has it.
  const third = await t.group()
  const close = await openTransaction(t, `UPDATE placement_groups SET state = 2 WHERE id = ${third.id}`)
  const late = t.metadata.put(blobRecord(bucket, 'late', third.id), {}, []).then(() => null, (error: unknown) => error)
  await sleep(100)
  await close.end('COMMIT')
  assert.ok(refusedFor('placement-group-closed')(await late))
  await assert.rejects(t.metadata.put(blobRecord(bucket, 'later', pg.id), {}, []), refusedFor('placement-group-closed'))
  await assert.rejects(t.metadata.put(blobRecord(bucket, 'later', 987_654 as never), {}, []), refusedFor('placement-group-closed'))
  assert.equal(await t.metadata.moveBlob(bucket, blobId(sealed), pg.id, pg.id, []), false)
  // Reads, copies and deletes of what lies in a closed group go on; only new bytes do not.
  assert.ok(await t.metadata.putReference({ ...sealed, key: 'copy' }, {}))
  assert.equal(await t.metadata.moveBlob(bucket, blobId(sealed), pg.id, target.id, []), true)
  assert.equal(await t.metadata.moveBlob(bucket, blobId(sealed), pg.id, target.id, []), false)
})

test('rules 5 and 6: members of closed groups move by compare-and-set, after their intent', async () => {
  const pg = await t.group()
  const [to, other] = drives(2) as [DriveId, DriveId]
  assert.equal(await t.metadata.beginMove(pg.id, 1, to, pg.generation), null, 'open')
  assert.equal(await t.metadata.replaceMember(pg.id, 1, pg.members[1]!, to, pg.generation), false, 'open')
  await t.metadata.closePlacementGroup(pg.id)
  const intent = await t.metadata.beginMove(pg.id, 1, to, pg.generation)
  assert.deepEqual(intent, { ...pg, state: 'closed', generation: pg.generation + 1, incoming: { index: 1, drive: to } })
  assert.equal(await t.metadata.beginMove(pg.id, 1, other, pg.generation), null, 'an old view')
  assert.equal(await t.metadata.beginMove(pg.id, 1, pg.members[0]!, intent.generation), null, 'a member already')
  assert.equal(await t.metadata.replaceMember(pg.id, 1, pg.members[1]!, to, pg.generation), false, 'an old generation')
  assert.equal(await t.metadata.replaceMember(pg.id, 1, pg.members[1]!, other, intent.generation), false, 'not the intent')
  assert.equal(await t.metadata.replaceMember(pg.id, 1, pg.members[0]!, to, intent.generation), false, 'not the member')
  const raced = await Promise.all(Array.from({ length: 4 }, () => t.metadata.replaceMember(pg.id, 1, pg.members[1]!, to, intent.generation)))
  assert.equal(raced.filter(Boolean).length, 1)
  const moved = await t.metadata.placementGroup(pg.id)
  assert.deepEqual(moved, { ...pg, state: 'closed', generation: pg.generation + 2, members: pg.members.with(1, to) })
})

test('groups: one open row for a code and its members, ids never again', async () => {
  const members = drives(6)
  const other = await t.another()
  const made = await Promise.all(Array.from({ length: 10 }, (_, i) => (i % 2 ? t.metadata : other).openPlacementGroup(4, 2, members)))
  assert.equal(new Set(made.map(({ id }) => id)).size, 1)
  await t.metadata.sealPlacementGroup(made[0]!.id)
  const next = await t.metadata.openPlacementGroup(4, 2, members)
  assert.ok(next.id > made[0]!.id)
  const bucket = await t.bucket()
  await t.metadata.put(blobRecord(bucket, 'k', next.id, { size: 1000 }), {}, [])
  await t.metadata.tidy()
  assert.equal((await t.metadata.placementGroup(next.id))?.bytes, 1000)
  assert.ok((await t.metadata.placementGroups({ states: ['open'] })).some(({ id }) => id === next.id))
  assert.ok((await t.metadata.placementGroups({ states: ['closed'] })).every(({ state }) => state === 'closed'))
})

test('blobs of a group come in order, page by page', async () => {
  const pg = await t.group()
  const buckets = [await t.bucket(), await t.bucket(), await t.bucket()]
  const records = buckets.flatMap((bucket) => Array.from({ length: 7 }, (_, i) => blobRecord(bucket, `k${i}`, pg.id)))
  await Promise.all(records.map((record) => t.metadata.put(record, {}, [])))
  const found: string[] = []
  for (let after = null as { bucketId: (typeof buckets)[0]; blobId: BlobId } | null; ; ) {
    const page = await t.metadata.blobsOfGroup(pg.id, after, 4)
    found.push(...page.map((each) => `${each.bucketId} ${each.blobId}`))
    if (page.length < 4) break
    after = page.at(-1)!
  }
  const ordered = records.toSorted((a, b) => a.bucketId - b.bucketId || (blobId(a) < blobId(b) ? -1 : 1))
  assert.deepEqual(found, ordered.map((record) => `${record.bucketId} ${blobId(record)}`))
  assert.deepEqual((await t.metadata.blobs(buckets[0]!, [newBlobId(), blobId(records[3]!)])).map((row) => row?.blobId), [undefined, blobId(records[3]!)])
})

test('rule 7: a shard that rots again during its repair is not forgotten', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const record = blobRecord(bucket, 'k', pg.id)
  const shard = { bucketId: bucket, blobId: blobId(record), pgId: pg.id, index: 3 }
  await t.metadata.put(record, {}, [{ blobId: blobId(record), pgId: pg.id, index: 3 }, { blobId: blobId(record), pgId: pg.id, index: 5 }])
  const mine = async () => (await t.metadata.repairs(1000, 0)).filter(({ bucketId }) => bucketId === bucket)
  const [first, second] = await mine()
  assert.deepEqual([first?.index, second?.index, first?.reason], [3, 5, 'left-out'])
  // Under repair; found damaged again; then the repair of the first report ends.
  await t.metadata.reportDamage([{ ...shard, reason: 'crc' }, { ...shard, reason: 'left-out' }])
  await t.metadata.forgetRepair([first!.entryId])
  const [kept, again] = await mine()
  assert.deepEqual([kept?.index, again?.index, again?.reason], [5, 3, 'crc'])
  assert.ok(again!.entryId > first!.entryId)
  // a mover that wakes up late has not found this shard anywhere: it is there, and bad
  await t.metadata.reportDamage([{ ...shard, reason: 'drive-lost' }])
  const [, late] = await mine()
  assert.deepEqual([late?.index, late?.reason], [3, 'crc'])
  assert.ok(late!.entryId > again!.entryId)
  assert.deepEqual((await t.metadata.repairs(1000, late!.entryId)).filter(({ bucketId }) => bucketId === bucket), [])
  const count = await t.metadata.repairCount()
  await t.metadata.forgetRepair([kept!.entryId, late!.entryId])
  assert.equal(await t.metadata.repairCount(), count - 2)
})

test('missing shards are queued in the transaction of every kind of write', async () => {
  const bucket = await t.bucket()
  const [pg, target] = [await t.group(), await t.group()]
  const queued = async () => (await t.metadata.repairs(1000, 0)).filter(({ bucketId }) => bucketId === bucket).map(({ index, pgId }) => [pgId, index])
  const missing = (record: ReturnType<typeof blobRecord>, index: number) => [{ blobId: blobId(record), pgId: pg.id, index }]
  const created = blobRecord(bucket, 'a', pg.id)
  await t.metadata.put(created, { ifNoneMatch: '*' }, missing(created, 0))
  const lost = blobRecord(bucket, 'a', pg.id)
  await assert.rejects(t.metadata.put(lost, { ifNoneMatch: '*' }, missing(lost, 1)), kind('PreconditionFailed'))
  await assert.rejects(t.metadata.put(lost, { ifMatch: 'no' }, missing(lost, 1)), kind('PreconditionFailed'))
  const replacing = blobRecord(bucket, 'a', pg.id)
  await t.metadata.put(replacing, { ifMatch: '*' }, missing(replacing, 2))
  assert.deepEqual(await queued(), [[pg.id, 0], [pg.id, 2]])
  // A re-encoding starts afresh in its new group; what was known of its shards there, from an earlier try, is a new report.
  await t.metadata.reportDamage([{ bucketId: bucket, blobId: blobId(replacing), pgId: target.id, index: 4, reason: 'crc' }])
  const [earlier] = (await t.metadata.repairs(1000, 0)).filter(({ bucketId, pgId }) => bucketId === bucket && pgId === target.id)
  assert.ok(await t.metadata.moveBlob(bucket, blobId(replacing), pg.id, target.id, [{ blobId: blobId(replacing), pgId: target.id, index: 4 }]))
  assert.deepEqual(await queued(), [[pg.id, 0], [target.id, 4]])
  assert.ok((await t.metadata.repairs(1000, earlier!.entryId)).some(({ bucketId, index }) => bucketId === bucket && index === 4), 'with an id of its own')
})

test('rule 8: references are added only to a blob that has one', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const source = blobRecord(bucket, 'source', pg.id)
  await t.metadata.put(source, {}, [])
  assert.ok(await t.metadata.putReference({ ...source, key: 'copy' }, {}))
  assert.ok(await t.metadata.putReference({ ...source, key: 'copy', etag: 'other' }, {}))
  const references = async () => (await t.metadata.blob(bucket, blobId(source)))?.references
  assert.equal(await references(), 2)
  await t.metadata.deleteMany(bucket, [{ key: 'source' }, { key: 'copy' }])
  assert.equal(await references(), 0)
  assert.equal(await t.metadata.putReference({ ...source, key: 'late' }, {}), null)
  assert.equal(await t.metadata.get(bucket, 'late'), null)
  assert.equal(await t.metadata.putReference(blobRecord(bucket, 'unknown', pg.id), {}), null)
  assert.equal(await t.metadata.moveBlob(bucket, blobId(source), pg.id, (await t.group()).id, []), false)
  // The copy carries the group that the blob is in now, not the one its source's row remembers.
  const moved = blobRecord(bucket, 'moved', pg.id)
  await t.metadata.put(moved, {}, [])
  const target = await t.group()
  await t.metadata.moveBlob(bucket, blobId(moved), pg.id, target.id, [])
  await t.metadata.putReference({ ...moved, key: 'copy' }, { ifNoneMatch: '*' })
  const copy = await t.metadata.get(bucket, 'copy')
  assert.equal(copy?.body.kind === 'blob' && copy.body.blob.pgId, target.id)
  await assert.rejects(t.metadata.putReference({ ...moved, key: 'copy' }, { ifNoneMatch: '*' }), kind('PreconditionFailed'))
  await assert.rejects(t.metadata.putReference({ ...moved, key: 'nothing' }, { ifMatch: 'x' }), kind('NoSuchKey'))
  assert.ok(await t.metadata.putReference(inlineRecord(bucket, 'inline copy'), {}))
})

test('garbage waits for the oldest running read of every node', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  const node = (name: string) => ({ nodeId: name as NodeId, addrs: ['/ip4/1.2.3.4'], grpcAddr: 'g', zone: '', version: '1' })
  await t.metadata.garbage(1000)
  const mine = async () => (await t.metadata.garbage(1000)).filter(({ bucketId }) => bucketId === bucket)
  await t.metadata.registerNode(node('reading'), 10_000)
  await t.metadata.registerNode(node('idle'), 10_000)
  const readMs = Date.now()
  await sleep(5)
  assert.ok(await t.metadata.renewLease('reading' as NodeId, 'p', 10_000, readMs))
  const record = blobRecord(bucket, 'k', pg.id)
  await t.metadata.put(record, {}, [])
  await t.metadata.delete(bucket, 'k', {})
  await t.metadata.renewLease('idle' as NodeId, 'p', 10_000, null)
  assert.deepEqual(await mine(), [], 'a read that began before the delete runs')
  await t.metadata.renewLease('reading' as NodeId, 'p', 10_000, null)
  await t.metadata.renewLease('idle' as NodeId, 'p', 10_000, null)
  await mine()
  await sleep(5)
  await t.metadata.renewLease('reading' as NodeId, 'p', 10_000, Date.now())
  await t.metadata.renewLease('idle' as NodeId, 'p', 10_000, null)
  const [found] = await mine()
  assert.deepEqual([found?.blobId, found?.pgId], [blobId(record), pg.id])
  await t.metadata.put(blobRecord(bucket, 'live', pg.id), {}, [])
  const live = { ...found!, blobId: contentOf((await t.metadata.get(bucket, 'live'))!) as BlobId }
  await t.metadata.forgetGarbage([found!, live])
  assert.ok(await t.metadata.blob(bucket, live.blobId), 'referenced')
  assert.equal(await t.metadata.blob(bucket, blobId(record)), null)
  assert.deepEqual(await mine(), [])
  // A node that has been silent for longer than the grace holds nothing back.
  await t.metadata.put(blobRecord(bucket, 'k', pg.id), {}, [])
  await t.metadata.delete(bucket, 'k', {})
  await mine()
  await sleep(5)
  await t.metadata.renewLease('idle' as NodeId, 'p', 10_000, null)
  assert.deepEqual(await mine(), [])
  await t.sql(`UPDATE nodes SET lease_until_ms = lease_until_ms - 4000000 WHERE node_id = 'reading'`)
  assert.equal((await mine()).length, 1)
  await t.sql('DELETE FROM nodes')
})

test('nodes and their leases, drives, named leases, the deployment', async () => {
  const node = { nodeId: 'n1' as NodeId, addrs: ['/ip4/1.2.3.4/udp/7443/quic-v1'], grpcAddr: 'http://x', zone: 'z', version: '1' }
  await t.metadata.registerNode(node, 5000)
  assert.equal(await t.metadata.renewLease(node.nodeId, 'first', 5000, null), true)
  await t.metadata.registerNode({ ...node, version: '2' }, 5000)
  assert.equal(await t.metadata.renewLease(node.nodeId, 'second', 5000, null), false)
  assert.equal(await t.metadata.renewLease(node.nodeId, 'first', 1, null), true)
  await sleep(10)
  assert.equal(await t.metadata.renewLease(node.nodeId, 'second', 5000, null), true)
  assert.equal(await t.metadata.renewLease('unknown' as NodeId, 'p', 5000, null), false)
  const [stored] = await t.metadata.nodes()
  assert.deepEqual({ ...stored, leaseUntilMs: 0 }, { ...node, version: '2', leaseUntilMs: 0, awayMs: 0, lease: 'held' })
  assert.ok(stored!.leaseUntilMs > Date.now())
  await t.sql('DELETE FROM nodes')

  const [driveId] = drives(1) as [DriveId]
  await t.metadata.registerDrive({ driveId, nodeId: node.nodeId, path: '/data/1', totalBytes: 8e12 })
  await t.metadata.setDriveState(driveId, 'lost')
  await t.metadata.registerDrive({ driveId, nodeId: node.nodeId, path: '/data/2', totalBytes: 9e12 })
  assert.deepEqual(await t.metadata.drives(), [{ driveId, nodeId: node.nodeId, path: '/data/2', totalBytes: 9e12, state: 'lost' }])

  assert.equal(await t.metadata.lease('sealer', 'a', 5000), true)
  assert.equal(await t.metadata.lease('sealer', 'b', 5000), false)
  assert.equal(await t.metadata.lease('sealer', 'a', 1), true)
  await sleep(10)
  assert.equal(await t.metadata.lease('sealer', 'b', 5000), true)
  await t.metadata.lease('move of a group', 'a', -7_200_000)
  await t.metadata.tidy()
  assert.deepEqual((await t.sql<[string]>('SELECT name FROM leases')).flat(), ['sealer'])

  const deployment = randomId<DeploymentId>()
  await t.metadata.claimDeployment(deployment, 'local')
  await t.metadata.claimDeployment(deployment, 'local')
  await assert.rejects(t.metadata.claimDeployment(randomId<DeploymentId>(), 'local'), kind('InvalidRequest'))
  await assert.rejects(t.metadata.claimDeployment(deployment, 'elsewhere'), kind('InvalidRequest'))
})

test('reads share queries, and never read the past', async () => {
  const bucket = await t.bucket()
  await t.metadata.put(inlineRecord(bucket, 'k', '0'), {}, [])
  let written = 0
  let going = true
  const reader = async (): Promise<void> => {
    while (going) {
      const atLeast = written
      const found = await t.metadata.get(bucket, 'k')
      assert.ok(found?.body.kind === 'inline' && Number(found.body.data.toString()) >= atLeast)
    }
  }
  const readers = Array.from({ length: 20 }, reader)
  for (let i = 1; i <= 150; i++) {
    await t.metadata.put(inlineRecord(bucket, 'k', String(i)), {}, [])
    written = i
  }
  going = false
  await Promise.all(readers)
})

test('an older server, a standby, a database that is not there or not migrated are refused with a clear line', async () => {
  const proxy = await startFaultProxy(t.postgres.config)
  proxy.fault = ({ direction, chunk }) => {
    const at = direction === 'to-client' ? chunk.indexOf('180004') : -1
    if (at < 0) return 'pass'
    const replace = Buffer.from(chunk)
    replace.write('170004', at)
    return { replace }
  }
  const open = (connection: object, waitMs = 1000) => openObjectMetadata({ connection, logger: silent, waitMs, answerTimeoutMs: 1000 })
  await assert.rejects(open(proxy.config), /must be 18 or newer/)
  await proxy.close()
  await assert.rejects(open({ ...t.postgres.config, database: 'none' }), /no such database/)
  const readOnly = await t.postgres.database('readonly')
  await t.sql('ALTER DATABASE readonly SET default_transaction_read_only = on')
  await assert.rejects(open(readOnly, 300), kind('MetadataUnavailable'))
  const empty = await open(await t.postgres.database('empty'))
  await assert.rejects(empty.put(inlineRecord(1 as never, 'k'), {}, []), /has not been migrated/)
  await empty.close()
})

test('rule 3: nothing is removed while a standby lacks what the removal rests on', async () => {
  const bucket = await t.bucket()
  const pg = await t.group()
  await t.metadata.put(blobRecord(bucket, 'k', pg.id), {}, [])
  await t.metadata.delete(bucket, 'k', {})
  const suspects = [{ bucketId: bucket, blobId: newBlobId(), pgId: pg.id }]
  await t.metadata.condemn(suspects)
  // A standby that is away: its slot says so.
  await t.sql(`SELECT pg_create_physical_replication_slot('standby')`)
  const impatient = await t.another({ standbyWaitMs: 100 })
  assert.deepEqual(await impatient.garbage(1000), [])
  assert.deepEqual(await impatient.judgeCondemned(suspects), [])
  await t.sql(`SELECT pg_drop_replication_slot('standby')`)
  assert.ok((await impatient.garbage(1000)).some(({ bucketId }) => bucketId === bucket))
  assert.deepEqual(await impatient.judgeCondemned(suspects), suspects)
})

test('rule 3: after a promotion, work that began before it ends nothing', async () => {
  const bucket = await t.bucket()
  const [pg, target] = [await t.group(), await t.group()]
  const record = blobRecord(bucket, 'k', pg.id)
  await t.metadata.put(record, {}, [])
  await t.metadata.put(blobRecord(bucket, 'gone', pg.id), {}, [{ blobId: newBlobId(), pgId: pg.id, index: 1 }])
  await t.metadata.delete(bucket, 'gone', {})
  const garbage = (await t.metadata.garbage(1000)).filter(({ bucketId }) => bucketId === bucket)
  assert.equal(garbage.length, 1)
  const [repair] = (await t.metadata.repairs(1000, 0)).filter(({ bucketId }) => bucketId === bucket)
  await t.metadata.closePlacementGroup(pg.id)
  const [to] = drives(1) as [DriveId]
  const intent = await t.metadata.beginMove(pg.id, 0, to, pg.generation)
  const began = await t.metadata.identity()
  assert.equal(began.readWrite, true)

  await t.postgres.promote()
  const now = await t.metadata.identity()
  assert.equal(now.systemId, began.systemId)
  assert.ok(now.timeline > began.timeline)
  for (const ending of [
    () => t.metadata.forgetGarbage(garbage, began),
    () => t.metadata.forgetRepair([repair!.entryId], began),
    () => t.metadata.moveBlob(bucket, blobId(record), pg.id, target.id, [], began),
    () => t.metadata.replaceMember(pg.id, 0, pg.members[0]!, to, intent!.generation, began),
  ]) {
    await assert.rejects(ending(), kind('MetadataUnavailable'))
  }
  // The generation carries the timeline: an old view fails by itself, and every new one is higher.
  assert.equal(await t.metadata.replaceMember(pg.id, 0, pg.members[0]!, to, intent!.generation), false)
  const seen = await t.metadata.placementGroup(pg.id)
  assert.ok(seen!.generation > intent!.generation + 1000)
  assert.equal(await t.metadata.replaceMember(pg.id, 0, pg.members[0]!, to, seen!.generation, now), true)
  // Ids of groups that a lost commit may have given do not come again.
  assert.ok((await t.group()).id > target.id + 1000)
  await t.metadata.forgetGarbage(garbage, now)
})

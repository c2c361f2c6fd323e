/** Closed groups that hold nothing are deleted: only those, never with a commit, a re-encoding or a move into them under way. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DatabaseIdentity, PlacementGroup } from '../../../src/main/metadata/contract.ts'
import { AnvilError } from '../../../src/shared/errors.ts'
import { newUploadId, type BlobId, type BucketId, type NodeId, type PgId } from '../../../src/shared/ids.ts'
import { blobRecord, contentOf, drives, inlineRecord, startMetadata, type TestMetadata } from '../../support/metadata.ts'

let t: TestMetadata
let under: DatabaseIdentity
let bucketId: BucketId
before(async () => {
  t = await startMetadata()
  under = await t.metadata.identity()
  bucketId = await t.bucket()
})
after(() => t.stop())

const refused = (error: unknown) => AnvilError.is(error, 'MetadataUnavailable') && error.details['reason'] === 'placement-group-closed'
async function closedGroup(): Promise<PlacementGroup> {
  const group = await t.group()
  await t.metadata.closePlacementGroup(group.id)
  return group
}
async function closedGroups(count: number): Promise<PlacementGroup[]> {
  const made: PlacementGroup[] = []
  while (made.length < count) made.push(await closedGroup())
  return made
}
const deletes = async (...groups: Pick<PlacementGroup, 'id'>[]): Promise<PgId[]> => t.metadata.deleteEmptyGroups(groups.map(({ id }) => id), under)
const ranges = () => t.sql<[number, number]>('SELECT first_id::int, last_id::int FROM deleted_groups ORDER BY 1')

test('what is not closed, or is named by anything, stays', async () => {
  const open = await t.group()
  const sealed = await t.group()
  await t.metadata.sealPlacementGroup(sealed.id)
  const [moving, condemned, toRepair, uploadedTo, empty] = await closedGroups(5) as [PlacementGroup, PlacementGroup, PlacementGroup, PlacementGroup, PlacementGroup]
  assert.ok(await t.metadata.beginMove(moving.id, 0, drives(1)[0]!, moving.generation))
  const nobody = contentOf(blobRecord(bucketId, 'nobody', condemned.id)) as BlobId
  await t.metadata.condemn([{ bucketId, blobId: nobody, pgId: condemned.id }])
  await t.metadata.reportDamage([{ bucketId, blobId: nobody, pgId: toRepair.id, index: 0, reason: 'crc' }])
  const node = 'node' as NodeId
  await t.metadata.registerNode({ nodeId: node, addrs: [], grpcAddr: '', zone: '', version: '' }, 60_000)
  assert.ok(await t.metadata.renewLease(node, 'p', 60_000, null, { askedMs: null, inUse: [uploadedTo.id], wanted: null }))

  const [held, read] = [await t.group(), await t.group()]
  await t.metadata.put(blobRecord(bucketId, 'held', held.id), {}, [])
  const garbage = blobRecord(bucketId, 'read', read.id)
  await t.metadata.put(garbage, {}, [])
  await t.metadata.delete(bucketId, 'read', {})
  for (const { id } of [held, read]) await t.metadata.closePlacementGroup(id)

  assert.deepEqual(await deletes(open, sealed, moving, condemned, toRepair, uploadedTo, held, read, empty, { id: 999_999_999 as PgId }), [empty.id])
  assert.equal(await t.metadata.placementGroup(empty.id), null)
  assert.deepEqual(await ranges(), [[empty.id, empty.id]])
  assert.deepEqual(await deletes(empty), [])

  // and goes when that is over
  const moved = (await t.metadata.placementGroup(moving.id))!
  assert.ok(await t.metadata.giveUpMove(moving.id, moved.generation))
  await t.metadata.forgetCondemned([{ blobId: nobody, pgId: condemned.id }])
  await t.metadata.forgetRepair((await t.metadata.repairs(10, 0)).map(({ entryId }) => entryId))
  await t.metadata.releaseLease(node, 'p')
  await t.metadata.forgetGarbage([{ bucketId, blobId: contentOf(garbage) as BlobId, pgId: read.id, deletedMs: 0 }])
  assert.deepEqual(await deletes(open, sealed, moving, condemned, toRepair, uploadedTo, held, read), [moving, condemned, toRepair, uploadedTo, read].map(({ id }) => id))
})

test('a deleted group is known as such, and its ids never come again; of one that was never there nothing is known', async () => {
  await t.sql('DELETE FROM deleted_groups')
  const groups = await closedGroups(8)
  const [first, ...rest] = groups.map(({ id }) => id) as [PgId, ...PgId[]]
  assert.deepEqual(rest, rest.map((_, i) => first + i + 1), 'ids without holes')
  const at = (...indexes: number[]) => deletes(...indexes.map((i) => groups[i]!))
  await at(1, 5)
  assert.deepEqual(await ranges(), [[first + 1, first + 1], [first + 5, first + 5]])
  await at(2, 4)
  assert.deepEqual(await ranges(), [[first + 1, first + 2], [first + 4, first + 5]])
  await at(3, 7)
  assert.deepEqual(await ranges(), [[first + 1, first + 5], [first + 7, first + 7]])
  assert.equal(await t.metadata.deletedGroup(first), null, 'it is there')
  const generation = await t.metadata.deletedGroup((first + 4) as PgId)
  assert.ok(generation !== null && generation > groups[4]!.generation && Number.isSafeInteger(generation))
  assert.equal(await t.metadata.deletedGroup((first + 8) as PgId), null, 'nobody has heard of it')
  await at(0, 6)
  assert.deepEqual(await ranges(), [[first, first + 7]])
  assert.ok((await t.group()).id > first + 7)
})

test('many that open the same group at a time give no id away', async () => {
  const other = await t.another()
  const [before, members] = [await t.group(), drives(6)]
  const made = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? t.metadata : other).openPlacementGroup(4, 2, members)))
  assert.deepEqual(new Set(made.map(({ id }) => id)), new Set([before.id + 1]))
  assert.equal((await t.group()).id, before.id + 2)
})

test('no commit comes into a deleted group, of whatever kind', async () => {
  const [gone] = await closedGroups(1) as [PlacementGroup]
  const other = await t.group()
  const record = blobRecord(bucketId, 'late', gone.id)
  const live = blobRecord(bucketId, 'live', other.id)
  await t.metadata.put(live, {}, [])
  await deletes(gone)
  const uploadId = newUploadId()
  await t.metadata.createUpload({
    bucketId, uploadId, key: 'k', initiator: 'a', startedMs: Date.now(), storageClass: 'STANDARD', headers: {}, userMetadata: {},
    checksumAlgorithm: null, checksumType: null, encryption: { kind: 'none' },
  })
  assert.ok(record.body.kind === 'blob')
  const { blob } = record.body
  await assert.rejects(t.metadata.put(record, {}, []), refused)
  await assert.rejects(t.metadata.put(record, { ifNoneMatch: '*' }, []), refused)
  await assert.rejects(t.metadata.putPart(bucketId, uploadId, { partNumber: 1, size: 1, etag: 'e', checksum: null, modifiedMs: 0, body: record.body }, []), refused)
  await assert.rejects(t.metadata.keepBlob(bucketId, blob, []), refused)
  assert.equal(await t.metadata.moveBlob(bucketId, contentOf(live) as BlobId, other.id, gone.id, []), false)
  assert.equal(await t.metadata.beginMove(gone.id, 0, drives(1)[0]!, gone.generation), null)
  await t.metadata.sealPlacementGroup(gone.id)
  await t.metadata.closePlacementGroup(gone.id)
  assert.equal(await t.metadata.placementGroup(gone.id), null)
})

test('a batch that has locked the row of a group first is refused, and so is one that comes while the row goes', async () => {
  const [gone] = await closedGroups(1) as [PlacementGroup]
  await t.metadata.put(inlineRecord(bucketId, 'busy'), {}, [])
  const { default: pg } = await import('pg')
  const client = new pg.Client(t.postgres.config)
  await client.connect()
  try {
    await client.query(`BEGIN; SELECT 1 FROM objects WHERE bucket_id = ${bucketId} AND key = 'busy' FOR UPDATE`)
    // one batch holds the shared lock of the group and waits for a key of its other row
    const batch = Promise.allSettled([t.metadata.put(blobRecord(bucketId, 'first', gone.id), {}, []), t.metadata.put(inlineRecord(bucketId, 'busy'), {}, [])])
    await sleep(100)
    let deleted: PgId[] | null = null
    const deleting = deletes(gone).then((ids) => (deleted = ids))
    await sleep(100)
    const late = (await t.another()).put(blobRecord(bucketId, 'late', gone.id), {}, []).then(() => null, (error: unknown) => error)
    await sleep(100)
    assert.equal(deleted, null, 'it waits for the batch')
    await client.query('COMMIT')
    const [first, busy] = await batch
    assert.ok(first.status === 'rejected' && refused(first.reason) && busy.status === 'fulfilled')
    assert.ok(refused(await late))
    assert.deepEqual(await deleting, [gone.id])
  } finally {
    await client.end()
  }
})

test('a move begins or the group goes, never both', async () => {
  const other = await t.another()
  const outcomes = new Set<string>()
  for (const group of await closedGroups(30)) {
    const [intent, deleted] = await Promise.all([other.beginMove(group.id, 0, drives(1)[0]!, group.generation), deletes(group)])
    const row = await t.metadata.placementGroup(group.id)
    assert.equal(intent === null, deleted.length === 1, JSON.stringify({ intent, deleted }))
    assert.equal(row === null, deleted.length === 1)
    outcomes.add(deleted.length === 1 ? 'deleted' : 'moved')
  }
  assert.ok(outcomes.size > 0)
})

test('two that delete the same ones at a time', async () => {
  const other = await t.another()
  const groups = await closedGroups(20)
  const ids = groups.map(({ id }) => id)
  const done = await Promise.all([deletes(...groups), other.deleteEmptyGroups(ids.toReversed(), under), deletes(...groups)])
  assert.deepEqual(done.flat().toSorted((a, b) => a - b), ids)
  const touching = (await ranges()).filter(([first], i, all) => i > 0 && first <= all[i - 1]![1] + 1)
  assert.deepEqual(touching, [])
})

test('nothing is deleted on the word of another database (rule 3)', async () => {
  const [group] = await closedGroups(1) as [PlacementGroup]
  for (const other of [{ ...under, timeline: under.timeline + 1 }, { ...under, systemId: '1' }]) {
    await assert.rejects(t.metadata.deleteEmptyGroups([group.id], other), { kind: 'MetadataUnavailable' })
  }
  assert.ok(await t.metadata.placementGroup(group.id))
})

test('condemned pairs of a deleted group go by their age, those of an unknown group stay', async () => {
  const [gone] = await closedGroups(1) as [PlacementGroup]
  await deletes(gone)
  const [young, old] = [blobRecord(bucketId, 'young', gone.id), blobRecord(bucketId, 'old', gone.id)].map(contentOf) as [BlobId, BlobId]
  const unknown = 123_456_789 as PgId
  await t.metadata.condemn([{ bucketId, blobId: young, pgId: gone.id }, { bucketId, blobId: old, pgId: gone.id }, { bucketId, blobId: old, pgId: unknown }])
  await t.sql(`UPDATE condemned SET condemned_ms = condemned_ms - 90000000 WHERE blob_id = $1`, [old])
  await t.metadata.forgetCondemnedOfDeletedGroups()
  const left = (await t.metadata.condemned(100)).map(({ blobId, pgId }) => [blobId, pgId])
  assert.deepEqual(left.toSorted(), [[young, gone.id], [old, unknown]].toSorted())
})

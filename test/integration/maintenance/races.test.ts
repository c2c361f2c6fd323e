/**
 * The traces of test/model that movers, collectors and repair could run into, played over real drives and a real Postgres:
 * two movers, one that wakes late, a collector with an old view, a member that comes back in the middle.
 */
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { moveShards } from '../../../src/main/maintenance/moves.ts'
import type { OrphanOptions } from '../../../src/main/maintenance/orphans.ts'
import { shardRepair } from '../../../src/main/maintenance/repair.ts'
import { tellGeneration } from '../../../src/main/maintenance/shard-removal.ts'
import type { ObjectMetadata } from '../../../src/main/metadata/contract.ts'
import type { BlobId, BucketId, DriveId, NodeId } from '../../../src/shared/ids.ts'
import { GIB } from '../../../src/shared/limits.ts'
import { nativeErrorKind, type Native } from '../../../src/shared/native.ts'
import { Gate, HERE, type MaintenanceStage, run, setStage, silent } from './stage.ts'
import { startStorage, type StorageRig } from '../../support/storage.ts'

const AWAY = 'away' as NodeId
const INDEX = 1
let rig: StorageRig
let stage: MaintenanceStage
/** Member INDEX of the first group: its node has died. */
let lost: DriveId
let newcomer: DriveId

before(async () => {
  rig = await startStorage(0)
})
after(() => rig.stop())
beforeEach(async () => {
  stage = await setStage(rig, 8)
  lost = stage.group.members[INDEX]!
  await stage.ofNode(lost, AWAY, 'ended')
  await rig.closeDrive(lost)
  newcomer = await rig.addDrive()
})

/** The same with other methods. */
const altered = <T extends object>(base: T, methods: Partial<T>): T => Object.assign(Object.create(base) as T, methods)
const shardsOfGroup = async (driveId: DriveId) => (await stage.shardsOn(driveId)).filter(({ pgId }) => pgId === stage.group.id)

/** The member is replaced by the newcomer, and the drive is back. */
async function replaceLost(): Promise<void> {
  const counters = await run(stage.moves('mover', [AWAY]))
  assert.equal(counters['members replaced'], stage.groups.length)
  await rig.openDrive(lost)
}

test('f8: the intent is there before the first byte, and the newcomer refuses whoever does not know it', async () => {
  const { group } = stage
  const seen: unknown[] = []
  const native = altered(rig.native, {
    async rebuildShardOn(blob, index, driveId) {
      const now = await stage.now(blob.pgId as typeof group.id)
      if (blob.pgId === group.id) {
        seen.push([now.incoming, now.generation - group.generation])
        const old = rig.native.deleteShards(newcomer, [{ bucketId: blob.bucketId, blobId: blob.blobId, pgId: group.id, index }], [group.generation])
        await assert.rejects(old, (error) => nativeErrorKind(error) === 'StaleGeneration')
      }
      return rig.native.rebuildShardOn(blob, index, driveId)
    },
  } satisfies Partial<Native>)
  await run(stage.moves('mover', [AWAY], { native }))
  assert.ok(seen.length > 0)
  for (const one of seen) assert.deepEqual(one, [{ index: INDEX, drive: newcomer }, 1])
})

test('f10: the work list comes from the rows: what the old member lacked is on the new one too', async () => {
  const { group } = stage
  await rig.openDrive(lost)
  const [lacked] = await shardsOfGroup(lost)
  await rig.native.deleteShards(lost, [lacked!], [group.generation])
  await rig.closeDrive(lost)
  await run(stage.moves('mover', [AWAY]))
  assert.ok((await shardsOfGroup(newcomer)).some(({ blobId }) => blobId === lacked!.blobId))
})

test('what has lost its last reference is not brought to the newcomer', async () => {
  const { group } = stage
  const { metadata } = rig
  const rows = await metadata.blobsOfGroup(group.id, null, 100)
  const entries = await Promise.all(Array.from({ length: 8 }, (_, i) => metadata.get(stage.bucket.id, `object${i}`)))
  const dropped = entries.find((record) => record?.body.kind === 'blob' && record.body.blob.blobId === rows[0]!.blobId)!
  await metadata.delete(stage.bucket.id, dropped.key, {})
  await run(stage.moves('mover', [AWAY]))
  assert.deepEqual((await shardsOfGroup(newcomer)).map(({ blobId }) => blobId).toSorted(), rows.slice(1).map(({ blobId }) => blobId).toSorted())
})

test('a move that was begun under one database replaces no member under another', async () => {
  const identity = async () => {
    const now = await rig.metadata.identity()
    return { ...now, timeline: now.timeline - 1 }
  }
  const counters = await run(stage.moves('mover', [AWAY], { metadata: altered<ObjectMetadata>(rig.metadata, { identity }) }))
  assert.deepEqual([counters['failures'], counters['members replaced']], [stage.groups.length, undefined], 'as before a failover')
  assert.deepEqual((await stage.now()).members, stage.group.members)
})

test('m-no-cas: of two movers of one group, one replaces the member, and the other one changes nothing', async () => {
  const gate = new Gate()
  // each believes that it is the only one: the lease is for economy
  const alone = { lease: () => Promise.resolve(true) }
  const paused = altered<ObjectMetadata>(rig.metadata, {
    ...alone,
    async replaceMember(...change) {
      await gate.pass()
      return rig.metadata.replaceMember(...change)
    },
  })
  const first = run(stage.moves('first', [AWAY], { metadata: paused }))
  await gate.reachedBy(first)
  const metadata = altered<ObjectMetadata>(await rig.database.another(), alone)
  const second = await run(stage.moves('second', [AWAY], { metadata, groups: rig.thread(metadata).groups }))
  assert.equal(second['members replaced'], stage.groups.length)
  const after = await Promise.all(stage.groups.map(({ id }) => stage.now(id)))
  gate.open()
  assert.equal((await first)['members replaced'], undefined)
  assert.deepEqual(await Promise.all(stage.groups.map(({ id }) => stage.now(id))), after)
  await stage.readAll()
})

test('the fence: halves that both reach the database move nothing while leases are held, and each member once when one has ended', async () => {
  const [left, right] = ['left', 'right'] as NodeId[] as [NodeId, NodeId]
  await stage.ofNode(stage.group.members[0]!, left, 'held')
  await stage.ofNode(stage.group.members[2]!, right, 'held')
  await stage.ofNode(newcomer, left, 'held')
  await stage.ofNode(lost, AWAY, 'held')
  const now = () => Promise.all(stage.groups.map(({ id }) => stage.now(id)))
  const half = async (self: NodeId, other: NodeId) => {
    const metadata = await rig.database.another()
    const cluster = { ...stage.cluster(self, [other, AWAY]), self, nodes: () => [self] }
    return stage.moves(self, [], { metadata, groups: rig.thread(metadata).groups, cluster })
  }
  const halves = [await half(left, right), await half(right, left)]
  for (let round = 0; round < 3; round++) assert.deepEqual(await Promise.all(halves.map(run)), [{}, {}])
  assert.deepEqual(await now(), stage.groups)
  // one node is dead indeed: both halves set about it, and neither does what the other one has done
  await stage.ofNode(lost, AWAY, 'ended')
  const moved = await Promise.all(halves.map(run))
  assert.equal(moved.reduce((sum, counters) => sum + (counters['members replaced'] ?? 0), 0), stage.groups.length)
  const expected = stage.groups.map((one) => ({ ...one, generation: one.generation + 2, members: one.members.map((driveId) => (driveId === lost ? newcomer : driveId)) }))
  assert.deepEqual(await now(), expected)
  await stage.readAll()
})

test('f9: a collector that judged a drive before it became a member again removes nothing from it', async () => {
  const { group } = stage
  await replaceLost()
  const before = await shardsOfGroup(lost)
  assert.ok(before.length > 0)
  const gate = new Gate()
  const metadata = altered<ObjectMetadata>(rig.metadata, {
    async mayRemove(under) {
      await gate.pass()
      return rig.metadata.mayRemove(under)
    },
  })
  const collecting = run(stage.orphans({ metadata, drives: () => [lost] })).catch((error: unknown) => error)
  await gate.reachedBy(collecting)
  // now the newcomer dies, and its shards are counted on where they were before: none is written
  await stage.ofNode(newcomer, 'dead' as NodeId, 'ended')
  await rig.closeDrive(newcomer)
  assert.equal((await run(stage.moves('mover', [AWAY, 'dead' as NodeId])))['shards'], undefined)
  assert.equal((await stage.now()).members[INDEX], lost)
  gate.open()
  assert.equal(nativeErrorKind(await collecting), 'StaleGeneration')
  assert.deepEqual(await shardsOfGroup(lost), before)
  assert.equal((await stage.now()).generation, group.generation + 4)
  await stage.readAll()
})

test('i6: a former member keeps what the new one could not be given', async () => {
  const { group } = stage
  await rig.openDrive(lost)
  const [only] = await shardsOfGroup(lost)
  await rig.closeDrive(lost)
  // its other shards are not to be had while the move goes on
  const [left, right] = [0, 2].map((index) => group.members[index]!) as [DriveId, DriveId]
  await rig.native.deleteShards(left, [{ ...only!, index: 0 }], [group.generation])
  await rig.native.deleteShards(right, [{ ...only!, index: 2 }], [group.generation])
  await replaceLost()
  assert.ok((await rig.metadata.repairs(10, 0)).some(({ blobId, index, reason }) => blobId === only!.blobId && index === INDEX && reason === 'drive-lost'))
  const counters = await run(stage.orphans({ drives: () => [lost] }))
  assert.equal(counters['shards of former members kept, which the member lacks'], 1)
  assert.deepEqual((await stage.shardsOn(lost)).map(({ blobId }) => blobId), [only!.blobId])
  await assert.rejects(stage.readAll())
  // and becomes the member again: then it is read, and the others get theirs
  const { native, metadata, groups } = rig
  const moving = stage.moveOptions('mover', [])
  const takeBack: OrphanOptions['takeBack'] = async (move, progress, signal) => moveShards(moving, move, await metadata.identity(), progress, signal)
  assert.equal((await run(stage.orphans({ drives: () => [lost], takeBack })))['members taken back'], 1)
  assert.equal((await stage.now()).members[INDEX], lost)
  await stage.readAll()
  await metadata.reportDamage([0, 2].map((index) => ({ bucketId: only!.bucketId as BucketId, blobId: only!.blobId as BlobId, pgId: group.id, index, reason: 'missing' })))
  await run(shardRepair({ native, metadata, groups, logger: silent, drives: rig.online, mine: () => true }))
  assert.equal(await metadata.repairCount(), 0)
  await rig.closeDrive(lost)
  await stage.readAll()
})

test('i6: while fewer than k members answer none is replaced: with the one that is gone they may be enough', async () => {
  const { group } = stage
  const others = group.members.filter((driveId) => driveId !== lost)
  for (const driveId of others) await rig.closeDrive(driveId)
  const counters = await run(stage.moves('mover', [AWAY]))
  assert.deepEqual(counters, { failures: stage.groups.length })
  assert.deepEqual((await stage.now()).members, group.members)
  assert.equal(await rig.metadata.repairCount(), 0)
  await rig.openDrive(lost)
  await stage.readAll()
})

test('a node that is back in the middle keeps what has not moved yet', async () => {
  assert.ok(stage.groups.length > 1)
  const metadata = altered<ObjectMetadata>(rig.metadata, {
    async replaceMember(...change) {
      const replaced = await rig.metadata.replaceMember(...change)
      await rig.metadata.renewLease(AWAY, 'the other process', 600_000, null)
      return replaced
    },
  })
  const counters = await run(stage.moves('mover', [AWAY], { metadata }))
  assert.equal(counters['members replaced'], 1)
})

test('an intent that a dead mover left is taken up, or given up when the member is back: then nothing of it stays', async () => {
  const { group } = stage
  const { metadata, native, groups } = rig
  const begun = (await metadata.beginMove(group.id, INDEX, newcomer, group.generation))!
  await groups.reload(group.id)
  for (const row of await metadata.blobsOfGroup(group.id, null, 100)) await native.rebuildShardOn({ ...row, dataKey: Buffer.alloc(0) }, INDEX, newcomer)
  assert.ok((await shardsOfGroup(newcomer)).length > 0)
  assert.equal(await metadata.giveUpMove(group.id, group.generation), false, 'an old view')
  // the member's node says that it lives, and so does gossip
  await stage.ofNode(lost, AWAY, 'held')
  await run(stage.moves('mover', [AWAY]))
  assert.deepEqual((await stage.now()).incoming, begun.incoming, 'gossip has given it up: whose word counts is not known')
  await rig.openDrive(lost)
  assert.equal((await run(stage.moves('mover', [])))['moves given up'], 1)
  assert.deepEqual(await stage.now(), { ...group, generation: begun.generation + 1 })
  assert.equal(await metadata.replaceMember(group.id, INDEX, lost, newcomer, begun.generation), false, 'its mover wakes late')
  await run(stage.orphans())
  assert.deepEqual(await shardsOfGroup(newcomer), [])
  assert.ok((await shardsOfGroup(lost)).length > 0)
  await stage.readAll()
})

test('an intent for a member of which is not known whether it lives is not carried out since another one is dead', async () => {
  const { group } = stage
  const { metadata, groups } = rig
  await metadata.beginMove(group.id, INDEX, newcomer, group.generation)
  await groups.reload(group.id)
  await stage.ofNode(lost, AWAY, 'held')
  const [dead, dying] = ['dead' as NodeId, group.members[2]!]
  await stage.ofNode(dying, dead, 'ended')
  await rig.closeDrive(dying)
  await run(stage.moves('mover', [AWAY, dead]))
  assert.deepEqual((await stage.now()).members, group.members.with(2, newcomer))
})

test('an intent is not given up for a drive that was declared lost, though its node is back', async () => {
  const { group } = stage
  const begun = (await rig.metadata.beginMove(group.id, INDEX, newcomer, group.generation))!
  await stage.ofNode(lost, AWAY, 'held')
  await rig.metadata.setDriveState(lost, 'lost')
  assert.deepEqual(await run(stage.moves('mover', [])), {})
  assert.deepEqual((await stage.now()).incoming, begun.incoming)
})

test('a mover whose blobs take longer than its lease goes on having it', async () => {
  const { group } = stage
  const gate = new Gate()
  const native = altered(rig.native, {
    async rebuildShardOn(...what) {
      await gate.pass()
      return rig.native.rebuildShardOn(...what)
    },
  } satisfies Partial<Native>)
  const moving = run(stage.moves('slow', [AWAY], { native, leaseMs: 1500 }))
  await gate.reachedBy(moving)
  const [under] = (await rig.metadata.placementGroups({ states: ['closed'], incoming: true }))
  await sleep(2000)
  assert.equal(await rig.metadata.lease(`move of group ${under!.id}`, 'other', 1000), false)
  gate.open()
  assert.equal((await moving)['members replaced'], stage.groups.length)
  assert.ok((await stage.now(group.id)).members.includes(newcomer))
})

test('repair with an old view: an entry is for the member that is, and waits while it is being replaced', async () => {
  const { group } = stage
  const { metadata, native } = rig
  const old = rig.thread(await rig.database.another()).groups
  for (const { id } of stage.groups) await old.ensure(id)
  const repair = () => run(shardRepair({ native, metadata, groups: old, logger: silent, drives: rig.online, mine: () => true }))
  const begun = (await metadata.beginMove(group.id, INDEX, newcomer, group.generation))!
  const [row] = await metadata.blobsOfGroup(group.id, null, 1)
  const entry = { bucketId: row!.bucketId, blobId: row!.blobId, pgId: group.id, index: INDEX, reason: 'left-out' as const }
  await metadata.reportDamage([entry])
  await rig.openDrive(lost)
  await repair()
  assert.equal(await metadata.repairCount(), 1, 'the old member has it, and is about to be none')
  assert.ok(await metadata.replaceMember(group.id, INDEX, lost, newcomer, begun.generation))
  await repair()
  assert.equal(await metadata.repairCount(), 0)
  assert.ok((await shardsOfGroup(newcomer)).some(({ blobId }) => blobId === row!.blobId))
})

test('a collector with an old view collects: it looks the group up again', async () => {
  const { group } = stage
  const { metadata, native } = rig
  const old = rig.thread(await rig.database.another()).groups
  for (const { id } of stage.groups) await old.ensure(id)
  // a move that was begun and given up has made the generation higher, and the member was told
  const begun = (await metadata.beginMove(group.id, INDEX, newcomer, group.generation))!
  assert.ok(await metadata.giveUpMove(group.id, begun.generation))
  await tellGeneration(native, group.members[0]!, await stage.now())
  const [row] = await metadata.blobsOfGroup(group.id, null, 1)
  await rig.database.sql('DELETE FROM blobs WHERE blob_id = $1', [row!.blobId])
  await run(stage.orphans({ groups: old, drives: () => [group.members[0]!] }))
  assert.ok(!(await stage.shardsOn(group.members[0]!)).some(({ blobId }) => blobId === row!.blobId))
})

test('a collector that has not heard of a move asks the rows whether its drive is a member still', async () => {
  const old = rig.thread(await rig.database.another()).groups
  for (const { id } of stage.groups) await old.ensure(id)
  await replaceLost()
  assert.ok((await shardsOfGroup(lost)).length > 0)
  await run(stage.orphans({ groups: old, drives: () => [lost] }))
  assert.deepEqual(await shardsOfGroup(lost), [])
  await stage.readAll()
})

test('a drive that takes no shards still counts where its node has too many already', async () => {
  const { group } = stage
  const full = group.members.filter((driveId) => driveId !== lost)
  const elsewhere = await rig.addDrive()
  for (const driveId of full) await stage.ofNode(driveId, HERE, 'held')
  await stage.ofNode(newcomer, HERE, 'held')
  await stage.ofNode(elsewhere, 'other' as NodeId, 'held')
  // two of three shards are on this node: a third one would be lost with them
  const place = (driveId: DriveId, nodeId: NodeId) => ({ driveId, nodeId, zone: '', totalBytes: GIB })
  const cluster = { ...stage.cluster('mover', [AWAY]), placeable: () => [place(newcomer, HERE), place(elsewhere, 'other' as NodeId)] }
  await run(stage.moves('mover', [AWAY], { cluster }))
  for (const { id } of stage.groups) assert.ok((await stage.now(id)).members.includes(elsewhere))
})

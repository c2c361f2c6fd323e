/** Moves of shards away from nodes that are gone for good, over real drives and a real Postgres. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import type { ClusterView } from '../../../src/main/maintenance/cluster-view.ts'
import { groupUpkeep } from '../../../src/main/maintenance/groups-upkeep.ts'
import { shardMoves } from '../../../src/main/maintenance/moves.ts'
import { orphanCollection } from '../../../src/main/maintenance/orphans.ts'
import { RemovalGuard } from '../../../src/main/maintenance/removal-guard.ts'
import { storedBytes } from '../../../src/main/maintenance/repair.ts'
import type { DriveId, NodeId, PgId } from '../../../src/shared/ids.ts'
import { GIB } from '../../../src/shared/limits.ts'
import { bytes } from '../../support/bytes.ts'
import { startStorage, type StorageRig } from '../../support/storage.ts'
import { HERE, run, silent as logger } from './stage.ts'

const AWAY = 'away' as NodeId
let rig: StorageRig
let bucket: Bucket
let lost: DriveId
let newcomer: DriveId
let pgId: PgId
const objects = new Map([['small', bytes(100_000, 1)], ['large', bytes(5_000_000, 2)]])

before(async () => {
  rig = await startStorage(3)
  bucket = await rig.bucket()
  for (const [key, data] of objects) await rig.put(bucket, key, data)
  const groups = await rig.metadata.placementGroups()
  lost = groups[0]!.members[1]!
  pgId = groups[0]!.id
  await rig.metadata.registerNode({ nodeId: AWAY, addrs: [], grpcAddr: '', zone: '', version: '' }, 0)
  await rig.metadata.registerDrive({ driveId: lost, nodeId: AWAY, path: '/away', totalBytes: GIB })
  await rig.closeDrive(lost)
  newcomer = await rig.addDrive()
})
after(() => rig.stop())

const cluster = (gone: readonly NodeId[]): ClusterView => ({
  processId: 'this process', self: HERE, local: rig.online, reachable: rig.online, nodes: () => [HERE], isGone: (nodeId) => gone.includes(nodeId),
  placeable: () => rig.online().map((driveId) => ({ driveId, nodeId: HERE, zone: '', totalBytes: GIB })),
  freeBytes: () => GIB,
})
const moves = (gone: readonly NodeId[], delayMs = 0) => {
  const { native, metadata, groups } = rig
  return shardMoves({ native, metadata, groups, logger, cluster: cluster(gone), delayMs, moved: () => {} })
}
const members = async (): Promise<DriveId[]> => (await rig.metadata.placementGroup(pgId))!.members
const shardsOn = async (driveId: DriveId) => (await rig.native.listShards(driveId, null, 10_000, Date.now() + 1000)).shards

async function readAll(): Promise<void> {
  for (const [key, data] of objects) assert.deepEqual(await rig.get(bucket, key), data)
}

test('only closed groups move, of nodes that gossip and the database have given up, after the delay', async () => {
  assert.deepEqual(await run(moves([AWAY])), {}, 'the groups are open')
  const { metadata, groups } = rig
  await run(groupUpkeep({ metadata, groups, cluster: cluster([AWAY]), delayMs: 0, emptyForMs: 0, database: () => Promise.resolve(null), inUse: () => Promise.resolve(new Set(groups.inUse)), groupSealed: () => {}, changed: () => {} }))
  assert.equal((await metadata.placementGroup(pgId))!.state, 'closed')
  assert.deepEqual(await run(moves([])), {}, 'gossip still hears of it')
  assert.deepEqual(await run(moves([AWAY], 3_600_000)), {}, 'it may only be a reboot')
  await metadata.registerNode({ nodeId: AWAY, addrs: [], grpcAddr: '', zone: '', version: '' }, 0)
  assert.ok(await metadata.renewLease(AWAY, 'the other process', 60_000, null))
  assert.deepEqual(await run(moves([AWAY])), {}, 'the other half of a partition renews its lease')
  await metadata.releaseLease(AWAY, 'the other process')
  assert.ok((await members()).includes(lost))
})

test('an operator need not wait for the delay', async () => {
  const { metadata } = rig
  await metadata.registerNode({ nodeId: 'up' as NodeId, addrs: [], grpcAddr: '', zone: '', version: '' }, 60_000)
  assert.ok(await metadata.renewLease('up' as NodeId, 'process', 60_000, null))
  assert.deepEqual(await metadata.repairWithoutDelay(), [AWAY])
  const [away, up] = await metadata.nodes()
  assert.ok(away!.awayMs > 3_600_000 && up!.awayMs === 0, JSON.stringify([away, up]))
})

const orphans = (Guard = RemovalGuard) => {
  const { native, metadata, groups } = rig
  return orphanCollection({
    native, metadata, groups, drives: rig.online, reachable: rig.online, processId: 'this process', minAgeMs: -1000,
    guard: new Guard({ native, metadata, drives: rig.online }),
  })
}

test('what a move that goes on has brought so far stays', async () => {
  const { native, metadata, groups } = rig
  const { generation } = (await metadata.placementGroup(pgId))!
  assert.ok(await metadata.beginMove(pgId, 1, newcomer, generation))
  await groups.reload(pgId)
  const [row] = await metadata.blobsOfGroup(pgId, null, 1)
  await native.rebuildShardOn(storedBytes(row!), 1, newcomer)
  const counters = await run(orphans())
  assert.deepEqual(Object.keys(counters).filter((name) => name.includes('former members')), [])
  assert.equal((await shardsOn(newcomer)).length, 1)
})

test('each shard is rebuilt on a drive that had none of the group', async () => {
  const counters = await run(moves([AWAY], 3_600_000))
  assert.ok(counters['shards']! >= 1 && counters['members replaced']! >= 1, JSON.stringify(counters))
  const after = (await rig.metadata.placementGroups({ states: ['closed'] })).flatMap((group) => group.members)
  assert.ok(!after.includes(lost) && after.includes(newcomer))
  assert.equal((await shardsOn(newcomer)).length, objects.size)
  await readAll()
  // with the two that were there all the time away, the newcomer alone serves (1+2)
  const others = rig.online().filter((driveId) => driveId !== newcomer)
  for (const driveId of others) await rig.closeDrive(driveId)
  await readAll()
  for (const driveId of others) await rig.openDrive(driveId)
})

test('a group that holds nothing is not moved, and an intent that a mover has left in it is given up', async () => {
  const { metadata } = rig
  const [one, two] = rig.online() as [DriveId, DriveId]
  const empty = await metadata.openPlacementGroup(1, 2, [lost, one, two])
  await metadata.closePlacementGroup(empty.id)
  assert.equal((await run(moves([AWAY])))['members replaced'] ?? 0, 0)
  assert.deepEqual((await metadata.placementGroup(empty.id))!.members, empty.members)
  assert.ok(await metadata.beginMove(empty.id, 0, rig.online().find((driveId) => driveId !== one && driveId !== two)!, empty.generation))
  assert.equal((await run(moves([AWAY])))['moves given up'], 1)
  assert.deepEqual(await metadata.deleteEmptyGroups([empty.id], await metadata.identity()), [empty.id])
})

test('what comes back is no member any more: its shards go, those of members stay', async () => {
  await rig.openDrive(lost)
  assert.equal((await shardsOn(lost)).length, objects.size)
  // Work that began before a failover removes nothing.
  class BeforeFailover extends RemovalGuard {
    override async database() {
      const now = await super.database()
      return now && { ...now, timeline: now.timeline - 1 }
    }
  }
  assert.equal((await run(orphans(BeforeFailover)))['shards of former members removed'] ?? 0, 0)
  assert.equal((await shardsOn(lost)).length, objects.size)
  const counters = await run(orphans())
  assert.equal(counters['shards of former members removed'], objects.size)
  assert.deepEqual(await shardsOn(lost), [])
  assert.equal((await shardsOn(newcomer)).length, objects.size)
  await readAll()
})

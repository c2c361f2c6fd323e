/**
 * Six drives, 4+2, and one of them dies for good with no seventh there: over real drives and a real Postgres, what lies in
 * its groups is re-encoded into the widest code of the five, and back when it returns.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import type { ClusterView } from '../../../src/main/maintenance/cluster-view.ts'
import { groupUpkeep } from '../../../src/main/maintenance/groups-upkeep.ts'
import { shardMoves } from '../../../src/main/maintenance/moves.ts'
import { orphanCollection } from '../../../src/main/maintenance/orphans.ts'
import { reencoding, type ReencodingOptions } from '../../../src/main/maintenance/reencoding.ts'
import { RemovalGuard } from '../../../src/main/maintenance/removal-guard.ts'
import type { DriveId, NodeId } from '../../../src/shared/ids.ts'
import { GIB } from '../../../src/shared/limits.ts'
import { bytes } from '../../support/bytes.ts'
import { startStorage, type StorageRig } from '../../support/storage.ts'
import { HERE, run, silent as logger } from './stage.ts'

const AWAY = 'away' as NodeId
const OBJECTS = 12
let rig: StorageRig
let bucket: Bucket
let dead: DriveId
/** As gossip has it. */
let gone: NodeId[] = []
let freeBytes = GIB

before(async () => {
  rig = await startStorage(6)
  bucket = await rig.bucket()
  for (let i = 0; i < OBJECTS; i++) await rig.put(bucket, `object${i}`, bytes(100_000 + i, i))
  dead = rig.online()[2]!
  await upkeep()
})
after(() => rig.stop())

const cluster: ClusterView = {
  processId: 'this process', self: HERE, local: () => rig.online(), reachable: () => rig.online(), nodes: () => [HERE], isGone: (nodeId) => gone.includes(nodeId),
  placeable: () => rig.online().map((driveId) => ({ driveId, nodeId: HERE, zone: '', totalBytes: GIB })),
  freeBytes: () => freeBytes,
}
const options = (more: Partial<ReencodingOptions> = {}): ReencodingOptions => {
  const { native, metadata, groups } = rig
  return { native, metadata, groups, cluster, logger, delayMs: 0, batch: 5, ...more }
}
const reencode = (more?: Partial<ReencodingOptions>) => run(reencoding(options(more)))
const moves = () => run(shardMoves({ ...options(), native: rig.native, metadata: rig.metadata, moved: () => {} }))
async function upkeep(): Promise<void> {
  const { metadata, groups } = rig
  await run(groupUpkeep({ metadata, groups, cluster, delayMs: 0, emptyForMs: 0, database: () => Promise.resolve(null), inUse: () => Promise.resolve(new Set(groups.inUse)), groupSealed: () => {}, changed: () => {} }))
}

/** Live blobs by the code of their group. */
async function codes(): Promise<Record<string, number>> {
  const rows = await rig.database.sql<[string, number]>(`SELECT k || '+' || m, count(*)::int4 FROM blobs JOIN placement_groups ON pg_id = id WHERE refs > 0 GROUP BY 1`)
  return Object.fromEntries(rows)
}

async function readAll(): Promise<void> {
  for (let i = 0; i < OBJECTS; i++) assert.deepEqual(await rig.get(bucket, `object${i}`), bytes(100_000 + i, i), `object${i}`)
}

test('not while the drive may come back', async () => {
  await rig.metadata.registerNode({ nodeId: AWAY, addrs: [], grpcAddr: '', zone: '', version: '' }, 0)
  await rig.metadata.registerDrive({ driveId: dead, nodeId: AWAY, path: '/away', totalBytes: GIB })
  await rig.closeDrive(dead)
  // sealed once it is gone for good; what comes below must hold for closed groups
  gone = [AWAY]
  await upkeep()
  assert.ok((await rig.metadata.placementGroups()).every(({ state }) => state === 'closed'))
  assert.deepEqual(await codes(), { '4+2': OBJECTS })
  gone = []
  assert.deepEqual(await reencode(), {}, 'gossip still hears of it')
  gone = [AWAY]
  assert.deepEqual(await reencode({ delayMs: 3_600_000 }), {}, 'it may only be a reboot')
  assert.ok(await rig.metadata.renewLease(AWAY, 'the other process', 60_000, null))
  assert.deepEqual(await reencode(), {}, 'the other half of a partition renews its lease')
  await rig.metadata.releaseLease(AWAY, 'the other process')
})

test('not while another node is away that may come back', async () => {
  const [other] = rig.online()
  const rebooting = 'rebooting' as NodeId
  await rig.metadata.registerNode({ nodeId: rebooting, addrs: [], grpcAddr: '', zone: '', version: '' }, 60_000)
  await rig.metadata.registerDrive({ driveId: other!, nodeId: rebooting, path: '/rebooting', totalBytes: GIB })
  await rig.closeDrive(other!)
  assert.equal(rig.groups.code?.k, 2)
  assert.deepEqual(await reencode(), {})
  await rig.metadata.registerDrive({ driveId: other!, nodeId: HERE, path: rig.folderOf(other!), totalBytes: GIB })
  await rig.openDrive(other!)
})

test('not where a drive has no room: that is told, and nothing is written', async () => {
  freeBytes = GIB / 100
  const task = reencoding(options())
  assert.deepEqual(await run(task), {})
  assert.ok(task.noRoom.size > 0)
  assert.ok([...task.noRoom.values()].every((driveId) => rig.online().includes(driveId)))
  freeBytes = GIB
  const roomy = reencoding(options())
  await run({ ...roomy, round: (progress) => roomy.round(progress, AbortSignal.abort()) })
  assert.equal(roomy.noRoom.size, 0)
})

test('a node that is back in the middle keeps what it has', async () => {
  const native: ReencodingOptions['native'] = {
    reencodeBlob(blob, pgId) {
      gone = []
      return rig.native.reencodeBlob(blob, pgId)
    },
  }
  const { blobs } = await reencode({ native })
  gone = [AWAY]
  assert.ok(blobs! >= 1 && blobs! < OBJECTS, `${blobs} were re-encoded`)
  assert.deepEqual(await codes(), { '4+2': OBJECTS - blobs!, '3+2': blobs })
})

test('the rest is re-encoded into the code of the five: any two of them may go then', async () => {
  assert.deepEqual(await moves(), {}, 'no drive could stand in')
  await reencode()
  assert.deepEqual(await codes(), { '3+2': OBJECTS })
  assert.deepEqual([await reencode(), await moves()], [{}, {}])
  const two = rig.online().slice(1, 3)
  for (const driveId of two) await rig.closeDrive(driveId)
  await readAll()
  for (const driveId of two) await rig.openDrive(driveId)
})

test('the drive is back: all is 4+2 again and stays so, and what it held before is collected', async () => {
  gone = []
  await rig.openDrive(dead)
  await upkeep()
  assert.equal((await reencode())['blobs'], OBJECTS)
  assert.deepEqual(await codes(), { '4+2': OBJECTS })
  assert.deepEqual([await reencode(), await moves()], [{}, {}])
  const { native, metadata, groups } = rig
  const drives = rig.online
  const orphans = orphanCollection({
    native, metadata, groups, drives, reachable: drives, processId: 'this process', minAgeMs: -1000, guard: new RemovalGuard({ native, metadata, drives }),
  })
  await run(orphans)
  await run(orphans)
  const shards = await Promise.all(rig.online().map(async (driveId) => (await native.listShards(driveId, null, 10_000, Date.now() + 1000)).shards.length))
  assert.deepEqual(shards, Array.from({ length: 6 }, () => OBJECTS))
  await readAll()
})

/** Shards that a drive does not know of any more although rows name them: found without anybody reading them. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { inventory } from '../../../src/main/maintenance/inventory.ts'
import { DamageReports, shardRepair } from '../../../src/main/maintenance/repair.ts'
import type { BlobRow } from '../../../src/main/metadata/contract.ts'
import type { DriveId } from '../../../src/shared/ids.ts'
import type { Damage } from '../../../src/shared/native.ts'
import { segmentRecords } from '../../support/segments.ts'
import { startStorage, type StorageRig } from '../../support/storage.ts'
import { type MaintenanceStage, run, setStage, silent } from './stage.ts'

const OBJECTS = 7
let rig: StorageRig
let stage: MaintenanceStage
before(async () => {
  rig = await startStorage(3)
  stage = await setStage(rig, OBJECTS)
})
after(() => rig.stop())

const compare = (report: (missing: Damage) => void, drives: readonly DriveId[] = rig.online()) => {
  const task = inventory({ native: rig.native, metadata: rig.metadata, drives: () => [...drives], periodMs: 1, report, batch: 2 })
  task.hurry()
  return run(task)
}
const repair = () => run(shardRepair({ native: rig.native, metadata: rig.metadata, groups: rig.groups, logger: silent, drives: rig.online, mine: () => true }))
const blobs = async (): Promise<BlobRow[]> => (await Promise.all(stage.groups.map(({ id }) => rig.metadata.blobsOfGroup(id, null, 100)))).flat()

/** One bit of the header of each record of these shards. */
function hurtHeaders(driveId: DriveId, wanted: readonly BlobRow[]): number {
  const records = segmentRecords(rig.folderOf(driveId)).filter(({ blobId, pgId, kind }) => kind !== 'block' && wanted.some((row) => row.blobId === blobId && row.pgId === pgId))
  for (const { file, offset } of records) {
    const fd = openSync(file, 'r+')
    const byte = Buffer.alloc(1)
    readSync(fd, byte, 0, 1, offset + 20)
    byte[0]! ^= 4
    writeSync(fd, byte, 0, 1, offset + 20)
    closeSync(fd)
  }
  return records.length
}

test('where every shard is, nothing is reported', async () => {
  const counters = await compare(() => assert.fail('nothing is missing'))
  assert.deepEqual([counters['shards'], counters['missing'] ?? 0, counters['passes']], [3 * OBJECTS, 0, 3])
})

test('a damaged header hides a parity shard when the log is read anew: no read misses it, it is found and rebuilt', async () => {
  const [hidden, deleted] = await blobs() as [BlobRow, BlobRow]
  const group = stage.groups.find(({ id }) => id === hidden.pgId)!
  const parity = group.members.at(-1)!
  await rig.closeDrive(parity)
  assert.ok(hurtHeaders(parity, [hidden, deleted].filter(({ pgId }) => pgId === group.id)) > 0)
  rmSync(join(rig.folderOf(parity), 'index.redb'))
  await rig.openDrive(parity)
  const before = (await stage.shardsOn(parity)).length
  assert.ok(before < OBJECTS)

  const damage = new DamageReports(rig.metadata, silent)
  rig.native.setDamageListener((one) => damage.add(one))
  await stage.readAll()
  await damage.flush()
  assert.equal(await rig.metadata.repairCount(), 0, 'reads ask for the data only')

  const counters = await compare((missing) => damage.add(missing))
  await damage.flush()
  assert.equal(counters['missing'], OBJECTS - before)
  assert.equal(await rig.metadata.repairCount(), OBJECTS - before)
  await repair()
  assert.equal((await stage.shardsOn(parity)).length, OBJECTS)
  await compare(() => assert.fail('nothing is missing any more'))
  // and they are what they must be
  for (const driveId of group.members.slice(0, 2)) await rig.closeDrive(driveId)
  await stage.readAll()
  for (const driveId of group.members.slice(0, 2)) await rig.openDrive(driveId)
  await damage.stop()
})

test('what is deleted meanwhile, or lies on another member since, is not missing', async () => {
  const [row] = await blobs() as [BlobRow]
  const group = (await rig.metadata.placementGroup(row.pgId))!
  const [driveId] = group.members as [DriveId]
  await rig.native.deleteShards(driveId, [{ ...row, index: 0 }], [group.generation])
  const other = await rig.addDrive()
  const moved = { ...rig.metadata, placementGroup: async () => ({ ...group, members: [other, ...group.members.slice(1)] }) }
  const task = inventory({ native: rig.native, metadata: moved, drives: () => [driveId], periodMs: 1, report: () => assert.fail('it is no member any more') })
  task.hurry()
  await run(task)

  const found: Damage[] = []
  await compare((missing) => void found.push(missing), [driveId])
  assert.equal(found.length, 1)
  await rig.database.sql('UPDATE blobs SET refs = 0 WHERE blob_id = $1', [row.blobId])
  const damage = new DamageReports(rig.metadata, silent)
  damage.add(found[0]!)
  await damage.flush()
  assert.equal(await rig.metadata.repairCount(), 0)
  await damage.stop()
})

/** What re-encoding looks at, in which order, and what it leaves alone, over real drives and a real Postgres. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import type { ClusterView } from '../../../src/main/maintenance/cluster-view.ts'
import { reencoding, type ReencodingOptions } from '../../../src/main/maintenance/reencoding.ts'
import type { BlobId, DriveId, NodeId, PgId } from '../../../src/shared/ids.ts'
import { GIB, MIB } from '../../../src/shared/limits.ts'
import { bytes } from '../../support/bytes.ts'
import { blobRecord } from '../../support/metadata.ts'
import { startStorage, type StorageRig } from '../../support/storage.ts'
import { blobOfSlot } from './placing-nodes.ts'
import { HERE, run, silent } from './stage.ts'

const OTHER = 'other' as NodeId
let rig: StorageRig
let bucket: Bucket
let objects = 0

before(async () => {
  rig = await startStorage(0)
  bucket = await rig.bucket()
})
after(() => rig.stop())

const cluster = (more: Partial<ClusterView> = {}): ClusterView => ({
  processId: 'this process', self: HERE, local: rig.online, reachable: rig.online, nodes: () => [HERE], isGone: () => false, freeBytes: () => GIB,
  placeable: () => rig.online().map((driveId) => ({ driveId, nodeId: HERE, zone: '', totalBytes: GIB })), ...more,
})
const reencode = (more: Partial<ReencodingOptions> = {}) => {
  const { native, metadata, groups } = rig
  return reencoding({ native, metadata, groups, cluster: cluster(), logger: silent, delayMs: 0, ...more })
}

interface Written {
  key: string
  data: Buffer
  blobId: BlobId
  pgId: PgId
}

/** Writes an object with just these drives there; all of one slot, and so of one group as long as the drives are the same. */
async function write(...drives: DriveId[]): Promise<Written> {
  const { native, metadata, groups } = rig
  const others = rig.online().filter((driveId) => !drives.includes(driveId))
  for (const driveId of others) await rig.closeDrive(driveId)
  const [key, data, blobId] = [`object${objects}`, bytes(60_000 + objects, objects++), blobOfSlot(0)]
  const { group, release } = await groups.take(blobId)
  const handle = native.openUpload({
    bucketId: bucket.id, blobId, pgId: group.id, contentLength: data.length, maxBytes: MIB, awsChunked: null, inlineBytes: 0, md5: false, fastDigest: true,
    sha256: false, checksums: [], expectMd5: '', expectSha256: '', expectChecksum: '', expectChecksumAlgorithm: '', checksumTrailer: '', dataKey: Buffer.alloc(0),
  })
  native.uploadWrite(handle, data)
  const { size, stripeBytes, missing } = await native.uploadFinish(handle)
  assert.deepEqual(missing, [])
  await metadata.put(blobRecord(bucket.id, key, group.id, { size, body: { kind: 'blob', blob: { blobId, pgId: group.id, size, stripeBytes } } }), {}, [])
  release()
  for (const driveId of others) await rig.openDrive(driveId)
  return { key, data, blobId, pgId: group.id }
}

async function closeGroups(): Promise<void> {
  for (const { id } of await rig.metadata.placementGroups({ states: ['open', 'sealed'] })) await rig.metadata.closePlacementGroup(id)
  rig.groups.resetSlots()
}

async function writtenOn(...drives: DriveId[]): Promise<Written> {
  const written = await write(...drives)
  await closeGroups()
  return written
}
const blobIds = async (): Promise<BlobId[]> => (await rig.metadata.keptBlobs(bucket.id)).map(({ blobId }) => blobId)
const groupOf = async (blobId: BlobId): Promise<PgId> => (await rig.metadata.blob(bucket.id, blobId))!.pgId

/** Drives that hold nothing yet; nothing else is there. */
async function freshDrives(count: number): Promise<DriveId[]> {
  for (const driveId of rig.online()) await rig.closeDrive(driveId)
  for (const table of ['objects', 'blobs', 'placement_groups', 'drives', 'nodes']) await rig.database.sql(`DELETE FROM ${table}`)
  rig.groups.resetSlots()
  return Promise.all(Array.from({ length: count }, () => rig.addDrive()))
}

test('what could stand the least loss comes first', async () => {
  const [a, b, c] = await freshDrives(3) as [DriveId, DriveId, DriveId]
  const whole = await writtenOn(a, b)
  const halved = await writtenOn(b, c)
  assert.ok(whole.pgId < halved.pgId)
  await rig.closeDrive(c)
  await rig.metadata.setDriveState(c, 'lost')
  await rig.addDrive()
  const order: string[] = []
  const native: ReencodingOptions['native'] = {
    reencodeBlob(blob, pgId) {
      order.push(blob.blobId)
      return rig.native.reencodeBlob(blob, pgId)
    },
  }
  await run(reencode({ native }))
  assert.deepEqual(order, [halved.blobId, whole.blobId])
})

test('what cannot be read now is left alone until it can', async () => {
  const [a, b] = await freshDrives(5) as [DriveId, DriveId]
  const { blobId, pgId, key, data } = await writtenOn(a, b)
  for (const driveId of [a, b]) await rig.closeDrive(driveId)
  assert.deepEqual(await run(reencode()), {})
  await rig.openDrive(a)
  assert.equal((await run(reencode()))['blobs'], 1)
  assert.notEqual(await groupOf(blobId), pgId)
  assert.deepEqual(await rig.get(bucket, key), data)
})

test('a group that holds nothing is asked about once, and one of another node is left to it', async () => {
  const [a, b] = await freshDrives(3) as [DriveId, DriveId, DriveId]
  const empty = await rig.metadata.openPlacementGroup(1, 1, [a, b])
  await rig.metadata.closePlacementGroup(empty.id)
  let asked = 0
  const task = reencode({
    metadata: {
      ...rig.metadata,
      blobsOfGroup(...page) {
        asked++
        return rig.metadata.blobsOfGroup(...page)
      },
    },
  })
  await run(task)
  const once = asked
  await run(task)
  await run(task)
  assert.deepEqual([once > 0, asked], [true, once])

  const { blobId, pgId } = await writtenOn(a, b)
  assert.deepEqual(await run(reencode({ cluster: cluster({ nodes: () => [OTHER] }) })), {})
  assert.equal(await groupOf(blobId), pgId)
  assert.equal((await run(reencode()))['blobs'], 1)
})

const codeOf = async (id: PgId): Promise<string> => (({ k, m }) => `${k}+${m}`)((await rig.metadata.placementGroup(id))!)

test('what was begun under one database is not moved under another', async () => {
  const [a, b] = await freshDrives(3) as [DriveId, DriveId, DriveId]
  const { blobId, pgId, key, data } = await writtenOn(a, b)
  const identity = async () => {
    const now = await rig.metadata.identity()
    return { ...now, timeline: now.timeline - 1 }
  }
  assert.deepEqual(await run(reencode({ metadata: { ...rig.metadata, identity } })), { failures: 1 }, 'as before a failover')
  assert.equal(await groupOf(blobId), pgId)
  assert.equal((await run(reencode()))['blobs'], 1)
  assert.deepEqual(await rig.get(bucket, key), data)
})

test('what is deleted meanwhile stays deleted, and costs no group', async () => {
  const [a, b] = await freshDrives(3) as [DriveId, DriveId, DriveId]
  const { blobId, pgId, key } = await writtenOn(a, b)
  let into: PgId | undefined
  const native: ReencodingOptions['native'] = {
    async reencodeBlob(blob, id) {
      into = id as PgId
      await rig.metadata.delete(bucket.id, key, {})
      return rig.native.reencodeBlob(blob, id)
    },
  }
  assert.deepEqual(await run(reencode({ native })), {})
  assert.deepEqual([(await rig.metadata.blob(bucket.id, blobId))?.references, await groupOf(blobId)], [0, pgId])
  assert.equal((await rig.metadata.placementGroup(into!))!.state, 'open')
})

test('a batch ends when the code changes under it: the rest goes into the better one', async () => {
  const [a, b] = await freshDrives(3) as [DriveId, DriveId, DriveId]
  const all = []
  for (let i = 0; i < 8; i++) all.push(await write(a, b))
  await closeGroups()
  let more: Promise<DriveId> | undefined
  const into: string[] = []
  const native: ReencodingOptions['native'] = {
    async reencodeBlob(blob, pgId) {
      into.push(await codeOf(pgId as PgId))
      await (more ??= rig.addDrive())
      return rig.native.reencodeBlob(blob, pgId)
    },
  }
  const task = reencode({ native })
  await run(task)
  const narrow = into.length
  assert.ok(narrow <= 4, into.join(' '))
  await run(task)
  assert.deepEqual(into, Array.from({ length: 8 }, (_, i) => (i < narrow ? '1+2' : '2+2')))
  for (const { key, data } of all) assert.deepEqual(await rig.get(bucket, key), data)
})

test('a node that is back in the middle of a batch keeps what it has', async () => {
  const [a, b, c, d] = await freshDrives(4) as [DriveId, DriveId, DriveId, DriveId]
  for (let i = 0; i < 8; i++) await write(a, b, c, d)
  await closeGroups()
  const [{ pgId }] = [await rig.metadata.blob(bucket.id, (await blobIds())[0]!)] as [{ pgId: PgId }]
  const dead = (await rig.metadata.placementGroup(pgId))!.members[0]!
  await rig.metadata.registerNode({ nodeId: OTHER, addrs: [], grpcAddr: '', zone: '', version: '' }, 0)
  await rig.metadata.registerDrive({ driveId: dead, nodeId: OTHER, path: '/other', totalBytes: GIB })
  await rig.metadata.releaseLease(OTHER, 'process')
  await rig.closeDrive(dead)
  let back = false
  const native: ReencodingOptions['native'] = {
    reencodeBlob(blob, into) {
      back = true
      return rig.native.reencodeBlob(blob, into)
    },
  }
  const { blobs } = await run(reencode({ native, cluster: cluster({ isGone: (nodeId) => nodeId === OTHER && !back }) }))
  assert.ok(blobs! >= 1 && blobs! <= 4, `${blobs} were under way`)
})

test('where a drive has no room for a batch nothing more of it is tried', async () => {
  const [a, b] = await freshDrives(3) as [DriveId, DriveId, DriveId]
  for (let i = 0; i < 8; i++) await write(a, b)
  await closeGroups()
  // of 1 GiB a tenth is the reserve and a fiftieth is kept: room for two shards of 60,000 bytes
  const freeBytes = Math.ceil(GIB * 0.1 + GIB * 0.02) + 150_000
  const task = reencode({ cluster: cluster({ freeBytes: () => freeBytes }) })
  assert.deepEqual((await run(task))['blobs'], 2)
  assert.equal(task.noRoom.size, 1)
})

/** The object store over real drives and a real Postgres, without HTTP: what one node has below its gateway. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Bucket, Directory } from '../../src/main/directory/contract.ts'
import type { BodySink, GetResult, ReadKey, RequestedEncryption } from '../../src/main/objects/contract.ts'
import { unspecifiedBody } from '../../src/main/objects/body-writer.ts'
import { RunningReads } from '../../src/main/objects/running-reads.ts'
import { AnvilObjectStore } from '../../src/main/objects/store.ts'
import type { ObjectMetadata } from '../../src/main/metadata/contract.ts'
import { PlacementGroups, type DriveView } from '../../src/main/placement/groups.ts'
import { createKeyring } from '../../src/main/secrets/keyring.ts'
import { randomId, type DeploymentId, type DriveId, type NodeId, type TenantId } from '../../src/shared/ids.ts'
import { GIB } from '../../src/shared/limits.ts'
import type { Native } from '../../src/shared/native.ts'
import { startMetadata, type TestMetadata } from './metadata.ts'
import { testNative } from './native.ts'

export interface StorageRig {
  native: Native
  database: TestMetadata
  metadata: ObjectMetadata
  groups: PlacementGroups
  runningReads: RunningReads
  store: AnvilObjectStore
  /** Drives that are open. */
  online(): DriveId[]
  /** Makes a drive and opens it. */
  addDrive(): Promise<DriveId>
  /** The disk is away: nothing of it answers. */
  closeDrive(driveId: DriveId): Promise<void>
  openDrive(driveId: DriveId): Promise<void>
  folderOf(driveId: DriveId): string
  bucket(more?: Partial<Bucket>): Promise<Bucket>
  put(bucket: Bucket, key: string, data: Buffer, encryption?: RequestedEncryption): Promise<void>
  get(bucket: Bucket, key: string, readKey?: ReadKey): Promise<Buffer>
  /** A store of another gateway thread: caches of its own, the same drives and database. */
  thread(metadata?: ObjectMetadata, native?: Native): { store: AnvilObjectStore; groups: PlacementGroups }
  stop(): Promise<void>
}

export async function startStorage(drives: number): Promise<StorageRig> {
  const native = testNative()
  const folder = mkdtempSync(join(tmpdir(), 'anvil-storage-'))
  const database = await startMetadata()
  const { metadata } = database
  const deploymentId = randomId<DeploymentId>()
  const nodeId = 'node' as NodeId
  const open = new Set<DriveId>()
  const runningReads = new RunningReads()
  const keys = createKeyring([{ id: 'one', key: randomBytes(32) }])
  let view: DriveView = { version: 1, drives: [], everTwoDrives: false }
  const look = (): void => {
    view = {
      version: view.version + 1,
      drives: [...open].map((driveId) => ({ driveId, nodeId, zone: '', totalBytes: GIB })),
      everTwoDrives: view.everTwoDrives || open.size > 1,
    }
  }
  const folderOf = (driveId: DriveId): string => join(folder, driveId)
  const openDrive = async (driveId: DriveId): Promise<void> => {
    await native.openDrive({ path: folderOf(driveId), deploymentId, driveId, reserveBytes: 0 })
    open.add(driveId)
    look()
  }
  const thread: StorageRig['thread'] = (own = metadata, addon = native) => {
    const groups = new PlacementGroups({ metadata: own, native: addon, view: () => view, erasureCode: 'auto', allowUnprotectedWrites: false })
    return { groups, store: new AnvilObjectStore({ native: addon, groups, etag: 'md5', metadata: own, keys, directory: {} as Directory, runningReads }) }
  }
  const { groups, store } = thread()
  const rig: StorageRig = {
    native, database, metadata, groups, runningReads, store, folderOf, openDrive, thread,
    online: () => [...open],
    async addDrive() {
      const driveId = randomId<DriveId>()
      await native.createDrive(folderOf(driveId), deploymentId, driveId)
      await metadata.registerDrive({ driveId, nodeId, path: folderOf(driveId), totalBytes: GIB })
      await openDrive(driveId)
      return driveId
    },
    async closeDrive(driveId) {
      open.delete(driveId)
      look()
      await native.closeDrive(driveId)
    },
    async bucket(more = {}) {
      const id = await database.bucket()
      return { id, name: `bucket${id}`, tenantId: 1 as TenantId, region: 'local', regionEndpoint: '', createdMs: 0, defaultEncryption: false, publicAccess: false, ...more }
    },
    async put(bucket, key, data, encryption = { kind: 'bucket-default' }) {
      const sink = await store.putObject({
        bucket, key, headers: {}, userMetadata: {}, storageClass: 'STANDARD', body: unspecifiedBody(data.length, null), encryption, condition: {},
      })
      await feed(sink, data)
    },
    async get(bucket, key, readKey = null) {
      return collect(await store.getObject({ bucket, key, conditions: {}, range: { kind: 'whole' }, readKey }))
    },
    async stop() {
      for (const driveId of open) await native.closeDrive(driveId)
      await database.stop()
      if (existsSync(folder)) rmSync(folder, { recursive: true })
    },
  }
  for (let i = 0; i < drives; i++) await rig.addDrive()
  return rig
}

export async function feed<Result>(sink: BodySink<Result>, data: Buffer): Promise<Result> {
  for (let at = 0; at < data.length; at += 256 * 1024) if (!sink.write(data.subarray(at, at + 256 * 1024))) await sink.drained()
  return sink.finish()
}

/** All bytes of a body; closes it. */
export async function collect({ body, start, end }: GetResult): Promise<Buffer> {
  const data = Buffer.alloc(end - start)
  let at = 0
  try {
    while (at < data.length && (await body.ready()) > 0) at += body.copy(data.subarray(at))
  } finally {
    body.close()
  }
  return data.subarray(0, at)
}

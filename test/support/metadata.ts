/** Regional metadata on a real Postgres, and the records that its tests write. */
import pg from 'pg'
import { openObjectMetadata, type MetadataOptions } from '../../src/main/metadata/index.ts'
import type { ObjectMetadata, ObjectRecord, PlacementGroup } from '../../src/main/metadata/contract.ts'
import type { Logger } from '../../src/main/metadata/logger.ts'
import { newBlobId, randomId, type BlobId, type BucketId, type DriveId, type PgId, type UploadId } from '../../src/shared/ids.ts'
import { migrate, startPostgres, type StartOptions, type TestPostgres } from './postgres.ts'

export const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} }

export interface TestMetadata {
  postgres: TestPostgres
  metadata: ObjectMetadata
  /** A second node on the same database. */
  another(options?: Partial<MetadataOptions>): Promise<ObjectMetadata>
  /** A bucket of its own for each test. */
  bucket(): Promise<BucketId>
  /** An open group of six new drives, 4+2. */
  group(): Promise<PlacementGroup>
  /** Rows of a statement, past the code under test. */
  sql<Row extends unknown[] = unknown[]>(text: string, values?: unknown[]): Promise<Row[]>
  stop(): Promise<void>
}

export async function startMetadata(options: Partial<MetadataOptions> = {}, start: StartOptions = {}): Promise<TestMetadata> {
  const postgres = await startPostgres(start)
  await migrate(postgres.config, 'regional')
  const opened: ObjectMetadata[] = []
  const open = async (more: Partial<MetadataOptions> = {}): Promise<ObjectMetadata> => {
    const metadata = await openObjectMetadata({ connection: postgres.config, logger: silent, tidyEveryMs: 0, ...options, ...more })
    opened.push(metadata)
    return metadata
  }
  const metadata = await open()
  const direct = new pg.Pool({ ...postgres.config, max: 1 })
  direct.on('error', () => undefined) // Tests kill Postgres.
  let buckets = 0
  return {
    postgres,
    metadata,
    another: open,
    async bucket() {
      const bucketId = ++buckets as BucketId
      await metadata.createBucketState(bucketId)
      return bucketId
    },
    group: () => metadata.openPlacementGroup(4, 2, drives(6)),
    async sql<Row extends unknown[]>(text: string, values: unknown[] = []) {
      return (await direct.query<Row>({ text, values, rowMode: 'array' })).rows
    },
    async stop() {
      await direct.end()
      for (const each of opened) await each.close()
      await postgres.stop()
    },
  }
}

export const drives = (count: number): DriveId[] => Array.from({ length: count }, () => randomId<DriveId>())

const plain = {
  etag: 'd41d8cd98f00b204e9800998ecf8427e',
  modifiedMs: 0,
  storageClass: 'STANDARD',
  headers: {},
  userMetadata: {},
  checksum: null,
  encryption: { kind: 'none' as const },
}

export const inlineRecord = (bucketId: BucketId, key: string, data = 'x', more: Partial<ObjectRecord> = {}): ObjectRecord => ({
  ...plain,
  bucketId,
  key,
  size: Buffer.byteLength(data),
  body: { kind: 'inline', blobId: newBlobId(), data: Buffer.from(data) },
  ...more,
})

export function blobRecord(bucketId: BucketId, key: string, pgId: PgId, more: Partial<ObjectRecord> & { blobId?: BlobId } = {}): ObjectRecord {
  const { blobId = newBlobId(), ...rest } = more
  const size = rest.size ?? 100_000
  return { ...plain, bucketId, key, size, body: { kind: 'blob', blob: { blobId, pgId, size, stripeBytes: 65536 } }, ...rest }
}

/** The id of what a record holds. */
export function contentOf({ body }: ObjectRecord): BlobId | UploadId {
  return body.kind === 'parts' ? body.uploadId : body.kind === 'blob' ? body.blob.blobId : body.blobId
}

/** A transaction on a connection of its own that stays open until `end`. */
export async function openTransaction({ postgres }: Pick<TestMetadata, 'postgres'>, ...statements: string[]): Promise<{ end(how: 'COMMIT' | 'ROLLBACK'): Promise<void> }> {
  const client = new pg.Client(postgres.config)
  await client.connect()
  for (const statement of ['BEGIN', ...statements]) await client.query(statement)
  return {
    async end(how) {
      await client.query(how)
      await client.end()
    },
  }
}

/** Puts the regional metadata together: connections, the writer, and a class for each family of tables. */
import type { ClientConfig } from 'pg'
import { METADATA_WAIT_MS } from '../../shared/limits.ts'
import { Blobs } from './blobs.ts'
import { Buckets } from './buckets.ts'
import { Condemned } from './condemned.ts'
import type { ObjectMetadata } from './contract.ts'
import { Copies } from './copies.ts'
import { DeletedGroups } from './deleted-groups.ts'
import { GarbageQueue } from './garbage.ts'
import { GroupCommit } from './group-commit.ts'
import { Identity } from './identity.ts'
import { Ledger } from './ledger.ts'
import { Listing } from './listing.ts'
import type { Logger } from './logger.ts'
import { Nodes } from './nodes.ts'
import { ObjectParts } from './object-parts.ts'
import { Objects } from './objects.ts'
import { PlacementGroups } from './placement-groups.ts'
import { Pool, type PoolOptions } from './pool.ts'
import { WRITER_SETUP } from './programs.ts'
import { Reader } from './reader.ts'
import { Repairs } from './repairs.ts'
import { claimDeployment, counts, Health } from './status.ts'
import { Transactions } from './transaction.ts'
import { UploadListing } from './upload-listing.ts'
import { Uploads } from './uploads.ts'

export interface MetadataOptions {
  /** A URL, or pg's settings. The database has been migrated. */
  connection: string | ClientConfig
  logger: Logger
  /** How long a request waits for Postgres. @default METADATA_WAIT_MS */
  waitMs?: number
  /** A connection whose answer takes longer counts as lost; statements are stopped a little earlier. @default 5000 */
  answerTimeoutMs?: number
  /** Batches of the writer under way at once. @default 2 */
  writers?: number
  /** Coalesced reads under way at once. @default 3 */
  readers?: number
  /** Connections for everything else in the foreground. @default 8 */
  connections?: number
  /** Reads of a node whose lease ended longer ago hold no garbage back. @default one hour */
  deadNodeGraceMs?: number
  /** How long a removal waits for standbys to catch up, before it is put off. @default 5 s */
  standbyWaitMs?: number
  /** How often `tidy` runs by itself; 0: never. @default 10 s */
  tidyEveryMs?: number
  /** Told of each batch of the writer: its rows, and how long it took until its outcome was known. */
  onBatch?: (rows: number, durationMs: number) => void
}

const BACKGROUND_TIMEOUT_MS = 60_000
/** Completing and aborting uploads. */
const LONG_TIMEOUT_MS = 30_000
const LONG_CONNECTIONS = 4
const BACKGROUND_CONNECTIONS = 2
/** How long judging waits for transactions older than a condemnation. */
const HORIZON_WAIT_MS = 30_000
/** How long a committed batch of a writer that is gone stays in the ledger. */
const LEDGER_KEPT_MS = 24 * 3_600_000

/** Connects, and fails when the server can never do (too old, not UTF-8) or does not answer in time. */
export async function openObjectMetadata(options: MetadataOptions): Promise<ObjectMetadata> {
  const { logger, waitMs = METADATA_WAIT_MS, answerTimeoutMs = 5000, writers = 2, readers = 3, tidyEveryMs = 10_000 } = options
  const config = typeof options.connection === 'string' ? { connectionString: options.connection } : options.connection
  const health = new Health(logger)
  const common: PoolOptions = {
    config, logger, waitMs, answerTimeoutMs,
    statementTimeoutMs: Math.round(answerTimeoutMs * 0.9),
    lockTimeoutMs: Math.round(answerTimeoutMs * 0.6),
    connectTimeoutMs: answerTimeoutMs,
    pipeline: false,
    setup: '',
    size: options.connections ?? 8,
    onConnect: health.noteConnect,
  }
  const pool = new Pool(common)
  const readPool = new Pool({ ...common, size: readers })
  const writePool = new Pool({ ...common, size: writers, setup: WRITER_SETUP })
  const background = new Pool({
    ...common,
    size: BACKGROUND_CONNECTIONS,
    answerTimeoutMs: BACKGROUND_TIMEOUT_MS,
    statementTimeoutMs: BACKGROUND_TIMEOUT_MS * 0.9,
  })
  const longPool = new Pool({ ...common, size: LONG_CONNECTIONS, answerTimeoutMs: LONG_TIMEOUT_MS, statementTimeoutMs: LONG_TIMEOUT_MS * 0.9 })
  const pools = [pool, readPool, writePool, background, longPool]

  const ledger = new Ledger(pool)
  const transactions = new Transactions(pool, ledger)
  const backgroundTransactions = new Transactions(background, ledger)
  const identity = new Identity(background, logger, options.standbyWaitMs ?? 5000)
  const reader = new Reader(readPool, readers)
  const groups = new PlacementGroups(pool, transactions, logger)
  const deletedGroups = new DeletedGroups(background, backgroundTransactions)
  const commits = new GroupCommit({
    pool: writePool, ledger, logger, waitMs,
    lanes: writers,
    onBatch: options.onBatch ?? (() => {}),
    onCommitted: (pgId, bytes) => groups.addBytes(pgId, bytes),
    holds: async ({ bucketId, key, record }) => {
      const live = await reader.get(bucketId, key)
      if (live?.body.kind !== 'blob' || record?.body.kind !== 'blob' || live.body.blob.blobId !== record.body.blob.blobId) return false
      // The commit that wrote it may not have reached the standby: one that comes after it tells (rule 1).
      await transactions.run(async () => {})
      return true
    },
  })
  const objects = new Objects(commits)
  const copies = new Copies(transactions, objects)
  const listing = new Listing(pool)
  const uploads = new Uploads(pool, transactions, new Transactions(longPool, ledger), groups)
  const uploadListing = new UploadListing(pool)
  const parts = new ObjectParts(readPool)
  const buckets = new Buckets(pool, transactions)
  const blobs = new Blobs(pool, background, transactions, groups)
  const nodes = new Nodes(pool)
  const garbage = new GarbageQueue(background, backgroundTransactions, identity, { deadNodeGraceMs: options.deadNodeGraceMs ?? 3_600_000 })
  const repairs = new Repairs(background, backgroundTransactions)
  const condemned = new Condemned(background, backgroundTransactions, identity, logger, HORIZON_WAIT_MS)

  const tidy = async (): Promise<void> => {
    await groups.flushBytes()
    await ledger.tidy(LEDGER_KEPT_MS)
    await uploads.tidyAnswers()
    await garbage.tidyManifests()
    await nodes.tidyLeases()
  }
  let tidying: Promise<void> | null = null
  try {
    pool.release(await pool.acquire())
  } catch (error) {
    await Promise.all(pools.map((each) => each.close()))
    throw error
  }

  const timer = tidyEveryMs === 0 ? null : setInterval(() => {
    tidying ??= tidy()
      .catch((error: unknown) => logger.warn({ err: error }, 'tidying the metadata failed, it runs again later'))
      .finally(() => (tidying = null))
  }, tidyEveryMs)
  timer?.unref()

  return {
    get: (bucketId, key) => reader.get(bucketId, key),
    getMany: (bucketId, keys) => reader.getMany(bucketId, keys),
    put: (record, condition, missing) => objects.put(record, condition, missing),
    putReference: (record, condition) => copies.putReference(record, condition),
    delete: (bucketId, key, condition) => objects.delete(bucketId, key, condition),
    deleteMany: (bucketId, keys) => objects.deleteMany(bucketId, keys),
    list: (request) => listing.list(request),

    createUpload: (upload) => uploads.createUpload(upload),
    upload: (bucketId, key, uploadId) => uploads.upload(bucketId, key, uploadId),
    putPart: (bucketId, uploadId, part, missing) => uploads.putPart(bucketId, uploadId, part, missing),
    listParts: (bucketId, uploadId, after, limit) => uploads.listParts(bucketId, uploadId, after, limit),
    listUploads: (request) => uploadListing.listUploads(request),
    completeUpload: (request) => uploads.completeUpload(request),
    abortUpload: (bucketId, key, uploadId) => uploads.abortUpload(bucketId, key, uploadId),
    objectParts: (bucketId, uploadId, from, to) => parts.objectParts(bucketId, uploadId, from, to),
    objectPart: (bucketId, uploadId, partNumber) => parts.objectPart(bucketId, uploadId, partNumber),
    objectPartsPage: (bucketId, uploadId, after, limit) => parts.objectPartsPage(bucketId, uploadId, after, limit),

    createBucketState: (bucketId) => buckets.createBucketState(bucketId),
    beginDeleteBucket: (bucketId) => buckets.beginDeleteBucket(bucketId),
    finishDeleteBucket: (bucketId) => buckets.finishDeleteBucket(bucketId),
    deletingBuckets: () => buckets.deletingBuckets(),

    blob: (bucketId, blobId) => blobs.blob(bucketId, blobId),
    blobs: (bucketId, blobIds) => blobs.blobs(bucketId, blobIds),
    keepBlob: (bucketId, blob, missing) => blobs.keepBlob(bucketId, blob, missing),
    dropBlob: (bucketId, blobId) => blobs.dropBlob(bucketId, blobId),
    keptBlobs: (bucketId) => blobs.keptBlobs(bucketId),
    placementGroup: (id) => groups.placementGroup(id),
    placementGroups: (filter) => groups.placementGroups(filter),
    openPlacementGroup: (k, m, members) => groups.openPlacementGroup(k, m, members),
    sealPlacementGroup: (id) => groups.sealPlacementGroup(id),
    closableGroups: () => groups.closableGroups(),
    closePlacementGroup: (id) => groups.closePlacementGroup(id),
    closedGroups: (groupsAfter, limit) => groups.closedGroups(groupsAfter, limit),
    deleteEmptyGroups: (ids, under) => deletedGroups.deleteEmptyGroups(ids, under),
    deletedGroup: (id) => deletedGroups.deletedGroup(id),
    beginMove: (id, index, to, generation) => groups.beginMove(id, index, to, generation),
    giveUpMove: (id, generation) => groups.giveUpMove(id, generation),
    replaceMember: (id, index, from, to, generation, under) => groups.replaceMember(id, index, from, to, generation, under),
    moveBlob: (bucketId, blobId, from, to, missing, under) => blobs.moveBlob(bucketId, blobId, from, to, missing, under),
    blobsOfGroup: (pgId, after, limit) => blobs.blobsOfGroup(pgId, after, limit),

    registerNode: (node, leaseMs) => nodes.registerNode(node, leaseMs),
    takeOverLease: (nodeId, deadProcessIds, processId) => nodes.takeOverLease(nodeId, deadProcessIds, processId),
    releaseLease: (nodeId, processId) => nodes.releaseLease(nodeId, processId),
    renewLease: (nodeId, processId, leaseMs, oldestReadMs, report) => nodes.renewLease(nodeId, processId, leaseMs, oldestReadMs, report),
    wantedGroups: () => nodes.wantedGroups(),
    nodes: () => nodes.nodes(),
    repairWithoutDelay: () => nodes.repairWithoutDelay(),
    removeNode: (nodeId) => nodes.removeNode(nodeId),
    registerDrive: (drive) => nodes.registerDrive(drive),
    setDriveState: (driveId, state) => nodes.setDriveState(driveId, state),
    drives: () => nodes.drives(),
    lease: (name, holder, leaseMs) => nodes.lease(name, holder, leaseMs),
    releaseLeases: (holder) => nodes.releaseLeases(holder),
    claimDeployment: (deploymentId, region) => claimDeployment(pool, deploymentId, region),

    identity: () => identity.identity(),
    garbage: (limit, after, droppedIn) => garbage.garbage(limit, after, droppedIn),
    forgetGarbage: (items, under) => garbage.forgetGarbage(items, under),
    repairs: (limit, after) => repairs.repairs(limit, after),
    reportDamage: (entries) => repairs.reportDamage(entries),
    forgetRepair: (entryIds, under) => repairs.forgetRepair(entryIds, under),
    repairCount: () => repairs.repairCount(),
    repairBacklog: () => repairs.repairBacklog(),
    mayRemove: (under) => identity.mayRemove(under),
    condemn: (suspects) => condemned.condemn(suspects),
    condemned: (limit, after) => condemned.condemned(limit, after),
    judgeCondemned: (suspects, under, beforeMs) => condemned.judgeCondemned(suspects, under, beforeMs),
    forgetCondemned: (items) => condemned.forgetCondemned(items),
    forgetCondemnedOfDeletedGroups: () => deletedGroups.forgetCondemned(),
    expireUploads: (idleMs, limit) => uploads.expireUploads(idleMs, limit),

    tidy,
    counts: () => counts(background),
    health: health.health,
    async close() {
      if (timer !== null) clearInterval(timer)
      await commits.close()
      await tidying
      if (health.health().state === 'ok') await groups.flushBytes()
      await Promise.all(pools.map((each) => each.close()))
    },
  }
}

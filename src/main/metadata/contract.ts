/**
 * The regional metadata: what Postgres knows of objects, blobs, placement groups and pending work, in Anvil's terms.
 * Implemented in this folder against Postgres 18; DESIGN §9 and §13 say how. Nothing here knows HTTP or S3's XML.
 *
 * Every method may throw AnvilError MetadataUnavailable when Postgres is away longer than METADATA_WAIT_MS.
 */
import type { BlobId, BucketId, DeploymentId, DriveId, NodeId, PgId, UploadId } from '../../shared/ids.ts'
import type { ChecksumAlgorithm } from '../../shared/native.ts'

// --------------------------------------------------------------------------------------------------------------- objects

export interface Checksum {
  algorithm: ChecksumAlgorithm
  type: 'FULL_OBJECT' | 'COMPOSITE'
  /** base64; composite ones end in `-N`. */
  value: string
}

/** How a body is encrypted. Keys are never in here in the clear. */
export type Encryption =
  | { kind: 'none' }
  /** SSE-S3: the 32-byte data key, wrapped by the key of ANVIL_SECRET_ENCRYPTION_KEY with id `keyId`. base64. */
  | { kind: 's3'; keyId: string; wrappedKey: string }
  /** SSE-C: the data key wrapped by the client's key; MD5 of the client's key (base64) to tell a wrong one. */
  | { kind: 'c'; keyMd5: string; wrappedKey: string }

/** Where the bytes of one blob lie and how they are cut. `pgId` is a hint: the blob's own row is the truth. */
export interface BlobLayout {
  blobId: BlobId
  pgId: PgId
  /** Plaintext bytes. */
  size: number
  stripeBytes: number
}

export type Body =
  /** The bytes themselves (sealed when encrypted; blobId then seeds the AEAD). */
  | { kind: 'inline'; blobId: BlobId; data: Buffer }
  | { kind: 'blob'; blob: BlobLayout }
  /** A completed multipart upload: its parts are in `parts`. */
  | { kind: 'parts'; uploadId: UploadId; partCount: number }

/** Headers that are kept with an object and given back as they came. Lower-case names. */
export interface StoredHeaders {
  'content-type'?: string
  'cache-control'?: string
  'content-disposition'?: string
  'content-encoding'?: string
  'content-language'?: string
  expires?: string
  'x-amz-website-redirect-location'?: string
}

export interface ObjectRecord {
  bucketId: BucketId
  key: string
  size: number
  /** Without quotes. */
  etag: string
  modifiedMs: number
  storageClass: string
  headers: StoredHeaders
  /** x-amz-meta-*: names without the prefix, lower case. */
  userMetadata: Record<string, string>
  checksum: Checksum | null
  encryption: Encryption
  body: Body
}

/** S3's If-Match / If-None-Match on writes. ETags without quotes. */
export interface WriteCondition {
  /** The key must be absent. */
  ifNoneMatch?: '*'
  /** The live object must have this ETag (`*`: must exist). NoSuchKey if there is none. */
  ifMatch?: string
}

/** A shard that its member did not make durable (DESIGN §5.5): goes to the repair queue in the object's transaction. */
export interface MissingShard {
  blobId: BlobId
  pgId: PgId
  index: number
}

export interface PutOutcome {
  /** Of the row as committed: the database's order, not this node's clock. */
  modifiedMs: number
}

export interface ListRequest {
  bucketId: BucketId
  prefix: string
  /** '' for none; any string otherwise. */
  delimiter: string
  /** Exclusive: keys (and common prefixes) after this. '' from the start. A common prefix as marker skips all that it covers. */
  after: string
  limit: number
}

export type ListEntry =
  | { kind: 'object'; key: string; size: number; etag: string; modifiedMs: number; storageClass: string; checksum: Checksum | null }
  | { kind: 'prefix'; prefix: string }

export interface ListPage {
  entries: ListEntry[]
  /** Whether there is more after the last entry. */
  truncated: boolean
}

// ------------------------------------------------------------------------------------------------------------- multipart

export interface UploadRecord {
  bucketId: BucketId
  uploadId: UploadId
  key: string
  /** Client id of the app that started it. */
  initiator: string
  startedMs: number
  storageClass: string
  headers: StoredHeaders
  userMetadata: Record<string, string>
  /** What the client asked for at CreateMultipartUpload. */
  checksumAlgorithm: ChecksumAlgorithm | null
  checksumType: 'FULL_OBJECT' | 'COMPOSITE' | null
  encryption: Encryption
}

export interface PartRecord {
  partNumber: number
  size: number
  etag: string
  /** Hex MD5 bytes are the etag where it is one; parts keep their checksum for composite values and CompleteMultipartUpload. */
  checksum: { algorithm: ChecksumAlgorithm; value: string } | null
  modifiedMs: number
  /** Parts are blobs or, if tiny, inline. */
  body: Exclude<Body, { kind: 'parts' }>
}

/** A part of a completed object with its place in it. */
export interface ObjectPart extends PartRecord {
  /** Of its first byte in the object. */
  offset: number
}

export interface CompleteRequest {
  bucketId: BucketId
  uploadId: UploadId
  key: string
  /** As the client listed them, ascending. Checked against what is stored, in the transaction. */
  parts: { partNumber: number; etag: string; checksum?: string }[]
  condition: WriteCondition
  /**
   * Called inside the transaction with the stored records of exactly the listed parts, in order: checks sizes and
   * checksums (may throw an AnvilError, which rolls back) and makes the object's ETag, checksum and size.
   */
  assemble(upload: UploadRecord, parts: PartRecord[]): { size: number; etag: string; checksum: Checksum | null }
}

export interface CompleteOutcome {
  etag: string
  checksum: Checksum | null
  size: number
  encryption: Encryption
  /** True when this answers a retry of a Complete that had already won (kept 24 h). */
  repeated: boolean
}

// ---------------------------------------------------------------------------------------------- placement groups, drives

export type PgState = 'open' | 'sealed' | 'closed'

export interface PlacementGroup {
  id: PgId
  k: number
  m: number
  members: DriveId[]
  state: PgState
  /** Timeline and generation in one number, as `PgDefinition.generation` wants it. */
  generation: number
  /** Bytes committed into it so far (plaintext sizes, approximate). */
  bytes: number
  /** By the database's clock. */
  openedMs: number
  /** The intent of a move under way (`beginMove`): this drive counts as a member too. */
  incoming: { index: number; drive: DriveId } | null
}

export interface DriveRecord {
  driveId: DriveId
  nodeId: NodeId
  path: string
  totalBytes: number
  /** `active`; `lost`: an operator said that it is gone (drive replace), its shards are to be rebuilt elsewhere. */
  state: 'active' | 'lost'
}

export interface NodeRecord {
  nodeId: NodeId
  addrs: string[]
  grpcAddr: string
  zone: string
  version: string
  /** By the database's clock, when the lease ends. */
  leaseUntilMs: number
  /** For how long it has had no lease, by the database's clock; 0 while it has one. */
  awayMs: number
  /** What its lease is now, by the database's clock; given back at a stop in order. */
  lease: 'held' | 'expired' | 'released'
}

/** What a node says of itself when it starts. */
export type NodeRegistration = Omit<NodeRecord, 'leaseUntilMs' | 'awayMs' | 'lease'>

/** What a node says with its lease. */
export interface NodeReport {
  /** When it was asked, by this host's clock; null: now. */
  askedMs: number | null
  /** Groups with an upload of the node in them. */
  inUse: readonly PgId[]
  /** Which groups its slots want (`groupDigest`); null: as it said last. */
  wanted: readonly number[] | null
}

// ------------------------------------------------------------------------------------------------------- background work

export interface BlobRow {
  bucketId: BucketId
  blobId: BlobId
  pgId: PgId
  /** Plaintext bytes, bytes of a stripe, whether stripes carry AEAD tags: all that a rebuild needs, without any key. */
  size: number
  stripeBytes: number
  encrypted: boolean
  references: number
}

/** A blob whose last reference went: its shards may be removed once no read is older than `deletedMs`. */
export interface Garbage {
  bucketId: BucketId
  blobId: BlobId
  pgId: PgId
  deletedMs: number
}

/** One damaged or absent shard. `entryId` is new for each report (§13, rule 7). */
export interface RepairEntry {
  entryId: number
  bucketId: BucketId
  blobId: BlobId
  pgId: PgId
  index: number
  reason: 'left-out' | 'crc' | 'missing' | 'io' | 'drive-lost'
  reportedMs: number
}

/**
 * What a removal rests on: which database, which timeline (§13, rule 3). Background work notes it when it begins and gives
 * it to the calls that end it (`under`): they throw MetadataUnavailable when the database is another one by then, or takes
 * no writes.
 */
export interface DatabaseIdentity {
  systemId: string
  timeline: number
  readWrite: boolean
}

export interface ObjectMetadata {
  // objects
  get(bucketId: BucketId, key: string): Promise<ObjectRecord | null>
  /** Several at once, in the order asked for (DeleteObjects, batches). */
  getMany(bucketId: BucketId, keys: string[]): Promise<(ObjectRecord | null)[]>
  /**
   * Writes the live version of a key; resolves when it is committed and durable. The replaced blob loses its reference in
   * the same transaction. @throws AnvilError PreconditionFailed, NoSuchKey (If-Match without object), NoSuchBucket
   * (deleting or gone), ConditionalRequestConflict, MetadataUnavailable (the outcome is settled first, §13 rule 1)
   */
  put(record: ObjectRecord, condition: WriteCondition, missing: MissingShard[]): Promise<PutOutcome>
  /**
   * Copy within a bucket without bytes: the new row adds a reference to the source's blob(s) (§13, rule 8). `record.body`
   * is that of the source as read. Returns null when the source's blob lost its last reference meanwhile: read again.
   */
  putReference(record: ObjectRecord, condition: WriteCondition): Promise<PutOutcome | null>
  /** Deletes the live version; resolves when committed. `existed` false if there was none (no error, as S3). */
  delete(bucketId: BucketId, key: string, condition: WriteCondition): Promise<{ existed: boolean }>
  deleteMany(bucketId: BucketId, keys: { key: string; ifMatch?: string }[]): Promise<({ existed: boolean } | { error: unknown })[]>
  list(request: ListRequest): Promise<ListPage>

  // multipart
  createUpload(upload: UploadRecord): Promise<void>
  /** @throws AnvilError NoSuchUpload */
  upload(bucketId: BucketId, key: string, uploadId: UploadId): Promise<UploadRecord>
  /** Replaces a part of that number. @throws AnvilError NoSuchUpload (also when it was completed or aborted meanwhile) */
  putPart(bucketId: BucketId, uploadId: UploadId, part: PartRecord, missing: MissingShard[]): Promise<void>
  listParts(bucketId: BucketId, uploadId: UploadId, after: number, limit: number): Promise<{ parts: PartRecord[]; truncated: boolean }>
  listUploads(request: { bucketId: BucketId; prefix: string; delimiter: string; keyAfter: string; uploadIdAfter: string; limit: number }):
    Promise<{ uploads: UploadRecord[]; prefixes: string[]; truncated: boolean }>
  completeUpload(request: CompleteRequest): Promise<CompleteOutcome>
  abortUpload(bucketId: BucketId, key: string, uploadId: UploadId): Promise<void>
  /** Parts of a completed object that cover bytes [from, to), in order, with their offsets. */
  objectParts(bucketId: BucketId, uploadId: UploadId, from: number, to: number): Promise<ObjectPart[]>
  /** One part by its number in the object (GET ?partNumber=); null if there is none. */
  objectPart(bucketId: BucketId, uploadId: UploadId, partNumber: number): Promise<ObjectPart | null>
  objectPartsPage(bucketId: BucketId, uploadId: UploadId, after: number, limit: number): Promise<ObjectPart[]>

  // buckets
  /** Makes the bucket_state row, before the first object. Idempotent; a bucket that was deleted stays so. */
  createBucketState(bucketId: BucketId): Promise<void>
  /** Sets `deleting` under the exclusive lock after the check that it is empty (no objects, versions, uploads). @throws AnvilError BucketNotEmpty */
  beginDeleteBucket(bucketId: BucketId): Promise<void>
  /** The global row is gone. The id takes nothing for ever. */
  finishDeleteBucket(bucketId: BucketId): Promise<void>
  deletingBuckets(): Promise<BucketId[]>

  // blobs and placement groups
  blob(bucketId: BucketId, blobId: BlobId): Promise<BlobRow | null>
  blobs(bucketId: BucketId, blobIds: BlobId[]): Promise<(BlobRow | null)[]>
  /**
   * Commits a blob that no object names, with one reference; it is repaired, moved and re-encoded like any other.
   * @throws AnvilError MetadataUnavailable, also when its group is closed or the pair condemned (`details.reason`)
   */
  keepBlob(bucketId: BucketId, blob: BlobLayout, missing: MissingShard[]): Promise<void>
  /** Takes that reference away; no error if the blob has none. */
  dropBlob(bucketId: BucketId, blobId: BlobId): Promise<void>
  /** Blobs of a bucket that have a reference. */
  keptBlobs(bucketId: BucketId): Promise<BlobRow[]>
  placementGroup(id: PgId): Promise<PlacementGroup | null>
  /** With `incoming` only those with a move under way. Of closed ones only what has changed since the last call is read. */
  placementGroups(filter?: { states?: PgState[]; incoming?: true }): Promise<PlacementGroup[]>
  /** The open group of exactly this code and these members; made if there is none. */
  openPlacementGroup(k: number, m: number, members: DriveId[]): Promise<PlacementGroup>
  sealPlacementGroup(id: PgId): Promise<void>
  closePlacementGroup(id: PgId): Promise<void>
  /** Sealed groups of which every node with a lease has said, since the seal, that it has no upload in them. */
  closableGroups(): Promise<PgId[]>
  /** Ids of closed groups above `after`, in order. */
  closedGroups(after: PgId | null, limit: number): Promise<{ id: PgId; bytes: number }[]>
  /**
   * Deletes those of them that are closed, without the intent of a move, and that no blob, condemned pair, repair entry and
   * upload names; answers their ids, which are remembered.
   */
  deleteEmptyGroups(ids: readonly PgId[], under: DatabaseIdentity): Promise<PgId[]>
  /**
   * The generation under which a drive may remove what it still holds of a deleted group: above all that the group ever had.
   * Null of a group that is there, and of one that this database has never heard of.
   */
  deletedGroup(id: PgId): Promise<number | null>
  /**
   * The intent of a move (§13, rule 6), before its first byte: `incoming` is set, generation + 1. Closed groups only; an
   * earlier intent is replaced. Null if the group is not closed, was changed meanwhile, or has `to` as a member already.
   */
  beginMove(id: PgId, index: number, to: DriveId, generation: number): Promise<PlacementGroup | null>
  /** Ends the intent without a new member (generation + 1: its mover fails). False if there is none, or the group was changed meanwhile. */
  giveUpMove(id: PgId, generation: number): Promise<boolean>
  /**
   * Compare-and-set of one member of a closed group (moves; generation + 1; ends the intent). `generation` is that of
   * `beginMove`'s answer. False if it was changed meanwhile, or the intent is another one.
   */
  replaceMember(id: PgId, index: number, from: DriveId, to: DriveId, generation: number, under?: DatabaseIdentity): Promise<boolean>
  /**
   * Compare-and-set of a blob's group (re-encoding). False if the blob lost its references or was moved meanwhile, or if
   * `to` is closed or the pair condemned (then take another group).
   */
  moveBlob(bucketId: BucketId, blobId: BlobId, from: PgId, to: PgId, missing: MissingShard[], under?: DatabaseIdentity): Promise<boolean>
  /** Blobs of a group in id order, for repair and moves, with what a rebuild needs. */
  blobsOfGroup(pgId: PgId, after: { bucketId: BucketId; blobId: BlobId } | null, limit: number): Promise<BlobRow[]>

  // nodes and drives
  registerNode(node: NodeRegistration, leaseMs: number): Promise<void>
  /** False when the lease is held by another process of this node. `oldestReadMs` is by this host's clock. */
  renewLease(nodeId: NodeId, processId: string, leaseMs: number, oldestReadMs: number | null, report?: NodeReport): Promise<boolean>
  /** What each node with a lease has said of the groups that its slots want, and when, by the database's clock. */
  wantedGroups(): Promise<{ reportedMs: number; wanted: ReadonlySet<number> }[]>
  /** Gives the lease of processes of this node that are known to be dead to this one; no error if they hold none. */
  takeOverLease(nodeId: NodeId, deadProcessIds: string[], processId: string): Promise<void>
  /** Ends this process's lease now: it stops in order. */
  releaseLease(nodeId: NodeId, processId: string): Promise<void>
  nodes(): Promise<NodeRecord[]>
  /** Nodes without a lease count as gone for longer than any delay from now on, until they are back; answers them. */
  repairWithoutDelay(): Promise<NodeId[]>
  /**
   * Forgets a node and declares its drives lost. False if there is none of that id.
   * @throws AnvilError InvalidRequest while it has a lease
   */
  removeNode(nodeId: NodeId): Promise<boolean>
  registerDrive(drive: Omit<DriveRecord, 'state'>): Promise<void>
  setDriveState(driveId: DriveId, state: DriveRecord['state']): Promise<void>
  drives(): Promise<DriveRecord[]>
  /** Takes or renews a named lease: true when `holder` has it for `leaseMs` from now. For economy; safety never rests on it. */
  lease(name: string, holder: string, leaseMs: number): Promise<boolean>
  /** Ends all leases of a holder that stops: others need not wait until they run out. */
  releaseLeases(holder: string): Promise<void>
  /** Marks the database as this deployment's and region's. @throws AnvilError InvalidRequest when it is another's */
  claimDeployment(deploymentId: DeploymentId, region: string): Promise<void>

  // background work
  identity(): Promise<DatabaseIdentity>
  /**
   * Garbage old enough for every node's reads, oldest first, after `after`. Its rows stay until `forgetGarbage`. With
   * `droppedIn` only what this snapshot (pg_snapshot) sees dropped.
   */
  garbage(limit: number, after?: Garbage, droppedIn?: string): Promise<Garbage[]>
  forgetGarbage(items: Garbage[], under?: DatabaseIdentity): Promise<void>
  repairs(limit: number, after: number): Promise<RepairEntry[]>
  reportDamage(entries: Omit<RepairEntry, 'entryId' | 'reportedMs'>[]): Promise<void>
  forgetRepair(entryIds: number[], under?: DatabaseIdentity): Promise<void>
  repairCount(): Promise<number>
  /** What the repair queue holds: shards, and the blobs that they belong to. */
  repairBacklog(): Promise<{ shards: number; blobs: number }>
  /** §13 rule 2, in the order of the rule: commit, horizon, wait, look, and only then true per suspect that may go. */
  condemn(suspects: { bucketId: BucketId; blobId: BlobId; pgId: PgId }[]): Promise<void>
  /** Whether the database is still that one, takes writes, and its standbys have all that was committed before the call. */
  mayRemove(under: DatabaseIdentity): Promise<boolean>
  /** In the order of their ids, after `after`. */
  condemned(limit: number, after?: { bucketId: BucketId; blobId: BlobId; pgId: PgId }): Promise<{ bucketId: BucketId; blobId: BlobId; pgId: PgId }[]>
  /** Waits for the horizon, then splits the condemned pairs into those that may be removed and those found referenced (which leave `condemned`). With `condemnedBeforeMs` only those that were condemned before. */
  judgeCondemned(suspects: { bucketId: BucketId; blobId: BlobId; pgId: PgId }[], under?: DatabaseIdentity, condemnedBeforeMs?: number): Promise<{ bucketId: BucketId; blobId: BlobId; pgId: PgId }[]>
  /** Condemned rows whose group is closed and whose shards are gone. */
  forgetCondemned(items: { blobId: BlobId; pgId: PgId }[]): Promise<void>
  /** Condemned rows of deleted groups that are a day old. */
  forgetCondemnedOfDeletedGroups(): Promise<void>
  /** Aborts at most `limit` uploads that were begun, and given their last part, longer ago than `idleMs` by the database's clock. @returns how many */
  expireUploads(idleMs: number, limit: number): Promise<number>

  /**
   * Deletes what only had to be kept for a while: settled batches, answers of completed uploads, lists of parts of dropped
   * objects; notes the sizes of placement groups. Runs by itself now and then; tests call it.
   */
  tidy(): Promise<void>

  /** Counts for status and tests. Beyond a million rows they are estimates. */
  counts(): Promise<{ objects: number; blobs: number; garbage: number; repairs: number; uploads: number; condemned: number }>
  /** 'ok', or why it is away. */
  health(): { state: 'ok' | 'away'; reason: string }
  close(): Promise<void>
}

/**
 * The contract of the addon (native/addon), as TypeScript sees it. The addon owns the bytes of bodies and drives; what
 * crosses is handles, small records and errors. Its statics are one per process: a handle made on one thread is valid on
 * every other. Ids cross as hex strings (see ids.ts), sizes as numbers.
 *
 * Errors cross as an Error whose message is `[Kind] text`, Kind being one of {@link NativeErrorKind}; `nativeError`
 * turns it into an AnvilError. Every function may throw; a Promise may reject.
 */
import { AnvilError, type AnvilErrorKind } from './errors.ts'
import type { NativePlane } from './native-plane.ts'

export type HashAlgorithm = 'md5' | 'sha1' | 'sha256'
export type CrcAlgorithm = 'crc32' | 'crc32c' | 'crc64nvme'
/** The algorithms of S3's x-amz-checksum-*. */
export type ChecksumAlgorithm = CrcAlgorithm | 'sha1' | 'sha256'

/** A handle is a positive integer that is never used again in this process. */
export type UploadHandle = number
export type ReadHandle = number

export interface NativeInit {
  /** Bound of the memory for stripe buffers, uploads and reads together. Bytes. */
  memoryLimitBytes: number
  /** error | warn | info | debug | trace; RUST_LOG syntax. */
  logFilter: string
  /** Threads of the addon's own runtime (shard plane and reads). */
  runtimeThreads: number
}

/** One line of the addon's log. */
export interface NativeLogLine {
  level: 'error' | 'warn' | 'info' | 'debug' | 'trace'
  target: string
  message: string
  /** The client's request that it is about, also one that another node serves. */
  requestId?: string
}

// ---------------------------------------------------------------------------------------------------------------- drives

export interface DriveOpen {
  path: string
  deploymentId: string
  /** The drive that must lie at `path`; null: accept whichever drive of this deployment lies there. */
  driveId: string | null
  /** Bytes of free space of the file system that stay free of shards. */
  reserveBytes: number
}

export interface DriveInfo {
  driveId: string
  path: string
  formatVersion: number
  /** `io_uring` or `pwrite`. */
  io: string
  /** Records replayed from the log and how long that took. */
  recoveredRecords: number
  recoveryMs: number
}

/** What a look at a folder finds, without locking or changing it. */
export type DriveProbe =
  | { state: 'missing' } // no such folder
  | { state: 'empty' } // a folder without a drive in it
  | { state: 'foreign'; found: string } // something else lies there
  | { state: 'drive'; driveId: string; deploymentId: string; formatVersion: number }

export interface DriveStats {
  driveId: string
  path: string
  /** `online`; `full` (takes no new shards); `failed` (a write or fsync failed: out until a person looks; or its index is damaged: out until it has been rebuilt, which begins by itself). */
  state: 'online' | 'full' | 'failed'
  /** Why it failed. */
  reason: string
  totalBytes: number
  freeBytes: number
  /** Of live shards, and of records that compaction will free. */
  liveBytes: number
  deadBytes: number
  shards: number
  writes: number
  writtenBytes: number
  reads: number
  readBytes: number
  fsyncs: number
  /** Milliseconds. */
  fsyncP50Ms: number
  fsyncP99Ms: number
  ioErrors: number
  crcErrors: number
  queueDepth: number
}

/** Names one shard; with it goes the generation of its placement group (DESIGN §13, rule 5). */
export interface ShardName {
  bucketId: number
  blobId: string
  pgId: number
  index: number
}

export interface ShardRecord extends ShardName {
  /** Bytes on the drive. */
  bytes: number
  /** When it was sealed, or begun while it is not, by this host's clock; milliseconds since the epoch. */
  writtenMs: number
  sealed: boolean
}

export interface ShardPage {
  shards: ShardRecord[]
  /** Pass it to go on; null at the end. */
  cursor: string | null
}

export interface ScrubStep {
  bytes: number
  shards: number
  /** Shards that did not read back right; also reported to the damage listener. */
  damaged: ShardName[]
  /** Pass it to go on; null when the drive has been read to its end. */
  cursor: string | null
}

export interface CompactStep {
  /** Bytes of records moved, and bytes of segment files given back or recycled. */
  movedBytes: number
  freedBytes: number
  /** False when nothing is worth compacting now. */
  more: boolean
}

/** A shard that could not be read or did not verify, found by a read, a repair or scrubbing. */
export interface Damage extends ShardName {
  driveId: string
  reason: 'crc' | 'missing' | 'io'
}

// --------------------------------------------------------------------------------------------------- placement groups

/** What the data path must know of a placement group. A later call with a higher generation replaces it. */
export interface PgDefinition {
  pgId: number
  /** Database timeline in the upper 20 bits of 52, generation in the lower 32. */
  generation: number
  k: number
  m: number
  /** Drive of each index, k + m of them. */
  members: string[]
}

// ------------------------------------------------------------------------------------------------------------- uploads

export interface AwsChunked {
  /** Whether chunks carry signatures (STREAMING-AWS4-HMAC-SHA256-…). */
  signed: boolean
  /** Whether a trailer section follows (…-TRAILER). */
  trailer: boolean
  /** Lower-case names that x-amz-trailer announced. */
  trailerNames: string[]
  /** 64 hex digits: the signature of the request's head; '' when not signed. */
  seedSignature: string
  /** 32 bytes; empty when not signed. */
  signingKey: Uint8Array
  /** `YYYYMMDDTHHMMSSZ` and `date/region/service/aws4_request`. */
  amzDate: string
  scope: string
}

export interface UploadOpen {
  bucketId: number
  blobId: string
  /** A placement group made known by `setPg`; 0 when the body is known to fit `inlineBytes`. */
  pgId: number
  /** Length of the decoded body; -1 if not known. A body that turns out longer or shorter is an IncompleteBody error. */
  contentLength: number
  /** A longer body is EntityTooLarge. */
  maxBytes: number
  /** null: the body is the bytes as they come. */
  awsChunked: AwsChunked | null
  /** Bodies of at most this size come back in the result instead of going to drives. 0: never. */
  inlineBytes: number
  /** Compute the MD5 (32 hex digits in the result). */
  md5: boolean
  /** Compute a 128-bit digest that is not MD5, for ETags where nobody needs an MD5 (ANVIL_ETAG=fast, SSE-C). */
  fastDigest: boolean
  /** Compute SHA-256 of the decoded payload. */
  sha256: boolean
  checksums: ChecksumAlgorithm[]
  /** Expected values: hex for md5 and sha256, base64 for the checksum. '' where none. A mismatch aborts the upload. */
  expectMd5: string
  expectSha256: string
  expectChecksum: string
  expectChecksumAlgorithm: ChecksumAlgorithm | ''
  /** Compare the checksum with this trailer (lower-case name), '' for none. */
  checksumTrailer: string
  /** 32-byte data key: AES-256-GCM; empty: not encrypted. */
  dataKey: Uint8Array
  /** The client's request whose body it is: named where this node or one that stores a shard logs about it. 1 to 64 visible ASCII characters. */
  requestId?: string
}

/** What `uploadWrite` answers: go on, or stop feeding until `uploadDrained` resolves. */
export const UPLOAD_CONTINUE = 0
export const UPLOAD_PAUSE = 1

export interface UploadResult {
  /** Of the decoded body. */
  size: number
  /** Plaintext bytes of a stripe; belongs to the blob's layout. 0 when inline. */
  stripeBytes: number
  md5: string
  fastDigest: string
  sha256: string
  /** base64, in the order of `UploadOpen.checksums`. */
  checksums: string[]
  /** Trailer names (lower case) and values, alternating. */
  trailers: string[]
  /** The body (encrypted if a data key was given), when it fits `inlineBytes`; otherwise null. */
  inline: Buffer | null
  /** Indexes whose shard is not durable: for the repair queue. Empty when all is well. */
  missing: number[]
  /**
   * Fewer members than the quorum have their shard, k at least: too few to acknowledge the blob, enough to read it. It must be
   * re-encoded into another group (DESIGN §5.5).
   */
  belowQuorum: boolean
}

// --------------------------------------------------------------------------------------------------------------- reads

/** How to find and decode a blob. */
export interface BlobSource {
  bucketId: number
  blobId: string
  pgId: number
  /** Plaintext length of the blob. */
  size: number
  stripeBytes: number
  /** Whether stripes carry AEAD tags. Rebuilding and re-encoding work on the stored bytes and need no key. */
  encrypted: boolean
  /** 32 bytes to decrypt with; empty when not encrypted, or for rebuild and re-encode. */
  dataKey: Uint8Array
  /** The client's request that it is read for, as in UploadOpen. */
  requestId?: string
}

export interface ReadOpen extends BlobSource {
  offset: number
  length: number
}

export interface EngineStats {
  memoryUsedBytes: number
  memoryLimitBytes: number
  memoryPeakBytes: number
  uploads: number
  reads: number
  jobsQueued: number
  jobsRun: number
  /** Bytes hashed, and how many lanes were filled on average. */
  hashedBytes: number
  hashLanes: number
  degradedReads: number
}

export type NativeErrorKind =
  | 'BadDigest'
  | 'ContentSha256Mismatch'
  | 'IncompleteBody'
  | 'EntityTooLarge'
  | 'MalformedChunk'
  | 'MalformedTrailer'
  | 'SignatureDoesNotMatch'
  | 'SlowDown'
  | 'InsufficientRedundancy'
  | 'InsufficientStorage'
  | 'ShardsUnavailable'
  | 'Moved' // a member knows a higher generation of the group: reload its row
  | 'StaleGeneration' // a removal or write with a generation that is too low
  | 'WrongEncryptionKey'
  | 'DriveMismatch' // another drive, or one of another deployment, lies there
  | 'DriveLocked'
  | 'DriveFailed'
  | 'Aborted'
  | 'Internal'

export interface Native extends NativePlane {
  /** Once per process, before anything else. */
  init(options: NativeInit): void
  /** Log lines of the addon, on the calling thread. */
  setLogger(listener: (line: NativeLogLine) => void): void
  /**
   * `listener(n)` is called on the thread that registered it (the main thread) when n more `runJobs` tasks should run in
   * the pool. At most as many tasks are asked for as `setWorkerCount` allows at a time.
   */
  setJobListener(listener: (tasks: number) => void): void
  setWorkerCount(workers: number): void
  /** In a piscina worker: takes jobs (hash lanes, encode, decode) until none is left or `budgetMs` is over. Jobs done. */
  runJobs(budgetMs: number): number
  setDamageListener(listener: (damage: Damage) => void): void
  stats(): EngineStats
  /** Counts bytes of bodies that JavaScript keeps as part of `memoryUsedBytes`; false: they do not fit below the limit. */
  takeMemory(bytes: number): boolean
  giveMemory(bytes: number): void
  /** `memoryUsedBytes / memoryLimitBytes`, for a look at every chunk. What was read must be written, so it may exceed 1. */
  memoryPressure(): number
  /** What CPU features are in use: for the log and the bench. */
  features(): string[]

  // drives
  probeDrive(path: string): Promise<DriveProbe>
  createDrive(path: string, deploymentId: string, driveId: string): Promise<void>
  openDrive(options: DriveOpen): Promise<DriveInfo>
  closeDrive(driveId: string): Promise<void>
  driveStats(): DriveStats[]
  /** Durable marks a drive keeps for others: small values by name (DESIGN §13 rule 3: system id and timeline seen). */
  driveMark(driveId: string, name: string): string | null
  setDriveMark(driveId: string, name: string, value: string): Promise<void>
  /** Shards in index order, only those sealed before `beforeMs`, or begun before it and being written. */
  listShards(driveId: string, cursor: string | null, limit: number, beforeMs: number): Promise<ShardPage>
  /** Durably removes shards (those that are not there are no error), on a drive of this node or of a peer. Refused with StaleGeneration where the drive was told a higher one. */
  deleteShards(driveId: string, shards: ShardName[], generations: number[]): Promise<void>
  /** Whether each of the shards lies there sealed and whole (index only, no read of the data), on a drive of this node or of a peer. */
  hasShards(driveId: string, shards: ShardName[]): Promise<boolean[]>
  scrub(driveId: string, cursor: string | null, maxBytes: number): Promise<ScrubStep>
  compact(driveId: string, maxBytes: number): Promise<CompactStep>
  setPg(definition: PgDefinition): void
  forgetPg(pgId: number): void

  // uploads
  /** Reserves one stripe; SlowDown when the memory is not to be had. */
  openUpload(options: UploadOpen): UploadHandle
  /** Copies the chunk; it is free again when this returns. UPLOAD_CONTINUE or UPLOAD_PAUSE. */
  uploadWrite(handle: UploadHandle, chunk: Uint8Array): number
  /** Resolves when the upload takes more bytes again, rejects when it failed. */
  uploadDrained(handle: UploadHandle): Promise<void>
  /**
   * The body is complete: resolves when every member that answers has its shard on stable storage (DESIGN §5.5). The
   * handle is gone afterwards, also when it rejects; then nothing of the upload stays.
   */
  uploadFinish(handle: UploadHandle): Promise<UploadResult>
  /**
   * The same, done when it returns, for a body that fits `inlineBytes`: without a promise and a thread in between. Null: it
   * does not fit and nothing has happened; use `uploadFinish`. Otherwise the handle is gone, also when it throws.
   */
  uploadFinishInline(handle: UploadHandle): UploadResult | null
  /** Gives the upload up and removes what was written. No error if it is gone. */
  uploadAbort(handle: UploadHandle): void
  /** Moves bytes from a read into an upload inside the addon; resolves when the read is at its end. Closes the read. */
  uploadFrom(upload: UploadHandle, read: ReadHandle): Promise<void>
  /** Reads the k others and writes the shard of `index` to its member, durable when it resolves. */
  rebuildShard(blob: BlobSource, index: number): Promise<void>
  /** The same on a drive that is about to take the member's place (a move): under the generation that `setPg` made known. */
  rebuildShardOn(blob: BlobSource, index: number, driveId: string): Promise<void>
  /**
   * Writes the stored bytes of a blob into another group with that group's code, durable when it resolves; answers the indexes
   * left out. Of one that fails the sealed shards stay for the orphan collector: another node may have written the same ones.
   */
  reencodeBlob(blob: BlobSource, toPgId: number): Promise<number[]>

  // reads
  openRead(options: ReadOpen): ReadHandle
  /** Resolves with the number of verified plaintext bytes that wait in native memory; 0 at the end. */
  readReady(handle: ReadHandle): Promise<number>
  /** Copies at most target.length of the bytes that wait; returns how many. */
  readCopy(handle: ReadHandle, target: Uint8Array): number
  /** Frees everything; a no-op for a handle that is gone. */
  readClose(handle: ReadHandle): void
  /** For small ranges (at most 1 MiB): open, read and close in one. */
  readAll(options: ReadOpen): Promise<Buffer>

  // small things, on the calling thread
  digest(algorithm: HashAlgorithm | CrcAlgorithm | 'fast', data: Uint8Array): Buffer
  /** CRC of a concatenation from the CRCs of its parts. Big-endian bytes as S3 encodes them. */
  crcCombine(algorithm: CrcAlgorithm, first: Uint8Array, second: Uint8Array, secondLength: number): Buffer
  /** Opens an inline body that an upload encrypted. */
  openInline(dataKey: Uint8Array, blobId: string, data: Uint8Array): Buffer
  /** The reverse, for small rows made elsewhere (re-encryption, copies). */
  sealInline(dataKey: Uint8Array, blobId: string, data: Uint8Array): Buffer
}

const passedOn = new Set<AnvilErrorKind>([
  'BadDigest', 'ContentSha256Mismatch', 'IncompleteBody', 'EntityTooLarge', 'MalformedChunk', 'MalformedTrailer',
  'SignatureDoesNotMatch', 'SlowDown', 'InsufficientRedundancy', 'InsufficientStorage', 'ShardsUnavailable',
  'WrongEncryptionKey',
])

/** The kind of an error that the addon threw, or null if it came from elsewhere. */
export function nativeErrorKind(error: unknown): NativeErrorKind | null {
  if (!(error instanceof Error)) return null
  const match = /^\[(\w+)\]/.exec(error.message)
  return match === null ? null : (match[1] as NativeErrorKind)
}

/** Turns what the addon threw into an AnvilError; anything else is passed through as Internal with its cause. */
export function nativeError(error: unknown): AnvilError {
  if (error instanceof AnvilError) return error
  const kind = nativeErrorKind(error)
  const text = error instanceof Error ? error.message.replace(/^\[\w+\]\s*/, '') : String(error)
  if (kind !== null && passedOn.has(kind as AnvilErrorKind)) return new AnvilError(kind as AnvilErrorKind, text, { cause: error })
  if (kind === 'Moved' || kind === 'StaleGeneration') return new AnvilError('ShardsUnavailable', text, { cause: error })
  return new AnvilError('Internal', text, { cause: error })
}

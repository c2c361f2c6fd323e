/**
 * The object store as the gateways see it: S3's semantics without HTTP, XML, signatures or permissions. The gateway has
 * authenticated and authorized the call before, and parsed every header into these types.
 *
 * Errors are AnvilErrors; each operation may throw NoSuchBucket (deleted meanwhile), MetadataUnavailable, ShuttingDown,
 * and those named.
 */
import type { BucketId, UploadId } from '../../shared/ids.ts'
import type { AwsChunked, ChecksumAlgorithm } from '../../shared/native.ts'
import type { Bucket } from '../directory/contract.ts'
import type {
  Checksum, Encryption, ListPage, ListRequest, ObjectRecord, PartRecord, StoredHeaders, UploadRecord, WriteCondition,
} from '../metadata/contract.ts'

/** What the client asks of encryption. SSE-C keys are 32 bytes; `keyMd5` is base64. */
export type RequestedEncryption =
  | { kind: 'bucket-default' }
  | { kind: 's3' }
  | { kind: 'c'; key: Buffer; keyMd5: string }

/** SSE-C key of a read (or of a copy's source); null when the request brings none. */
export type ReadKey = { key: Buffer; keyMd5: string } | null

/** How the body arrives and what it must match. */
export interface BodySpec {
  /** Bytes of the decoded body; -1 if not known. */
  contentLength: number
  awsChunked: AwsChunked | null
  /** Hex; '' when the payload is not signed as a whole. */
  expectSha256: string
  /** Hex, from Content-MD5; '' without one. */
  expectMd5: string
  /** A checksum that the client gave (base64 in a header), announced as trailer, or asks the server to compute. */
  checksum: { algorithm: ChecksumAlgorithm; expected: string; trailer: boolean } | null
  /** The client's request, for what the nodes that store its shards log about them. */
  requestId?: string
}

export interface ObjectAttributes {
  headers: StoredHeaders
  userMetadata: Record<string, string>
  storageClass: string
}

export interface PutObjectRequest extends ObjectAttributes {
  bucket: Bucket
  key: string
  body: BodySpec
  encryption: RequestedEncryption
  condition: WriteCondition
}

export interface PutObjectResult {
  etag: string
  size: number
  checksum: Checksum | null
  encryption: Encryption
}

export interface UploadPartRequest {
  bucket: Bucket
  key: string
  uploadId: UploadId
  partNumber: number
  body: BodySpec
  /** Must be that of the upload. */
  readKey: ReadKey
}

export interface UploadPartResult {
  etag: string
  checksum: Checksum | null
  encryption: Encryption
}

/** A body on its way in. The caller feeds chunks in order; each is copied before `write` returns. */
export interface BodySink<Result> {
  /** False: stop feeding until `drained()` resolves. @throws AnvilError when the upload has failed */
  write(chunk: Uint8Array): boolean
  drained(): Promise<void>
  /** The body is complete. Resolves when the result is committed and durable. Call once. */
  finish(): Promise<Result>
  /** The client went away, or the request was refused: nothing stays. Idempotent. */
  abort(): void
}

/** Conditions of a read. ETags without quotes, in the order given. */
export interface ReadConditions {
  ifMatch?: string[]
  ifNoneMatch?: string[]
  ifModifiedSinceMs?: number
  ifUnmodifiedSinceMs?: number
}

/** What part of an object is asked for. */
export type ReadRange =
  | { kind: 'whole' }
  /** first..last inclusive; last null: to the end. */
  | { kind: 'bytes'; first: number; last: number | null }
  /** The last n bytes. */
  | { kind: 'suffix'; length: number }
  | { kind: 'part'; partNumber: number }

export interface HeadRequest {
  bucket: Bucket
  key: string
  conditions: ReadConditions
  range: ReadRange
  readKey: ReadKey
  /** The client's request, for what the nodes that store its shards log about them. */
  requestId?: string
}

export interface HeadResult {
  record: ObjectRecord
  /** The range that is served, inclusive start and exclusive end; `partial`: answer 206 with Content-Range. */
  start: number
  end: number
  partial: boolean
  /** For objects of several parts. */
  partCount: number | null
}

/** A body on its way out. */
export interface BodySource {
  /**
   * Resolves with the number of bytes that wait; 0 at the end. Rejects when the rest cannot be read: the connection must
   * then be cut, since the head has been sent.
   */
  ready(): Promise<number>
  /** Copies at most target.length of the waiting bytes into target; returns how many. */
  copy(target: Uint8Array): number
  close(): void
}

export interface GetResult extends HeadResult {
  /** Its first bytes have been verified when this is handed out, so that a broken object is an error and not a cut connection. */
  body: BodySource
}

export interface CopySource {
  bucket: Bucket
  key: string
  conditions: ReadConditions
  readKey: ReadKey
  /** The client's request, for what the nodes that store its shards log about them. */
  requestId?: string
}

export interface CopyObjectRequest {
  source: CopySource
  bucket: Bucket
  key: string
  /** null: COPY the source's; otherwise REPLACE. */
  replace: ObjectAttributes | null
  /** With directive COPY the storage class may still be given. */
  storageClass: string | null
  checksumAlgorithm: ChecksumAlgorithm | null
  encryption: RequestedEncryption
  condition: WriteCondition
}

export interface CopyResult {
  etag: string
  modifiedMs: number
  checksum: Checksum | null
  encryption: Encryption
}

export interface UploadPartCopyRequest {
  source: CopySource
  range: ReadRange
  bucket: Bucket
  key: string
  uploadId: UploadId
  partNumber: number
  readKey: ReadKey
}

export interface CreateUploadRequest extends ObjectAttributes {
  bucket: Bucket
  key: string
  initiator: string
  checksumAlgorithm: ChecksumAlgorithm | null
  checksumType: 'FULL_OBJECT' | 'COMPOSITE' | null
  encryption: RequestedEncryption
}

export interface CompleteUploadRequest {
  bucket: Bucket
  key: string
  uploadId: UploadId
  parts: { partNumber: number; etag: string; checksum?: { algorithm: ChecksumAlgorithm; value: string } }[]
  /** Full-object checksum that the client gave; base64. */
  checksum: { algorithm: ChecksumAlgorithm; value: string; type: 'FULL_OBJECT' | 'COMPOSITE' | null } | null
  /** x-amz-mp-object-size, or null. */
  objectSize: number | null
  condition: WriteCondition
}

export interface PartsPage {
  upload: UploadRecord
  parts: PartRecord[]
  truncated: boolean
}

export interface ObjectStore {
  /** @throws SlowDown, InsufficientRedundancy, InsufficientStorage, EntityTooLarge */
  putObject(request: PutObjectRequest): Promise<BodySink<PutObjectResult>>
  uploadPart(request: UploadPartRequest): Promise<BodySink<UploadPartResult>>
  /** @throws NoSuchKey, NotModified, PreconditionFailed, InvalidRange, InvalidRequest / AccessDenied (SSE-C key missing or wrong) */
  headObject(request: HeadRequest): Promise<HeadResult>
  getObject(request: HeadRequest): Promise<GetResult>
  /** Parts of an object for GetObjectAttributes; null when it is not of several parts. */
  objectParts(record: ObjectRecord, after: number, limit: number): Promise<{ partNumber: number; size: number; checksum: { algorithm: ChecksumAlgorithm; value: string } | null }[] | null>
  deleteObject(bucketId: BucketId, key: string, condition: WriteCondition): Promise<{ existed: boolean }>
  /** Results in the order of `keys`. */
  deleteObjects(bucketId: BucketId, keys: { key: string; ifMatch?: string }[]): Promise<({ existed: boolean } | { error: unknown })[]>
  copyObject(request: CopyObjectRequest): Promise<CopyResult>
  listObjects(request: ListRequest): Promise<ListPage>

  createUpload(request: CreateUploadRequest): Promise<UploadRecord>
  uploadPartCopy(request: UploadPartCopyRequest): Promise<UploadPartResult & { modifiedMs: number }>
  /** @throws NoSuchUpload, InvalidPart, InvalidPartOrder, EntityTooSmall, BadDigest, InvalidRequest, PreconditionFailed */
  completeUpload(request: CompleteUploadRequest): Promise<PutObjectResult>
  abortUpload(bucketId: BucketId, key: string, uploadId: UploadId): Promise<void>
  listParts(bucketId: BucketId, key: string, uploadId: UploadId, after: number, limit: number): Promise<PartsPage>
  listUploads(request: { bucketId: BucketId; prefix: string; delimiter: string; keyAfter: string; uploadIdAfter: string; limit: number }):
    Promise<{ uploads: UploadRecord[]; prefixes: string[]; truncated: boolean }>

  createBucket(input: { name: string; tenantId: Bucket['tenantId']; region: string }): Promise<Bucket>
  /** @throws BucketNotEmpty */
  deleteBucket(bucket: Bucket): Promise<void>
}

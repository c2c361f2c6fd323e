/**
 * An ObjectStore in memory with the semantics of its contract, for tests of the gateway alone. It counts sinks and
 * sources, so that a test can tell that each was finished or aborted, and closed.
 */
import { createHash } from 'node:crypto'
import { digestBase64 } from '../../../src/main/gateway/checksums.ts'
import type { Bucket } from '../../../src/main/directory/contract.ts'
import type { Checksum, Encryption, ListEntry, ListPage, ListRequest, ObjectRecord, PartRecord, UploadRecord, WriteCondition } from '../../../src/main/metadata/contract.ts'
import { checkCopyConditions, checkReadConditions } from '../../../src/main/objects/conditions.ts'
import type {
  BodySink, BodySource, BodySpec, CompleteUploadRequest, CopyObjectRequest, CopyResult, CopySource, CreateUploadRequest, GetResult, HeadRequest, HeadResult,
  ObjectStore, PartsPage, PutObjectRequest, PutObjectResult, ReadKey, RequestedEncryption, UploadPartCopyRequest, UploadPartRequest, UploadPartResult,
} from '../../../src/main/objects/contract.ts'
import { resolveRange } from '../../../src/main/objects/range.ts'
import { AnvilError } from '../../../src/shared/errors.ts'
import { type BucketId, newUploadId, type UploadId } from '../../../src/shared/ids.ts'
import { MIN_PART_BYTES } from '../../../src/shared/limits.ts'
import type { ChecksumAlgorithm } from '../../../src/shared/native.ts'
import { decodeAwsChunked } from './aws-chunked.ts'
import type { MemoryDirectory } from './memory-directory.ts'

interface Stored {
  record: ObjectRecord
  data: Buffer
  parts: { partNumber: number; size: number; checksum: { algorithm: ChecksumAlgorithm; value: string } | null }[] | null
}

interface Upload {
  record: UploadRecord
  parts: Map<number, { record: PartRecord; data: Buffer }>
}

const md5 = (data: Uint8Array): string => createHash('md5').update(data).digest('hex')

export class MemoryStore implements ObjectStore {
  readonly #directory: MemoryDirectory
  readonly objects = new Map<BucketId, Map<string, Stored>>()
  readonly uploads = new Map<UploadId, Upload>()
  /** Opened and not yet finished or aborted; not yet closed. */
  openSinks = 0
  openSources = 0
  aborted = 0
  /** How a test makes the store slow or broken. */
  writeDelayMs = 0
  readDelayMs = 0
  failReadAfter = Number.POSITIVE_INFINITY
  copyDelayMs = 0
  openError: Error | null = null
  copyError: Error | null = null
  /** Bytes that a sink holds before it asks for a pause. */
  highWater = 256 * 1024
  peakBuffered = 0

  constructor(directory: MemoryDirectory) {
    this.#directory = directory
  }

  putObject(request: PutObjectRequest): Promise<BodySink<PutObjectResult>> {
    const { bucket, key, condition } = request
    const encryption = encryptionOf(bucket, request.encryption)
    return this.#sink(request.body, (data, checksum) => {
      this.#checkWrite(bucket.id, key, condition)
      const record: ObjectRecord = {
        bucketId: bucket.id, key, size: data.length, etag: md5(data), modifiedMs: Date.now(), storageClass: request.storageClass,
        headers: request.headers, userMetadata: request.userMetadata, checksum, encryption, body: { kind: 'inline', blobId: '' as never, data: Buffer.alloc(0) },
      }
      this.#of(bucket.id).set(key, { record, data, parts: null })
      return { etag: record.etag, size: data.length, checksum, encryption }
    })
  }

  async uploadPart(request: UploadPartRequest): Promise<BodySink<UploadPartResult>> {
    const upload = this.#upload(request.uploadId, request.key)
    checkKey(upload.record.encryption, request.readKey)
    return this.#sink(request.body, (data, checksum) => this.#putPart(upload, request.partNumber, data, checksum))
  }

  async headObject({ bucket, key, conditions, range, readKey }: HeadRequest): Promise<HeadResult> {
    const stored = this.#stored(bucket.id, key)
    const { record, parts } = stored
    checkReadConditions(conditions, record.etag, record.modifiedMs)
    checkKey(record.encryption, readKey)
    if (range.kind !== 'part') return { record, ...resolveRange(range, record.size), partCount: parts?.length ?? null }
    const sizes = parts?.map((part) => part.size) ?? [record.size]
    if (range.partNumber > sizes.length) throw new AnvilError('InvalidRange', 'no such part', { details: { size: record.size } })
    const start = sizes.slice(0, range.partNumber - 1).reduce((sum, size) => sum + size, 0)
    return { record, start, end: start + sizes[range.partNumber - 1]!, partial: true, partCount: parts?.length ?? null }
  }

  async getObject(request: HeadRequest): Promise<GetResult> {
    const head = await this.headObject(request)
    const { data } = this.#stored(request.bucket.id, request.key)
    return { ...head, body: this.#source(data.subarray(head.start, head.end)) }
  }

  async objectParts(record: ObjectRecord, after: number, limit: number): ReturnType<ObjectStore['objectParts']> {
    return this.#stored(record.bucketId, record.key).parts?.filter((part) => part.partNumber > after).slice(0, limit) ?? null
  }

  async deleteObject(bucketId: BucketId, key: string, condition: WriteCondition): Promise<{ existed: boolean }> {
    if (condition.ifMatch !== undefined) this.#checkWrite(bucketId, key, condition)
    return { existed: this.#of(bucketId).delete(key) }
  }

  deleteObjects(bucketId: BucketId, keys: { key: string; ifMatch?: string }[]): ReturnType<ObjectStore['deleteObjects']> {
    return Promise.all(keys.map(({ key, ...condition }) => this.deleteObject(bucketId, key, condition).catch((error: unknown) => ({ error }))))
  }

  async copyObject(request: CopyObjectRequest): Promise<CopyResult> {
    const { data, record } = this.#source_(request.source)
    if (this.copyDelayMs > 0) await new Promise((done) => setTimeout(done, this.copyDelayMs))
    if (this.copyError !== null) throw this.copyError
    const { bucket, key, replace } = request
    this.#checkWrite(bucket.id, key, request.condition)
    const checksum = request.checksumAlgorithm === null
      ? record.checksum
      : { algorithm: request.checksumAlgorithm, type: 'FULL_OBJECT' as const, value: digestBase64(request.checksumAlgorithm, data) }
    const copy: ObjectRecord = {
      ...record, bucketId: bucket.id, key, modifiedMs: Date.now(), etag: md5(data), checksum,
      ...(replace === null ? {} : { headers: replace.headers, userMetadata: replace.userMetadata }),
      storageClass: request.storageClass ?? replace?.storageClass ?? 'STANDARD',
      encryption: encryptionOf(bucket, request.encryption),
    }
    this.#of(bucket.id).set(key, { record: copy, data, parts: null })
    return { etag: copy.etag, modifiedMs: copy.modifiedMs, checksum, encryption: copy.encryption }
  }

  async listObjects({ bucketId, prefix, delimiter, after, limit }: ListRequest): Promise<ListPage> {
    const entries: ListEntry[] = []
    const seen = new Set<string>()
    const order = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
    for (const key of [...this.#of(bucketId).keys()].sort(order)) {
      if (!key.startsWith(prefix)) continue
      const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
      const folded = cut === -1 ? null : key.slice(0, cut + delimiter.length)
      if (folded === null ? order(key, after) <= 0 : seen.has(folded) || order(folded, after) <= 0 || after.startsWith(folded)) continue
      if (entries.length === limit) return { entries, truncated: true }
      if (folded === null) {
        const { size, etag, modifiedMs, storageClass, checksum } = this.#stored(bucketId, key).record
        entries.push({ kind: 'object', key, size, etag, modifiedMs, storageClass, checksum })
      } else {
        seen.add(folded)
        entries.push({ kind: 'prefix', prefix: folded })
      }
    }
    return { entries, truncated: false }
  }

  async createUpload(request: CreateUploadRequest): Promise<UploadRecord> {
    const { bucket, key, initiator, checksumAlgorithm, checksumType, storageClass, headers, userMetadata } = request
    const record: UploadRecord = {
      bucketId: bucket.id, uploadId: newUploadId(), key, initiator, startedMs: Date.now(), storageClass, headers, userMetadata, checksumAlgorithm, checksumType,
      encryption: encryptionOf(bucket, request.encryption),
    }
    this.uploads.set(record.uploadId, { record, parts: new Map() })
    return record
  }

  async uploadPartCopy(request: UploadPartCopyRequest): Promise<UploadPartResult & { modifiedMs: number }> {
    const upload = this.#upload(request.uploadId, request.key)
    const { data } = this.#source_(request.source)
    if (request.range.kind === 'part') throw new Error('not a range of a copy')
    const { start, end } = resolveRange(request.range, data.length)
    return { ...this.#putPart(upload, request.partNumber, data.subarray(start, end), null), modifiedMs: Date.now() }
  }

  async completeUpload(request: CompleteUploadRequest): Promise<PutObjectResult> {
    const { bucket, key, uploadId } = request
    const upload = this.#upload(uploadId, key)
    if (this.copyDelayMs > 0) await new Promise((done) => setTimeout(done, this.copyDelayMs))
    const listed = request.parts.map(({ partNumber, etag }, index) => {
      if (index > 0 && partNumber <= request.parts[index - 1]!.partNumber) throw new AnvilError('InvalidPartOrder', 'order')
      const part = upload.parts.get(partNumber)
      if (part === undefined || part.record.etag !== etag) throw new AnvilError('InvalidPart', 'part', { details: { partNumber, etag } })
      return part
    })
    const small = listed.slice(0, -1).find((part) => part.data.length < MIN_PART_BYTES)
    if (small !== undefined) {
      throw new AnvilError('EntityTooSmall', 'small', { details: { partNumber: small.record.partNumber, etag: small.record.etag, minimum: MIN_PART_BYTES, proposed: small.data.length } })
    }
    const data = Buffer.concat(listed.map((part) => part.data))
    if (request.objectSize !== null && request.objectSize !== data.length) throw new AnvilError('InvalidRequest', 'size')
    this.#checkWrite(bucket.id, key, request.condition)
    const etag = `${md5(Buffer.concat(listed.map((part) => Buffer.from(part.record.etag, 'hex'))))}-${listed.length}`
    const { checksumAlgorithm: algorithm, checksumType: type } = upload.record
    const checksum: Checksum | null = algorithm === null || type === null ? null : {
      algorithm, type,
      value: type === 'FULL_OBJECT'
        ? digestBase64(algorithm, data)
        : `${digestBase64(algorithm, Buffer.concat(listed.map((part) => Buffer.from(part.record.checksum!.value, 'base64'))))}-${listed.length}`,
    }
    if (request.checksum !== null && request.checksum.value.split('-')[0] !== checksum?.value.split('-')[0]) throw new AnvilError('BadDigest', 'checksum')
    const { storageClass, headers, userMetadata, encryption } = upload.record
    const record: ObjectRecord = {
      bucketId: bucket.id, key, size: data.length, etag, modifiedMs: Date.now(), storageClass, headers, userMetadata, checksum, encryption,
      body: { kind: 'parts', uploadId, partCount: listed.length },
    }
    this.#of(bucket.id).set(key, { record, data, parts: listed.map((part) => ({ partNumber: part.record.partNumber, size: part.data.length, checksum: part.record.checksum })) })
    this.uploads.delete(uploadId)
    return { etag, size: data.length, checksum, encryption }
  }

  async abortUpload(_bucketId: BucketId, key: string, uploadId: UploadId): Promise<void> {
    this.#upload(uploadId, key)
    this.uploads.delete(uploadId)
  }

  async listParts(_bucketId: BucketId, key: string, uploadId: UploadId, after: number, limit: number): Promise<PartsPage> {
    const upload = this.#upload(uploadId, key)
    const parts = [...upload.parts.values()].map((part) => part.record).filter((part) => part.partNumber > after).sort((a, b) => a.partNumber - b.partNumber)
    return { upload: upload.record, parts: parts.slice(0, limit), truncated: parts.length > limit }
  }

  async listUploads({ bucketId, prefix, delimiter, keyAfter, uploadIdAfter, limit }: Parameters<ObjectStore['listUploads']>[0]): ReturnType<ObjectStore['listUploads']> {
    const found = [...this.uploads.values()].map((upload) => upload.record)
      .filter((upload) => upload.bucketId === bucketId && upload.key.startsWith(prefix))
      .filter((upload) => upload.key > keyAfter || (upload.key === keyAfter && uploadIdAfter !== '' && upload.uploadId > uploadIdAfter))
      .sort((a, b) => (a.key === b.key ? (a.uploadId < b.uploadId ? -1 : 1) : a.key < b.key ? -1 : 1))
    const prefixes = new Set<string>()
    const uploads: UploadRecord[] = []
    for (const upload of found) {
      const cut = delimiter === '' ? -1 : upload.key.indexOf(delimiter, prefix.length)
      const folded = cut === -1 ? null : upload.key.slice(0, cut + delimiter.length)
      if (folded !== null && (prefixes.has(folded) || keyAfter.startsWith(folded))) continue
      if (uploads.length + prefixes.size === limit) return { uploads, prefixes: [...prefixes], truncated: true }
      if (folded === null) uploads.push(upload)
      else prefixes.add(folded)
    }
    return { uploads, prefixes: [...prefixes], truncated: false }
  }

  createBucket(input: { name: string; tenantId: Bucket['tenantId']; region: string }): Promise<Bucket> {
    return this.#directory.createBucket(input)
  }

  async deleteBucket(bucket: Bucket): Promise<void> {
    if (this.#of(bucket.id).size > 0) throw new AnvilError('BucketNotEmpty', 'not empty')
    await this.#directory.removeBucket(bucket.id)
  }

  #of(bucketId: BucketId): Map<string, Stored> {
    const objects = this.objects.get(bucketId) ?? new Map<string, Stored>()
    this.objects.set(bucketId, objects)
    return objects
  }

  #stored(bucketId: BucketId, key: string): Stored {
    const stored = this.#of(bucketId).get(key)
    if (stored === undefined) throw new AnvilError('NoSuchKey', 'no such key')
    return stored
  }

  #upload(uploadId: UploadId, key: string): Upload {
    const upload = this.uploads.get(uploadId)
    if (upload === undefined || upload.record.key !== key) throw new AnvilError('NoSuchUpload', 'no such upload', { details: { uploadId } })
    return upload
  }

  #source_({ bucket, key, conditions, readKey }: CopySource): Stored {
    const stored = this.#stored(bucket.id, key)
    checkCopyConditions(conditions, stored.record.etag, stored.record.modifiedMs)
    checkKey(stored.record.encryption, readKey)
    return stored
  }

  #checkWrite(bucketId: BucketId, key: string, { ifMatch, ifNoneMatch }: WriteCondition): void {
    const live = this.#of(bucketId).get(key)
    if (ifNoneMatch !== undefined && live !== undefined) throw new AnvilError('PreconditionFailed', 'exists', { details: { condition: 'If-None-Match' } })
    if (ifMatch === undefined) return
    if (live === undefined) throw new AnvilError('NoSuchKey', 'no such key')
    if (ifMatch !== '*' && ifMatch !== live.record.etag) throw new AnvilError('PreconditionFailed', 'other', { details: { condition: 'If-Match' } })
  }

  #putPart(upload: Upload, partNumber: number, data: Buffer, given: Checksum | null): UploadPartResult {
    const algorithm = upload.record.checksumAlgorithm
    const checksum = given ?? (algorithm === null ? null : { algorithm, type: 'FULL_OBJECT' as const, value: digestBase64(algorithm, data) })
    const record: PartRecord = { partNumber, size: data.length, etag: md5(data), checksum, modifiedMs: Date.now(), body: { kind: 'inline', blobId: '' as never, data: Buffer.alloc(0) } }
    upload.parts.set(partNumber, { record, data })
    return { etag: record.etag, checksum, encryption: upload.record.encryption }
  }

  #source(data: Buffer): BodySource {
    this.openSources++
    let at = 0
    let open = true
    return {
      ready: async () => {
        if (this.readDelayMs > 0) await new Promise((done) => setTimeout(done, this.readDelayMs))
        if (at >= this.failReadAfter) throw new AnvilError('ShardsUnavailable', 'a shard went away')
        return Math.min(data.length - at, 100_000)
      },
      copy: (target) => {
        const copied = data.copy(target, 0, at, Math.min(data.length, at + target.length))
        at += copied
        return copied
      },
      close: () => {
        if (open) this.openSources--
        open = false
      },
    }
  }

  async #sink<Result>(body: BodySpec, commit: (data: Buffer, checksum: Checksum | null) => Result): Promise<BodySink<Result>> {
    // As the real one, which asks the database and the drives before it takes a byte.
    await new Promise((done) => setTimeout(done, 1))
    if (this.openError !== null) throw this.openError
    this.openSinks++
    let open = true
    let buffered = 0
    const chunks: Buffer[] = []
    const end = (): void => {
      if (open) this.openSinks--
      open = false
    }
    return {
      write: (chunk) => {
        chunks.push(Buffer.from(chunk))
        buffered += chunk.length
        this.peakBuffered = Math.max(this.peakBuffered, buffered)
        return buffered < this.highWater
      },
      drained: async () => {
        await new Promise((done) => setTimeout(done, this.writeDelayMs))
        buffered = 0
      },
      finish: async () => {
        try {
          return await Promise.resolve(finishBody(Buffer.concat(chunks), body)).then(({ data, checksum }) => commit(data, checksum))
        } finally {
          end()
        }
      },
      abort: () => {
        if (open) this.aborted++
        end()
      },
    }
  }
}

function finishBody(raw: Buffer, body: BodySpec): { data: Buffer; checksum: Checksum | null } {
  const decoded = body.awsChunked === null ? { body: raw, trailers: new Map<string, string>() } : decodeAwsChunked(raw, body.awsChunked)
  const data = decoded.body
  if (body.contentLength !== -1 && data.length !== body.contentLength) throw new AnvilError('IncompleteBody', 'length')
  if (body.expectSha256 !== '' && createHash('sha256').update(data).digest('hex') !== body.expectSha256) throw new AnvilError('ContentSha256Mismatch', 'sha256')
  if (body.expectMd5 !== '' && md5(data) !== body.expectMd5) throw new AnvilError('BadDigest', 'The Content-MD5 you specified did not match what we received.')
  if (body.checksum === null) return { data, checksum: null }
  const { algorithm, trailer } = body.checksum
  const value = digestBase64(algorithm, data)
  const expected = trailer ? (decoded.trailers.get(`x-amz-checksum-${algorithm}`) ?? 'none') : body.checksum.expected
  if (expected !== '' && expected !== value) throw new AnvilError('BadDigest', `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.`)
  return { data, checksum: { algorithm, type: 'FULL_OBJECT', value } }
}

function encryptionOf(bucket: Bucket, asked: RequestedEncryption): Encryption {
  if (asked.kind === 'c') return { kind: 'c', keyMd5: asked.keyMd5, wrappedKey: '' }
  return asked.kind === 's3' || bucket.defaultEncryption ? { kind: 's3', keyId: 'k', wrappedKey: '' } : { kind: 'none' }
}

function checkKey(encryption: Encryption, readKey: ReadKey): void {
  if (encryption.kind === 'c' && readKey === null) {
    throw new AnvilError('InvalidRequest', 'The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.')
  }
  if (encryption.kind !== 'c' && readKey !== null) throw new AnvilError('InvalidRequest', 'The encryption parameters are not applicable to this object.')
  if (encryption.kind === 'c' && readKey?.keyMd5 !== encryption.keyMd5) throw new AnvilError('WrongEncryptionKey', 'wrong key')
}

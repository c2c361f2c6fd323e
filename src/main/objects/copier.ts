/**
 * Server-side copies. Within a bucket and with the same protection a copy adds a reference to the source's bytes; otherwise
 * the addon moves them from a read into an upload, without a byte in JavaScript.
 */
import { AnvilError } from '../../shared/errors.ts'
import { MAX_BLOB_BYTES } from '../../shared/limits.ts'
import type { Encryption, ObjectMetadata, ObjectRecord } from '../metadata/contract.ts'
import { BlobRangeSource, BufferSource, type PartsSource } from './body-source.ts'
import { fullObject, openBody, unspecifiedBody, type BodyWriter, type BodyWriterOptions } from './body-writer.ts'
import { checkCopyConditions } from './conditions.ts'
import type {
  CopyObjectRequest, CopyResult, CopySource, ObjectAttributes, ReadRange, RequestedEncryption, UploadPartCopyRequest, UploadPartResult,
} from './contract.ts'
import { newDataKey, openDataKey } from './encryption.ts'
import { invalidRange } from './range.ts'
import type { Keyring } from '../secrets/keyring.ts'
import type { MultipartUploads } from './multipart.ts'
import { liveObject, resolveObjectRange, type ObjectReader } from './reader.ts'
import type { RunningRead, RunningReads } from './running-reads.ts'

export interface CopierOptions extends BodyWriterOptions {
  metadata: ObjectMetadata
  keys: Keyring
  reader: ObjectReader
  multipart: MultipartUploads
  runningReads: RunningReads
}

/** A source that changes under the copy is read again this often. */
const MAX_ATTEMPTS = 3

export class ObjectCopier {
  readonly #options: CopierOptions

  constructor(options: CopierOptions) {
    this.#options = options
  }

  copyObject(request: CopyObjectRequest): Promise<CopyResult> {
    return this.#reading((running) => this.#copyObject(request, running))
  }

  uploadPartCopy(request: UploadPartCopyRequest): Promise<UploadPartResult & { modifiedMs: number }> {
    return this.#reading((running) => this.#uploadPartCopy(request, running))
  }

  /** A copy is a read of its source, from before its row is looked up. */
  async #reading<Result>(work: (running: RunningRead) => Promise<Result>): Promise<Result> {
    const running = this.#options.runningReads.start()
    try {
      return await work(running)
    } finally {
      running.end()
    }
  }

  async #copyObject(request: CopyObjectRequest, running: RunningRead): Promise<CopyResult> {
    for (let attempt = 1; ; attempt++) {
      const { record, dataKey } = await this.#source(request.source)
      if (record.size > MAX_BLOB_BYTES) {
        throw new AnvilError('InvalidRequest', `The specified copy source is larger than the maximum allowable size for a copy source: ${MAX_BLOB_BYTES}`)
      }
      refuseIdle(request, record)
      if (!this.#canShare(request, record)) {
        try {
          return await this.#copyBytes(request, record, dataKey, running)
        } catch (error) {
          if (attempt < MAX_ATTEMPTS && AnvilError.is(error, 'ShardsUnavailable')) continue // re-encoded on the way
          throw error
        }
      }
      const copy = copiedRecord(request, record)
      const outcome = record.body.kind === 'inline'
        ? await this.#options.metadata.put(copy, request.condition, [])
        : await this.#options.metadata.putReference(copy, request.condition)
      if (outcome !== null) {
        return { etag: copy.etag, modifiedMs: outcome.modifiedMs, checksum: copy.checksum, encryption: copy.encryption }
      }
      if (attempt === MAX_ATTEMPTS) throw new AnvilError('ConditionalRequestConflict', 'The source changed while it was copied')
    }
  }

  async #uploadPartCopy(request: UploadPartCopyRequest, running: RunningRead): Promise<UploadPartResult & { modifiedMs: number }> {
    const { metadata, multipart } = this.#options
    for (let attempt = 1; ; attempt++) {
      const { record, dataKey } = await this.#source(request.source)
      const { start, end } = await partRange(metadata, record, request.range)
      const { upload, writer } = await multipart.openPart(request, unspecifiedBody(end - start, null, request.source.requestId))
      try {
        await this.#pump(request.source, record, dataKey, [start, end], writer, running)
      } catch (error) {
        if (attempt < MAX_ATTEMPTS && AnvilError.is(error, 'ShardsUnavailable')) continue // re-encoded on the way
        throw error
      }
      const { part, result } = await multipart.commitPart(upload, request.partNumber, writer)
      return { ...result, modifiedMs: part.modifiedMs }
    }
  }

  async #source(source: CopySource): Promise<{ record: ObjectRecord; dataKey: Buffer }> {
    const record = await liveObject(this.#options.metadata, source.bucket.id, source.key)
    checkCopyConditions(source.conditions, record.etag, record.modifiedMs)
    return { record, dataKey: openDataKey(record.bucketId, record.encryption, source.readKey, this.#options.keys) }
  }

  /** Whether the copy can refer to the source's own bytes. */
  #canShare(request: CopyObjectRequest, record: ObjectRecord): boolean {
    if (request.source.bucket.id !== request.bucket.id) return false
    if (request.checksumAlgorithm !== null && record.checksum?.algorithm !== request.checksumAlgorithm) return false
    return record.encryption.kind === wantedKind(request.encryption, request) && record.encryption.kind !== 'c'
  }

  async #copyBytes(request: CopyObjectRequest, record: ObjectRecord, sourceKey: Buffer, running: RunningRead): Promise<CopyResult> {
    const { dataKey, encryption } = newDataKey(request.encryption, request.bucket, this.#options.keys)
    const algorithm = request.checksumAlgorithm ?? record.checksum?.algorithm ?? null
    const writer = await openBody(this.#options, { bucketId: request.bucket.id, dataKey, encryption: encryption.kind },
      unspecifiedBody(record.size, algorithm, request.source.requestId))
    await this.#pump(request.source, record, sourceKey, [0, record.size], writer, running)
    return writer.commit(async (written) => {
      const copy: ObjectRecord = {
        ...copiedRecord(request, record),
        etag: written.etag,
        checksum: fullObject(written.checksum),
        encryption,
        body: written.body,
      }
      const { modifiedMs } = await this.#options.metadata.put(copy, request.condition, written.missing)
      return { etag: copy.etag, modifiedMs, checksum: copy.checksum, encryption }
    })
  }

  /** Moves [start, end) of an object into a body; aborts the body when that fails. */
  async #pump(
    { requestId }: CopySource, record: ObjectRecord, dataKey: Buffer, [start, end]: [number, number], writer: BodyWriter, running: RunningRead,
  ): Promise<void> {
    const source = this.#options.reader.source(record, dataKey, start, end, requestId)
    running.close = () => source.close()
    try {
      if (source instanceof BufferSource || source instanceof BlobRangeSource) await takeOne(source, writer)
      else await takeParts(source, writer)
    } catch (error) {
      writer.abort()
      throw error
    } finally {
      source.close()
    }
  }
}

async function partRange(metadata: ObjectMetadata, record: ObjectRecord, range: ReadRange): Promise<{ start: number; end: number }> {
  const { start, end } = await resolveObjectRange(metadata, record, range)
  // unlike a read's, a copy's range is not cut at the end of its source
  if (range.kind === 'bytes' && range.last !== null && range.last >= record.size) throw invalidRange(`bytes=${range.first}-${range.last}`, record.size)
  if (end - start > MAX_BLOB_BYTES) {
    throw new AnvilError('EntityTooLarge', 'The copied range exceeds the maximum size of a part', { details: { max: MAX_BLOB_BYTES } })
  }
  return { start, end }
}

async function takeParts(source: PartsSource, writer: BodyWriter): Promise<void> {
  for (let next = await source.nextRange(); next !== null; next = await source.nextRange()) {
    source.skip(await takeOne(next, writer))
  }
}

async function takeOne(source: BufferSource | BlobRangeSource, writer: BodyWriter): Promise<number> {
  if (source instanceof BlobRangeSource) {
    if (source.length > 0) await writer.takeFrom(await source.openToCopy())
    return source.length
  }
  const data = Buffer.alloc(await source.ready())
  source.copy(data)
  if (!writer.write(data)) await writer.drained()
  return data.length
}

function wantedKind(requested: RequestedEncryption, request: CopyObjectRequest): Encryption['kind'] {
  if (requested.kind !== 'bucket-default') return requested.kind
  return request.bucket.defaultEncryption ? 's3' : 'none'
}

/** S3 refuses a copy of an object to itself that changes nothing. */
function refuseIdle(request: CopyObjectRequest, record: ObjectRecord): void {
  const same = request.source.bucket.id === request.bucket.id && request.source.key === request.key
  if (!same || request.replace !== null) return
  if (request.storageClass !== null && request.storageClass !== record.storageClass) return
  if (request.encryption.kind !== 'bucket-default') return
  throw new AnvilError('InvalidRequest',
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
}

function copiedRecord(request: CopyObjectRequest, record: ObjectRecord): ObjectRecord {
  const kept: ObjectAttributes = request.replace ?? {
    headers: record.headers,
    userMetadata: record.userMetadata,
    storageClass: request.storageClass ?? 'STANDARD',
  }
  return {
    ...record,
    bucketId: request.bucket.id,
    key: request.key,
    modifiedMs: Date.now(),
    headers: kept.headers,
    userMetadata: kept.userMetadata,
    storageClass: kept.storageClass,
  }
}

/**
 * Takes one body through the addon: opens the upload in a placement group, feeds it, seals it, and hands the caller what
 * is needed for the metadata row. PutObject, UploadPart and the copies share it.
 */
import { AnvilError } from '../../shared/errors.ts'
import { newBlobId, type BlobId, type BucketId } from '../../shared/ids.ts'
import { INLINE_BYTES, MAX_BLOB_BYTES } from '../../shared/limits.ts'
import {
  nativeError, UPLOAD_CONTINUE, type ChecksumAlgorithm, type Native, type ReadHandle, type UploadHandle, type UploadResult,
} from '../../shared/native.ts'
import type { Body, Checksum, Encryption, MissingShard } from '../metadata/contract.ts'
import type { GroupLease, PlacementGroups } from '../placement/groups.ts'
import { commitSealed, type SealedPlace } from './commit-sealed.ts'
import type { BodySpec } from './contract.ts'

export interface BodyWriterOptions {
  native: Native
  groups: PlacementGroups
  /** ANVIL_ETAG. */
  etag: 'md5' | 'fast'
}

/** What a body became. `body` refers to shards that are durable; its row is not written yet. */
export interface WrittenBody {
  body: Exclude<Body, { kind: 'parts' }>
  size: number
  /** Without quotes; `-1` behind it when it is no MD5. */
  etag: string
  checksum: { algorithm: ChecksumAlgorithm; value: string } | null
  missing: MissingShard[]
  /** Must be written into another group before it is committed. */
  belowQuorum: boolean
}

/** A body of a copy: nothing to check it against. */
export const unspecifiedBody = (size: number, algorithm: ChecksumAlgorithm | null, requestId?: string): BodySpec => ({
  contentLength: size,
  awsChunked: null,
  expectSha256: '',
  expectMd5: '',
  checksum: algorithm === null ? null : { algorithm, expected: '', trailer: false },
  requestId,
})

export const fullObject = (checksum: WrittenBody['checksum']): Checksum | null =>
  checksum === null ? null : { ...checksum, type: 'FULL_OBJECT' }

/**
 * Opens an upload.
 * @throws AnvilError SlowDown, InsufficientRedundancy, InsufficientStorage, EntityTooLarge, MetadataUnavailable
 */
export async function openBody(
  options: BodyWriterOptions,
  target: { bucketId: BucketId; dataKey: Buffer; encryption: Encryption['kind'] },
  spec: BodySpec,
): Promise<BodyWriter> {
  if (spec.contentLength > MAX_BLOB_BYTES) {
    throw new AnvilError('EntityTooLarge', 'Your proposed upload exceeds the maximum allowed size', { details: { max: MAX_BLOB_BYTES } })
  }
  const blobId = newBlobId()
  const inline = spec.contentLength >= 0 && spec.contentLength <= INLINE_BYTES
  const lease = inline ? null : await options.groups.take(blobId)
  // AWS gives an MD5 only where it is one by contract; with SSE-C nobody may rely on it (DESIGN §5)
  const md5 = options.etag === 'md5' && target.encryption !== 'c'
  try {
    const handle = options.native.openUpload({
      bucketId: target.bucketId,
      blobId,
      pgId: lease?.group.id ?? 0,
      contentLength: spec.contentLength,
      maxBytes: MAX_BLOB_BYTES,
      awsChunked: spec.awsChunked,
      inlineBytes: INLINE_BYTES,
      md5: md5 || spec.expectMd5 !== '',
      fastDigest: !md5,
      sha256: spec.expectSha256 !== '' || spec.checksum?.algorithm === 'sha256',
      checksums: spec.checksum === null ? [] : [spec.checksum.algorithm],
      expectMd5: spec.expectMd5,
      expectSha256: spec.expectSha256,
      expectChecksum: spec.checksum?.expected ?? '',
      expectChecksumAlgorithm: spec.checksum === null || spec.checksum.expected === '' ? '' : spec.checksum.algorithm,
      checksumTrailer: spec.checksum?.trailer === true ? `x-amz-checksum-${spec.checksum.algorithm}` : '',
      dataKey: target.dataKey,
      requestId: spec.requestId,
    })
    const place = { bucketId: target.bucketId, encrypted: target.dataKey.length > 0 }
    return new BodyWriter(options, place, handle, blobId, lease, spec.checksum?.algorithm ?? null, md5)
  } catch (error) {
    lease?.release()
    throw nativeError(error)
  }
}

export class BodyWriter {
  readonly #options: BodyWriterOptions
  readonly #native: Native
  readonly #handle: UploadHandle
  readonly #blobId: BlobId
  readonly #lease: GroupLease | null
  readonly #algorithm: ChecksumAlgorithm | null
  readonly #md5: boolean
  readonly #place: SealedPlace

  constructor(
    options: BodyWriterOptions, place: SealedPlace, handle: UploadHandle, blobId: BlobId, lease: GroupLease | null,
    algorithm: ChecksumAlgorithm | null, md5: boolean,
  ) {
    this.#options = options
    this.#native = options.native
    this.#place = place
    this.#handle = handle
    this.#blobId = blobId
    this.#lease = lease
    this.#algorithm = algorithm
    this.#md5 = md5
  }

  /** False: stop until `drained` resolves. The chunk is copied. */
  write(chunk: Uint8Array): boolean {
    try {
      return this.#native.uploadWrite(this.#handle, chunk) === UPLOAD_CONTINUE
    } catch (error) {
      throw nativeError(error)
    }
  }

  async drained(): Promise<void> {
    try {
      await this.#native.uploadDrained(this.#handle)
    } catch (error) {
      throw nativeError(error)
    }
  }

  /** Moves all bytes of a read into this body inside the addon. */
  async takeFrom(read: ReadHandle): Promise<void> {
    try {
      await this.#native.uploadFrom(this.#handle, read)
    } catch (error) {
      throw nativeError(error)
    }
  }

  /**
   * Seals the body and commits it: `write` writes the row of what it is given, and is called again with another place of
   * the same bytes where the group was closed meanwhile.
   */
  async commit<Result>(write: (written: WrittenBody) => Promise<Result>): Promise<Result> {
    const written = await this.#seal()
    try {
      return await commitSealed(this.#options, this.#place, written, write)
    } finally {
      this.#release()
    }
  }

  /** Every answering member has its shard on stable storage when this resolves. The lease is still held. */
  async #seal(): Promise<WrittenBody> {
    let result: UploadResult
    try {
      result = this.#native.uploadFinishInline(this.#handle) ?? (await this.#native.uploadFinish(this.#handle))
    } catch (error) {
      this.#release()
      throw nativeError(error)
    }
    const checksum = this.#algorithm === null ? null : { algorithm: this.#algorithm, value: result.checksums[0]! }
    const etag = this.#md5 ? result.md5 : `${result.fastDigest}-1`
    const shared = { size: result.size, etag, checksum }
    if (result.inline !== null) {
      return { ...shared, body: { kind: 'inline', blobId: this.#blobId, data: result.inline }, missing: [], belowQuorum: false }
    }
    const pgId = this.#lease!.group.id
    return {
      ...shared,
      body: { kind: 'blob', blob: { blobId: this.#blobId, pgId, size: result.size, stripeBytes: result.stripeBytes } },
      missing: result.missing.map((index) => ({ blobId: this.#blobId, pgId, index })),
      belowQuorum: result.belowQuorum,
    }
  }

  /** The group may be closed as far as this upload goes. */
  #release(): void {
    this.#lease?.release()
  }

  /** Gives up; nothing stays on the drives. Idempotent. */
  abort(): void {
    this.#native.uploadAbort(this.#handle)
    this.#release()
  }
}

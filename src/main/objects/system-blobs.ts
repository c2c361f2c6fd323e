/** Bytes of the deployment itself as blobs that no object names, erasure-coded like any other. */
import { newBlobId, SYSTEM_BUCKET } from '../../shared/ids.ts'
import { nativeError, UPLOAD_CONTINUE, type Native } from '../../shared/native.ts'
import type { BlobLayout, ObjectMetadata } from '../metadata/contract.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import { commitSealed } from './commit-sealed.ts'

export interface SystemBlobOptions {
  native: Native
  groups: PlacementGroups
  metadata: Pick<ObjectMetadata, 'keepBlob' | 'dropBlob'>
  /** A stream that is longer becomes several blobs. */
  maxBlobBytes: number
}

const NONE = Buffer.alloc(0)

/**
 * Writes a stream, durable and committed when it resolves; the blobs hold it in their order.
 * @throws what the stream throws, or AnvilError as a PUT does; nothing stays then
 */
export async function writeSystemBlobs(options: SystemBlobOptions, bytes: AsyncIterable<Buffer>): Promise<BlobLayout[]> {
  const done: BlobLayout[] = []
  let current: SystemBlob | null = null
  try {
    for await (const chunk of bytes) {
      for (let at = 0; at < chunk.length; ) {
        current ??= await SystemBlob.open(options)
        const piece = chunk.subarray(at, at + options.maxBlobBytes - current.bytes)
        await current.write(piece)
        at += piece.length
        if (current.bytes < options.maxBlobBytes) continue
        done.push(await current.commit())
        current = null
      }
    }
    if (current !== null) done.push(await current.commit())
    return done
  } catch (error) {
    current?.abort()
    for (const { blobId } of done) await options.metadata.dropBlob(SYSTEM_BUCKET, blobId)
    throw nativeError(error)
  }
}

class SystemBlob {
  readonly #options: SystemBlobOptions
  readonly #blobId: BlobLayout['blobId']
  readonly #lease: Awaited<ReturnType<PlacementGroups['take']>>
  readonly #handle: number
  bytes = 0

  private constructor(options: SystemBlobOptions, blobId: BlobLayout['blobId'], lease: Awaited<ReturnType<PlacementGroups['take']>>) {
    this.#options = options
    this.#blobId = blobId
    this.#lease = lease
    this.#handle = options.native.openUpload({
      bucketId: SYSTEM_BUCKET, blobId, pgId: lease.group.id, contentLength: -1, maxBytes: options.maxBlobBytes, awsChunked: null, inlineBytes: 0, md5: false,
      fastDigest: false, sha256: false, checksums: [], expectMd5: '', expectSha256: '', expectChecksum: '', expectChecksumAlgorithm: '',
      checksumTrailer: '', dataKey: NONE,
    })
  }

  static async open(options: SystemBlobOptions): Promise<SystemBlob> {
    const blobId = newBlobId()
    const lease = await options.groups.take(blobId)
    try {
      return new SystemBlob(options, blobId, lease)
    } catch (error) {
      lease.release()
      throw error
    }
  }

  async write(piece: Buffer): Promise<void> {
    this.bytes += piece.length
    if (this.#options.native.uploadWrite(this.#handle, piece) !== UPLOAD_CONTINUE) await this.#options.native.uploadDrained(this.#handle)
  }

  async commit(): Promise<BlobLayout> {
    const { metadata, native } = this.#options
    try {
      const { size, stripeBytes, missing, belowQuorum } = await native.uploadFinish(this.#handle)
      const blobId = this.#blobId
      const pgId = this.#lease.group.id
      const written = {
        size, etag: '', checksum: null, body: { kind: 'blob' as const, blob: { blobId, pgId, size, stripeBytes } },
        missing: missing.map((index) => ({ blobId, pgId, index })),
        belowQuorum,
      }
      return await commitSealed(this.#options, { bucketId: SYSTEM_BUCKET, encrypted: false }, written, async (now) => {
        if (now.body.kind !== 'blob') throw new Error('a system blob is never inline')
        await metadata.keepBlob(SYSTEM_BUCKET, now.body.blob, now.missing)
        return now.body.blob
      })
    } finally {
      this.#lease.release()
    }
  }

  /** No error when it is gone. */
  abort(): void {
    this.#options.native.uploadAbort(this.#handle)
    this.#lease.release()
  }
}

/** Bodies on their way out: from memory, from one blob, from the parts of an object. */
import { AnvilError } from '../../shared/errors.ts'
import type { BucketId, UploadId } from '../../shared/ids.ts'
import { nativeError, nativeErrorKind, type Native, type ReadHandle } from '../../shared/native.ts'
import type { BlobLayout, ObjectMetadata, ObjectPart } from '../metadata/contract.ts'
import type { PlacementGroups } from '../placement/groups.ts'
import type { BodySource } from './contract.ts'

export interface BlobReading {
  native: Native
  metadata: ObjectMetadata
  groups: PlacementGroups
  /** The client's request that is answered with it. */
  requestId?: string
}

/** Bytes that are in memory already. */
export class BufferSource implements BodySource {
  #rest: Buffer

  constructor(data: Buffer) {
    this.#rest = data
  }

  ready(): Promise<number> {
    return Promise.resolve(this.#rest.length)
  }

  copy(target: Uint8Array): number {
    const n = Math.min(target.length, this.#rest.length)
    target.set(this.#rest.subarray(0, n))
    this.#rest = this.#rest.subarray(n)
    return n
  }

  close(): void {
    this.#rest = this.#rest.subarray(this.#rest.length)
  }
}

/** How often one read follows its blob to another group before it gives up. */
const MAX_RELOCATIONS = 3

/** A range of one blob. Follows the blob when it has moved: the hint in the object's row may be old. */
export class BlobRangeSource implements BodySource {
  readonly #reading: BlobReading
  readonly #bucketId: BucketId
  readonly #blob: BlobLayout
  readonly #dataKey: Buffer
  #offset: number
  readonly #end: number
  #handle: ReadHandle | null = null
  #relocations = 0
  #closed = false

  constructor(reading: BlobReading, bucketId: BucketId, blob: BlobLayout, dataKey: Buffer, start: number, end: number) {
    this.#reading = reading
    this.#bucketId = bucketId
    this.#blob = { ...blob, pgId: reading.groups.relocated(blob.blobId) ?? blob.pgId }
    this.#dataKey = dataKey
    this.#offset = start
    this.#end = end
  }

  async ready(): Promise<number> {
    for (;;) {
      if (this.#closed || this.#offset === this.#end) return 0
      try {
        this.#handle ??= await this.#open()
        if (this.#closed) {
          this.close()
          return 0
        }
        const waiting = await this.#reading.native.readReady(this.#handle)
        if (waiting === 0 && !this.#closed) {
          throw new AnvilError('ShardsUnavailable', `blob ${this.#blob.blobId} ended ${this.#end - this.#offset} bytes early`)
        }
        return waiting
      } catch (error) {
        this.#closeHandle()
        if (this.#closed) return 0
        await this.#relocate(error)
      }
    }
  }

  /** Bytes of the range that have not been copied yet. */
  get length(): number {
    return this.#end - this.#offset
  }

  copy(target: Uint8Array): number {
    if (this.#handle === null) return 0
    const n = this.#reading.native.readCopy(this.#handle, target)
    this.#offset += n
    return n
  }

  close(): void {
    this.#closed = true
    this.#closeHandle()
  }

  /**
   * The addon's handle for the range, for a server-side copy: it belongs to the caller, and cannot follow its blob. So the
   * rows of blob and group are read first; one that moves on the way fails the copy with ShardsUnavailable.
   */
  async openToCopy(): Promise<ReadHandle> {
    const { metadata, groups } = this.#reading
    const row = await metadata.blob(this.#bucketId, this.#blob.blobId)
    if (row !== null) this.#blob.pgId = row.pgId
    await groups.reload(this.#blob.pgId)
    return this.#open()
  }

  async #open(): Promise<ReadHandle> {
    const { native, groups, requestId } = this.#reading
    await groups.ensure(this.#blob.pgId)
    try {
      return native.openRead({
        bucketId: this.#bucketId,
        blobId: this.#blob.blobId,
        pgId: this.#blob.pgId,
        size: this.#blob.size,
        stripeBytes: this.#blob.stripeBytes,
        encrypted: this.#dataKey.length > 0,
        dataKey: this.#dataKey,
        offset: this.#offset,
        length: this.#end - this.#offset,
        requestId,
      })
    } catch (error) {
      throw nativeError(error)
    }
  }

  #closeHandle(): void {
    if (this.#handle !== null) this.#reading.native.readClose(this.#handle)
    this.#handle = null
  }

  /** Asks the blob's row, which is the truth, where it is now; throws the error if that brings nothing new. */
  async #relocate(error: unknown): Promise<void> {
    const failure = nativeError(error)
    const moved = nativeErrorKind(error) === 'Moved'
    if ((!moved && failure.kind !== 'ShardsUnavailable') || this.#relocations++ >= MAX_RELOCATIONS) throw failure
    const { metadata, groups } = this.#reading
    const row = await metadata.blob(this.#bucketId, this.#blob.blobId)
    if (row === null) throw failure
    const known = await groups.ensure(row.pgId)
    const fresh = await groups.reload(row.pgId)
    if (row.pgId === this.#blob.pgId && fresh.generation === known.generation && !moved) throw failure
    this.#blob.pgId = row.pgId
    groups.noteRelocation(this.#blob.blobId, row.pgId)
  }
}

/** A range over several parts, one after the other. Parts are looked up page by page, so ten thousand need no memory. */
export class PartsSource implements BodySource {
  readonly #reading: BlobReading
  readonly #bucketId: BucketId
  readonly #uploadId: UploadId
  readonly #dataKey: Buffer
  #offset: number
  readonly #end: number
  #parts: ObjectPart[] = []
  #current: BodySource | null = null
  #closed = false

  constructor(reading: BlobReading, bucketId: BucketId, uploadId: UploadId, dataKey: Buffer, start: number, end: number) {
    this.#reading = reading
    this.#bucketId = bucketId
    this.#uploadId = uploadId
    this.#dataKey = dataKey
    this.#offset = start
    this.#end = end
  }

  async ready(): Promise<number> {
    while (!this.#closed && this.#offset < this.#end) {
      if (this.#current === null) {
        const next = await this.nextRange()
        if (next === null) break
        // closed while the part was looked up: nobody would close what is opened now
        if (this.#closed) return 0
        this.#current = next
      }
      const current = this.#current
      const waiting = await current.ready()
      if (waiting > 0) return waiting
      current.close()
      if (this.#current === current) this.#current = null
    }
    return 0
  }

  copy(target: Uint8Array): number {
    const n = this.#current?.copy(target) ?? 0
    this.#offset += n
    return n
  }

  close(): void {
    this.#closed = true
    this.#current?.close()
    this.#current = null
  }

  /** The source of the next part's share of the range, or null at the end. For server-side copies, which skip `copy`. */
  async nextRange(): Promise<BufferSource | BlobRangeSource | null> {
    if (this.#offset >= this.#end) return null
    if (this.#parts.length === 0) {
      this.#parts = await this.#reading.metadata.objectParts(this.#bucketId, this.#uploadId, this.#offset, this.#end)
    }
    const part = this.#parts.shift()
    if (part === undefined) {
      throw new AnvilError('ShardsUnavailable', `the parts of ${this.#uploadId} end at ${this.#offset} of ${this.#end}`)
    }
    const start = this.#offset - part.offset
    const end = Math.min(part.size, this.#end - part.offset)
    return partSource(this.#reading, this.#bucketId, part, this.#dataKey, start, end)
  }

  /** A server-side copy has taken these bytes. */
  skip(bytes: number): void {
    this.#offset += bytes
  }
}

function partSource(
  reading: BlobReading, bucketId: BucketId, part: ObjectPart, dataKey: Buffer, start: number, end: number,
): BufferSource | BlobRangeSource {
  if (part.body.kind === 'blob') return new BlobRangeSource(reading, bucketId, part.body.blob, dataKey, start, end)
  return new BufferSource(openInline(reading.native, dataKey, part.body.blobId, part.body.data).subarray(start, end))
}

/** The plaintext of an inline body. */
export function openInline(native: Native, dataKey: Buffer, blobId: string, data: Buffer): Buffer {
  if (dataKey.length === 0) return data
  try {
    return native.openInline(dataKey, blobId, data)
  } catch (error) {
    throw nativeError(error)
  }
}

/** GET and HEAD: the row, the conditions, the range, and a body whose first bytes have been verified. */
import { AnvilError } from '../../shared/errors.ts'
import type { BucketId } from '../../shared/ids.ts'
import type { ObjectMetadata, ObjectRecord } from '../metadata/contract.ts'
import { BlobRangeSource, BufferSource, openInline, PartsSource, type BlobReading } from './body-source.ts'
import { checkReadConditions } from './conditions.ts'
import type { BodySource, GetResult, HeadRequest, HeadResult, ReadRange } from './contract.ts'
import { openDataKey } from './encryption.ts'
import type { Keyring } from '../secrets/keyring.ts'
import { invalidRange, resolveRange, type ResolvedRange } from './range.ts'
import type { RunningRead, RunningReads } from './running-reads.ts'

export interface ReaderOptions extends BlobReading {
  keys: Keyring
  runningReads: RunningReads
}

/** A row that changes under a read is read again this often. */
const MAX_ATTEMPTS = 3

export class ObjectReader {
  readonly #options: ReaderOptions

  constructor(options: ReaderOptions) {
    this.#options = options
  }

  async head(request: HeadRequest): Promise<HeadResult> {
    const record = await liveObject(this.#options.metadata, request.bucket.id, request.key)
    return (await this.#look(record, request)).head
  }

  async get(request: HeadRequest): Promise<GetResult> {
    // before the row is looked up: from then on nothing that it names is collected
    const running = this.#options.runningReads.start()
    try {
      return await this.#get(request, running)
    } catch (error) {
      running.end()
      throw error
    }
  }

  async #get(request: HeadRequest, running: RunningRead): Promise<GetResult> {
    const { metadata } = this.#options
    let record = await liveObject(metadata, request.bucket.id, request.key)
    for (let attempt = 1; ; attempt++) {
      const { head, dataKey } = await this.#look(record, request)
      const source = this.source(record, dataKey, head.start, head.end, request.requestId)
      running.close = () => source.close()
      try {
        if (head.end > head.start) await source.ready()
        return { ...head, body: endingWith(source, running) }
      } catch (error) {
        source.close()
        if (!AnvilError.is(error, 'ShardsUnavailable') || attempt === MAX_ATTEMPTS) throw error
        // overwritten or deleted since its row was read, and collected: then there is a newer truth
        const now = await liveObject(metadata, request.bucket.id, request.key)
        if (bodyId(now) === bodyId(record)) throw error
        record = now
      }
    }
  }

  /** The bytes [start, end) of an object whose row was looked up within a running read. The caller closes it. */
  source(record: ObjectRecord, dataKey: Buffer, start: number, end: number, requestId?: string): BufferSource | BlobRangeSource | PartsSource {
    const { body, bucketId } = record
    const reading = { ...this.#options, requestId }
    switch (body.kind) {
      case 'inline':
        return new BufferSource(openInline(this.#options.native, dataKey, body.blobId, body.data).subarray(start, end))
      case 'blob':
        return new BlobRangeSource(reading, bucketId, body.blob, dataKey, start, end)
      case 'parts':
        return new PartsSource(reading, bucketId, body.uploadId, dataKey, start, end)
    }
  }

  async #look(record: ObjectRecord, request: HeadRequest): Promise<{ head: HeadResult; dataKey: Buffer }> {
    const dataKey = openDataKey(record.bucketId, record.encryption, request.readKey, this.#options.keys)
    checkReadConditions(request.conditions, record.etag, record.modifiedMs)
    const partCount = record.body.kind === 'parts' ? record.body.partCount : null
    const range = await resolveObjectRange(this.#options.metadata, record, request.range)
    return { head: { record, ...range, partCount }, dataKey }
  }
}

const endingWith = (source: BodySource, running: RunningRead): BodySource => ({
  ready: () => source.ready(),
  copy: (target) => source.copy(target),
  close: () => {
    source.close()
    running.end()
  },
})

/** @throws AnvilError InvalidRange, InvalidArgument (no such part) */
export async function resolveObjectRange(metadata: ObjectMetadata, record: ObjectRecord, range: ReadRange): Promise<ResolvedRange> {
  if (range.kind !== 'part') return resolveRange(range, record.size)
  if (record.body.kind !== 'parts') {
    if (range.partNumber !== 1) throw invalidRange(`part ${range.partNumber}`, record.size)
    return { start: 0, end: record.size, partial: true }
  }
  const part = await metadata.objectPart(record.bucketId, record.body.uploadId, range.partNumber)
  if (part === null) throw invalidRange(`part ${range.partNumber}`, record.size)
  return { start: part.offset, end: part.offset + part.size, partial: true }
}

/** @throws AnvilError NoSuchKey */
export async function liveObject(metadata: ObjectMetadata, bucketId: BucketId, key: string): Promise<ObjectRecord> {
  const record = await metadata.get(bucketId, key)
  if (record === null) throw new AnvilError('NoSuchKey', 'The specified key does not exist.')
  return record
}

function bodyId(record: ObjectRecord): string {
  switch (record.body.kind) {
    case 'inline':
      return record.body.blobId
    case 'blob':
      return record.body.blob.blobId
    case 'parts':
      return record.body.uploadId
  }
}

/** The object store: S3's semantics over metadata, placement and the addon. The one implementation of `ObjectStore`. */
import { AnvilError } from '../../shared/errors.ts'
import type { BucketId, UploadId } from '../../shared/ids.ts'
import type { Bucket, Directory } from '../directory/contract.ts'
import type { ListPage, ListRequest, ObjectRecord, UploadRecord, WriteCondition } from '../metadata/contract.ts'
import { fullObject, openBody } from './body-writer.ts'
import { checkWriteCondition } from './write-conditions.ts'
import { ObjectCopier } from './copier.ts'
import type {
  BodySink, CompleteUploadRequest, CopyObjectRequest, CopyResult, CreateUploadRequest, GetResult, HeadRequest, HeadResult, ObjectStore,
  PartsPage, PutObjectRequest, PutObjectResult, UploadPartCopyRequest, UploadPartRequest, UploadPartResult,
} from './contract.ts'
import { newDataKey } from './encryption.ts'
import { MultipartUploads, type MultipartOptions } from './multipart.ts'
import { ObjectReader } from './reader.ts'
import type { RunningReads } from './running-reads.ts'

export interface ObjectStoreOptions extends MultipartOptions {
  directory: Directory
  runningReads: RunningReads
}

export class AnvilObjectStore implements ObjectStore {
  readonly #options: ObjectStoreOptions
  readonly #reader: ObjectReader
  readonly #multipart: MultipartUploads
  readonly #copier: ObjectCopier

  constructor(options: ObjectStoreOptions) {
    this.#options = options
    this.#reader = new ObjectReader(options)
    this.#multipart = new MultipartUploads(options)
    this.#copier = new ObjectCopier({ ...options, reader: this.#reader, multipart: this.#multipart })
  }

  async putObject(request: PutObjectRequest): Promise<BodySink<PutObjectResult>> {
    const { metadata, keys } = this.#options
    const { bucket, key, condition } = request
    // decided in the database at the end; looked at here so that a body which cannot win need not be sent
    await checkWriteCondition(metadata, bucket.id, key, condition)
    const { dataKey, encryption } = newDataKey(request.encryption, bucket, keys)
    const writer = await openBody(this.#options, { bucketId: bucket.id, dataKey, encryption: encryption.kind }, request.body)
    return {
      write: (chunk) => writer.write(chunk),
      drained: () => writer.drained(),
      abort: () => writer.abort(),
      finish: () => writer.commit(async (written) => {
        const checksum = fullObject(written.checksum)
        const record: ObjectRecord = {
          bucketId: bucket.id,
          key,
          size: written.size,
          etag: written.etag,
          modifiedMs: Date.now(),
          storageClass: request.storageClass,
          headers: request.headers,
          userMetadata: request.userMetadata,
          checksum,
          encryption,
          body: written.body,
        }
        await metadata.put(record, condition, written.missing)
        return { etag: record.etag, size: record.size, checksum, encryption }
      }),
    }
  }

  uploadPart(request: UploadPartRequest): Promise<BodySink<UploadPartResult>> {
    return this.#multipart.uploadPart(request)
  }

  headObject(request: HeadRequest): Promise<HeadResult> {
    return this.#reader.head(request)
  }

  getObject(request: HeadRequest): Promise<GetResult> {
    return this.#reader.get(request)
  }

  async objectParts(record: ObjectRecord, after: number, limit: number): ReturnType<ObjectStore['objectParts']> {
    if (record.body.kind !== 'parts') return null
    const parts = await this.#options.metadata.objectPartsPage(record.bucketId, record.body.uploadId, after, limit)
    return parts.map(({ partNumber, size, checksum }) => ({ partNumber, size, checksum }))
  }

  deleteObject(bucketId: BucketId, key: string, condition: WriteCondition): Promise<{ existed: boolean }> {
    return this.#options.metadata.delete(bucketId, key, condition)
  }

  deleteObjects(bucketId: BucketId, keys: { key: string; ifMatch?: string }[]): ReturnType<ObjectStore['deleteObjects']> {
    return this.#options.metadata.deleteMany(bucketId, keys)
  }

  copyObject(request: CopyObjectRequest): Promise<CopyResult> {
    return this.#copier.copyObject(request)
  }

  listObjects(request: ListRequest): Promise<ListPage> {
    return this.#options.metadata.list(request)
  }

  createUpload(request: CreateUploadRequest): Promise<UploadRecord> {
    return this.#multipart.create(request)
  }

  uploadPartCopy(request: UploadPartCopyRequest): Promise<UploadPartResult & { modifiedMs: number }> {
    return this.#copier.uploadPartCopy(request)
  }

  completeUpload(request: CompleteUploadRequest): Promise<PutObjectResult> {
    return this.#multipart.complete(request)
  }

  abortUpload(bucketId: BucketId, key: string, uploadId: UploadId): Promise<void> {
    return this.#options.metadata.abortUpload(bucketId, key, uploadId)
  }

  async listParts(bucketId: BucketId, key: string, uploadId: UploadId, after: number, limit: number): Promise<PartsPage> {
    const upload = await this.#options.metadata.upload(bucketId, key, uploadId)
    const page = await this.#options.metadata.listParts(bucketId, uploadId, after, limit)
    return { upload, ...page }
  }

  listUploads(request: Parameters<ObjectStore['listUploads']>[0]): ReturnType<ObjectStore['listUploads']> {
    return this.#options.metadata.listUploads(request)
  }

  async createBucket(input: Parameters<ObjectStore['createBucket']>[0]): Promise<Bucket> {
    const { directory, metadata } = this.#options
    try {
      const bucket = await directory.createBucket(input)
      await metadata.createBucketState(bucket.id)
      return bucket
    } catch (error) {
      // a node that stopped between the two steps has left a bucket without its regional row: the owner's retry mends it
      if (AnvilError.is(error, 'BucketAlreadyOwnedByYou')) {
        const bucket = await directory.bucket(input.name)
        if (bucket !== null) await metadata.createBucketState(bucket.id)
      }
      throw error
    }
  }

  async deleteBucket(bucket: Bucket): Promise<void> {
    const { directory, metadata } = this.#options
    await metadata.beginDeleteBucket(bucket.id)
    await directory.removeBucket(bucket.id)
    await metadata.finishDeleteBucket(bucket.id)
  }
}

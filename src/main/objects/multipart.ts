/** Multipart uploads: S3's semantics over the metadata and the body writer. */
import { AnvilError } from '../../shared/errors.ts'
import { newUploadId } from '../../shared/ids.ts'
import type { ObjectMetadata, PartRecord, UploadRecord } from '../metadata/contract.ts'
import { assembleParts, defaultChecksumType } from './assemble.ts'
import { fullObject, openBody, type BodyWriter, type BodyWriterOptions, type WrittenBody } from './body-writer.ts'
import type {
  BodySink, BodySpec, CompleteUploadRequest, CreateUploadRequest, PutObjectResult, ReadKey, UploadPartRequest, UploadPartResult,
} from './contract.ts'
import { newDataKey, openDataKey } from './encryption.ts'
import type { Keyring } from '../secrets/keyring.ts'

export interface MultipartOptions extends BodyWriterOptions {
  metadata: ObjectMetadata
  keys: Keyring
}

export class MultipartUploads {
  readonly #options: MultipartOptions

  constructor(options: MultipartOptions) {
    this.#options = options
  }

  async create(request: CreateUploadRequest): Promise<UploadRecord> {
    const { bucket, key, initiator, headers, userMetadata, storageClass, checksumAlgorithm } = request
    const { encryption } = newDataKey(request.encryption, bucket, this.#options.keys)
    const upload: UploadRecord = {
      bucketId: bucket.id,
      uploadId: newUploadId(),
      key,
      initiator,
      startedMs: Date.now(),
      storageClass,
      headers,
      userMetadata,
      checksumAlgorithm,
      checksumType: checksumAlgorithm === null ? null : (request.checksumType ?? defaultChecksumType(checksumAlgorithm)),
      encryption,
    }
    await this.#options.metadata.createUpload(upload)
    return upload
  }

  async uploadPart(request: UploadPartRequest): Promise<BodySink<UploadPartResult>> {
    const { upload, writer } = await this.openPart(request, request.body)
    return {
      write: (chunk) => writer.write(chunk),
      drained: () => writer.drained(),
      finish: async () => (await this.commitPart(upload, request.partNumber, writer)).result,
      abort: () => writer.abort(),
    }
  }

  /** Opens the body of a part, encrypted as its upload is. */
  async openPart(
    request: { bucket: UploadPartRequest['bucket']; key: string; uploadId: UploadPartRequest['uploadId']; readKey: ReadKey },
    spec: BodySpec,
  ): Promise<{ upload: UploadRecord; writer: BodyWriter }> {
    const upload = await this.#options.metadata.upload(request.bucket.id, request.key, request.uploadId)
    const dataKey = openDataKey(upload.bucketId, upload.encryption, request.readKey, this.#options.keys)
    const target = { bucketId: request.bucket.id, dataKey, encryption: upload.encryption.kind }
    const writer = await openBody(this.#options, target, withChecksumOf(upload, spec))
    return { upload, writer }
  }

  commitPart(upload: UploadRecord, partNumber: number, writer: BodyWriter): Promise<{ part: PartRecord; result: UploadPartResult }> {
    return writer.commit(async (written) => {
      const part = partRecord(partNumber, written)
      await this.#options.metadata.putPart(upload.bucketId, upload.uploadId, part, written.missing)
      return { part, result: { etag: written.etag, checksum: fullObject(written.checksum), encryption: upload.encryption } }
    })
  }

  async complete(request: CompleteUploadRequest): Promise<PutObjectResult> {
    if (request.parts.length === 0) throw new AnvilError('InvalidRequest', 'You must specify at least one part')
    for (let i = 1; i < request.parts.length; i++) {
      if (request.parts[i]!.partNumber <= request.parts[i - 1]!.partNumber) {
        throw new AnvilError('InvalidPartOrder',
          'The list of parts was not in ascending order. The parts list must be specified in order by part number.')
      }
    }
    const outcome = await this.#options.metadata.completeUpload({
      bucketId: request.bucket.id,
      uploadId: request.uploadId,
      key: request.key,
      parts: request.parts.map(({ partNumber, etag, checksum }) => ({ partNumber, etag, ...(checksum && { checksum: checksum.value }) })),
      condition: request.condition,
      assemble: (upload, parts) => assembleParts(this.#options.native, request, upload, parts),
    })
    return { etag: outcome.etag, size: outcome.size, checksum: outcome.checksum, encryption: outcome.encryption }
  }
}

/** A part carries a checksum of its upload's algorithm, whether the client sends one or not. */
function withChecksumOf(upload: UploadRecord, spec: BodySpec): BodySpec {
  const algorithm = upload.checksumAlgorithm
  if (algorithm === null) return spec
  if (spec.checksum === null) return { ...spec, checksum: { algorithm, expected: '', trailer: false } }
  if (spec.checksum.algorithm !== algorithm) {
    throw new AnvilError('InvalidRequest',
      `Checksum Type mismatch occurred, expected checksum Type: ${algorithm}, actual checksum Type: ${spec.checksum.algorithm}`)
  }
  return spec
}

const partRecord = (partNumber: number, written: WrittenBody): PartRecord => ({
  partNumber,
  size: written.size,
  etag: written.etag,
  checksum: written.checksum,
  modifiedMs: Date.now(),
  body: written.body,
})

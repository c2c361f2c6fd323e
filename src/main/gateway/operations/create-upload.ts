/** CreateMultipartUpload and AbortMultipartUpload. */
import type { UploadId } from '../../../shared/ids.ts'
import { isId128 } from '../../../shared/ids.ts'
import { AnvilError } from '../../../shared/errors.ts'
import { invalidRequest } from '../errors.ts'
import { emptyAnswer, xmlAnswer } from '../http/answer.ts'
import { parseAttributes } from '../request/attributes.ts'
import { algorithmName, parseAlgorithm, parseChecksumType } from '../request/checksum.ts'
import { encryptionHeaders, parseEncryption } from '../request/encryption.ts'
import { refuseUnbuilt } from '../request/unbuilt.ts'
import { element, s3Document } from '../xml/writer.ts'
import type { Call, Operation } from './operation.ts'

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html */
export const createUpload: Operation = {
  name: 'CreateMultipartUpload',
  access: { kind: 'any', actions: ['object:write'], on: 'key' },
  async run(call) {
    const { headers, bucket, key } = call
    refuseUnbuilt(headers)
    const upload = await call.store.createUpload({
      bucket, key,
      initiator: call.app().clientId,
      ...parseAttributes(headers),
      ...checksumWanted(call),
      encryption: parseEncryption(call.head),
    })
    return xmlAnswer(
      s3Document('InitiateMultipartUploadResult', element('Bucket', call.bucketName) + element('Key', key) + element('UploadId', upload.uploadId)),
      [
        ...(upload.checksumAlgorithm === null ? [] : [['x-amz-checksum-algorithm', algorithmName(upload.checksumAlgorithm)] as [string, string]]),
        ...(upload.checksumType === null ? [] : [['x-amz-checksum-type', upload.checksumType] as [string, string]]),
        ...encryptionHeaders(upload.encryption),
      ],
    )
  },
}

/** Whole-object values can be made from parts for CRCs only, and CRC-64/NVME knows no other. @throws S3Error InvalidRequest */
function checksumWanted({ headers }: Call): { checksumAlgorithm: ReturnType<typeof parseAlgorithm> | null; checksumType: 'FULL_OBJECT' | 'COMPOSITE' | null } {
  const text = headers.get('x-amz-checksum-algorithm')
  const type = parseChecksumType(headers)
  if (text === undefined) {
    if (type !== null) throw invalidRequest('The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.')
    return { checksumAlgorithm: null, checksumType: null }
  }
  const algorithm = parseAlgorithm(text, 'x-amz-checksum-algorithm')
  const refused = algorithm === 'crc64nvme' ? 'COMPOSITE' : algorithm === 'sha1' || algorithm === 'sha256' ? 'FULL_OBJECT' : null
  if (type !== null && type === refused) {
    throw invalidRequest(`The ${type} checksum type cannot be used with the ${algorithmName(algorithm).toLowerCase()} checksum algorithm.`)
  }
  return { checksumAlgorithm: algorithm, checksumType: type ?? (algorithm === 'crc64nvme' ? 'FULL_OBJECT' : 'COMPOSITE') }
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html */
export const abortUpload: Operation = {
  name: 'AbortMultipartUpload',
  access: { kind: 'any', actions: ['object:write'], on: 'key' },
  async run(call) {
    await call.store.abortUpload(call.bucket.id, call.key, uploadIdOf(call))
    return emptyAnswer(204)
  },
}

/** @throws AnvilError NoSuchUpload for anything that cannot be one */
export function uploadIdOf(call: Call): UploadId {
  const text = call.query.get('uploadId') ?? ''
  if (!isId128(text)) throw new AnvilError('NoSuchUpload', 'no such upload', { details: { uploadId: text } })
  return text as UploadId
}

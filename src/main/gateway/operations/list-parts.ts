/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html */
import { MAX_LIST_KEYS } from '../../../shared/limits.ts'
import { xmlAnswer } from '../http/answer.ts'
import { algorithmName, checksumElement } from '../request/checksum.ts'
import { element, isoSeconds, parent, s3Document } from '../xml/writer.ts'
import { uploadIdOf } from './create-upload.ts'
import { ownerXml } from './list-objects.ts'
import { quoted } from './object-answer.ts'
import type { Operation } from './operation.ts'

const MAX_MARKER = 0x7fffffff

export const listParts: Operation = {
  name: 'ListParts',
  access: { kind: 'any', actions: ['object:write', 'object:list'], on: 'key' },
  async run(call) {
    const { query, bucket, key } = call
    const limit = query.count('max-parts', MAX_LIST_KEYS)
    const after = query.has('part-number-marker') ? query.count('part-number-marker', MAX_MARKER) : 0
    const page = await call.store.listParts(bucket.id, key, uploadIdOf(call), after, limit)
    const { upload, parts, truncated } = page
    return xmlAnswer(s3Document('ListPartsResult',
      element('Bucket', call.bucketName) + element('Key', key) + element('UploadId', upload.uploadId) +
      parent('Initiator', element('ID', upload.initiator) + element('DisplayName', upload.initiator)) + ownerXml(call) +
      element('StorageClass', upload.storageClass) + element('PartNumberMarker', after) +
      element('NextPartNumberMarker', parts.at(-1)?.partNumber ?? after) + element('MaxParts', limit) + element('IsTruncated', truncated) +
      (upload.checksumAlgorithm === null ? '' : element('ChecksumAlgorithm', algorithmName(upload.checksumAlgorithm)) + element('ChecksumType', upload.checksumType)) +
      parts.map((part) => parent('Part',
        element('PartNumber', part.partNumber) + element('LastModified', isoSeconds(part.modifiedMs)) + element('ETag', quoted(part.etag)) +
        element('Size', part.size) + (part.checksum === null ? '' : element(checksumElement(part.checksum.algorithm), part.checksum.value)))).join('')))
  },
}

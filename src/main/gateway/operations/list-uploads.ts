/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html */
import { MAX_LIST_KEYS } from '../../../shared/limits.ts'
import type { UploadRecord } from '../../metadata/contract.ts'
import { xmlAnswer } from '../http/answer.ts'
import { algorithmName } from '../request/checksum.ts'
import { element, isoSeconds, parent, s3Document } from '../xml/writer.ts'
import { listEncoding } from './list-encoding.ts'
import { ownerXml } from './list-objects.ts'
import type { Call, Operation } from './operation.ts'

export const listUploads: Operation = {
  name: 'ListMultipartUploads',
  access: { kind: 'any', actions: ['object:list'], on: 'prefix' },
  async run(call) {
    const { query, bucket } = call
    const prefix = query.get('prefix') ?? ''
    const delimiter = query.get('delimiter') ?? ''
    const keyAfter = query.get('key-marker') ?? ''
    // Without a key it means nothing, and S3 leaves it out of account.
    const uploadIdAfter = keyAfter === '' ? '' : (query.get('upload-id-marker') ?? '')
    const limit = query.count('max-uploads', MAX_LIST_KEYS)
    const { encode, encodingType } = listEncoding(query)
    const page = limit === 0
      ? { uploads: [], prefixes: [], truncated: false }
      : await call.store.listUploads({ bucketId: bucket.id, prefix, delimiter, keyAfter, uploadIdAfter, limit })
    return xmlAnswer(s3Document('ListMultipartUploadsResult',
      element('Bucket', call.bucketName) + element('KeyMarker', encode(keyAfter)) + element('UploadIdMarker', uploadIdAfter) +
      (page.truncated ? nextMarkers(page.uploads.at(-1), page.prefixes.at(-1), encode) : '') +
      (delimiter === '' ? '' : element('Delimiter', encode(delimiter))) + element('Prefix', encode(prefix)) +
      element('EncodingType', encodingType) + element('MaxUploads', limit) + element('IsTruncated', page.truncated) +
      page.uploads.map((upload) => uploadXml(call, upload, encode)).join('') +
      page.prefixes.map((text) => parent('CommonPrefixes', element('Prefix', encode(text)))).join('')))
  },
}

/** The later one of the last upload and the last prefix, in the order of keys (bytes of UTF-8). */
function nextMarkers(upload: UploadRecord | undefined, prefix: string | undefined, encode: (text: string) => string): string {
  if (prefix !== undefined && (upload === undefined || Buffer.compare(Buffer.from(upload.key), Buffer.from(prefix)) < 0)) {
    return element('NextKeyMarker', encode(prefix))
  }
  return upload === undefined ? '' : element('NextKeyMarker', encode(upload.key)) + element('NextUploadIdMarker', upload.uploadId)
}

const uploadXml = (call: Call, upload: UploadRecord, encode: (text: string) => string): string => parent('Upload',
  element('Key', encode(upload.key)) + element('UploadId', upload.uploadId) +
  parent('Initiator', element('ID', upload.initiator) + element('DisplayName', upload.initiator)) + ownerXml(call) +
  element('StorageClass', upload.storageClass) + element('Initiated', isoSeconds(upload.startedMs)) +
  (upload.checksumAlgorithm === null ? '' : element('ChecksumAlgorithm', algorithmName(upload.checksumAlgorithm)) + element('ChecksumType', upload.checksumType)))

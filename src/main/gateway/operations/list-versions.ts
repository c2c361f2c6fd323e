/** ListObjectVersions of a bucket without versions: every object is its only version, `null`. */
import type { ListPage } from '../../metadata/contract.ts'
import { MAX_LIST_KEYS } from '../../../shared/limits.ts'
import { xmlAnswer } from '../http/answer.ts'
import { algorithmName } from '../request/checksum.ts'
import { element, isoSeconds, parent, s3Document } from '../xml/writer.ts'
import { listEncoding } from './list-encoding.ts'
import { nameOf, ownerXml } from './list-objects.ts'
import { quoted } from './object-answer.ts'
import type { Operation } from './operation.ts'

export const listObjectVersions: Operation = {
  name: 'ListObjectVersions',
  access: { kind: 'any', actions: ['object:list'], on: 'prefix' },
  public: true,
  async run(call) {
    const { query, bucket } = call
    const prefix = query.get('prefix') ?? ''
    const delimiter = query.get('delimiter') ?? ''
    const keyMarker = query.get('key-marker') ?? ''
    const limit = query.count('max-keys', MAX_LIST_KEYS)
    const { encode, encodingType } = listEncoding(query)
    const page: ListPage = limit === 0
      ? { entries: [], truncated: false }
      : await call.store.listObjects({ bucketId: bucket.id, prefix, delimiter, after: keyMarker, limit })
    const last = page.entries.at(-1)
    const next = page.truncated && last !== undefined
      ? element('NextKeyMarker', encode(nameOf(last))) + (last.kind === 'object' ? element('NextVersionIdMarker', 'null') : '')
      : ''
    const owner = ownerXml(call)
    const entries = page.entries.map((entry) => entry.kind === 'prefix'
      ? parent('CommonPrefixes', element('Prefix', encode(entry.prefix)))
      : parent('Version',
        element('Key', encode(entry.key)) + element('VersionId', 'null') + element('IsLatest', true) +
        element('LastModified', isoSeconds(entry.modifiedMs)) + element('ETag', quoted(entry.etag)) +
        (entry.checksum === null ? '' : element('ChecksumAlgorithm', algorithmName(entry.checksum.algorithm)) + element('ChecksumType', entry.checksum.type)) +
        element('Size', entry.size) + element('StorageClass', entry.storageClass) + owner))
    return xmlAnswer(s3Document('ListVersionsResult',
      element('Name', call.bucketName) + element('Prefix', encode(prefix)) + element('KeyMarker', encode(keyMarker)) +
      element('VersionIdMarker', query.get('version-id-marker') ?? '') + next + element('MaxKeys', limit) +
      (delimiter === '' ? '' : element('Delimiter', encode(delimiter))) + element('EncodingType', encodingType) +
      element('IsTruncated', page.truncated) + entries.join('')))
  },
}

/** ListObjects and ListObjectsV2: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html */
import type { ListEntry, ListPage } from '../../metadata/contract.ts'
import { MAX_LIST_KEYS } from '../../../shared/limits.ts'
import { ownerId } from '../call.ts'
import { xmlAnswer } from '../http/answer.ts'
import { algorithmName } from '../request/checksum.ts'
import { element, isoSeconds, parent, s3Document } from '../xml/writer.ts'
import { decodeToken, encodeToken } from './continuation-token.ts'
import { listEncoding } from './list-encoding.ts'
import { quoted } from './object-answer.ts'
import type { Call, Operation } from './operation.ts'

const access: Operation['access'] = { kind: 'any', actions: ['object:list'], on: 'prefix' }

export const listObjects: Operation = {
  name: 'ListObjects',
  access,
  public: true,
  async run(call) {
    const marker = call.query.get('marker') ?? ''
    const { prefix, delimiter, maxKeys, encode, encodingType } = listing(call)
    const page = await list(call, marker)
    const last = page.entries.at(-1)
    return xmlAnswer(s3Document('ListBucketResult',
      element('Name', call.bucketName) + element('Prefix', encode(prefix)) + element('Marker', encode(marker)) +
      // Without a delimiter the last key is the marker, as S3 has it.
      (page.truncated && delimiter !== '' && last !== undefined ? element('NextMarker', encode(nameOf(last))) : '') +
      element('MaxKeys', maxKeys) + (delimiter === '' ? '' : element('Delimiter', encode(delimiter))) +
      element('EncodingType', encodingType) + element('IsTruncated', page.truncated) +
      entriesXml(call, page, encode, true)))
  },
}

export const listObjectsV2: Operation = {
  name: 'ListObjectsV2',
  access,
  public: true,
  async run(call) {
    const token = call.query.get('continuation-token')
    const startAfter = call.query.get('start-after') ?? ''
    const after = token === undefined ? startAfter : decodeToken(token, call.bucket.id)
    const { prefix, delimiter, maxKeys, encode, encodingType } = listing(call)
    const page = await list(call, after)
    const last = page.entries.at(-1)
    return xmlAnswer(s3Document('ListBucketResult',
      element('Name', call.bucketName) + element('Prefix', encode(prefix)) +
      element('ContinuationToken', token) +
      (page.truncated && last !== undefined ? element('NextContinuationToken', encodeToken(nameOf(last), call.bucket.id)) : '') +
      (startAfter === '' ? '' : element('StartAfter', encode(startAfter))) +
      element('KeyCount', page.entries.length) + element('MaxKeys', maxKeys) +
      (delimiter === '' ? '' : element('Delimiter', encode(delimiter))) +
      element('EncodingType', encodingType) + element('IsTruncated', page.truncated) +
      entriesXml(call, page, encode, call.query.get('fetch-owner') === 'true')))
  },
}

function listing(call: Call): { prefix: string; delimiter: string; maxKeys: number; encode: (text: string) => string; encodingType: 'url' | null } {
  return {
    prefix: call.query.get('prefix') ?? '',
    delimiter: call.query.get('delimiter') ?? '',
    maxKeys: call.query.count('max-keys', MAX_LIST_KEYS),
    ...listEncoding(call.query),
  }
}

async function list(call: Call, after: string): Promise<ListPage> {
  const { prefix, delimiter, maxKeys } = listing(call)
  if (maxKeys === 0) return { entries: [], truncated: false }
  return call.store.listObjects({ bucketId: call.bucket.id, prefix, delimiter, after, limit: maxKeys })
}

export const nameOf = (entry: ListEntry): string => (entry.kind === 'object' ? entry.key : entry.prefix)

function entriesXml(call: Call, page: ListPage, encode: (text: string) => string, withOwner: boolean): string {
  const owner = withOwner ? ownerXml(call) : ''
  const contents: string[] = []
  const prefixes: string[] = []
  for (const entry of page.entries) {
    if (entry.kind === 'prefix') prefixes.push(parent('CommonPrefixes', element('Prefix', encode(entry.prefix))))
    else {
      contents.push(parent('Contents',
        element('Key', encode(entry.key)) + element('LastModified', isoSeconds(entry.modifiedMs)) + element('ETag', quoted(entry.etag)) +
        (entry.checksum === null ? '' : element('ChecksumAlgorithm', algorithmName(entry.checksum.algorithm)) + element('ChecksumType', entry.checksum.type)) +
        element('Size', entry.size) + owner + element('StorageClass', entry.storageClass)))
    }
  }
  return contents.join('') + prefixes.join('')
}

export const ownerXml = (call: Call, name = 'Owner'): string =>
  parent(name, element('ID', ownerId(call.bucket.tenantId)) + element('DisplayName', `tenant-${call.bucket.tenantId}`))

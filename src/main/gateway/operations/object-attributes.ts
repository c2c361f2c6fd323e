/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html */
import type { HeadResult } from '../../objects/contract.ts'
import { MAX_LIST_KEYS, MAX_PARTS } from '../../../shared/limits.ts'
import { invalidArgument } from '../errors.ts'
import { xmlAnswer } from '../http/answer.ts'
import { checksumElement } from '../request/checksum.ts'
import { parseReadConditions } from '../request/conditions.ts'
import { parseCustomerKey } from '../request/encryption.ts'
import { element, parent, s3Document } from '../xml/writer.ts'
import { hidingMissing, httpDate } from './object-answer.ts'
import type { Call, Operation } from './operation.ts'

const known = new Set(['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'])

export const getObjectAttributes: Operation = {
  name: 'GetObjectAttributes',
  access: { kind: 'any', actions: ['object:read'], on: 'key' },
  public: true,
  async run(call) {
    const wanted = wantedAttributes(call)
    const head = await call.store.headObject({
      bucket: call.bucket, key: call.key, conditions: parseReadConditions(call.headers), range: { kind: 'whole' }, readKey: parseCustomerKey(call.head),
    }).catch(hidingMissing(call, call.bucket, call.key))
    const { record } = head
    const content =
      (wanted.has('ETag') ? element('ETag', record.etag) : '') +
      (wanted.has('Checksum') && record.checksum !== null
        ? parent('Checksum', element(checksumElement(record.checksum.algorithm), record.checksum.value) + element('ChecksumType', record.checksum.type))
        : '') +
      (wanted.has('ObjectParts') ? await partsXml(call, head) : '') +
      (wanted.has('StorageClass') ? element('StorageClass', record.storageClass) : '') +
      (wanted.has('ObjectSize') ? element('ObjectSize', record.size) : '')
    return xmlAnswer(s3Document('GetObjectAttributesResponse', content), [['Last-Modified', httpDate(record.modifiedMs)]])
  },
}

function wantedAttributes(call: Call): Set<string> {
  const text = call.headers.get('x-amz-object-attributes') ?? ''
  const wanted = text.split(',').map((name) => name.trim()).filter((name) => name !== '')
  const unknown = wanted.find((name) => !known.has(name))
  if (wanted.length === 0 || unknown !== undefined) throw invalidArgument('Invalid attribute name specified.', 'x-amz-object-attributes', text)
  return new Set(wanted)
}

async function partsXml(call: Call, { record, partCount }: HeadResult): Promise<string> {
  const limit = count(call, 'x-amz-max-parts', MAX_LIST_KEYS)
  const after = count(call, 'x-amz-part-number-marker', MAX_PARTS, 0)
  const parts = await call.store.objectParts(record, after, limit + 1)
  if (parts === null) return ''
  const page = parts.slice(0, limit)
  const truncated = parts.length > limit
  return parent('ObjectParts',
    element('PartsCount', partCount) + element('PartNumberMarker', after) +
    (truncated ? element('NextPartNumberMarker', page.at(-1)?.partNumber ?? after) : '') +
    element('MaxParts', limit) + element('IsTruncated', truncated) +
    page.map((part) => parent('Part',
      element('PartNumber', part.partNumber) + element('Size', part.size) +
      (part.checksum === null ? '' : element(checksumElement(part.checksum.algorithm), part.checksum.value)))).join(''))
}

function count(call: Call, header: string, most: number, absent = most): number {
  const text = call.headers.get(header)
  if (text === undefined) return absent
  if (!/^\d{1,9}$/.test(text)) throw invalidArgument(`Provided ${header} not an integer or within integer range`, header, text)
  return Math.min(Number(text), most)
}

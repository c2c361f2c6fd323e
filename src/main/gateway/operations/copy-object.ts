/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html */
import type { CopySource, CopyResult } from '../../objects/contract.ts'
import { invalidArgument, invalidRequest, notImplemented } from '../errors.ts'
import { parseAttributes, parseStorageClass } from '../request/attributes.ts'
import { checksumElement, parseAlgorithm } from '../request/checksum.ts'
import { parseReadConditions, parseWriteCondition } from '../request/conditions.ts'
import { parseCopySource } from '../request/copy-source.ts'
import { encryptionHeaders, parseCustomerKey, parseEncryption } from '../request/encryption.ts'
import { refuseUnbuilt } from '../request/unbuilt.ts'
import { element, isoSeconds, s3Document } from '../xml/writer.ts'
import { answerWhenDone, type LateResult } from './late-answer.ts'
import { hidingMissing, quoted } from './object-answer.ts'
import type { Call, Operation } from './operation.ts'

export const copyObject: Operation = {
  name: 'CopyObject',
  access: { kind: 'any', actions: ['object:write'], on: 'key' },
  async run(call) {
    const { headers, bucket, key } = call
    refuseUnbuilt(headers)
    const source = await copySource(call)
    const replace = directive(call, 'x-amz-metadata-directive') === 'REPLACE' ? parseAttributes(headers) : null
    directive(call, 'x-amz-tagging-directive')
    const storageClass = parseStorageClass(headers)
    const encryption = parseEncryption(call.head)
    if (source.bucket.id === bucket.id && source.key === key && replace === null && storageClass === null && encryption.kind === 'bucket-default') {
      throw invalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
    }
    const algorithm = headers.get('x-amz-checksum-algorithm')
    const work = call.store.copyObject({
      source, bucket, key, replace, storageClass, encryption,
      checksumAlgorithm: algorithm === undefined ? null : parseAlgorithm(algorithm, 'x-amz-checksum-algorithm'),
      condition: parseWriteCondition(headers),
    }).catch(hidingMissing(call, source.bucket, source.key))
    return answerWhenDone(call, work.then((result) => copyDocument('CopyObjectResult', result)))
  },
}

/** The source as the headers name it, with the caller's right to read it. @throws S3Error */
export async function copySource(call: Call): Promise<CopySource> {
  const { headers } = call
  const name = parseCopySource(headers.get('x-amz-copy-source') ?? '')
  const bucket = await call.bucketNamed(name.bucket)
  if (bucket.region !== call.region) throw notImplemented(`a copy from a bucket of another region (${bucket.region})`)
  call.checkOwner('x-amz-source-expected-bucket-owner', bucket)
  call.demand('object:read', bucket, name.key)
  return {
    bucket,
    key: name.key,
    conditions: parseReadConditions(headers, 'x-amz-copy-source-'),
    readKey: parseCustomerKey(call.head, true),
    requestId: call.requestId,
  }
}

export function copyDocument(root: string, result: CopyResult): LateResult {
  const { etag, modifiedMs, checksum, encryption } = result
  return {
    document: s3Document(root,
      element('LastModified', isoSeconds(modifiedMs)) + element('ETag', quoted(etag)) +
      (checksum === null ? '' : element(checksumElement(checksum.algorithm), checksum.value) + element('ChecksumType', checksum.type))),
    headers: encryptionHeaders(encryption),
  }
}

/** @throws S3Error InvalidArgument */
function directive(call: Call, header: string): 'COPY' | 'REPLACE' {
  const text = call.headers.get(header) ?? 'COPY'
  if (text !== 'COPY' && text !== 'REPLACE') throw invalidArgument('Unknown metadata directive.', header, text)
  return text
}

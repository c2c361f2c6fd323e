/** UploadPart and UploadPartCopy. */
import { MAX_PARTS } from '../../../shared/limits.ts'
import { emptyAnswer } from '../http/answer.ts'
import { parseBodySpec } from '../request/body-spec.ts'
import { checksumHeader } from '../request/checksum.ts'
import { encryptionHeaders, parseCustomerKey } from '../request/encryption.ts'
import { parseCopyRange, parsePartNumber } from '../request/range.ts'
import { refuseUnbuilt } from '../request/unbuilt.ts'
import { copyDocument, copySource } from './copy-object.ts'
import { uploadIdOf } from './create-upload.ts'
import { answerWhenDone } from './late-answer.ts'
import { hidingMissing, quoted } from './object-answer.ts'
import type { Operation } from './operation.ts'

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html */
export const uploadPart: Operation = {
  name: 'UploadPart',
  access: { kind: 'any', actions: ['object:write'], on: 'key' },
  async run(call) {
    const { headers, bucket, key } = call
    const partNumber = parsePartNumber(call.query.get('partNumber') ?? '', MAX_PARTS)
    refuseUnbuilt(headers)
    const sink = await call.store.uploadPart({
      bucket, key, partNumber,
      uploadId: uploadIdOf(call),
      body: { ...parseBodySpec(headers, call.authentication.payload), requestId: call.requestId },
      readKey: parseCustomerKey(call.head),
    })
    const { etag, checksum, encryption } = await call.upload(sink)
    return emptyAnswer(200, [
      ['ETag', quoted(etag)],
      ...(checksum === null ? [] : [[checksumHeader(checksum.algorithm), checksum.value] as [string, string]]),
      ...encryptionHeaders(encryption),
    ])
  },
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html */
export const uploadPartCopy: Operation = {
  name: 'UploadPartCopy',
  access: { kind: 'any', actions: ['object:write'], on: 'key' },
  async run(call) {
    const { bucket, key } = call
    const partNumber = parsePartNumber(call.query.get('partNumber') ?? '', MAX_PARTS)
    const source = await copySource(call)
    const work = call.store.uploadPartCopy({
      source, bucket, key, partNumber,
      range: parseCopyRange(call.headers.get('x-amz-copy-source-range')),
      uploadId: uploadIdOf(call),
      readKey: parseCustomerKey(call.head),
    }).catch(hidingMissing(call, source.bucket, source.key))
    return answerWhenDone(call, work.then((result) => copyDocument('CopyPartResult', result)))
  },
}

/** https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html */
import { MAX_PARTS } from '../../../shared/limits.ts'
import type { CompleteUploadRequest, PutObjectResult } from '../../objects/contract.ts'
import { invalidArgument, invalidRequest, malformedXml } from '../errors.ts'
import { CHECKSUM_ALGORITHMS, checkDigestForm, checksumElement, headerChecksum, parseChecksumType } from '../request/checksum.ts'
import { parseWriteCondition, unquote } from '../request/conditions.ts'
import { encryptionHeaders } from '../request/encryption.ts'
import { childText, parseXml, type XmlElement } from '../xml/reader.ts'
import { element, s3Document } from '../xml/writer.ts'
import { uploadIdOf } from './create-upload.ts'
import { answerWhenDone, type LateResult } from './late-answer.ts'
import { quoted } from './object-answer.ts'
import type { Call, Operation } from './operation.ts'

export const completeUpload: Operation = {
  name: 'CompleteMultipartUpload',
  access: { kind: 'any', actions: ['object:write'], on: 'key' },
  async run(call) {
    const { bucket, key } = call
    const uploadId = uploadIdOf(call)
    const condition = parseWriteCondition(call.headers)
    const checksum = wholeChecksum(call)
    const objectSize = announcedSize(call)
    const parts = parseParts(await documentOf(call))
    const work = call.store.completeUpload({ bucket, key, uploadId, parts, checksum, objectSize, condition })
    return answerWhenDone(call, work.then((result) => completeDocument(call, result)))
  },
}

/** x-amz-checksum-* is that of the object here, and not of the document. */
const documentOf = (call: Call): Promise<Buffer> => call.readDocument({ checksumOfDocument: false })

/** @throws S3Error MalformedXML */
function parseParts(document: Buffer): CompleteUploadRequest['parts'] {
  const root = parseXml(document)
  if (root.name !== 'CompleteMultipartUpload') throw malformedXml()
  const parts = root.children.filter((item) => item.name === 'Part')
  if (parts.length === 0 || parts.length > MAX_PARTS) throw malformedXml()
  return parts.map(parsePart)
}

function parsePart(part: XmlElement): CompleteUploadRequest['parts'][number] {
  const number = childText(part, 'PartNumber') ?? ''
  const etag = childText(part, 'ETag')
  if (!/^\d{1,9}$/.test(number) || etag === undefined) throw malformedXml()
  const partNumber = Number(number)
  if (partNumber < 1 || partNumber > MAX_PARTS) throw invalidArgument(`PartNumber must be >= 1 and <= ${MAX_PARTS}`, 'PartNumber', number)
  const given = CHECKSUM_ALGORITHMS.flatMap((algorithm) => {
    const value = childText(part, checksumElement(algorithm))
    return value === undefined || value === '' ? [] : [{ algorithm, value }]
  })
  if (given.length > 1) throw malformedXml()
  if (given[0] !== undefined) checkDigestForm(given[0].algorithm, given[0].value)
  return { partNumber, etag: unquote(etag), ...(given[0] === undefined ? {} : { checksum: given[0] }) }
}

function wholeChecksum({ headers }: Call): CompleteUploadRequest['checksum'] {
  const type = parseChecksumType(headers)
  const given = headerChecksum(headers)
  if (given === null) return null
  checkDigestForm(given.algorithm, given.value, type !== 'FULL_OBJECT')
  return { ...given, type }
}

/** @throws S3Error InvalidRequest */
function announcedSize({ headers }: Call): number | null {
  const text = headers.get('x-amz-mp-object-size')
  if (text === undefined) return null
  if (!/^\d{1,15}$/.test(text)) throw invalidRequest('Value for x-amz-mp-object-size header is invalid.')
  return Number(text)
}

function completeDocument(call: Call, { etag, checksum, encryption }: PutObjectResult): LateResult {
  const scheme = call.head.secure ? 'https' : 'http'
  const location = `${scheme}://${call.head.headers.get('host') ?? ''}${call.head.rawPath}`
  return {
    document: s3Document('CompleteMultipartUploadResult',
      element('Location', location) + element('Bucket', call.bucketName) + element('Key', call.key) + element('ETag', quoted(etag)) +
      (checksum === null ? '' : element(checksumElement(checksum.algorithm), checksum.value) + element('ChecksumType', checksum.type))),
    headers: encryptionHeaders(encryption),
  }
}

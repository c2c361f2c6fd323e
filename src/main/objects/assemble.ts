/** What CompleteMultipartUpload makes of its parts: size, ETag, checksum; and what S3 refuses. Pure but for the addon's digests. */
import { AnvilError } from '../../shared/errors.ts'
import { MAX_OBJECT_BYTES, MIN_PART_BYTES } from '../../shared/limits.ts'
import type { ChecksumAlgorithm, CrcAlgorithm, Native } from '../../shared/native.ts'
import type { Checksum, PartRecord, UploadRecord } from '../metadata/contract.ts'
import type { CompleteUploadRequest } from './contract.ts'

export interface Assembled {
  size: number
  etag: string
  checksum: Checksum | null
}

/** What S3 uses when CreateMultipartUpload names an algorithm but no type. */
export const defaultChecksumType = (algorithm: ChecksumAlgorithm): 'FULL_OBJECT' | 'COMPOSITE' =>
  algorithm === 'crc64nvme' ? 'FULL_OBJECT' : 'COMPOSITE'

const isCrc = (algorithm: ChecksumAlgorithm): algorithm is CrcAlgorithm => algorithm.startsWith('crc')

/**
 * @param parts as stored, in the order of `request.parts`
 * @throws AnvilError EntityTooSmall, EntityTooLarge, InvalidPart, InvalidRequest, BadDigest
 */
export function assembleParts(native: Native, request: CompleteUploadRequest, upload: UploadRecord, parts: PartRecord[]): Assembled {
  let size = 0
  parts.forEach((part, i) => {
    if (i < parts.length - 1 && part.size < MIN_PART_BYTES) {
      throw new AnvilError('EntityTooSmall', 'Your proposed upload is smaller than the minimum allowed size', {
        details: { partNumber: part.partNumber, etag: part.etag, minimum: MIN_PART_BYTES, proposed: part.size },
      })
    }
    size += part.size
    checkPartChecksum(request.parts[i]!, part)
  })
  if (size > MAX_OBJECT_BYTES) {
    throw new AnvilError('EntityTooLarge', 'The parts together exceed the maximum object size', { details: { max: MAX_OBJECT_BYTES } })
  }
  if (request.objectSize !== null && request.objectSize !== size) {
    throw new AnvilError('InvalidRequest', `The provided x-amz-mp-object-size does not match the size of the parts: ${size}`)
  }
  return { size, etag: multipartEtag(native, parts), checksum: multipartChecksum(native, request, upload, parts) }
}

function checkPartChecksum(listed: CompleteUploadRequest['parts'][number], part: PartRecord): void {
  if (listed.checksum === undefined) return
  if (part.checksum?.algorithm !== listed.checksum.algorithm || part.checksum.value !== listed.checksum.value) {
    throw new AnvilError('InvalidPart',
      'One or more of the specified parts could not be found. The part may not have been uploaded, or the specified checksum may not match the part.',
      { details: { partNumber: listed.partNumber, etag: listed.etag } })
  }
}

/** MD5 over the parts' digests, and how many they are. */
function multipartEtag(native: Native, parts: PartRecord[]): string {
  // a part's ETag that is no MD5 carries `-1` behind its 32 digits
  const digests = Buffer.concat(parts.map((part) => Buffer.from(part.etag.slice(0, 32), 'hex')))
  return `${native.digest('md5', digests).toString('hex')}-${parts.length}`
}

function multipartChecksum(native: Native, request: CompleteUploadRequest, upload: UploadRecord, parts: PartRecord[]): Checksum | null {
  const { checksumAlgorithm: algorithm } = upload
  const given = request.checksum
  if (algorithm === null) return null
  const type = upload.checksumType ?? defaultChecksumType(algorithm)
  if (given !== null && given.algorithm !== algorithm) {
    throw new AnvilError('InvalidRequest', `The upload was created with ${algorithm}, the request gives ${given.algorithm}`)
  }
  if (given?.type != null && given.type !== type) {
    throw new AnvilError('InvalidRequest', `The upload was created with checksum type ${type}, the request gives ${given.type}`)
  }
  const checksum: Checksum = { algorithm, type, value: type === 'COMPOSITE' ? composite(native, algorithm, parts) : whole(native, algorithm, parts) }
  if (given !== null && given.value !== checksum.value) {
    throw new AnvilError('BadDigest', `The ${algorithm} you specified did not match what we received.`)
  }
  return checksum
}

function partDigest(algorithm: ChecksumAlgorithm, part: PartRecord): Buffer {
  if (part.checksum?.algorithm !== algorithm) {
    throw new AnvilError('InvalidPart', `Part ${part.partNumber} has no ${algorithm} checksum`, {
      details: { partNumber: part.partNumber, etag: part.etag },
    })
  }
  return Buffer.from(part.checksum.value, 'base64')
}

function composite(native: Native, algorithm: ChecksumAlgorithm, parts: PartRecord[]): string {
  const digests = Buffer.concat(parts.map((part) => partDigest(algorithm, part)))
  return `${native.digest(algorithm, digests).toString('base64')}-${parts.length}`
}

function whole(native: Native, algorithm: ChecksumAlgorithm, parts: PartRecord[]): string {
  if (!isCrc(algorithm)) {
    throw new AnvilError('InvalidRequest', `A full-object checksum cannot be made of parts with ${algorithm}`)
  }
  let crc = partDigest(algorithm, parts[0]!)
  for (const part of parts.slice(1)) crc = native.crcCombine(algorithm, crc, partDigest(algorithm, part), part.size)
  return crc.toString('base64')
}

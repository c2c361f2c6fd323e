/** x-amz-checksum-*, x-amz-sdk-checksum-algorithm, x-amz-trailer and Content-MD5. */
import type { Checksum } from '../../metadata/contract.ts'
import type { BodySpec } from '../../objects/contract.ts'
import type { ChecksumAlgorithm } from '../../../shared/native.ts'
import { AnvilError } from '../../../shared/errors.ts'
import { invalidRequest, S3Error } from '../errors.ts'
import type { RequestHeaders } from '../http/headers.ts'

/** Digest lengths in bytes. */
export const CHECKSUM_BYTES: Readonly<Record<ChecksumAlgorithm, number>> = { crc32: 4, crc32c: 4, crc64nvme: 8, sha1: 20, sha256: 32 }
export const CHECKSUM_ALGORITHMS = Object.keys(CHECKSUM_BYTES) as ChecksumAlgorithm[]

export const checksumHeader = (algorithm: ChecksumAlgorithm): string => `x-amz-checksum-${algorithm}`
/** Name of the element in S3's XML: ChecksumCRC32 and so on. */
export const checksumElement = (algorithm: ChecksumAlgorithm): string => `Checksum${algorithm.toUpperCase()}`
export const algorithmName = (algorithm: ChecksumAlgorithm): string => algorithm.toUpperCase()

/** @throws S3Error InvalidRequest when it is none of S3's */
export function parseAlgorithm(text: string, header: string): ChecksumAlgorithm {
  const algorithm = text.toLowerCase() as ChecksumAlgorithm
  if (!CHECKSUM_ALGORITHMS.includes(algorithm)) {
    throw invalidRequest(`Value for ${header} header is invalid. Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]`)
  }
  return algorithm
}

/** The one x-amz-checksum-* of the head; null without one. @throws S3Error InvalidRequest */
export function headerChecksum(headers: RequestHeaders): { algorithm: ChecksumAlgorithm; value: string } | null {
  const given = CHECKSUM_ALGORITHMS.filter((algorithm) => headers.has(checksumHeader(algorithm)))
  if (given.length === 0) {
    const unknown = [...headers.names()].find((name) => name.startsWith('x-amz-checksum-') && !['x-amz-checksum-type', 'x-amz-checksum-algorithm', 'x-amz-checksum-mode'].includes(name))
    if (unknown !== undefined) throw invalidRequest(`The checksum header ${unknown} is not supported.`)
    return null
  }
  if (given.length > 1) throw invalidRequest('Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.')
  const algorithm = given[0]!
  return { algorithm, value: headers.get(checksumHeader(algorithm))! }
}

/** @throws S3Error InvalidRequest unless it is the base64 of a digest of that algorithm; composite ones may end in -N. */
export function checkDigestForm(algorithm: ChecksumAlgorithm, value: string, composite = false): void {
  const digest = composite ? value.replace(/-\d{1,5}$/, '') : value
  if (!isBase64Of(digest, CHECKSUM_BYTES[algorithm])) throw invalidRequest(`Value for ${checksumHeader(algorithm)} header is invalid.`)
}

/** What the body of a PutObject or UploadPart must match. @throws S3Error InvalidRequest */
export function parseBodyChecksum(headers: RequestHeaders, trailerNames: readonly string[]): BodySpec['checksum'] {
  const asked = headers.get('x-amz-sdk-checksum-algorithm') ?? headers.get('x-amz-checksum-algorithm')
  const algorithm = asked === undefined ? null : parseAlgorithm(asked, 'x-amz-sdk-checksum-algorithm')
  const given = headerChecksum(headers)
  const trailing = CHECKSUM_ALGORITHMS.filter((name) => trailerNames.includes(checksumHeader(name)))
  if (trailing.length > 1 || (given !== null && trailing.length > 0)) {
    throw invalidRequest('Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.')
  }
  const named = given?.algorithm ?? trailing[0] ?? null
  if (algorithm !== null && named !== null && algorithm !== named) {
    throw invalidRequest('x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.')
  }
  if (given !== null) {
    checkDigestForm(given.algorithm, given.value)
    return { algorithm: given.algorithm, expected: given.value, trailer: false }
  }
  if (trailing[0] !== undefined) return { algorithm: trailing[0], expected: '', trailer: true }
  return algorithm === null ? null : { algorithm, expected: '', trailer: false }
}

/** Content-MD5 as hex; '' without one. @throws AnvilError InvalidDigest */
export function parseContentMd5(headers: RequestHeaders): string {
  const text = headers.get('content-md5')
  if (text === undefined) return ''
  if (!isBase64Of(text.trim(), 16)) throw new AnvilError('InvalidDigest', 'The Content-MD5 you specified is not valid.')
  return Buffer.from(text, 'base64').toString('hex')
}

export const isBase64Of = (text: string, bytes: number): boolean => {
  const decoded = Buffer.from(text, 'base64')
  return decoded.length === bytes && decoded.toString('base64') === text
}

/** Headers of an answer that tell an object's checksum. */
export function checksumHeaders(checksum: Checksum | null): [string, string][] {
  return checksum === null
    ? []
    : [[checksumHeader(checksum.algorithm), checksum.value], ['x-amz-checksum-type', checksum.type]]
}

/** x-amz-checksum-type. @throws S3Error InvalidRequest */
export function parseChecksumType(headers: RequestHeaders): 'FULL_OBJECT' | 'COMPOSITE' | null {
  const text = headers.get('x-amz-checksum-type')
  if (text === undefined) return null
  if (text !== 'FULL_OBJECT' && text !== 'COMPOSITE') {
    throw new S3Error('InvalidRequest', 400, 'Value for x-amz-checksum-type header is invalid.')
  }
  return text
}

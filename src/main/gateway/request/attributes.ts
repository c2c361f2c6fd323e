/** What is kept with an object: content headers, user metadata, storage class. */
import type { StoredHeaders } from '../../metadata/contract.ts'
import type { ObjectAttributes } from '../../objects/contract.ts'
import { MAX_USER_METADATA_BYTES } from '../../../shared/limits.ts'
import { S3Error } from '../errors.ts'
import type { RequestHeaders } from '../http/headers.ts'

export const DEFAULT_CONTENT_TYPE = 'binary/octet-stream'
const META_PREFIX = 'x-amz-meta-'

const storedHeaderNames = [
  'content-type', 'cache-control', 'content-disposition', 'content-language', 'expires', 'x-amz-website-redirect-location',
] as const

/**
 * The classes whose objects can be read at once. Archive classes (GLACIER, DEEP_ARCHIVE) promise a restore that there is
 * none of here, the others are of other products.
 */
const storageClasses = new Set(['STANDARD', 'REDUCED_REDUNDANCY', 'STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR'])

/** @throws S3Error MetadataTooLarge, InvalidStorageClass */
export function parseAttributes(headers: RequestHeaders): ObjectAttributes {
  return { headers: parseStoredHeaders(headers), userMetadata: parseUserMetadata(headers), storageClass: parseStorageClass(headers) ?? 'STANDARD' }
}

function parseStoredHeaders(headers: RequestHeaders): StoredHeaders {
  const stored: StoredHeaders = {}
  for (const name of storedHeaderNames) {
    const value = headers.get(name)
    if (value !== undefined && value !== '') stored[name] = value
  }
  // aws-chunked describes the request and not the object.
  const encoding = (headers.get('content-encoding') ?? '').split(',').map((part) => part.trim()).filter((part) => part !== '' && part !== 'aws-chunked').join(',')
  if (encoding !== '') stored['content-encoding'] = encoding
  return stored
}

function parseUserMetadata(headers: RequestHeaders): Record<string, string> {
  const metadata: Record<string, string> = {}
  let size = 0
  for (const header of headers.names()) {
    if (!header.startsWith(META_PREFIX)) continue
    const name = header.slice(META_PREFIX.length)
    if (name === '') continue
    const value = headers.get(header)!
    size += Buffer.byteLength(name) + Buffer.byteLength(value)
    metadata[name] = value
  }
  if (size > MAX_USER_METADATA_BYTES) {
    throw new S3Error('MetadataTooLarge', 400, 'Your metadata headers exceed the maximum allowed metadata size', {
      elements: [['Size', String(size)], ['MaxSizeAllowed', String(MAX_USER_METADATA_BYTES)]],
    })
  }
  return metadata
}

/** null when none is asked for. @throws S3Error InvalidStorageClass */
export function parseStorageClass(headers: RequestHeaders): string | null {
  const text = headers.get('x-amz-storage-class')
  if (text === undefined) return null
  if (!storageClasses.has(text)) {
    throw new S3Error('InvalidStorageClass', 400, 'The storage class you specified is not valid', { elements: [['StorageClassRequested', text]] })
  }
  return text
}

/**
 * User metadata as headers of an answer. What is not printable ASCII goes as an encoded word (RFC 2047), as S3 does:
 * clients decode it, and a raw byte would not survive every HTTP library.
 */
export const userMetadataHeaders = (metadata: Record<string, string>): [string, string][] =>
  Object.entries(metadata).map(([name, value]) => [`${META_PREFIX}${name}`, encodedWord(value)])

const encodedWord = (value: string): string =>
  /^[\x20-\x7e\t]*$/.test(value) ? value : `=?UTF-8?B?${Buffer.from(value).toString('base64')}?=`

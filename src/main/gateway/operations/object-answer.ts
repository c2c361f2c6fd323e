/** What the answers of several object operations have in common. */
import type { ObjectRecord } from '../../metadata/contract.ts'
import type { Bucket } from '../../directory/contract.ts'
import { AnvilError } from '../../../shared/errors.ts'
import { accessDenied } from '../errors.ts'
import { DEFAULT_CONTENT_TYPE, userMetadataHeaders } from '../request/attributes.ts'
import { encryptionHeaders } from '../request/encryption.ts'
import type { Call } from './operation.ts'

export const quoted = (etag: string): string => `"${etag}"`

/** HTTP's date form (RFC 9110 §5.6.7). */
export const httpDate = (ms: number): string => new Date(ms).toUTCString()

/** Headers of GetObject and HeadObject that come from the record. */
export function recordHeaders(record: ObjectRecord): [string, string][] {
  const headers: [string, string][] = [
    ['Last-Modified', httpDate(record.modifiedMs)],
    ['ETag', quoted(record.etag)],
    ['Accept-Ranges', 'bytes'],
    ['Content-Type', record.headers['content-type'] ?? DEFAULT_CONTENT_TYPE],
  ]
  for (const [name, value] of Object.entries(record.headers)) {
    if (name !== 'content-type' && value !== undefined) headers.push([headerCase(name), value])
  }
  if (record.storageClass !== 'STANDARD') headers.push(['x-amz-storage-class', record.storageClass])
  headers.push(...encryptionHeaders(record.encryption), ...userMetadataHeaders(record.userMetadata))
  return headers
}

const headerCase = (name: string): string => (name.startsWith('x-amz-') ? name : name.replace(/(^|-)[a-z]/g, (c) => c.toUpperCase()))

/**
 * Who may not list must not learn from an answer whether a key exists: a missing one is then AccessDenied, as on S3.
 */
export function hidingMissing(call: Call, bucket: Bucket, key: string): (error: unknown) => never {
  return (error) => {
    if (AnvilError.is(error, 'NoSuchKey') && !call.allows('object:list', bucket, key)) throw accessDenied('Access Denied', { cause: error })
    throw error
  }
}

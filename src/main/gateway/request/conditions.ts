/** If-* headers of reads, of copy sources, and of writes. */
import type { WriteCondition } from '../../metadata/contract.ts'
import type { ReadConditions } from '../../objects/contract.ts'
import { notImplemented } from '../errors.ts'
import type { RequestHeaders } from '../http/headers.ts'

/** `prefix` is '' for reads and `x-amz-copy-source-` for the source of a copy. */
export function parseReadConditions(headers: RequestHeaders, prefix: '' | 'x-amz-copy-source-' = ''): ReadConditions {
  const conditions: ReadConditions = {}
  const ifMatch = headers.get(`${prefix}if-match`)
  const ifNoneMatch = headers.get(`${prefix}if-none-match`)
  const modified = parseHttpDate(headers.get(`${prefix}if-modified-since`))
  const unmodified = parseHttpDate(headers.get(`${prefix}if-unmodified-since`))
  if (ifMatch !== undefined) conditions.ifMatch = parseEtags(ifMatch)
  if (ifNoneMatch !== undefined) conditions.ifNoneMatch = parseEtags(ifNoneMatch)
  if (modified !== undefined) conditions.ifModifiedSinceMs = modified
  if (unmodified !== undefined) conditions.ifUnmodifiedSinceMs = unmodified
  return conditions
}

/** S3 has exactly two: the key must be absent, or the object must have this ETag. @throws S3Error NotImplemented */
export function parseWriteCondition(headers: RequestHeaders): WriteCondition {
  const ifMatch = headers.get('if-match')
  const ifNoneMatch = headers.get('if-none-match')
  if (ifNoneMatch !== undefined && ifMatch !== undefined) throw notImplemented('If-Match together with If-None-Match')
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch.trim() !== '*') throw notImplemented('If-None-Match with an ETag on a write')
    return { ifNoneMatch: '*' }
  }
  if (ifMatch === undefined) return {}
  const etags = parseEtags(ifMatch)
  if (etags.length !== 1) throw notImplemented('If-Match with several ETags on a write')
  return { ifMatch: etags[0]! }
}

/** ETags without quotes and without the mark of weak ones, which S3 compares alike. */
export const parseEtags = (header: string): string[] =>
  header.split(',').map((part) => unquote(part.trim().replace(/^W\//, ''))).filter((etag) => etag !== '')

export const unquote = (text: string): string => (text.length >= 2 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text)

/** Milliseconds; undefined when it is no date, which is then ignored (RFC 9110 §13.1.3). */
function parseHttpDate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? undefined : ms
}

/** S3's conditional reads (RFC 9110 §13.2.2, in S3's order of precedence). */
import { AnvilError } from '../../shared/errors.ts'
import type { ReadConditions } from './contract.ts'

const matches = (list: readonly string[], etag: string): boolean => list.includes('*') || list.includes(etag)

/** HTTP dates have whole seconds; the stored time does not. */
const toSecondsMs = (ms: number): number => Math.floor(ms / 1000) * 1000

/** @throws AnvilError PreconditionFailed, NotModified (details: etag, modifiedMs for the answer's headers) */
export function checkReadConditions(conditions: ReadConditions, etag: string, modifiedMs: number): void {
  const modified = toSecondsMs(modifiedMs)
  const { ifMatch, ifNoneMatch, ifModifiedSinceMs, ifUnmodifiedSinceMs } = conditions
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, etag)) throw preconditionFailed('If-Match')
  } else if (ifUnmodifiedSinceMs !== undefined && modified > ifUnmodifiedSinceMs) {
    throw preconditionFailed('If-Unmodified-Since')
  }
  if (ifNoneMatch !== undefined) {
    if (matches(ifNoneMatch, etag)) throw notModified(etag, modifiedMs)
  } else if (ifModifiedSinceMs !== undefined && modified <= ifModifiedSinceMs) {
    throw notModified(etag, modifiedMs)
  }
}

/** The same for the source of a copy: S3 answers 412 there, never 304. */
export function checkCopyConditions(conditions: ReadConditions, etag: string, modifiedMs: number): void {
  try {
    checkReadConditions(conditions, etag, modifiedMs)
  } catch (error) {
    if (AnvilError.is(error, 'NotModified')) throw preconditionFailed('x-amz-copy-source-If-None-Match')
    throw error
  }
}

export const preconditionFailed = (condition: string): AnvilError =>
  new AnvilError('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold', { details: { condition } })

const notModified = (etag: string, modifiedMs: number): AnvilError =>
  new AnvilError('NotModified', 'Not Modified', { details: { etag, modifiedMs } })

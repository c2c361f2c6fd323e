/**
 * The canonical request of SigV4 as S3 reads it: the path is encoded once and not normalised, queries are sorted by their
 * encoded form, header values are trimmed and folded.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
import { hash } from 'node:crypto'
import type { RequestHeaders } from '../http/headers.ts'
import { decodePath, uriEncode, uriEncodePath } from '../request/percent.ts'
import type { Query } from '../request/query.ts'

export interface CanonicalInput {
  method: string
  rawPath: string
  query: Query
  headers: RequestHeaders
  /** Lower case, in the order of the client, which must be sorted for its signature to match. */
  signedHeaders: readonly string[]
  /** The value of x-amz-content-sha256, or UNSIGNED-PAYLOAD for a presigned URL. */
  payloadHash: string
}

export const canonicalRequest = (input: CanonicalInput): string => [
  input.method,
  uriEncodePath(decodePath(input.rawPath)),
  canonicalQuery(input.query),
  ...input.signedHeaders.map((name) => `${name}:${input.headers.all(name).map(foldWhiteSpace).join(',')}`),
  '',
  input.signedHeaders.join(';'),
  input.payloadHash,
].join('\n')

/** Without X-Amz-Signature, which cannot sign itself. */
export function canonicalQuery(query: Query): string {
  if (query.entries.length === 0) return ''
  return query.entries
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]): [string, string] => [uriEncode(name), uriEncode(value)])
    .sort(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const foldWhiteSpace = (value: string): string => value.trim().replace(/\s+/g, ' ')

export const stringToSign = (amzDate: string, scope: string, canonical: string): string =>
  `AWS4-HMAC-SHA256\n${amzDate}\n${scope}\n${hash('sha256', canonical, 'hex')}`

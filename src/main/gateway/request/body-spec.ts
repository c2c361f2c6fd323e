/** How the body of a PutObject or UploadPart arrives, and what it must match. */
import { MAX_BLOB_BYTES } from '../../../shared/limits.ts'
import { AnvilError } from '../../../shared/errors.ts'
import type { BodySpec } from '../../objects/contract.ts'
import type { Payload } from '../auth/payload.ts'
import { invalidArgument } from '../errors.ts'
import type { RequestHeaders } from '../http/headers.ts'
import { parseBodyChecksum, parseContentMd5 } from './checksum.ts'

/** @throws AnvilError MissingContentLength, EntityTooLarge, InvalidDigest; S3Error InvalidRequest, InvalidArgument */
export function parseBodySpec(headers: RequestHeaders, payload: Payload): BodySpec {
  const chunked = payload.kind === 'chunked' ? payload.chunked : null
  const name = chunked === null ? 'content-length' : 'x-amz-decoded-content-length'
  const text = headers.get(name)
  if (text === undefined) throw new AnvilError('MissingContentLength', 'You must provide the Content-Length HTTP header.')
  if (!/^\d{1,15}$/.test(text)) throw invalidArgument(`The value of ${name} is not a length`, name, text)
  const contentLength = Number(text)
  if (contentLength > MAX_BLOB_BYTES) {
    throw new AnvilError('EntityTooLarge', 'too large', { details: { proposed: contentLength, max: MAX_BLOB_BYTES } })
  }
  return {
    contentLength,
    awsChunked: chunked,
    expectSha256: payload.kind === 'signed' ? payload.sha256 : '',
    expectMd5: parseContentMd5(headers),
    checksum: parseBodyChecksum(headers, chunked?.trailerNames ?? []),
  }
}

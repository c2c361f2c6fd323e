/** What x-amz-content-sha256 says of the body, and which trailers are announced. */
import type { AwsChunked } from '../../../shared/native.ts'
import { invalidArgument, notImplemented } from '../errors.ts'
import type { RequestHeaders } from '../http/headers.ts'

export const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD'

export type Payload =
  | { kind: 'unsigned' }
  /** The body's SHA-256, hex. */
  | { kind: 'signed'; sha256: string }
  /** aws-chunked framing, which the store's sink takes apart. */
  | { kind: 'chunked'; chunked: AwsChunked }

/** What chunk signatures continue from. */
export interface Seed {
  signature: string
  signingKey: Uint8Array
  amzDate: string
  scope: string
}

/** @throws S3Error InvalidArgument, NotImplemented */
export function parsePayload(contentSha256: string, headers: RequestHeaders, seed: Seed): Payload {
  switch (contentSha256) {
    case UNSIGNED_PAYLOAD:
      return { kind: 'unsigned' }
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD':
      return chunked(headers, seed, false)
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER':
      return chunked(headers, seed, true)
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER':
      return chunked(headers, null, true)
    case 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD':
    case 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER':
      throw notImplemented('SigV4A')
    default:
      if (!/^[0-9a-f]{64}$/i.test(contentSha256)) {
        throw invalidArgument(
          'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER or a valid sha256 value.',
          'x-amz-content-sha256', contentSha256,
        )
      }
      return { kind: 'signed', sha256: contentSha256.toLowerCase() }
  }
}

function chunked(headers: RequestHeaders, seed: Seed | null, trailer: boolean): Payload {
  return {
    kind: 'chunked',
    chunked: {
      signed: seed !== null,
      trailer,
      trailerNames: trailer ? trailerNames(headers) : [],
      seedSignature: seed?.signature ?? '',
      signingKey: seed?.signingKey ?? new Uint8Array(),
      amzDate: seed?.amzDate ?? '',
      scope: seed?.scope ?? '',
    },
  }
}

const trailerNames = (headers: RequestHeaders): string[] =>
  (headers.get('x-amz-trailer') ?? '').split(',').map((name) => name.trim().toLowerCase()).filter((name) => name !== '')

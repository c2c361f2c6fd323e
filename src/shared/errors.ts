/**
 * The closed set of failures that Anvil reports. A kind says what went wrong in Anvil's terms; gateway/errors.ts maps
 * each to S3's code and status in one exhaustive switch, gRPC has its own. The cause stays in the log.
 */
export type AnvilErrorKind =
  // the request
  | 'InvalidArgument' // details.argument, details.value
  | 'InvalidRequest'
  | 'InvalidDigest' // Content-MD5 or a checksum header is not of its form
  | 'BadDigest' // the body does not match the digest or checksum given
  | 'ContentSha256Mismatch' // the body does not match x-amz-content-sha256
  | 'IncompleteBody'
  | 'MissingContentLength'
  | 'EntityTooLarge' // details.max
  | 'EntityTooSmall' // details.partNumber, details.etag, details.minimum, details.proposed
  | 'InvalidPart' // details.partNumber, details.etag
  | 'InvalidPartOrder'
  | 'InvalidRange' // details.range, details.size
  | 'MalformedChunk' // aws-chunked framing that cannot be read
  | 'MalformedTrailer'
  | 'RequestTimeout'
  | 'PreconditionFailed' // details.condition
  | 'ConditionalRequestConflict'
  | 'NotModified'
  | 'NotImplemented' // details.feature
  // who may do what
  | 'AccessDenied'
  | 'SignatureDoesNotMatch'
  | 'WrongEncryptionKey' // SSE-C: not the key that the object was written with
  // what does not exist, or does already
  | 'NoSuchBucket'
  | 'NoSuchKey'
  | 'NoSuchUpload'
  | 'BucketAlreadyExists'
  | 'BucketAlreadyOwnedByYou'
  | 'BucketNotEmpty'
  // the world
  | 'SlowDown' // memory for one more stripe is not to be had now
  | 'InsufficientRedundancy' // too few members to write with redundancy
  | 'InsufficientStorage' // drives full
  | 'ShardsUnavailable' // fewer than k shards can be read now
  | 'MetadataUnavailable' // Postgres away, or the outcome of a commit not yet settled
  | 'ShuttingDown'
  | 'Internal'

export class AnvilError extends Error {
  readonly kind: AnvilErrorKind
  readonly details: Readonly<Record<string, string | number>>

  constructor(
    kind: AnvilErrorKind,
    message: string,
    options: { cause?: unknown; details?: Record<string, string | number> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AnvilError'
    this.kind = kind
    this.details = options.details ?? {}
  }

  static is(error: unknown, kind?: AnvilErrorKind): error is AnvilError {
    return error instanceof AnvilError && (kind === undefined || error.kind === kind)
  }
}

/** A condition that only a mistake in this program can break. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`)
}

/** For the default branch of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`)
}

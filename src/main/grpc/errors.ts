/** The one place that turns errors into gRPC's codes. Causes go to the log, not to the client. */
import { status, type ServiceError, Metadata } from '@grpc/grpc-js'
import type { Logger } from 'pino'
import { AnvilError, type AnvilErrorKind, unreachable } from '../../shared/errors.ts'
import { TokenError } from './tokens.ts'

/** An error with the code that the client is to see. */
export class RpcError extends Error {
  override readonly name = 'RpcError'
  readonly code: status

  constructor(code: status, message: string) {
    super(message)
    this.code = code
  }
}

export function toServiceError(error: unknown, logger: Logger): ServiceError {
  const { code, message } = codeAndMessage(error)
  if (code === status.INTERNAL) logger.error({ err: error }, 'a gRPC call failed')
  return Object.assign(new Error(message), { code, details: message, metadata: new Metadata() })
}

function codeAndMessage(error: unknown): { code: status; message: string } {
  if (error instanceof RpcError) return error
  if (error instanceof TokenError) return { code: status.UNAUTHENTICATED, message: error.message }
  if (error instanceof AnvilError && error.kind !== 'Internal') return { code: codeOf(error.kind), message: error.message }
  return { code: status.INTERNAL, message: 'an internal error; the log of the node has it' }
}

function codeOf(kind: Exclude<AnvilErrorKind, 'Internal'>): status {
  switch (kind) {
    case 'InvalidArgument':
    case 'InvalidRequest':
    case 'InvalidDigest':
    case 'BadDigest':
    case 'ContentSha256Mismatch':
    case 'IncompleteBody':
    case 'MissingContentLength':
    case 'EntityTooLarge':
    case 'EntityTooSmall':
    case 'InvalidPart':
    case 'InvalidPartOrder':
    case 'MalformedChunk':
    case 'MalformedTrailer':
    case 'WrongEncryptionKey':
      return status.INVALID_ARGUMENT
    case 'InvalidRange':
      return status.OUT_OF_RANGE
    case 'RequestTimeout':
      return status.DEADLINE_EXCEEDED
    case 'PreconditionFailed':
    case 'NotModified':
    case 'BucketNotEmpty':
      return status.FAILED_PRECONDITION
    case 'ConditionalRequestConflict':
      return status.ABORTED
    case 'NotImplemented':
      return status.UNIMPLEMENTED
    case 'AccessDenied':
      return status.PERMISSION_DENIED
    case 'SignatureDoesNotMatch':
      return status.UNAUTHENTICATED
    case 'NoSuchBucket':
    case 'NoSuchKey':
    case 'NoSuchUpload':
      return status.NOT_FOUND
    case 'BucketAlreadyExists':
    case 'BucketAlreadyOwnedByYou':
      return status.ALREADY_EXISTS
    case 'SlowDown':
    case 'InsufficientStorage':
      return status.RESOURCE_EXHAUSTED
    case 'InsufficientRedundancy':
    case 'ShardsUnavailable':
    case 'MetadataUnavailable':
    case 'ShuttingDown':
      return status.UNAVAILABLE
    default:
      return unreachable(kind)
  }
}

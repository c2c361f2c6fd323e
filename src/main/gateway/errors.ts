/** Everything that S3 reports as an error, and the one switch from Anvil's failures to S3's codes. */
import { AnvilError, unreachable } from '../../shared/errors.ts'

/** Extra elements of the error document, in order. */
export type ErrorElements = readonly (readonly [name: string, value: string])[]

export interface S3ErrorOptions {
  elements?: ErrorElements
  headers?: readonly (readonly [string, string])[]
  cause?: unknown
  /** The rest of the request cannot be trusted: close the connection after the answer. */
  close?: boolean
}

/** An answer in S3's terms. */
export class S3Error extends Error {
  readonly code: string
  readonly status: number
  readonly elements: ErrorElements
  readonly headers: readonly (readonly [string, string])[]
  readonly close: boolean

  constructor(code: string, status: number, message: string, options: S3ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'S3Error'
    this.code = code
    this.status = status
    this.elements = options.elements ?? []
    this.headers = options.headers ?? []
    this.close = options.close ?? false
  }
}

/** Seconds after which a client may try again what was refused for want of a resource. */
const RETRY_AFTER: readonly (readonly [string, string])[] = [['Retry-After', '1']]

/** The S3 error of anything that was thrown. What is unknown is InternalError; its cause stays in the log. */
export function toS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error
  if (error instanceof AnvilError) return fromAnvil(error)
  return new S3Error('InternalError', 500, 'We encountered an internal error. Please try again.', { cause: error })
}

function fromAnvil(error: AnvilError): S3Error {
  const { kind, message, details } = error
  const as = (code: string, status: number, options: S3ErrorOptions & { message?: string } = {}): S3Error =>
    new S3Error(code, status, options.message ?? message, { cause: error, ...options })
  /** Those details that are there, as elements named so. */
  const elements = (names: Record<string, string>): ErrorElements =>
    Object.entries(names).flatMap(([detail, element]) => (details[detail] === undefined ? [] : [[element, String(details[detail])] as const]))

  switch (kind) {
    case 'InvalidArgument':
      return as('InvalidArgument', 400, { elements: elements({ argument: 'ArgumentName', value: 'ArgumentValue' }) })
    case 'InvalidRequest':
      return as('InvalidRequest', 400)
    case 'InvalidDigest':
      return as('InvalidDigest', 400)
    case 'BadDigest':
      return as('BadDigest', 400)
    case 'ContentSha256Mismatch':
      return as('XAmzContentSHA256Mismatch', 400, { message: "The provided 'x-amz-content-sha256' header does not match what was computed." })
    case 'IncompleteBody':
      return as('IncompleteBody', 400, { message: 'You did not provide the number of bytes specified by the Content-Length HTTP header' })
    case 'MissingContentLength':
      return as('MissingContentLength', 411)
    case 'EntityTooLarge':
      return as('EntityTooLarge', 400, {
        message: 'Your proposed upload exceeds the maximum allowed size',
        elements: elements({ proposed: 'ProposedSize', max: 'MaxSizeAllowed' }),
      })
    case 'EntityTooSmall':
      return as('EntityTooSmall', 400, {
        message: 'Your proposed upload is smaller than the minimum allowed size',
        elements: elements({ proposed: 'ProposedSize', minimum: 'MinSizeAllowed', partNumber: 'PartNumber', etag: 'ETag' }),
      })
    case 'InvalidPart':
      return as('InvalidPart', 400, {
        message: "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
        elements: elements({ uploadId: 'UploadId', partNumber: 'PartNumber', etag: 'ETag' }),
      })
    case 'InvalidPartOrder':
      return as('InvalidPartOrder', 400, { message: 'The list of parts was not in ascending order. Parts must be ordered by part number.' })
    case 'InvalidRange': {
      const size = details['size']
      return as('InvalidRange', 416, {
        message: 'The requested range is not satisfiable',
        elements: elements({ range: 'RangeRequested', size: 'ActualObjectSize' }),
        headers: size === undefined ? [] : [['Content-Range', `bytes */${size}`]],
      })
    }
    case 'MalformedChunk':
      return as('InvalidChunkSizeError', 400)
    case 'MalformedTrailer':
      return as('MalformedTrailerError', 400, { message: 'The request contained trailing data that was not well-formed or did not conform to our published schema.' })
    case 'RequestTimeout':
      return as('RequestTimeout', 400, { close: true })
    case 'PreconditionFailed':
      return as('PreconditionFailed', 412, {
        message: 'At least one of the pre-conditions you specified did not hold',
        elements: elements({ condition: 'Condition' }),
      })
    case 'ConditionalRequestConflict':
      return as('ConditionalRequestConflict', 409, {
        message: 'The conditional request cannot succeed due to a conflicting operation against this resource.',
        elements: elements({ condition: 'Condition' }),
      })
    case 'NotModified': {
      const { etag, modifiedMs } = details
      const headers: [string, string][] = []
      if (etag !== undefined) headers.push(['ETag', `"${etag}"`])
      if (typeof modifiedMs === 'number') headers.push(['Last-Modified', new Date(modifiedMs).toUTCString()])
      return as('NotModified', 304, { headers })
    }
    case 'NotImplemented':
      return as('NotImplemented', 501)
    case 'AccessDenied':
      return as('AccessDenied', 403, { message: 'Access Denied' })
    case 'SignatureDoesNotMatch':
      return as('SignatureDoesNotMatch', 403, {
        message: 'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
      })
    case 'WrongEncryptionKey':
      return as('AccessDenied', 403, { message: 'Access Denied' })
    case 'NoSuchBucket':
      return as('NoSuchBucket', 404, { message: 'The specified bucket does not exist' })
    case 'NoSuchKey':
      return as('NoSuchKey', 404, { message: 'The specified key does not exist.' })
    case 'NoSuchUpload':
      return as('NoSuchUpload', 404, {
        message: 'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.',
        elements: elements({ uploadId: 'UploadId' }),
      })
    case 'BucketAlreadyExists':
      return as('BucketAlreadyExists', 409, {
        message: 'The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.',
      })
    case 'BucketAlreadyOwnedByYou':
      return as('BucketAlreadyOwnedByYou', 409, { message: 'Your previous request to create the named bucket succeeded and you already own it.' })
    case 'BucketNotEmpty':
      return as('BucketNotEmpty', 409, { message: 'The bucket you tried to delete is not empty' })
    case 'SlowDown':
      return as('SlowDown', 503, { message: 'Please reduce your request rate.', headers: RETRY_AFTER })
    case 'InsufficientRedundancy':
      return as('ServiceUnavailable', 503, { headers: RETRY_AFTER })
    case 'InsufficientStorage':
      return as('InsufficientStorage', 507, { message: 'There is not enough free space to store this.' })
    case 'ShardsUnavailable':
      return as('ServiceUnavailable', 503, { message: 'Too few of the pieces of this object can be read now. Please try again.', headers: RETRY_AFTER })
    case 'MetadataUnavailable':
      return as('ServiceUnavailable', 503, { message: 'The metadata cannot be reached now. Please try again.', headers: RETRY_AFTER })
    case 'ShuttingDown':
      return as('ServiceUnavailable', 503, { message: 'This node is shutting down. Please try again.', headers: RETRY_AFTER, close: true })
    case 'Internal':
      return as('InternalError', 500, { message: 'We encountered an internal error. Please try again.' })
    default:
      return unreachable(kind)
  }
}

// The gateway's own errors that more than one place needs.

export const accessDenied = (message = 'Access Denied', options: S3ErrorOptions = {}): S3Error => new S3Error('AccessDenied', 403, message, options)

export const invalidArgument = (message: string, name: string, value: string): S3Error =>
  new S3Error('InvalidArgument', 400, message, { elements: [['ArgumentName', name], ['ArgumentValue', value]] })

export const invalidRequest = (message: string): S3Error => new S3Error('InvalidRequest', 400, message)

export const malformedXml = (): S3Error =>
  new S3Error('MalformedXML', 400, 'The XML you provided was not well-formed or did not validate against our published schema')

export const notImplemented = (feature: string): S3Error =>
  new S3Error('NotImplemented', 501, `A header or parameter you provided implies functionality that is not implemented: ${feature}`)

export const noSuchBucket = (bucket: string): S3Error =>
  new S3Error('NoSuchBucket', 404, 'The specified bucket does not exist', { elements: [['BucketName', bucket]] })

/** What an operation of S3 is to the gateway, and what one call of it is given. */
import type { Action, App, Bucket, Directory } from '../../directory/contract.ts'
import type { BodySink, ObjectStore } from '../../objects/contract.ts'
import type { Authentication } from '../auth/authenticate.ts'
import type { S3Error } from '../errors.ts'
import type { Answer } from '../http/answer.ts'
import type { RequestHead } from '../http/exchange.ts'
import type { RequestHeaders } from '../http/headers.ts'
import type { Query } from '../request/query.ts'

/**
 * What a caller must be allowed before an operation runs. `any` of the actions is enough. `on` says on what: the bucket
 * itself, the key, or the prefix that a listing asks for. `own`: the operation checks by itself, through `Call.demand`.
 */
export type Access =
  | { kind: 'any'; actions: readonly Action[]; on: 'bucket' | 'key' | 'prefix' }
  | { kind: 'own' }

export interface Operation {
  /** S3's name of it, for logs and counters. */
  name: string
  access: Access
  /** Whether anybody may call it on a bucket with public access: reads and listings only. */
  public?: boolean
  /** The bucket need not exist (CreateBucket, ListBuckets). */
  withoutBucket?: boolean
  /** Answered for buckets of other regions too, from the directory. */
  anyRegion?: boolean
  run(call: Call): Promise<Answer>
}

export interface ReadDocumentOptions {
  /** Content-MD5 or a checksum must be given. @default false */
  digestRequired?: boolean
  /** Whether x-amz-checksum-* is that of the document. @default true */
  checksumOfDocument?: boolean
}

export interface Call {
  head: RequestHead
  /** Of the request; for presigned ones with what the URL carries in their place. */
  headers: RequestHeaders
  query: Query
  authentication: Authentication
  /** As addressed; '' for none. */
  bucketName: string
  key: string
  /** The bucket that is addressed. Not to be touched by operations `withoutBucket`. */
  bucket: Bucket
  region: string
  requestId: string
  /** How long an answer may be awaited before its head goes out without it (late-answer.ts). */
  patienceMs: number
  store: ObjectStore
  directory: Directory
  /** The caller. @throws S3Error AccessDenied when anonymous */
  app(): App
  /** Whether the caller may do that. */
  allows(action: Action, bucket: Bucket, key?: string): boolean
  /** @throws S3Error AccessDenied */
  demand(action: Action, bucket: Bucket, key?: string): void
  /** A bucket by name, of the caller's tenant or public. @throws S3Error NoSuchBucket, AccessDenied */
  bucketNamed(name: string): Promise<Bucket>
  /** The request's body, of at most MAX_XML_BODY_BYTES, checked against its digests. Empty when there is none. */
  readDocument(options?: ReadDocumentOptions): Promise<Buffer>
  /** The S3 form of an error that goes into a document instead of being thrown; logged as if it were. */
  lateError(error: unknown): S3Error
  /** The same as an <Error> element. */
  lateErrorXml(error: unknown): string
  /** Compares an expected owner's id, where the header is given. @throws S3Error AccessDenied */
  checkOwner(header: string, bucket: Bucket): void
  /** Feeds the request's body to the sink and finishes it; aborts it when anything fails. */
  upload<Result>(sink: BodySink<Result>): Promise<Result>
}

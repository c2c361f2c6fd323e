/** One call of an operation: what it is given, and its permissions. */
import { createHash } from 'node:crypto'
import { MAX_XML_BODY_BYTES } from '../../shared/limits.ts'
import { AnvilError } from '../../shared/errors.ts'
import type { Action, App, Bucket, Directory } from '../directory/contract.ts'
import type { BodySink, ObjectStore } from '../objects/contract.ts'
import type { Authentication } from './auth/authenticate.ts'
import { authorize } from './auth/authorize.ts'
import { digestBase64 } from './checksums.ts'
import { type ErrorContext, errorElement } from './error-answer.ts'
import { accessDenied, invalidRequest, malformedXml, noSuchBucket, S3Error, toS3Error } from './errors.ts'
import type { GatewayLogger } from './handler.ts'
import type { RequestHead } from './http/exchange.ts'
import type { RequestHeaders } from './http/headers.ts'
import type { RequestBody } from './http/request-body.ts'
import type { Call, Operation, ReadDocumentOptions } from './operations/operation.ts'
import type { Address } from './request/address.ts'
import { checkDigestForm, headerChecksum, parseContentMd5 } from './request/checksum.ts'
import type { Query } from './request/query.ts'

export interface CallComponents {
  store: ObjectStore
  directory: Directory
  logger: Pick<GatewayLogger, 'warn'>
  region: string
  patienceMs: number
}

export interface CallInput {
  /** Told of every error that is answered inside a document. */
  report: (error: S3Error) => void
  errorContext: ErrorContext
  head: RequestHead
  body: RequestBody
  headers: RequestHeaders
  query: Query
  address: Address
  authentication: Authentication
  operation: Operation
  requestId: string
}

export class OperationCall implements Call {
  readonly head: RequestHead
  readonly headers: RequestHeaders
  readonly query: Query
  readonly authentication: Authentication
  readonly bucketName: string
  readonly key: string
  readonly region: string
  readonly requestId: string
  readonly patienceMs: number
  readonly store: ObjectStore
  readonly directory: Directory
  readonly #body: RequestBody
  readonly #operation: Operation
  readonly #errorContext: ErrorContext
  readonly #report: (error: S3Error) => void
  readonly #logger: CallComponents['logger']
  #bucket: Bucket | null = null

  constructor(input: CallInput, components: CallComponents) {
    this.head = input.head
    this.headers = input.headers
    this.query = input.query
    this.authentication = input.authentication
    this.bucketName = input.address.bucket
    this.key = input.address.key
    this.region = components.region
    this.requestId = input.requestId
    this.patienceMs = components.patienceMs
    this.store = components.store
    this.directory = components.directory
    this.#body = input.body
    this.#operation = input.operation
    this.#errorContext = input.errorContext
    this.#report = input.report
    this.#logger = components.logger
  }

  get bucket(): Bucket {
    if (this.#bucket === null) throw new Error(`${this.#operation.name} has no bucket`)
    return this.#bucket
  }

  /** Finds the bucket and checks what the operation wants of the caller. @throws S3Error */
  async admit(): Promise<void> {
    const { access, withoutBucket } = this.#operation
    if (withoutBucket === true) {
      this.app()
      return
    }
    const bucket = await this.bucketNamed(this.bucketName)
    this.#bucket = bucket
    if (bucket.region !== this.region && this.#operation.anyRegion !== true) throw this.#redirect(bucket)
    this.checkOwner('x-amz-expected-bucket-owner', bucket)
    if (access.kind === 'own') return
    const on = access.on === 'key' ? this.key : access.on === 'prefix' ? (this.query.get('prefix') ?? '') : undefined
    if (!access.actions.some((action) => this.allows(action, bucket, on))) throw accessDenied()
  }

  app(): App {
    const { app } = this.authentication
    if (app === null) throw accessDenied()
    return app
  }

  allows(action: Action, bucket: Bucket, key?: string): boolean {
    if (bucket.publicAccess && this.#operation.public === true && publicActions.has(action)) return true
    const { app } = this.authentication
    return app !== null && app.tenantId === bucket.tenantId && authorize(app.grants, action, bucket.name, key)
  }

  demand(action: Action, bucket: Bucket, key?: string): void {
    if (!this.allows(action, bucket, key)) throw accessDenied()
  }

  async bucketNamed(name: string): Promise<Bucket> {
    const bucket = await this.directory.bucket(name)
    if (bucket === null) throw noSuchBucket(name)
    if (bucket.tenantId !== this.authentication.app?.tenantId && !bucket.publicAccess) throw accessDenied()
    return bucket
  }

  async readDocument({ digestRequired = false, checksumOfDocument = true }: ReadDocumentOptions = {}): Promise<Buffer> {
    const { payload } = this.authentication
    if (payload.kind === 'chunked') throw new AnvilError('NotImplemented', 'aws-chunked framing of a request that is a document is not implemented')
    const length = this.headers.get('content-length')
    if (length !== undefined && Number(length) > MAX_XML_BODY_BYTES) throw malformedXml()
    const md5 = parseContentMd5(this.headers)
    const checksum = checksumOfDocument ? headerChecksum(this.headers) : null
    if (checksum !== null) checkDigestForm(checksum.algorithm, checksum.value)
    if (digestRequired && md5 === '' && checksum === null) {
      throw invalidRequest('Missing required header for this request: Content-MD5 OR x-amz-checksum-*')
    }
    const document = await this.#body.collect(MAX_XML_BODY_BYTES)
    if (payload.kind === 'signed' && createHash('sha256').update(document).digest('hex') !== payload.sha256) {
      throw new AnvilError('ContentSha256Mismatch', 'the body is not the one that was signed')
    }
    if (md5 !== '' && createHash('md5').update(document).digest('hex') !== md5) {
      throw new AnvilError('BadDigest', 'The Content-MD5 you specified did not match what we received.')
    }
    if (checksum !== null && digestBase64(checksum.algorithm, document) !== checksum.value) {
      throw new AnvilError('BadDigest', `The ${checksum.algorithm.toUpperCase()} you specified did not match the calculated checksum.`)
    }
    return document
  }

  lateError(error: unknown): S3Error {
    const s3Error = toS3Error(error)
    this.#report(s3Error)
    return s3Error
  }

  lateErrorXml(error: unknown): string {
    return errorElement(this.lateError(error), this.#errorContext)
  }

  async upload<Result>(sink: BodySink<Result>): Promise<Result> {
    try {
      await this.#body.pipeTo(sink)
    } catch (error) {
      sink.abort()
      throw error
    }
    return sink.finish()
  }

  checkOwner(header: string, bucket: Bucket): void {
    const expected = this.headers.get(header)
    if (expected !== undefined && expected !== ownerId(bucket.tenantId)) throw accessDenied()
  }

  /** A row that holds no URL, written by hand, costs the client the endpoint, not the answer. */
  #redirect(bucket: Bucket): S3Error {
    const { region, regionEndpoint } = bucket
    const host = hostOf(regionEndpoint)
    if (host === null && regionEndpoint !== '') {
      this.#logger.warn(
        { requestId: this.requestId, region, endpoint: regionEndpoint },
        `the endpoint of region ${region} is no URL: clients are told the region alone until \`anvil admin regions set-endpoint\` gives it one`,
      )
    }
    return permanentRedirect(bucket, host)
  }
}

/** Of an http or https URL; null for anything else. */
function hostOf(endpoint: string): string | null {
  const url = URL.parse(endpoint)
  return url !== null && (url.protocol === 'http:' || url.protocol === 'https:') ? url.host : null
}

/** S3's Endpoint is a host; the port belongs to it here. Clients that ask a proxy may know another way: the region tells. */
function permanentRedirect({ name, region }: Bucket, host: string | null): S3Error {
  const endpoint = host === null ? [] : [['Endpoint', host] as const]
  return new S3Error('PermanentRedirect', 301, 'The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.', {
    elements: [...endpoint, ['Bucket', name], ['Region', region]],
    headers: [['x-amz-bucket-region', region]],
  })
}

/** What a bucket with public access lets anybody do. */
const publicActions: ReadonlySet<Action> = new Set<Action>(['object:read', 'object:list', 'bucket:read'])

/** A tenant in the form of S3's canonical user ids. */
export const ownerId = (tenantId: Bucket['tenantId']): string => createHash('sha256').update(`anvil tenant ${tenantId}`).digest('hex')

/** One request from its head to its answer: address, authentication, operation, permission, run, errors. */
import { AnvilError } from '../../shared/errors.ts'
import type { Directory } from '../directory/contract.ts'
import type { ObjectStore } from '../objects/contract.ts'
import { authenticate, type Authentication } from './auth/authenticate.ts'
import type { SigningKeys } from './auth/signing-key.ts'
import { OperationCall } from './call.ts'
import { type ErrorContext, errorAnswer } from './error-answer.ts'
import { accessDenied, invalidRequest, S3Error, toS3Error } from './errors.ts'
import { type Answer, jsonAnswer } from './http/answer.ts'
import { ClientGone, type Exchange, type RequestHead } from './http/exchange.ts'
import { RequestHeaders } from './http/headers.ts'
import { route } from './operations/route.ts'
import { type Address, parseAddress } from './request/address.ts'
import { Query } from './request/query.ts'

/** Where log lines go; pino's loggers are of this kind. */
export interface GatewayLogger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** What a probe is answered: 200 when `ok`, else 503, with the body as JSON. */
export interface GatewayHealth {
  ok: boolean
  body: object
}

export interface HandlerComponents {
  store: ObjectStore
  directory: Directory
  logger: GatewayLogger
  keys: SigningKeys
  region: string
  s3Domain: string | null
  hostId: string
  patienceMs: number
  now: () => number
  draining: () => boolean
  health: () => GatewayHealth | Promise<GatewayHealth>
  ready: () => GatewayHealth | Promise<GatewayHealth>
}

/** What became of a request, for the counters and the log line. */
export interface Outcome {
  operation: string
  error: S3Error | null
}

export class RequestHandler {
  readonly #components: HandlerComponents

  constructor(components: HandlerComponents) {
    this.#components = components
  }

  /** Never rejects: whatever happens becomes an answer, or a line in the log when nobody is left to answer. */
  async handle(exchange: Exchange, requestId: string, outcome: Outcome): Promise<void> {
    const { head } = exchange
    const context: ErrorContext = { resource: head.rawPath, requestId, hostId: this.#components.hostId }
    let answer: Answer
    try {
      answer = await this.#answer(exchange, context, outcome)
    } catch (error) {
      if (error instanceof ClientGone) return
      outcome.error = toS3Error(error)
      this.#report(outcome.error, head, context, outcome)
      answer = errorAnswer(outcome.error, context)
    }
    exchange.answer(answer)
  }

  async #answer(exchange: Exchange, context: ErrorContext, outcome: Outcome): Promise<Answer> {
    const { head } = exchange
    const { directory, keys, logger, region, s3Domain, store, patienceMs, now, draining } = this.#components
    const host = checkHead(head)
    const address = parseAddress(host, head.rawPath, s3Domain)
    if (!address.virtualHost && head.rawPath.startsWith('/-/')) return this.#probe(head, outcome)
    if (draining()) throw new AnvilError('ShuttingDown', 'this node is shutting down')
    context.resource = resourceOf(address)
    const query = new Query(head.rawQuery)
    if (head.method === 'OPTIONS') {
      outcome.operation = 'PreflightRequest'
      throw corsNotEnabled(head)
    }
    const authentication = await authenticate(head, query, {
      directory, keys, region, nowMs: now(), bucketRegion: async () => (address.bucket === '' ? null : ((await directory.bucket(address.bucket))?.region ?? null)),
    })
    const headers = effectiveHeaders(head, query, authentication)
    const operation = route(head.method, address, query, headers)
    outcome.operation = operation.name
    const call = new OperationCall({
      head: headers === head.headers ? head : { ...head, headers },
      body: exchange.body,
      headers, query, address, authentication, operation,
      requestId: context.requestId,
      errorContext: context,
      report: (error) => {
        this.#report(error, head, context, outcome)
      },
    }, { store, directory, logger, region, patienceMs })
    await call.admit()
    return operation.run(call)
  }

  async #probe(head: RequestHead, outcome: Outcome): Promise<Answer> {
    outcome.operation = 'Probe'
    const probe = { '/-/healthz': this.#components.health, '/-/readyz': this.#components.ready }[head.rawPath]
    if (probe === undefined) throw new S3Error('NoSuchKey', 404, 'There is nothing of that name.')
    if (head.method !== 'GET' && head.method !== 'HEAD') throw new S3Error('MethodNotAllowed', 405, 'The specified method is not allowed against this resource.')
    const answer = await probe()
    return jsonAnswer(answer.body, answer.ok ? 200 : 503)
  }

  #report(error: S3Error, head: RequestHead, { requestId, resource }: ErrorContext, { operation }: Outcome): void {
    const fields = { requestId, operation, method: head.method, resource, code: error.code, status: error.status }
    const { logger } = this.#components
    if (error.status === 500) logger.error({ ...fields, err: error.cause ?? error }, 'a request failed')
    else if (error.status > 500 && error.status !== 501) logger.warn({ ...fields, reason: error.message, err: error.cause }, 'a request was refused')
    else logger.debug({ ...fields, reason: error.message }, 'a request was refused')
  }
}

/** The host. @throws S3Error */
function checkHead({ headers }: RequestHead): string {
  if (headers.all('content-length').length > 1) throw new S3Error('InvalidRequest', 400, 'Content-Length was given more than once', { close: true })
  const host = headers.all('host')
  if (host.length !== 1) throw new S3Error('InvalidRequest', 400, 'Exactly one Host header is required', { close: true })
  return host[0]!
}

const resourceOf = ({ bucket, key }: Address): string => (bucket === '' ? '/' : `/${bucket}${key === '' ? '' : `/${key}`}`)

/** Without a CORS configuration of the bucket there is none to match: that is what S3 says to a browser's preflight. */
function corsNotEnabled({ headers }: RequestHead): S3Error {
  if (!headers.has('origin')) return new S3Error('BadRequest', 400, 'Insufficient information. Origin request header needed.')
  return accessDenied('CORSResponse: CORS is not enabled for this bucket.', {
    elements: [['Method', headers.get('access-control-request-method') ?? ''], ['ResourceType', 'BUCKET']],
  })
}

/**
 * Signers of URLs put x-amz-* headers into the query, where the signature covers them: they count as headers. Not so
 * checksums: an SDK that signs a URL has no body and signs the checksum of nothing, which S3 does not look at either.
 */
function effectiveHeaders(head: RequestHead, query: Query, { presigned }: Authentication): RequestHeaders {
  if (!presigned) return head.headers
  const hoisted = query.entries.filter(([name]) => {
    const lower = name.toLowerCase()
    return lower.startsWith('x-amz-') && !ofSignature.has(lower) && !/^x-amz-(sdk-)?checksum-/.test(lower)
  })
  if (hoisted.length === 0) return head.headers
  const headers = RequestHeaders.of([...head.headers.names()].flatMap((name) => head.headers.all(name).map((value) => [name, value] as const)))
  for (const [name, value] of hoisted) {
    if (headers.has(name.toLowerCase())) throw invalidRequest(`${name} is given as a header and in the query`)
    headers.add(name, value)
  }
  return headers
}

const ofSignature = new Set([
  'x-amz-algorithm', 'x-amz-credential', 'x-amz-signature', 'x-amz-date', 'x-amz-signedheaders', 'x-amz-expires', 'x-amz-content-sha256',
  'x-amz-security-token', 'x-amz-user-agent',
])

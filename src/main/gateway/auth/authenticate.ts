/**
 * Who sends a request. SigV4 in the Authorization header or in the query (presigned), or nobody.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
 *
 * The region of a signature must be the node's, or that of the bucket. Where the deployment's region is `local`, the default of the embedded
 * database, `us-east-1` is taken as well: it is what every client signs for that was not told a region, and on such a
 * deployment nobody was asked to name one.
 */
import { MAX_CLOCK_SKEW_MS, MAX_PRESIGN_SECONDS } from '../../../shared/limits.ts'
import type { App, Directory } from '../../directory/contract.ts'
import { accessDenied, invalidArgument, invalidRequest, S3Error, type S3ErrorOptions } from '../errors.ts'
import type { RequestHead } from '../http/exchange.ts'
import type { Query } from '../request/query.ts'
import { canonicalRequest, stringToSign } from './canonical.ts'
import { type Credential, formatAmzDate, parseAmzDate, parseCredential, scopeOf } from './credential.ts'
import { parsePayload, type Payload, UNSIGNED_PAYLOAD } from './payload.ts'
import { signatureMatches, type SigningKeys } from './signing-key.ts'

export interface Authentication {
  /** null: anonymous. */
  app: App | null
  payload: Payload
  presigned: boolean
}

export interface AuthenticateContext {
  directory: Pick<Directory, 'app'>
  keys: SigningKeys
  region: string
  nowMs: number
  /** Region of the bucket that is addressed; null where there is none. Asked only of signatures for another region. */
  bucketRegion(): Promise<string | null>
}

type AuthenticatedHead = Pick<RequestHead, 'method' | 'rawPath' | 'headers'>

/** What a signature claims, from wherever it stood. */
interface Claim {
  credential: Credential
  signedHeaders: string[]
  signature: string
  amzDate: string
  dateMs: number
  contentSha256: string
  presigned: boolean
}

const ALGORITHM = 'AWS4-HMAC-SHA256'

export async function authenticate(head: AuthenticatedHead, query: Query, context: AuthenticateContext): Promise<Authentication> {
  const authorization = head.headers.get('authorization')
  const inQuery = query.has('X-Amz-Algorithm') || query.has('X-Amz-Signature') || query.has('X-Amz-Credential')
  if (authorization !== undefined && (inQuery || query.has('Signature'))) {
    throw invalidArgument(
      'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified',
      'Authorization', '',
    )
  }
  if (authorization === undefined && !inQuery) {
    if (query.has('AWSAccessKeyId') && query.has('Signature')) throw signatureV2()
    return { app: null, payload: anonymousPayload(head), presigned: false }
  }
  const claim = authorization === undefined ? claimOfQuery(head, query, context) : claimOfHeader(head, authorization, context)
  return verify(head, query, claim, context)
}

/** What anonymous requests may send has no body that a hash or a chunk signature could vouch for. */
function anonymousPayload(head: AuthenticatedHead): Payload {
  const contentSha256 = head.headers.get('x-amz-content-sha256')
  if (contentSha256 === undefined || contentSha256.startsWith('STREAMING-AWS4')) return { kind: 'unsigned' }
  return parsePayload(contentSha256, head.headers, { signature: '', signingKey: new Uint8Array(), amzDate: '', scope: '' })
}

async function verify(head: AuthenticatedHead, query: Query, claim: Claim, context: AuthenticateContext): Promise<Authentication> {
  const { headers } = head
  const { credential } = claim
  if (query.has('X-Amz-Security-Token') || headers.has('x-amz-security-token')) {
    throw new S3Error('InvalidToken', 400, 'The provided token is malformed or otherwise not valid.')
  }
  checkScope(claim)
  await checkRegion(claim, context)
  const app = await context.directory.app(credential.accessKeyId)
  if (app === null || app.disabled) {
    throw new S3Error('InvalidAccessKeyId', 403, 'The AWS Access Key Id you provided does not exist in our records.', {
      elements: [['AWSAccessKeyId', credential.accessKeyId]],
    })
  }
  const scope = scopeOf(credential)
  const canonical = canonicalRequest({
    method: head.method, rawPath: head.rawPath, query, headers, signedHeaders: claim.signedHeaders, payloadHash: claim.contentSha256,
  })
  const text = stringToSign(claim.amzDate, scope, canonical)
  const signingKey = app.secrets
    .map((secret) => context.keys.key(secret, credential.date, credential.region))
    .find((key) => signatureMatches(key, text, claim.signature))
  if (signingKey === undefined) throw signatureDoesNotMatch(claim, text, canonical)
  checkSignedHeaders(head, claim)
  const payload = parsePayload(claim.contentSha256, headers, { signature: claim.signature, signingKey: signingKey.bytes, amzDate: claim.amzDate, scope })
  return { app, payload, presigned: claim.presigned }
}

function claimOfHeader(head: AuthenticatedHead, authorization: string, context: AuthenticateContext): Claim {
  if (!authorization.startsWith(`${ALGORITHM} `)) {
    if (authorization.startsWith('AWS ')) throw signatureV2()
    throw invalidRequest(`The authorization mechanism you have provided is not supported. Please use ${ALGORITHM}.`)
  }
  const fields = new Map(authorization.slice(ALGORITHM.length + 1).split(',').map((field): [string, string] => {
    const equals = field.indexOf('=')
    return equals === -1 ? [field.trim(), ''] : [field.slice(0, equals).trim(), field.slice(equals + 1).trim()]
  }))
  const signedHeaders = fields.get('SignedHeaders')
  const signature = fields.get('Signature')
  const credentialText = fields.get('Credential')
  if (credentialText === undefined || signedHeaders === undefined || signature === undefined) {
    throw headerMalformed('the Credential, SignedHeaders and Signature components are required.')
  }
  const credential = parseCredential(credentialText)
  if (credential === null) {
    throw headerMalformed('the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
  }
  const { amzDate, dateMs } = dateOf(head)
  const skew = Math.abs(context.nowMs - dateMs)
  if (skew > MAX_CLOCK_SKEW_MS) {
    throw new S3Error('RequestTimeTooSkewed', 403, 'The difference between the request time and the current time is too large.', {
      elements: [
        ['RequestTime', amzDate],
        ['ServerTime', new Date(context.nowMs).toISOString()],
        ['MaxAllowedSkewMilliseconds', String(MAX_CLOCK_SKEW_MS)],
      ],
    })
  }
  const contentSha256 = head.headers.get('x-amz-content-sha256')
  if (contentSha256 === undefined) throw invalidRequest('Missing required header for this request: x-amz-content-sha256')
  return { credential, signedHeaders: signedHeaders.split(';'), signature, amzDate, dateMs, contentSha256, presigned: false }
}

/** x-amz-date, or else Date, which may have S3's form or HTTP's. */
function dateOf({ headers }: AuthenticatedHead): { amzDate: string; dateMs: number } {
  const text = headers.get('x-amz-date') ?? headers.get('date')
  const dateMs = text === undefined ? null : (parseAmzDate(text) ?? (headers.has('x-amz-date') ? null : parseHttpDate(text)))
  if (dateMs === null) throw accessDenied('AWS authentication requires a valid Date or x-amz-date header')
  return { amzDate: formatAmzDate(dateMs), dateMs }
}

function parseHttpDate(text: string): number | null {
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? null : ms
}

function claimOfQuery(head: AuthenticatedHead, query: Query, context: AuthenticateContext): Claim {
  const names = ['X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Signature', 'X-Amz-Date', 'X-Amz-SignedHeaders', 'X-Amz-Expires'] as const
  const [algorithm, credentialText, signature, amzDate, signedHeaders, expires] = names.map((name) => query.get(name))
  if (
    algorithm === undefined || credentialText === undefined || signature === undefined || amzDate === undefined ||
    signedHeaders === undefined || expires === undefined
  ) {
    throw queryParameters('Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.')
  }
  if (algorithm !== ALGORITHM) throw queryParameters(`X-Amz-Algorithm only supports "${ALGORITHM}"`)
  const credential = parseCredential(credentialText)
  if (credential === null) {
    throw queryParameters('Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
  }
  const dateMs = parseAmzDate(amzDate)
  if (dateMs === null) throw queryParameters('X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd\'T\'HHmmss\'Z\'"')
  checkExpiry(expires, dateMs, context.nowMs)
  const signed = signedHeaders.split(';')
  const contentSha256 = query.get('X-Amz-Content-Sha256') ??
    (signed.includes('x-amz-content-sha256') ? head.headers.get('x-amz-content-sha256') : undefined) ?? UNSIGNED_PAYLOAD
  return { credential, signedHeaders: signed, signature, amzDate, dateMs, contentSha256, presigned: true }
}

function checkExpiry(expires: string, dateMs: number, nowMs: number): void {
  if (!/^-?\d+$/.test(expires)) throw queryParameters('X-Amz-Expires should be a number')
  const seconds = Number(expires)
  if (seconds < 0) throw queryParameters('X-Amz-Expires must be non-negative')
  if (seconds > MAX_PRESIGN_SECONDS) {
    throw queryParameters(`X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than ${MAX_PRESIGN_SECONDS} seconds`)
  }
  const endMs = dateMs + seconds * 1000
  if (nowMs > endMs) {
    throw accessDenied('Request has expired', {
      elements: [['X-Amz-Expires', expires], ['Expires', new Date(endMs).toISOString()], ['ServerTime', new Date(nowMs).toISOString()]],
    })
  }
  if (dateMs > nowMs + MAX_CLOCK_SKEW_MS) throw accessDenied('Request is not yet valid')
}

/** The error that a wrong credential is, where it stands. */
const credentialMalformed = ({ presigned }: Claim, text: string, options?: S3ErrorOptions): S3Error =>
  presigned ? queryParameters(`Error parsing the X-Amz-Credential parameter; ${text}`, options) : headerMalformed(text, options)

/**
 * A signature for the region of the bucket is right wherever it arrives: the redirect that follows says where the bucket
 * is. Any other is told the region to sign for.
 */
async function checkRegion(claim: Claim, { region, bucketRegion }: AuthenticateContext): Promise<void> {
  const signed = claim.credential.region
  if (signed === region || (region === 'local' && signed === 'us-east-1')) return
  const expected = (await bucketRegion()) ?? region
  if (signed === expected) return
  throw credentialMalformed(claim, `the region '${signed}' is wrong; expecting '${expected}'`, {
    elements: [['Region', expected]], headers: [['x-amz-bucket-region', expected]],
  })
}

function checkScope(claim: Claim): void {
  const { credential, amzDate } = claim
  const malformed = (text: string): S3Error => credentialMalformed(claim, text)
  if (!/^\d{8}$/.test(credential.date) || !amzDate.startsWith(credential.date)) {
    throw malformed(`the date in the credential '${credential.date}' is not that of the request.`)
  }
  if (credential.service !== 's3') throw malformed(`incorrect service "${credential.service}". This endpoint belongs to "s3".`)
  if (credential.terminator !== 'aws4_request') throw malformed(`incorrect terminal "${credential.terminator}". This endpoint uses "aws4_request".`)
}

/** The host and every x-amz-* header must be covered, or a stolen signature could be given other ones. */
function checkSignedHeaders({ headers }: AuthenticatedHead, { signedHeaders, presigned }: Claim): void {
  const signed = new Set(signedHeaders)
  const mustBe = [...headers.names()].filter((name) => name === 'host' || (name.startsWith('x-amz-') && !(presigned && name === 'x-amz-content-sha256')))
  const missing = mustBe.filter((name) => !signed.has(name))
  if (missing.length > 0) {
    throw accessDenied('There were headers present in the request which were not signed', { elements: [['HeadersNotSigned', missing.join(', ')]] })
  }
}

function signatureDoesNotMatch({ credential, signature }: Claim, text: string, canonical: string): S3Error {
  const bytes = (value: string): string => Buffer.from(value).toString('hex').replace(/..(?=.)/g, '$& ')
  return new S3Error(
    'SignatureDoesNotMatch', 403,
    'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
    {
      elements: [
        ['AWSAccessKeyId', credential.accessKeyId],
        ['StringToSign', text],
        ['SignatureProvided', signature],
        ['StringToSignBytes', bytes(text)],
        ['CanonicalRequest', canonical],
        ['CanonicalRequestBytes', bytes(canonical)],
      ],
    },
  )
}

const signatureV2 = (): S3Error =>
  invalidRequest(`The authorization mechanism you have provided (Signature Version 2) is not supported. Please use ${ALGORITHM}.`)

const headerMalformed = (text: string, options: S3ErrorOptions = {}): S3Error =>
  new S3Error('AuthorizationHeaderMalformed', 400, `The authorization header is malformed; ${text}`, options)

const queryParameters = (text: string, options: S3ErrorOptions = {}): S3Error =>
  new S3Error('AuthorizationQueryParametersError', 400, text, options)

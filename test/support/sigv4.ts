/**
 * AWS Signature Version 4 as a client makes it, written apart from the server's so that the two check each other.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html (chunks), …/sigv4-streaming-trailers.html
 */
import { createHash, createHmac } from 'node:crypto'

export interface Credentials {
  accessKeyId: string
  secretAccessKey: string
}

export interface SignInput {
  method: string
  /** As it is sent: percent-encoded once. */
  path: string
  query?: Record<string, string>
  /** Must hold `host`. All of them are signed. */
  headers: Record<string, string>
  /** Hex of the body, or one of the constants. */
  payloadHash: string
  credentials: Credentials
  /** @default 'us-east-1' */
  region?: string
  at?: Date
}

export interface Signed {
  /** Those given, with x-amz-date, x-amz-content-sha256 and authorization. */
  headers: Record<string, string>
  signature: string
  signingKey: Buffer
  amzDate: string
  scope: string
}

export const UNSIGNED = 'UNSIGNED-PAYLOAD'
export const STREAMING = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'
export const STREAMING_TRAILER = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER'
export const STREAMING_UNSIGNED_TRAILER = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'

const ALGORITHM = 'AWS4-HMAC-SHA256'
const EMPTY_SHA256 = createHash('sha256').digest('hex')

export const sha256Hex = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex')
const hmac = (key: Uint8Array | string, text: string): Buffer => createHmac('sha256', key).update(text).digest()

export function encodeUri(text: string, keepSlash = false): string {
  const encoded = encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  return keepSlash ? encoded.replaceAll('%2F', '/') : encoded
}

/** Path of a bucket or an object as it is sent. */
export const s3Path = (bucket: string, key?: string): string => (key === undefined ? `/${bucket}` : `/${bucket}/${encodeUri(key, true)}`)

export const queryString = (query: Record<string, string>): string =>
  Object.entries(query)
    .map(([name, value]): [string, string] => [encodeUri(name), encodeUri(value)])
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')

const formatDate = (at: Date): string => at.toISOString().replace(/[-:]|\.\d+/g, '')

const keys = new Map<string, Buffer>()

function signingKey({ secretAccessKey }: Credentials, date: string, region: string): Buffer {
  const name = `${secretAccessKey}/${date}/${region}`
  let key = keys.get(name)
  if (key === undefined) {
    key = hmac(hmac(hmac(hmac(`AWS4${secretAccessKey}`, date), region), 's3'), 'aws4_request')
    keys.set(name, key)
  }
  return key
}

function signatureOf(input: SignInput, query: Record<string, string>, headers: Record<string, string>, amzDate: string): Omit<Signed, 'headers' | 'amzDate'> & { names: string } {
  const date = amzDate.slice(0, 8)
  const region = input.region ?? 'us-east-1'
  const scope = `${date}/${region}/s3/aws4_request`
  const sorted = Object.entries(headers).map(([name, value]): [string, string] => [name.toLowerCase(), value.trim()]).sort(([a], [b]) => (a < b ? -1 : 1))
  const names = sorted.map(([name]) => name).join(';')
  const canonical = [
    input.method, input.path, queryString(query), ...sorted.map(([name, value]) => `${name}:${value}`), '', names, input.payloadHash,
  ].join('\n')
  const key = signingKey(input.credentials, date, region)
  const signature = hmac(key, [ALGORITHM, amzDate, scope, sha256Hex(canonical)].join('\n')).toString('hex')
  return { signature, signingKey: key, scope, names }
}

/** Signs in the Authorization header. */
export function sign(input: SignInput): Signed {
  const amzDate = formatDate(input.at ?? new Date())
  const headers: Record<string, string> = { ...input.headers, 'x-amz-date': amzDate, 'x-amz-content-sha256': input.payloadHash }
  const { names, ...signed } = signatureOf(input, input.query ?? {}, headers, amzDate)
  headers['authorization'] = `${ALGORITHM} Credential=${input.credentials.accessKeyId}/${signed.scope}, SignedHeaders=${names}, Signature=${signed.signature}`
  return { headers, amzDate, ...signed }
}

/** Path and query of a presigned URL. */
export function presign(input: Omit<SignInput, 'payloadHash'>, expiresSeconds: number): string {
  const amzDate = formatDate(input.at ?? new Date())
  const query: Record<string, string> = {
    ...input.query,
    'X-Amz-Algorithm': ALGORITHM,
    'X-Amz-Credential': `${input.credentials.accessKeyId}/${amzDate.slice(0, 8)}/${input.region ?? 'us-east-1'}/s3/aws4_request`,
    'X-Amz-Date': amzDate,
    'X-Amz-Expires': String(expiresSeconds),
    'X-Amz-SignedHeaders': Object.keys(input.headers).map((name) => name.toLowerCase()).sort().join(';'),
  }
  const { signature } = signatureOf({ ...input, payloadHash: UNSIGNED }, query, input.headers, amzDate)
  return `${input.path}?${queryString(query)}&X-Amz-Signature=${signature}`
}

export interface Trailer {
  name: string
  value: string
}

/** A body in aws-chunked framing; `seed` null: chunks without signatures. */
export function awsChunked(data: Uint8Array, chunkBytes: number, seed: Signed | null, trailer?: Trailer): Buffer {
  const pieces: Uint8Array[] = []
  let previous = seed?.signature ?? ''
  const next = (kind: string, ...hashes: string[]): string => {
    previous = hmac(seed!.signingKey, [kind, seed!.amzDate, seed!.scope, previous, ...hashes].join('\n')).toString('hex')
    return previous
  }
  const chunk = (bytes: Uint8Array): void => {
    const signature = seed === null ? '' : `;chunk-signature=${next(`${ALGORITHM}-PAYLOAD`, EMPTY_SHA256, sha256Hex(bytes))}`
    pieces.push(Buffer.from(`${bytes.length.toString(16)}${signature}\r\n`))
    if (bytes.length > 0) pieces.push(bytes, Buffer.from('\r\n'))
  }
  for (let at = 0; at < data.length; at += chunkBytes) chunk(data.subarray(at, at + chunkBytes))
  chunk(new Uint8Array())
  if (trailer !== undefined) {
    pieces.push(Buffer.from(`${trailer.name}:${trailer.value}\r\n`))
    if (seed !== null) {
      const signature = next(`${ALGORITHM}-TRAILER`, sha256Hex(`${trailer.name}:${trailer.value}\n`))
      pieces.push(Buffer.from(`x-amz-trailer-signature:${signature}\r\n`))
    }
  }
  pieces.push(Buffer.from('\r\n'))
  return Buffer.concat(pieces)
}

/** SigV4 written once more, for raw requests: so that the gateway's own code does not check itself. */
import { createHash, createHmac } from 'node:crypto'
import { ACCESS_KEY, SECRET_KEY } from './harness.ts'

export interface RawRequest {
  method: string
  /** As it goes on the wire, with the query. */
  target: string
  headers?: Record<string, string>
  payloadHash?: string
  secret?: string
  nowMs?: number
  region?: string
}

export interface Signed {
  /** The request's head, with the empty line at its end. */
  head: string
  signature: string
  signingKey: Buffer
  amzDate: string
  scope: string
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()

/** The target must be in canonical form already: encoded as SigV4 wants it and with a sorted query. */
export function signed({ method, target, headers = {}, payloadHash = 'UNSIGNED-PAYLOAD', secret = SECRET_KEY, nowMs = Date.now(), region = 'us-east-1' }: RawRequest): Signed {
  const amzDate = new Date(nowMs).toISOString().replace(/[-:]|\.\d{3}/g, '')
  const scope = `${amzDate.slice(0, 8)}/${region}/s3/aws4_request`
  const all: Record<string, string> = { host: 'localhost', 'x-amz-content-sha256': payloadHash, 'x-amz-date': amzDate, ...headers }
  const names = Object.keys(all).filter((name) => name === 'host' || name.startsWith('x-amz-') || name === 'content-md5').sort()
  const [path, query = ''] = target.split('?')
  const canonicalQuery = query === '' ? '' : query.split('&').map((part) => (part.includes('=') ? part : `${part}=`)).join('&')
  const canonical = [method, path, canonicalQuery, ...names.map((name) => `${name}:${all[name]}`), '', names.join(';'), payloadHash].join('\n')
  const signingKey = hmac(hmac(hmac(hmac(`AWS4${secret}`, amzDate.slice(0, 8)), region), 's3'), 'aws4_request')
  const signature = hmac(signingKey, ['AWS4-HMAC-SHA256', amzDate, scope, sha256(canonical)].join('\n')).toString('hex')
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return {
    head: `${method} ${target} HTTP/1.1\r\n${lines}authorization: AWS4-HMAC-SHA256 Credential=${ACCESS_KEY}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}\r\n\r\n`,
    signature, signingKey, amzDate, scope,
  }
}

/** An aws-chunked body with signed chunks, and a signed trailer when there is one. */
export function signedChunks(chunks: string[], seed: Signed, trailer?: [name: string, value: string]): string {
  let previous = seed.signature
  const next = (kind: string, ...hashes: string[]): string => {
    previous = hmac(seed.signingKey, [kind, seed.amzDate, seed.scope, previous, ...hashes].join('\n')).toString('hex')
    return previous
  }
  const framed = [...chunks, ''].map((chunk) => {
    const signature = next('AWS4-HMAC-SHA256-PAYLOAD', sha256(''), sha256(chunk))
    return `${chunk.length.toString(16)};chunk-signature=${signature}\r\n${chunk}${chunk === '' && trailer !== undefined ? '' : '\r\n'}`
  })
  if (trailer === undefined) return framed.join('')
  const line = `${trailer[0]}:${trailer[1]}`
  return `${framed.join('')}${line}\r\nx-amz-trailer-signature:${next('AWS4-HMAC-SHA256-TRAILER', sha256(`${line}\n`))}\r\n\r\n`
}

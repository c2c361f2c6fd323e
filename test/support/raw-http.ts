/** HTTP requests below the SDK's comfort: any path, header and body, sent as given. */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import { encodeUri, queryString, sha256Hex, sign, type Credentials } from './sigv4.ts'

export interface RawAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  text: string
  /** <Code> of an S3 error; '' when there is none. */
  code: string
}

export interface RawRequest {
  method: string
  /** As sent, with its query. */
  path: string
  headers?: Record<string, string>
  body?: Uint8Array
}

export async function rawRequest(port: number, { method, path, headers, body }: RawRequest): Promise<RawAnswer> {
  const request = httpRequest({
    host: '127.0.0.1', port, method, path, agent: false,
    headers: { host: `127.0.0.1:${port}`, ...(body === undefined ? {} : { 'content-length': String(body.length) }), ...headers },
  })
  request.end(body)
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage]
  const bytes = await buffer(response)
  const text = bytes.toString('utf8')
  return { status: response.statusCode!, headers: response.headers, body: bytes, text, code: /<Code>(\w+)<\/Code>/.exec(text)?.[1] ?? '' }
}

export interface SignedRequest {
  method: string
  /** Path as sent, without the query. */
  path: string
  query?: Record<string, string>
  headers?: Record<string, string>
  body?: Uint8Array
  /** @default the body's SHA-256 */
  payloadHash?: string
}

/** A request with a good signature over all that it holds. */
export function signedRequest(port: number, credentials: Credentials, input: SignedRequest): Promise<RawAnswer> {
  const { method, path, query = {}, headers = {}, body } = input
  const payloadHash = input.payloadHash ?? sha256Hex(body ?? '')
  const signed = sign({ method, path, query, headers: { host: `127.0.0.1:${port}`, ...headers }, payloadHash, credentials })
  const suffix = Object.keys(query).length === 0 ? '' : `?${queryString(query)}`
  return rawRequest(port, { method, path: `${path}${suffix}`, headers: signed.headers, ...(body === undefined ? {} : { body }) })
}

export { encodeUri }

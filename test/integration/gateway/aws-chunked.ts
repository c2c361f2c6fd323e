/** Decodes aws-chunked framing in one go, with its signatures. For the in-memory store of these tests. */
import { createHash, createHmac } from 'node:crypto'
import { AnvilError } from '../../../src/shared/errors.ts'
import type { AwsChunked } from '../../../src/shared/native.ts'

const EMPTY_SHA256 = createHash('sha256').digest('hex')

export function decodeAwsChunked(raw: Buffer, spec: AwsChunked): { body: Buffer; trailers: Map<string, string> } {
  let at = 0
  let previous = spec.seedSignature
  const chunks: Buffer[] = []
  const line = (): string => {
    const end = raw.indexOf('\r\n', at)
    if (end === -1) throw new AnvilError('IncompleteBody', 'the framing ends early')
    const text = raw.toString('latin1', at, end)
    at = end + 2
    return text
  }
  for (;;) {
    const [size = '', signature = ''] = line().split(';chunk-signature=')
    if (!/^[0-9a-fA-F]{1,8}$/.test(size)) throw new AnvilError('MalformedChunk', 'not a chunk size')
    const length = Number.parseInt(size, 16)
    const data = raw.subarray(at, at + length)
    if (data.length < length) throw new AnvilError('IncompleteBody', 'a chunk is cut')
    if (spec.signed) {
      const text = ['AWS4-HMAC-SHA256-PAYLOAD', spec.amzDate, spec.scope, previous, EMPTY_SHA256, createHash('sha256').update(data).digest('hex')].join('\n')
      previous = createHmac('sha256', spec.signingKey).update(text).digest('hex')
      if (previous !== signature) throw new AnvilError('SignatureDoesNotMatch', 'a chunk signature is wrong')
    }
    chunks.push(data)
    at += length
    if (length === 0) break
    if (line() !== '') throw new AnvilError('MalformedChunk', 'a chunk does not end')
  }
  const trailers = new Map<string, string>()
  if (!spec.trailer) return { body: Buffer.concat(chunks), trailers }
  let signed = ''
  for (let text = line(); text !== ''; text = at >= raw.length ? '' : line()) {
    const colon = text.indexOf(':')
    const name = text.slice(0, colon).toLowerCase()
    const value = text.slice(colon + 1).trim()
    if (name === 'x-amz-trailer-signature') {
      const toSign = ['AWS4-HMAC-SHA256-TRAILER', spec.amzDate, spec.scope, previous, createHash('sha256').update(signed).digest('hex')].join('\n')
      if (createHmac('sha256', spec.signingKey).update(toSign).digest('hex') !== value) throw new AnvilError('SignatureDoesNotMatch', 'the trailer signature is wrong')
    } else {
      signed += `${name}:${value}\n`
      trailers.set(name, value)
    }
  }
  return { body: Buffer.concat(chunks), trailers }
}

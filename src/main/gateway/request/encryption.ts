/** Server-side encryption: SSE-S3 and SSE-C headers, of requests and answers. */
import { createHash } from 'node:crypto'
import type { Encryption } from '../../metadata/contract.ts'
import type { ReadKey, RequestedEncryption } from '../../objects/contract.ts'
import { invalidArgument, invalidRequest, notImplemented, S3Error } from '../errors.ts'
import type { RequestHead } from '../http/exchange.ts'
import { isBase64Of } from './checksum.ts'

type SecureHead = Pick<RequestHead, 'headers' | 'secure' | 'remoteAddress'>

const SSE = 'x-amz-server-side-encryption'

/** What a write asks for. @throws S3Error InvalidArgument, InvalidRequest, NotImplemented */
export function parseEncryption(head: SecureHead): RequestedEncryption {
  const { headers } = head
  const sse = headers.get(SSE)
  const customer = parseCustomerKey(head)
  if (sse === undefined) {
    for (const kms of [`${SSE}-aws-kms-key-id`, `${SSE}-context`, `${SSE}-bucket-key-enabled`]) {
      if (headers.has(kms) && headers.get(kms) !== 'false') throw notImplemented(kms)
    }
    return customer === null ? { kind: 'bucket-default' } : { kind: 'c', ...customer }
  }
  if (customer !== null) {
    throw invalidArgument('Server Side Encryption with Customer provided key is incompatible with the encryption method specified', SSE, sse)
  }
  if (sse === 'aws:kms' || sse === 'aws:kms:dsse' || sse === 'aws:fsx') throw notImplemented(`${SSE}: ${sse}`)
  if (sse !== 'AES256') throw invalidArgument('The encryption method specified is not supported', SSE, sse)
  return { kind: 's3' }
}

/**
 * The key of SSE-C, of the object itself or of a copy's source. As on S3 the key must not cross a network in the clear;
 * a client on this host is as good as one over TLS. @throws S3Error InvalidArgument, InvalidRequest
 */
export function parseCustomerKey({ headers, secure, remoteAddress }: SecureHead, source = false): ReadKey {
  const prefix = source ? 'x-amz-copy-source-server-side-encryption-customer-' : `${SSE}-customer-`
  const algorithm = headers.get(`${prefix}algorithm`)
  const keyText = headers.get(`${prefix}key`)
  const keyMd5 = headers.get(`${prefix}key-md5`)
  if (algorithm === undefined && keyText === undefined && keyMd5 === undefined) return null
  if (!secure && !isLoopback(remoteAddress)) {
    throw invalidRequest('Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.')
  }
  if (algorithm === undefined) {
    throw invalidArgument('Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.', `${prefix}algorithm`, 'null')
  }
  if (algorithm !== 'AES256') {
    throw new S3Error('InvalidEncryptionAlgorithmError', 400, 'The encryption request you specified is not valid. The valid value is AES256.', {
      elements: [['ArgumentName', `${prefix}algorithm`], ['ArgumentValue', algorithm]],
    })
  }
  if (keyText === undefined) {
    throw invalidArgument('Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.', `${prefix}key`, 'null')
  }
  if (keyMd5 === undefined) {
    throw invalidArgument('Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.', `${prefix}key-md5`, 'null')
  }
  // Neither the key nor what was sent in its place goes into the answer.
  if (!isBase64Of(keyText, 32)) throw invalidArgument('The secret key was invalid for the specified algorithm.', `${prefix}key`, '')
  const key = Buffer.from(keyText, 'base64')
  if (createHash('md5').update(key).digest('base64') !== keyMd5) {
    throw invalidArgument('The calculated MD5 hash of the key did not match the hash that was provided.', `${prefix}key-md5`, keyMd5)
  }
  return { key, keyMd5 }
}

const isLoopback = (address: string): boolean =>
  address.startsWith('127.') || /^(0000:){7}0001$|^::1$/.test(address) || /^((0000:){5}ffff:|::ffff:)(127\.|7f)/i.test(address)

/** Headers of an answer that tell how an object is encrypted. */
export function encryptionHeaders(encryption: Encryption): [string, string][] {
  switch (encryption.kind) {
    case 'none':
      return []
    case 's3':
      return [[SSE, 'AES256']]
    case 'c':
      return [[`${SSE}-customer-algorithm`, 'AES256'], [`${SSE}-customer-key-MD5`, encryption.keyMd5]]
  }
}

/** Which bucket and key a request means: path style, and virtual-host style under the configured domain. */
import { MAX_KEY_BYTES } from '../../../shared/limits.ts'
import { S3Error } from '../errors.ts'
import { decodePath } from './percent.ts'

export interface Address {
  /** '' for the service itself. */
  bucket: string
  /** '' for the bucket itself. */
  key: string
  virtualHost: boolean
}

/**
 * The raw path is cut at its slashes first and decoded after, once: `.`, `..` and empty segments are ordinary parts of a
 * key. @throws S3Error InvalidURI, KeyTooLongError
 */
export function parseAddress(host: string, rawPath: string, s3Domain: string | null): Address {
  const hosted = s3Domain === null ? '' : bucketOfHost(host, s3Domain)
  if (hosted !== '') return { bucket: hosted, key: keyOf(rawPath.slice(1)), virtualHost: true }
  const slash = rawPath.indexOf('/', 1)
  return slash === -1
    ? { bucket: decodePath(rawPath.slice(1)), key: '', virtualHost: false }
    : { bucket: decodePath(rawPath.slice(1, slash)), key: keyOf(rawPath.slice(slash + 1)), virtualHost: false }
}

function bucketOfHost(host: string, s3Domain: string): string {
  const name = withoutPort(host.toLowerCase())
  const suffix = `.${withoutPort(s3Domain.toLowerCase())}`
  return name.endsWith(suffix) ? name.slice(0, -suffix.length) : ''
}

const withoutPort = (host: string): string => host.replace(/:\d*$/, '')

function keyOf(raw: string): string {
  const key = decodePath(raw)
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) {
    throw new S3Error('KeyTooLongError', 400, 'Your key is too long', {
      elements: [['Size', String(Buffer.byteLength(key))], ['MaxSizeAllowed', String(MAX_KEY_BYTES)]],
    })
  }
  return key
}

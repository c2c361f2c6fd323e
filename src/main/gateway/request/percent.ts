/** Percent-encoding (RFC 3986) as SigV4 and S3's keys need it: on bytes, exactly once. */
import { S3Error } from '../errors.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Decodes a raw path. Everything but a percent sign is taken as it is. @throws S3Error InvalidURI for a broken escape,
 * for bytes that are not UTF-8, and for NUL.
 */
export function decodePath(raw: string): string {
  return decode(raw)
}

/** Decodes a name or value of a query, where `+` is a space. @throws S3Error InvalidURI */
export function decodeQueryPart(raw: string): string {
  return decode(raw.includes('+') ? raw.replaceAll('+', ' ') : raw)
}

function decode(raw: string): string {
  // uWS replaces bytes that are not UTF-8 by U+FFFD. Clients escape everything that is not ASCII, so a bare U+FFFD is
  // more likely lost bytes than a character that was meant.
  if (raw.includes('\ufffd') || raw.includes('\0')) throw invalidUri()
  if (!raw.includes('%')) return raw
  const bytes = Buffer.from(raw, 'utf8')
  let to = 0
  for (let at = 0; at < bytes.length; at++, to++) {
    if (bytes[at] !== 0x25) {
      bytes[to] = bytes[at]!
      continue
    }
    const high = hexValue(bytes[at + 1])
    const low = hexValue(bytes[at + 2])
    if (high < 0 || low < 0 || (high === 0 && low === 0)) throw invalidUri()
    bytes[to] = high * 16 + low
    at += 2
  }
  try {
    return utf8.decode(bytes.subarray(0, to))
  } catch {
    throw invalidUri()
  }
}

function hexValue(byte: number | undefined): number {
  if (byte === undefined) return -1
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  if (byte >= 0x41 && byte <= 0x46) return byte - 0x37
  return byte >= 0x61 && byte <= 0x66 ? byte - 0x57 : -1
}

const invalidUri = (): S3Error => new S3Error('InvalidURI', 400, "Couldn't parse the specified URI.")

/** SigV4's UriEncode: unreserved characters stay, everything else is %XX of its UTF-8 bytes in upper case. */
export const uriEncode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

/** The same for a path: `/` stays. */
export const uriEncodePath = (path: string): string =>
  /^[A-Za-z0-9._~/-]*$/.test(path) ? path : uriEncode(path).replaceAll('%2F', '/')
